"""What a .tflite file is made of: a flatbuffer, and behind it a zip of the files that belong to the model.

TFLite calls those the associated files. The runtime reads the flatbuffer from the front, zip readers find their
directory at the end, so each sees a file of its own kind.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from edgebert.errors import EdgebertError, first_line, shown
from edgebert.faults import raise_if_fault

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, SubGraphT


class Info(TypedDict):
    """What a file says of itself beside its labels and its tokenizer."""

    family: str
    precision: str
    lengths: Sequence[int]
    pad_id: int
    inputs: Sequence[str]
    outputs: Sequence[str]
    title: str


INFO = "edgebert.json"  # family, precision, lengths, pad_id, inputs, outputs, title
LABELS = "labels.txt"  # one a line, in the order of the outputs
VOCABULARY = "vocab.txt"  # one token a line, in the order of the ids
TOKENIZER = "tokenizer.json"
LIMIT = 2**31 - 1  # bytes that a flatbuffer can address
MOST_BYTES = 1 << 28  # of all associated files; a tokenizer.json of a million tokens has 60 MB
AGAIN = "Only files that edgebert wrote can be opened: convert the checkpoint again."
# What zipfile raises beside BadZipFile of an archive that is damaged, encrypted, or packed in a way that it does not know.
UNPACKING = (EOFError, ValueError, NotImplementedError, RuntimeError, KeyError, IndexError, zlib.error, lzma.LZMAError)
ALIGNMENT = 16  # bytes, of weights


# ---------------------------------------------------------------- reading and writing


def read_info(path: Path) -> Info:
    """The packed `edgebert.json`. Raises EdgebertError where there is none, or it lacks something."""
    try:
        info = json.loads(read_files(path)[INFO])
    except (KeyError, ValueError, RecursionError):
        what = f"the file carries no {INFO}, so its lengths and labels are not known"
        raise EdgebertError(what, where=str(path), hint=AGAIN) from None
    if wrong := next(_wrong_info(info), None):
        raise EdgebertError(f"the {INFO} that the file carries is damaged: {wrong}", where=str(path), hint=AGAIN)
    return cast("Info", info)


def _wrong_info(info: object) -> Iterator[str]:
    if not isinstance(info, dict):
        yield f"it holds {type(info).__name__}, not an object of fields"
        return
    for name in ("family", "precision", "title"):
        if not isinstance(info.get(name), str):
            yield f"its {name} is {shown(repr(info.get(name)))}"
    for name in ("inputs", "outputs"):
        value = info.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            yield f"its {name} are {shown(repr(value))}"
    lengths, pad_id = info.get("lengths"), info.get("pad_id")
    if not isinstance(lengths, list) or not lengths or not all(_is_count(item) and item for item in lengths):
        yield f"its lengths are {shown(repr(lengths))}"
    elif sorted(set(lengths)) != lengths:
        yield f"its lengths are not ascending: {shown(repr(lengths))}"
    if not _is_count(pad_id):
        yield f"its pad_id is {shown(repr(pad_id))}"


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < LIMIT


def read_files(path: Path) -> dict[str, bytes]:
    """The associated files by name, {} where there are none.

    Raises EdgebertError where there is no file, or what lies behind it cannot be unpacked, or is more than MOST_BYTES."""
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(item.file_size for item in archive.infolist())) > MOST_BYTES:
                what = f"the files behind the model are {size / 2**20:,.0f} MB unpacked, {MOST_BYTES >> 20} are read"
                raise EdgebertError(what, where=str(path), hint=AGAIN)
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return {}
    except OSError as error:
        raise EdgebertError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from None
    except UNPACKING as error:
        what = f"the files behind the model cannot be unpacked: {first_line(error)}"
        raise EdgebertError(what, where=str(path), hint=AGAIN) from None


def write(path: Path, model: ModelT, files: Mapping[str, bytes]) -> None:
    """Writes a model (flatbuffer object) with its associated files, whole or not at all, the same bytes every time.

    Raises:
        EdgebertError: the model is too large for the format, or the disk refuses.
    """
    content = pack(model)
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(content)
        with zipfile.ZipFile(partial, "a") as archive:
            for name, data in files.items():
                archive.writestr(_entry(name), data)
        partial.replace(path)
    except OSError as error:
        raise_if_fault(error, path)
        raise EdgebertError(f"the file cannot be written: {error.strerror}", where=str(path)) from None
    finally:
        partial.unlink(missing_ok=True)


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip entry without a clock. Stored, for TFLite's readers map the files as they lie; but no such reader knows
    tokenizer.json, which is large."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED if name == TOKENIZER else zipfile.ZIP_STORED
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    return entry


def associated_files(info: Info, labels: tuple[str, ...], tokenizer: Path | None) -> dict[str, bytes]:
    """What goes into the zip. `vocab.txt` only of WordPiece: no other vocabulary can be said in lines."""
    if any("\n" in label for label in labels):
        raise EdgebertError("a label holds a line break, which labels.txt cannot say", hint="Rename the label.")
    files = {INFO: json.dumps(info, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"}
    if labels:
        files[LABELS] = "".join(f"{label}\n" for label in labels).encode()
    if tokenizer is not None:
        files |= {TOKENIZER: tokenizer.read_bytes()}
        if vocabulary := _word_tokens(files[TOKENIZER]):
            files[VOCABULARY] = vocabulary
    return files


def _word_tokens(tokenizer: bytes) -> bytes:
    """The vocabulary as lines, b"" where it is not WordPiece or its ids have gaps."""
    state = json.loads(tokenizer)
    if state["model"].get("type") != "WordPiece":
        return b""
    tokens = {i: subword for subword, i in state["model"]["vocab"].items()}
    tokens |= {token["id"]: token["content"] for token in state.get("added_tokens", ())}
    if sorted(tokens) != list(range(len(tokens))) or any("\n" in subword for subword in tokens.values()):
        return b""
    return "".join(f"{tokens[i]}\n" for i in range(len(tokens))).encode()


# ---------------------------------------------------------------- flatbuffer


def read_model(path: Path) -> ModelT:
    """The flatbuffer of a file as an object (ModelT of the TFLite schema)."""
    return parse(path.read_bytes())


def parse(content: bytes | bytearray) -> ModelT:
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(content)


def pack(model: ModelT) -> bytearray:
    """The flatbuffer of a model object, in which equal vectors and names are written once.

    Every signature has scales and zero points of its own for each weight that they share; without this they would be a
    twentieth of an int8 file.
    """
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.seen: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: np.ndarray) -> int:
            key = (str(x.dtype), hashlib.sha256(np.ascontiguousarray(x).tobytes()).digest())
            if key not in self.seen:
                if x.dtype == np.uint8:  # weights: aligned for kernels that read them where they lie
                    self.Prep(ALIGNMENT, x.nbytes)
                self.seen[key] = super().CreateNumpyVector(x)
            return self.seen[key]

        def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:
            data = s.encode(encoding, errors) if isinstance(s, str) else bytes(s)
            key = ("text", data)
            if key not in self.seen:
                self.seen[key] = super().CreateString(data)
            return self.seen[key]

    _drop_unused(model)
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    if size > LIMIT:
        raise EdgebertError(f"the weights are {size / 1e9:.1f} GB, and a .tflite file holds at most 2.1 GB")
    _as_arrays(model)
    builder = Builder(size + 2**20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return builder.Output()


def _drop_unused(model: ModelT) -> None:
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {item.buffer for item in model.metadata or ()}
    for i, buffer in enumerate(model.buffers):
        if i not in used:
            buffer.data = None


def _as_arrays(model: ModelT) -> None:
    """Buffers and quantization as arrays, which the packer takes in one token each."""
    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            scales = tensor.quantization
            if scales is not None and scales.scale is not None:
                scales.scale = np.asarray(scales.scale, np.float32)
                scales.zeroPoint = np.asarray(scales.zeroPoint, np.int64)


def operators(model: ModelT, graph: SubGraphT) -> Counter[str]:
    """How many operators of each name a subgraph has."""
    return Counter(operator_names(model, graph))


def operator_names(model: ModelT, graph: SubGraphT) -> list[str]:
    """The name of each operator of a subgraph, in order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    results = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        custom = code.customCode.decode() if code.customCode else ""
        results.append(custom or names[max(code.builtinCode, code.deprecatedBuiltinCode)])
    return results


def custom_operators(model: ModelT) -> list[str]:
    """Operators outside TFLite's own set, Flex (TensorFlow's kernels) among them."""
    return sorted({code.customCode.decode() for code in model.operatorCodes if code.customCode})
