"""JSON lines and JSON: one record a row, with the row's own columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgebert.data.contents import MAX_ROWS, too_large
from edgebert.data.nested import squad_records
from edgebert.data.shapes import rows_of
from edgebert.data.text import decode, lines
from edgebert.errors import DataError, shown
from edgebert.types import Record

_FORMS = "A file is one JSON object a line, or one list of objects."
_ROW = 'A row reads: {"text": "…", "label": "…"} or {"words": ["…"], "tags": ["…"]}'


def read_json(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record an object: of a list, of a line each, or of a table as pandas and others write it (`shapes`).

    Raises DataError with the line that is not JSON, or with the row that is none.
    """
    notes = [] if notes is None else notes
    text = decode(content, place, encoding)
    value = parse_whole(text, notes)
    if isinstance(value, list) and value and isinstance(value[0], dict) and {"context", "qas"} <= value[0].keys():
        return squad_records({"data": [{"paragraphs": [item]} for item in value]}, place)
    if isinstance(value, list):
        return records_of(value, place)
    if shape := rows_of(value):
        notes += shape.notes
        return records_of(shape.rows, place)
    if isinstance(value, dict):
        return _records([(f"{place}:1", value)])
    if value is None and text.lstrip().startswith("[") and not _list_a_line(text):
        _parse(text, place, 1, notes)  # says what is wrong with it
    numbered = [(i, line) for i, line in enumerate(lines(content, place, encoding), 1) if line.strip()]
    if len(numbered) > MAX_ROWS:
        raise too_large(f"more than {MAX_ROWS:,} rows", place)
    doubled: list[str] = []
    rows = [(f"{place}:{i}", _parse(line, place, i, doubled)) for i, line in numbered]
    if doubled:
        notes.append(f"{len(doubled)} rows name a key twice; the last value counts ({doubled[0]})")
    return _records(rows)


def parse_whole(text: str, notes: list[str]) -> object | None:
    """The value of a file that is one JSON value; None where it is not."""
    doubled: list[str] = []
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, doubled))
    except (ValueError, RecursionError):
        return None
    if doubled:
        notes.append(f"{len(doubled)} objects name a key twice; the last value counts ({doubled[0]})")
    return value


def _object(pairs: list[tuple[str, object]], doubled: list[str]) -> dict[str, object]:
    results = dict(pairs)
    if len(results) < len(pairs):
        names = [name for name, _ in pairs]
        doubled.append(next(name for name in names if names.count(name) > 1))
    return results


def _list_a_line(text: str) -> bool:
    """Whether each of the first lines is a list of its own."""
    try:
        return all(isinstance(json.loads(line), list) for line in text.split("\n", 3)[:2] if line.strip())
    except (ValueError, RecursionError):
        return False


def _parse(text: str, place: str, first_line: int, doubled: list[str]) -> object:
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, doubled))
    except RecursionError:
        what, line = "nested too deep", first_line
    except json.JSONDecodeError as error:
        what = "a second value begins on the line" if error.msg == "Extra data" else error.msg
        line = first_line - 1 + error.lineno
    except ValueError:
        what, line = "a number of thousands of digits", first_line
    raise DataError(f"not JSON: {what}", where=f"{place}:{line}", hint=_FORMS)


def records_of(rows: Sequence[object], place: str) -> list[Record]:
    """Records of the rows of one list."""
    if len(rows) > MAX_ROWS:
        raise too_large(f"more than {MAX_ROWS:,} rows", place)
    return _records([(f"{place}:item {number}", row) for number, row in enumerate(rows, 1)])


def _records(rows: Sequence[tuple[str, Any]]) -> list[Record]:
    """Objects as they are, lists of cells as column1, column2 and so on, a text alone as `text`; all of one kind."""
    records = []
    kind: type = type(rows[0][1]) if rows else dict
    for where, row in rows:
        fitting = isinstance(row, kind) and (not isinstance(row, list) or len(row) == len(rows[0][1]))
        if not fitting or not isinstance(row, dict | list | str):
            what = "this row has other columns than the first" if isinstance(row, list) else _kind(row)
            raise DataError(what, where=where, hint=_ROW)
        if isinstance(row, list):
            row = {f"column{i}": cell for i, cell in enumerate(row, 1)}
        columns = {"text": row} if isinstance(row, str) else row
        _check_names(columns, where)
        records.append(Record(columns, where))
    return records


def _kind(row: object) -> str:
    kinds = {list: "a list", str: "a text", dict: "an object", bool: "true or false", type(None): "null"}
    return f"this row is {kinds.get(type(row), 'a number')}, unlike the first, or where an object is needed"


def _check_names(columns: Mapping[str, object], where: str) -> None:
    """Refuses names of columns that no output could show."""
    for name in columns:
        if not name.isprintable() and any("\ud800" <= c <= "\udfff" for c in name):
            what = f"the name of a column, {shown(repr(name))}, holds half of a surrogate pair"
            raise DataError(what, where=where, hint="Write the file again as UTF-8.")
