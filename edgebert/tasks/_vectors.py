"""What the tasks that give a vector share: options, int8 vectors, correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgebert.errors import RequestError, unknown
from edgebert.modeling.sentence import POOLINGS
from edgebert.tasks import Task

if TYPE_CHECKING:
    import numpy as np

OUTPUT = "sentence_embedding"


@dataclass(frozen=True)
class VectorTask(Task):
    """The options of a task whose answer comes from a sentence's vector.

    Raises:
        RequestError: a pooling that there is not, or a dimension below 0.
    """

    pooling: str | None = field(
        default=None, metadata={"help": "mean, cls or max; otherwise as the teacher says, or mean"}
    )
    dimension: int = field(default=0, metadata={"help": "of the student's vectors; 0 is the encoder's width"})

    head = "sentence-embedding"
    cuts = True

    def __post_init__(self) -> None:
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise unknown("pooling", self.pooling, POOLINGS, where="--set")
        if self.dimension < 0:
            raise RequestError(f"a vector of {self.dimension} numbers cannot be", where="--set")

    def model_settings(self, labels: Sequence[str]) -> dict[str, object]:
        settings: dict[str, object] = {} if self.pooling is None else {"edgebert_pooling": self.pooling}
        if self.dimension:
            head = {"name": "", "kind": self.head, "width": self.dimension}
            settings["edgebert_heads"] = [head | ({"pooling": self.pooling} if self.pooling else {})]
        return settings

    def same(self, a: object, b: object) -> list[bool]:
        """Vectors are never equal: the gate holds their cosine."""
        return []


def int8_vector(vector: np.ndarray) -> tuple[np.ndarray, float]:
    """(width,) int8 and the scale that gives it back: 127 is the largest magnitude. A cosine does not need the scale."""
    import numpy as np

    scale = float(np.abs(vector).max()) / 127 or 1.0
    return np.round(vector / scale).astype(np.int8), scale


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    import numpy as np

    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation; 0 where one side is constant."""
    import numpy as np

    x, y = (np.asarray(side, np.float64) - np.mean(side) for side in (a, b))
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else 0.0


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation of the ranks, ties sharing the mean of theirs."""
    return pearson(ranks(a), ranks(b))


def ranks(values: Sequence[float]) -> list[float]:
    """From 1 on, ties sharing the mean of theirs."""
    import numpy as np

    _, inverse, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    shared = np.cumsum(counts) - (counts - 1) / 2
    return [float(rank) for rank in shared[inverse]]
