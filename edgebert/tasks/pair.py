"""A label for two texts: paraphrases, entailment, duplicates. The segment ids say which text a token is of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgebert.errors import DataError
from edgebert.results import Tally
from edgebert.tasks import Task
from edgebert.tasks._encode import cut_texts
from edgebert.tasks._labels import (
    KEPT,
    Ranked,
    answer_of,
    balanced,
    by_class,
    class_tallies,
    class_target,
    label_of,
    left_out_note,
    macro_f1,
    ranked,
    share,
    softmax,
    text_of,
)
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNDECIDED = frozenset({"-", "-1"})  # what NLI corpora write where the judges did not agree


@dataclass(frozen=True)
class Pair(Task):
    """The task `pair`; see `edgebert.tasks.Task` for what each function promises."""

    class_weighting: bool = field(default=False, metadata={"help": "rare classes weigh as much as frequent ones"})

    name = "pair"
    title = "a label for two texts"
    metric = "accuracy"
    head = "sequence-classification"
    columns = {
        "text": (
            *("text", "text1", "text_a", "sentence1", "sentence_a", "premise", "question1", "first", "#1 string"),
            *("question", "query"),
        ),
        "second": (
            *("second", "text2", "text_b", "sentence2", "sentence_b", "hypothesis", "hypo", "question2", "#2 string"),
            *("sentence", "passage", "document"),
        ),
        "label": (
            "label",
            "gold_label",
            "entailment_label",
            "class",
            "is_duplicate",
            "paraphrase",
            "quality",
            "answer",
        ),
    }
    aliases = ("paraphrase", "nli")
    inputs = ("text1", "text2")
    answer_name = "labels"
    cuts = True
    example = ("a man plays a guitar", "someone makes music")

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows with one label. Those that the judges did not decide (`-`, -1) are left out, with a note."""
        rows, undecided = [], 0
        for record in records:
            first, second = read_pair(record)
            label = label_of(record)
            undecided += label in UNDECIDED
            if label not in UNDECIDED:
                rows.append(Row(text=first, second=second, labels=(label,), where=record.where))
        return rows, left_out_note(undecided, "labelled '-' or -1, undecided,")

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Every label, sorted."""
        return tuple(sorted({label for row in rows for label in row.labels}))

    def model_settings(self, labels: Sequence[str]) -> dict[str, object]:
        """The kind of loss: softmax also where a teacher's head has one label."""
        return {"problem_type": "single_label_classification"}

    def class_weights(self, rows: Sequence[Row], labels: Sequence[str]) -> tuple[float, ...]:
        """`balanced` where `class_weighting` is on."""
        return balanced(rows, labels) if self.class_weighting else ()

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """A window a row; the longer text is cut first. A row whose label is not in `labels` has no target."""
        ids = {label: i for i, label in enumerate(labels)}
        return cut_texts(rows, tokenizer, max_length, lambda row: class_target(row, ids))

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[Ranked]:
        """The likeliest labels, at most KEPT."""
        return [ranked(labels, softmax(output["logits"]))[:KEPT] for output in outputs]

    def same(self, a: Ranked, b: Ranked) -> list[bool]:
        """By the best label."""
        return [a[0][0] == b[0][0]]

    def score(self, rows: Sequence[Row], predictions: Sequence[Ranked], split: str) -> Score:
        """Accuracy, macro F1, Matthews' correlation, and of a model of two labels the F1 of the one that sorts last:
        1 of 0 and 1, yes of no and yes, paraphrase of other and paraphrase."""
        gold, results = [row.labels[0] for row in rows], [prediction[0][0] for prediction in predictions]
        classes = by_class([[item] for item in gold], [[item] for item in results])
        more = {"macro F1": macro_f1(classes), "Matthews correlation": matthews(gold, results)}
        known = {label for prediction in predictions for label, _ in prediction}  # all, where there are at most KEPT
        if len(known) == 2:
            more[f"F1 of {max(known)}"] = next(
                (class_name.f1 for class_name in classes if class_name.name == max(known)), 0.0
            )
        right = sum(a == b for a, b in zip(gold, results, strict=True))
        return Score(self.metric, share(right, len(gold)), split, len(gold), per_type=classes, more=more)

    def tallies(self, rows: Sequence[Row], predictions: Sequence[Ranked]) -> list[Tally]:
        pairs = [(row.labels[0], prediction[0][0]) for row, prediction in zip(rows, predictions, strict=True)]
        return [{"": (float(gold == own), 1.0), **class_tallies([gold], [own])} for gold, own in pairs]

    def read_texts(self, *texts: str) -> Row:
        """Both texts as they are."""
        return Row(text=texts[0], second=texts[1])

    def shown(self, row: Row, prediction: Ranked) -> object:
        """The likeliest label."""
        return self.answer(row, prediction)[:1]

    def answer(self, row: Row, prediction: Ranked) -> list[dict[str, object]]:
        """The likeliest labels as {label, score}."""
        return answer_of(prediction)

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object]:
        return {"kind": "pair", "kept": KEPT}


TASK = Pair()


def read_pair(record: Record) -> tuple[str, str]:
    """Both texts of a record. Raises DataError where one is missing, empty or no text."""
    texts = text_of(record, "text", "text"), text_of(record, "second", "second")
    for which, text in zip(("first", "second"), texts, strict=True):
        if not text:
            what = f"the {which} text of the pair is empty"
            raise DataError(what, where=record.where, hint="A pair needs two texts: complete the row or remove it.")
    return texts


def matthews(gold: Sequence[str], results: Sequence[str]) -> float:
    """Matthews' correlation coefficient over any number of classes; 0 where one side is constant.

    Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient", equation 8.

    >>> matthews(["yes", "yes", "no", "no"], ["yes", "yes", "no", "no"])
    1.0
    >>> matthews(["yes", "yes", "no", "no"], ["yes", "yes", "yes", "yes"])
    0.0
    """
    n, right = len(gold), sum(a == b for a, b in zip(gold, results, strict=True))
    wanted, given = Counter(gold), Counter(results)
    both = right * n - sum(wanted[name] * given[name] for name in wanted)
    spread = (n * n - sum(v * v for v in wanted.values())) * (n * n - sum(v * v for v in given.values()))
    return both / math.sqrt(spread) if spread else 0.0
