"""Puts labels beside points where they cover neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER, LINE = 6.1, 13.0  # pixels that a label of 11 px takes, on the wide side
GAP = 4.0


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def inside(self, frame: Box) -> bool:
        across = frame.left <= self.left and self.right <= frame.right
        return across and frame.top <= self.top and self.bottom <= frame.bottom


@dataclass(frozen=True)
class Label:
    """Text centred on (x, y)."""

    text: str
    x: float
    y: float
    strong: bool


def place(
    wanted: Sequence[tuple[str, float, float, float, bool]], taken: Sequence[Box], frame: Box
) -> tuple[Label, ...]:
    """Labels for points (text, x, y, radius, strong), first come first served; one without a free place is left out.

    The reader of a label that is left out still has the colour, the outline and the details on hover.
    """
    boxes, labels = list(taken), []
    for text, x, y, radius, strong in wanted:
        for box in _places(text, x, y, radius):
            if box.inside(frame) and not any(box.meets(other) for other in boxes):
                boxes.append(box)
                labels.append(Label(text, (box.left + box.right) / 2, (box.top + box.bottom) / 2, strong))
                break
    return tuple(labels)


def _places(text: str, x: float, y: float, radius: float) -> list[Box]:
    """Above, below, right, left, then the four corners."""
    half, away = len(text) * CHARACTER / 2, radius + GAP
    side, up = away + half, away + LINE / 2
    corner = 0.7 * radius + GAP
    centres = [(x, y - up), (x, y + up), (x + side, y), (x - side, y)]
    centres += [(x + i * (corner + half), y + j * (corner + LINE / 2)) for j in (-1, 1) for i in (1, -1)]
    return [Box(cx - half, cy - LINE / 2, cx + half, cy + LINE / 2) for cx, cy in centres]
