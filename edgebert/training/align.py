"""Which teacher layer each student layer learns from, and what carries a student's width to its teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgebert.errors import RequestError

if TYPE_CHECKING:
    from torch import nn

STRATEGIES = ("uniform", "top", "bottom")


def layer_map(
    strategy: str, n_student: int, n_teacher: int, explicit: Sequence[int] = (), where: str = "mapping"
) -> tuple[int, ...]:
    """For student layers 0 (the embedding) to M, the teacher layer that each learns from.

    Args:
        strategy: uniform is g(m) = m·N/M (TinyBERT, DistilBERT); top maps to the last M layers, bottom to the first M.
        explicit: the teacher layers of student layers 1 to M, counted from 1, in place of a strategy.
        where: the option, for messages.

    Raises:
        RequestError: a student deeper than its teacher, or explicit layers that do not exist or do not go up.
    """
    if n_student > n_teacher:
        raise RequestError(f"a student of {n_student} layers cannot learn from {n_teacher}", where=where)
    if explicit:
        if len(explicit) != n_student:
            what = f"{len(explicit)} teacher layers for a student of {n_student}"
            raise RequestError(what, where=where, hint="Name one for each layer of the student.")
        if list(explicit) != sorted(set(explicit)) or not all(1 <= layer <= n_teacher for layer in explicit):
            what = f"layers {tuple(explicit)} are not increasing numbers from 1 to {n_teacher}"
            raise RequestError(what, where=where)
        return (0, *explicit)
    layers = range(1, n_student + 1)
    if strategy == "uniform":
        return (0, *(round(m * n_teacher / n_student) for m in layers))
    shift = n_teacher - n_student if strategy == "top" else 0
    return (0, *(m + shift for m in layers))


def projection(width: int, teacher_width: int) -> nn.Module:
    """(…, width) to (…, teacher_width): learned without bias, or nothing where they are equal."""
    from torch import nn

    return nn.Identity() if width == teacher_width else nn.Linear(width, teacher_width, bias=False)
