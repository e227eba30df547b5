"""What in a TFLite file keeps it off an NPU or a GPU, by rules of `edgebert.devices.accelerators`: LiteRT's delegates for them
run on no machine of ours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from edgebert.converters import _tflite_file as file
from edgebert.devices.accelerators import DYNAMIC_SHAPE, GPU_REFUSES, SCALED_AT_RUN_TIME

_GPU = """
ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL CAST CEIL CONCATENATION CONV_2D COS CUMSUM DENSIFY DEPTHWISE_CONV_2D
DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED
GATHER GELU GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN
MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT
SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STABLEHLO_CLAMP STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV
"""
# By the source of GPU_REFUSES, which also looks at types and shapes: `_taken` does at those of casts and lookups.
GPU = frozenset(_GPU.split())
CASTS = frozenset({  # from, to
    ("BOOL", "FLOAT16"), ("BOOL", "FLOAT32"), ("FLOAT16", "BOOL"), ("FLOAT32", "BOOL"),
    *((a, b) for a in ("FLOAT32", "INT32") for b in ("FLOAT32", "INT32")),
})  # fmt: skip
PRODUCTS = frozenset({"FULLY_CONNECTED", "CONV_2D"})
FEW_BITS = frozenset({"INT8", "INT4"})
LOOKUPS = frozenset({*FEW_BITS, "FLOAT32"})


def findings(path: Path) -> dict[str, int]:
    """Counts in the first signature; the others have the same operators. Raises EdgebertError where it cannot be read."""
    from ai_edge_litert.schema_py_generated import TensorType

    model = file.read_model(path)
    graph = model.subgraphs[0]
    types = {code: name for name, code in vars(TensorType).items() if isinstance(code, int)}
    results: Counter[str] = Counter()
    for name, operator in zip(file.operator_names(model, graph), graph.operators, strict=True):
        read, made = ([graph.tensors[i] for i in side if i >= 0] for side in (operator.inputs, operator.outputs))
        kinds = [types[tensor.type] for tensor in (*read[:2], *made[:1])]
        if name in PRODUCTS and kinds[0] == "FLOAT32" and kinds[1] in FEW_BITS:
            results[SCALED_AT_RUN_TIME.finding] += 1
        if name not in GPU or not _taken(name, kinds, [0 if t.shape is None else len(t.shape) for t in read]):
            results[GPU_REFUSES.finding.format(name)] += 1
    signatures = (graph.tensors[i].shapeSignature for i in graph.inputs)
    results[DYNAMIC_SHAPE.finding] = sum(sizes is not None and min(sizes, default=0) < 0 for sizes in signatures)
    return {name: count for name, count in sorted(results.items()) if count}


def _taken(name: str, kinds: list[str], ranks: list[int]) -> bool:
    """Whether the GPU delegate takes these types and shapes.

    Args:
        kinds: of the first two inputs, as far as there are two, and of the first output.
        ranks: of the inputs.
    """
    if name == "CAST":
        return (kinds[0], kinds[-1]) in CASTS
    if name == "EMBEDDING_LOOKUP":
        return ranks[0] == 1 and kinds[1] in LOOKUPS
    if name == "GATHER":
        return kinds[0] != "INT32" and kinds[1] == "INT32" and ranks[1] == 1
    return True
