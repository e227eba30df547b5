"""CSV and its kin, read as pandas reads them where pandas has an answer; what is guessed is told in the notes.

Guessed from the file: what stands between cells, whether quotes are quotes, whether the first line is a header, and which
columns only count the rows.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from edgebert.data.columns import USUAL_NAMES, is_number
from edgebert.data.contents import MAX_ROWS, too_large
from edgebert.data.text import decode
from edgebert.errors import DataError
from edgebert.types import Record

SEPARATORS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "'|'"}
SAMPLE = 2**18  # characters that the separator is told from
_EXCEL = re.compile(r'"?sep=([^\w\s"]|\t)"?\r?\n')  # a first line for Excel alone
TITLE_WORDS = 6  # a cell of more is no name of a column
Line = tuple[int, list[str]]  # (line of the file where the row begins, cells)


@dataclass(frozen=True)
class Lines:
    """The rows of a file, and how they were taken apart."""

    rows: list[Line]
    problem: str = ""  # why they may be wrong
    line: int = 0  # where that is


def read_csv(
    content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None, usual: str = ","
) -> list[Record]:
    """One record a row, columns named by the header line, or column1, column2 and so on where there is none.

    Args:
        usual: what stands between the cells, unless the file's first rows say otherwise.

    Raises DataError with file:line for a short or long row, and for a quote that is never closed.
    """
    notes = [] if notes is None else notes
    text = decode(content, place, encoding)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    message = _EXCEL.match(text)
    text = text[message.end() - 1 :] if message else text  # the line end stays, so that lines count from the first
    separator = message[1] if message else _separator(text, usual)
    if separator != usual:
        why = "the first line tells" if message else "the first rows tell"
        notes.append(f"cells are separated by {SEPARATORS.get(separator, repr(separator))}, as {why}")
    rows = _rows(text, separator, place, notes)
    if not rows:
        return []
    header, rows = _header(rows, notes)
    return list(_records(header, _fitted(header, rows, place, notes), place))


def read_tsv(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """`read_csv` with tabs between the cells; a quote is a character like any other unless all of them enclose cells."""
    return read_csv(content, place, encoding, notes, usual="\t")


# ---------------------------------------------------------------- taking the text apart


def _separator(text: str, usual: str) -> str:
    """The one that gives the first rows one number of cells; the usual one where several do or none does."""
    sample = text[:SAMPLE]
    best, most = usual, 0.0
    for separator in (usual, *(other for other in SEPARATORS if other != usual)):
        if separator not in sample:
            continue
        try:
            rows = [cells for _, cells in islice(_parsed(sample, separator), 1000)]
        except csv.Error:
            continue
        rows = rows[:-1] if len(sample) < len(text) else rows
        widths = Counter(len(cells) for cells in rows)
        share = max(((n / len(rows)) for width, n in widths.items() if width > 1), default=0.0)
        if share > most:
            best, most = separator, share
    return best


def _parsed(text: str, separator: str, **dialect: Any) -> Iterator[Line]:
    """Rows that are not blank: pandas too reads nothing of a line of spaces. Raises csv.Error(what, line) where `strict` finds a fault."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, **dialect)
    last = 0
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield last + 1, cells
            last = reader.line_num
    except csv.Error as error:
        raise csv.Error(str(error), last + 1) from None


def _rows(text: str, separator: str, place: str, notes: list[str]) -> list[Line]:
    """The first reading under which all rows have one width, else the one that pandas would take."""
    spaced = _spaced(text, separator)
    strict = _try(text, separator, place, strict=True, skipinitialspace=spaced)
    plain = _try(text, separator, place, quoting=csv.QUOTE_NONE) if separator == "\t" else None
    if spaced:
        notes.append(f"the space behind {SEPARATORS[separator]} is not part of the cells")
    if plain and _even(plain) and (strict.problem or len(strict.rows) != len(plain.rows)):
        return _raw(plain, notes)
    if not strict.problem and (_even(strict) or '\\"' not in text):
        return strict.rows
    escaped = _try(text, separator, place, strict=True, escapechar="\\", doublequote=False) if '\\"' in text else None
    if escaped and not escaped.problem and _even(escaped):
        notes.append('a backslash before a quote (\\") is read as a quote within the cell')
        return escaped.rows
    loose = _try(text, separator, place, skipinitialspace=spaced)
    if plain and (loose.problem or not _even(loose)):
        return _raw(plain, notes)
    if loose.problem:
        hint = "Close the quote, or double a quote that is part of the text."
        raise DataError(loose.problem, where=f"{place}:{loose.line}", hint=hint)
    if strict.problem:
        notes.append(
            f"line {strict.line}: a quote closes before its cell ends; read as pandas does, without the quotes"
        )
    return loose.rows


def _raw(plain: Lines, notes: list[str]) -> list[Line]:
    if any(cell.startswith('"') for _, cells in plain.rows for cell in cells):
        notes.append("quotes are read as characters: they do not enclose whole cells")
    return plain.rows


def _try(text: str, separator: str, place: str, **dialect: object) -> Lines:
    """The rows, with the place of what `strict` objects to, or of a quote that is never closed."""
    rows: list[Line] = []
    end = "end of the file"  # what a row of its own is only where no quote is open
    at = 1
    try:
        for at, cells in _parsed(f"{text}\n{end}", separator, **dialect):
            rows.append((at, cells))
            if len(rows) > MAX_ROWS:
                raise too_large(f"more than {MAX_ROWS:,} rows", place)
    except csv.Error as error:
        return Lines(rows, f"not CSV: {error.args[0]}", error.args[1])
    if rows[-1][1] == [end]:
        return Lines(rows[:-1])
    return Lines(rows, "a quote that opens in this row is never closed", at)


def _spaced(text: str, separator: str) -> bool:
    """Whether the header has a space behind each separator."""
    cells = text[:SAMPLE].partition("\n")[0].split(separator)
    return separator != "\t" and len(cells) > 1 and all(cell.startswith(" ") and cell.strip() for cell in cells[1:])


def _even(lines: Lines) -> bool:
    return len({len(cells) for _, cells in lines.rows}) <= 1


# ---------------------------------------------------------------- naming the columns


def _header(rows: list[Line], notes: list[str]) -> tuple[list[str], list[Line]]:
    """The names of the columns, and the rows below them."""
    first, below = rows[0][1], rows[1:]
    why = _no_header(first, below)
    if why:
        notes.append(f"line {rows[0][0]} is read as a row, not as a header: {why}")
        return [f"column{i}" for i in range(1, len(first) + 1)], rows
    if not {name.strip().casefold() for name in first} & USUAL_NAMES:
        notes.append(
            f"line {rows[0][0]} is read as the header: {', '.join(_short(name) for name in first[:5] if name.strip())}"
        )
    kept = [row for row in below if row[1] != first]
    if len(kept) < len(below):
        notes.append(f"{len(below) - len(kept)} rows that repeat the header left out")
    return [name.strip() for name in first], kept


def _no_header(first: Sequence[str], below: Sequence[Line]) -> str:
    """Why the first line is none; "" where it is taken for one."""
    columns = [[cells[i] for _, cells in below if i < len(cells)] for i in range(len(first))]
    names = [cell.strip() for cell in first if cell.strip()]
    known = {name.casefold() for name in names} & USUAL_NAMES
    if {name.casefold() for name in names} == known:
        return ""
    for i, (cell, column) in enumerate(zip(first, columns, strict=True), 1):
        if cell.strip() and not is_number(cell) and cell in column:
            return f"'{_short(cell)}' stands again in column {i}"
    if known or names == [str(i) for i in range(len(names))]:
        return ""
    for i, (cell, column) in enumerate(zip(first, columns, strict=True), 1):
        if is_number(cell) and (not column or sum(map(is_number, column)) > len(column) / 2):
            return f"its cell {i} is a number, as those below are"
    longest = max(first, key=len)
    if len(longest.split()) > TITLE_WORDS:
        return f"'{_short(longest)}' is no name of a column"
    return ""


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:30]}…"


# ---------------------------------------------------------------- rows of one width


def _fitted(header: list[str], rows: list[Line], place: str, notes: list[str]) -> list[Line]:
    """Rows as wide as the header, which is changed in place: columns without a name are named or left out."""
    rows, cut = _without_empty_ends(rows, len(header))
    if cut:
        notes.append(f"{cut} rows end in empty cells beyond the header, which were left out")
    if len(rows) > 2 and all(len(cells) == len(header) + 1 and cells[0].isdecimal() for _, cells in rows):  # R's
        notes.append("the first cell of each row has no name in the header and is left aside, as an index")
        rows = [(line, cells[1:]) for line, cells in rows]
    for line, cells in rows:
        if len(cells) != len(header):
            hint = (
                "The first line names the columns. Quote a cell that holds what separates cells, a quote or a line end."
            )
            what = f"{len(cells)} column{'s' if len(cells) > 1 else ''}, but the header has {len(header)}"
            raise DataError(what, where=f"{place}:{line}", hint=hint)
    return _named(header, rows, notes)


def _without_empty_ends(rows: list[Line], width: int) -> tuple[list[Line], int]:
    long = sum(len(cells) > width and not any(cells[width:]) for _, cells in rows)
    return (
        ([(line, cells if any(cells[width:]) else cells[:width]) for line, cells in rows], long) if long else (rows, 0)
    )


def _named(header: list[str], rows: list[Line], notes: list[str]) -> list[Line]:
    """Names for columns that have none or one that stands there already, and rows without index columns."""
    dropped = []
    for i, name in enumerate(header):
        if name and not re.fullmatch(r"Unnamed: \d+", name):
            continue
        column = [cells[i].strip() for _, cells in rows]
        if not any(column) and not name:
            dropped.append(i)
            notes.append(f"column {i + 1} has no name and no cell with anything in it: left aside")
        elif len(header) > 1 and all(re.fullmatch(r"-?\d+", cell) for cell in column):
            dropped.append(i)
            notes.append(f"column {i + 1}, '{name}', counts the rows: left aside, as an index")
        elif not name:
            header[i] = f"column{i + 1}"
            notes.append(f"column {i + 1} has no name: read as '{header[i]}'")
    kept = [i for i in range(len(header)) if i not in dropped] or list(range(len(header)))
    if len(kept) < len(header):
        rows = [(line, [cells[i] for i in kept]) for line, cells in rows]
    header[:] = distinct([header[i] for i in kept], notes)
    return rows


def distinct(names: Sequence[str], notes: list[str]) -> list[str]:
    """The names, a repeated one numbered as pandas does: text, text.1"""
    taken: dict[str, None] = {}
    for name in names:
        own, n = name, 0
        while own in taken or (n and own in names):
            n += 1
            own = f"{name}.{n}"
        if n:
            notes.append(f"the column '{name}' stands there more than once: read as '{own}'")
        taken[own] = None
    return list(taken)


def _records(header: Sequence[str], rows: Sequence[Line], place: str) -> Iterator[Record]:
    for line, cells in rows:
        yield Record(dict(zip(header, cells, strict=True)), f"{place}:{line}")
