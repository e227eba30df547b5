"""A report as JSON and back."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from edgebert.errors import RunError
from edgebert.files import to_plain
from edgebert.results import Report

SCHEMA = 1
# What reports of 0.1.0 before 2026-11-30 call a field.
RENAMED = {"twins": "baselines", "leaves_accelerator": "accelerator_fallbacks"}
SCALARS: dict[Any, Any] = {float: (int, float), int: int, str: str, bool: bool}


def dump_report(report: Report) -> str:
    """The text of report.json. Raises ValueError for a number that is not finite: JSON has none."""
    return json.dumps({"schema": SCHEMA, **to_plain(report)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_report(path: Path) -> Report:
    """The report of a report.json. Raises RunError when it is absent, damaged or of another schema."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("schema") != SCHEMA:
            raise ValueError(f"schema is not {SCHEMA}")
        report: Report = _build(Report, _renamed(document))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"not a report that this edgebert reads ({error})", where=str(path), hint="Run edgebert fit again."
        ) from None
    return report


def _renamed(value: Any) -> Any:
    """`value`, as JSON gave it, with every field under the name that it has now."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if isinstance(value, dict):
        return {RENAMED.get(name, name): _renamed(item) for name, item in value.items()}
    return value


def _build(kind: Any, value: Any) -> Any:
    """`value`, as JSON gave it, as the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _build(inner, value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{value!r:.40} is no list")
        inner_kinds = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        return tuple(_build(inner, item) for inner, item in zip(inner_kinds, value, strict=True))
    if origin is Mapping:
        return {key: _build(arguments[1], item) for key, item in value.items()}
    if kind in SCALARS and not isinstance(value, SCALARS[kind]):
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return Path(value) if kind is Path else value
