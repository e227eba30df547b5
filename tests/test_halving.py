"""Successive halving: who goes on, who is kept anyway, and who wins."""

from __future__ import annotations

import pytest

from edgebert.search.halving import Rung, Tried, successive_halving

# A candidate's score after an effort: `late` is behind at first and best in the end.
SCORES = {"late": {1: 0.2, 2: 0.9}, "early": {1: 0.8, 2: 0.7}, "even": {1: 0.8, 2: 0.7}, "plain": {1: 0.1, 2: 0.6}}


def tried(rungs: list[Rung], always: str = "") -> tuple[str, list[Tried]]:
    return successive_halving(list(SCORES), rungs, lambda name, effort: SCORES[name][int(effort)], always=always)


def test_the_better_half_goes_on_and_ties_keep_their_order() -> None:
    best, table = tried([Rung(4, 1), Rung(2, 2)])
    assert best == "early"
    assert [(item.name, item.score) for item in table if item.rung == 1] == [("early", 0.7), ("even", 0.7)]
    assert len(table) == 6


def test_one_candidate_is_kept_whatever_its_score() -> None:
    best, table = tried([Rung(4, 1), Rung(2, 2)], always="plain")
    assert [item.name for item in table if item.rung == 1] == ["early", "plain"]
    assert best == "early"


def test_a_kept_candidate_does_not_win_by_being_kept() -> None:
    best, _ = tried([Rung(4, 2)], always="plain")
    assert best == "late"


def test_one_rung_of_one() -> None:
    assert tried([Rung(1, 1)])[0] == "late"  # the first of the order: nobody was scored before


@pytest.mark.parametrize(("names", "rungs"), [([], [Rung(1, 1)]), (["a"], []), (["a"], [Rung(0, 1)])])
def test_nothing_to_choose_from(names: list[str], rungs: list[Rung]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        successive_halving(names, rungs, lambda name, effort: 0.0)
