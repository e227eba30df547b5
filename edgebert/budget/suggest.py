"""A budget.toml that a run meets, with some room: what a user begins with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import ceil, floor

from edgebert.budget.findings import FIGURES, MissingFigure, Subject, Value
from edgebert.budget.limits import DEVICE, HERE, LIMITS, PREDICTED, Limit
from edgebert.budget.settings import GROWTH_TABLE, LIMITS_TABLE, TABLE_TITLES, Setting

# How far a figure may move: times, and points more. A time here depends on what else the machine does.
ROOM = {
    "score": (1.0, 0.5),
    "label_score": (1.0, 3.0),
    "equal_percent": (1.0, 0.5),
    "drop_points": (1.0, 0.5),
    "label_drop_points": (1.0, 3.0),
    "size_mb": (1.05, 0.0),
    "nrmse": (1.2, 0.0),
    "latency_ms": (1.5, 0.0),
    "latency_p90_ms": (2.0, 0.0),
    "load_ms": (3.0, 0.0),
    "memory_mb": (1.2, 0.0),
}


# What may change against a baseline where the budget does not say it, and the limit whose figure it compares.
GROWTH = {
    "score_points": (0.0, "score"),
    "size_percent": (5.0, "size_mb"),
    "latency_percent": (10.0, "latency_ms"),
    "memory_percent": (20.0, "memory_mb"),
}
ORDER = (DEVICE, HERE, PREDICTED)  # a place that comes first is nearer to where the file will run


def suggest(subject: Subject) -> str:
    """The file's text: each limit with a comment that says the figure and how it was obtained. A limit of which the run has
    no figure is left out."""
    lines = [f"# What {subject.report.winner} of {subject.report.run} may be: its figures, with some room.", ""]
    lines += [f"[{LIMITS_TABLE}]  # {TABLE_TITLES[LIMITS_TABLE]}"]
    for limit in LIMITS:
        if limit.growth or (found := _figure(limit, [subject])) is None:
            continue
        on, result = found
        lines += _lines(limit, bound(limit, own(result), result.spread), on, result)
    lines += ["", f"[{GROWTH_TABLE}]  # {TABLE_TITLES[GROWTH_TABLE]}: edgebert gate RUN --baseline OLD"]
    for item in default_growth(subject):
        lines += _lines(item.limit, item.bound, item.on, None)
    return "\n".join(lines) + "\n"


def default_growth(*subjects: Subject) -> tuple[Setting, ...]:
    """What may change against a baseline where the budget does not say it, judged where all these runs have a figure."""
    limits = {limit.name: limit for limit in LIMITS}
    settings = []
    for name, (bound, of) in GROWTH.items():
        if found := _figure(limits[of], subjects):
            settings.append(Setting(limits[name], bound, on=found[0], where="by default"))
    return tuple(settings)


def _figure(limit: Limit, subjects: Sequence[Subject]) -> tuple[str, Value] | None:
    """Where a limit can be judged of all these runs, and the first one's figure there."""
    for on in [place for place in ORDER if place in limit.places] or [""]:
        with suppress(MissingFigure):
            results = [FIGURES[limit.name](subject, Setting(limit, 0.0, on)) for subject in subjects]
            return on, results[0]
    return None


def own(result: Value) -> float:
    """A figure without what other work on the machine added to it."""
    return result.value if result.cpu is None else min(result.value, result.cpu)


def bound(limit: Limit, value: float, spread: float) -> float:
    """With twice the spread of the measurement as room, where that is more: on a machine that others use too it is."""
    times, more = ROOM.get(limit.name, (1.0, 0.0))
    times = max(times, (1 + spread) ** 2)
    if limit.at_least:
        return max(0.0, round(floor(round((value / times - more) / limit.step, 6)) * limit.step, 6))
    return min(limit.most, round(ceil(round(max(0.0, value * times + more) / limit.step, 6)) * limit.step, 6))


def _lines(limit: Limit, bound: float, on: str, result: Value | None) -> list[str]:
    """A comment of what the limit is and how the run stands, and the limit."""
    key = "min" if limit.at_least else "max"
    value = f'{{ {key} = {bound:g}, on = "{on}" }}' if on else f"{bound:g}"
    comment = f"{limit.title}, {limit.unit}"
    if result is not None:
        named = f"{result.of}, " if result.of else ""
        comment += f"; now {named}{result.value:.4g} ({result.how})"
    return [f"# {''.join(c if c.isprintable() else '?' for c in comment)}", f"{limit.name} = {value}"]
