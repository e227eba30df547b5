"""int8 by the scales that a model was trained with: its products and tables in 8 bits, with exactly those of its QuantSpec.

`int8` has ONNX Runtime's own product of 8 bits with its bias, and attention as one operator, as dynamic files have it: what it
multiplies is float in training too. `int8-static` has QuantizeLinear and DequantizeLinear of ONNX, which others read too, and
computes the same: ONNX Runtime (1.32) makes the same products of them, but adds biases by themselves. Beside the file with
scales found at run time, `int8` of a BERT of 3 x 384 takes 0.99 times as long, and `int8-static` 1.15 times at 12 tokens and
1.06 times at 128 (one thread, batch 1, medians in turns).

Exporters rename weights and turn them; each is known again by its values, which lie on the steps of its own scales.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import QuantizationVariant, check_stored
from edgebert.converters._onnx_attention import with_attention
from edgebert.converters._onnx_embedding import per_row, tables
from edgebert.converters._onnx_int8 import products
from edgebert.errors import EdgebertError
from edgebert.quantization import Granularity, TensorSpec
from edgebert.runtime.session import Source

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Stored = Mapping[Granularity, Sequence[QuantizationVariant]]
TRAINED: Stored = {"channel": (QuantizationVariant("trained", {"scales": "trained", "portable": False}),)}
PORTABLE: Stored = {"channel": (QuantizationVariant("trained-portable", {"scales": "trained", "portable": True}),)}
OWN = "MatMulIntegerToFloat"  # of com.microsoft


@dataclass(frozen=True)
class _Layer:
    """A linear layer of the spec: its name, how its weights are stored, and how what it reads is."""

    name: str
    weight: TensorSpec
    reads: TensorSpec


def trained(source: Source, model: ModelProto, variant: QuantizationVariant) -> ModelProto:
    """The ModelProto of a float32 one, in place, by `source.quantization`.

    Raises:
        EdgebertError: more bits than a byte has, two layers with the same weights and other ranges, or a layer of the spec
            that is not in the file.
    """
    assert source.quantization is not None
    spec = source.quantization
    check_stored(spec)
    weights = {name: dict(source.graph.named_parameters())[f"model.{name}"].detach().numpy() for name in spec.weights}
    layers: dict[str, _Layer] = {}
    for name, reads in spec.activations.items():
        layer = _Layer(name, spec.weights[f"{name}.weight"], reads)
        other = layers.setdefault(_digest(weights[f"{name}.weight"]), layer)
        if other.reads != reads:
            raise EdgebertError(
                f"{other.name} and {name} have the same weights: which is which is not known in the file"
            )
    _tables(model, {_digest(weights[name]): how for name, how in spec.weights.items()})
    _products(model, layers)
    if not variant.options["portable"]:
        _merge(model)
    _drop_unread(model)
    return model if variant.options["portable"] else with_attention(model)


def _digest(weight: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(weight + 0.0, np.float32).tobytes()).hexdigest()  # -0.0 becomes 0.0


def _tables(model: ModelProto, specs: dict[str, TensorSpec]) -> None:
    """Tables with the scales of their rows; a table outside the spec keeps its floats' own."""
    from onnx import numpy_helper

    found = {name: specs.get(_digest(numpy_helper.to_array(item))) for name, item in tables(model).items()}
    per_row(model, {name: np.array(how.scale, np.float32) for name, how in found.items() if how and how.scale})


def _products(model: ModelProto, layers: dict[str, _Layer]) -> None:
    from onnx import numpy_helper

    arrays = {item.name: item for item in model.graph.initializer}
    fixed = {node.output[0]: node for node in products(model)}
    nodes, found, written = [], set(), _Written(model)
    for node in model.graph.node:
        layer = None
        if node.output[0] in fixed:
            array = numpy_helper.to_array(arrays[node.input[1]])
            rows = array if _turned(node) else array.T  # an output each
            layer = layers.get(_digest(rows))
        if layer is None:
            nodes.append(node)
            continue
        found.add(layer.name)
        nodes += written.product(node, layer, rows)
    if lost := [layer.name for layer in layers.values() if layer.name not in found]:
        raise EdgebertError(f"{lost[0]} was trained in few bits, and no product of the ONNX graph has its weights")
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _turned(node: NodeProto) -> bool:
    """Whether a product's weights have an output a row, as a Gemm's may have."""
    return any(item.name == "transB" and item.i for item in node.attribute)


class _Written:
    """What was added to a graph, so that layers that read one tensor by one scale share its steps."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.names: set[str] = set()

    def product(self, node: NodeProto, layer: _Layer, rows: np.ndarray) -> list[NodeProto]:
        """The nodes that take the place of a product: MatMul of what was quantized and unpacked again, and its bias."""
        from onnx import helper

        read, nodes = self._read(node.input[0], layer.reads)
        stem = node.input[1]
        nodes += self._weight(stem, layer.weight, rows)
        biased = len(node.input) > 2 and bool(node.input[2])
        out = f"{node.output[0]}_product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [read, f"{stem}_floats"], [out], name=f"{node.name}_trained"))
        if biased:
            nodes.append(helper.make_node("Add", [out, node.input[2]], [node.output[0]], name=f"{node.name}_bias"))
        return nodes

    def _read(self, tensor: str, how: TensorSpec) -> tuple[str, list[NodeProto]]:
        """The name of a tensor after its rounding, and the nodes that round it, where no other layer has them.

        Steps are stored from 0 to 255 with a zero point of 128, which stand for the same numbers as -128 to 127: on x86 ONNX
        Runtime (1.32) leaves products in float where signed steps are read by more than one.
        """
        from onnx import helper

        zero = how.zero_point[0] if how.zero_point else 2 ** (how.bits - 1)
        stem = f"{tensor}_by_{how.scale[0]:.9g}_{zero}"
        steps, scales, floats = f"{stem}_steps", [f"{stem}_scale", f"{stem}_zero_point"], f"{stem}_floats"
        if stem in self.names:
            return floats, []
        self.names.add(stem)
        self._constant(scales[0], np.array(how.scale[0], np.float32))
        self._constant(scales[1], np.array(zero, np.uint8))
        return floats, [
            helper.make_node("QuantizeLinear", [tensor, *scales], [steps], name=f"{stem}_quantize"),
            helper.make_node("DequantizeLinear", [steps, *scales], [floats], name=f"{stem}_unpack"),
        ]

    def _weight(self, stem: str, how: TensorSpec, rows: np.ndarray) -> list[NodeProto]:
        from onnx import helper

        if stem in self.names:
            return []
        self.names.add(stem)
        scales = np.array(how.scale, np.float32)
        steps = np.rint(rows / scales[:, None]).astype(np.int8).T
        self._constant(f"{stem}_quantized", np.ascontiguousarray(steps))
        self._constant(f"{stem}_scale", scales)
        self._constant(f"{stem}_zero_point", np.zeros(len(scales), np.int8))
        inputs = [f"{stem}_{part}" for part in ("quantized", "scale", "zero_point")]
        return [helper.make_node("DequantizeLinear", inputs, [f"{stem}_floats"], name=f"{stem}_unpack", axis=1)]

    def _constant(self, name: str, value: np.ndarray) -> None:
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(value, name))


def _merge(model: ModelProto) -> None:
    """Makes each product of two unpacked tensors, with its bias, one node that multiplies them packed."""
    from onnx import helper

    constants = {item.name for item in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    nodes, merged = [], set()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" or node.output[0] in merged:
            continue
        if node.op_type != "MatMul" or not all(name in makers for name in node.input):
            nodes.append(node)
            continue
        (steps, *of_steps), (weight, *of_weight) = (makers[name].input for name in node.input)
        inputs = [steps, weight, of_steps[0], of_weight[0], of_steps[1], of_weight[1]]
        out = node.output[0]
        after = readers.get(out, [])
        if len(after) == 1 and after[0].op_type == "Add" and (bias := constants.intersection(after[0].input)):
            inputs.append(bias.pop())
            out = after[0].output[0]
            merged.add(out)
        nodes.append(helper.make_node(OWN, inputs, [out], name=node.name, domain="com.microsoft"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _drop_unread(model: ModelProto) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [item for item in model.graph.initializer if item.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
