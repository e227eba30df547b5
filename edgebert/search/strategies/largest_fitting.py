"""largest-fitting: the largest encoders, each with the largest vocabulary that fits.

Shapes that differ in the vocabulary alone form a group, and each group offers its largest vocabulary that fits: within a
budget of bytes, tokens that are kept cost next to no time. One with a reservation is offered where no other fits. Of the
groups' offers, the largest encoders are taken. Where students may start from smaller checkpoints too, starts take turns, a
checkpoint before the teacher's own layers: a few layers cut from a wide teacher keep less of it. Of equal encoders, the one
that loses fewer layers is preferred.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypeAlias

from edgebert.budget.limits import interval
from edgebert.search.starts import TEACHER
from edgebert.search.strategies import DEFAULT, Group, Shape, Strategy
from edgebert.types import Candidate

Key: TypeAlias = tuple[str, Group]  # a start's name, and a group of its shapes


def choose(shapes: Sequence[Shape], n: int) -> tuple[Candidate, ...]:
    """Every candidate with its verdict: the largest encoder first, then the largest vocabulary."""
    groups: dict[Key, list[Shape]] = {}
    for shape in sorted(shapes, key=lambda shape: -shape.candidate.vocab_size):
        groups.setdefault(_key(shape), []).append(shape)
    ranked = sorted(groups.values(), key=_largest_first)
    offers = {
        _key(members[0]): best
        for members in ranked
        if (best := next((m.candidate for m in sorted(members, key=_has_reservation) if m.candidate.fits), None))
    }
    wanted = _in_turns(offers)[:n]
    return tuple(
        _verdict(shape, offers.get(_key(shape)), _key(shape) in wanted, n) for members in ranked for shape in members
    )


def _has_reservation(shape: Shape) -> bool:
    return bool(shape.reservation)


def _key(shape: Shape) -> Key:
    return shape.candidate.start, shape.group


def _largest_first(members: Sequence[Shape]) -> tuple[float, int, float]:
    # Layers that share their weights differ in time only.
    return -members[0].encoder_parameters, members[0].n_dropped, -members[0].candidate.latency.p50_ms


def _in_turns(offers: Iterable[Key]) -> list[Key]:
    """The best group of each start, then the second of each, …: the best checkpoint's first, then the teacher's own layers'."""
    by_start: dict[str, list[Key]] = {}
    for key in offers:
        by_start.setdefault(key[0], []).append(key)
    own = by_start.pop(TEACHER, [])
    first, *others = [*by_start.values()] or [[]]
    return [key for turn in zip_longest(first, own, *others) for key in turn if key is not None]


def _verdict(shape: Shape, best: Candidate | None, wanted: bool, n: int) -> Candidate:
    """`best` is the one that its group offers; `wanted` where its group is among the `n` that are taken."""
    candidate = shape.candidate
    if not candidate.fits:
        return candidate
    if candidate is not best and best is not None:
        why = (
            shape.reservation
            if candidate.vocab_size > best.vocab_size
            else f"a vocabulary of {best.vocab_size:,} also fits"
        )
        return replace(candidate, reason=f"fits, but {why}")
    if not wanted:
        return replace(candidate, reason=f"fits; not trained, because --candidates is {n}")
    predicted_ms = f"predicted {candidate.latency.p50_ms:.1f} ms{interval(candidate.latency)}"
    figures = f"{candidate.size_bytes / 1e6:.1f} MB, {predicted_ms}"
    more = f", though {shape.reservation}" if shape.reservation else ""
    return replace(candidate, taken=True, reason=f"taken: {figures}; its largest vocabulary that fits{more}")


STRATEGY = Strategy(
    name=DEFAULT, title="the largest encoders that fit, each with its largest vocabulary", choose=choose
)
