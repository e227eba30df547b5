"""index.html: one self-contained page, rendered by jinja2 with everything escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgebert.files import portable
from edgebert.report import chart, colours, tables, view
from edgebert.report import format as fmt
from edgebert.report.view import Entry
from edgebert.results import Report

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Card:
    """One figure of the headline."""

    title: str
    value: str
    unit: str
    lines: tuple[str, ...]  # against the teacher
    basis: str  # how it was obtained
    predicted: bool = False


def environment() -> Environment:
    """Of the templates of this package: everything is escaped, and a name that is not there is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("edgebert.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(report: Report) -> str:
    """The text of index.html."""
    best = view.winner(report)
    page = environment()
    page.globals.update(fmt=fmt, view=view, chart=chart, colours=colours, enumerate=enumerate)
    return page.get_template("index.html.jinja").render(
        report=report,
        winner=best,
        cards=cards(report, best) if best else (),
        panels=chart.panels(report),
        groups=tables.file_table(report),
        entries=view.entries(report),
        types=tables.type_table(report, best),
        latencies=tables.conditions(report),
        environment=list(flatten(portable(report.environment))),
        budget=tables.budget_lines(report),
        padding=[fmt.padding(item) for item in view.padding(report, best)] if best else [],
        facts=list(flatten(portable(report.measured_on.facts))) if report.measured_on else [],
        on_target=any(view.on_target(entry) for entry in view.entries(report)),
    )


def cards(report: Report, best: Entry) -> tuple[Card, ...]:
    """Score, size, latency here and latency on the device of the packaged file, each against the teacher."""
    results = (_score_card, _size_card, _latency_card, _device_card)
    return tuple(card for make in results if (card := make(report, best)))


def _score_card(report: Report, best: Entry) -> Card:
    teacher, allowed = report.teacher.test, report.plan.budget.drop_points
    share = f" ({fmt.percent(best.score.value / teacher.value)}% of it)" if teacher.value else ""
    lines = [
        f"{fmt.points(view.drop(best, report))} points against the teacher's {fmt.percent(teacher.value, 2)}{share}"
    ]
    if best.dev:
        lines.append(f"{fmt.points(best.dev.value - report.teacher.dev.value)} points on {best.dev.split}")
    lines += [f"budget: at most {allowed:g} lost on {report.teacher.dev.split}"] if allowed is not None else []
    return Card(
        "Score", fmt.percent(best.score.value, 2), "%", tuple(lines), f"measured, {fmt.score_basis(best.score)}"
    )


def _size_card(report: Report, best: Entry) -> Card | None:
    if not best.artifact:
        return None
    lines, limit = [], report.plan.budget.size_mb
    for precision in ("fp32", "int8"):
        base = view.baseline(report, precision)
        if base and base.artifact:
            share = fmt.percent(best.artifact.size_bytes / base.artifact.size_bytes)
            lines.append(f"{share}% of the teacher's {precision} file, {fmt.megabytes(base.artifact.size_bytes)}")
    lines += [f"budget: at most {limit:g} MB"] if limit is not None else []
    value, unit = fmt.megabytes(best.artifact.size_bytes).split()
    return Card("Size", value, unit, tuple(lines), f"measured, {best.artifact.format} file, {best.precision}")


def _latency_card(report: Report, best: Entry) -> Card | None:
    latency = view.main_latency(best, report)
    if not latency:
        return None
    lines = []
    for precision in (view.TORCH, "fp32", "int8"):
        base = view.baseline(report, precision)
        ratio = view.speedup(best, base, report)
        other = view.main_latency(base, report) if base else None
        if ratio and other:
            what = "in torch" if precision == view.TORCH else f"as {precision} file"
            lines.append(f"{fmt.times(ratio)} the speed of the teacher {what}, {fmt.milliseconds(other.p50_ms)} ms")
    value = fmt.milliseconds(latency.p50_ms)
    lines += ["see the notes under the picture"] if report.notes else []
    return Card("Latency here", value, "ms p50", tuple(lines), fmt.latency_basis(latency))


def _device_card(report: Report, best: Entry) -> Card | None:
    latency, guess = view.on_device(best, report), view.predicted(best, report)
    if not latency:
        return None
    limit = report.plan.budget.latency_ms
    is_guess = latency.how == "predicted"
    lines = [f"interval {fmt.interval(latency)} ms"] if fmt.interval(latency) else []
    lines += [f"{fmt.prediction(guess)} ms"] if guess and not is_guess else []
    lines += [f"budget: at most {limit:g} ms"] if limit is not None else []
    title = f"Latency on {report.device.title}"
    return Card(title, fmt.milliseconds(latency.p50_ms), "ms p50", tuple(lines), fmt.latency_basis(latency), is_guess)


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as (dotted name, text)."""
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            yield from flatten(item, f"{name}.")
        else:
            yield name, ", ".join(map(str, item)) if isinstance(item, list) else str(item)
