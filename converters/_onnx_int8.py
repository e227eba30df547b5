"""Dynamic int8: weights in 8 bits, activations scaled at run time by the range of each tensor.

The embedding tables are quantized too, a row at a time: they are most of a small model's file. Which variant is best
(reduced range against overflow on x86 without VNNI, the head in float) depends on the model, so each is a variant and the
caller chooses by the task's metric. Weights are signed: unsigned ones run 1.2 times
slower on AVX2 and twice as slow with VNNI, and are no nearer to float than signed ones a channel.

One range for a tensor's activations is too coarse for some models. `s8-blocks` scales every 128 of them, as their weights:
on a reader of SQuAD's texts 97.0 % of 300 answers stayed instead of 91.3 %, in 1.6 times the time (0.7 of float's).
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from edgebert.converters import QuantizationVariant
from edgebert.converters._onnx_attention import with_attention
from edgebert.converters._onnx_blocks import in_blocks
from edgebert.converters._onnx_embedding import per_row
from edgebert.converters._onnx_embedding4 import pack_word_table
from edgebert.runtime.quiet import quiet
from edgebert.runtime.scratch import scratch_folder
from edgebert.runtime.session import Source

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PRODUCTS = ("MatMul", "Gemm", "Conv")  # what is multiplied by weights
LSTM = "LSTM"  # becomes ONNX Runtime's own DynamicQuantizeLSTM


def dynamic(source: Source, model: ModelProto, variant: QuantizationVariant) -> ModelProto:
    """The int8 ModelProto of a float32 one."""
    options = dict(variant.options)
    per_row(model)
    head = [node.name for node in products(model)[-1:]] if options.pop("float_head") else []
    if size := options.pop("block_size", 0):
        model = in_blocks(model, bits=8, block_size=size, leave=head)
    return with_attention(without_shapes(_quantize(model, nodes_to_exclude=head, **options)))


def packed(source: Source, model: ModelProto, variant: QuantizationVariant) -> ModelProto:
    """`dynamic` with the word table in 4 bits."""
    pack_word_table(model)
    return dynamic(source, model, variant)


def dynamic_nodes(model: ModelProto, nodes: list[str], *, reduce_range: bool) -> ModelProto:
    """The model with these products alone made dynamic, a scale for each channel."""
    return _quantize(
        model,
        per_channel=True,
        reduce_range=reduce_range,
        nodes_to_quantize=nodes,
    )


def products(model: ModelProto) -> list[NodeProto]:
    """Nodes that multiply by constant weights, in order: the last one makes the output."""
    constants = {item.name for item in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in PRODUCTS and node.input[1] in constants]


def _quantize(model: ModelProto, **options: object) -> ModelProto:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet(capture=True), scratch_folder("onnx-") as folder:
        path = folder / "model.onnx"
        quantize_dynamic(
            model,
            str(path),
            weight_type=QuantType.QInt8,
            op_types_to_quantize=[*PRODUCTS, LSTM],
            use_external_data_format=True,
            **options,
        )
        return onnx.load(str(path))


def without_shapes(model: ModelProto) -> ModelProto:
    """The model without the inner shapes that quantizers note down: with them ONNX Runtime (1.32) merges residual sums and
    norms into SkipLayerNormalization, a scalar kernel on CPUs, and an int8 BERT of 6 x 384 takes 10 % longer."""
    del model.graph.value_info[:]
    return model


def _trial(per_channel: bool, reduce_range: bool, float_head: bool = False) -> QuantizationVariant:
    options = {"per_channel": per_channel, "reduce_range": reduce_range, "float_head": float_head}
    return QuantizationVariant(
        "".join(["s8", *(f"-{key.replace('_', '-')}" for key, on in options.items() if on)]), options
    )


# A scale a channel in all: a scale a tensor was up to 5 % faster, and on SNIPS one that scored as well on 300 development
# rows lost 1.07 points on test.
GRID = (
    *(_trial(True, *choice) for choice in product((False, True), repeat=2)),
    QuantizationVariant(
        "s8-blocks",
        {"per_channel": True, "reduce_range": False, "float_head": True, "block_size": 128},
        spare=True,
    ),
)
