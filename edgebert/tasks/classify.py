"""A label for a text, or several: intents, sentiment, topics.

Texts that belong to none of the classes (`out_of_scope`) have nothing in common, so a few of them teach a model little.
Only where the training rows hold twice as many of them as of an average class are they learnt as a class. Otherwise the
model learns the other classes, and a text is rejected whose best label has a probability below `threshold`: the one that
makes most development rows right, those out of scope included. Larson et al. (2019), "An Evaluation Dataset for Intent
Classification and Out-of-Scope Prediction", EMNLP, call the two ways oos-train and oos-threshold.
Where rows have several labels (`multi_label`), each is given whose own probability reaches `threshold`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgebert.errors import DataError, RequestError, unknown
from edgebert.modeling.sentence import POOLINGS
from edgebert.results import Tally
from edgebert.tasks import Task
from edgebert.tasks._encode import cut_texts
from edgebert.tasks._labels import (
    KEPT,
    SET,
    Ranked,
    answer_of,
    as_label,
    auroc,
    balanced,
    by_class,
    class_tallies,
    class_target,
    joined_labels,
    left_out_note,
    macro_f1,
    no_label,
    ranked,
    read_labels,
    rejection_threshold,
    share,
    short,
    sigmoid,
    softmax,
    text_of,
)
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer
    from typing_extensions import Self

OUTSIDE = frozenset({"oos", "ood", "out_of_scope", "out-of-scope", "out of scope"})  # usual names, for one another
ENOUGH = 2  # times the rows of an average class, to learn what is out of scope as a class
HALF = 0.5
LIMITS = tuple(i / 20 for i in range(1, 20))  # thresholds that are tried where a text may have several labels


@dataclass(frozen=True)
class Prediction:
    """What the model says of a text.

    Attributes:
        labels: what is given; () where the text is rejected, or no label reaches the threshold.
        ranked: the likeliest labels in scope with their probabilities.
    """

    labels: tuple[str, ...]
    ranked: Ranked

    @property
    def confidence(self) -> float:
        """The probability of the best label in scope."""
        return self.ranked[0][1]


@dataclass(frozen=True)
class Classify(Task):
    """The task `classify`; see `edgebert.tasks.Task` for what each function promises.

    Raises RequestError for options that cannot be, or not together.
    """

    multi_label: bool = field(default=False, metadata={"help": "a text may have several labels, or none"})
    separator: str = field(default="|", metadata={"help": "between the labels of one text column"})
    class_weighting: bool = field(default=False, metadata={"help": "rare classes weigh as much as frequent ones"})
    out_of_scope: str | None = field(
        default=None, metadata={"help": "label of texts that belong to no class; oos and ood are known; '' is none"}
    )
    threshold: float | None = field(
        default=None, metadata={"help": "probability below which a label is not given; chosen on dev rows"}
    )
    pooling: str = field(
        default="",
        metadata={
            "help": "what a new head reads: cls, the first token's state, as transformers' own heads; mean, or another mode of "
            "sentence-transformers; by default as the checkpoint's vectors are pooled, else cls"
        },
    )

    name = "classify"
    title = "labels of a text"
    head = "sequence-classification"
    columns = {
        "text": (
            *("text", "sentence", "utterance", "utt", "query", "review", "content", "message", "comment"),
            *("comment_text", "tweet", "text_a"),
        ),
        "label": ("label", "labels", "intent", "category", "class", "sentiment", "target", "topic"),
    }
    aliases = ("intent", "sentiment", "classification")
    default_data = "atis-intents"
    answer_name = "labels"
    cuts = True

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            what = f"{self.threshold:g} is not a probability"
            raise RequestError(what, where=f"{self.name}.threshold", hint="It lies between 0 and 1.")
        if self.pooling not in ("", *POOLINGS):
            raise unknown("pooling", self.pooling, POOLINGS, where=f"{self.name}.pooling")
        if not self.separator:
            raise RequestError("the separator is empty", where=f"{self.name}.separator", hint="'|' is usual.")
        if self.multi_label and self.out_of_scope:
            hint = "With several labels a text that belongs to no class has none of them: leave its labels empty."
            raise RequestError("multi_label has no out-of-scope label", where=f"{self.name}.out_of_scope", hint=hint)

    @property
    def metric(self) -> str:  # type: ignore[override]
        return "micro F1" if self.multi_label else "accuracy"

    # ------------------------------------------------------------ data

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows with their labels. Rows without text are left out, with a note."""
        records = list(records)
        texts = [text_of(record, "text", "text") for record in records]
        values, notes = read_labels(records, self.separator if self.multi_label else "")
        rows, empty = [], 0
        for record, text, value in zip(records, texts, values, strict=True):
            labels = self._several_of(value, record) if self.multi_label else (self._label_of(value, record),)
            empty += not text
            if text:
                rows.append(Row(text=text, labels=labels, where=record.where))
        return rows, [*notes, *left_out_note(empty, "without a text"), *self._notes(rows)]

    def _label_of(self, value: object, record: Record) -> str:
        if isinstance(value, list | tuple):
            hint = f"Several labels a text: {SET} {self.name}.multi_label=true"
            raise DataError(f"the label is a list: {short(value)}", where=record.where, hint=hint)
        label = as_label(value)
        if not label:
            raise no_label(value, record)
        return label

    def _several_of(self, value: object, record: Record) -> tuple[str, ...]:
        labels = [as_label(part) for part in (value if isinstance(value, list | tuple) else [value])]
        if None in labels:
            hint = f"A list of texts, or one text with '{self.separator}' between them ({SET} {self.name}.separator=…)."
            raise DataError(f"the labels are {short(value)}", where=record.where, hint=hint)
        return tuple(dict.fromkeys(label for label in labels if label))

    def _notes(self, rows: Sequence[Row]) -> list[str]:
        counts = Counter(label for row in rows for label in row.labels)
        if self.multi_label:
            bare = sum(not row.labels for row in rows)
            return [f"{bare} of {len(rows)} rows have none of the labels"] if bare else []
        if joined := joined_labels(counts):
            what = f"labels such as '{joined[0]}' may be several"
            return [f"{what}: {SET} {self.name}.multi_label=true takes them apart"]
        if self.out_of_scope and not any(map(self._is_outside, counts)):
            return [f"no row has the out-of-scope label '{self.out_of_scope}'"]
        how = f"learnt as a class where train has {ENOUGH} times an average class's rows, else told by low confidence"
        guessed = f"; --set {self.name}.out_of_scope= makes it a class like others"
        return [
            f"{n} rows of '{label}' are out of scope: {how}{'' if self.out_of_scope else guessed}"
            for label, n in sorted(counts.items())
            if self._is_outside(label)
        ]

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Every label, sorted; the out-of-scope one where there are rows enough to learn it."""
        counts = Counter(label for row in rows for label in row.labels)
        inside = sorted(label for label in counts if not self._is_outside(label))
        n_inside = sum(counts[label] for label in inside)
        n_outside = counts.total() - n_inside
        learnt = n_outside * len(inside) >= ENOUGH * n_inside
        return tuple(sorted(counts)) if learnt else tuple(inside)

    def check(self, rows: Sequence[Row], split: str) -> None:
        """As every task; and where all rows are out of scope, as accuracy counts the others."""
        if rows and all(row.labels and self._is_outside(row.labels[0]) for row in rows):
            hint = f"Every split needs rows of the classes that are learnt: --data {split}=FILE"
            raise DataError(f"every row of the {split} split is out of scope", where=split, hint=hint)
        super().check(rows, split)

    def _is_outside(self, label: str) -> bool:
        if self.multi_label:
            return False
        usual = self.out_of_scope is None or self.out_of_scope.casefold() in OUTSIDE
        return label.casefold() in OUTSIDE if usual else label == self.out_of_scope

    # ------------------------------------------------------------ model

    def model_settings(self, labels: Sequence[str]) -> dict[str, object]:
        """The kind of loss."""
        kind = "multi_label_classification" if self.multi_label else "single_label_classification"
        return {"problem_type": kind}

    def class_weights(self, rows: Sequence[Row], labels: Sequence[str]) -> tuple[float, ...]:
        """`balanced` where `class_weighting` is on."""
        return balanced(rows, labels) if self.class_weighting else ()

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """A window a row. A row whose label is not in `labels` has no target; with `multi_label` one of 0.0 and 1.0 where
        it is labelled."""
        ids = {label: i for i, label in enumerate(labels)}

        def targets(row: Row) -> dict[str, object]:
            if self.multi_label and row.labelled:
                return {"labels": tuple(float(label in row.labels) for label in labels)}
            return dict(class_target(row, ids))

        return cut_texts(rows, tokenizer, max_length, targets)

    # ------------------------------------------------------------ answers

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[Prediction]:
        """The best label, or all that reach the threshold; none where the text is rejected."""
        decide = self._several if self.multi_label else self._one
        return [decide(output["logits"], labels) for output in outputs]

    def _one(self, logits: np.ndarray, labels: Sequence[str]) -> Prediction:
        ranking = ranked(labels, softmax(logits))
        inside = tuple(pair for pair in ranking if not self._is_outside(pair[0]))
        outside = sum(value for label, value in ranking if self._is_outside(label))  # 0 where it is not learnt
        label, confidence = inside[0]
        rejected = confidence < max(outside, self.threshold or 0.0)
        return Prediction(() if rejected else (label,), inside[:KEPT])

    def _several(self, logits: np.ndarray, labels: Sequence[str]) -> Prediction:
        ranking = ranked(labels, sigmoid(logits))
        limit = HALF if self.threshold is None else self.threshold
        given = {label for label, value in ranking if value >= limit}
        return Prediction(tuple(label for label in labels if label in given), ranking[: max(KEPT, len(given))])

    def same(self, a: Prediction, b: Prediction) -> list[bool]:
        """By the labels that are given."""
        return [a.labels == b.labels]

    def tuned(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> Self:
        """With the threshold of the best result on these rows, where the user set none.

        Without `multi_label` only where some of the rows are out of scope, which the model has not learnt as a class;
        `out_of_scope` then is the label that they have.
        """
        if self.multi_label:
            return self if self.threshold is not None else self._best_limit(rows, features, outputs, labels)
        results = sorted({label for row in rows for label in row.labels if self._is_outside(label)})
        if not results:
            return self
        named = replace(self, out_of_scope=self.out_of_scope or results[0])
        if self.threshold is not None or any(map(self._is_outside, labels)):
            return named
        predictions = self.decode(rows, features, outputs, labels)
        gains = [
            (prediction.confidence, 1 if self._is_outside(row.labels[0]) else -int(prediction.labels == row.labels))
            for row, prediction in zip(rows, predictions, strict=True)
        ]
        return replace(named, threshold=rejection_threshold(gains))

    def _best_limit(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> Self:
        """With the one of LIMITS of the best micro F1; of equals the nearest to a half."""
        tries = [replace(self, threshold=limit) for limit in sorted(LIMITS, key=lambda limit: abs(limit - HALF))]
        return max(tries, key=lambda item: item.score(rows, item.decode(rows, features, outputs, labels), "dev").value)

    def score(self, rows: Sequence[Row], predictions: Sequence[Prediction], split: str) -> Score:
        """Accuracy and macro F1 over the rows in scope, where a rejected row is wrong; and how well the others are told apart.

        With several labels a row: micro and macro F1, and the share of rows that have exactly their labels.
        """
        pairs = list(zip(rows, predictions, strict=True))
        if self.multi_label:
            return self._score_several(pairs, split)
        inside = [(row, pair) for row, pair in pairs if not self._is_outside(row.labels[0])]
        outside = [pair for row, pair in pairs if self._is_outside(row.labels[0])]
        right = sum(row.labels == result.labels for row, result in inside)
        classes = by_class([row.labels for row, _ in inside], [result.labels for _, result in inside])
        more = {"macro F1": macro_f1(classes)}
        if outside and inside:
            rejected = sum(not result.labels for result in outside)
            doubts = [[-result.confidence for result in side] for side in (outside, [result for _, result in inside])]
            more["out-of-scope recall"] = rejected / len(outside)
            more["out-of-scope AUROC"] = auroc(*doubts)
            more["accuracy with rejection"] = (right + rejected) / len(pairs)
        return Score(self.metric, share(right, len(inside)), split, len(inside), per_type=classes, more=more)

    def _score_several(self, pairs: Sequence[tuple[Row, Prediction]], split: str) -> Score:
        classes = by_class([row.labels for row, _ in pairs], [pair.labels for _, pair in pairs])
        right = sum(len({*row.labels} & {*pair.labels}) for row, pair in pairs)
        n_labels = sum(len(row.labels) + len(pair.labels) for row, pair in pairs)
        whole = sum({*row.labels} == {*pair.labels} for row, pair in pairs)
        more = {"macro F1": macro_f1(classes), "subset accuracy": share(whole, len(pairs))}
        return Score(self.metric, share(2 * right, n_labels), split, len(pairs), per_type=classes, more=more)

    def tallies(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Tally]:
        """Whether a row in scope is right; with several labels a row, twice the right ones and all of both sides."""
        results: list[Tally] = []
        for row, prediction in zip(rows, predictions, strict=True):
            classes = class_tallies(row.labels, prediction.labels)
            if self.multi_label:
                right = 2.0 * len({*row.labels} & {*prediction.labels})
                results.append({"": (right, float(len(row.labels) + len(prediction.labels))), **classes})
            elif self._is_outside(row.labels[0]):
                results.append({})
            else:
                results.append({"": (float(row.labels == prediction.labels), 1.0), **classes})
        return results

    def read_texts(self, *texts: str) -> Row:
        """The text as it is."""
        return Row(text=texts[0], labelled=False)

    def shown(self, row: Row, prediction: Prediction) -> object:
        """The labels that are given, without those that come next."""
        given = self.answer(row, prediction)
        return given if self.multi_label else given[:1]

    def answer(self, row: Row, prediction: Prediction) -> list[dict[str, object]]:
        """Labels as {label, score}: the given one and the next likeliest; with `multi_label` those given, maybe none.

        Before the labels of a rejected text stands the out-of-scope one, null where its name is not known, scored by
        what the best label lacks of certainty.
        """
        if self.multi_label:
            return answer_of(prediction.ranked[: len(prediction.labels)])
        doubt: dict[str, object] = {"label": self.out_of_scope or None, "score": round(1 - prediction.confidence, 4)}
        return [*([] if prediction.labels else [doubt]), *answer_of(prediction.ranked)]

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object]:
        """`outside`: the numbers of the labels that are out of scope; `threshold` is 0 where none was chosen, and a half
        where a text may have several labels."""
        return {
            "kind": "classify",
            "multi_label": self.multi_label,
            "threshold": self.threshold if self.threshold is not None else HALF if self.multi_label else 0.0,
            "outside": [i for i, label in enumerate(labels) if self._is_outside(label)],
            "outside_label": self.out_of_scope or None,
            "kept": KEPT,
        }


TASK = Classify()
