"""What an ONNX file is made of: weights as the floats that they stand for, and the operators that no precision changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import Contents, Operator
from edgebert.converters._onnx_attention import merge_attention
from edgebert.converters._onnx_file import load

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# What quantizers and the conversion to half add, drop or replace.
CHANGED = frozenset({
    "Add", "BitShift", "Cast", "Concat", "Constant", "Conv", "ConvInteger", "DequantizeLinear", "DynamicQuantizeLSTM",
    "DynamicQuantizeLinear", "Gather", "Gemm", "Identity", "LSTM", "MatMul", "MatMulInteger", "MatMulIntegerToFloat",
    "MatMulNBits", "Mul", "QuantizeLinear", "Reshape",
})  # fmt: skip


def contents(path: Path) -> Contents:
    """Of an artifact's path. Raises EdgebertError where it cannot be read."""
    model = load(path)
    weights = dict(_weights(model))
    merge_attention(model)  # which int8 files have merged, and others not
    operators = [
        Operator("" if node.op_type in CHANGED else _kind(node), tuple(filter(None, node.input)), tuple(node.output))
        for node in model.graph.node
    ]
    outputs = tuple(item.name for item in model.graph.output)
    return Contents(weights, operators, outputs, frozenset(_fixed_scales(model)))


def _fixed_scales(model: ModelProto) -> Iterator[float]:
    from onnx import numpy_helper

    wanted = {node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for item in model.graph.initializer:
        if item.name in wanted:
            yield from numpy_helper.to_array(item).ravel().tolist()


def _kind(node: NodeProto) -> str:
    import onnx

    values = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if "scale" in values:  # of Attention, found in a file of half precision as a rounded constant
        values["scale"] = f"{values['scale']:.2g}"
    return f"{node.domain}:{node.op_type} {sorted(values.items(), key=lambda pair: pair[0])}".lstrip(":")


def _weights(model: ModelProto) -> Iterator[tuple[str, np.ndarray]]:
    from onnx import numpy_helper

    results = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    in_blocks = {node.input[1]: node for node in model.graph.node if node.op_type == "MatMulNBits"}
    dequantized = {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for name, array in results.items():
        if name in in_blocks:
            yield name, _blocks(in_blocks[name], results)
        elif name.endswith("_packed"):
            yield name, _nibbles(array, name.removesuffix("_packed"), results)
        elif name.endswith("_int8"):
            yield name, array * results[f"{name.removesuffix('_int8')}_scales"]
        elif name in dequantized:
            node = dequantized[name]
            axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
            yield name, _linear(array, *(results[entry] for entry in node.input[1:]), axis=axis)
        elif name.endswith("_quantized"):  # of a dynamic product
            stem = name.removesuffix("_quantized")
            yield name, _linear(array, results[f"{stem}_scale"], results[f"{stem}_zero_point"], axis=-1)
        elif array.dtype in (np.float32, np.float16) and array.size and array.ndim:
            yield name, array.astype(np.float32)


def _linear(array: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int) -> np.ndarray:
    """One scale, or one a channel along the axis."""
    shape = [1] * array.ndim
    if scale.size > 1:
        shape[axis if array.shape[axis] == scale.size else array.shape.index(scale.size)] = scale.size
    zero = np.zeros(1, np.float32) if zero is None else zero.astype(np.float32)
    created: np.ndarray = (array.astype(np.float32) - zero.reshape(shape if zero.size > 1 else [1] * array.ndim)) * (
        scale.reshape(shape)
    )
    return created


def _nibbles(array: np.ndarray, stem: str, results: Mapping[str, np.ndarray]) -> np.ndarray:
    codes = np.concatenate([array & 15, array >> 4], axis=1)
    created: np.ndarray = results[f"{stem}_least"] + results[f"{stem}_step"] * codes
    return created


def _blocks(node: NodeProto, results: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, K) of MatMulNBits, whose weights are (N, blocks, bytes), scales (N, blocks)."""
    options = {item.name: item.i for item in node.attribute}
    n, k, bits = options["N"], options["K"], options["bits"]
    codes, scales = results[node.input[1]], results[node.input[2]].reshape(n, -1, 1).astype(np.float32)
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(n, codes.shape[1], -1)
    zero = np.full(scales.shape, 1 << (bits - 1), np.float32)
    if len(node.input) > 3 and node.input[3]:
        packed = results[node.input[3]].reshape(n, -1)
        if bits == 4:
            packed = np.stack([packed & 15, packed >> 4], axis=-1).reshape(n, -1)
        zero = packed[:, : scales.shape[1], None].astype(np.float32)
    created: np.ndarray = ((codes.astype(np.float32) - zero) * scales).reshape(n, -1)[:, :k]
    return created
