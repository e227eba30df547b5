"""The options of a fit on the command line, made of their declaration in `edgebert.workflows.options`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from edgebert.cli._show import read_columns, read_params, split_names
from edgebert.workflows.options import OPTIONS, TABLES, FitOption

C = TypeVar("C", bound=Callable[..., Any])


def fit_options(*names: str, **defaults: object) -> Callable[[C], C]:
    """Adds the options of these fields, or all. One that was not given is None, or (), whatever its default is.

    Args:
        defaults: what the command takes, by field, where that is not the default of a fit.
    """
    chosen = [option for option in OPTIONS if option.option and (not names or option.field in names)]

    def decorate(command: C) -> C:
        for option in reversed(chosen):
            command = _click_option(replace(option, otherwise=str(defaults.get(option.field, option.otherwise))))(
                command
            )
        return command

    return decorate


def groups(first: tuple[str, ...] = (), **more: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The titles of --help, each with its options.

    Args:
        first: further options of the first title.
        more: table -> further options of it.
    """
    shown = [option for option in OPTIONS if option.option]
    start = (*(_flag(option) for option in shown if option.is_first), *first)
    results = {TABLES[""][0]: start}
    for table, (title, _) in TABLES.items():
        own = tuple(_flag(option) for option in shown if option.table == table and not option.is_first)
        if table and (own or table in more):
            results[title] = (*own, *more.get(table, ()))
    return results


def given_values(options: dict[str, Any]) -> dict[str, Any]:
    """Fields of FitRequest out of a command's options: those alone that were given. Takes them out of `options`."""
    values: dict[str, Any] = {"columns": read_columns(options)}
    values |= {option.field: options.pop(option.field) for option in OPTIONS if option.option}
    values["task"] = ",".join(values["task"])
    values["params"] = read_params(values["params"])
    for name in ("formats", "precisions"):
        values[name] = split_names(values[name])
    return {name: value for name, value in values.items() if value not in (None, "", (), {}) and value is not False}


def _flag(option: FitOption) -> str:
    return (option.option or "").lstrip("-")


def _click_option(option: FitOption) -> Callable[[C], C]:
    settings: dict[str, Any] = {"help": option.help + _default(option), "metavar": option.metavar}
    if option.type == "boolean":
        settings["is_flag"] = True
    elif option.type in ("strings", "table") or option.field == "task":
        settings["multiple"] = True
    elif option.choices:
        settings["type"] = click.Choice(option.choices)
    elif option.type == "integer":
        settings["type"] = int if option.least is None else click.IntRange(min=int(option.least))
    elif option.type == "number":
        least = option.least if option.above is None else option.above
        settings["type"] = click.FloatRange(min=least, min_open=option.above is not None, max=option.most)
    return click.option(f"--{_flag(option)}", option.field, **settings)


def _default(option: FitOption) -> str:
    """What holds where the option is not given, as click writes it."""
    if option.otherwise:
        return f"  [default: {option.otherwise}]"
    if option.default in (None, (), {}) or option.type == "boolean":
        return ""
    default = option.default
    return f"  [default: {', '.join(default) if isinstance(default, tuple) else default}]"
