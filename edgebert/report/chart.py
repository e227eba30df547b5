"""The accuracy-latency picture as positions, drawn alike by the page (SVG) and by report.png (matplotlib).

Two panels share the score axis: latency measured on this machine, and latency on the device with the budget, measured
there or predicted with its interval. Units are pixels, y downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from edgebert.report import format as fmt
from edgebert.report import view
from edgebert.report.labels import CHARACTER, Box, Label, place
from edgebert.report.scale import Scale, linear_scale, log_scale
from edgebert.report.view import Entry
from edgebert.results import Report
from edgebert.types import How, Latency

WIDTH, HEIGHT = 460, 380
LEFT, RIGHT, TOP, BOTTOM = 40, 448, 34, 288  # the plot's frame
SIZES_Y = 350  # the legend of areas
LARGEST_RADIUS, TORCH_RADIUS = 25.0, 5.0


@dataclass(frozen=True)
class Mark:
    """One point: a circle whose area is the file's size, or a diamond for a model in torch, which has no file."""

    entry: Entry
    latency: Latency
    x: float
    y: float
    radius: float
    details: tuple[str, ...]  # lines, the first is the title
    low_x: float | None = None  # ends of a prediction's whisker
    high_x: float | None = None

    @property
    def predicted(self) -> bool:
        return self.latency.how == "predicted"


@dataclass(frozen=True)
class Panel:
    title: str
    x_title: str
    y_title: str
    x: Scale
    y: Scale
    marks: tuple[Mark, ...]  # largest first, so that small ones are drawn on top
    labels: tuple[Label, ...]
    sizes: tuple[tuple[float, float, str], ...]  # legend of areas: x, radius, text
    budget: tuple[float, Label] | None  # x of the line, and its text beside it
    floor: tuple[float, str] | None  # y and text
    predicted: bool  # all of it


def panels(report: Report) -> list[Panel]:
    """The panel of this machine and that of the device, each only if it has a point."""
    result = view.entries(report)
    here = [(entry, latency) for entry in result if (latency := view.main_latency(entry, report))]
    there = [(entry, latency) for entry in result if (latency := view.on_device(entry, report))]
    scores = [entry.score.value for entry, _ in here + there]
    floor = view.score_floor(report)
    y = linear_scale([100 * s for s in scores + ([floor] if floor is not None else [])] or [0], BOTTOM, TOP, 0.5)
    return [_panel(report, points, y, is_device) for points, is_device in ((here, False), (there, True)) if points]


def details(entry: Entry, report: Report) -> tuple[str, ...]:
    """What a reader gets who points at an entry."""
    score = entry.score
    lines = [entry.label, f"score {fmt.percent(score.value, 2)} ({fmt.score_basis(score)})"]
    lines.append(f"{fmt.points(view.drop(entry, report))} points against the teacher")
    if entry.artifact:
        lines.append(f"file {fmt.megabytes(entry.artifact.size_bytes)}")
    if here := view.main_latency(entry, report):
        lines.append(f"p50 {fmt.milliseconds(here.p50_ms)} ms, p90 {fmt.milliseconds(here.p90_ms)} ms here")
        lines.append(fmt.latency_basis(here))
    if there := view.on_device(entry, report):
        bounds = f" ({fmt.interval(there)})" if fmt.interval(there) else ""
        lines.append(f"{there.how} {fmt.milliseconds(there.p50_ms)} ms{bounds} on {report.device.title}")
    return (*lines, view.state(entry))


def _panel(report: Report, points: list[tuple[Entry, Latency]], y: Scale, is_device: bool) -> Panel:
    budget_ms = report.plan.budget.latency_ms if is_device else None
    reach = [ms for _, t in points for ms in (t.p50_ms, t.low_ms, t.high_ms) if ms] + ([budget_ms] if budget_ms else [])
    x = log_scale(reach, LEFT, RIGHT)
    largest = max((entry.artifact.size_bytes for entry in view.entries(report) if entry.artifact), default=1)
    marks = [_mark(report, entry, latency, x, y, largest) for entry, latency in points]
    marks.sort(key=lambda mark: -mark.radius)
    hows = {latency.how for _, latency in points}
    floor, limit = _floor(report, y), _limit(budget_ms, x)
    return Panel(
        title=_title(report, hows) if is_device else "Measured on this machine",
        x_title=_x_title(points[0][1], hows, is_device),
        y_title=f"{points[0][0].score.metric} on {points[0][0].score.split}, %",
        x=x,
        y=y,
        marks=tuple(marks),
        labels=_labels(marks, floor, limit),
        sizes=_sizes(largest),
        budget=limit,
        floor=floor,
        predicted=hows == {"predicted"},
    )


def _mark(report: Report, entry: Entry, latency: Latency, x: Scale, y: Scale, largest: int) -> Mark:
    size = entry.artifact.size_bytes if entry.artifact else None
    return Mark(
        entry=entry,
        latency=latency,
        x=x(latency.p50_ms),
        y=y(100 * entry.score.value),
        radius=TORCH_RADIUS if size is None else _radius(size, largest),
        details=details(entry, report),
        low_x=x(latency.low_ms) if latency.low_ms else None,
        high_x=x(latency.high_ms) if latency.high_ms else None,
    )


def _radius(size: float, largest: int) -> float:
    return LARGEST_RADIUS * sqrt(size / largest)


def _title(report: Report, hows: set[How]) -> str:
    """Of the device's panel."""
    if hows == {"predicted"}:
        return f"Predicted for {report.device.title}"
    return f"Measured on {report.device.title}" + (", or predicted" if "predicted" in hows else "")


def _x_title(latency: Latency, hows: set[How], is_device: bool) -> str:
    if is_device:
        words = " or ".join(sorted(hows))
        return f"{words} p50, ms (log), {latency.seq_len} tokens, batch {latency.batch}"
    return f"measured p50, ms (log), 1 thread, data lengths (median {latency.seq_len} tokens)"


def _floor(report: Report, y: Scale) -> tuple[float, str] | None:
    floor = view.score_floor(report)
    if floor is None:
        return None
    allowed = report.plan.budget.drop_points
    return y(100 * floor), f"score floor: teacher − {allowed:g} point{'' if allowed == 1 else 's'}"


def _limit(budget_ms: float | None, x: Scale) -> tuple[float, Label] | None:
    """The line, and its text at the foot on the side that has room."""
    if not budget_ms:
        return None
    line, text = x(budget_ms), f"budget {budget_ms:g} ms"
    away = len(text) * CHARACTER / 2 + 4
    return line, Label(text, line + (away if line < (LEFT + RIGHT) / 2 else -away), BOTTOM - 9, False)


def _sizes(largest: int) -> tuple[tuple[float, float, str], ...]:
    """Three round sizes up to the largest file, for the legend under the axis."""
    round_sizes = Scale(largest / 300, largest, 0, 1, log=True).ticks()[-7::3]
    shown, x = [], LEFT + 70.0
    for size in round_sizes:
        radius = _radius(size, largest)
        shown.append((x + radius, radius, f"{size / 1e6:g} MB"))
        x += 2 * radius + 72
    return tuple(shown)


def _labels(marks: list[Mark], floor: tuple[float, str] | None, limit: tuple[float, Label] | None) -> tuple[Label, ...]:
    """A label a mark where there is room, the packaged file first, then the teacher, then the students."""
    taken = [Box(m.x - m.radius, m.y - m.radius, m.x + m.radius, m.y + m.radius) for m in marks]
    taken += [Box(m.low_x, m.y - 2, m.high_x, m.y + 2) for m in marks if m.low_x and m.high_x]
    if floor:
        taken.append(Box(LEFT, floor[0] - 2, LEFT + 190, floor[0] + 16))
    if limit:
        half = abs(limit[1].x - limit[0])
        taken.append(Box(limit[0] - 1, TOP, limit[0] + 1, BOTTOM))
        taken.append(Box(limit[1].x - half, limit[1].y - 8, limit[1].x + half, BOTTOM))
    wanted = sorted(marks, key=lambda mark: (not mark.entry.packaged, mark.entry.rank, -mark.radius))
    frame = Box(LEFT, TOP, RIGHT, BOTTOM)
    return place([(m.entry.label, m.x, m.y, m.radius, m.entry.packaged) for m in wanted], taken, frame)
