"""edgebert methods"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from edgebert.cli._show import json_option, print_json, print_table

if TYPE_CHECKING:
    from edgebert.methods import Method


@click.group(
    "methods",
    invoke_without_command=True,
    short_help="List the compression methods, or explain one.",
    epilog="\b\nExamples:\n  edgebert methods\n  edgebert methods show tinybert",
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Lists the compression methods in the order in which a recipe may apply them."""
    if ctx.invoked_subcommand:
        return
    from edgebert.api import list_methods
    from edgebert.methods import STAGES

    results = sorted(list_methods().values(), key=lambda method: STAGES.index(method.stage))
    if as_json:
        print_json([_facts(method) for method in results])
        return
    print_table(
        ("name", "stage", "what it does", "paper", "tasks", "formats"),
        [(m.name, m.stage, m.title, m.paper.place if m.paper else "", _tasks(m), _formats(m)) for m in results],
    )


def _tasks(method: Method) -> str:
    """The tasks whose kind of head it serves."""
    from edgebert.tasks import TASKS

    return ", ".join(t.name for t in TASKS.all().values() if t.head in method.heads) or "all"


@command.command("show", short_help="Explain one method: paper, equations, parameters.")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Explains the method NAME."""
    from edgebert.api import get_method

    result = get_method(name)
    if as_json:
        print_json(_facts(result))
        return
    click.echo((sys.modules[result.apply.__module__].__doc__ or result.title).strip() + "\n")
    for fact in _notes_of(result):
        click.echo(fact)
    rows = [
        (
            f"{result.name}.{param.name}",
            param.type.__name__,
            str(param.default) if param.search is None else "by the planner",
            param.help + (f" ({', '.join(map(str, param.choices))})" if param.choices else ""),
        )
        for param in result.params
    ]
    print_table(("parameter", "type", "default", "what it is"), rows)


def _formats(method: Method) -> str:
    return ", ".join(method.formats) or "all"


def _notes_of(method: Method) -> list[str]:
    """What its declaration says beside its parameters."""
    notes = [f"stage: {method.stage}; tasks: {_tasks(method)}; formats: {_formats(method)}"]
    if method.needs:
        notes.append(f"reads {' and '.join(method.needs)} of teacher and student")
    if method.reads_text:
        notes.append("learns from --unlabelled, and from the training rows' own text where there is none")
    if method.any_tokenizer:
        notes.append("serves a --student whose tokenizer is not the teacher's")
    if method.last:
        notes.append("nothing can be trained after it")
    notes += [f"not with {other}: {why}" for other, why in method.excludes.items()]
    return [*notes, ""]


def _facts(method: Method) -> dict[str, object]:
    from edgebert.converters import CONVERTERS

    params = [
        {"name": p.name, "type": p.type.__name__, "default": p.default, "help": p.help, "choices": p.choices}
        for p in method.params
    ]
    return {
        "name": method.name,
        "title": method.title,
        "stage": method.stage,
        "paper": method.paper,
        "tasks": _tasks(method),
        "needs": method.needs,
        "excludes": method.excludes,
        "last": method.last,
        "any_tokenizer": method.any_tokenizer,
        "reads_text": method.reads_text,
        "formats": method.formats or list(CONVERTERS.all()),
        "params": params,
    }
