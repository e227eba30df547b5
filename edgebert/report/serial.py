"""A report as JSON and back."""

from __future__ import annotations

import json
from pathlib import Path

from edgebert.errors import RunError
from edgebert.files import digest, from_plain, portable
from edgebert.results import Report

SCHEMA = 1
# What reports of 0.1.0 before 2026-11-30 call a field.
RENAMED = {"twins": "baselines", "leaves_accelerator": "accelerator_fallbacks"}


def dump_report(report: Report) -> str:
    """The text of report.json. Raises ValueError for a number that is not finite: JSON has none."""
    document = {"schema": SCHEMA, **portable(report)}
    files = [file for student in document["students"] for file in student["artifacts"] if file["outcomes"]]
    outcomes = [json.dumps(file["outcomes"], separators=(",", ":"), allow_nan=False) for file in files]
    marks = [
        digest((i, columns), 64) for i, columns in enumerate(outcomes)
    ]  # a number a line would be thousands of lines
    for file, mark in zip(files, marks, strict=True):
        file["outcomes"] = mark
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for mark, columns in zip(marks, outcomes, strict=True):
        text = text.replace(f'"{mark}"', columns)
    return text


def read_report(path: Path) -> Report:
    """The report of a report.json. Raises RunError when it is absent, damaged or of another schema."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("schema") != SCHEMA:
            raise ValueError(f"schema is not {SCHEMA}")
        report = from_plain(Report, _renamed(document))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"not a report that this edgebert reads ({error})", where=str(path), hint="Run edgebert fit again."
        ) from None
    return report


def _renamed(value: object) -> object:
    """`value`, as JSON gave it, with every field under the name that it has now."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if isinstance(value, dict):
        return {RENAMED.get(name, name): _renamed(item) for name, item in value.items()}
    return value
