"""edgebert methods"""

from __future__ import annotations

import sys

import click

from edgebert.cli._show import json_option, print_json, print_table


@click.group(
    "methods",
    invoke_without_command=True,
    short_help="The compression methods that a recipe can name.",
    epilog="\b\nExamples:\n  edgebert methods\n  edgebert methods show tinybert",
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Lists the methods in the order in which a recipe may apply them."""
    if ctx.invoked_subcommand:
        return
    from edgebert.api import list_methods
    from edgebert.methods import STAGES

    found = sorted(list_methods().values(), key=lambda method: STAGES.index(method.stage))
    if as_json:
        print_json([_facts(method) for method in found])
        return
    print_table(
        ("name", "stage", "what it does", "paper", "formats"),
        [(m.name, m.stage, m.title, m.paper.place if m.paper else "", ", ".join(m.formats)) for m in found],
    )


@command.command("show", short_help="One method: paper, equations, parameters.")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Explains the method NAME."""
    from edgebert.api import get_method

    found = get_method(name)
    if as_json:
        print_json(_facts(found))
        return
    click.echo((sys.modules[found.apply.__module__].__doc__ or found.title).strip() + "\n")
    rows = [
        (
            f"{found.name}.{param.name}",
            param.type.__name__,
            str(param.default) if param.search is None else "by the planner",
            param.help + (f" ({', '.join(map(str, param.choices))})" if param.choices else ""),
        )
        for param in found.params
    ]
    print_table(("parameter", "type", "default", "what it is"), rows)


def _facts(method: object) -> dict[str, object]:
    from edgebert.methods import Method

    assert isinstance(method, Method)
    params = [
        {"name": p.name, "type": p.type.__name__, "default": p.default, "help": p.help, "choices": p.choices}
        for p in method.params
    ]
    return {
        "name": method.name,
        "title": method.title,
        "stage": method.stage,
        "paper": method.paper,
        "formats": method.formats,
        "params": params,
    }
