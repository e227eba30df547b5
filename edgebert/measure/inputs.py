"""What is run: real texts at their own lengths, and one input of a fixed length."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgebert.bundle.edge_texts import OLD_TEXTS
from edgebert.bundle.golden import DATA, read_golden
from edgebert.converters._onnx_exits import NOTE as EXITS
from edgebert.data.text import lines
from edgebert.errors import DataError, RequestError
from edgebert.measure.artifacts import Subject
from edgebert.measure.protocol import FIXED_LENGTH, fixed_length, spread_by_length
from edgebert.measure.targets import Input
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS
from edgebert.types import Feature

N_INPUTS = 10  # spread over the lengths; few, so that each is run at least five times and noise can be told from length
# Of a file whose time depends on the text: enough to tell how it is spread, and few enough that each is run twice.
N_VARIED = 50
MOST_TEXTS = 2000
Texts = Sequence[tuple[str, ...]]  # one text a row, or two


@dataclass(frozen=True)
class Inputs:
    lengths: Literal["data", "fixed"]
    rows: tuple[Input, ...]
    origin: str

    @property
    def n_tokens(self) -> list[int]:
        return [len(row[INPUT_IDS][0]) for row in self.rows]


def read_texts(path: Path) -> Texts:
    """A text a line, or two with a tab between them. Raises DataError where there are none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=f"--texts {path}") from None
    rows = [tuple(line.split("\t")[:2]) for line in lines(content, str(path), "utf-8") if line.strip()]
    if not rows:
        raise DataError("the file holds no text", where=f"--texts {path}")
    return rows[:MOST_TEXTS]


def golden_texts(path: Path) -> Texts:
    """The texts of golden.jsonl, without the edge cases that every bundle has: they are no one's lengths."""
    lines = [(tuple(line["texts"]), line.get("class")) for line in read_golden(path)]
    own = [texts for texts, name in lines if name == DATA or (name is None and not _is_old_edge(texts))]
    return own or [texts for texts, _ in lines]


def _is_old_edge(texts: tuple[str, ...]) -> bool:
    """Whether it is an edge case of schema 2, which names none."""
    return bool(set(texts) & set(OLD_TEXTS)) or texts[-1].startswith("denver to boston denver to boston")


def own_lengths(subject: Subject, texts: Texts, limit: int, origin: str, n: int = N_INPUTS) -> Inputs:
    """`n` of the texts, evenly spread over the lengths that the file's tokenizer gives them."""
    return own_lengths_of(encode(subject, texts, limit), origin, n)


def own_lengths_of(features: Sequence[Feature], origin: str, n: int = N_INPUTS) -> Inputs:
    """`n` of them, evenly spread over their lengths."""
    chosen = [features[i] for i in spread_by_length(features, n)]
    return Inputs("data", tuple(_input(feature) for feature in chosen), origin)


def of_length(subject: Subject, n_tokens: int, texts: Texts) -> Inputs:
    """One input of `n_tokens`: tokens of the texts, or the same token again and again where there are none."""
    if not texts:
        return Inputs("fixed", (_input(Feature(0, (1,) * n_tokens, (0,) * n_tokens)),), "one token, repeated")
    return at_length(encode(subject, texts, n_tokens), n_tokens, "the texts")


def at_length(features: Sequence[Feature], n_tokens: int, origin: str) -> Inputs:
    """One input of `n_tokens`, made of their tokens."""
    batch = fixed_length(features, n_tokens)
    return Inputs("fixed", ({name: array.tolist() for name, array in batch.items()},), f"tokens of {origin}")


def encode(subject: Subject, texts: Texts, limit: int) -> list[Feature]:
    """Token ids with the marks that the tokenizer adds, cut to `limit`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_of(subject))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    results = [tokenizer.encode(row[0], row[1] if len(row) > 1 else None) for row in texts]
    return [Feature(i, tuple(item.ids), tuple(item.type_ids)) for i, item in enumerate(results) if item.ids]


def tokenizer_key(subject: Subject) -> str | None:
    """What two files have in common when they read the same tokens; None where there is no tokenizer."""
    try:
        return hashlib.sha256(tokenizer_of(subject).encode()).hexdigest()
    except RequestError:
        return None


def tokenizer_of(subject: Subject) -> str:
    """tokenizer.json beside the file, or inside a .tflite. Raises RequestError where there is none."""
    if subject.tokenizer is not None:
        return subject.tokenizer.read_text(encoding="utf-8")
    from edgebert.converters._tflite_file import TOKENIZER, read_files

    path = subject.file.path
    if path.suffix == ".tflite" and (inside := read_files(path).get(TOKENIZER)):
        return inside.decode("utf-8", errors="replace")
    raise RequestError(
        "there is no tokenizer.json beside the file, so texts cannot be given to it", where=str(path),
        hint="Copy the model's tokenizer.json beside it, or measure a fixed length with --length.",
    )  # fmt: skip


def limit_of(subject: Subject) -> int | None:
    """Most tokens that the file says it takes; None where it says nothing."""
    from edgebert.converters._tflite_file import INFO, read_files, read_info

    path = subject.file.path
    if subject.file.format == "tflite" and INFO in read_files(path):
        return max(read_info(path)["lengths"])
    if subject.file.format == "torch":
        from edgebert.modeling.checkpoint import load_config
        from edgebert.modeling.graph import position_limit

        return position_limit(load_config(path))
    stated = _onnx_notes(subject).get("max_length", "")
    return (int(stated) if stated.isascii() and stated.isdigit() else 0) or subject.limit


def stops_early(subject: Subject) -> bool:
    """Whether a file's time depends on the text and not on its length alone."""
    return EXITS in _onnx_notes(subject)


def _onnx_notes(subject: Subject) -> Mapping[str, str]:
    """What edgebert wrote into the file. A file that cannot be read here says nothing: the target will tell."""
    if subject.file.format != "onnx":
        return {}
    import onnxruntime as ort

    path, options = subject.file.path, ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(str(path / "model.onnx" if path.is_dir() else path), options)
        notes: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        return notes
    except Exception:
        return {}


def fixed_tokens(subject: Subject, asked: int | None) -> int:
    """The fixed length: what was asked, or 128 and at most what the file takes."""
    limit = limit_of(subject)
    if asked is not None and limit is not None and asked > limit:
        raise RequestError(f"the file takes at most {limit} tokens", where=f"--length {asked}, {subject.file.name}")
    return asked or min(FIXED_LENGTH, limit or FIXED_LENGTH)


def _input(feature: Feature) -> Input:
    n = len(feature.input_ids)
    return {INPUT_IDS: [list(feature.input_ids)], ATTENTION_MASK: [[1] * n],
            TOKEN_TYPE_IDS: [list(feature.type_ids)]}  # fmt: skip
