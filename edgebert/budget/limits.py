"""The limits of a budget, in one list: a figure is held against its limit here, whether it was predicted or measured.

The first four are known to planning, to the choice of a file and to the gate, the others to the gate alone: see
`edgebert.budget.settings` for the file in which they are written. `of_candidate` gives the figures that are predicted of a student before it exists, `of_file` those of a finished file:
measured where something measured them, else predicted, and each says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from edgebert.cost.analytic import predict_memory_bytes
from edgebert.results import ArtifactResult, ModelResult
from edgebert.types import Budget, Candidate, DeviceProfile, FitRequest, Footprint, Latency


@dataclass(frozen=True)
class Limit:
    """One limit.

    Attributes:
        name: the key in the file, and the field of `Budget` where there is one.
        title: what it judges.
        setting: the option of `edgebert fit`, which is also the field of `FitRequest`; "" where planning does not know it.
        step: a suggested value is rounded up to a multiple of it.
        digits: decimals, at the least.
        at_least: the figure must not be lower; otherwise not higher.
        most: the largest value that makes sense.
        places: what it can be judged on, of PLACES; () where there is but one such figure.
        by_label: it judges every label that has enough rows.
        growth: it judges what changed against a baseline.
    """

    name: str
    title: str
    unit: str
    setting: str = ""
    step: float = 0.1
    digits: int = 1
    at_least: bool = False
    most: float = float("inf")
    places: tuple[str, ...] = ()
    by_label: bool = False
    growth: bool = False


# Measured on this machine, measured on the device of the fit, predicted for the device.
HERE, DEVICE, PREDICTED = PLACES = ("here", "device", "predicted")
LIMITS = (
    Limit("latency_ms", "latency, p50", "ms", "--max-latency-ms", places=PLACES),
    Limit("size_mb", "size of the file", "MB", "--max-size-mb"),
    Limit("memory_mb", "peak memory of runtime and file", "MB", "--max-memory-mb", 1, places=PLACES),
    Limit("drop_points", "drop against the teacher", "points", "--max-drop", digits=2, most=100),
    Limit("latency_p90_ms", "latency, p90", "ms", places=(HERE, DEVICE)),
    Limit("load_ms", "time to load the file", "ms", places=(HERE, DEVICE), step=1),
    Limit("score", "score", "points", digits=2, at_least=True, most=100),
    Limit("label_score", "lowest F1 of a label", "points", digits=2, at_least=True, most=100, by_label=True),
    Limit(
        "label_drop_points", "largest drop of a label against the teacher", "points", digits=2, most=100, by_label=True
    ),
    Limit("nrmse", "difference from the model's outputs", "of their deviation", step=0.01, digits=3),
    Limit("equal_percent", "answers equal to the model's", "%", digits=2, at_least=True, most=100),
    Limit(
        "tokenizer_mismatches", "golden texts that the packaged tokenizer reads otherwise", "texts", step=1, digits=0
    ),
    Limit("accelerator_fallbacks", "operators that leave the accelerator", "operators", step=1, digits=0),
    Limit("score_points", "drop against the baseline", "points", digits=2, most=100, growth=True),
    Limit("label_points", "largest drop of a label", "points", digits=2, most=100, by_label=True, growth=True),
    Limit("size_percent", "growth of the file", "%", growth=True),
    Limit("latency_percent", "growth of latency, p50", "%", places=PLACES, growth=True),
    Limit("load_percent", "growth of the time to load", "%", places=(HERE, DEVICE), growth=True),
    Limit("memory_percent", "growth of peak memory", "%", places=PLACES, growth=True),
)
PLANNED = tuple(limit for limit in LIMITS if limit.setting)
LOADED = "growth of the process on loading the runtime and the file, and on the first run"


@dataclass(frozen=True)
class Figure:
    """A value that a limit judges, and how it was obtained, as words before and after it."""

    value: float
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Excess:
    """A figure over its limit. One that meets it exactly is within."""

    limit: Limit
    allowed: float
    figure: Figure

    @property
    def ratio(self) -> float:
        return self.figure.value / self.allowed if self.allowed > 0 else float("inf")

    @property
    def amount(self) -> str:
        """The figure in words, with as many decimals as tell it from the limit."""
        value = self.figure.value
        digits = next((d for d in range(self.limit.digits, 7) if round(value, d) > self.allowed), 7)
        return f"{self.figure.before}{value:.{digits}f} {self.limit.unit}{self.figure.after}"

    @property
    def over(self) -> str:
        unit = (
            self.limit.unit.removesuffix("s") if (self.allowed, self.limit.unit) == (1, "points") else self.limit.unit
        )
        return f"over the budget of {self.allowed:g} {unit}"

    @property
    def miss(self) -> str:
        """With the amount: "10.9 MB over the budget of 10 MB, by 0.93"."""
        return f"{self.amount} {self.over}, by {self.figure.value - self.allowed:.2g}"

    @property
    def admits(self) -> str:
        """The setting that would admit the figure: "--max-size-mb 6.1"."""
        step = self.limit.step
        return f"{self.limit.setting} {round(ceil(self.figure.value / step) * step, 6):g}"


def budget_of(request: FitRequest, device: DeviceProfile) -> Budget:
    """The device's budget, with what the request says instead."""
    asked = {limit.name: getattr(request, limit.setting.strip("-").replace("-", "_")) for limit in PLANNED}
    return Budget(**{k: getattr(device.budget, k) if value is None else value for k, value in asked.items()})


def broken(budget: Budget, figures: Mapping[str, Figure]) -> list[Excess]:
    """Every limit that a figure is over; a figure that there is not yet breaks none."""
    held = [(limit, getattr(budget, limit.name), figures.get(limit.name)) for limit in PLANNED]
    return [
        Excess(limit, allowed, figure)
        for limit, allowed, figure in held
        if allowed is not None and figure is not None and figure.value > allowed
    ]


def of_candidate(candidate: Candidate) -> dict[str, Figure]:
    """What is predicted of a student. Latency is held by its p50, not by its interval; the drop is only ever measured."""
    latency = candidate.latency
    return {
        "latency_ms": Figure(latency.p50_ms, "predicted ", interval(latency)),
        "size_mb": Figure(candidate.size_bytes / 1e6),
        "memory_mb": _predicted_memory(candidate.size_bytes),
    }


def of_file(teacher: ModelResult, result: ArtifactResult, device: DeviceProfile, latency: Latency) -> dict[str, Figure]:
    """What is known of a finished file. `latency` is the one that the budget is about."""
    assert result.dev is not None, "a file is scored on the development rows when it is converted"
    score = teacher.dev
    results = result.device_footprint or result.footprint
    how = interval(latency) if latency.how == "predicted" else f" (p50, {latency.statistic})"
    return {
        "latency_ms": Figure(latency.p50_ms, f"{latency.how} ", how),
        "size_mb": Figure(result.artifact.size_bytes / 1e6),
        "memory_mb": _measured_memory(results) if results else _predicted_memory(result.artifact.size_bytes),
        "drop_points": Figure(
            100 * (score.value - result.dev.value),
            "a drop of ",
            f" ({score.metric} on {score.split}, against the teacher)",
        ),
    }


def interval(latency: Latency) -> str:
    """The bounds of a prediction: " [4.7–43]"."""
    return "" if latency.low_ms is None else f" [{latency.low_ms:.2g}–{latency.high_ms:.2g}]"


def worst(excess: Sequence[Excess]) -> float:
    """The worst ratio of a figure to its limit; 0 where nothing is over."""
    return max((item.ratio for item in excess), default=0.0)


def _predicted_memory(size_bytes: int) -> Figure:
    return Figure(predict_memory_bytes(size_bytes) / 1e6, "predicted ", " of memory")


def _measured_memory(footprint: Footprint) -> Figure:
    where = footprint.called or "this machine"
    return Figure(footprint.peak_memory_bytes / 1e6, "measured ", f" of memory on {where} ({LOADED})")
