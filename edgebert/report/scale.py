"""Maps data onto pixels, linear or logarithmic, and picks round ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10


@dataclass(frozen=True)
class Scale:
    """`low` of the data lies at pixel `start`, `high` at pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        if self.log:
            share = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside the scale: 1-2-5 steps when logarithmic and wide, else about five even steps."""
        return _log_ticks(self.low, self.high) if self.log else _even_ticks(self.low, self.high)


def log_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A logarithmic scale with room of a third around the values, which are above zero."""
    return Scale(min(values) / 1.35, max(values) * 1.35, start, end, log=True)


def linear_scale(values: Sequence[float], start: float, end: float, least: float) -> Scale:
    """A linear scale with room of an eighth around the values, at least `least` wide on each side."""
    room = max((max(values) - min(values)) / 8, least)
    return Scale(min(values) - room, max(values) + room, start, end)


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks = [round(step * 10.0**decade, 12) for decade in decades for step in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return ticks if len(ticks) >= 3 else _even_ticks(low, high)


def _even_ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    magnitude = 10.0 ** floor(log10(raw))
    step = next(s * magnitude for s in (1, 2, 5, 10) if s * magnitude >= raw * 0.999)
    first = ceil(low / step)
    return [round(i * step, 12) for i in range(first, floor(high / step) + 1)]
