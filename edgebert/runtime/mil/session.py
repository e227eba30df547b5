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
from edgebert.runtime.session import AGAIN, Batch, check_inputs, stated_count, stated_labels
from edgebert.runtime.specs import OutputSpec, file_outputs, padding_of

if TYPE_CHECKING:
    from coremltools.proto.Model_pb2 import FeatureDescription, FunctionDescription, ModelDescription

LABELS, PAD_ID, PRECISION = "edgebert.labels", "edgebert.pad_id", "edgebert.precision"  # names in the file's metadata


class PackageSession:
    """What every way to run a package shares: rows one by one, padded to a length that the file takes, and cut back."""

    runtime: str = ""
    runtime_version: str = ""

    def __init__(self, package: Package) -> None:
        self.path = package.path
        self._default, self._description = next(iter(package.functions.items()))
        metadata = package.metadata
        self.labels: tuple[str, ...] = stated_labels(metadata.get(LABELS, "[]"), str(self.path))
        self.pad_id = stated_count(metadata.get(PAD_ID, "0"), "pad id", str(self.path))
        self._shapes = _shapes(package)
        self._inputs = [item.name for item in self._description.input]
        check_inputs(self._inputs, str(self.path))
        self.functions: Mapping[int, str] = _functions(package)  # by length, where there is one for each
        self.lengths, self.limit = (
            (tuple(self.functions), max(self.functions)) if self.functions else _lengths(self._description.input[0])
        )
        self.metadata: Mapping[str, object] = {
            "pad_id": self.pad_id,
            "max_length": self.limit,
            **({"precision": metadata[PRECISION]} if PRECISION in metadata else {}),
        }

    def signature(self) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """Inputs and outputs as {name, type, shape}; `seq` stands for a length that varies."""
        inputs = [_feature(item, varies=bool(self.functions)) for item in self._description.input]
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

    def function_of(self, length: int) -> str:
        """The name of the function that takes rows of this length, one of `lengths`."""
        return self.functions.get(length, self._default)

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
            self.programs, package = load(path)
            super().__init__(package)
            for name, program in self.programs.items():
                _check_ports(program, package, name)
        self.runtime_version, self.threads = version("edgebert"), threads

    @property
    def program(self) -> Program:
        """That of the only function, or of the longest."""
        return self.programs[self._default]

    def _predict(self, row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        program = self.programs[self.function_of(row[self._inputs[0]].shape[1])]
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            outputs = program.run({name: torch.from_numpy(array) for name, array in row.items()})
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
                opened = coremltools.models.MLModel
                self._models = {name: opened(str(path), function_name=name) for name in self.functions.values()} or {
                    self._default: opened(str(path))
                }  # systems before macOS 15 know no functions
            except Exception as error:
                raise EdgebertError(f"Core ML refuses the file: {first_line(error)}", where=str(path)) from None

    def _predict(self, row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._models[self.function_of(row[self._inputs[0]].shape[1])].predict(dict(row))
        return {item.name: np.asarray(outputs[item.name], dtype=np.float32) for item in self._description.output}


def _check_ports(program: Program, package: Package, function: str) -> None:
    """Raises EdgebertError where the description of a function names other inputs or outputs than its program."""
    description = package.functions[function]
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


def _functions(package: Package) -> dict[int, str]:
    """Functions by the length that they take, ascending; {} where there is only one.

    Raises:
        EdgebertError: they differ in their names of inputs and outputs, or are not of one length each.
    """
    items = package.functions
    if not package.spec.description.functions:
        return {}
    if len({_names(item) for item in items.values()}) > 1:
        raise EdgebertError("its functions differ in inputs or outputs", where=str(package.path), hint=AGAIN)
    lengths = {name: {size for port in item.input for size in _lengths(port)[0]} for name, item in items.items()}
    results = {length: name for name, sizes in lengths.items() if len(sizes) == 1 for length in sizes}
    if len(results) != len(items):
        what = f"each of its functions takes one length of its own, and {name_list(items)} do not"
        raise EdgebertError(what, where=str(package.path), hint=AGAIN)
    return dict(sorted(results.items()))


def _names(description: ModelDescription | FunctionDescription) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(item.name for item in side) for side in (description.input, description.output))


def _shapes(package: Package) -> dict[str, list[int | str]]:
    """Shapes of the outputs, which only the programs themselves tell: `seq` for a size that varies, or differs between them."""
    shapes: dict[str, list[set[int | None]]] = {}
    for function, description in package.functions.items():
        types = {
            output.name: read_type(output.type)
            for item in package.block(function).operations
            for output in item.outputs
        }
        for name in (item.name for item in description.output):
            sizes = [{size} for size in types[name].shape]
            shapes[name] = [a | b for a, b in zip(shapes.get(name, sizes), sizes, strict=True)]
    return {
        name: [next(iter(size)) if len(size) == 1 and None not in size else "seq" for size in sizes]  # type: ignore[misc]
        for name, sizes in shapes.items()
    }


def _feature(item: FeatureDescription, varies: bool = False) -> dict[str, object]:
    array = item.type.multiArrayType
    shape: list[int | str] = [int(size) for size in array.shape]
    if varies or array.WhichOneof("ShapeFlexibility"):
        shape[1] = "seq"
    names = type(array).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number
    return {"name": item.name, "type": names[array.dataType].name.lower(), "shape": shape}
