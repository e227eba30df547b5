"""A package behind `edgebert.converters.Session`, evaluated by the interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgebert.errors import EdgebertError, first_line, name_list
from edgebert.runtime.mil.package import Package, open_package, reading
from edgebert.runtime.mil.program import Program, load, read_type
from edgebert.runtime.quiet import quiet
from edgebert.runtime.session import Batch, check_inputs, stated_count, stated_labels
from edgebert.runtime.specs import OutputSpec, file_outputs, padding_of

if TYPE_CHECKING:
    from coremltools.proto.Model_pb2 import FeatureDescription

LABELS, PAD_ID, PRECISION = "edgebert.labels", "edgebert.pad_id", "edgebert.precision"  # names in the file's metadata


class PackageSession:
    """What every way to run a package shares: rows one by one, padded to a length that the file takes, and cut back."""

    runtime: str = ""
    runtime_version: str = ""

    def __init__(self, package: Package) -> None:
        self.path, self._description = package.path, package.spec.description
        metadata = package.metadata
        self.labels: tuple[str, ...] = stated_labels(metadata.get(LABELS, "[]"), str(self.path))
        self.pad_id = stated_count(metadata.get(PAD_ID, "0"), "pad id", str(self.path))
        self._shapes = _shapes(package)
        self._inputs = [item.name for item in self._description.input]
        check_inputs(self._inputs, str(self.path))
        self.lengths, self.limit = _lengths(self._description.input[0])
        self.metadata: Mapping[str, object] = {
            "pad_id": self.pad_id,
            "max_length": self.limit,
            **({"precision": metadata[PRECISION]} if PRECISION in metadata else {}),
        }

    def signature(self) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """Inputs and outputs as {name, type, shape}; `seq` stands for a length that varies."""
        inputs = [_feature(item) for item in self._description.input]
        outputs = [_feature(item) | {"shape": self._shapes[item.name]} for item in self._description.output]
        return inputs, outputs

    @cached_property
    def output_specs(self) -> tuple[OutputSpec, ...]:
        return file_outputs(*self.signature())

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """See `edgebert.converters.Runner.run`. The file takes one row, so rows are run one after another."""
        n_rows, length = batch[self._inputs[0]].shape
        padded = self.padded(length)
        rows, per_token = [], {spec.name: spec.per_token for spec in self.output_specs}
        for i in range(n_rows):
            row = {name: self._pad(name, batch[name][i : i + 1], padded) for name in self._inputs}
            rows.append({name: _cut(per_token[name], array, length) for name, array in self._predict(row).items()})
        return {item.name: np.concatenate([row[item.name] for row in rows]) for item in self._description.output}

    def padded(self, length: int) -> int:
        """The least length that the file takes for a row of that many tokens."""
        fitting = [size for size in self.lengths if size >= length]
        if fitting or (not self.lengths and length <= self.limit):
            return min(fitting, default=length)
        raise EdgebertError(
            f"a row of {length} tokens; the file takes {self.limit} at most",
            where=str(self.path),
            hint="Cut the text into windows, or write the file for longer rows.",
        )

    def _pad(self, name: str, row: np.ndarray, length: int) -> np.ndarray:
        result = np.full((1, length), padding_of(name, self.pad_id), dtype=np.int32)
        result[:, : row.shape[1]] = row
        return result

    def _predict(self, row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Float32 outputs by name of int32 inputs (1, length)."""
        raise NotImplementedError


class MilSession(PackageSession):
    """A package in our interpreter. threads 0 leaves torch's own setting."""

    runtime: str = "edgebert-mil"

    def __init__(self, path: Path, threads: int = 0) -> None:
        with reading(path):
            self.program, package = load(path)
            super().__init__(package)
            _check_ports(self.program, package)
        self.runtime_version, self.threads = version("edgebert"), threads

    def _predict(self, row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            outputs = self.program.run({name: torch.from_numpy(array) for name, array in row.items()})
        finally:
            torch.set_num_threads(before)  # weights that are trained next depend on it
        return {name: value.numpy() for name, value in outputs.items()}


class CoreMLSession(PackageSession):
    """A package in Core ML itself, which exists on macOS only. Never run on the machines edgebert is developed on."""

    runtime: str = "coreml"

    def __init__(self, path: Path) -> None:
        with reading(path):
            super().__init__(open_package(path))
        with quiet():
            import coremltools

            self.runtime_version = coremltools.__version__
            try:
                self._model = coremltools.models.MLModel(str(path))
            except Exception as error:
                raise EdgebertError(f"Core ML refuses the file: {first_line(error)}", where=str(path)) from None

    def _predict(self, row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._model.predict(dict(row))
        return {item.name: np.asarray(outputs[item.name], dtype=np.float32) for item in self._description.output}


def _check_ports(program: Program, package: Package) -> None:
    """Raises EdgebertError where the description names other inputs or outputs than the program."""
    description = package.spec.description
    for side, named, own in (
        ("inputs", description.input, program.inputs), ("outputs", description.output, program.outputs)
    ):  # fmt: skip
        if [item.name for item in named] != list(own):
            what = (
                f"it says that its {side} are {name_list(item.name for item in named)}, and they are {name_list(own)}"
            )
            raise EdgebertError(what, where=str(package.path), hint="Write the file again.")


def _cut(per_token: bool, array: np.ndarray, length: int) -> np.ndarray:
    """Without what was computed for padding: outputs by token have the length as their second dimension."""
    return array[:, :length] if per_token else array


def _lengths(item: FeatureDescription) -> tuple[tuple[int, ...], int]:
    """Lengths that an input takes, ascending, and the most; no lengths where any up to the most will do."""
    array = item.type.multiArrayType
    flexibility = array.WhichOneof("ShapeFlexibility")
    if flexibility == "shapeRange":
        return (), int(array.shapeRange.sizeRanges[1].upperBound)
    shapes = [item.shape for item in array.enumeratedShapes.shapes] if flexibility else [array.shape]
    lengths = tuple(sorted(int(shape[1]) for shape in shapes))
    return lengths, lengths[-1]


def _shapes(package: Package) -> dict[str, list[int | str]]:
    """Shapes of the outputs, which only the program itself tells."""
    function = package.spec.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    types = {output.name: read_type(output.type) for item in operations for output in item.outputs}
    names = [item.name for item in package.spec.description.output]
    return {name: ["seq" if size is None else size for size in types[name].shape] for name in names}


def _feature(item: FeatureDescription) -> dict[str, object]:
    array = item.type.multiArrayType
    shape: list[int | str] = [int(size) for size in array.shape]
    if array.WhichOneof("ShapeFlexibility"):
        shape[1] = "seq"
    names = type(array).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number
    return {"name": item.name, "type": names[array.dataType].name.lower(), "shape": shape}
