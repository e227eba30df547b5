"""Tables of one word a row, joined to sentences: by a column that numbers them, or by the blank lines between them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from edgebert.data.conll import LINES
from edgebert.data.layout import DOCUMENT_NAMES, SENTENCE_NAMES, TAG_NAMES, WORD_NAMES, plain_name
from edgebert.errors import DataError
from edgebert.types import Record

_FALLBACKS = ("id", "groupid", "exampleid", "textid", "rowid")
_ENOUGH = 20  # rows of one word that cannot be sentences
_MOST = 0.9  # of the rows are of one word, before all are


def join_words(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """One record a sentence, where each record is one word and its tag; else the records as they are. Notes say how.

    Raises DataError where all of many rows are one word and nothing tells the sentences.
    """
    records = list(records)
    word, tag = _column(records, "words", WORD_NAMES), _column(records, "tags", (*TAG_NAMES, "pos", "upos"))
    spans = any(name in records[0].columns for name in ("entities", "spans")) if records else False
    if word is None or tag is None or spans or not _single(records, word, tag):
        return records, []
    names = {plain_name(str(column)): column for column in records[0].columns}
    keys = [names[name] for name in (*DOCUMENT_NAMES, *SENTENCE_NAMES) if name in names]
    if not any(name in names for name in SENTENCE_NAMES):
        keys += [names[name] for name in _FALLBACKS if name in names][:1]
    keys = [key for key in keys if key not in (word, tag)]
    runs, how = _by_keys(records, keys), f"by the column {' and '.join(map(repr, keys))}"
    if len(runs) == len(records):
        runs, how = _by_lines(records, word, tag), "by the blank lines between them"
    if len(runs) in (1, len(records)):
        if len(records) < _ENOUGH:
            return records, []
        hint = "Add a column 'sentence_id' that has the same value for all words of a sentence."
        raise DataError("every row is one word, and no column tells sentences apart", where=records[0].where, hint=hint)
    aside = [str(c) for c in records[0].columns if c not in (word, tag, *keys)]
    note = f"{len(records)} rows of one word ('{word}', '{tag}') are joined to {len(runs)} sentences {how}"
    notes = [f"{note}; left aside: {', '.join(aside)}" if aside else note]
    heads = [_key(run[0], keys) for run in runs]
    if keys and (again := len(heads) - len(set(heads))):
        notes.append(f"{again} sentences have the number of one before them: they are read as sentences of their own")
    return [_sentence(run, word, tag) for run in runs], notes


def is_long(records: Sequence[Record]) -> bool:
    """Whether each record is one word, of a sentence that a column tells."""
    try:
        return bool(join_words(records[: _ENOUGH - 1])[1])
    except DataError:
        return False


def _column(records: Sequence[Record], role: str, usual: Sequence[str]) -> str | None:
    """The column of a role, which holds text in all records."""
    if not records:
        return None
    names = {plain_name(str(column)): column for column in records[0].columns}
    result = role if role in records[0].columns else next((names[name] for name in usual if name in names), None)
    return result if result and all(isinstance(record.columns.get(result), str) for record in records) else None


def _single(records: Sequence[Record], word: str, tag: str) -> bool:
    """Whether nearly all records are one word with one tag; a list written as text is none."""
    pairs = [(record.columns[word], record.columns[tag]) for record in records]
    single = [pair for pair in pairs if all(len(cell.split()) < 2 for cell in pair)]
    lists = sum(len(cell) > 1 and cell[0] + cell[-1] == "[]" for cell, _ in single)
    return len(single) >= _MOST * len(pairs) and lists < _MOST * len(pairs)


def _by_keys(records: Sequence[Record], keys: Sequence[str]) -> list[list[Record]]:
    """Runs of records: each begins where the keys change and are not blank."""
    if not keys:
        return [[record] for record in records]
    runs: list[list[Record]] = []
    before = None
    for record in records:
        key = _key(record, keys)
        if not runs or (key is not None and key != before):
            runs.append([])
        runs[-1].append(record)
        before = before if key is None else key
    return runs


def _key(record: Record, keys: Sequence[str]) -> Hashable | None:
    values = tuple(str(record.columns.get(key) if record.columns.get(key) is not None else "").strip() for key in keys)
    return values if any(values) else None


def _by_lines(records: Sequence[Record], word: str, tag: str) -> list[list[Record]]:
    """Runs of records whose lines follow each other; a row without word and tag is a blank line too."""
    runs: list[list[Record]] = [[]]
    line = 0
    for record in records:
        before, line = line, _line(record)
        blank = not record.columns[word].strip() and not record.columns[tag].strip()
        if runs[-1] and (blank or line - before != 1):
            runs.append([])
        if not blank:
            runs[-1].append(record)
    return [run for run in runs if run]


def _line(record: Record) -> int:
    number = record.where.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def _sentence(run: Sequence[Record], word: str, tag: str) -> Record:
    words, tags = ([record.columns[column] for record in run] for column in (word, tag))
    return Record({"words": words, "tags": tags, LINES: [_line(record) for record in run]}, run[0].where)
