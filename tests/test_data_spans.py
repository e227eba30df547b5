"""Spans of characters to words and tags, and how their offsets count."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebert.data.annotations import plain_records
from edgebert.data.spans import SPLIT, Span, tag_words
from edgebert.data.words import find_words
from edgebert.tasks.ner import TASK
from edgebert.types import Record, Row


def rows_of(*columns: dict[str, Any]) -> tuple[list[Row], list[str]]:
    """Rows of the task ner, and the notes of the tool's format and of the task."""
    records, notes = plain_records([Record(own, f"f:{i}") for i, own in enumerate(columns, 1)])
    rows, message = TASK.rows(records)
    return rows, [*notes, *message]


def tagged(row: Row) -> str:
    return " ".join(f"{word}|{tag}" for word, tag in zip(row.words, row.tags, strict=True))


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "place", "expected", "n_split"),
    [
        ("Riga's port", (0, 4), "Riga|B-X 's|O port|O", 1),
        ("a Riga-based firm", (2, 6), "a|O Riga|B-X -based|O firm|O", 1),
        ("Riga/Wien", (5, 9), "Riga/|O Wien|B-X", 1),
        ("to bob@x.org now", (3, 6), "to|O bob|B-X @x.org|O now|O", 1),
        ("preBobpost", (3, 6), "pre|O Bob|B-X post|O", 1),
        ("Bob Berg ran", (0, 9), "Bob|B-X Berg|I-X ran|O", 0),
        ("in the U.S. now", (7, 11), "in|O the|O U.S|B-X .|I-X now|O", 0),
    ],
)
def test_a_word_is_split_at_a_span(text: str, place: tuple[int, int], expected: str, n_split: int) -> None:
    counts: Counter[str] = Counter()
    words, tags = tag_words(text, [Span(*place, "X")], counts)
    assert " ".join(f"{text[a:b]}|{tag}" for (a, b), tag in zip(words, tags, strict=True)) == expected
    assert counts[SPLIT] == n_split


@st.composite
def texts_with_spans(draw: st.DrawFn) -> tuple[str, list[Span]]:
    """A text, and spans that do not overlap and neither begin nor end with whitespace."""
    text = draw(st.text("ab .'-京é\n\u0301", min_size=1, max_size=30))
    edges = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    kinds = draw(st.lists(st.sampled_from("XY"), min_size=4, max_size=4))
    spans = [Span(a, b, kind) for (a, b), kind in zip(pairs, kinds, strict=False)]
    return text, [span for span in spans if text[span.start : span.end].strip() == text[span.start : span.end] != ""]


@given(texts_with_spans())
def test_spans_come_back_from_their_tags(given_text: tuple[str, list[Span]]) -> None:
    text, spans = given_text
    counts: Counter[str] = Counter()
    words, tags = tag_words(text, spans, counts)
    row = Row(tuple(text[a:b] for a, b in words), tuple(tags), text=text, offsets=tuple(words))
    results = [(item["start"], item["end"], item["type"]) for item in TASK.answer(row, row.tags)]
    assert results == [(span.start, span.end, span.label) for span in spans]
    assert "".join(row.words) == "".join(text.split())
    cut = {edge for span in spans for edge in (span.start, span.end)}
    rule = find_words(text)
    assert counts[SPLIT] == sum(any(a < edge < b for edge in cut) for a, b in rule)
    assert set(rule) - set(words) == {(a, b) for a, b in rule if any(a < edge < b for edge in cut)}


@given(st.text("ab 京", max_size=12), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6))
def test_every_span_is_kept_or_counted(text: str, places: list[tuple[int, int]]) -> None:
    spans = [Span(min(a, b, len(text)), min(max(a, b), len(text)), "X") for a, b in places]
    counts: Counter[str] = Counter()
    _, tags = tag_words(text, spans, counts)
    left = sum(n for what, n in counts.items() if "left out" in what)
    assert sum(tag[0] == "B" for tag in tags) + left == len(spans)


def test_what_is_done_to_spans_is_told() -> None:
    rows, notes = rows_of(
        {"text": "in New York City", "spans": [[3, 11, "A"], [3, 16, "A"], [3, 16, "A"]]},
        {"text": "in Riga", "spans": [[2, 7, "A"], [2, 3, "A"], [7, 7, "A"]]},
        {"text": "in Wien", "spans": None},
        {"text": "in Graz", "spans": [{"start": 3, "end": 7, "labels": []}, {"start": 3, "end": 7, "label": "A"}]},
    )
    assert [tagged(row) for row in rows] == [
        "in|O New|B-A York|I-A City|I-A", "in|O Riga|B-A", "in|O Wien|O", "in|O Graz|B-A"
    ]  # fmt: skip
    assert sorted(notes) == [
        "1 rows without a list of spans, read as rows without entities",
        "1 spans left out that overlap a longer one, or an equally long one before it",
        "1 spans left out that stand there twice",
        "1 spans with whitespace around them, which was taken off",
        "1 spans without a label left out",
        "2 empty spans left out",
    ]


# ---------------------------------------------------------------- how offsets are counted


@pytest.mark.parametrize(
    ("count", "note"),
    [
        (lambda text, at, last: at, ""),
        (lambda text, at, last: at - last, "characters with the end included"),
        (lambda text, at, last: len(text[:at].encode("utf-16-le")) // 2, "UTF-16 units, as JavaScript and Java do"),
        (lambda text, at, last: len(text[:at].encode()), "bytes of UTF-8"),
    ],
)
@pytest.mark.parametrize("says", [True, False])
def test_how_offsets_count_is_seen(count: Any, note: str, says: bool) -> None:
    texts = {"😀 Anna went": (2, 6), "so é 😀 Bertil": (7, 13), "😀😀 né Carla, too": (6, 11)}
    columns = []
    for text, (start, end) in texts.items():
        span = {"start": count(text, start, False), "end": count(text, end, True), "label": "PER"}
        columns.append({"text": text, "entities": [{**span, "text": text[start:end]} if says else span]})
    rows, notes = rows_of(*columns)
    assert [[item["text"] for item in TASK.answer(row, row.tags)] for row in rows] == [["Anna"], ["Bertil"], ["Carla"]]
    wanted = f"offsets of spans count {note}: all 3 spans fit so, and not as characters"
    assert notes == ([wanted] if note else [])


def test_how_offsets_count_is_seen_within_one_text() -> None:
    text = "Anna Berg met Bo Ek in Riga"
    ends = [(0, 8), (14, 18), (23, 26)]
    rows, notes = rows_of({"text": text, "entities": [[a, b, "X"] for a, b in ends]})
    assert tagged(rows[0]) == "Anna|B-X Berg|I-X met|O Bo|B-X Ek|I-X in|O Riga|B-X"
    assert notes == [
        "offsets of spans count characters with the end included: all 3 spans fit so, and not as characters"
    ]


def test_plural_forms_are_no_ends_included() -> None:
    rows, notes = rows_of(*[{"text": "all dogs bark", "entities": [[4, 7, "X"]]}] * 9)
    assert tagged(rows[0]) == "all|O dog|B-X s|O bark|O"
    assert notes == [f"9 {SPLIT}"]
