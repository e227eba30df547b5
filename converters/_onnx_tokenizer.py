"""One graph from text to outputs: the tokenizer's work as operators in front of the model.

onnxruntime-extensions has a BERT tokenizer in one operator, but its ids differ from Hugging Face's on Hangul, Cyrillic
and Vietnamese accents and on unknown words, and its offsets count bytes of the text that it has cleaned. So only its
dictionary search is used. The cleaning is done here a character at a time, by tables read from the tokenizer itself, which keeps the place of
every character; the offsets follow from the lengths of the tokens. Every graph is held against the tokenizer before it
gets its name.

Two limits, both of the operators: a NUL ends the text, and special tokens that are spelt out in a text ("[MASK]") are
read as plain characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters._onnx_file import first_line, graph_file, load, save
from edgebert.converters._onnx_wordpiece import DOMAIN, text_nodes, wordpiece
from edgebert.errors import EdgebertError, ParityError, RequestError
from edgebert.runtime.session import stated_labels
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS
from edgebert.types import Artifact

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto
    from tokenizers import Tokenizer

EXTRA = 'pip install "edgebert[tokenizer-in-graph]"'
TEXTS = (
    "",
    "   ",
    "show me flights from Boston to Denver, please!",
    " leading, and trailing ",
    "tab\tnew\nline\r\nend\x0bvertical\x0cfeed",
    "don't stop-it (now) $5.00 e-mail@x.com ~`^|<>+=",
    "Crème brûlée à São Paulo",
    "cafe\u0301 e\u0301 a\u0300\u0301b",
    "Ångström ÅÄÖ øæß İstanbul ğüşiöç ẞ",
    "tiếng Việt Đà Nẵng",
    "Привет мир Ёлка Ελληνικά ΆΈ",
    "北京 is 中国的首都 東京タワー ﾊﾝｶｸ 𠀀𠀁",
    "안녕하세요 한국",
    "नमस्ते दुनिया ภาษาไทย مرحبا بالعالم",
    "emoji 😀👍🏽 and 👨‍👩‍👧 done",
    "“quotes” ‘single’ — dash… ﬁ ½ ² Ⅷ",
    "control\x07s \x01\x7f\u200bzero\ufeff a\xadb \ufffd \ue000 \U00100000",
    "\xa0nbsp\u3000ideographic\u2028line",
    "x" * 100 + " " + "x" * 101,
)


def with_tokenizer(
    path: Path, tokenizer_json: Path, folder: Path, *, golden: Sequence[str] = (), offsets: bool = True
) -> Artifact:
    """`folder/model.onnx`: input `text` (1,) string; the model's outputs, `input_ids` (1, seq) and `offsets` (seq, 2).

    Offsets are characters, (0, 0) for special tokens, as Hugging Face gives them. One text a run.

    Args:
        path: a file or folder of this converter, of any precision.
        tokenizer_json: of the same model: WordPiece with BERT's cleaning.
        folder: where to, not the one that holds `path`.
        golden: texts that must be read as the tokenizer reads them, besides our own `TEXTS`.
        offsets: False leaves that output out, and out of the check; a whole text needs none to be classified.

    Raises:
        RequestError: another kind of tokenizer, named, or onnxruntime-extensions is not installed.
        ParityError: some text is read otherwise; the first is shown.
    """
    tokenizer, rules = wordpiece(tokenizer_json)
    model = load(path)
    names = {item.name for item in model.graph.input}
    if INPUT_IDS not in names:
        raise RequestError("the file has no input_ids input, so a tokenizer cannot be put before it", where=str(path))
    _join(model, text_nodes(rules), sorted(names), offsets=offsets)

    def prove(created: Path) -> None:
        check(TextSession(created, 1), tokenizer, (*TEXTS, *golden))

    meta = {item.key: item.value for item in model.metadata_props}
    options = {"tokenizer": "wordpiece", "offsets": offsets}
    return save(model, meta.get("precision", "fp32"), folder, options, prove=prove)


def check(session: TextSession, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Raises ParityError with the first text whose ids, or offsets where the file has them, are not the tokenizer's."""
    for text in texts:
        wanted = tokenizer.encode(text)
        ids, offsets = session.tokens(text)
        if ids != wanted.ids:
            raise ParityError(f"the graph reads {text[:60]!r} as {ids[:12]}, the tokenizer as {wanted.ids[:12]}")
        if offsets is not None and offsets != wanted.offsets:
            at = next(i for i, pair in enumerate(zip(offsets, wanted.offsets, strict=True)) if pair[0] != pair[1])
            raise ParityError(
                f"the graph places token {at} of {text[:60]!r} at {offsets[at]}, the tokenizer at {wanted.offsets[at]}"
            )


class TextSession:
    """A file of `with_tokenizer` in ONNX Runtime. threads 0 means all cores."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.register_custom_ops_library(_library())
        try:
            self._session = ort.InferenceSession(str(graph_file(path)), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EdgebertError(f"ONNX Runtime refuses the file: {first_line(error)}", where=str(path)) from None
        self.labels = stated_labels(self._session.get_modelmeta().custom_metadata_map.get("labels", "[]"), str(path))
        self._outputs = [item.name for item in self._session.get_outputs()]

    def run(self, text: str) -> dict[str, np.ndarray]:
        """All outputs by name. Raises EdgebertError for a text of more tokens than the model takes."""
        return self._run(text, self._outputs)

    def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]] | None]:
        """Ids and offsets of a text; None where the file has no offsets."""
        names = [name for name in (INPUT_IDS, "offsets") if name in self._outputs]
        result = self._run(text, names)
        offsets = [(int(start), int(end)) for start, end in result["offsets"]] if "offsets" in result else None
        return result[INPUT_IDS][0].tolist(), offsets

    def _run(self, text: str, names: list[str]) -> dict[str, np.ndarray]:
        try:
            results = self._session.run(names, {"text": np.array([text], dtype=object)})
        except Exception as error:
            raise EdgebertError(f"the text cannot be read, it may be too long: {first_line(error)}") from None
        return dict(zip(names, results, strict=True))


def _library() -> str:
    try:
        import onnxruntime_extensions
    except ImportError:
        raise RequestError("the tokenizer inside the graph needs onnxruntime-extensions", hint=EXTRA) from None
    return str(onnxruntime_extensions.get_library_path())


def _join(
    model: ModelProto, front: tuple[list[NodeProto], list[TensorProto]], names: Sequence[str], *, offsets: bool
) -> None:
    """Puts the tokenizer's nodes and constants before the model's; its inputs become the tokenizer's results."""
    from onnx import TensorProto, helper

    nodes, constants = front
    feeds = [helper.make_node("Unsqueeze", ["text_ids", "text_axis0"], [INPUT_IDS], name="text_batch")]
    fills = {ATTENTION_MASK: 1, TOKEN_TYPE_IDS: 0}
    for name in names:
        if name in fills:
            value = helper.make_tensor(f"{name}_value", TensorProto.INT64, [1], [fills[name]])
            feeds += [
                helper.make_node("Shape", [INPUT_IDS], [f"{name}_shape"], name=f"text_{name}_shape"),
                helper.make_node("ConstantOfShape", [f"{name}_shape"], [name], name=f"text_{name}", value=value),
            ]
    graph = model.graph
    body = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *feeds, *body])
    graph.initializer.extend(constants)
    graph.input.extend([helper.make_tensor_value_info("text", TensorProto.STRING, [1])])
    graph.output.extend([helper.make_tensor_value_info(INPUT_IDS, TensorProto.INT64, [1, "seq"])])
    if offsets:
        graph.node.extend([helper.make_node("Identity", ["text_places"], ["offsets"], name="text_offsets")])
        graph.output.extend([helper.make_tensor_value_info("offsets", TensorProto.INT64, ["seq", 2])])
    model.opset_import.extend([helper.make_opsetid(DOMAIN, 1)])
