"""Word alignment on sentences that can be worked out by hand."""

from __future__ import annotations

import math

import pytest

from edgebert.training.word_alignment import align_words, translations
from tests.parallel_sentences import sentences

GERMAN = [text.split() for text in ("das haus", "das buch", "ein buch")]
ENGLISH = [text.split() for text in ("the house", "the book", "a book")]


@pytest.mark.parametrize(("passes", "right", "wrong"), [(1, 1 / 2, 1 / 4), (2, 7 / 11, 2 / 11)])
def test_model_1_by_hand(passes: int, right: float, wrong: float) -> None:
    """Without an empty word and without places. First pass: each English word counts 1/2 for both German words of its
    sentence, so das has the 1, house 1/2, book 1/2 of 2. Second: das and buch give book 1/4 and 1/2, so das has 1/3 of it;
    das and haus give the 1/2 each, das and buch 1/2 and 1/4; house comes from das by (1/4) / (1/4 + 1/2) = 1/3. The sum of das
    is 7/6 + 1/3 + 1/3 = 11/6."""
    table = translations(GERMAN, ENGLISH, passes=passes, tension=0.0, none=0.0)
    assert table["the", "das"] == pytest.approx(right)
    assert table["house", "das"] == table["book", "das"] == pytest.approx(wrong)
    assert table["book", "buch"] == pytest.approx(right)
    assert sum(value for (_, source), value in table.items() if source == "das") == pytest.approx(1)


def test_places_and_the_empty_word_weigh_as_in_fast_align() -> None:
    """One pair of two words each, one pass: δ(none) = 0.08; i = j has 0.92 · 1 / (1 + e^-2), i ≠ j 0.92 · e^-2 / (1 + e^-2),
    since |1/2 - 2/2| · 4 = 2. Both words of t count alike for the empty word."""
    table = translations([["a", "b"]], [["c", "d"]], passes=1)
    far = math.exp(-2)
    assert table["c", "a"] == pytest.approx(1 / (1 + far))
    assert table["d", "a"] == pytest.approx(far / (1 + far))
    assert table["c", ""] == table["d", ""] == pytest.approx(0.5)


def test_words_are_found_and_none_is_in_two() -> None:
    german, english = ([getattr(item, side).split() for item in sentences()] for side in ("de", "en"))
    links = align_words(german, english)
    found = {
        (source[i], target[j]) for source, target, pairs in zip(german, english, links, strict=True) for i, j in pairs
    }
    assert {
        ("wetter", "weather"),
        ("zug", "train"),
        ("fahrkarte", "ticket"),
        ("licht", "light"),
        ("uhr", "o'clock"),
    } - found == {("zug", "train")}, "train and ein, leave and zug always stand together: nothing tells which is which"
    assert all(len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs) for pairs in links)


def test_empty_sentences_have_no_links() -> None:
    assert align_words([["a"], []], [[], ["b"]]) == [[], []]
    assert align_words([], []) == []
