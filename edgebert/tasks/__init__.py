"""What a model is asked to do: one file a task, found by the registry.

A task reads rows out of records, encodes them, turns logits into predictions, scores them, and says the answer that a
user reads. Nothing here knows torch: the same code serves training, verification and `edgebert predict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from edgebert.types import Feature, Record, Row, Score

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer


class Task(Protocol):
    """The declaration `TASK` of each module of this package."""

    name: str
    title: str
    metric: str  # "strict entity F1"
    auto_model: str  # name of transformers' Auto class: "AutoModelForTokenClassification"
    default_data: str  # a catalogue name

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows of labelled records, and notes on what was repaired. Raises DataError with the record's place."""

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """The model's output labels, in order, from the training rows."""

    def match_labels(self, head: Sequence[str], labels: Sequence[str]) -> list[int] | None:
        """For each of `labels`, its index in a teacher's `head`; None where the head does not fit the task's labels."""

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """Windows of at most `max_length` pieces; long rows give several, nothing is cut."""

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray], labels: Sequence[str]
    ) -> list[tuple[str, ...]]:
        """One tuple of predicted labels a row; `logits[i]` belongs to `features[i]`, (n_pieces, n_labels)."""

    def score(self, rows: Sequence[Row], predictions: Sequence[tuple[str, ...]], split: str) -> Score:
        """The task's metric over labelled rows."""

    def read_text(self, text: str) -> Row:
        """A row without labels from raw text, with character offsets."""

    def answer(self, row: Row, prediction: tuple[str, ...]) -> list[dict[str, Any]]:
        """What a user reads: for entities, {text, type, start, end} with character offsets."""
