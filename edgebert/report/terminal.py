"""The report as a table in the terminal, made for 100 columns and for plain text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.report import format as fmt
from edgebert.report import view
from edgebert.report.view import Entry
from edgebert.results import Report
from edgebert.types import Latency

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def print_report(report: Report, console: Console, folder: Path | None = None) -> None:
    """Prints every model and file, the verdict, what failed, and where things are.

    `folder` is the run folder as the reader should see it; without it, the run's name stands there.
    """
    from rich.padding import Padding
    from rich.text import Text

    console.print(_table(report))
    for line in _bases(report):
        console.print(Text(line, style="dim"), soft_wrap=False)
    console.print()
    best = view.winner(report)
    head = Text("packaged: ", style="bold green") if best else Text("nothing packaged: ", style="bold red")
    console.print(head + Text(f"{best.label}. " if best else "", style="bold") + Text(report.verdict, style="default"))
    for line in _others(report, best):
        console.print(Text(line))
    for pad in view.padding(report, best) if best else ():
        console.print(Padding.indent(Text(fmt.padding(pad)), 2))
    for note in (*report.notes, *(report.measured_on.notes if report.measured_on else ())):
        console.print(Text("note: ", style="yellow") + Text(note, style="default"))
    for proof in report.engines:
        mark = Text("failed: ", style="red") if proof.failures else Text("engine: ", style="green")
        console.print(mark + Text(fmt.engine(proof), style="default"))
    for failure in report.failures:
        console.print(Text("failed: ", style="red") + Text(failure, style="default"))
    for change in report.changes:
        console.print(Text("would help: ", style="yellow") + Text(change, style="default"))
    _print_places(console, str(folder) if folder else report.run, packaged=best is not None)


def _others(report: Report, best: Entry | None) -> list[str]:
    """The other metrics, and each head's own, of the packaged file against the teacher."""

    def line(name: str, ours: float | None, teacher: float) -> str:
        own = f"{fmt.percent(ours, 2)} against the teacher's " if best else ""
        return f"  {name}: {own}{fmt.percent(teacher, 2)}"

    teacher = report.teacher.test
    score = best.score if best else teacher
    lines = [line(name, score.more.get(name), value) for name, value in teacher.more.items()]
    for name, part in teacher.parts.items():
        own = score.parts.get(name)
        alone = report.baselines.get(name)
        message = f"; alone {fmt.percent(alone.score.value, 2)} in {fmt.megabytes(alone.size_bytes)}" if alone else ""
        lines.append(line(f"{name}, {part.metric}, n = {part.n}", own.value if own else None, part.value) + message)
    return lines


def _table(report: Report) -> Table:
    from rich import box
    from rich.table import Table

    score = report.teacher.test
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("file", no_wrap=True)
    for name in (f"{_short(score.metric)}\n{score.split}", "vs\nteacher", "size\nMB", "here\nms", "speed-up\nvs torch"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"{report.device.name}\nms", justify="right")
    if _has_elsewhere(report):
        table.add_column(f"{_elsewhere(report)}\nms", justify="right")
    for entry in _shown(report):
        table.add_row(*_cells(entry, report), style="bold" if entry.packaged else None)
    return table


def _shown(report: Report) -> list[Entry]:
    """The teacher in torch, and every file."""
    return [entry for entry in view.entries(report) if entry.result or entry.rank == 0]


def _cells(entry: Entry, report: Report) -> list[Text]:
    from rich.text import Text

    here, there = view.main_latency(entry, report), view.on_device(entry, report)
    ratio = view.speedup(entry, view.baseline(report, view.TORCH), report)
    rejected = " rejected" if entry.result and entry.result.parity.failures else ""
    plain = (
        ("* " if entry.packaged else "  ") + entry.model.name,
        entry.file + rejected,
        fmt.percent(entry.score.value, 2),
        ascii_minus(fmt.points(view.drop(entry, report))),
        fmt.megabytes(entry.artifact.size_bytes).removesuffix(" MB") if entry.artifact else "-",
        fmt.milliseconds(here.p50_ms) if here else "-",
        fmt.times(ratio) if ratio else "-",
    )
    shown = [there, *([view.elsewhere(entry, report)] if _has_elsewhere(report) else [])]
    return [*(Text(cell) for cell in plain), *map(_labelled, shown)]


def _labelled(latency: Latency | None) -> Text:
    """With the word that says how it was obtained."""
    from rich.text import Text

    if latency is None:
        return Text("-")
    return Text(fmt.prediction(latency), style="" if latency.how == "measured" else "italic")


def _has_elsewhere(report: Report) -> bool:
    return any(view.elsewhere(entry, report) for entry in view.entries(report))


def _elsewhere(report: Report) -> str:
    """The column of a target that does not count as the device."""
    return f"on {report.measured_on.on.partition(':')[0]}" if report.measured_on else "on a target"


def _bases(report: Report) -> list[str]:
    """How the columns were obtained."""
    here = [latency for e in _shown(report) if (latency := view.main_latency(e, report))]
    there = [latency for e in _shown(report) if (latency := view.on_device(e, report))]
    elsewhere = [latency for e in _shown(report) if (latency := view.elsewhere(e, report))]
    lines = [f"{_short(report.teacher.test.metric)}: {fmt.score_basis(report.teacher.test)}, %; vs teacher: in points"]
    for name, shown in (("here", here), (report.device.name, there), (_elsewhere(report), elsewhere)):
        lines += [
            f"{name}: {basis}" + " (interval)" * basis.startswith("predicted") for basis in fmt.latency_bases(shown)
        ]
    return lines


def _print_places(console: Console, run: str, *, packaged: bool) -> None:
    from rich.text import Text

    places = [("report", f"{run}/report/index.html")]
    if packaged:
        places += [("bundle", f"{run}/bundle"), ("try it", f'edgebert predict {run} "…"')]
    for name, place in places:
        console.print(Text(f"{name}: ", style="cyan") + Text(place, style="default"), soft_wrap=True)


def _short(metric: str) -> str:
    """The last word of a metric's name: 'strict entity F1' -> 'F1'; the first of a mean of several."""
    words = metric.split()
    return words[0] if words[0] == "mean" else words[-1]


def ascii_minus(text: str) -> str:
    # U+2212 is missing in the code pages of Windows consoles, where printing it would raise.
    return text.replace("−", "-")
