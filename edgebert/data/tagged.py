"""Columns of a record to words with a tag each: from lists, from space-separated text, or from spans over raw text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgebert.data.conll import LINES
from edgebert.data.words import find_words
from edgebert.errors import DataError
from edgebert.types import Record, Row

WORDS = ("words", "tokens")
TAGS = ("tags", "ner_tags", "labels", "ner")
SPANS = ("entities", "spans")
_HINT = (
    f"A row needs {' or '.join(WORDS)} with {', '.join(TAGS[:-1])} or {TAGS[-1]}; or text with {' or '.join(SPANS)}."
)


def read_tagged(record: Record) -> Row:
    """A row whose tags are still as the file wrote them. Raises DataError with the record's place."""
    columns = record.columns
    words, tags, spans = (_first(columns, names) for names in (WORDS, TAGS, SPANS))
    if words is not None and tags is not None:
        return _from_lists(_texts(columns[words], words, record), _texts(columns[tags], tags, record), record)
    if isinstance(columns.get("text"), str) and spans is not None:
        return _from_spans(columns["text"], _spans(columns[spans], spans, record), record)
    missing = "tags" if words or "text" in columns else "words"
    what = f"no column holds the {missing}: the columns are {', '.join(map(str, columns)) or 'none'}"
    raise DataError(what, where=record.where, hint=_HINT)


def place(record: Record, word: int) -> str:
    """ "file:line" of one word of a record."""
    numbers = record.columns.get(LINES)
    return f"{record.where.rpartition(':')[0]}:{numbers[word]}" if numbers else record.where


def _first(columns: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if columns.get(name) is not None), None)


def _texts(value: Any, column: str, record: Record) -> list[str]:
    if isinstance(value, str):
        value = _parsed(value) if value.startswith("[") else value.split()
    if not isinstance(value, list | tuple):
        raise DataError(f"column '{column}' is neither a list nor text", where=record.where, hint=_HINT)
    for i, one in enumerate(value):
        if not isinstance(one, str):
            numbers = " The names of these numbers are not in the file." if isinstance(one, int) else ""
            what = f"item {i + 1} of column '{column}' is {one!r}, not text"
            raise DataError(what, where=record.where, hint=f"Write words and tags as text.{numbers}")
    return list(value)


def _parsed(text: str) -> list[Any]:
    """A JSON list; anything else that begins with '[' is words."""
    try:
        value = json.loads(text)
    except ValueError:
        return text.split()
    return value if isinstance(value, list) else text.split()


def _from_lists(words: list[str], tags: list[str], record: Record) -> Row:
    if len(words) != len(tags):
        what = f"{len(words)} words but {len(tags)} tags"
        raise DataError(what, where=record.where, hint="Every word has exactly one tag.")
    return Row(tuple(words), tuple(tags), record.where)


def _spans(value: Any, column: str, record: Record) -> list[tuple[int, int, str]]:
    """(start, end, label) in order of start."""
    hint = '`entities` is a list of {"start": 0, "end": 6, "label": "city"}, in characters, end excluded.'
    try:
        listed = json.loads(value) if isinstance(value, str) else value
        return sorted((int(one["start"]), int(one["end"]), str(one["label"])) for one in listed)
    except (ValueError, TypeError, KeyError):
        raise DataError(f"column '{column}' holds no spans", where=record.where, hint=hint) from None


def _from_spans(text: str, spans: list[tuple[int, int, str]], record: Record) -> Row:
    offsets = find_words(text)
    begins = {start: i for i, (start, _) in enumerate(offsets)}
    ends = {end: i for i, (_, end) in enumerate(offsets)}
    tags = ["O"] * len(offsets)
    for start, end, label in spans:
        if start not in begins or end not in ends or start >= end:
            what = (
                f"the span {start}–{end} ({label}), '{text[max(start, 0) : max(end, 0)]}', is not made of whole words"
            )
            raise DataError(what, where=record.where, hint=f"The words are: {_listed(text, offsets, start)}")
        inside = range(begins[start], ends[end] + 1)
        if any(tags[i] != "O" for i in inside):
            what = f"the span {start}–{end} ({label}) overlaps another"
            raise DataError(what, where=record.where, hint="Entities may not overlap or nest; keep one of them.")
        for i in inside:
            tags[i] = f"{'B' if i == begins[start] else 'I'}-{label}"
    return Row(tuple(text[a:b] for a, b in offsets), tuple(tags), record.where, text, tuple(offsets))


def _listed(text: str, offsets: list[tuple[int, int]], near: int) -> str:
    """The words around a character, with their offsets."""
    chosen = sorted(sorted(offsets, key=lambda span: abs(span[0] - near))[:4])
    return ", ".join(f"'{text[a:b]}' {a}–{b}" for a, b in chosen)
