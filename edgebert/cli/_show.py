"""Small things that several commands print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


LONGEST_NAME = 24  # characters


def print_json(value: object) -> None:
    """Dataclasses and paths included."""
    from edgebert.files import plain

    click.echo(json.dumps(plain(value), indent=1, ensure_ascii=False))


def stdout_console() -> Console:
    """The terminal, or 100 columns of plain text where the output goes to a file or a pipe."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=100)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A borderless table. Names in the first column stay whole, where they are no sentences."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    longest = max((len(row[0]) for row in rows), default=0)
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", min_width=min(longest, LONGEST_NAME) if i == 0 else None)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    stdout_console().print(table)


def split_names(values: Sequence[str]) -> tuple[str, ...]:
    """Names given by comma, by repeating the option, or both; each once, in order."""
    return tuple(dict.fromkeys(name.strip() for value in values for name in value.split(",") if name.strip()))


def read_params(params: Sequence[str]) -> dict[str, str]:
    """--set NAME.PARAM=VALUE, repeated: name.param -> value."""
    pairs = [param.partition("=") for param in params]
    for name, equals, _ in pairs:
        if not equals:
            raise click.BadParameter(f"'{name}' is not NAME.PARAM=VALUE", param_hint="--set")
    return {name: value for name, _, value in pairs}


def column_options(command: Any) -> Any:
    """--text-column, --second-column and --label-column, for `read_columns`."""
    for name, what in (("label", "labels, tags or scores"), ("second", "second texts"), ("text", "texts")):
        help = f"The column that holds the {what}.  [default: found by its name]"
        command = click.option(f"--{name}-column", metavar="NAME", help=help)(command)
    return command


def read_columns(options: dict[str, Any]) -> dict[str, str]:
    """Takes the three out of a command's options: role -> column."""
    given = {name: options.pop(f"{name}_column") for name in ("text", "second", "label")}
    return {name: column for name, column in given.items() if column is not None}


def training_end_options(command: Any) -> Any:
    """--average-weights and --early-stopping: with what weights a training ends, and when."""
    average = click.option(
        "--average-weights", type=click.FloatRange(min=0, max=1), default=0.0,
        help="End each training with an average of its weights that reaches back over this share of its steps, such as 0.1.",
    )  # fmt: skip
    early = click.option(
        "--early-stopping", type=click.IntRange(min=0), default=0, metavar="SCORES",
        help="End a training whose development score has not risen so many times, and keep the best.  "
        "[default: to the end]",
    )  # fmt: skip
    return average(early(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
