"""What is true of the labels of all splits together: hidden ones of a test set, whole numbers that became floats."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgebert.data.columns import LABEL_ROLES
from edgebert.errors import DataError, control_in
from edgebert.types import Record, Row, Split

HIDDEN = frozenset(
    {
        "",
        "-1",
        "-1.0",
        "?",
        "-",
        "_",
        "unknown",
        "hidden",
        "nan",
        "none",
        "null",
        "n/a",
        "na",
        "<na>",
        "tbd",
        "*",
        "-99",
        "-100",
        "-100.0",
        "unlabeled",
        "unlabelled",
        "masked",
    }
)
_WHOLE = re.compile(r"-?\d+(\.0+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")


def without_hidden_labels(records: dict[Split, list[Record]], roles: Mapping[str, Sequence[str]]) -> list[str]:
    """Leaves out, in place, dev and test rows that all have one and the same label for "not told", which train never has;
    and notes on it. What is missing then is carved from train."""
    role = next((role for role in LABEL_ROLES if role in roles), None)
    if role is None or "train" not in records:
        return []
    known = {_plain(record.columns.get(role)) for record in records["train"]}
    notes = []
    for split in ("dev", "test"):
        own = records.get(split, [])
        results = {_plain(record.columns.get(role)) for record in own}
        (label,) = results if len(results) == 1 else (None,)
        if own and label in HIDDEN and label not in known:
            message = f"all are '{label}'" if label else "there are none"
            notes.append(f"{split}: the labels of its {len(own)} rows are hidden ({message}), so it is left aside")
            del records[split]
    return notes


def _plain(value: object) -> str:
    """A label, or an empty or hidden list of labels, as text."""
    if isinstance(value, Mapping):
        value = value.get("text")
    if isinstance(value, list | tuple):
        value = (
            value[0] if value and all(item == value[0] for item in value) and str(value[0]) in HIDDEN else value or ""
        )
    return "" if value is None else str(value)[:100].strip().casefold()


def whole_number_labels(records: Mapping[Split, list[Record]]) -> list[str]:
    """Writes, in place, text labels such as 0.0 and 1.0 as 0 and 1, where all labels of the data are such; and a note."""
    cells = [record.columns.get("label") for own in records.values() for record in own]
    texts = {cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()}
    if not all(cell is None or isinstance(cell, str) for cell in cells) or not all(map(_WHOLE.fullmatch, texts)):
        return []
    written = sorted(text for text in texts if "." in text)
    for own in records.values() if written else ():
        own[:] = [replace(item, columns={**item.columns, "label": _whole(item.columns.get("label"))}) for item in own]
    n = sum(cell is not None and "." in cell for cell in cells)
    listed = ", ".join(f"{text} as {_whole(text)}" for text in written[:3])
    return [f"label: {n} whole numbers written as floats were read as such: {listed}"] if written else []


def _whole(label: object) -> object:
    return label.strip().partition(".")[0] if isinstance(label, str) else label


def refuse_controls(rows: Sequence[Row]) -> None:
    """Raises DataError with the place of a label or tag that holds a control character: every terminal, page and package that
    shows it later would have to guard against it."""
    for row in rows:
        if label := control_in((*row.labels, *row.tags)):
            hint = "Write the labels again without it: no label that a person gave holds one."
            raise DataError(f"the label '{label}' holds a control character", where=row.where, hint=hint)


def refuse_surrogates(rows: Sequence[Row]) -> None:
    """Raises DataError with the place of a text or label that holds half of a character, which no tokenizer takes."""
    for row in rows:
        for text in (row.text, row.second, *row.words, *row.labels, *row.tags, *(answer for answer, _ in row.answers)):
            if text and _SURROGATE.search(text):
                shown = text.encode("ascii", "backslashreplace").decode()[:60]
                hint = "Write the file again as UTF-8, with the whole character or without it."
                raise DataError(f"half of a surrogate pair in '{shown}'", where=row.where, hint=hint)
