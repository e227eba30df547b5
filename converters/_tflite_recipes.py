"""What ai-edge-quantizer is asked to do for each reduced precision.

Weights are symmetric, with one scale an output channel unless said otherwise. "Dynamic": the activations of a
product are scaled to 8 bits as they come. "Weight-only": weights are unpacked to float before they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import Precision, QuantizationVariant
from edgebert.converters._tflite_names import LAYER, Places
from edgebert.errors import EdgebertError
from edgebert.runtime.session import Batch
from edgebert.runtime.specs import INPUT_IDS, padding_of

if TYPE_CHECKING:
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer

    from edgebert.converters._tflite_file import Info

ROWS = 32  # calibration rows that are read: ranges settle long before

PRECISIONS = {
    "int8": Precision("8-bit weights, activations scaled as they come"),
    "int8-tensor": Precision("as int8, with one scale a weight: what runtimes before 2024 compute", one_scale=True),
    "int8-weights": Precision("8-bit weights, float arithmetic", compute="fp32"),
    "int8-static": Precision(
        "8-bit weights and activations in the layers, ranges from calibration rows; the rest as int8",
        variants=(QuantizationVariant("but-down", {"down": "dynamic"}), QuantizationVariant("all", {"down": "static"})),
        calibrated=True,
        kind="int8-static",
    ),
    "int4-embedding": Precision("4-bit word table, the rest as int8", kind="int4", embedding_bits=4),
    "fp16": Precision("16-bit weights, float arithmetic", kind="fp16", compute="fp32", bits=16, embedding_bits=16),
}


def quantize(
    content: bytes,
    places: Places,
    precision: str,
    variant: QuantizationVariant,
    calibration: Sequence[Batch],
    info: Info,
) -> bytearray:
    """The quantized flatbuffer of a float one.

    Args:
        content: whose tensor names are unique.
        places: where its operators of note are.

    Raises:
        EdgebertError: a calibrated precision without rows.
    """
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(content)
    FILL[precision](quantizer, variant, places)
    result = None
    if PRECISIONS[precision].calibrated:
        result = quantizer.calibrate(_samples(calibration, info), num_threads=1)
    return quantizer.quantize(result, enable_progress_bar=False, enable_progress_report=False).quantized_model


def _samples(calibration: Sequence[Batch], info: Info) -> dict[str, list[dict[str, np.ndarray]]]:
    """The rows as each signature takes them: padded, or cut where they are longer."""
    rows = [batch for batch in calibration if batch[INPUT_IDS].size][:ROWS]
    if not rows:
        raise EdgebertError(
            "a calibrated precision needs rows to measure activations on, and there are none",
            hint="Pass the task's rows, or take int8, which needs none.",
        )
    return {f"seq{length}": [_padded(row, length, info) for row in rows] for length in info["lengths"]}


def _padded(row: Batch, length: int, info: Info) -> dict[str, np.ndarray]:
    fed = {}
    for name in info["inputs"]:
        fed[name] = np.full((1, length), padding_of(name, info["pad_id"]), np.int32)
        values = row[name][:1, :length]
        fed[name][:, : values.shape[1]] = values
    return fed


# ---------------------------------------------------------------- recipes


def _dynamic(quantizer: Quantizer, variant: QuantizationVariant, places: Places) -> None:
    """A scale a row of the word table is 12 bytes a word; with one for all of it, its rows being alike, little is lost."""
    quantizer.add_dynamic_config(".*", _all(), 8)
    quantizer.add_dynamic_config(places.words, _operation("EMBEDDING_LOOKUP"), 8, granularity=_one_scale())


def _tensor(quantizer: Quantizer, variant: QuantizationVariant, places: Places) -> None:
    quantizer.add_dynamic_config(".*", _all(), 8, granularity=_one_scale())


def _weights(quantizer: Quantizer, variant: QuantizationVariant, places: Places) -> None:
    quantizer.add_weight_only_config(".*", _all(), 8)


def _static(quantizer: Quantizer, variant: QuantizationVariant, places: Places) -> None:
    """Matrix products inside numbered layers get fixed ranges. Norms and activations between them stay float, for in
    8 bits they wreck the logits; and what the feed-forward block narrows has outliers that cost most of what is lost."""
    _dynamic(quantizer, variant, places)
    quantizer.add_static_config(LAYER, _operation("FULLY_CONNECTED"), 8, 8)
    if variant.options["down"] == "dynamic":
        quantizer.add_dynamic_config(places.down, _operation("FULLY_CONNECTED"), 8)


def _int4_embedding(quantizer: Quantizer, variant: QuantizationVariant, places: Places) -> None:
    quantizer.add_dynamic_config(".*", _all(), 8)
    quantizer.add_dynamic_config(places.words, _operation("EMBEDDING_LOOKUP"), 4)


def _half(quantizer: Quantizer, variant: QuantizationVariant, places: Places) -> None:
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    for name in ("FULLY_CONNECTED", "EMBEDDING_LOOKUP", "CONV_2D", "DEPTHWISE_CONV_2D"):
        quantizer.add_weight_only_config(".*", _operation(name), 16, algorithm_key=AlgorithmName.FLOAT_CASTING)


FILL: dict[str, Callable[[Quantizer, QuantizationVariant, Places], None]] = {
    "int8": _dynamic,
    "int8-tensor": _tensor,
    "int8-weights": _weights,
    "int8-static": _static,
    "int4-embedding": _int4_embedding,
    "fp16": _half,
}


def _one_scale() -> QuantGranularity:
    from ai_edge_quantizer.qtyping import QuantGranularity

    return QuantGranularity.TENSORWISE


def _all() -> TFLOperationName:
    return _operation("ALL_SUPPORTED")


def _operation(name: str) -> TFLOperationName:
    from ai_edge_quantizer.qtyping import TFLOperationName

    return TFLOperationName[name]
