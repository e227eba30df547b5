"""The limits of a budget, in one list: a figure is held against its limit here, whether it was predicted or measured.

`of_candidate` gives the figures that are predicted of a student before it exists, `of_file` those of a finished file:
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
    """One limit: a field of `Budget`, and what a user writes to change it."""

    name: str  # of the field of `Budget`
    title: str  # what it judges
    unit: str
    setting: str  # the option, which is also the field of `FitRequest`
    step: float  # a suggested value is rounded up to a multiple of it
    digits: int = 1  # decimals, at the least


LIMITS = (
    Limit("latency_ms", "latency on the device", "ms", "--max-latency-ms", 0.1),
    Limit("size_mb", "size of the file", "MB", "--max-size-mb", 0.1),
    Limit("memory_mb", "peak memory of runtime and file", "MB", "--max-memory-mb", 1),
    Limit("drop_points", "drop against the teacher", "points", "--max-drop", 0.1, digits=2),
)
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
    asked = {limit.name: getattr(request, limit.setting.strip("-").replace("-", "_")) for limit in LIMITS}
    return Budget(**{k: getattr(device.budget, k) if value is None else value for k, value in asked.items()})


def broken(budget: Budget, figures: Mapping[str, Figure]) -> list[Excess]:
    """Every limit that a figure is over; a figure that there is not yet breaks none."""
    held = [(limit, getattr(budget, limit.name), figures.get(limit.name)) for limit in LIMITS]
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
