"""A program read from a package: its ops in order, what is constant computed once, each result checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from edgebert.errors import EdgebertError, first_line, name_list
from edgebert.runtime.mil.package import STORED, Package, decode, open_package
from edgebert.runtime.mil.registry import HELD, READERS, check, refuse, table

if TYPE_CHECKING:
    from coremltools.proto.MIL_pb2 import Argument, Operation, ValueType
    from coremltools.proto.MIL_pb2 import Value as ValueProto

Value = Tensor | str


@dataclass(frozen=True)
class Type:
    """A tensor's type as the program declares it; None stands for a size that varies."""

    dtype: str
    shape: tuple[int | None, ...]

    def settle(self, value: Tensor) -> Tensor:
        """The value as the program holds it: rounded to float16 where it says so. Raises where the type is another."""
        if value.dtype != HELD[self.dtype]:
            raise TypeError(f"gives {value.dtype}, and {self.dtype} is declared")
        fits = len(self.shape) == value.dim() and all(
            wanted in (None, size) for wanted, size in zip(self.shape, value.shape, strict=True)
        )
        if not fits:
            raise TypeError(f"gives shape {tuple(value.shape)}, and {self.shape} is declared")
        return value.half().float() if self.dtype == "FLOAT16" else value


@dataclass(frozen=True)
class Step:
    """An op of the program.

    Attributes:
        fixed: arguments known at load, as the op's function takes them.
        live: arguments computed at run time: (name, how it is read, names of values).
        outputs: name and type of each result.
    """

    op: str
    fixed: Mapping[str, Any]
    live: tuple[tuple[str, str, tuple[str, ...]], ...]
    outputs: tuple[tuple[str, Type], ...]

    def run(self, values: Mapping[str, Value]) -> dict[str, Tensor]:
        arguments = dict(self.fixed)
        for name, kind, sources in self.live:
            outcome = [values[source] for source in sources]
            arguments[name] = READERS[kind](outcome if kind == "Tensors" else outcome[0])
        try:
            result = table()[self.op].run(**arguments)
            results = result if isinstance(result, tuple) else (result,)
            return {name: kind.settle(value) for (name, kind), value in zip(self.outputs, results, strict=True)}
        except Exception as error:
            what = error.what if isinstance(error, EdgebertError) else first_line(error)
            raise EdgebertError(f"op {self.op} '{self.outputs[0][0]}': {what}") from error


@dataclass(frozen=True)
class Program:
    """A program that can be run.

    Attributes:
        opset: 5 (CoreML5, iOS 15) to 8 (CoreML8, iOS 18).
        counts: how often each op occurs, constants included.
        steps: with, for each, the values that nothing needs after it.
    """

    inputs: Mapping[str, Type]
    outputs: tuple[str, ...]
    opset: int
    counts: Mapping[str, int]
    constants: Mapping[str, Value]
    steps: tuple[tuple[Step, tuple[str, ...]], ...]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name. Inputs as declared: int32, or float32 for both float types."""
        values: dict[str, Value] = dict(self.constants)
        values |= {name: kind.settle(inputs[name]) for name, kind in self.inputs.items()}
        with torch.inference_mode():
            for step, spent in self.steps:
                values.update(step.run(values))
                for name in spent:
                    del values[name]
        return {name: values[name] for name in self.outputs}  # type: ignore[misc]


def load(path: Path) -> tuple[dict[str, Program], Package]:
    """The program of each function of a package, in the order of `Package.functions`.

    Raises:
        EdgebertError: no readable package; or ops or arguments that are not known here, all of them named.
    """
    package = open_package(path)
    described, own = list(package.functions), sorted(package.spec.mlProgram.functions)
    if sorted(described) != own:
        raise refuse(f"it describes functions {name_list(described)}, and has {name_list(own)}", where=str(path))
    return {name: _program(package, name) for name in described}, package


def _program(package: Package, name: str) -> Program:
    function, block = package.spec.mlProgram.functions[name], package.block(name)
    if function.opset not in ("CoreML5", "CoreML6", "CoreML7", "CoreML8"):
        raise refuse(f"it is of opset {function.opset}; CoreML5 to CoreML8 are known", where=str(package.path))
    opset = int(function.opset[-1])
    _check_ops(package.path, block.operations, opset)
    inputs = {item.name: read_type(item.type) for item in function.inputs}
    constants, steps, counts = _read(package, block.operations, opset)
    outputs = tuple(block.outputs)
    return Program(inputs, outputs, opset, counts, *_trim(constants, steps, set(inputs), outputs))


def constants_of(package: Package, function: str) -> dict[str, Value]:
    """Every constant of a function by name; those written in place as `result.argument.number`."""
    opset = package.spec.mlProgram.functions[function].opset
    return _read(package, package.block(function).operations, int(opset[-1]))[0]


def _check_ops(path: Path, operations: Iterable[Operation], opset: int) -> None:
    """Raises one error that names every op and argument that cannot be evaluated."""
    missing: set[str] = set()
    for operation in operations:
        if operation.type == "const":
            continue
        arguments = [*operation.inputs, *(key for key in operation.attributes if key != "name")]
        problem = check(operation.type, arguments, opset)
        missing |= {problem} if problem else set()
        if operation.blocks:
            missing.add(f"{operation.type} with blocks inside")
    if missing:
        raise refuse(f"it uses what is not known here: {'; '.join(sorted(missing))}", where=str(path))


def _read(
    package: Package, operations: Iterable[Operation], opset: int
) -> tuple[dict[str, Value], list[Step], dict[str, int]]:
    """Constants, steps and counts. A step whose arguments are all constant becomes a constant itself."""
    constants: dict[str, Value] = {}
    steps: list[Step] = []
    counts: dict[str, int] = {}
    for operation in operations:
        counts[operation.type] = counts.get(operation.type, 0) + 1
        if operation.type == "const":
            constants[operation.outputs[0].name] = read_value(package, operation.attributes["val"])
            continue
        step = _step(package, operation, opset, constants)
        if step.live:
            steps.append(step)
        else:
            constants.update(step.run({}))
    return constants, steps, counts


def _step(package: Package, operation: Operation, opset: int, constants: Mapping[str, Value]) -> Step:
    kinds = table()[operation.type].kinds
    fixed: dict[str, Any] = {name: opset for name, kind in kinds.items() if kind == "Opset"}
    for name, value in operation.attributes.items():
        if name != "name":
            fixed[name] = READERS[kinds[name]](read_value(package, value))
    live = []
    for name, argument in operation.inputs.items():
        bound = [_bound(package, item, f"{operation.outputs[0].name}.{name}.{i}", constants)
                 for i, item in enumerate(argument.arguments)]  # fmt: skip
        if len(bound) != 1 and kinds[name] != "Tensors":
            raise refuse(f"{operation.type} with {len(bound)} values for {name}")
        if all(value is not None for _, value in bound):
            results = [value for _, value in bound]
            fixed[name] = READERS[kinds[name]](results if kinds[name] == "Tensors" else results[0])
        else:
            live.append((name, kinds[name], tuple(source for source, _ in bound)))
    outputs = tuple((item.name, read_type(item.type)) for item in operation.outputs)
    return Step(operation.type, fixed, tuple(live), outputs)


def _bound(
    package: Package, binding: Argument.Binding, name: str, constants: Mapping[str, Value]
) -> tuple[str, Value | None]:
    """A name and, where it is constant, the value."""
    if binding.WhichOneof("binding") == "name":
        return binding.name, constants.get(binding.name)
    if isinstance(constants, dict):  # a value written in place may stand beside computed ones
        constants[name] = read_value(package, binding.value)
    return name, constants[name]


def _trim(
    constants: Mapping[str, Value], steps: list[Step], inputs: set[str], outputs: tuple[str, ...]
) -> tuple[dict[str, Value], tuple[tuple[Step, tuple[str, ...]], ...]]:
    """Keeps the constants that steps read by name, and says after which step each computed value is spent."""
    kept = set(outputs)
    plan: list[tuple[Step, tuple[str, ...]]] = []
    for step in reversed(steps):
        names = {source for _, _, sources in step.live for source in sources} | {name for name, _ in step.outputs}
        plan.append((step, tuple(sorted(names - kept - set(constants) - inputs))))
        kept |= names
    return {name: value for name, value in constants.items() if name in kept}, tuple(reversed(plan))


def read_type(proto: ValueType) -> Type:
    """A tensor's type from its message. Raises where it is another kind of value, or a type unknown here."""
    if proto.WhichOneof("type") != "tensorType":
        raise refuse(f"a value of type {proto.WhichOneof('type')}")
    tensor = proto.tensorType
    shape = tuple(
        item.constant.size if item.WhichOneof("dimension") == "constant" else None for item in tensor.dimensions
    )
    names = type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number
    name = names[tensor.dataType].name
    if name != "STRING" and name not in HELD:
        raise refuse(f"a tensor of {name}")
    return Type(name, shape)


def read_value(package: Package, proto: ValueProto) -> Value:
    """A constant: a text, or a tensor as HELD says."""
    kind = read_type(proto.type)
    shape = tuple(size or 0 for size in kind.shape)
    count = int(np.prod(shape, dtype=np.int64))
    if proto.WhichOneof("value") == "blobFileValue":
        file = proto.blobFileValue
        key = (file.fileName, file.offset, kind)
        if key not in package.read:
            package.read[key] = _tensor(
                package, kind, shape, package.stored(file.fileName, file.offset, kind.dtype, count)
            )
        return package.read[key]
    tensor = proto.immediateValue.tensor
    field = tensor.WhichOneof("value")
    values = getattr(tensor, str(field)).values
    if field == "strings":
        return str(values[0])
    if field == "bytes" and kind.dtype in STORED:
        return _tensor(package, kind, shape, decode(np.frombuffer(values, np.uint8), kind.dtype, count))
    return _tensor(package, kind, shape, np.array(values))


def _tensor(package: Package, kind: Type, shape: tuple[int, ...], array: np.ndarray) -> Tensor:
    if array.size != np.prod(shape, dtype=np.int64):
        raise EdgebertError(f"{array.size} values where the program declares {shape}", where=str(package.path))
    return torch.from_numpy(np.array(array)).to(HELD[kind.dtype]).reshape(shape)
