"""Paired tests over rows: values worked by hand, scipy's, and how often the interval holds the truth."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test, spearmanr

from edgebert.results import RowOutcomes, Tallies
from edgebert.verify.paired import (
    BOOTSTRAP,
    DRAWN,
    EXACT,
    MCNEMAR,
    PairedTest,
    _rank_correlation,
    compare_labels,
    compare_scores,
    holm,
)


def part(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray | None = None,
    *,
    labels: Mapping[str, Mapping[int, tuple[float, float]]] | None = None,
    head: str = "",
    ranked: bool = False,
    rows: Sequence[int] | None = None,
) -> Tallies:
    """Columns of a file; `labels`: of each label, row -> (a, b)."""
    columns = {
        label: (tuple(own), tuple(x for x, _ in own.values()), tuple(y for _, y in own.values()))
        for label, own in (labels or {}).items()
    }
    whole = (tuple(map(float, a)), tuple(map(float, b if b is not None else [1] * len(a))))
    return Tallies(head, ranked, tuple(rows or range(len(a))), whole, columns)


def outcomes(*parts: Tallies, n: int | None = None) -> RowOutcomes:
    return RowOutcomes("accuracy", "test", "the rows", n or len(parts[0].rows), parts)


def test_rows_that_are_right_or_wrong_by_hand() -> None:
    """10 rows; the new file loses four and wins one. Of five fair coins, one or none heads, or four or five: 12 of 32."""
    old = outcomes(part([1, 1, 1, 1, 1, 0, 0, 1, 0, 1]))
    new = outcomes(part([0, 0, 0, 0, 1, 1, 0, 1, 0, 1]))
    result = compare_scores(old, new)
    assert (result.test, result.n, result.changed) == (MCNEMAR, 10, 5)
    assert result.difference == pytest.approx(-0.3)
    assert result.p == pytest.approx(12 / 32)
    assert result.low < -0.3 < result.high and result.high >= 0


@pytest.mark.parametrize(("lost", "won"), [(4, 0), (7, 1), (30, 14), (100, 100), (812, 700)])
def test_mcnemar_is_scipys_binomial_test_of_the_rows_that_changed(lost: int, won: int) -> None:
    old = outcomes(part([1] * lost + [0] * won + [1] * 900 + [0] * 100))
    new = outcomes(part([0] * lost + [1] * won + [1] * 900 + [0] * 100))
    result = compare_scores(old, new)
    assert result.test == MCNEMAR
    assert result.p == pytest.approx(binomtest(lost, lost + won).pvalue, rel=1e-9)
    assert result.changed == lost + won and result.difference == pytest.approx((won - lost) / (1000 + lost + won))


def test_a_ratio_by_hand() -> None:
    """Two rows of three change. F1 was (2+2+0)/(4+2+2) = 1/2 and is (2+4+2)/(4+4+2) = 4/5.

    Exchanges: neither 3/10; both -3/10; the second alone: (2+2+2)/(4+2+2) - (2+4+0)/(4+4+2) = 3/4 - 3/5 = 3/20; the third
    alone -3/20. So two of four are as far.
    """
    old, new = outcomes(part([2, 2, 0], [4, 2, 2])), outcomes(part([2, 4, 2], [4, 4, 2]))
    result = compare_scores(old, new)
    assert result.test == EXACT
    assert result.difference == pytest.approx(0.3) and result.p == pytest.approx(0.5)
    assert result.changed == 2 and result.n == 3


def random_ratios(n: int, seed: int, share: float = 0.5) -> tuple[RowOutcomes, RowOutcomes]:
    rng = np.random.default_rng(seed)
    b = rng.integers(1, 6, n)
    a = [rng.binomial(b, p) / 7 for p in (0.7, 0.8)]
    a[1] = np.where(rng.random(n) < share, a[1], a[0])
    return outcomes(part(a[0], b)), outcomes(part(a[1], b))


def test_a_permutation_is_scipys_whether_enumerated_or_drawn() -> None:
    for n, seed, name in ((14, 3, EXACT), (400, 1, DRAWN)):
        old, new = random_ratios(n, seed)
        if name == DRAWN:  # distinct values, so that there are too many exchanges to enumerate
            noise = np.random.default_rng(9).random((2, n)) / 100
            old, new = (outcomes(part(np.add(side.parts[0].whole[0], noise[i]), side.parts[0].whole[1])) for i, side in enumerate((old, new)))  # fmt: skip
        columns = [np.array(side.parts[0].whole[0]) for side in (old, new)]
        weight = sum(old.parts[0].whole[1])
        expected = permutation_test(
            (columns[1], columns[0]),
            lambda x, y, axis, weight=weight: (x - y).sum(axis=axis) / weight,
            permutation_type="samples",
            vectorized=True,
            n_resamples=2**14 if name == EXACT else 20_000,
            rng=np.random.default_rng(5),
        )
        result = compare_scores(old, new)
        assert result.test == name
        assert result.p == pytest.approx(expected.pvalue, abs=1e-9 if name == EXACT else 0.015)
        assert result.difference == pytest.approx(float(expected.statistic))


def test_a_rank_correlation_is_resampled() -> None:
    rng = np.random.default_rng(2)
    gold = np.round(rng.random(300), 1)  # with ties
    good, bad = gold + rng.normal(0, 0.2, 300), gold + rng.normal(0, 0.5, 300)
    old, new = (outcomes(part(side, gold, ranked=True)) for side in (good, bad))
    result = compare_scores(old, new)
    expected = spearmanr(bad, gold).statistic - spearmanr(good, gold).statistic
    assert result.test == BOOTSTRAP and result.difference == pytest.approx(expected)
    assert result.low < expected < result.high < 0 and result.p <= 0.002
    again = outcomes(part(good * 3 + 1, gold, ranked=True))  # another scale, the same order
    same = compare_scores(old, again)
    assert same.difference == pytest.approx(0) and same.low == pytest.approx(0) == same.high and same.p == 1


def test_weights_stand_for_equal_rows() -> None:
    rng = np.random.default_rng(4)
    a, b = np.round(rng.random((2, 40)), 1)
    weights = rng.multinomial(40, [1 / 40] * 40, 5).astype(float)
    for own, value in zip(weights, _rank_correlation(weights, a, b), strict=True):
        times = own.astype(int)
        assert value == pytest.approx(spearmanr(np.repeat(a, times), np.repeat(b, times)).statistic)


@pytest.mark.parametrize("kind", ["accuracy", "ratio", "ranked"])
def test_nothing_changed(kind: str) -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 2, 50)
    side = outcomes(part(a, a + 1.0 if kind == "ratio" else None, ranked=kind == "ranked"))
    result = compare_scores(side, side)
    assert (result.difference, result.low, result.high, result.p, result.changed) == (0, 0, 0, 1, 0)


def test_changes_that_cancel_are_no_difference() -> None:
    result = compare_scores(outcomes(part([1, 0, 1])), outcomes(part([0, 1, 1])))
    assert (result.difference, result.p, result.changed) == (0, 1, 2) and result.low < 0 < result.high


def test_one_file_is_right_always_and_the_other_never() -> None:
    result = compare_scores(outcomes(part([1] * 40)), outcomes(part([0] * 40)))
    assert (result.difference, result.low, result.high) == (-1, -1, -1)
    assert result.p == pytest.approx(2 * 0.5**40)


def test_a_file_that_answers_nothing_scores_0() -> None:
    """An F1 whose denominator is 0, as where no entity is there and none is predicted."""
    result = compare_scores(outcomes(part([0, 0], [0, 0])), outcomes(part([0, 0], [0, 3])))
    assert (result.difference, result.p, result.changed) == (0, 1, 1)


def test_the_score_of_several_heads_is_their_mean() -> None:
    """Heads of 3 and 2 rows; the first loses one row of three, the second wins one of two: (-1/3 + 1/2) / 2."""
    old = outcomes(part([1, 1, 0], head="a", rows=[0, 2, 4]), part([0, 1], head="b", rows=[1, 3]), n=5)
    new = outcomes(part([0, 1, 0], head="a", rows=[0, 2, 4]), part([1, 1], head="b", rows=[1, 3]), n=5)
    result = compare_scores(old, new)
    assert result.difference == pytest.approx((-1 / 3 + 1 / 2) / 2)
    # exchanges: +-1/3 and +-1/2 by themselves, all four at least as far as 1/12 apart
    assert (result.test, result.p, result.n, result.changed) == (EXACT, 1, 5, 2)


def label(rows: Mapping[int, tuple[float, float]], n: int = 60, name: str = "x") -> RowOutcomes:
    return outcomes(part([1] * n, labels={name: rows}))


def test_labels_by_hand() -> None:
    """F1 falls from 1 to 0 in six rows: all exchanges but the two where every row goes one way are nearer."""
    before, after = (dict.fromkeys(range(6), (2.0 * right, 2.0)) for right in (1, 0))
    (result,) = compare_labels(label(before), label(after)).values()
    assert (result.difference, result.n, result.changed) == (-1, 6, 6)
    assert result.p == pytest.approx(2 / 64) and (result.low, result.high) == (-1, -1)


def test_a_label_of_one_row() -> None:
    """More than a third of the resamples are without it: they say nothing, and one row shows nothing."""
    (result,) = compare_labels(label({7: (2, 2)}), label({7: (0, 2)})).values()
    assert (result.difference, result.p, result.n, result.changed) == (-1, 1, 1, 1)
    assert (result.low, result.high) == (-1, 0)


def test_a_label_that_only_one_file_predicts() -> None:
    old = outcomes(part([1] * 9, labels={"x": {0: (2, 2)}}))
    new = outcomes(part([1] * 9, labels={"x": {0: (2, 2)}, "ghost": {3: (0, 1)}}))
    results = compare_labels(old, new)
    assert results["ghost"].difference == 0 and results["ghost"].changed == 1 and results["ghost"].p == 1
    assert results["x"] == PairedTest(EXACT, 1, 0.0, 0.0, 0.0, 1.0, 0)


def test_p_is_corrected_for_the_labels_that_changed() -> None:
    """Raw 2/64 and 2/1024: the smaller is doubled, the other is not; the third did not change and is not counted."""
    rows = {"a": range(6), "b": range(6, 16), "c": range(16, 20)}
    sides = [
        outcomes(
            part([1] * 20, labels={k: dict.fromkeys(at, (2.0 * (right or k == "c"), 2.0)) for k, at in rows.items()})
        )
        for right in (1, 0)
    ]
    results = compare_labels(*sides)
    assert results["a"].p == pytest.approx(2 / 64) and results["b"].p == pytest.approx(4 / 1024)
    assert results["c"].p == 1
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_labels_of_several_heads_are_named_by_their_head() -> None:
    parts = [part([1, 1], labels={"x": {0: (2, 2)}}, head=head, rows=at) for head, at in (("a", [0, 1]), ("b", [2, 3]))]
    assert list(compare_labels(outcomes(*parts, n=4), outcomes(*parts, n=4))) == ["a: x", "b: x"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows_sha256": "others"}, "other rows"),
        ({"metric": "strict entity F1"}, "other metrics: accuracy and strict entity F1"),
        ({"split": "dev"}, "other splits: test and dev"),
        ({"n": 4}, "other numbers of rows: 3 and 4"),
        ({"parts": (part([1, 1, 0], head="b"),)}, "other heads"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: dict[str, object], message: str) -> None:
    side = outcomes(part([1, 0, 1]))
    for compare in (compare_scores, compare_labels):
        with pytest.raises(ValueError, match=message):
            compare(side, replace(side, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["accuracy", "ratio"])
def test_the_interval_holds_the_truth_about_95_times_in_100(kind: str) -> None:
    """Rows drawn from a known distribution: right before with chance 0.85; 8 % of the rows change, three of four for worse."""
    rng = np.random.default_rng(0)
    held = alarms = 0
    for _ in range(400):
        change = rng.choice([-1, 0, 1], 400, p=[0.06, 0.92, 0.02])
        before = np.where(change == 0, rng.random(400) < 0.85, change < 0).astype(float)
        size = rng.integers(1, 4, 400) if kind == "ratio" else np.ones(400)
        old, new = outcomes(part(before * size, size)), outcomes(part((before + change) * size, size))
        result = compare_scores(old, new)
        held += result.low <= -0.04 <= result.high
        alarms += result.p <= 0.05
    assert 0.925 <= held / 400 <= 0.98, held
    assert alarms / 400 > 0.7, "a drop of four points in 400 rows is seen"


def test_noise_is_called_a_difference_at_most_5_times_in_100() -> None:
    """Few rows change and none way more often: a bootstrap's own p would be too small here."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        change = rng.choice([-1, 0, 1], 200, p=[0.015, 0.97, 0.015])
        before = np.where(change == 0, 1.0, change < 0)
        result = compare_scores(outcomes(part(before)), outcomes(part(before + change)))
        alarms += result.p <= 0.05
        assert result.p <= 0.05 or result.low <= 0 <= result.high
    assert alarms <= 20


def test_the_same_rows_give_the_same_figures_however_they_are_ordered() -> None:
    old, new = random_ratios(200, 7)
    order = list(range(200))
    random.Random(1).shuffle(order)
    shuffled = [outcomes(part(*([column[i] for i in order] for column in side.parts[0].whole))) for side in (old, new)]
    assert compare_scores(old, new) == compare_scores(old, new)
    other, first = compare_scores(*shuffled), compare_scores(old, new)
    assert (other.low, other.high, other.p) == pytest.approx((first.low, first.high, first.p))


def test_3000_rows_and_150_labels_take_less_than_two_seconds() -> None:
    rng = random.Random(0)
    sides = []
    for quality in (0.9, 0.88):
        labels: dict[str, dict[int, tuple[float, float]]] = {f"label {i}": {} for i in range(150)}
        whole: list[tuple[float, float]] = []
        for row in range(3000):
            kinds = [rng.randrange(150) for _ in range(rng.randint(1, 5))]
            right = [rng.random() < quality for _ in kinds]
            whole.append((2.0 * sum(right), 2.0 * len(kinds)))
            for kind, ok in zip(kinds, right, strict=True):
                labels[f"label {kind}"][row] = (2.0 * ok, 2.0)
        sides.append(outcomes(part([a for a, _ in whole], [b for _, b in whole], labels=labels)))
    start = time.process_time()
    result, by_label = compare_scores(*sides), compare_labels(*sides)
    took = time.process_time() - start
    print(f"{took:.2f} s")
    assert result.n == 3000 and len(by_label) == 150
    assert took < 2


def test_mcnemar_of_many_rows_is_exact() -> None:
    result = compare_scores(outcomes(part([1] * 3 + [0] * 9)), outcomes(part([0] * 3 + [1] * 9)))
    assert result.p == pytest.approx(2 * sum(comb(12, k) for k in range(4)) / 2**12)
