"""How alike two texts are: the cosine of their vectors, scored by its rank correlation with people's judgement.

A student learns from the teacher's vectors; `finetune` learns from the scores themselves, divided by `top`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgebert.errors import DataError, name_list
from edgebert.results import Tally
from edgebert.tasks._encode import cut_texts
from edgebert.tasks._labels import SET, short
from edgebert.tasks._vectors import OUTPUT, VectorTask, cosine, int8_vector, pearson, spearman
from edgebert.tasks.pair import read_pair
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Similarity(VectorTask):
    """The task `similarity`; see `edgebert.tasks.Task` for what each function promises."""

    top: float = field(default=5.0, metadata={"help": "the score of texts that mean the same; the least is 0"})

    name = "similarity"
    title = "how alike two texts are"
    metric = "Spearman correlation"
    columns = {
        "text": ("text", "text1", "text_a", "sentence1", "sentence_a", "first"),
        "second": ("second", "text2", "text_b", "sentence2", "sentence_b"),
        "score": ("score", "similarity", "similarity_score", "relatedness_score", "label"),
    }
    aliases = ("sts",)
    ranked = True
    inputs = ("text1", "text2")
    answer_name = "similarity"
    paired = True
    example = ("a man plays a guitar", "someone makes music")

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Pairs with their score as a share of `top`. Raises DataError for a score outside 0 to `top`."""
        rows, most = [], 0.0
        for record in records:
            first, second = read_pair(record)
            score = self._score_of(record)
            most = max(most, score)
            rows.append(Row(text=first, second=second, score=score / self.top, where=record.where))
        if not rows or most > 1 or self.top <= 1:
            return rows, []
        return rows, [
            f"no score is above {most:g}, where {self.top:g} means the same: {SET} similarity.top=1 if 1 does"
        ]

    def _score_of(self, record: Record) -> float:
        value = record.columns.get("score")
        try:
            score = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            columns = name_list(record.columns)
            what = (
                f"the score is {short(value)}, not a number"
                if "score" in record.columns
                else "no column holds the score"
            )
            raise DataError(
                what, where=record.where, hint=f"Name it: --label-column NAME; the columns are {columns}"
            ) from None
        if not 0 <= score <= self.top:
            hint = f"Another range: {SET} similarity.top={score:g}" if score > self.top else "Scores begin with 0."
            raise DataError(f"the score {score:g} is outside 0 to {self.top:g}", where=record.where, hint=hint)
        return score

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """Two windows a row: its first text, its second."""
        alone = [Row(text=text, score=row.score) for row in rows for text in (row.text, row.second)]
        targets = lambda row: {} if row.score is None else {"score": row.score}  # noqa: E731
        return [replace(item, row=i // 2) for i, item in enumerate(cut_texts(alone, tokenizer, max_length, targets))]

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[tuple[float, float]]:
        """The cosine of each row's vectors, and the cosine of the same vectors kept in int8."""
        vectors = [output[OUTPUT] for output in outputs]
        small = [int8_vector(vector)[0] for vector in vectors]
        return [(cosine(vectors[i], vectors[i + 1]), cosine(small[i], small[i + 1])) for i in range(0, len(vectors), 2)]

    def score(self, rows: Sequence[Row], predictions: Sequence[tuple[float, float]], split: str) -> Score:
        gold = [float(row.score or 0.0) for row in rows]
        whole, small = ([prediction[i] for prediction in predictions] for i in (0, 1))
        more = {"Pearson correlation": pearson(whole, gold), "Spearman, int8 vectors": spearman(small, gold)}
        return Score(self.metric, spearman(whole, gold), split, len(gold), more=more)

    def tallies(self, rows: Sequence[Row], predictions: Sequence[tuple[float, float]]) -> list[Tally]:
        """The cosine and the right score."""
        return [{"": (own[0], float(row.score or 0.0))} for row, own in zip(rows, predictions, strict=True)]

    def gold(self, row: Row) -> object:
        return row.score

    def read_texts(self, *texts: str) -> Row:
        return Row(text=texts[0], second=texts[1])

    def answer(self, row: Row, prediction: tuple[float, float]) -> dict[str, object]:
        """The cosine, -1 to 1."""
        return {"similarity": round(prediction[0], 6)}

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object]:
        return {"kind": "similarity"}


TASK = Similarity()
