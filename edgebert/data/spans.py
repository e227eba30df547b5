"""Spans of characters as tools write them, and the words and tags that they give.

A span is an object with a start, an end and a label under one of the usual names, or a list [start, end, label] or
[label, start, end]. Offsets count characters with the end excluded, unless the data shows that a tool counts otherwise.
"""

from __future__ import annotations

import ast
import json
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any

from edgebert.data.layout import plain_name
from edgebert.data.words import find_words
from edgebert.errors import DataError, shown

_STARTS = ("start", "startoffset", "begin", "beginoffset", "startchar", "charstart", "startindex", "startpos")
_ENDS = ("end", "endoffset", "stop", "endchar", "charend", "endindex", "endpos")
_LABELS = (
    *("label", "labels", "type", "entity", "entitytype", "entitygroup", "entitylabel", "tag", "category", "class"),
    *("displayname", "slot", "slotname", "ner", "name"),
)
_TEXTS = ("text", "mention", "surface", "quote", "spantext", "entitytext", "textcontent")
_NESTED = ("value", "span", "textsegment", "points", "offsets", "position", "globaloffsets", "indices")
_HINT = '`entities` is a list of {"start": 0, "end": 6, "label": "city"}, in characters, end excluded.'
_FEW = 3  # spans, or different texts of spans, that are too few to tell how offsets are counted

Interval = tuple[int, int]


@dataclass(frozen=True)
class Span:
    """Its characters in the text, its label, and what it says, where the file tells."""

    start: int
    end: int
    label: str
    text: str | None = None


@dataclass(frozen=True)
class Spanned:
    """A text with its spans, and where both stand in a file."""

    text: str
    spans: tuple[Span, ...]
    where: str


# ---------------------------------------------------------------- reading


def is_span(item: object) -> bool:
    """Whether it has the form of a span with a label, whatever its numbers are."""
    return bool(_fields(item))


def listed(value: Any) -> object:
    """A cell as a list of objects where it is one that JSON or Python wrote as text, or an object of lists; else as it
    is."""
    if isinstance(value, str):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(value)
                break
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                continue
    if isinstance(value, Mapping):
        lists = list(value.values())
        if lists and all(isinstance(item, list | tuple) and len(item) == len(lists[0]) for item in lists):
            return [dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True)]
    return value


def read_spans(value: object, column: str, where: str, counts: Counter[str]) -> tuple[Span, ...]:
    """The spans that a cell lists. One without a label is left out and counted; one with several is a span each.

    Raises DataError for what is no list of spans, and for an offset that is no whole number.
    """
    value = [] if isinstance(value, str) and not value.strip() else listed(value)
    if not isinstance(value, list | tuple):
        raise DataError(f"column '{column}' holds no spans", where=where, hint=_HINT)
    spans: list[Span] = []
    for item in value:
        fields = _fields(item)
        if not fields:
            raise DataError(
                f"column '{column}' holds no spans, as this is none: {str(item)[:80]}", where=where, hint=_HINT
            )
        labels, places, text = fields
        labels = [label for label in labels if label.strip()]
        counts["spans without a label left out"] += not labels
        text = text if len(places) == 1 else None
        spans += [
            Span(_whole(start, where), _whole(end, where), label.strip(), text)
            for start, end in places
            for label in labels
        ]
    return tuple(spans)


def _fields(item: object) -> tuple[list[str], list[tuple[object, object]], str | None] | None:
    """Labels, (start, end) pairs and text of a span; None for what is none."""
    if isinstance(item, list | tuple):
        if len(item) < 3:
            return None
        label, *rest = item if isinstance(item[0], str) and not _is_offset(item[0]) else (item[2], item[0], item[1])
        known = isinstance(label, str) or (type(label) is int and len(item) == 3)  # four numbers are a box
        return ([str(label)], [(rest[0], rest[1])], None) if known and _numeric(rest[:2]) else None
    if not isinstance(item, Mapping):
        return None
    named = {plain_name(str(key)): value for key, value in item.items()}
    places, text = _places(named)
    label = next((named[name] for name in _LABELS if name in named), None)
    if label is None and isinstance(inner := named.get("value"), Mapping):
        inner = {plain_name(str(key)): value for key, value in inner.items()}
        label = next((inner[name] for name in _LABELS if name in inner), None)
    if not places or (label is None and not any(name in named for name in _LABELS)):
        return None
    labels = label if isinstance(label, list | tuple) else [label]
    return [str(entry) for entry in labels if entry is not None], places, text


def _places(named: Mapping[str, Any]) -> tuple[list[tuple[object, object]], str | None]:
    """(start, end) pairs of an object, and its text; an object within it may hold them."""
    text = next((named[name] for name in _TEXTS if isinstance(named.get(name), str)), None)
    start = next((named[name] for name in _STARTS if name in named), None)
    end = next((named[name] for name in _ENDS if name in named), None)
    if start is None and end is not None and "offset" in named:
        start = named["offset"]
    if start is not None and end is not None:
        return [(start, end)], text
    length = named.get("length")
    if isinstance(offset := named.get("offset"), int) and isinstance(length, int):
        return [(offset, offset + length)], text
    for name in _NESTED:
        inner = named.get(name)
        if isinstance(inner, Mapping):
            inner = [inner]
        if not isinstance(inner, list | tuple) or not inner:
            continue
        if len(inner) == 2 and _numeric(inner):
            return [(inner[0], inner[1])], text
        if all(isinstance(item, Mapping) for item in inner):
            results = [_places({plain_name(str(key)): value for key, value in item.items()}) for item in inner]
            return [place for places, _ in results for place in places], text or results[0][1]
        if all(isinstance(item, list | tuple) and len(item) == 2 and _numeric(item) for item in inner):
            return [(item[0], item[1]) for item in inner], text
    return [], text


def _numeric(values: Iterable[object]) -> bool:
    return all(isinstance(value, int | float) or _is_offset(value) for value in values)


def _is_offset(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10


def _whole(value: object, where: str) -> int:
    if isinstance(value, str) and _is_offset(value):
        return int(value)
    if type(value) is int or (isinstance(value, float) and math.isfinite(value) and value.is_integer()):
        return int(value)
    raise DataError(f"an offset of a span is {shown(repr(value))}, which is no whole number", where=where, hint=_HINT)


# ---------------------------------------------------------------- how offsets are counted


def _inclusive(text: str, start: int, end: int) -> Interval | None:
    return start, end + 1


def _by_steps(steps: Callable[[str], Iterable[int]], text: str, start: int, end: int) -> Interval | None:
    """Offsets that count units of which each step along the text has several."""
    at = _characters(steps, text)
    return (at[start], at[end]) if start in at and end in at else None


@lru_cache(maxsize=1)  # spans of one text follow each other
def _characters(steps: Callable[[str], Iterable[int]], text: str) -> dict[int, int]:
    return {offset: i for i, offset in enumerate(accumulate(steps(text), initial=0))}


def _utf16(text: str) -> Iterable[int]:
    return (2 if c > "\uffff" else 1 for c in text)


def _utf8(text: str) -> Iterable[int]:
    return (len(c.encode("utf-8", "surrogatepass")) for c in text)


def _graphemes(text: str, start: int, end: int) -> Interval | None:
    edges = _grapheme_edges(text)
    return (edges[start], edges[end]) if 0 <= start < len(edges) and 0 <= end < len(edges) else None


@lru_cache(maxsize=1)
def _grapheme_edges(text: str) -> list[int]:
    import regex  # type: ignore[import-untyped]

    return [0, *(match.end() for match in regex.finditer(r"\X", text))]


Count = Callable[[str, int, int], "Interval | None"]  # (text, start, end) as a tool counts -> characters, end excluded
_COUNTS: dict[str, Count] = {
    "characters with the end included": _inclusive,
    "UTF-16 units, as JavaScript and Java do": partial(_by_steps, _utf16),
    "bytes of UTF-8": partial(_by_steps, _utf8),
    "grapheme clusters": _graphemes,
}


def in_characters(rows: Sequence[Spanned]) -> tuple[list[Spanned], list[str]]:
    """The rows with spans in characters, end excluded, and a note where the data shows that it counts otherwise.

    Another count is taken only where all spans then fit: say what the file says of them; or, where it says nothing,
    begin and end with words, which they do not as characters.

    Raises DataError with the place of a span that does not fit, where no count serves.
    """
    wrong = next(((row, span) for row in rows for span in row.spans if not _fits(row.text, span)), None)
    loose = [(row, span) for row in rows for span in row.spans if not _whole_words(row.text, span)]
    if wrong is None and len(loose) < _FEW:
        return list(rows), []
    n = sum(len(row.spans) for row in rows)
    for name, count in _COUNTS.items():
        if (
            wrong is None
            and count is _inclusive
            and (len(loose) < n or len({row.text[s.start : s.end] for row, s in loose}) < _FEW)
        ):
            continue
        if recounted := _recounted(rows, count, strict=wrong is None):
            return recounted, [f"offsets of spans count {name}: all {n} spans fit so, and not as characters"]
    if wrong is not None:
        raise _misfit(*wrong)
    return list(rows), []


def _recounted(rows: Sequence[Spanned], count: Count, *, strict: bool) -> list[Spanned]:
    """The rows by another count; none where a span does not fit so, or (`strict`) is not made of whole words."""
    results = []
    for row in rows:
        spans = []
        for span in row.spans:
            place = count(row.text, span.start, span.end)
            moved = replace(span, start=place[0], end=place[1]) if place else None
            if moved is None or not _fits(row.text, moved) or (strict and not _whole_words(row.text, moved)):
                return []
            spans.append(moved)
        results.append(replace(row, spans=tuple(spans)))
    return results


def _fits(text: str, span: Span) -> bool:
    """Whether the span lies in the text and says what the file says of it, whitespace aside."""
    if not 0 <= span.start <= span.end <= len(text):
        return False
    result = text[span.start : span.end].split()
    # Label Studio writes a line break within what a span says as a backslash and an n
    return span.text is None or result in (span.text.split(), span.text.replace("\\n", "\n").split())


def _whole_words(text: str, span: Span) -> bool:
    starts, ends = _word_edges(text)
    return span.start < span.end and span.start in starts and span.end in ends


@lru_cache(maxsize=1)
def _word_edges(text: str) -> tuple[frozenset[int], frozenset[int]]:
    words = find_words(text)
    return frozenset(start for start, _ in words), frozenset(end for _, end in words)


def _misfit(row: Spanned, span: Span) -> DataError:
    what = f"the span {span.start}–{span.end} ({span.label})"
    hint = "Offsets are characters of the text, the first is 0, the end is excluded."
    if not 0 <= span.start <= span.end <= len(row.text):
        more = "ends before it starts" if span.start > span.end else f"is not in the text of {len(row.text)} characters"
        return DataError(f"{what} {more}", where=row.where, hint=hint)
    result = row.text[span.start : span.end]
    return DataError(f"{what} is '{result}', where the file says '{span.text}'", where=row.where, hint=hint)


# ---------------------------------------------------------------- words and tags


def tag_words(text: str, spans: Iterable[Span], counts: Counter[str]) -> tuple[list[Interval], list[str]]:
    """(start, end) of each word, and its tag. A word is split where a span begins or ends in it.

    What is done to spans is added to `counts`: whitespace taken off, empty ones and those within others left out, words
    split. Of spans that overlap the longest is kept, of equally long ones the first.
    """
    kept = without_overlaps(_trimmed(text, spans, counts), counts)
    edges = sorted({edge for span in kept for edge in (span.start, span.end)})
    words: list[Interval] = []
    for start, end in find_words(text):
        cuts = edges[bisect_right(edges, start) : bisect_left(edges, end)]
        counts[SPLIT] += bool(cuts)
        words += zip([start, *cuts], [*cuts, end], strict=True)
    tags = ["O"] * len(words)
    starts = [start for start, _ in words]
    for span in kept:
        first, after = bisect_left(starts, span.start), bisect_left(starts, span.end)
        tags[first:after] = [f"B-{span.label}", *[f"I-{span.label}"] * (after - first - 1)][: after - first]
    return words, tags


SPLIT = "words split where a span begins or ends within them; at prediction such a word stays whole and has one tag"


def _trimmed(text: str, spans: Iterable[Span], counts: Counter[str]) -> list[Span]:
    results = []
    for span in spans:
        inner = text[span.start : span.end]
        start = span.start + len(inner) - len(inner.lstrip())
        end = start + len(inner.strip())
        counts["empty spans left out"] += start == end
        if start < end:
            counts["spans with whitespace around them, which was taken off"] += len(inner) > end - start
            results.append(replace(span, start=start, end=end))
    return results


def without_overlaps(spans: Sequence[Span], counts: Counter[str]) -> list[Span]:
    """Of spans that overlap the longest, of equally long ones the first; the others are counted."""
    distinct = list(dict.fromkeys((span.start, span.end, span.label) for span in spans))
    counts["spans left out that stand there twice"] += len(spans) - len(distinct)
    starts: list[int] = []  # of the spans that are kept, in order, as are the ends
    ends: list[int] = []
    kept: list[Span] = []
    for start, end, label in sorted(distinct, key=lambda item: (item[0] - item[1], item[0])):
        at = bisect_left(starts, end)
        if at and ends[at - 1] > start:
            counts["spans left out that overlap a longer one, or an equally long one before it"] += 1
            continue
        starts.insert(at, start)
        ends.insert(at, end)
        kept.append(Span(start, end, label))
    return sorted(kept, key=lambda span: span.start)
