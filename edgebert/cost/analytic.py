"""A first analytic model of what a student costs: parameters, file size, memory and time, before it exists.

Time is a roofline (Williams, Waterman and Patterson 2009): each operator takes the longer of its arithmetic at a share
of the cores' peak and its memory traffic at a share of the bandwidth, and a dispatch beside it.

How the constants were obtained (`edgebert.cost.published` refits them from device_profiles/published.csv; a test
fails when they drift apart):

- fp32, 16 published points: at 0.62 of the peak, half are predicted too fast and half too slow. Predicted over
  published time runs from 0.23 (ExecuTorch 0.5, a Galaxy S24) to 3.0 (bolt, a Kirin 990).
- fp16 takes fp32's share: two points contradict each other by a factor of 4.6 and carry no constant of their own.
- int8, one published point (0.5, end to end with its tokenizer) and two measured by us on x86: 0.42.
- SPREAD: the interval holds 18 of the 21 points, 16 of the 19 published ones. Outside: PyTorch of 2020 and ExecuTorch
  0.5, both about 4 times slower than predicted, and a point of bolt, 3 times faster. Three more points lie close to
  the edge because they beat what their cores can do at the length or with the model that they name.

It is wide because it spans engines and phones of eight years. A device that was calibrated (`edgebert calibrate`,
`edgebert.cost.calibration`) is predicted by what was measured on it instead, with the interval of that fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.converters import Precision
from edgebert.cost.calibration import BYTES, calibrations_of, find_calibration
from edgebert.errors import RequestError, unknown
from edgebert.modeling.operators import Operator, embedding_width, operators
from edgebert.types import AS_PUBLISHED, DeviceProfile, Latency

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

EFFICIENCY = {"fp32": 0.62, "fp16": 0.62, "int8": 0.42}  # share of the peak that a product reaches
SPREAD = 3.0  # a prediction p is given as [p / SPREAD, p * SPREAD]
MEMORY_SHARE = 0.5  # ours, not fitted: share of the memory's bandwidth that one process reaches

# Measured by exporting BERT of 1, 3 and 6 layers (hidden 384) with torch.onnx and ONNX Runtime's dynamic int8, and
# running 12 tokens: bytes of the file beyond its parameters, and growth of the peak resident set.
# CHANNELS_BYTES: the scales and zero points of a layer's channels in int8, which the variant that wins most often has.
GRAPH_BYTES, LAYER_BYTES, CHANNELS_BYTES = 21_000, 29_500, 19_000
SESSION_BYTES, MEMORY_PER_FILE_BYTE = 13_000_000, 1.6
LIBRARY_BYTES = 20_000_000  # ours, an estimate: the runtime's own code and data


def predict_latency(
    config: ModelConfig,
    device: DeviceProfile,
    *,
    precision: str,
    seq_len: int,
    threads: int | None = None,
    runtime: str | None = None,
    format: str | None = None,
) -> Latency:
    """One inference of batch 1 over `seq_len` tokens, in ms, with the interval in which it may lie.

    Args:
        precision: fp32, fp16 or int8. int8 is weights and their products; attention stays in fp32, as in dynamic int8.
        threads: cores used, the fastest first; None takes the profile's, 0 all of them.
        runtime: a name for the label, by default the device's first; a calibration knows its own.
        format: of the file, by default the device's first: a device is calibrated for each by itself.

    Raises RequestError for an unknown precision, more threads than cores, a config that cannot be read, or a damaged
    calibration.
    """
    if precision not in BYTES:
        raise unknown("precision", precision, BYTES)
    n_cores = sum(cluster.count for cluster in device.cores)
    threads = device.threads if threads is None else threads or n_cores
    if not 1 <= threads <= n_cores:
        raise RequestError(
            f"{threads} threads were asked for, and {device.name} has {n_cores} cores",
            where="--threads",
            hint=f"Use 1 to {n_cores} threads.",
        )
    result = find_calibration(device, precision=precision, threads=threads, format=format)
    if result is not None:
        p50 = result.predict_ms(config, seq_len)
        low, high, runtime, version = result.low, result.high, result.runtime, result.runtime_version
        statistic = result.statistic
    else:
        p50 = estimate_ms(config, device, precision, seq_len, threads, EFFICIENCY)
        low, high, version, statistic = 1 / SPREAD, SPREAD, "", AS_PUBLISHED
    return Latency(
        how="predicted",
        device=device.name,
        runtime=runtime or device.runtimes[0],
        runtime_version=version,
        threads=threads,
        seq_len=seq_len,
        batch=1,
        p50_ms=p50,
        low_ms=p50 * low,
        high_ms=p50 * high,
        statistic=statistic,
    )


def basis(device: DeviceProfile, *, precision: str, threads: int | None = None, format: str | None = None) -> str:
    """Which model `predict_latency` uses for these, in a sentence."""
    threads = threads or device.threads
    if result := find_calibration(device, precision=precision, threads=threads, format=format):
        return f"{device.name} is {result.description}."
    others = sorted({f"{item.format} {item.precision}, {item.threads} thread(s)" for item in calibrations_of(device)})
    known = f"; it is calibrated for {'; '.join(others)} alone" if others else ""
    return (
        f"{device.name} is not calibrated for {precision} with {threads} thread(s){known}: times are by a roofline "
        f"fitted to published latencies, interval ×/÷ {SPREAD:g}. edgebert calibrate narrows it."
    )


def estimate_ms(
    config: ModelConfig, device: DeviceProfile, precision: str, seq_len: int, threads: int, efficiency: dict[str, float]
) -> float:
    """The roofline itself, with the efficiencies as an argument so that they can be fitted."""
    speed = {kind: peak_gflops(device, kind, threads) * efficiency[kind] for kind in BYTES}
    return sum(_operator_ms(operator, device, precision, speed) for operator in operators(config, seq_len))


def peak_gflops(device: DeviceProfile, precision: str, threads: int) -> float:
    """10^9 operations a second of the `threads` fastest cores. fp16 is fp32's where the device has no fp16 lanes."""
    lanes = 2 if precision == "fp16" and "fp16" in device.instructions else 1
    total = 0.0
    for cluster in device.cores:
        used = min(threads, cluster.count)
        a_cycle = cluster.int8_ops_per_cycle if precision == "int8" else cluster.fp32_flops_per_cycle * lanes
        total, threads = total + used * cluster.clock_ghz * a_cycle, threads - used
    return total


def _operator_ms(operator: Operator, device: DeviceProfile, precision: str, speed: dict[str, float]) -> float:
    """Of all runs of the operator. Only products with a weight are int8, and they quantize their input first."""
    quantized = precision == "int8" and operator.weights > 0
    kind = precision if precision != "int8" or quantized else "fp32"
    moved = operator.weights * BYTES[precision] + operator.activations * (2 if precision == "fp16" else 4)
    arithmetic = operator.flops / (speed[kind] * 1e6)
    memory = moved / (device.memory_gb_per_s * MEMORY_SHARE * 1e6)
    dispatch = device.dispatch_us * 1e-3 * (2 if quantized else 1)
    return operator.count * (max(arithmetic, memory) + dispatch)


_COUNTS: dict[tuple[str, str], tuple[int, int]] = {}  # (config as JSON, Auto class) -> matrices, vectors


def _counts(config: ModelConfig, auto_model: str) -> tuple[int, int]:
    """Parameters in matrices and in vectors of the model that `auto_model` builds, without allocating it."""
    key = (config.to_json_string(use_diff=False), auto_model)
    if key not in _COUNTS:
        import torch

        from edgebert.modeling.checkpoint import build_model

        with torch.device("meta"):
            model = build_model(config, auto_model)
        matrices = sum(p.numel() for p in model.parameters() if p.dim() > 1)
        _COUNTS[key] = (matrices, sum(p.numel() for p in model.parameters()) - matrices)
    return _COUNTS[key]


def count_parameters(config: ModelConfig, auto_model: str) -> int:
    """Exact: the model is built on torch's meta device, and shared parameters count once."""
    return sum(_counts(config, auto_model))


def predict_bytes(config: ModelConfig, auto_model: str, precision: Precision) -> int:
    """Size of a file: the stored bits of each weight of a matrix and of the word table, four bytes for the rest, the graph.

    A student whose layers have bits of their own (`edgebert.methods.q_bert`) says their mean for precisions of few bits.
    Beside them, 4 bytes each: a scale a row of the word table, below 8 bits a least value too; below 8 bits a scale for
    each block of 32 weights.
    """
    matrices, vectors = _counts(config, auto_model)
    table = config.vocab_size * embedding_width(config)
    bits = precision.bits if precision.bits >= 8 else getattr(config, "edgebert_weight_bits", precision.bits)
    stored = (matrices - table) * (bits / 8 + (4 / 32 if precision.bits < 8 else 0))
    a_row = {32: 0, 16: 0, 8: 4}.get(precision.embedding_bits, 8)
    stored += table * precision.embedding_bits / 8 + a_row * config.vocab_size
    a_layer = LAYER_BYTES + (CHANNELS_BYTES if precision.bits == 8 else 0)
    return round(stored) + 4 * vectors + GRAPH_BYTES + a_layer * config.num_hidden_layers


def predict_memory_bytes(size_bytes: int) -> int:
    """Peak memory of a process that runs a file of this size: the file, its packed copy, the session, the runtime.

    An estimate: the slope and the session were measured with ONNX Runtime on x86-64 at 12 tokens, files of 4 to 17 MB.
    """
    return round(LIBRARY_BYTES + SESSION_BYTES + MEMORY_PER_FILE_BYTE * size_bytes)
