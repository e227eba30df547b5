"""Tensor names: short paths in a file, unique ones while it is being quantized.

litert-torch names a tensor by the classes of all the modules that it lies in, several times over for fused operators:
700 KB in a file of 23 MB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, SubGraphT

NOTHING = "(?!)"  # a pattern that no name has
LAYER = r"/\d+\b"  # in the name of every tensor made inside a numbered layer


def shorten(model: ModelT) -> None:
    """Names tensors by attribute path, `bert/encoder/0/attention/self/query`; inputs and outputs by the signature."""
    for definition in model.signatureDefs:
        tensors = model.subgraphs[definition.subgraphIndex].tensors
        for tensor in tensors:
            tensor.name = _path(tensor.name.decode()).encode()
        for item in (*definition.inputs, *definition.outputs):
            tensors[item.tensorIndex].name = item.name
    for graph in model.subgraphs:
        _number(graph)


def _path(name: str) -> str:
    """The attribute path of a name; of fused operators' names, the last one's."""
    last = [part for part in name.split(";;") if part][-1].split(";")[0]
    steps = [re.sub(r"^[\w.]*\.[A-Za-z0-9]+_", "", step) for step in last.split("/")]
    return "/".join(step for step in steps[1:] if step not in ("core", "model")) or last


def _number(graph: SubGraphT) -> None:
    """Makes names unique within a graph."""
    seen: dict[bytes, int] = {}
    for tensor in graph.tensors:
        count = seen[tensor.name] = seen.get(tensor.name, 0) + 1
        if count > 1:
            tensor.name += b"#%d" % count


def mark(model: ModelT) -> None:
    """Puts a graph's number before its names: ai-edge-quantizer wants them unique in a file."""
    for i, graph in enumerate(model.subgraphs):
        for tensor in graph.tensors:
            tensor.name = b"%d|%s" % (i, tensor.name)


def unmark(model: ModelT) -> None:
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = tensor.name.partition(b"|")[2] or tensor.name


@dataclass(frozen=True)
class Places:
    """Patterns for what the quantizer calls an operator: the names of its results, after `mark`.

    Attributes:
        words: the lookup in the largest table.
        down: products that narrow their input, such as the second of a feed-forward block.
    """

    words: str
    down: str


def find_places(model: ModelT) -> Places:
    """Places of a model whose names are not marked; equal in all its graphs."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    graph = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]

    def weights(builtin: int) -> list[tuple[list[int], str]]:
        """Shape of the weight and name of the result of each operator of a kind."""
        return [
            (list(graph.tensors[op.inputs[1]].shape), graph.tensors[op.outputs[0]].name.decode())
            for op in graph.operators
            if codes[op.opcodeIndex] == builtin
        ]

    tables = weights(BuiltinOperator.EMBEDDING_LOOKUP)
    largest = [max(tables, key=lambda result: result[0][0])[1]] if tables else []
    down = [name for shape, name in weights(BuiltinOperator.FULLY_CONNECTED) if shape[0] < shape[1]]
    return Places(_pattern(largest), _pattern(down))


def _pattern(results: list[str]) -> str:
    return rf"^\d+\|({'|'.join(map(re.escape, results))});" if results else NOTHING
