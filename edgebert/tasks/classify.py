"""A label for a text, or several: intents, sentiment, topics.

A class of texts that belong to none of the others (`out_of_scope`) is not learnt as a class: its texts have nothing in
common. Instead the model learns the others, and a text whose best label has a probability below `threshold` is rejected.
The threshold is the one that is most often right on the development rows, out-of-scope rows included; Larson et al.
(2019), "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction", EMNLP, call it oos-threshold.
Where rows have several labels (`multi_label`), each is given whose own probability reaches the threshold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgebert.errors import DataError
from edgebert.tasks import Task
from edgebert.tasks._encode import cut_texts
from edgebert.tasks._labels import (
    KEPT,
    Ranked,
    answer_of,
    auroc,
    balanced,
    by_class,
    label_of,
    macro_f1,
    ranked,
    text_of,
    told,
)
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer
    from typing_extensions import Self

REJECTIONS = frozenset({"oos", "ood", "out_of_scope", "out-of-scope", "out of scope"})
HALF = 0.5


@dataclass(frozen=True)
class Prediction:
    """What the model says of a text.

    Attributes:
        labels: what is given; () where the text is rejected, or no label reaches the threshold.
        ranked: the likeliest labels of the model with their probabilities.
    """

    labels: tuple[str, ...]
    ranked: Ranked


@dataclass(frozen=True)
class Classify(Task):
    """The task `classify`; see `edgebert.tasks.Task` for what each function promises."""

    multi_label: bool = field(default=False, metadata={"help": "a text may have several labels"})
    separator: str = field(default="|", metadata={"help": "between the labels of one text column"})
    class_weighting: bool = field(default=False, metadata={"help": "rare classes weigh as much as frequent ones"})
    out_of_scope: str | None = field(default=None, metadata={"help": "label of texts that belong to no class"})
    threshold: float | None = field(default=None, metadata={"help": "probability below which none is given"})

    name = "classify"
    title = "labels of a text"
    head = "sequence-classification"
    columns = {
        "text": ("text", "sentence", "utterance", "query", "review", "content", "message", "comment", "body"),
        "label": ("label", "labels", "intent", "category", "class", "sentiment", "target", "topic"),
    }
    aliases = ("intent", "sentiment", "classification")
    default_data = "atis-intents"
    answer_name = "labels"
    cuts = True

    @property
    def metric(self) -> str:  # type: ignore[override]
        return "micro F1" if self.multi_label else "accuracy"

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows with their labels. Rows without text are left out, with a note."""
        rows, empty = [], 0
        for record in records:
            text = text_of(record, "text", "text")
            labels = self._labels_of(record)
            empty += not text
            if text:
                rows.append(Row(text=text, labels=labels, where=record.where))
        return rows, told(empty, "without a text")

    def _labels_of(self, record: Record) -> tuple[str, ...]:
        if not self.multi_label:
            return (label_of(record),)
        value = record.columns.get("label", "")
        parts = value.split(self.separator) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            hint = f"A list of texts, or one text with '{self.separator}' between them (--set classify.separator=…)."
            raise DataError(f"the labels are {value!r}", where=record.where, hint=hint)
        return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Every label but the out-of-scope one, sorted."""
        return tuple(sorted({label for row in rows for label in row.labels if not self._is_outside(label)}))

    def _is_outside(self, label: str) -> bool:
        if self.multi_label:
            return False
        return label == self.out_of_scope if self.out_of_scope is not None else label.casefold() in REJECTIONS

    def model_settings(self, labels: Sequence[str]) -> dict[str, Any]:
        kind = "multi_label_classification" if self.multi_label else "single_label_classification"
        return {"problem_type": kind}

    def class_weights(self, rows: Sequence[Row], labels: Sequence[str]) -> tuple[float, ...]:
        if not self.class_weighting:
            return ()
        return balanced(Counter(label for row in rows for label in row.labels), labels)

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """A window a row. A row whose label is not in `labels`, as an out-of-scope one, has no target."""
        ids = {label: i for i, label in enumerate(labels)}

        def targets(row: Row) -> dict[str, Any]:
            if self.multi_label and row.labels:
                return {"labels": tuple(float(label in row.labels) for label in labels)}
            return {"labels": ids[row.labels[0]]} if row.labels and row.labels[0] in ids else {}

        return cut_texts(rows, tokenizer, max_length, targets)

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[Prediction]:
        return [self._decide(output["logits"], labels) for output in outputs]

    def _decide(self, logits: np.ndarray, labels: Sequence[str]) -> Prediction:
        if self.multi_label:
            import numpy as np

            values = 1 / (1 + np.exp(-logits.astype(np.float64)))
            limit = HALF if self.threshold is None else self.threshold
            given = tuple(label for label, value in zip(labels, values, strict=True) if value >= limit)
            order = (-values).argsort(kind="stable")[: max(KEPT, len(given))]
            return Prediction(given, tuple((labels[i], float(values[i])) for i in order))
        found = ranked(logits, labels)
        rejected = self.threshold is not None and found[0][1] < self.threshold
        return Prediction(() if rejected else (found[0][0],), found)

    def same(self, a: Prediction, b: Prediction) -> list[bool]:
        return [a.labels == b.labels]

    def tuned(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> Self:
        """With the threshold of the best result on these rows; as it is where the user set one, or nothing is outside."""
        if self.threshold is not None:
            return self
        if self.multi_label:
            limits = [i / 20 for i in range(1, 20)]
            tries = [replace(self, threshold=limit) for limit in limits]
            values = [one.score(rows, one.decode(rows, features, outputs, labels), "dev").value for one in tries]
            return replace(
                self, threshold=limits[max(range(len(limits)), key=lambda i: (values[i], -abs(limits[i] - HALF)))]
            )
        if not any(self._is_outside(label) for row in rows for label in row.labels):
            return self
        return replace(self, threshold=self._best_threshold(rows, self.decode(rows, features, outputs, labels)))

    def _best_threshold(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> float:
        """Half way between two neighbouring probabilities, where most rows are right; the lowest of equals."""
        right = []  # (probability of the best label, what accepting it adds, what rejecting it adds)
        for row, prediction in zip(rows, predictions, strict=True):
            outside = self._is_outside(row.labels[0])
            label, value = prediction.ranked[0]
            right.append((value, int(not outside and label == row.labels[0]), int(outside)))
        right.sort()
        total = best = sum(accepted for _, accepted, _ in right)
        limit = 0.0
        for (value, accepted, rejected), (following, *_) in zip(right, [*right[1:], (1.0, 0, 0)], strict=True):
            total += rejected - accepted
            if total > best and following > value:
                best, limit = total, (value + following) / 2
        return limit

    def score(self, rows: Sequence[Row], predictions: Sequence[Prediction], split: str) -> Score:
        """Accuracy and macro F1 over the rows in scope, where a rejected row is wrong; and how well the others are told.

        With several labels a row: micro and macro F1, and how many rows have exactly their labels.
        """
        pairs = list(zip(rows, predictions, strict=True))
        if self.multi_label:
            return self._score_several(pairs, split)
        inside = [(row, found) for row, found in pairs if not self._is_outside(row.labels[0])]
        outside = [found for row, found in pairs if self._is_outside(row.labels[0])]
        right = sum(row.labels == found.labels for row, found in inside)
        classes = by_class([row.labels for row, _ in inside], [found.labels for _, found in inside])
        more = {"macro F1": macro_f1(classes)}
        if outside and inside:
            more["out-of-scope recall"] = sum(not found.labels for found in outside) / len(outside)
            doubts = [[1 - found.ranked[0][1] for found in side] for side in (outside, [f for _, f in inside])]
            more["out-of-scope AUROC"] = auroc(*doubts)
        accuracy = right / len(inside) if inside else 0.0
        return Score(self.metric, accuracy, split, len(inside), per_type=classes, more=more)

    def _score_several(self, pairs: Sequence[tuple[Row, Prediction]], split: str) -> Score:
        classes = by_class([row.labels for row, _ in pairs], [found.labels for _, found in pairs])
        right = sum(len({*row.labels} & {*found.labels}) for row, found in pairs)
        wanted, given = (sum(len(pair[side].labels) for pair in pairs) for side in (0, 1))
        whole = sum({*row.labels} == {*found.labels} for row, found in pairs) / max(1, len(pairs))
        micro = 2 * right / (given + wanted) if given + wanted else 0.0
        more = {"macro F1": macro_f1(classes), "all labels right": whole}
        return Score(self.metric, micro, split, len(pairs), per_type=classes, more=more)

    def read_texts(self, *texts: str) -> Row:
        return Row(text=texts[0])

    def answer(self, row: Row, prediction: Prediction) -> list[dict[str, Any]]:
        """The given labels and then the likeliest others; `label` null with the doubt as score where it is rejected."""
        if self.multi_label:
            return answer_of(tuple((label, value) for label, value in prediction.ranked if label in prediction.labels))
        rejected = [{"label": None, "score": round(1 - prediction.ranked[0][1], 4)}] if not prediction.labels else []
        return rejected + answer_of(prediction.ranked)


TASK = Classify()
