"""What the tasks that give a label to a whole text share: reading labels, probabilities, and scores by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edgebert.data.lists import read_list
from edgebert.errors import DataError, name_list
from edgebert.types import Record, Row, TypeScore

if TYPE_CHECKING:
    import numpy as np

Ranked = tuple[tuple[str, float], ...]  # labels with their probabilities, the best first
JOINTS = ("|", ",", ";", "#")  # what people put between the labels of one cell
ROLES = ("text", "second", "label", "answers", "group")  # names that columns have once their part is known
KEPT = 3  # labels of a ranking
SET = "with fit, compress or data inspect: --set"  # the commands that set a task's options
LABEL_HINT = "A label is a text or a whole number: complete the row or remove it."
LARGEST = 10**18  # a number that is a label


# ---------------------------------------------------------------- reading


def column_of(record: Record, role: str, option: str) -> object:
    """What the column of a role holds. Raises DataError with the record's place where there is no such column."""
    if role not in record.columns:
        left = [column for column in record.columns if column not in ROLES]
        others = f"the other columns are {name_list(left)}" if left else "there is no other column"
        hint = f"Name it: --{option}-column NAME"
        raise DataError(f"no column holds the {role}: {others}", where=record.where, hint=hint)
    return record.columns[role]


def text_of(record: Record, role: str, option: str) -> str:
    """The text of a column, "" where it holds only whitespace.

    Raises DataError with the record's place where there is no such column, or it holds no text."""
    value = column_of(record, role, option)
    if not isinstance(value, str):
        name = {"second": "second text"}.get(role, role)
        what = f"the {name} is missing" if value is None else f"the {name} is {short(value)}, which is not text"
        raise DataError(what, where=record.where, hint="Every row needs a text.")
    return value if value.strip() else ""


def label_of(record: Record) -> str:
    """The label of a row: text, a whole number or a truth value, as text. Raises DataError with the record's place."""
    value = column_of(record, "label", "label")
    label = as_label(value)
    if not label:
        raise no_label(value, record)
    return label


def no_label(value: object, record: Record) -> DataError:
    """The error for a row whose label is missing or is none."""
    missing = value is None or value != value or (isinstance(value, str) and not value.strip())
    what = "the row has no label" if missing else f"the label is {short(value)}"
    return DataError(what, where=record.where, hint=LABEL_HINT)


def as_label(value: object) -> str | None:
    """A label as text: 3 and 3.0 are "3", as tables with gaps make floats of whole numbers; true is "true".

    None for what is no label, "" for blank text."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value)) if abs(value) < LARGEST else None
    return None


def short(value: object) -> str:
    """How a message shows a value."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return "a long number"
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def read_labels(records: Sequence[Record], separator: str) -> tuple[list[Any], list[str]]:
    """What the label's column holds in each record, lists that stand there as text read as lists, and notes on both.

    Args:
        separator: between the labels of one text; "" where a text has one label, and lists of one are that label.
    """
    values: list[Any] = []
    n_lists = 0
    for record in records:
        value = column_of(record, "label", "label")
        if isinstance(value, str) and (result := read_list(value, record.where)) is not None:
            value, n_lists = result, n_lists + 1
        values.append(value)
    notes = [f"{n_lists} labels that are lists written as text were read as lists"] if n_lists else []
    if separator and _are_flags(values):
        notes.append(
            f"labels are lists of 0 and 1: read as the numbers of the places that hold 1, of 0 to {len(values[0]) - 1}"
        )
        return [[i for i, flag in enumerate(value) if flag] for value in values], notes
    if separator:
        texts = [value for value in values if isinstance(value, str)]
        between = next((joint for joint in (separator, *JOINTS) if _joins(joint, texts)), separator)
        if between != separator:
            notes.append(f"labels are taken apart at '{between}', as none holds '{separator}'")
        return [value.split(between) if isinstance(value, str) else value for value in values], notes
    if values and all(isinstance(value, list | tuple) and len(value) == 1 for value in values):
        return [value[0] for value in values], [*notes, "every label is a list of one, read as that label"]
    return values, notes


def _are_flags(values: Sequence[Any]) -> bool:
    """Whether each row has a list of the same length that says 0 or 1 of every label."""
    lengths = {len(value) if isinstance(value, list | tuple) else 0 for value in values}
    if len(lengths) != 1 or lengths.pop() < 2:
        return False
    return all(isinstance(flag, int | float) and flag in (0, 1) for value in values for flag in value)


def _joins(separator: str, texts: Sequence[str]) -> bool:
    """Whether something stands on either side of it wherever it stands: C# is one label."""
    results = [text.split(separator) for text in texts if separator in text]
    return bool(results) and (separator != "#" or all(part.strip() for parts in results for part in parts))


def joined_labels(labels: Iterable[str]) -> list[str]:
    """Labels that look like several: some part stands alone or in another too, or no space is where they are joined."""
    known = set(labels)
    for separator in JOINTS:
        joined = sorted(label for label in known if separator in label)
        parts = Counter(part.strip() for label in joined for part in label.split(separator))
        close = all(all(part and part == part.strip() for part in label.split(separator)) for label in joined)
        if joined and all(parts) and (close or any(part in known or n > 1 for part, n in parts.items())):
            return joined
    return []


def left_out_note(n: int, what: str) -> list[str]:
    """A note on rows that were left out, where there are some."""
    return [f"{n} row{'s' if n > 1 else ''} {what} left out"] if n else []


# ---------------------------------------------------------------- training


def class_target(row: Row, ids: Mapping[str, int]) -> dict[str, int]:
    """The target of a row with one label; none where the row has no label, or one that the model does not know."""
    return {"labels": ids[row.labels[0]]} if row.labels and row.labels[0] in ids else {}


def balanced(rows: Iterable[Row], labels: Sequence[str]) -> tuple[float, ...]:
    """n / (k · count) of each label, every one of which some row has: each class then weighs the same.

    n: labels given in all rows. As scikit-learn's `compute_class_weight("balanced")`.
    """
    counts = Counter(label for row in rows for label in row.labels)
    total = sum(counts[label] for label in labels)
    return tuple(total / (len(labels) * counts[label]) for label in labels)


# ---------------------------------------------------------------- answers


def softmax(logits: np.ndarray) -> np.ndarray:
    """(n,) probabilities of (n,) logits."""
    import numpy as np

    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return shifted / shifted.sum()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """(n,) probabilities of (n,) logits, each for itself; without overflow."""
    import numpy as np

    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


def ranked(labels: Sequence[str], probabilities: np.ndarray) -> Ranked:
    """All labels with their probabilities, the likeliest first; of equals, as they stand."""
    return tuple(sorted(zip(labels, probabilities.tolist(), strict=True), key=lambda pair: -pair[1]))


def answer_of(ranking: Ranked) -> list[dict[str, object]]:
    """What a user reads of a ranking."""
    return [{"label": label, "score": round(value, 4)} for label, value in ranking]


def rejection_threshold(gains: Iterable[tuple[float, int]]) -> float:
    """The threshold under which rejecting makes most rows right: half way between two neighbouring confidences.

    Of equally good ones the lowest; 0, under which nothing lies, where no rejection helps.

    Args:
        gains: of each row its confidence, and what rejecting it adds to the rows that are right: 1, 0 or -1.

    >>> rejection_threshold([(0.25, 1), (0.5, 1), (0.75, -1), (1.0, -1)])
    0.625
    """
    best = total = 0
    threshold = 0.0
    ordered = sorted(gains)
    for (confidence, gain), (following, _) in pairwise([*ordered, (1.0, 0)]):
        total += gain
        if total > best and following > confidence:
            best, threshold = total, (confidence + following) / 2
    return threshold


# ---------------------------------------------------------------- scores


def by_class(gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]]) -> tuple[TypeScore, ...]:
    """Precision, recall and F1 of each class that is there or predicted, the most frequent first; 0 where undefined.

    Args:
        gold, predicted: the labels of each row.
    """
    results, wanted, right = (Counter[str]() for _ in range(3))
    for ours, theirs in zip(predicted, gold, strict=True):
        own, other = set(ours), set(theirs)
        results.update(own)
        wanted.update(other)
        right.update(own & other)
    rows = [_type(name, right[name], results[name], wanted[name]) for name in sorted({*results, *wanted})]
    return tuple(sorted(rows, key=lambda row: (-row.support, row.name)))


def class_tallies(gold: Iterable[str], predicted: Iterable[str]) -> dict[str, tuple[float, float]]:
    """What a row adds to the F1 of each class: twice the right ones, and those there and predicted together."""
    own, other = set(predicted), set(gold)
    return {
        name: (2.0 * (name in own and name in other), float((name in own) + (name in other)))
        for name in sorted(own | other)
    }


def _type(name: str, right: int, number: int, wanted: int) -> TypeScore:
    f1 = 2 * right / (number + wanted)
    return TypeScore(name, right / number if number else 0.0, right / wanted if wanted else 0.0, f1, wanted)


def macro_f1(classes: Sequence[TypeScore]) -> float:
    """The mean F1 over classes; 0 of none."""
    return share(sum(class_name.f1 for class_name in classes), len(classes))


def share(part: float, whole: float) -> float:
    """part / whole; 0 where there is nothing to count."""
    return part / whole if whole else 0.0


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a positive has the higher value, ties counting half: the area under the ROC curve.

    >>> auroc([0.9, 0.5], [0.1, 0.5])  # of four pairs three are right, and one is a tie
    0.875

    Raises ValueError where one side is empty.
    """
    import numpy as np

    if not positive or not negative:
        raise ValueError("both sides need a value")
    values = np.concatenate([np.asarray(positive, np.float64), np.asarray(negative, np.float64)])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = len(positive)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(negative)))
