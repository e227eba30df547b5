"""A vector for a text, learnt from a teacher's vectors on text without labels; scored by retrieval.

For each text of a split, the NEAREST others by the teacher's vectors are what the student should find: recall@10 is the
share of them among the student's own ten nearest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgebert.errors import DataError
from edgebert.results import Tally
from edgebert.tasks._encode import cut_texts
from edgebert.tasks._labels import left_out_note, text_of
from edgebert.tasks._vectors import OUTPUT, VectorTask, int8_vector
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

NEAREST = 10
LEAST = 3  # rows, of which a nearest can be told
CHUNK = 512  # rows whose similarities are held at once


@dataclass(frozen=True)
class Embed(VectorTask):
    """The task `embed`; see `edgebert.tasks.Task` for what each function promises."""

    name = "embed"
    title = "a vector for a text"
    metric = "recall@10 of the teacher's neighbours"
    columns = {"text": ("text", "sentence", "query", "content", "question", "utterance")}
    aliases = ("embedding",)
    answer_name = "vector"
    asks_teacher = True

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows of text; what else the file says is not read. Rows without text are left out, with a note."""
        rows = [Row(text=text_of(record, "text", "text"), where=record.where) for record in records]
        kept = [row for row in rows if row.text]
        return kept, left_out_note(len(rows) - len(kept), "without a text")

    def check(self, rows: Sequence[Row], split: str) -> None:
        if len(rows) < LEAST:
            what = f"{len(rows)} texts are too few to have neighbours"
            raise DataError(what, where=split, hint=f"At least {LEAST} in each split.")

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """A window a row."""
        return cut_texts(rows, tokenizer, max_length)

    def with_teacher_labels(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[Row, ...]:
        near = nearest([output[OUTPUT] for output in outputs])
        return tuple(replace(row, gold=gold) for row, gold in zip(rows, near, strict=True))

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[np.ndarray]:
        return [output[OUTPUT] for output in outputs]

    def score(self, rows: Sequence[Row], predictions: Sequence[np.ndarray], split: str) -> Score:
        """Raises ValueError where the teacher has not said which rows are near."""
        if not all(row.gold for row in rows):
            raise ValueError("no neighbours to find: `with_teacher_labels` comes first")
        small = [int8_vector(vector)[0] for vector in predictions]
        more = {"recall@10, int8 vectors": _recall(rows, nearest(small))}
        return Score(self.metric, _recall(rows, nearest(predictions)), split, len(rows), more=more)

    def tallies(self, rows: Sequence[Row], predictions: Sequence[np.ndarray]) -> list[Tally]:
        return [{"": (share, 1.0)} for share in _recalls(rows, nearest(predictions))]

    def shown(self, row: Row, prediction: np.ndarray) -> object:
        """Nothing: a vector says nothing to a reader."""
        return None

    def gold(self, row: Row) -> object:
        """Rows of the split, by their numbers from 0."""
        return list(row.gold)

    def read_texts(self, *texts: str) -> Row:
        return Row(text=texts[0])

    def answer(self, row: Row, prediction: np.ndarray) -> dict[str, object]:
        """The vector, and the same in int8 with the scale that gives it back."""
        values, scale = int8_vector(prediction)
        int8 = {"values": values.tolist(), "scale": round(scale, 9)}
        return {"vector": [round(float(value), 6) for value in prediction], "int8": int8}

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object]:
        return {"kind": "embed"}


TASK = Embed()


def nearest(vectors: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """Of each vector, the NEAREST others by cosine, the nearest first; of equals the first."""
    import numpy as np

    matrix = np.stack(vectors).astype(np.float32)
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    k = min(NEAREST, len(matrix) - 1)
    results = []
    for start in range(0, len(matrix), CHUNK):
        alike = np.round(
            matrix[start : start + CHUNK] @ matrix.T, 6
        )  # sums differ in their last digit by where they stand
        alike[np.arange(len(alike)), np.arange(start, start + len(alike))] = -np.inf
        order = np.argsort(-alike, axis=1, kind="stable")[:, :k]
        results += [tuple(row) for row in order.tolist()]
    return results


def _recall(rows: Sequence[Row], near: Sequence[tuple[int, ...]]) -> float:
    shares = _recalls(rows, near)
    return sum(shares) / len(shares)


def _recalls(rows: Sequence[Row], near: Sequence[tuple[int, ...]]) -> list[float]:
    return [len({*row.gold} & {*result}) / len(row.gold) for row, result in zip(rows, near, strict=True)]
