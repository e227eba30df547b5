"""Position embeddings as one table that the signatures share.

The converter folds them into a constant a length, which the quantizer then leaves in float: a thirtieth of a small int8
file. As a lookup they are stored once, for the longest signature, and quantized like the other tables.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, OperatorT, SubGraphT, TensorT


def share(model: ModelT, lengths: dict[int, int]) -> None:
    """Turns constants (1, length, width) that are added to something, and are the first rows of the longest signature's,
    into lookups. In place; constants of any other use stay.

    Args:
        lengths: of each signature, by the number of its subgraph.
    """
    from ai_edge_litert import schema_py_generated as schema

    lookup = _code(model, schema.BuiltinOperator.EMBEDDING_LOOKUP)
    add = _code(model, schema.BuiltinOperator.ADD)
    if lookup is None or add is None:
        return
    number = max(lengths, key=lambda i: lengths[i])
    tables = [tensor.buffer for tensor in _added(model, model.subgraphs[number], lengths[number], add)]
    for i, length in lengths.items():
        graph = model.subgraphs[i]
        for tensor in _added(model, graph, length, add):
            mine = _data(model, tensor.buffer)
            table = next((t for t in tables if np.array_equal(_data(model, t)[: len(mine)], mine)), None)
            if table is not None:
                _look_up(model, graph, tensor, table, (length, lengths[number]), lookup)


def _code(model: ModelT, builtin: int) -> int | None:
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return codes.index(builtin) if builtin in codes else None


def _data(model: ModelT, buffer: int) -> np.ndarray:
    return np.frombuffer(bytes(model.buffers[buffer].data), np.uint8)


def _added(model: ModelT, graph: SubGraphT, length: int, add: int) -> list[OperatorT]:
    """Float constants (1, length, width) that nothing but additions read."""
    readers: dict[int, set[int]] = {}
    for operator in graph.operators:
        for i in operator.inputs:
            readers.setdefault(i, set()).add(operator.opcodeIndex)
    return [
        tensor
        for i, tensor in enumerate(graph.tensors)
        if model.buffers[tensor.buffer].data is not None
        and tensor.type == 0  # FLOAT32
        and len(tensor.shape) == 3
        and list(tensor.shape[:2]) == [1, length]
        and readers.get(i) == {add}
    ]


def _look_up(
    model: ModelT, graph: SubGraphT, tensor: TensorT, table: int, lengths: tuple[int, int], lookup: int
) -> None:
    """Makes `tensor` the table's rows, of which the first `lengths[0]` go where it went."""
    from ai_edge_litert import schema_py_generated as schema

    index, width = graph.tensors.index(tensor), int(tensor.shape[2])
    rows, result, buffer = copy.copy(tensor), copy.copy(tensor), schema.BufferT()
    buffer.data = np.frombuffer(np.arange(lengths[0], dtype=np.int32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    rows.name, rows.shape, rows.type, rows.buffer = tensor.name + b"/rows", [lengths[0]], 2, len(model.buffers) - 1
    result.name, result.shape, result.buffer = tensor.name + b"/lookup", [lengths[0], width], 0
    tensor.shape, tensor.buffer = [lengths[1], width], table
    graph.tensors += [rows, result]
    for operator in graph.operators:
        operator.inputs = [len(graph.tensors) - 1 if i == index else i for i in operator.inputs]
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = (
        lookup,
        [len(graph.tensors) - 2, index],
        [len(graph.tensors) - 1],
    )
    graph.operators.insert(0, operator)
