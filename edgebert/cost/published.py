"""The published latencies against which the cost model was fitted, and the fit, so that its claims can be recomputed.

device_profiles/published.csv holds every point that ran on CPU cores and names a sequence length, with what we know of
its SoC (`cores` is count x GHz x fp32 flops a cycle x int8 operations a cycle, a cluster each). Left out: NPU and
Core ML points, which do not run on these cores, and points without a length. Where a source names no thread count, the
big cores are assumed. Two int8 points of our own are in it, marked `measured`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import median
from typing import TYPE_CHECKING

from edgebert.cost.analytic import EFFICIENCY, SPREAD, estimate_ms
from edgebert.types import Budget, Cores, DeviceProfile

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig


@dataclass(frozen=True)
class Point:
    """One published latency; `device` describes the cores it ran on."""

    device: DeviceProfile
    model: str
    seq_len: int
    threads: int
    precision: str
    latency_ms: float
    how: str
    source: str


def published_points() -> list[Point]:
    """Every row of published.csv, in file order."""
    text = files("edgebert.device_profiles").joinpath("published.csv").read_text("utf-8")
    return [
        Point(
            _device(row),
            row["model"],
            int(row["seq_len"]),
            int(row["threads"]),
            row["precision"],
            float(row["latency_ms"]),
            row["how"],
            row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    ]


def ratio(point: Point, efficiency: dict[str, float] | None = None) -> float:
    """Predicted over published time: above 1, the model is too slow."""
    config = model_config(point.model)
    args = (config, point.device, point.precision, point.seq_len, point.threads, efficiency or EFFICIENCY)
    return estimate_ms(*args) / point.latency_ms


def coverage(spread: float = SPREAD, *, how: tuple[str, ...] = ("published", "measured")) -> float:
    """Share of the points, of those obtained as `how` says, that lie within the interval of the cost model."""
    ratios = [ratio(point) for point in published_points() if point.how in how]
    return sum(1 / spread <= r <= spread for r in ratios) / len(ratios)


def fit_efficiency(precision: str) -> float:
    """The share of the peak at which the median ratio of this precision's points is 1, by bisection.

    fp32 comes first: in an int8 model, attention and the element-wise operators stay in fp32.
    """
    points = [point for point in published_points() if point.precision == precision]
    low, high = 0.01, 4.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        too_slow = median(ratio(point, {**EFFICIENCY, precision: middle}) for point in points) > 1
        low, high = (middle, high) if too_slow else (low, middle)
    return low


def _device(row: dict[str, str]) -> DeviceProfile:
    clusters = [part.split("x") for part in row["cores"].split()]
    return DeviceProfile(
        name=row["device"],
        title=row["device"],
        soc=row["soc"],
        cores=tuple(Cores("", int(n), float(ghz), float(fp32), float(int8)) for n, ghz, fp32, int8 in clusters),
        instructions=("fp16",),
        ram_mb=0,
        memory_gb_per_s=float(row["memory_gb_per_s"]),
        runtimes=(row["runtime"],),
        formats=(),
        threads=int(row["threads"]),
        dispatch_us=float(row["dispatch_us"]),
        budget=Budget(),
        sources={},
    )


@cache
def model_config(name: str) -> ModelConfig:
    """The transformers config of a model that published.csv names."""
    import transformers as tf

    def bert(layers: int, hidden: int, inner: int) -> ModelConfig:
        return tf.BertConfig(
            num_hidden_layers=layers, hidden_size=hidden, intermediate_size=inner, num_attention_heads=12
        )

    tiny = {"num_feedforward_networks": 2, "use_bottleneck_attention": True, "key_query_shared_bottleneck": False}
    return {
        "BERT-base": lambda: bert(12, 768, 3072),
        "MiniLM-L6": lambda: bert(6, 384, 1536),
        "MiniLM-L3": lambda: bert(3, 384, 1536),
        "TinyBERT-4L-312": lambda: bert(4, 312, 1200),
        "ERNIE-tiny-nano": lambda: bert(4, 312, 1248),
        # Three quarters of the heads and of the feed-forward: the same arithmetic as this square shape, within 1 %.
        "ERNIE-tiny-nano-pruned": lambda: bert(4, 264, 1128),
        "mpnet-base": tf.MPNetConfig,
        "MobileBERT": tf.MobileBertConfig,
        "MobileBERT-tiny": lambda: tf.MobileBertConfig(**tiny),
    }[name]()
