"""Which unlabelled texts are most like those of a task."""

from __future__ import annotations

import pytest

from edgebert.data import nearest_texts
from edgebert.data.nearest_texts import most_alike


@pytest.mark.parametrize(
    ("texts", "own", "expected"),
    [
        (["a hotel", "flights to boston", "the weather"], ["a flight to boston"], [1]),
        (["东京的天气怎么样", "给我订一张去北京的机票", "股票价格"], ["订一张去上海的机票"], [1]),  # no spaces
        (["!", "?", "1"], ["a flight"], [0]),  # none is alike: the first of all that are equally far
    ],
)
def test_the_nearest(texts: list[str], own: list[str], expected: list[int]) -> None:
    assert most_alike(texts, own, 1) == expected


def test_the_nearest_to_any_text_in_their_old_order_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["pay my bill", "zzz", "book a table", "qqq", "a bill to pay"]
    own = ["pay the bill", "book a table for two"]
    whole = most_alike(texts, own, 3)
    monkeypatch.setattr(nearest_texts, "CHUNK", 2)
    assert most_alike(texts, own, 3) == whole == [0, 2, 4]


def test_of_too_many_texts_the_seed_draws_those_that_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_texts, "LOOKED_AT", 2)
    texts = ["pay a bill", "zzz", "qqq", "book a table"]
    results = {tuple(most_alike(texts, ["pay a bill"], 1, seed)) for seed in range(20)}
    assert {(0,)} < results, "where it is not looked at, another is the nearest"
    assert most_alike(texts, ["pay a bill"], 4) == [0, 1, 2, 3], "as many as are asked for are always looked at"


def test_of_many_own_texts_the_seed_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_texts, "HELD_AGAINST", 1)
    results = {tuple(most_alike(["aaaa", "bbbb"], ["aaaa", "bbbb"], 1, seed)) for seed in range(8)}
    assert results == {(0,), (1,)}
