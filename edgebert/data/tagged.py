"""Columns of records to words with a tag each: from lists, from space-separated text, from spans over raw text or over
words, or from one word a row."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgebert.data.conll import LINES
from edgebert.data.lists import read_list
from edgebert.data.long import join_words
from edgebert.data.spans import Span, Spanned, in_characters, is_span, read_spans, tag_words, without_overlaps
from edgebert.errors import DataError, name_list, shown
from edgebert.types import Record, Row

WORDS = ("words", "tokens")
TAGS = ("tags", "ner_tags", "labels", "ner")
SPANS = ("entities", "spans")
_HINT = (
    f"A row needs {' or '.join(WORDS)} with {', '.join(TAGS[:-1])} or {TAGS[-1]}; or text with {' or '.join(SPANS)}."
)


@dataclass(frozen=True)
class SpannedWords:
    """Words with spans whose offsets count words."""

    words: list[str]
    spans: tuple[Span, ...]
    where: str


def read_rows(records: Sequence[Record]) -> tuple[list[tuple[Record, Row]], list[str]]:
    """Each record with its row, whose tags are still as the file wrote them, and notes on what was guessed, left out or
    split. Records of one word each are joined to sentences first.

    Raises DataError with a record's place.
    """
    records, notes = join_words(records)
    counts: Counter[str] = Counter()
    read = [_read(record, counts) for record in records]
    spanned, message = in_characters([entry for entry in read if isinstance(entry, Spanned)])
    over_words = [entry for entry in read if isinstance(entry, SpannedWords)]
    included = any(span.start == span.end for word in over_words for span in word.spans)
    if over_words:
        notes.append(f"offsets of spans count words, the end {'included' if included else 'excluded'}")
    rows = []
    later = iter(spanned)
    for item in read:
        if isinstance(item, Spanned):
            item = _from_spans(next(later), counts)
        elif isinstance(item, SpannedWords):
            item = _from_spanned_words(item, included, counts)
        counts["words are empty or invisible: most tokenizers read nothing of them"] += sum(map(_is_blank, item.words))
        rows.append(item)
    return list(zip(records, rows, strict=True)), [
        *notes,
        *message,
        *(f"{n} {what}" for what, n in counts.items() if n),
    ]


def read_tagged(record: Record) -> Row:
    """The row of one record by itself. Raises DataError with the record's place."""
    return read_rows([record])[0][0][1]


def place(record: Record, word: int) -> str:
    """ "file:line" of one word of a record."""
    numbers = record.columns.get(LINES)
    return f"{record.where.rpartition(':')[0]}:{numbers[word]}" if numbers else record.where


def _read(record: Record, counts: Counter[str]) -> Row | Spanned | SpannedWords:
    columns = record.columns
    words, tags, spans = (_first(columns, names) for names in (WORDS, TAGS, SPANS))
    text = columns.get("text")
    if tags is not None and spans is None and _holds_spans(columns[tags], text):
        tags, spans = None, tags
    if words is None and tags is not None and spans is None:
        words = _words_of(columns, tags, record.where)
        counts["rows whose words are what spaces part in the text, as many as there are tags"] += words is not None
    if words is not None and tags is not None:
        # words may be "[ music ]", tags never
        listed = isinstance(columns[tags], str) and read_list(columns[tags], record.where) is not None
        own = _texts(columns[words], words, record, counts, listed=listed)
        return _from_lists(own, _texts(columns[tags], tags, record, counts, listed=listed), record)
    if isinstance(text, str) and (spans is not None or any(name in columns for name in SPANS)):
        counts["rows without a list of spans, read as rows without entities"] += spans is None
        return Spanned(text, read_spans(columns[spans], spans, record.where, counts) if spans else (), record.where)
    if words is not None and spans is not None:
        result = read_spans(columns[spans], spans, record.where, counts)
        return SpannedWords(_texts(columns[words], words, record, counts, listed=True), result, record.where)
    missing = "tags" if words or "text" in columns else "words"
    what = f"no column holds the {missing}: the columns are {name_list(columns)}"
    whole = " A label for each whole text is read by --task classify." if words is None and "text" in columns else ""
    raise DataError(what, where=record.where, hint=f"{_HINT}{whole}")


def _words_of(columns: Mapping[str, object], tags: str, where: str) -> str | None:
    """The column of a text of as many words, apart by spaces, as there are tags."""
    value = columns[tags]
    result = read_list(value, where) if isinstance(value, str) else value
    given = value.split() if isinstance(value, str) and result is None else result
    for name in ("text", "sentence"):
        text = columns.get(name)
        if isinstance(text, str) and isinstance(given, list | tuple) and len(text.split()) == len(given) > 0:
            return name
    return None


def _first(columns: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if columns.get(name) is not None), None)


def _holds_spans(value: object, text: object) -> bool:
    """Whether a column of tags is one of spans; an empty list is where there is a text."""
    return isinstance(value, list) and isinstance(text, str) and all(map(is_span, value))


def _texts(value: object, column: str, record: Record, counts: Counter[str], *, listed: bool) -> list[str]:
    """The texts of a cell: a list, or text that writes one (in any way if `listed`, else as JSON), or is space-separated."""
    if isinstance(value, str):
        result = read_list(value, record.where) if listed or value.startswith('["') else None
        counts["cells that are lists written as text, read as lists"] += result is not None
        value = value.split() if result is None else result
    if not isinstance(value, list | tuple):
        raise DataError(f"column '{column}' is neither a list nor text", where=record.where, hint=_HINT)
    for i, item in enumerate(value):
        if not isinstance(item, str):
            numbers = " The names of these numbers are not in the file." if isinstance(item, int) else ""
            what = f"item {i + 1} of column '{column}' is {shown(repr(item))}, not text"
            raise DataError(what, where=record.where, hint=f"Write words and tags as text.{numbers}")
    return list(value)


def _from_lists(words: list[str], tags: list[str], record: Record) -> Row:
    if len(words) != len(tags):
        what = f"{len(words)} words but {len(tags)} tags"
        raise DataError(what, where=record.where, hint="Every word has exactly one tag.")
    return Row(tuple(words), tuple(tags), record.where)


def _from_spans(spanned: Spanned, counts: Counter[str]) -> Row:
    offsets, tags = tag_words(spanned.text, spanned.spans, counts)
    return Row(tuple(spanned.text[a:b] for a, b in offsets), tuple(tags), spanned.where, spanned.text, tuple(offsets))


def _from_spanned_words(spanned_words: SpannedWords, included: bool, counts: Counter[str]) -> Row:
    tags = ["O"] * len(spanned_words.words)
    for span in without_overlaps([replace(span, end=span.end + included) for span in spanned_words.spans], counts):
        if not 0 <= span.start < span.end <= len(tags):
            what = f"the span {span.start}–{span.end - included} ({span.label}) is not within the {len(tags)} words"
            raise DataError(
                what, where=spanned_words.where, hint="Without a text, offsets of spans count words from 0."
            )
        tags[span.start : span.end] = [f"B-{span.label}", *[f"I-{span.label}"] * (span.end - span.start - 1)]
    return Row(tuple(spanned_words.words), tuple(tags), spanned_words.where)


def _is_blank(word: str) -> bool:
    return all(unicodedata.category(c)[0] in "ZC" for c in word)
