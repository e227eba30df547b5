"""A .mlpackage on disk: its manifest, its specification, and the values stored beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.errors import EdgebertError, first_line
from edgebert.runtime.mil.ops_quantize import unpack_bits
from edgebert.runtime.mil.registry import refuse
from edgebert.runtime.quiet import quiet

if TYPE_CHECKING:
    from coremltools.proto.MIL_pb2 import Block
    from coremltools.proto.Model_pb2 import FunctionDescription, Model, ModelDescription
    from torch import Tensor

MAIN = "main"  # the name of an only function
MAGIC = 0xDEADBEEF
ENTRY = np.dtype([("magic", "<u4"), ("dtype", "<u4"), ("size", "<u8"), ("start", "<u8"), ("padding_bits", "<u8")])
# Types by the program's name: (code in the weights file, numpy type, bits of each value)
STORED: dict[str, tuple[int, str, int]] = {
    "FLOAT16": (1, "<f2", 16),
    "FLOAT32": (2, "<f4", 32),
    "UINT8": (3, "u1", 8),
    "INT8": (4, "i1", 8),
    "INT16": (6, "<i2", 16),
    "UINT16": (7, "<u2", 16),
    "INT4": (8, "u1", 4),
    "UINT1": (9, "u1", 1),
    "UINT2": (10, "u1", 2),
    "UINT4": (11, "u1", 4),
    "UINT3": (12, "u1", 3),
    "UINT6": (13, "u1", 6),
    "INT32": (14, "<i4", 32),
    "UINT32": (15, "<u4", 32),
}


@dataclass
class Package:
    """A package that was read.

    Attributes:
        spec: the Model message of coremltools' protocol buffers.
        model: the file it was read from; stored values are named relative to its folder.
    """

    path: Path
    spec: Model
    model: Path
    read: dict[tuple[object, ...], Tensor] = field(default_factory=dict)  # stored values, which functions share
    _blobs: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, str]:
        """What the writer of the file put into it, by name."""
        return dict(self.spec.description.metadata.userDefined)

    @property
    def functions(self) -> dict[str, ModelDescription | FunctionDescription]:
        """What the file says of each of its functions, by name; first the one that runs where none is asked for."""
        description = self.spec.description
        named = {item.name: item for item in description.functions}
        if not named:
            return {MAIN: description}
        return {(first := description.defaultFunctionName): named[first], **named}

    def block(self, function: str) -> Block:
        """The operations of a function, and the names of its outputs."""
        program = self.spec.mlProgram.functions[function]
        return program.block_specializations[program.opset]

    def stored(self, name: str, offset: int, dtype: str, count: int) -> np.ndarray:
        """`count` values of a type, from the entry of a weights file at `offset`."""
        blob = self._blob(name)
        header = blob[offset : offset + ENTRY.itemsize].tobytes()
        entry = np.frombuffer(header if len(header) == ENTRY.itemsize else b"", ENTRY)
        code = STORED[dtype][0]
        if len(entry) != 1 or entry["magic"][0] != MAGIC or entry["dtype"][0] != code:
            raise EdgebertError(f"no entry of type {dtype} at byte {offset} of {name}", where=str(self.path))
        start, size = int(entry["start"][0]), int(entry["size"][0])
        if start + size > len(blob):
            raise EdgebertError(f"{name} is cut short", where=str(self.path), hint="Write the file again.")
        return decode(blob[start : start + size], dtype, count)

    def _blob(self, name: str) -> np.ndarray:
        if name not in self._blobs:
            file = _inside(self.path, self.model.parent / name.removeprefix("@model_path/"))
            if not file.is_file():
                raise EdgebertError(f"the package has no {name}", where=str(self.path))
            self._blobs[name] = np.memmap(file, np.uint8, mode="r")
        return self._blobs[name]


def decode(raw: np.ndarray, dtype: str, count: int) -> np.ndarray:
    """Values (count,) from bytes; types of less than eight bits are unpacked."""
    _, kind, bits = STORED[dtype]
    if raw.size < math.ceil(count * bits / 8):
        raise EdgebertError(f"{raw.size} bytes cannot hold {count} values of type {dtype}")
    if bits >= 8:
        return np.frombuffer(raw.tobytes(), kind, count)
    values = unpack_bits(np.asarray(raw), bits, count)
    if dtype == "INT4":
        return np.where(values > 7, values.astype(np.int8) - 16, values).astype(np.int8)
    return values


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within it whatever goes wrong means a damaged package: what stands in one may be anything, and any step of reading it
    may be the first that cannot go on. Raises EdgebertError, with the path."""
    try:
        yield
    except EdgebertError as error:
        if error.where:
            raise
        raise EdgebertError(error.what, where=str(path), hint=error.hint) from error
    except Exception as error:
        what = f"the package is damaged: {type(error).__name__}: {first_line(error)}"
        raise EdgebertError(what, where=str(path), hint="Write the file again.") from error


def open_package(path: Path) -> Package:
    """Reads a package.

    Raises:
        EdgebertError: no package, a damaged one, or one that holds no ML program.
    """
    try:
        with quiet():
            from coremltools.proto import Model_pb2
    except ImportError:
        raise EdgebertError(
            "coremltools is not installed, and reads Core ML files", hint='pip install "edgebert[coreml]"'
        ) from None
    model = _model_file(path)
    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(model.read_bytes())
    except Exception as error:  # protobuf's error types differ by its version
        raise EdgebertError(f"the specification is damaged: {error}", where=str(model)) from None
    if spec.WhichOneof("Type") != "mlProgram":
        raise refuse(f"it holds a {spec.WhichOneof('Type')}, not an ML program", where=str(path))
    return Package(path, spec, model)


def _model_file(path: Path) -> Path:
    manifest = path / "Manifest.json"
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        entry = content["itemInfoEntries"][content["rootModelIdentifier"]]
        file = _inside(path, path / "Data" / entry["path"])
        if not file.is_file():
            raise KeyError(entry["path"])
        return file
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgebertError(f"this is no Core ML package: {error}", where=str(manifest)) from None


def _inside(folder: Path, file: Path) -> Path:
    """The file, if it lies in the folder. A package may name any path, and must not reach out."""
    if not file.resolve().is_relative_to(folder.resolve()):
        raise EdgebertError(f"the package names a file outside itself: {file}", where=str(folder))
    return file
