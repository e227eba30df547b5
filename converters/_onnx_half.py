"""Half precision, and weights of 4 bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.converters import QuantizationVariant
from edgebert.converters._onnx_attention import with_attention
from edgebert.converters._onnx_blocks import in_blocks
from edgebert.converters._onnx_embedding import per_row
from edgebert.converters._onnx_embedding4 import pack_word_table
from edgebert.converters._onnx_export import sample, values
from edgebert.converters._onnx_int8 import products
from edgebert.errors import EdgebertError
from edgebert.quantization import Granularity
from edgebert.runtime.quiet import quiet
from edgebert.runtime.session import Source

if TYPE_CHECKING:
    from onnx import ModelProto

# Of a model that says bits and groups itself.
INT4_STORED: Mapping[Granularity, Sequence[QuantizationVariant]] = {
    "group": tuple(
        QuantizationVariant(name, {"accuracy_level": level}) for name, level in (("own-bits", 4), ("own-bits-float", 0))
    )
}
LARGEST = float(np.finfo(np.float16).max)

# Level 4 multiplies activations in 8 bits, level 0 in float: which is faster depends on the length and the processor.
INT4 = tuple(
    QuantizationVariant(name, {"block_size": size, "symmetric": symmetric, "accuracy_level": level})
    for name, size, symmetric, level in (
        ("block32", 32, True, 4),
        ("block32-zero-points", 32, False, 4),
        ("block64", 64, True, 4),
        ("block32-float", 32, True, 0),
    )
)


def fp16(source: Source, model: ModelProto, variant: QuantizationVariant) -> ModelProto:
    """Weights and computation in half, inputs int64 and outputs float32 as before.

    ONNX Runtime's CPU computes in float32 between its casts, so it would not show what a device in half overflows.
    That is looked for here, in the float32 model.

    Raises:
        EdgebertError: a weight, or a tensor on the calibration rows (random ids without them), is beyond float16.
    """
    from onnx import TensorProto, numpy_helper
    from onnxruntime.transformers.float16 import convert_float_to_float16

    weights = [item for item in model.graph.initializer if item.data_type == TensorProto.FLOAT]
    for name, array in ((item.name, numpy_helper.to_array(item)) for item in weights):
        _check_half("weight", name, array)
    results = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output if name]
    for name, array in values(model, results, sample(source)):
        if array.dtype == np.float32:
            _check_half("tensor", name, array)
    with quiet(capture=True):
        return convert_float_to_float16(model, keep_io_types=True)


def _check_half(kind: str, name: str, array: np.ndarray) -> None:
    finite = np.abs(array[np.isfinite(array)])  # MPNet takes the logarithm of 0 and does not use it, in any precision
    if (largest := finite.max(initial=0)) > LARGEST:
        raise EdgebertError(
            f"{kind} {name} reaches {largest:.3g}, float16 ends at {LARGEST:.0f}", hint="Use precision fp32 or int8."
        )


def stored_bits(source: Source, model: ModelProto) -> dict[str, tuple[int, int]]:
    """Name of a product -> bits and group of its weight, where the source's QuantSpec says them.

    Raises:
        EdgebertError: a weight of the spec is not in the graph: they are of two models.
    """
    from onnx import numpy_helper

    assert source.quantization is not None
    specs = {name: spec for name, spec in source.quantization.weights.items() if spec.granularity == "group"}
    graph: Any = source.graph
    parameters = dict(graph.model.named_parameters())
    constants = {item.name: item for item in model.graph.initializer}
    nodes = [(node.name, numpy_helper.to_array(constants[node.input[1]])) for node in products(model)]
    results: dict[str, tuple[int, int]] = {}
    for name, spec in specs.items():
        weight = parameters[name].detach().numpy().T if name in parameters else np.empty(0)
        found = [node for node, array in nodes if array.shape == weight.shape and _parallel(array, weight)]
        if not found:
            raise EdgebertError(f"{name} of quantization.json is no weight of a product of this model")
        results |= dict.fromkeys(found, (spec.bits, spec.group))
    return results


def _parallel(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether one is the other, perhaps times a number that the exporter folded into it."""
    return bool((ours * theirs).sum() >= 0.99999 * np.linalg.norm(ours) * np.linalg.norm(theirs))


def int4(source: Source, model: ModelProto, variant: QuantizationVariant) -> ModelProto:
    """Products with weights of 4 bits in blocks, each with a scale; embedding tables in 8 bits, a scale a row. Of a model with
    a QuantSpec of groups each product has the bits and the groups that it says, and others stay in float.

    Raises:
        EdgebertError: the quantizer found no product that it can take.
    """
    per_row(model)
    head = [node.name for node in products(model)[-1:]]  # small, and the most sensitive
    stored = stored_bits(source, model) if source.quantization else {}
    if stored:
        created = model
        for bits, group in sorted(set(stored.values())):
            leave = [node.name for node in products(created) if stored.get(node.name) != (bits, group)]
            created = in_blocks(created, bits=bits, block_size=group, leave=leave, **variant.options)
    else:
        created = in_blocks(model, bits=4, leave=head, **variant.options)
    if not Counter(node.op_type for node in created.graph.node)["MatMulNBits"]:
        raise EdgebertError(
            f"{source.family} has no matrix product that ONNX Runtime takes in 4 bits", hint="Use precision int8."
        )
    return with_attention(created)


def int4_all(source: Source, model: ModelProto, variant: QuantizationVariant) -> ModelProto:
    """`int4` with the word table in 4 bits too."""
    pack_word_table(model)
    return int4(source, model, variant)
