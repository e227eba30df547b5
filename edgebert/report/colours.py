"""Colours of the page and the picture, chosen once: light for both, dark for the page."""

from __future__ import annotations

LIGHT = ("#64748b", "#2563eb", "#c2620a", "#0d8a63", "#7c3aed", "#c8307f")  # the teacher, then the students
DARK = ("#94a3b8", "#6ea8fe", "#f5a04c", "#3ecf9b", "#b794f6", "#f472b6")
FILL = {"fp32": 0.12, "int8": 0.75}  # how full a circle is drawn, by precision
OTHER_FILL = 0.4


def rank_colour(rank: int) -> int:
    """The index into LIGHT and DARK of the teacher (0) or of a student (from 1 on; they repeat after five)."""
    return 0 if rank == 0 else 1 + (rank - 1) % (len(LIGHT) - 1)


def fill(precision: str, predicted: bool = False) -> float:
    """Opacity of a circle's inside: hollow for fp32, full for int8, half of it where the latency is predicted."""
    return FILL.get(precision, OTHER_FILL) / (2 if predicted else 1)
