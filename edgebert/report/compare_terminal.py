"""A comparison in the terminal, made for 100 columns and for plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.report import compare_view as told
from edgebert.report import format as fmt
from edgebert.report.comparison import SIGNIFICANT, Against, Comparison, DifferingRow, LabelChange
from edgebert.report.terminal import ascii_minus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

MOST_LABELS = 12  # of each file
LONGEST_FACT = 60  # characters
STYLES = {"right": "green", "wrong": "red", "missing": "yellow", "plain": ""}
MARKS = {"right": "+", "wrong": "x", "missing": "missing", "plain": ""}


def print_comparison(comparison: Comparison, console: Console, n_rows: int) -> None:
    """Prints what differs: scores, costs, labels, rows, and what the files were made of.

    Args:
        n_rows: rows to show at most.
    """
    from rich.text import Text

    first = comparison.files[0]
    for against in comparison.against:
        lost = against.score is not None and against.score.p <= SIGNIFICANT and against.difference < 0
        console.print(Text(_plain(told.verdict(against, first)), style="bold red" if lost else "bold"))
        if against.n_by_kind:
            console.print(Text(f"  rows: {told.counts_text(against)}"))
    console.print(_figures(comparison))
    console.print(Text(told.basis(comparison), style="dim"))
    console.print()
    for against in comparison.against:
        _print_labels(against, first.title, console)
    _print_rows(comparison, console, n_rows)
    if comparison.differs:
        console.print(Text("What else differs", style="bold"))
        console.print(_facts(comparison))
    for note in comparison.notes:
        console.print(Text("note: ", style="yellow") + Text(note, style="default"))


def _figures(comparison: Comparison) -> Table:
    """Of two files the difference has a column of its own; of more it stands under each."""
    from rich.text import Text

    files, beside = comparison.files, len(comparison.files) == 2
    table = _table()
    table.add_column("")
    for file in files:
        table.add_column("\n".join(told.heading(file)), justify="right", overflow="fold")
    if beside:
        table.add_column(f"against\n{files[0].title}", justify="right", overflow="fold")
    for name, cells in told.figure_rows(comparison):
        texts = [cells[0].value]
        for cell in cells[1:]:
            texts += [cell.value, cell.against] if beside else ["\n".join(filter(None, (cell.value, cell.against)))]
        table.add_row(name, *(Text(_plain(text)) for text in texts))
    return table


def _print_labels(against: Against, first: str, console: Console) -> None:
    from rich.text import Text

    shown = _labels_shown(against)
    if not shown:
        return
    console.print(Text(f"Labels of {against.file} against {first}", style="bold"))
    table = _table()
    table.add_column("label", overflow="fold")
    for name in ("rows", "F1 was", "F1 is", "points", "95 % interval", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in shown:
        test = item.test
        style = ("red" if test.difference < 0 else "green") if test.p <= SIGNIFICANT else None
        cells = (
            item.label,
            fmt.count(test.n),
            fmt.percent(item.old),
            fmt.percent(item.new),
            fmt.points(test.difference, 1),
            told.interval(test.low, test.high),
            told.p_text(test.p, ""),
        )
        table.add_row(*(Text(_plain(cell)) for cell in cells), style=style)
    console.print(table)
    changed = sum(item.test.changed > 0 for item in against.labels)
    if changed > len(shown):
        console.print(Text(f"{changed - len(shown)} more labels changed: -o compare.html or --json", style="dim"))
    console.print(Text(told.LABELS, style="dim"))
    console.print()


def _labels_shown(against: Against) -> list[LabelChange]:
    """Those that are surely changed, then those that changed most; by loss."""
    changed = [item for item in against.labels if item.test.changed]
    order = sorted(changed, key=lambda item: (item.test.p > SIGNIFICANT, -abs(item.test.difference) * item.test.n))
    kept = {item.label for item in order[:MOST_LABELS]}
    return [item for item in changed if item.label in kept]


def _print_rows(comparison: Comparison, console: Console, n_rows: int) -> None:
    from rich.text import Text

    if not comparison.rows or n_rows == 0:
        return
    shown = comparison.rows[:n_rows]
    title = f"Rows that differ: {len(shown)} of {len(comparison.rows):,}"
    console.print(Text(title, style="bold") + Text("" if len(shown) == len(comparison.rows) else "; --rows N shows more", style="dim"))  # fmt: skip
    for row in shown:
        console.print(_row(row, comparison))
    console.print()


def _row(row: DifferingRow, comparison: Comparison) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    style = {"lost": "red", "further": "red", "won": "green", "nearer": "green"}.get(row.kind, "yellow")
    grid.add_row(
        Text(row.kind, style=style), Text(f"row {row.number}{f', {row.where}' if row.where else ''}", style="dim")
    )
    for text in row.texts:
        grid.add_row("text", Text(text))
    alike = told.n_alike(row)
    more = Text(f"  and {alike} that all found" if alike else "", style="dim")
    grid.add_row("right", _items(told.gold_items(row)) + more)
    for at, file in enumerate(comparison.files):
        share = told.share_text(row.shares[at])
        grid.add_row(file.title, _items(told.items(row, at)) + Text(f"  {share}" if share else "", style="dim"))
    grid.add_row("", "")
    return grid


def _items(items: tuple[told.Item, ...]) -> Text:
    """Marks beside colours: a pipe has none."""
    from rich.text import Text

    parts = [Text(f"{MARKS[item.state]} {item.text}".strip(), style=STYLES[item.state]) for item in items]
    return Text(", ").join(parts) if parts else Text(fmt.NONE)


def _facts(comparison: Comparison) -> Table:
    from rich.text import Text

    table = _table()
    table.add_column("")
    for file in comparison.files:
        table.add_column(file.title, overflow="fold")
    for name, values in comparison.differs.items():
        table.add_row(name, *(Text(_shortened(value)) for value in values))
    return table


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_FACT * 3 else f"{text[: LONGEST_FACT * 3]} …"


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)


def _plain(text: str) -> str:
    return ascii_minus(text)
