"""Static int8: the ranges of the encoder's activations are measured once, on the task's own rows.

Only the inputs of products with constant weights are quantized; sums, normalisations and attention stay float, because
quantizing their results too costs more than it saves. Where a tensor has rare large values (after a residual sum, after
GELU) one fixed scale wastes most of its 256 steps: such products can be left to the dynamic recipe instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import QuantizationVariant
from edgebert.converters._onnx_embedding import per_row, tables
from edgebert.converters._onnx_export import values
from edgebert.converters._onnx_int8 import LSTM, PRODUCTS, dynamic_nodes, products, without_shapes
from edgebert.errors import EdgebertError, RequestError
from edgebert.runtime.quiet import quiet
from edgebert.runtime.scratch import scratch_folder
from edgebert.runtime.session import Batch, Source
from edgebert.runtime.specs import ATTENTION_MASK

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

NOISY_DB = 28.0  # signal to rounding noise of an 8-bit scale; plain tensors of a BERT have 30 dB and more

STATIC = (
    QuantizationVariant("static", {"noisy": "static", "reduce_range": False}),
    QuantizationVariant("static-reduce-range", {"noisy": "static", "reduce_range": True}),
    QuantizationVariant("noisy-dynamic", {"noisy": "dynamic", "reduce_range": False}),
    QuantizationVariant("noisy-dynamic-reduce-range", {"noisy": "dynamic", "reduce_range": True}),
)


def static(source: Source, model: ModelProto, variant: QuantizationVariant) -> ModelProto:
    """The ModelProto with QuantizeLinear and DequantizeLinear around its products, and int8 embeddings.

    Raises:
        RequestError: no calibration rows, or all of them are empty.
        EdgebertError: the quantizer left a product or a table in float.
    """
    rows = _usable(source.calibration)
    per_row(model)
    wanted = products(model)
    left = noisy(model, wanted, rows) if variant.options["noisy"] == "dynamic" else []
    left += [node.name for node in model.graph.node if node.op_type == LSTM]  # which has no static form
    if left:  # what is left of the products then; the quantizer has renamed some of them (Gemm becomes MatMul and Add)
        model = dynamic_nodes(model, left, reduce_range=variant.options["reduce_range"])
    fixed = products(model)
    inputs = {node.input[0] for node in fixed}
    created = _quantize(model, [node.name for node in fixed], rows, variant.options["reduce_range"])
    _prove(created, len(inputs))
    return created


def noisy(model: ModelProto, nodes: Sequence[NodeProto], rows: Iterable[Batch]) -> list[str]:
    """Names of the nodes whose input an 8-bit scale would drown: the signal is under `NOISY_DB` over the rounding."""
    power = signal_to_noise(model, sorted({node.input[0] for node in nodes}), rows)
    return [node.name for node in nodes if power[node.input[0]] < NOISY_DB]


def signal_to_noise(model: ModelProto, tensors: Sequence[str], rows: Iterable[Batch]) -> dict[str, float]:
    """Decibels, by tensor: mean square over the rows against that of rounding to 256 steps over its whole range."""
    low, high = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    squares, counts = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0)
    for name, value in values(model, tensors, rows):
        low[name], high[name] = min(low[name], float(value.min())), max(high[name], float(value.max()))
        squares[name] += float(np.square(value, dtype=np.float64).sum())
        counts[name] += value.size
    noise = {name: ((high[name] - low[name]) / 255) ** 2 / 12 for name in tensors}
    return {
        name: 10 * float(np.log10(squares[name] / counts[name] / noise[name])) if noise[name] > 0 else np.inf
        for name in tensors
    }


def _quantize(model: ModelProto, nodes: Sequence[str], rows: Sequence[Batch], reduce_range: bool) -> ModelProto:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    names = [item.name for item in model.graph.input]

    class Rows(CalibrationDataReader):
        def __init__(self) -> None:
            self._rows = iter(rows)

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self._rows, None)
            return None if row is None else {name: row[name] for name in names}

    with quiet(capture=True), scratch_folder("onnx-") as folder:
        path = folder / "model.onnx"
        quantize_static(
            model,
            str(path),
            Rows(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(PRODUCTS),
            nodes_to_quantize=list(nodes),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "MatMulConstBOnly": True,
                "WeightSymmetric": True,
                "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
            },
        )
        return without_shapes(onnx.load(str(path)))


def _usable(rows: Sequence[Batch]) -> list[Batch]:
    if not rows:
        raise RequestError(
            "int8-static needs rows to calibrate on, and there are none",
            hint="Pass --texts FILE, or --task and --data.",
        )
    usable = [row for row in rows if int(row[ATTENTION_MASK].sum()) > 2]  # two special tokens
    if not usable:
        raise RequestError(f"all {len(rows)} calibration rows are empty", hint="Give rows that hold text.")
    return usable


def _prove(model: ModelProto, n_inputs: int) -> None:
    """Quantizers have been seen to change nothing and say nothing."""
    counts = Counter(node.op_type for node in model.graph.node)
    if counts["QuantizeLinear"] < max(1, n_inputs):
        raise EdgebertError(
            f"{counts['QuantizeLinear']} of {n_inputs} activations were quantized: this would not be a static file",
            hint="Use precision int8, which scales at run time.",
        )
    if rest := sorted(tables(model)):
        raise EdgebertError(f"the embedding table {rest[0]} was left in float", hint="Use precision int8.")
