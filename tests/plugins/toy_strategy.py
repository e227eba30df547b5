"""A strategy in one file: the smallest students that fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgebert.search.strategies import Shape, Strategy
from edgebert.types import Candidate


def choose(shapes: Sequence[Shape], n: int) -> list[Candidate]:
    ranked = sorted((shape.candidate for shape in shapes), key=lambda candidate: (candidate.size_bytes, candidate.name))
    wanted = [candidate.name for candidate in ranked if candidate.fits][:n]
    return [
        replace(candidate, taken=candidate.name in wanted, reason="taken" if candidate.name in wanted else "larger")
        if candidate.fits
        else candidate
        for candidate in ranked
    ]


STRATEGY = Strategy(name="toy-strategy", title="the smallest students that fit", choose=choose)
