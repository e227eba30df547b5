"""Attention as the one operator that ONNX has for it since opset 23, in place of the ten that exporters write.

ONNX Runtime's kernel (1.32) reads the heads where the projections left them, so nothing is transposed, and adds the mask in
the product. benchmarks/roofline.md has what that saves. The results are the same, to the last bit in most families; MPNet's two
biases are added in another order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPSET = 23
FIRST_RUNTIME = (1, 25)  # has it since 1.23, and edgebert takes none of 1.21 to 1.24; 1.20 is Python 3.10's
# What has changed from opset 17 to 23 only by more types, or by options whose default is what it did before.
SAME_MEANING = frozenset({
    "Cast", "Constant", "ConstantOfShape", "Cos", "DequantizeLinear", "Equal", "Flatten", "Identity", "Pad", "QuantizeLinear",
    "Reshape", "Shape", "Sin", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
CHOOSING = frozenset({"Slice", "Gather", "GatherElements", "GatherND", "Split", "TopK"})
SPLIT, SPLIT_KEYS = (0, 2, 1, 3), (0, 2, 3, 1)  # (batch, tokens, heads, size) turned to what is multiplied


@dataclass(frozen=True)
class Found:
    """softmax(scale * query keys + biases) values: names of tensors, (batch, tokens, width) but for the biases."""

    query: str
    keys: str
    values: str
    biases: tuple[str, ...]
    heads: int
    scale: float
    output: str


def with_attention(model: ModelProto) -> ModelProto:
    """The model with Attention where the installed ONNX Runtime has it; else, and where nothing is found, as it was."""
    import onnx
    import onnxruntime

    runtime = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    if runtime < FIRST_RUNTIME or onnx.defs.onnx_opset_version() < OPSET or not merge_attention(model):
        return model
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = OPSET
    model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", OPSET)]))
    return model


def merge_attention(model: ModelProto) -> int:
    """Puts Attention in place of its parts, and leaves the opset as it is. In place.

    Returns:
        How many were found: 0 too where an operator of the graph means something else in opset 23.
    """
    if not _same_meaning(model):
        return 0
    found = {item.output: item for item in _Finder(model).all()}
    nodes: list[NodeProto] = []
    biases: dict[tuple[str, ...], str] = {}
    for node in model.graph.node:
        item = next((found[name] for name in node.output if name in found), None)
        nodes += [node] if item is None else _attention(item, biases)
    if found:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        _drop_dead(model)
    return len(found)


def _same_meaning(model: ModelProto) -> bool:
    from onnx import defs

    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    kinds = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")} - SAME_MEANING
    known = [kind for kind in kinds if defs.has(kind, version, "")]
    return all(defs.get_schema(kind, version).since_version == defs.get_schema(kind, OPSET).since_version
               for kind in known)  # fmt: skip


def _attention(item: Found, biases: dict[tuple[str, ...], str]) -> list[NodeProto]:
    """The node, and before the first that adds these biases their sum with its rows written out: ONNX Runtime (1.32) refuses
    one row for all queries, although the operator is defined so."""
    from onnx import helper, numpy_helper

    nodes = []
    if item.biases not in biases:
        first, *more = item.biases
        for bias in more:
            nodes.append(helper.make_node("Add", [first, bias], [f"{first}_and_bias"], name=f"{first}_and_bias"))
            first = f"{first}_and_bias"
        biases[item.biases] = rows = f"{first}_rows"
        one = numpy_helper.from_array(np.ones(1, np.int64))
        shape = [f"{rows}_one", f"{rows}_one", f"{rows}_n", f"{rows}_one"]
        nodes += [
            helper.make_node("Constant", [], [f"{rows}_one"], name=f"{rows}_one", value=one),
            helper.make_node("Shape", [item.query], [f"{rows}_n"], name=f"{rows}_n", start=1, end=2),
            helper.make_node("Concat", shape, [f"{rows}_shape"], name=f"{rows}_shape", axis=0),
            helper.make_node("Expand", [first, f"{rows}_shape"], [rows], name=rows),
        ]
    inputs = [item.query, item.keys, item.values, biases[item.biases]]
    options = {"q_num_heads": item.heads, "kv_num_heads": item.heads, "scale": item.scale}
    return [*nodes, helper.make_node("Attention", inputs, [item.output], name=f"{item.output}_attention", **options)]


class _Finder:
    """Attention as it is exported of a BERT: (batch, tokens, width) cut into heads by Reshape and Transpose, and joined again."""

    def __init__(self, model: ModelProto) -> None:
        from onnx import numpy_helper

        self.nodes: Sequence[NodeProto] = model.graph.node
        self.makers: Mapping[str, NodeProto] = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)
        self.weights = {item.name: item for item in model.graph.initializer}
        self._array = numpy_helper.to_array

    def all(self) -> Iterable[Found]:
        for node in self.nodes:
            if node.op_type == "Softmax" and _option(node, "axis", -1) in (-1, 3) and (item := self._around(node)):
                yield item

    def _around(self, softmax: NodeProto) -> Found | None:
        product = self._reader(softmax.output[0], "MatMul")
        turned = self._reader(product.output[0], "Transpose") if product else None
        joined = self._reader(turned.output[0], "Reshape") if turned else None
        if product is None or turned is None or joined is None:
            return None
        if tuple(_option(turned, "perm", ())) != SPLIT or product.input[0] != softmax.output[0]:
            return None
        values = self._heads(product.input[1], SPLIT)
        scores, scale, biases = self._scores(softmax.input[0])
        query = self._heads(scores.input[0], SPLIT) if scores else None
        keys = self._heads(scores.input[1], SPLIT_KEYS) if scores else None
        if not (query and keys and values and biases and query[1] == keys[1] == values[1]):
            return None
        if self._of_same_tokens(query[0], keys[0]):
            return Found(query[0], keys[0], values[0], biases, query[1], scale, joined.output[0])
        return None

    def _scores(self, name: str, most: int = 2) -> tuple[NodeProto | None, float, tuple[str, ...]]:
        """The product that a tensor is but for what is added to it, at most so often; the number that it is multiplied by; and
        what is added."""
        node = self.makers.get(name)
        if node is not None and node.op_type == "Add" and most:
            for inner, bias in (tuple(node.input), tuple(reversed(node.input))):
                scores, scale, biases = self._scores(inner, most - 1)
                if scores is not None:
                    return scores, scale, (*biases, bias)
            return None, 1.0, ()
        scale = 1.0
        if node is not None and node.op_type in ("Mul", "Div"):
            number = self._constant(node.input[1])
            if number is None or number.size != 1:
                return None, scale, ()
            scale = float(number.item()) if node.op_type == "Mul" else 1 / float(number.item())
            node = self.makers.get(node.input[0])
        return (node if node is not None and node.op_type == "MatMul" else None), scale, ()

    def _heads(self, name: str, perm: tuple[int, ...]) -> tuple[str, int] | None:
        """The tensor (batch, tokens, width) that was cut, and into how many heads."""
        turned = self._maker(name, "Transpose")
        cut = self._maker(turned.input[0], "Reshape") if turned and tuple(_option(turned, "perm", ())) == perm else None
        size, width = (self._last(cut.input[1]), self._width(cut.input[0])) if cut else (0, 0)
        return (cut.input[0], width // size) if cut and size > 0 and width and not width % size else None

    def _of_same_tokens(self, query: str, keys: str) -> bool:
        """Whether as many tokens ask as are asked: nothing is chosen on the way to the query from what the keys are made of."""
        above, rest = set(), [keys]
        while rest:
            if (name := rest.pop()) not in above:
                above.add(name)
                rest += self.makers[name].input if name in self.makers else ()
        rest = [query]
        while rest:
            name = rest.pop()
            if name in above or name not in self.makers:
                continue
            if self.makers[name].op_type in CHOOSING:
                return False
            rest += self.makers[name].input
        return True

    def _last(self, shape: str) -> int:
        """The last number of a shape, 0 where it is not constant."""
        made = self._maker(shape, "Concat")
        numbers = self._constant(made.input[-1] if made else shape)
        return int(numbers[-1]) if numbers is not None and numbers.ndim == 1 and numbers.size else 0

    def _width(self, name: str) -> int:
        """Of a projection with a bias, by its bias."""
        added = self._maker(name, "Add") or self._maker(name, "MatMulIntegerToFloat")
        constants = [self._constant(item) for item in added.input] if added else []
        return next((item.size for item in constants if item is not None and item.ndim == 1 and item.size > 1), 0)

    def _constant(self, name: str) -> np.ndarray | None:
        node = self.makers.get(name)
        if node is not None and node.op_type == "Constant":
            value = _option(node, "value", None)
            return None if value is None else self._array(value)
        return self._array(self.weights[name]) if name in self.weights else None

    def _maker(self, name: str, kind: str) -> NodeProto | None:
        node = self.makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def _reader(self, name: str, kind: str) -> NodeProto | None:
        """The only node that reads what is in a tensor."""
        nodes = [node for node in self.readers[name] if node.op_type != "Shape"]
        return nodes[0] if len(nodes) == 1 and nodes[0].op_type == kind else None


def _option(node: NodeProto, name: str, default: Any) -> Any:
    import onnx

    return next((onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def _drop_dead(model: ModelProto) -> None:
    """Removes the nodes that lead to no output, and what they alone read."""
    read = {item.name for item in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    weights = [item for item in model.graph.initializer if item.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
