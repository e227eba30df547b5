"""A .tflite file whose pruned matrices are stored sparse, to see what LiteRT makes of it; edgebert writes no such file.

The TFLite schema stores a matrix by rows of non-zero numbers (CSR), or of non-zero blocks of 1 × 4. A kernel may read that, or
an operator DENSIFY unpacks it when the file is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgebert.converters._tflite_file import read_files, read_model, write

LEAST = 0.3  # share of zeros from which a matrix is stored sparse


def write_sparse(path: Path, place: Path, *, block: int = 1, densify: bool = False) -> Path:
    """The float32 file at `path` with sparse matrices in its fully connected operators, written to `place`.

    Args:
        block: numbers of a row that are kept or left out together.
        densify: with an operator DENSIFY between the matrix and its use.
    """
    from ai_edge_litert import schema_py_generated as schema

    model, packed = read_model(path), {}
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DENSIFY
    model.operatorCodes.append(code)
    for graph in model.subgraphs:
        unpacking = []
        for operator in graph.operators:
            kind = model.operatorCodes[operator.opcodeIndex].builtinCode
            if kind != schema.BuiltinOperator.FULLY_CONNECTED:
                continue
            tensor = graph.tensors[operator.inputs[1]]
            if tensor.buffer not in packed:
                matrix = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32).reshape(tensor.shape)
                if (matrix == 0).mean() < LEAST:
                    continue
                packed[tensor.buffer] = _sparsity(schema, matrix, block)
                blocks = matrix.reshape(len(matrix), -1, block)
                model.buffers[tensor.buffer].data = np.frombuffer(blocks[(blocks != 0).any(2)].tobytes(), np.uint8)
            tensor.sparsity = packed[tensor.buffer]
            if densify:
                unpacking.append(_unpacked(schema, model, graph, operator))
        graph.operators = [*unpacking, *graph.operators]
    write(place, model, read_files(path))
    return place


def _sparsity(schema: Any, matrix: np.ndarray, block: int) -> Any:
    kept = (matrix.reshape(len(matrix), -1, block) != 0).any(2)  # (rows, blocks)

    def whole(values: np.ndarray) -> Any:
        vector = schema.Int32VectorT()
        vector.values = values.astype(np.int32)
        return vector

    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = schema.DimensionType.DENSE, len(matrix)
    columns.format = schema.DimensionType.SPARSE_CSR
    columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    columns.arraySegments = whole(np.concatenate([[0], kept.sum(1).cumsum()]))
    columns.arrayIndices = whole(np.nonzero(kept)[1])
    result = schema.SparsityParametersT()
    result.dimMetadata, result.traversalOrder = [rows, columns], np.arange(2, dtype=np.int32)
    if block > 1:
        inside = schema.DimensionMetadataT()
        inside.format, inside.denseSize = schema.DimensionType.DENSE, block
        result.dimMetadata.append(inside)
        result.traversalOrder, result.blockMap = np.arange(3, dtype=np.int32), np.ones(1, np.int32)
    return result


def _unpacked(schema: Any, model: Any, graph: Any, operator: Any) -> Any:
    """A DENSIFY of the operator's matrix, whose result the operator reads from now on."""
    sparse, dense = graph.tensors[operator.inputs[1]], schema.TensorT()
    dense.shape, dense.type, dense.name, dense.buffer = sparse.shape, sparse.type, sparse.name + b"/dense", 0
    graph.tensors.append(dense)
    result = schema.OperatorT()
    result.opcodeIndex = len(model.operatorCodes) - 1
    result.inputs, result.outputs = [operator.inputs[1]], [len(graph.tensors) - 1]
    operator.inputs = [operator.inputs[0], len(graph.tensors) - 1, *operator.inputs[2:]]
    return result
