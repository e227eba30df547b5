"""Whether two files differ by more than chance on the same rows: paired tests over what each row adds to a score.

The null hypothesis is that it does not matter which of the two files gave which outcome of a row. Under it the outcomes of
every row may be exchanged, which gives the distribution of the difference (Fisher 1935; Yeh, "More accurate tests for the
statistical significance of result differences", COLING 2000): wholly where it can be enumerated, else by random draws. Of
rows that are right or wrong this is McNemar's exact test. A rank correlation has no such exchange, as two files' values
have no common scale: there p is read off the bootstrap. Intervals are percentiles of a paired bootstrap over rows.

Rows with equal outcomes are alike to both, so that only how many there are of each kind is drawn: by a multinomial
distribution for the bootstrap, by a binomial one for the exchange. Every seed is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from edgebert.results import RowOutcomes, Tallies

RESAMPLES = 2_000  # of the bootstrap
DRAWS = 10_000  # of random exchanges, where there are too many to enumerate
MOST = 100_000  # exchanges that are enumerated
CHUNK = 4_000_000  # numbers that are held at once
CONFIDENCE = 0.95
SEED = 0
MCNEMAR = "McNemar, exact"
EXACT = "paired permutation, exact"
DRAWN = f"paired permutation, {DRAWS:,} draws"
BOOTSTRAP = f"paired bootstrap, {RESAMPLES:,} resamples"
TIES = 1e-12  # differences of equal exchanges that are summed in another order


@dataclass(frozen=True)
class PairedTest:
    """A new file's score, or F1 of a label, against an old one's on the same rows.

    Attributes:
        test: what p comes from.
        n: rows that count.
        difference: new less old, of a score from 0 to 1.
        low, high: 95 % interval of the difference by a paired bootstrap over rows; it holds 0 where p says that the rows do not
            tell the two apart.
        p: two-sided.
        changed: rows that add something else to the new score than to the old one.
    """

    test: str
    n: int
    difference: float
    low: float
    high: float
    p: float
    changed: int


def compare_scores(old: RowOutcomes, new: RowOutcomes) -> PairedTest:
    """The two files' scores.

    Raises:
        ValueError: the outcomes are of other rows, or of another metric or split.
    """
    check_alike(old, new)
    places = np.arange(old.n)
    pairs = list(zip(old.parts, new.parts, strict=True))
    columns = [_spread(a, b, places) for a, b in pairs]
    ranked = tuple(part.ranked for part in old.parts)
    binary = len(pairs) == 1 and not ranked[0] and all(_is_binary(part) for part in pairs[0])
    return _tested(np.concatenate(columns, axis=1), ranked, MCNEMAR if binary else EXACT)


def compare_labels(old: RowOutcomes, new: RowOutcomes) -> dict[str, PairedTest]:
    """The F1 of every label, by its name: "head: label" where there are several heads.

    p is corrected for the number of labels by Holm's method. Labels of which no row changed do not count there: nothing
    could make them significant (Tarone 1990). Intervals are each label's own.

    Raises:
        ValueError: the outcomes are of other rows, or of another metric or split.
    """
    check_alike(old, new)
    results = {}
    for before, after in zip(old.parts, new.parts, strict=True):
        for label in sorted({*before.labels, *after.labels}):
            name = f"{before.head}: {label}" if len(old.parts) > 1 else label
            results[name] = _tested(_of_label(before, after, label, old.n), (False,), EXACT, drop_absent=True)
    corrected = holm({name: result.p for name, result in results.items() if result.changed})
    return {name: replace(result, p=corrected.get(name, 1.0)) for name, result in results.items()}


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """p of several hypotheses, corrected so that one or more false alarms among them have the probability of one."""
    results, least = {}, 0.0
    for i, name in enumerate(sorted(p, key=lambda name: p[name])):
        least = max(least, min(1.0, (len(p) - i) * p[name]))
        results[name] = least
    return results


def check_alike(old: RowOutcomes, new: RowOutcomes) -> None:
    """Raises ValueError that says what the two do not share."""
    for name, what in (("metric", "metrics"), ("split", "splits"), ("n", "numbers of rows")):
        if getattr(old, name) != getattr(new, name):
            raise ValueError(f"the two files have other {what}: {getattr(old, name)} and {getattr(new, name)}")
    if old.rows_sha256 != new.rows_sha256:
        raise ValueError("the two files were verified on other rows")
    heads = [[(part.head, part.ranked) for part in side.parts] for side in (old, new)]
    if heads[0] != heads[1]:
        raise ValueError(f"the two files have other heads: {heads[0]} and {heads[1]}")


# ---------------------------------------------------------------- columns


def _spread(before: Tallies, after: Tallies, places: np.ndarray) -> np.ndarray:
    """(n, 5): both columns of the old file, both of the new one, and 1 where the row counts for either."""
    result = np.zeros((len(places), 5))
    for side, part in enumerate((before, after)):
        at = np.asarray(part.rows, np.intp)
        result[at, 2 * side], result[at, 2 * side + 1], result[at, 4] = *part.whole, 1.0
    return result


def _of_label(before: Tallies, after: Tallies, label: str, n: int) -> np.ndarray:
    """The same of one label."""
    result = np.zeros((n, 5))
    for side, part in enumerate((before, after)):
        if label in part.labels:
            within, right, of = part.labels[label]
            at = np.asarray(part.rows, np.intp)[np.asarray(within, np.intp)]
            result[at, 2 * side], result[at, 2 * side + 1], result[at, 4] = right, of, 1.0
    return result


def _is_binary(part: Tallies) -> bool:
    right, of = part.whole
    return set(right) <= {0.0, 1.0} and set(of) <= {1.0}


# ---------------------------------------------------------------- test and interval


def _tested(columns: np.ndarray, ranked: Sequence[bool], exact: str, drop_absent: bool = False) -> PairedTest:
    """The test of `columns`, (n, 5 a part); the score is the mean over the parts.

    Args:
        exact: what the test is called where every exchange is enumerated.
        drop_absent: leave out resamples in which no row counts; otherwise a score is then 0.
    """
    kinds, counts = np.unique(columns, axis=0, return_counts=True)
    difference = float(_differences(counts[None].astype(float), kinds, ranked)[0])
    counted = kinds.reshape(len(kinds), -1, 5)[:, :, 4].any(axis=1)
    same = (_sides(kinds, 0) == _sides(kinds, 1)).all(axis=1)
    changed = int(counts[~same].sum())
    facts = {"n": int(counts[counted].sum()), "difference": difference, "changed": changed}
    if not changed:
        test = BOOTSTRAP if any(ranked) else exact
        return PairedTest(test=test, low=0.0, high=0.0, p=1.0, **facts)  # type: ignore[arg-type]
    resampled = _bootstrap(kinds, counts, ranked, drop_absent)
    if any(ranked):
        test, p = BOOTSTRAP, _p_of_bootstrap(resampled)
    else:
        whole, p = _permutation(kinds[~same], counts[~same], counts @ kinds, difference)
        test = exact if whole else DRAWN
    low, high = np.quantile(resampled, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    if p > 1 - CONFIDENCE:  # percentiles of few changed rows are too narrow, so that they would contradict the test
        low, high = min(low, 0.0), max(high, 0.0)
    return PairedTest(test=test, low=float(low), high=float(high), p=p, **facts)  # type: ignore[arg-type]


def _sides(kinds: np.ndarray, side: int) -> np.ndarray:
    """(kinds, 2 a part): the old file's columns (0) or the new one's (1)."""
    return kinds.reshape(len(kinds), -1, 5)[:, :, 2 * side : 2 * side + 2].reshape(len(kinds), -1)


def _differences(weights: np.ndarray, kinds: np.ndarray, ranked: Sequence[bool]) -> np.ndarray:
    """(resamples,): the difference where each kind of row is there as often as `weights`, (resamples, kinds), says."""
    parts = []
    for at, by_rank in enumerate(ranked):
        part = kinds[:, 5 * at : 5 * at + 5]
        if by_rank:
            there = part[:, 4] > 0
            own, x = weights[:, there], part[there]
            parts.append(_rank_correlation(own, x[:, 2], x[:, 3]) - _rank_correlation(own, x[:, 0], x[:, 1]))
        else:
            sums = weights @ part
            parts.append(_ratio(sums[:, 2], sums[:, 3]) - _ratio(sums[:, 0], sums[:, 1]))
    return np.mean(parts, axis=0)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b; 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=np.abs(b) > TIES)


def _chunks(n: int, width: int) -> Iterator[int]:
    """Sizes that add to n, each so small that so many numbers a draw can be held."""
    step = max(1, CHUNK // max(1, width))
    yield from (min(step, n - done) for done in range(0, n, step))


# ---------------------------------------------------------------- bootstrap


def _bootstrap(kinds: np.ndarray, counts: np.ndarray, ranked: Sequence[bool], drop_absent: bool) -> np.ndarray:
    """The difference in each resample of as many rows as there are, drawn with replacement."""
    rng = np.random.default_rng(SEED)
    n = int(counts.sum())
    results = []
    for size in _chunks(RESAMPLES, len(kinds)):
        weights = rng.multinomial(n, counts / n, size).astype(float)
        if drop_absent:
            weights = weights[weights @ kinds[:, 4] > 0]
        results.append(_differences(weights, kinds, ranked))
    return np.concatenate(results)


def _p_of_bootstrap(resampled: np.ndarray) -> float:
    """Twice the share of resamples beyond 0, on the side where fewer lie."""
    beyond = min(int(np.count_nonzero(resampled <= 0)), int(np.count_nonzero(resampled >= 0)))
    return min(1.0, 2 * (beyond + 1) / (len(resampled) + 1))


def _rank_correlation(weights: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(resamples,): Spearman's correlation with each row as often as its weight; 0 where a side is constant."""
    x, y = _weighted_ranks(weights, a), _weighted_ranks(weights, b)
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    scale = np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))
    return np.divide((weights * x * y).sum(axis=1), scale, out=np.zeros(len(weights)), where=scale > TIES)


def _weighted_ranks(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(resamples, rows): ranks where a row stands for as many equal ones as its weight; ties share the mean of theirs."""
    order = np.argsort(values, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])  # of each distinct value, among the sorted
    own = np.add.reduceat(weights[:, order], first, axis=1)
    ranks = np.cumsum(own, axis=1) - (own - 1) / 2
    result = np.empty_like(weights)
    result[:, order] = np.repeat(ranks, np.diff(np.r_[first, len(values)]), axis=1)
    return result


# ---------------------------------------------------------------- permutation


def _permutation(kinds: np.ndarray, counts: np.ndarray, sums: np.ndarray, difference: float) -> tuple[bool, float]:
    """Whether every exchange was enumerated, and the share of them that differ at least as much as the files do.

    Args:
        kinds: the kinds of rows that changed, (kinds, 5 a part); counts: how many rows of each.
        sums: of all rows, (5 a part,).
    """
    old, new = _sides(sums[None], 0), _sides(sums[None], 1)
    steps, sizes, start = _opposites_merged(_sides(kinds, 1) - _sides(kinds, 0), counts)
    if math.prod(int(size) + 1 for size in sizes) <= MOST:
        exchanged = np.array(list(product(*(range(size + 1) for size in sizes))), float)
        chances = np.ones(len(exchanged))
        for at, size in enumerate(sizes):
            chances *= _binomial_half(int(size))[exchanged[:, at].astype(int)]
        extreme = _is_extreme(start + exchanged @ steps, old, new, difference)
        return True, 1.0 if extreme.all() else float(chances[extreme].sum())
    rng = np.random.default_rng(SEED)
    n_extreme = 0
    for n in _chunks(DRAWS, len(sizes)):
        exchanged = rng.binomial(sizes, 0.5, (n, len(sizes))).astype(float)
        n_extreme += int(np.count_nonzero(_is_extreme(start + exchanged @ steps, old, new, difference)))
    return False, (n_extreme + 1) / (DRAWS + 1)


def _opposites_merged(changes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct changes up to their sign, how many rows have each, and the sum from which they count.

    A row that loses as much as another wins is exchanged as one that was exchanged before: that halves the kinds.
    """
    first = (changes != 0).argmax(axis=1)
    down = changes[np.arange(len(changes)), first] < 0
    start = changes[down].T @ counts[down]
    steps, kind = np.unique(np.where(down[:, None], -changes, changes), axis=0, return_inverse=True)
    return steps, np.bincount(kind.reshape(-1), counts).astype(int), start


def _is_extreme(moved: np.ndarray, old: np.ndarray, new: np.ndarray, difference: float) -> np.ndarray:
    """Whether the difference is at least as large as `difference` once `moved`, (draws, 2 a part), went from new to old."""
    before, after = old + moved, new - moved
    ratios = [
        _ratio(after[:, i], after[:, i + 1]) - _ratio(before[:, i], before[:, i + 1]) for i in range(0, old.shape[1], 2)
    ]
    return np.abs(np.mean(ratios, axis=0)) >= abs(difference) - TIES


def _binomial_half(n: int) -> np.ndarray:
    """(n + 1,): chances of 0 to n heads of n fair coins."""
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)]
    return np.exp(np.array(logs) - n * math.log(2))
