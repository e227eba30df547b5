"""edgebert.toml as `edgebert init` writes it, and its keys as a table: both made of the declaration of the options."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from edgebert.files import to_toml
from edgebert.types import FitRequest
from edgebert.workflows.options import TABLES, FitOption, keys_of

HEAD = """\
# The request of `edgebert fit --config edgebert.toml`. Paths are relative to this file.
# A line that begins with "# name =" is not set: remove the "# " to set it.
# `edgebert config check edgebert.toml` tells whether all of it is right.
"""
WIDTH = 100


def config_text(values: Mapping[str, object]) -> str:
    """A commented file.

    Args:
        values: by the fields of the options, each as the file has it.
    """
    parts = [HEAD]
    for table, (_, description) in TABLES.items():
        head = f"[{table}]\n" if table else ""
        parts.append(f"\n{_comment(description)}{head}")
        for option in keys_of(table).values():
            if option.field == "devices" and "devices" not in values:
                continue  # one device is named: it would be one too many once its line is set
            if option.field == "device" and "devices" in values:
                continue
            parts.append(_lines(option, values))
    return "".join(parts)


def _lines(option: FitOption, values: Mapping[str, object]) -> str:
    is_set = option.field in values
    value = values[option.field] if is_set else option.example
    ends = "" if is_set else _otherwise(option)
    choices = f" One of {', '.join(option.choices)}." if option.choices else ""
    words = f"{option.help}{choices}{ends}"
    return f"\n{_comment(words)}{'' if is_set else '# '}{option.name} = {_value(value)}\n"


def _value(value: object) -> str:
    return to_toml([*value] if isinstance(value, tuple) else value)


def _otherwise(option: FitOption) -> str:
    if option.otherwise:
        return f" Otherwise: {option.otherwise}."
    if option.default in (None, (), {}) or option.type == "table":
        return ""
    return f" Otherwise: {_default(option)}."


def _default(option: FitOption) -> str:
    default = option.default
    return _value(list(default) if isinstance(default, tuple) else default)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH))


def config_table() -> str:
    """Every key as a table in Markdown: its table, type, default and meaning."""
    rows = ["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for table in TABLES:
        for option in keys_of(table).values():
            cells = (f"`{option.dotted}`", _type(option), _default_cell(option), option.help.replace("|", "\\|"))
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _default_cell(option: FitOption) -> str:
    if option.otherwise or option.default in (None, (), {}) or option.field not in FitRequest.__dataclass_fields__:
        return option.otherwise or ""
    return "" if option.type == "table" else f"`{_default(option)}`"


def _type(option: FitOption) -> str:
    """The type in words, with choices and bounds."""
    words = {"strings": "string or list of strings", "string": "string", "number": "number", "integer": "whole number",
             "boolean": "true or false", "table": "table"}  # fmt: skip
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    bounds = (("from", option.least), ("above", option.above), ("to", option.most))
    return " ".join((words[option.type], *(f"{word} {bound:g}" for word, bound in bounds if bound is not None)))
