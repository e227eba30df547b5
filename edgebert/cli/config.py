"""edgebert config"""

from __future__ import annotations

import click

from edgebert.cli._show import print_json


@click.group(
    "config",
    short_help="Check edgebert.toml, or print its schema.",
    epilog="\b\nExamples:\n  edgebert config check edgebert.toml\n  edgebert config schema > edgebert.schema.json",
)
def command() -> None:
    """What may stand in edgebert.toml, which `edgebert init` writes and `edgebert fit --config` carries out."""


@command.command("check", short_help="Tell everything that is wrong with a file.")
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def check(file: str, as_json: bool) -> int:
    """Checks FILE against the schema, and then whether the devices, tasks, methods, formats, platforms and files that it
    names are there. The exit code is 2 where something is wrong."""
    from pathlib import Path

    from edgebert.workflows.config import config_problems

    problems = config_problems(Path(file))
    if as_json:
        print_json([{"where": error.where, "what": error.what, "hint": error.hint} for error in problems])
    elif not problems:
        click.echo(f"{file}: valid")
    else:
        for error in problems:
            click.echo(f"error: {error}", err=True)
    return 2 if problems else 0


@command.command("schema", short_help="Print the JSON Schema of edgebert.toml.")
def schema() -> None:
    """Prints the schema, draft 2020-12, with every key's description, type, choices, range, default and example."""
    from edgebert.workflows.options import schema as config_schema

    print_json(config_schema())
