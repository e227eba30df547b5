"""A budget.toml that a run meets, with some room: what a user begins with."""

from __future__ import annotations

from math import ceil, floor

from edgebert.budget.findings import FIGURES, MissingFigure, Subject, Value
from edgebert.budget.limits import HERE, LIMITS, Limit
from edgebert.budget.settings import GROWTH_TABLE, LIMITS_TABLE, TABLE_TITLES, Setting, default_growth

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


def suggest(subject: Subject) -> str:
    """The file's text: each limit with a comment that says the figure and how it was obtained. A limit of which the run has
    no figure on this machine is left out."""
    lines = [f"# What {subject.report.winner} of {subject.report.run} may be: its figures, with some room.", ""]
    lines += [f"[{LIMITS_TABLE}]  # {TABLE_TITLES[LIMITS_TABLE]}"]
    for limit in LIMITS:
        if limit.growth:
            continue
        setting = Setting(limit, 0.0, HERE if limit.places else "")
        try:
            result = FIGURES[limit.name](subject, setting)
        except MissingFigure:
            continue
        lines += _lines(limit, _bound(limit, result.value), setting.on, result)
    lines += ["", f"[{GROWTH_TABLE}]  # {TABLE_TITLES[GROWTH_TABLE]}: edgebert gate RUN --baseline OLD"]
    for item in default_growth():
        lines += _lines(item.limit, item.bound, item.on, None)
    return "\n".join(lines) + "\n"


def _bound(limit: Limit, value: float) -> float:
    times, more = ROOM.get(limit.name, (1.0, 0.0))
    if limit.at_least:
        return max(0.0, round(floor((value / times - more) / limit.step) * limit.step, 6))
    return min(limit.most, round(ceil(max(0.0, value * times + more) / limit.step) * limit.step, 6))


def _lines(limit: Limit, bound: float, on: str, result: Value | None) -> list[str]:
    """A comment of what the limit is and how the run stands, and the limit."""
    key = "min" if limit.at_least else "max"
    value = f'{{ {key} = {bound:g}, on = "{on}" }}' if on else f"{bound:g}"
    comment = f"{limit.title}, {limit.unit}"
    if result is not None:
        named = f"{result.of}, " if result.of else ""
        comment += f"; now {named}{result.value:.4g} ({result.how})"
    return [f"# {''.join(c if c.isprintable() else '?' for c in comment)}", f"{limit.name} = {value}"]
