"""Which column of a table is the text, which the label: as the user says, by the usual names, else guessed and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgebert.errors import unknown
from edgebert.types import Record

TEXTS = ("text", "second")
WORDY = frozenset({"words", "tags", "spans"})  # roles whose reader knows its own names
LABEL_ROLES = ("label", "score", "tags", "answers")  # what --label-column may name
SAMPLE = 1000  # rows that a guess is made from


def assign(
    records: Sequence[Record], roles: Mapping[str, tuple[str, ...]], given: Mapping[str, str]
) -> tuple[list[Record], list[str]]:
    """Records whose columns are named by the roles that they play, and notes on what was guessed.

    Args:
        roles: role -> usual names of its column, matched without case.
        given: role -> column; `label` stands for the role among LABEL_ROLES that there is.

    Raises:
        RequestError: a given column that the first record does not have.
    """
    if not records:
        return [], []
    columns = list(records[0].columns)
    found = _given(columns, roles, given)
    for role, usual in roles.items():
        taken = set(found.values())
        names = {str(column).casefold(): column for column in columns if column not in taken}
        column = next((names[name] for name in (role, *usual) if name in names), None)
        if role not in found and column is not None:
            found[role] = column
    notes = [] if WORDY & roles.keys() else _guess(records[:SAMPLE], columns, roles, found)
    renamed = {column: role for role, column in found.items()}
    if all(column == role for column, role in renamed.items()):
        return list(records), notes
    return [replace(record, columns=_renamed(record.columns, renamed)) for record in records], notes


def _given(columns: Sequence[str], roles: Mapping[str, tuple[str, ...]], given: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, column in given.items():
        if column not in columns:
            raise unknown("column", column, map(str, columns), where=f"--{name}-column")
        role = name
        if name == "label":
            role = next((role for role in LABEL_ROLES if role in roles), name)
        if name == "text" and "words" in roles and "spans" not in columns and "entities" not in columns:
            role = "words"
        found[role] = column
    return found


def _guess(
    records: Sequence[Record], columns: Sequence[str], roles: Mapping[str, tuple[str, ...]], found: dict[str, str]
) -> list[str]:
    """Fills the roles that no name told, in place; the longest texts, then the column of fewest values."""
    notes = []

    def take(role: str, column: str | None) -> None:
        if column is not None:
            found[role] = column
            notes.append(f"{role}: read from the column '{column}'")

    def free(kind: type | tuple[type, ...]) -> list[str]:
        left = [column for column in columns if column not in found.values()]
        return [c for c in left if all(isinstance(record.columns.get(c), kind) for record in records)]

    if "score" in roles and "score" not in found:
        take("score", next((column for column in free((str, int, float)) if _numbers(records, column)), None))
    open_texts = [role for role in TEXTS if role in roles and role not in found]
    longest = sorted(free(str), key=lambda column: -sum(len(record.columns[column]) for record in records))
    for role, column in zip(open_texts, sorted(longest[: len(open_texts)], key=columns.index), strict=False):
        take(role, column)
    if "label" in roles and "label" not in found:
        left = free((str, int, list))
        take("label", min(left, key=lambda c: len({str(r.columns[c]) for r in records}), default=None))
    return notes


def _numbers(records: Sequence[Record], column: str) -> bool:
    return all(is_number(record.columns[column]) for record in records)


def is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _renamed(columns: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Columns that play no part keep their name, unless a role needs it."""
    roles = set(renamed.values())
    kept = {name: value for name, value in columns.items() if name not in renamed and name not in roles}
    return {**kept, **{role: columns.get(column) for column, role in renamed.items() if column in columns}}
