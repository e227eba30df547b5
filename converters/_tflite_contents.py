"""What a .tflite file is made of: weights as the floats that they stand for, and its operators with their settings.

A reduced file is made from the float32 one's flatbuffer, so tensors keep their names, and operators their order. Not
read: scales of activations, which calibrated precisions choose, and which of two weights of a shape an operator reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import Contents, Operator
from edgebert.converters import _tflite_file as file

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, OperatorT, QuantizationParametersT, SubGraphT, TensorT

CHANGED = frozenset({"DEQUANTIZE", "QUANTIZE"})  # what the quantizer adds
FREE = frozenset({"asymmetricQuantizeInputs", "quantizedBiasType", "weightsFormat", "quantSpec"})  # what it sets


def contents(path: Path) -> Contents:
    """Of an artifact's path, of all its signatures. Raises EdgebertError where it cannot be read."""
    model = file.read_model(path)
    weights: dict[str, np.ndarray] = {}
    operators: list[Operator] = []
    outputs: list[str] = []
    created: dict[tuple[object, ...], np.ndarray] = {}
    for number, graph in enumerate(model.subgraphs):
        names = [f"{number}|{tensor.name.decode()}" for tensor in graph.tensors]
        weights |= {names[i]: array for i, array in _weights(model, graph, created)}
        outputs += [names[i] for i in graph.outputs]
        kinds = file.operator_names(model, graph)
        for kind, operator in zip(kinds, graph.operators, strict=True):
            full = "" if kind in CHANGED else f"{kind} {_settings(operator)}{_integers(model, graph, operator)}"
            read = tuple(names[i] for i in operator.inputs if i >= 0)
            operators.append(Operator(full, read, tuple(names[i] for i in operator.outputs)))
    return Contents(weights, operators, tuple(outputs))


def _settings(operator: OperatorT) -> str:
    values = vars(operator.builtinOptions) if operator.builtinOptions is not None else {}
    return str(sorted((name, np.asarray(value).tolist()) for name, value in values.items() if name not in FREE))


def _integers(model: ModelT, graph: SubGraphT, operator: OperatorT) -> str:
    """Axes, shapes and places that an operator reads; and zero points of weights, which have none in a sound file."""
    results = []
    for place, i in enumerate(operator.inputs):
        tensor = graph.tensors[i] if i >= 0 else None
        if tensor is None or model.buffers[tensor.buffer].data is None:
            continue
        scales = tensor.quantization
        if scales is not None and scales.scale is not None:
            if np.any(scales.zeroPoint):
                results.append(f"input {place} has zero points other than 0")
        elif (integers := _stored(model, tensor)) is not None and integers.dtype.kind in "iu":
            results.append(f"input {place} {integers.ravel().tolist()}")
    return "".join(f", {item}" for item in results)


def _weights(
    model: ModelT, graph: SubGraphT, created: dict[tuple[object, ...], np.ndarray]
) -> Iterator[tuple[int, np.ndarray]]:
    """Float arrays by the number of their tensor. Signatures share buffers: `made` has what others read already."""
    for i, tensor in enumerate(graph.tensors):
        scales = tensor.quantization
        scaled = scales is not None and scales.scale is not None and len(scales.scale) > 0
        key = (tensor.buffer, tensor.type, *tensor.shape) + (
            (np.asarray(scales.scale).tobytes(), np.asarray(scales.zeroPoint).tobytes()) if scaled else ()
        )
        if key not in created:
            array = _stored(model, tensor)
            if array is None or array.size == 0 or not (scaled or array.dtype.kind == "f"):
                continue
            created[key] = _linear(array, scales) if scaled else array.astype(np.float32)
        if created[key].ndim or np.isfinite(created[key]):  # a number that masks scores may be infinite
            yield i, created[key]


def _linear(codes: np.ndarray, scales: QuantizationParametersT) -> np.ndarray:
    """One scale, or one a channel."""
    shape = [1] * codes.ndim
    if len(scales.scale) > 1:
        shape[scales.quantizedDimension] = len(scales.scale)
    zero = np.asarray(scales.zeroPoint, np.float32)
    shifted = codes.astype(np.float32) - zero.reshape(shape if zero.size > 1 else [1] * codes.ndim)
    return np.asarray(shifted * np.asarray(scales.scale, np.float32).reshape(shape), np.float32)


def _stored(model: ModelT, tensor: TensorT) -> np.ndarray | None:
    """A tensor's constant, None where it is computed or of another type."""
    from ai_edge_litert.schema_py_generated import TensorType as Type

    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    raw, shape = np.frombuffer(bytes(data), np.uint8), [int(size) for size in tensor.shape]
    if tensor.type == Type.INT4:  # two a byte, the lower half first, in two's complement
        halves = np.stack([raw & 15, raw >> 4], axis=-1).ravel()[: int(np.prod(shape))].astype(np.int8)
        return np.where(halves > 7, halves - 16, halves).reshape(shape)
    kinds = {Type.FLOAT32: "<f4", Type.FLOAT16: "<f2", Type.INT8: "i1", Type.UINT8: "u1", Type.INT16: "<i2",
             Type.INT32: "<i4", Type.INT64: "<i8"}  # fmt: skip
    kind = kinds.get(tensor.type)
    return raw.view(kind).reshape(shape) if kind else None
