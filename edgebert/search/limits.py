"""A budget held against a predicted candidate: what is broken, by how much, and what would admit it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from edgebert.search.cost import predict_memory_bytes
from edgebert.types import Budget, Candidate


@dataclass(frozen=True)
class Limit:
    """One limit of a budget on a predicted figure."""

    value: float
    unit: str
    setting: str  # what the user writes before a value to change it
    measure: Callable[[Candidate], float]
    step: float  # a suggestion is rounded up to a multiple of it


def limits_of(budget: Budget) -> list[Limit]:
    """The limits that a prediction can break; the drop in the metric is measured after training.

    Latency is held against the predicted p50, not against its interval.
    """
    limits = []
    if budget.size_mb is not None:
        limits.append(Limit(budget.size_mb, "MB", "--max-size-mb", lambda c: c.size_bytes / 1e6, 0.1))
    if budget.latency_ms is not None:
        limits.append(Limit(budget.latency_ms, "ms", "--max-latency-ms", lambda c: c.latency.p50_ms, 0.1))
    if budget.memory_mb is not None:
        limits.append(Limit(budget.memory_mb, "MB memory", "[budget] memory_mb =", _memory_mb, 1))
    return limits


def _memory_mb(candidate: Candidate) -> float:
    return predict_memory_bytes(candidate.size_bytes) / 1e6


def broken(limits: Sequence[Limit], candidate: Candidate) -> list[Limit]:
    """The limits that the candidate exceeds; one that it meets exactly is kept."""
    return [limit for limit in limits if limit.measure(candidate) > limit.value]


def overrun(limits: Sequence[Limit], candidate: Candidate) -> float:
    """The worst ratio of a figure to its limit: above 1, the candidate does not fit."""
    ratios = (limit.measure(candidate) / limit.value if limit.value > 0 else float("inf") for limit in limits)
    return max(ratios, default=0.0)


def over(limit: Limit, candidate: Candidate) -> str:
    """A broken limit in words, with as many decimals as tell the figure from the limit."""
    value = limit.measure(candidate)
    digits = next((d for d in range(1, 7) if round(value, d) > limit.value), 7)
    if limit.unit == "ms":
        return f"{predicted_ms(candidate, digits)} over {limit.value:g} ms"
    return f"{value:.{digits}f} {limit.unit} over the budget of {limit.value:g} MB"


def miss(limit: Limit, candidate: Candidate) -> str:
    """The same, with the amount: "10.9 MB over the budget of 10 MB, by 0.93"."""
    return f"{over(limit, candidate)}, by {limit.measure(candidate) - limit.value:.2g}"


def admits(limit: Limit, candidate: Candidate) -> str:
    """The setting that would admit the candidate: "--max-size-mb 6.1"."""
    return f"{limit.setting} {round(ceil(limit.measure(candidate) / limit.step) * limit.step, 6):g}"


def predicted_ms(candidate: Candidate, digits: int = 1) -> str:
    """The predicted time with its interval: "predicted 14.2 ms [4.7–43]"."""
    latency = candidate.latency
    return f"predicted {latency.p50_ms:.{digits}f} ms [{latency.low_ms:.2g}–{latency.high_ms:.2g}]"
