"""What a Core ML package is made of: weights as the floats that they stand for, and the operators that round nothing.

Each precision is converted anew from torch, so passes of coremltools may fold, cast or drop what only moves or masks
values: of operators those are compared that every precision has alike. Not compared: numbers outside arrays, additions
and multiplications, and epsilons that float16 cannot tell apart; steps of activations in 8 bits only where the model was
trained with them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import Contents, Operator

if TYPE_CHECKING:
    from coremltools.proto.MIL_pb2 import Operation

    from edgebert.runtime.mil.package import Package
    from edgebert.runtime.mil.program import Value

COMPARED = frozenset({
    "avg_pool", "batch_norm", "conv", "erf", "exp", "gelu", "layer_norm", "leaky_relu", "linear", "log", "lstm", "matmul",
    "relu", "relu6", "sigmoid", "silu", "softmax", "softplus", "tanh",
})  # fmt: skip
# Of these an operator reads weights or states; its other arguments are settings.
VALUES = frozenset({"x", "y", "weight", "bias", "gamma", "beta", "mean", "variance", "initial_h", "initial_c"})
REDUCED = re.compile(r"(_to_fp16|_cast_fp16|_quantized|_palettized)+$")  # what coremltools appends to a weight's name
LEAST, MOST = 2.0**-14, 65504.0  # float16 keeps all digits of numbers between


def contents(path: Path) -> Contents:
    """Of an artifact's path. Raises EdgebertError where it cannot be read."""
    from edgebert.runtime.mil.package import open_package, reading

    with reading(path):
        return _contents(open_package(path))


def _contents(package: Package) -> Contents:
    """Of all functions; where there are several, each name begins with that of its function."""
    from edgebert.runtime.mil.session import PRECISION

    own, names = package.metadata.get(PRECISION, ""), list(package.functions)
    weights: dict[str, np.ndarray] = {}
    operators: list[Operator] = []
    outputs: list[str] = []
    scales: frozenset[float] = frozenset()
    for name in names:
        prefix = f"{name}: " if len(names) > 1 else ""
        found = _of_function(package, name, own)
        weights |= {prefix + key: value for key, value in found.weights.items()}
        operators += [
            Operator(item.kind, *(tuple(prefix + entry for entry in side) for side in (item.inputs, item.outputs)))
            for item in found.operators
        ]
        outputs += [prefix + entry for entry in found.outputs]
        scales |= found.fixed_scales
    return Contents(weights, operators, tuple(outputs), scales)


def _of_function(package: Package, function: str, own: str) -> Contents:
    """`own` stands behind the names of what differs from precision to precision."""
    from edgebert.runtime.mil.program import constants_of

    block, constants = package.block(function), constants_of(package, function)
    read, operators = set(), []
    shifted = {item.outputs[0].name for item in block.operations if _is_shifted(package, item, constants)}
    for item in block.operations:
        names = {name: [argument.name for argument in value.arguments] for name, value in item.inputs.items()}
        reads = tuple(entry for result in names.values() for entry in result if entry)
        if item.type != "const" and not item.type.startswith("constexpr"):
            read |= set(reads)
            kind = _kind(item.type, names, constants, shifted) if item.type in COMPARED else ""
            operators.append(Operator(kind, reads, tuple(output.name for output in item.outputs)))
    weights = {}
    for name in sorted(read & set(constants)):
        value, plain = constants[name], REDUCED.sub("", name)
        if isinstance(value, str) or not value.is_floating_point() or not value.dim() or not value.numel():
            continue
        if plain.endswith(("weight", "bias")):  # a parameter, whose name all files share
            weights[plain] = value.numpy()
        elif bool(value.abs().max() <= MOST):  # others are numbered anew in each file, and masks may be infinite
            weights[f"{name} of {own}"] = value.numpy()
    scales = (constants[item.inputs["scale"].arguments[0].name] for item in block.operations if item.type == "quantize")
    numbers = frozenset(float(value) for value in scales)  # ours have one for a tensor
    return Contents(weights, operators, tuple(block.outputs), numbers)


def _kind(operator: str, names: Mapping[str, list[str]], constants: Mapping[str, Value], shifted: set[str]) -> str:
    settings = {
        name: [_setting(constants[item]) for item in result]
        for name, result in names.items()
        if name not in VALUES and all(item in constants for item in result)
    }
    zero = (
        ", a weight has zero points other than 0" if any(item in shifted for f in names.values() for item in f) else ""
    )
    return f"{operator} {sorted(settings.items())}{zero}"


def _setting(value: Value) -> object:
    """As float16 holds it."""
    if isinstance(value, str) or not value.is_floating_point():
        return value if isinstance(value, str) else value.tolist()
    array = value.numpy()
    return np.where(np.abs(array) < LEAST, 0, array).astype(np.float16).tolist()


def _is_shifted(package: Package, item: Operation, constants: Mapping[str, Value]) -> bool:
    """Whether a weight in 8 bits has a zero point, which ours never have."""
    from edgebert.runtime.mil.program import read_value

    for name in ("offset", "zero_point") if item.type.startswith("constexpr") else ():
        if name in item.attributes:
            result = read_value(package, item.attributes[name])
        elif name in item.inputs:
            entry = item.inputs[name].arguments[0]
            result = constants[entry.name or f"{item.outputs[0].name}.{name}.0"]
        else:
            continue
        if not isinstance(result, str) and bool((result != 0).any()):
            return True
    return False
