"""A study over networks: its front by hand, limits, and that it goes on where it was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebert.methods._supernet import Subnetwork, grid
from edgebert.search.storage import Place
from edgebert.search.study import Judged, Judgement, front, study

N_LAYERS = 3


def ms_of(cut: Subnetwork) -> float:
    return sum(cut.widths)


def score_of(cut: Subnetwork) -> float:
    """The last layer counts most, and a width above a half nothing."""
    return sum(min(width, 0.5) * (layer + 1) for layer, width in zip(cut.layers, cut.widths, strict=True)) / 3


def judge(cut: Subnetwork) -> Judgement:
    ms = ms_of(cut)
    return Judgement(score_of(cut) if ms <= 1.5 else None, ms, max(0.0, ms / 1.5 - 1))


def test_the_front_holds_what_no_other_beats() -> None:
    def item(name: int, score: float | None, ms: float) -> Judged:
        return Judged(Subnetwork((name,), (1.0,)), Judgement(score, ms, 0.0 if score else 1.0))

    every = [item(0, 0.9, 3), item(1, 0.8, 1), item(2, 0.8, 2), item(3, None, 0.5), item(4, 0.7, 1), item(5, 0.9, 4)]
    assert [judged.cut.layers[0] for judged in front(every)] == [1, 0]


def test_a_study_finds_the_best_within_a_limit(tmp_path: Path) -> None:
    judged = study(N_LAYERS, judge, 60, Place(tmp_path), seed=0, first=grid(N_LAYERS))
    assert [item.cut for item in judged][: len(grid(N_LAYERS))] == grid(N_LAYERS)
    assert len({item.cut for item in judged}) == len(judged) <= 60
    best = front(judged)[-1]
    assert best.cut == Subnetwork((0, 1, 2), (0.5, 0.5, 0.5)) and best.judgement.score == pytest.approx(1.0)
    assert all((item.judgement.score is None) == (ms_of(item.cut) > 1.5) for item in judged)
    assert judged == study(N_LAYERS, judge, 60, Place(tmp_path / "again"), seed=0, first=grid(N_LAYERS))


def test_a_study_that_was_killed_goes_on(tmp_path: Path) -> None:
    asked: list[Subnetwork] = []

    def dies(cut: Subnetwork) -> Judgement:
        if len(asked) == 10:
            raise KeyboardInterrupt
        asked.append(cut)
        return judge(cut)

    with pytest.raises(KeyboardInterrupt):
        study(N_LAYERS, dies, 30, Place(tmp_path), seed=0)
    numbers: list[int] = []
    judged = study(N_LAYERS, judge, 30, Place(tmp_path), seed=0, told=lambda number, _: numbers.append(number))
    assert [item.cut for item in judged][:10] == asked and len(numbers) <= 20
    again: list[int] = []
    assert study(N_LAYERS, judge, 30, Place(tmp_path), seed=0, told=lambda number, _: again.append(number)) == judged
    assert not again
