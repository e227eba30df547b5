"""What an OpenVINO model is made of: weights as the floats that they stand for, and the operators that no precision changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.converters import Contents, Operator

if TYPE_CHECKING:
    import openvino as ov

# What NNCF and the conversion to half add, drop or replace.
CHANGED = frozenset({
    "Add", "Constant", "Convert", "FakeConvert", "FakeQuantize", "Gather", "MatMul", "Multiply", "Reshape", "Result", "Subtract",
})  # fmt: skip
# How a weight in few bits becomes the float that it stands for.
FOLDED: Mapping[str, Callable[..., np.ndarray]] = {
    "Convert": lambda value: value,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Reshape": lambda value, shape: value.reshape(shape.astype(int)),
    "Transpose": lambda value, axes: value.transpose(axes.astype(int)),
}


def contents(model: ov.Model) -> Contents:
    """Of a model that was read."""
    values: dict[str, np.ndarray] = {}
    sources: dict[str, str] = {}  # of a folded weight: the constant that holds it
    operators: list[Operator] = []
    read: set[str] = set()
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        inputs = [item.get_node().get_friendly_name() for item in node.input_values()]
        operators.append(
            Operator("" if kind in CHANGED else _kind(node, kind), tuple(map(_output, node.input_values())),
                     tuple(map(_output, node.outputs())))
        )  # fmt: skip
        if kind == "Constant":
            values[name], sources[name] = _array(node), name
        elif kind in FOLDED and inputs and all(item in values for item in inputs):
            values[name] = FOLDED[kind](*(values[item] for item in inputs))
            sources[name] = sources[inputs[0]]
        else:
            continue
        read.update(inputs if kind != "Constant" else ())
    weights = {
        sources[name]: value
        for name, value in values.items()
        if name not in read and value.dtype == np.float32 and value.size > 1
    }
    return Contents(weights, operators, tuple(_output(item.get_node().input_value(0)) for item in model.outputs))


def _output(port: Any) -> str:
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"


def _kind(node: ov.Node, kind: str) -> str:
    return f"{kind} {sorted(node.get_attributes().items(), key=lambda pair: pair[0])}"


def _array(node: Any) -> np.ndarray:
    """float32 of floats and of weights in 4 or 8 bits; others, such as shapes, as they are."""
    kind = node.get_element_type()
    shape = list(node.get_output_shape(0))
    if kind.get_type_name() in ("u4", "i4"):
        packed = np.frombuffer(node.data, np.uint8)
        codes = np.stack([packed & 15, packed >> 4], axis=-1).ravel()[: int(np.prod(shape))].astype(np.float32)
        if kind.get_type_name() == "i4":
            codes = np.where(codes > 7, codes - 16, codes)
        result: np.ndarray = codes.reshape(shape)
        return result
    array = np.array(node.data)
    return array.astype(np.float32) if array.dtype.kind == "f" or array.dtype.itemsize == 1 else array
