"""JSON lines, JSON lists, CSV and Parquet: one record a row, with the row's own columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from edgebert.data.columns import is_number
from edgebert.data.text import decode, lines
from edgebert.errors import DataError, first_line
from edgebert.types import Record


def read_json(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record an object: of a list, or of a line each. Raises DataError with the line that is not JSON."""
    text = decode(content, place, encoding)
    if text.lstrip().startswith("["):
        rows = enumerate(_parse(text, place, 1), 1)
        return [_object(row, f"{place}:item {number}") for number, row in rows]
    numbered = enumerate(lines(content, place, encoding), 1)
    return [_object(_parse(line, place, i), f"{place}:{i}") for i, line in numbered if line.strip()]


def _parse(text: str, place: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = first_line - 1 + getattr(error, "lineno", 1)
        raise DataError(
            f"not JSON: {getattr(error, 'msg', 'nested too deep')}",
            where=f"{place}:{line}",
            hint="A file is one JSON object a line, or one list of objects.",
        ) from None


def _object(row: Any, where: str) -> Record:
    if not isinstance(row, dict):
        raise DataError(
            f"a {type(row).__name__} where an object is needed",
            where=where,
            hint='A row reads: {"words": ["…"], "tags": ["…"]}',
        )
    return Record(row, where)


def read_tsv(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """`read_csv` with tabs between the cells, where a quote is a character like any other."""
    return read_csv(content, place, encoding, notes, delimiter="\t", quoting=csv.QUOTE_NONE)


def read_lines(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record a line that is not blank: its `text`."""
    return [
        Record({"text": line}, f"{place}:{number}")
        for number, line in enumerate(lines(content, place, encoding), 1)
        if line.strip()
    ]


def read_csv(
    content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None, **dialect: Any
) -> list[Record]:
    """One record a row, columns named by the header line; column1, column2 and so on where a cell of the first line is a
    number, which no header has. Raises DataError with file:line for a short or long row."""
    reader = csv.reader(io.StringIO(decode(content, place, encoding), newline=""), strict=True, **dialect)
    records: list[Record] = []
    header: list[str] | None = None
    last_line = 0
    try:
        for row in reader:
            where, last_line = f"{place}:{last_line + 1}", reader.line_num
            if not row:
                continue
            if header is None and not any(is_number(cell) for cell in row):
                header = row
                continue
            header = header or [f"column{i}" for i in range(1, len(row) + 1)]
            if len(row) != len(header):
                raise DataError(
                    f"{len(row)} columns, but the header has {len(header)}",
                    where=where,
                    hint="Quote a field that holds a comma, a quote or a line end.",
                )
            records.append(Record(dict(zip(header, row, strict=True)), where))
    except csv.Error as error:
        raise DataError(f"not CSV: {error}", where=f"{place}:{reader.line_num}") from None
    return records


def read_parquet(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record a row; numbers whose names the file carries (as `datasets` writes them) become those names."""
    import pyarrow
    from datasets import Features
    from pyarrow import parquet

    try:
        table = parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"not a readable Parquet file: {first_line(error)}", where=place, hint="Write or copy it again."
        ) from None
    features = Features.from_arrow_schema(table.schema)
    return [Record(name_labels(row, features), f"{place}:row {i}") for i, row in enumerate(table.to_pylist(), 1)]


def name_labels(row: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """`row` with the numbers of ClassLabel columns, or of lists of them, turned into names."""
    return {column: _named(value, features.get(column)) for column, value in row.items()}


def _named(value: Any, feature: Any) -> Any:
    names = getattr(getattr(feature, "feature", feature), "names", None)
    if not isinstance(names, list) or value is None:
        return value
    if isinstance(value, list):
        return [_named(one, feature) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
