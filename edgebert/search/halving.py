"""Successive halving: many candidates try a little, the better part of them tries more.

Jamieson, Talwalkar (2016), "Non-stochastic Best Arm Identification and Hyperparameter Optimization", arXiv 1502.07943,
section 3. Differences: the rungs say how many go on and how long each tries, and one candidate may be kept whatever its
score, so that what others are held against is never dropped early.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """One round.

    Attributes:
        size: candidates that take part, at most.
        effort: of each of them, in whatever unit the score function takes.
    """

    size: int
    effort: float


@dataclass(frozen=True)
class Tried:
    name: str
    rung: int  # from 0
    score: float


def successive_halving(
    names: Sequence[str], rungs: Sequence[Rung], score: Callable[[str, float], float], *, always: str = ""
) -> tuple[str, list[Tried]]:
    """The best of the last rung, and every score.

    Args:
        names: of the candidates, in the order that breaks ties: the first wins.
        score: of a candidate after an effort; higher is better.
        always: a candidate that takes part in every rung.

    Raises:
        ValueError: no candidates, no rungs, or one of size 0.

    Examples:
        Three candidates try one epoch each, and the better two of them try four:

        >>> gain = {"slow": 2.0, "quick": 1.0, "useless": 0.0}
        >>> start = {"slow": 0.0, "quick": 1.5, "useless": 0.5}
        >>> best, tried = successive_halving(
        ...     list(gain), [Rung(size=3, effort=1), Rung(size=2, effort=4)], lambda name, n: start[name] + n * gain[name]
        ... )
        >>> best
        'slow'
        >>> [(item.name, item.score) for item in tried if item.rung == 1]
        [('slow', 8.0), ('quick', 5.5)]
    """
    if not names or not rungs or min(rung.size for rung in rungs) < 1:
        raise ValueError("successive halving needs candidates and rungs of at least one")
    left = list(names)
    tried: list[Tried] = []
    for number, rung in enumerate(rungs):
        left = _best(left, rung.size, tried, always)
        tried += [Tried(name, number, score(name, rung.effort)) for name in left]
    return _best(left, 1, tried, "")[0], tried


def _best(names: Sequence[str], size: int, tried: Sequence[Tried], always: str) -> list[str]:
    """At most `size` of the names by their newest score, with `always` among them, in the order in which they came."""
    newest = {item.name: item.score for item in tried}
    ranked = sorted(names, key=lambda name: (name != always, -newest.get(name, 0.0)))
    kept = ranked[:size]
    return [name for name in names if name in kept]
