"""Embedding tables in 8 bits with a scale for each row, out of operators that every runtime has.

One scale for a whole table, which ONNX Runtime's quantizer gives, is set by the table's largest value; rare words have
small rows, and lose most. A row of 384 bytes with a scale of its own costs 1 % more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

LEAST_WIDTH = 8  # narrower rows would not pay for their scale; the scales' own tables have width 1
LEAST = 1 << 10  # elements; smaller tables stay float: their scales would outweigh what is saved


def tables(model: ModelProto) -> dict[str, TensorProto]:
    """Float matrices of which rows are gathered, by name: the embedding tables."""
    from onnx import TensorProto

    weights = {item.name: item for item in model.graph.initializer}
    gathered = [node.input[0] for node in model.graph.node if node.op_type == "Gather" and _axis(node) == 0]
    results = {name: weights[name] for name in gathered if name in weights}
    return {
        name: item
        for name, item in results.items()
        if item.data_type == TensorProto.FLOAT
        and len(item.dims) == 2
        and item.dims[1] >= LEAST_WIDTH
        and item.dims[0] * item.dims[1] >= LEAST
    }


def per_row(model: ModelProto, scales_of: Mapping[str, np.ndarray] | None = None) -> int:
    """Replaces Gather(table, ids) by Cast(Gather(int8 table, ids)) * Gather(scales, ids). In place.

    Args:
        scales_of: (rows,) of the tables whose scales are given, by their names.

    Returns:
        How many tables were replaced. A table that something else reads too stays float for that reader.
    """
    from onnx import helper, numpy_helper

    result = tables(model)
    for name, item in result.items():
        quantized, scales = quantize_rows(numpy_helper.to_array(item), (scales_of or {}).get(name))
        model.graph.initializer.extend(
            [numpy_helper.from_array(quantized, f"{name}_int8"), numpy_helper.from_array(scales, f"{name}_scales")]
        )
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Gather" or node.input[0] not in result or _axis(node) != 0:
            nodes.append(node)
            continue
        (table, ids), out = node.input, node.output[0]
        nodes += [
            helper.make_node("Gather", [f"{table}_int8", ids], [f"{out}_int8"], name=f"{out}_rows"),
            helper.make_node("Gather", [f"{table}_scales", ids], [f"{out}_row_scale"], name=f"{out}_scales"),
            helper.make_node("Cast", [f"{out}_int8"], [f"{out}_cast"], name=f"{out}_to_float", to=1),
            helper.make_node("Mul", [f"{out}_cast", f"{out}_row_scale"], [out], name=f"{out}_scaled"),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unread(model, result)
    return len(result)


def quantize_rows(table: np.ndarray, scales: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """int8 (rows, width) and float32 scales (rows, 1), those given or the rows' own: `table` is about their product. A row of
    zeros has scale 1."""
    largest = np.abs(table).max(axis=1, keepdims=True)
    own = np.where(largest == 0, 1.0, largest / 127).astype(np.float32)
    scales = own if scales is None else scales[:, None]
    return np.rint(table / scales).clip(-127, 127).astype(np.int8), scales


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _drop_unread(model: ModelProto, names: Iterable[str]) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [item for item in model.graph.initializer if item.name in read or item.name not in names]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
