"""How far a file's outputs lie from the model's, in units that mean the same for every head.

A cosine says nothing where outputs are centred: the two logits of a binary classifier are nearly (z, -z), and of a row
near the boundary they turn over. The unit here is the deviation of an output over the rows: what the model itself
thinks of as a difference between two texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 0.1  # of the outputs' size: rows that are all alike would make the unit as small as rounding
NARROW = 0.5  # of all columns' deviation: a column that hardly varies is judged by the others' unit


@dataclass(frozen=True)
class Distance:
    """Two sets of outputs (n, columns). Where they cannot be compared, every figure is infinite.

    Attributes:
        nrmse: root mean square of all differences, each in its column's unit.
        column: the same of the column that is farthest.
        entry: the same of the row, or token, that is farthest.
        slope: of ours on theirs, over all columns about their means: 1 where no scale changed.
        shift: largest difference of a column's means, in units.
        farthest: index of the column that is farthest.
    """

    nrmse: float
    column: float
    entry: float
    slope: float
    shift: float
    farthest: int = 0


_END = float("inf")
FAR = Distance(_END, _END, _END, _END, _END)


def units(theirs: np.ndarray) -> np.ndarray:
    """(columns,) deviation of each column over the rows of (n, columns)."""
    spread = theirs.std(0)
    overall = float(np.sqrt(np.mean(spread**2)))
    size = float(np.sqrt(np.mean(np.square(theirs))))
    least: np.ndarray = np.maximum(spread, max(NARROW * overall, LEAST * size, 1e-12))
    return least


def distance(ours: np.ndarray, theirs: np.ndarray, unit: np.ndarray) -> Distance:
    """Of (n, columns) in float64, in units (columns,)."""
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return FAR
    squares = np.square((ours - theirs) / unit)
    a, b = (ours - ours.mean(0)) / unit, (theirs - theirs.mean(0)) / unit
    power = float(np.square(b).sum())
    return Distance(
        nrmse=float(np.sqrt(squares.mean())),
        column=float(np.sqrt(squares.mean(0).max())),
        entry=float(np.sqrt(squares.mean(1).max())),
        slope=float((a * b).sum()) / power if power > 0 else 1.0,
        shift=float(np.abs((ours.mean(0) - theirs.mean(0)) / unit).max()),
        farthest=int(squares.mean(0).argmax()),
    )


def neighbour_cosines(vectors: np.ndarray) -> np.ndarray:
    """(n * (n - 1) / 2,) cosines of each two of (n, width): what search over embeddings orders by."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1.0)
    pairs: np.ndarray = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return pairs
