"""What the tasks that give a label to a whole text share: reading labels, probabilities, and scores by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgebert.errors import DataError
from edgebert.types import Record, TypeScore

if TYPE_CHECKING:
    import numpy as np

Ranked = tuple[tuple[str, float], ...]  # labels with their probabilities, the best first
KEPT = 3  # labels of a ranking


def text_of(record: Record, role: str, option: str) -> str:
    """The text of a column, "" where it holds only whitespace.

    Raises DataError with the record's place where there is no such column, or it holds no text."""
    if role not in record.columns:
        columns = ", ".join(map(str, record.columns)) or "none"
        hint = f"Name it: --{option}-column NAME"
        raise DataError(f"no column holds the {role}: the columns are {columns}", where=record.where, hint=hint)
    value = record.columns[role]
    if not isinstance(value, str):
        kind = "nothing" if value is None else f"{value!r}, a {type(value).__name__}"
        raise DataError(f"the {role} is {kind}, not text", where=record.where, hint="Every row needs a text.")
    return value if value.strip() else ""


def label_of(record: Record) -> str:
    """The label of a row: text, a whole number or a truth value, as text. Raises DataError with the record's place."""
    if "label" not in record.columns:
        columns = ", ".join(map(str, record.columns)) or "none"
        hint = "Name it: --label-column NAME"
        raise DataError(f"no column holds the label: the columns are {columns}", where=record.where, hint=hint)
    value = record.columns["label"]
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int):
        return str(value)
    raise DataError(f"the label is {value!r}", where=record.where, hint="A label is a text or a whole number.")


def softmax(logits: np.ndarray) -> np.ndarray:
    """(n,) probabilities of (n,) logits."""
    import numpy as np

    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return shifted / shifted.sum()


def ranked(logits: np.ndarray, labels: Sequence[str]) -> Ranked:
    """The KEPT likeliest labels."""
    probabilities = softmax(logits)
    order = (-probabilities).argsort(kind="stable")[:KEPT]
    return tuple((labels[i], float(probabilities[i])) for i in order)


def by_class(gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]]) -> tuple[TypeScore, ...]:
    """Precision, recall and F1 of each class that is there or predicted, the most frequent first; 0 where undefined.

    Args:
        gold, predicted: the labels of each row.
    """
    found, wanted, right = (Counter[str]() for _ in range(3))
    for ours, theirs in zip(predicted, gold, strict=True):
        own, other = set(ours), set(theirs)
        found.update(own)
        wanted.update(other)
        right.update(own & other)
    rows = [_type(name, right[name], found[name], wanted[name]) for name in sorted({*found, *wanted})]
    return tuple(sorted(rows, key=lambda row: (-row.support, row.name)))


def _type(name: str, right: int, found: int, wanted: int) -> TypeScore:
    f1 = 2 * right / (found + wanted) if found + wanted else 0.0
    return TypeScore(name, right / found if found else 0.0, right / wanted if wanted else 0.0, f1, wanted)


def macro_f1(classes: Sequence[TypeScore]) -> float:
    """The mean F1 over classes."""
    return sum(one.f1 for one in classes) / len(classes) if classes else 0.0


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a positive has the higher value, ties counting half: the area under the ROC curve.

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


def balanced(counts: Mapping[str, int], labels: Sequence[str]) -> tuple[float, ...]:
    """n / (k · count) of each label: what rows weigh when every class shall weigh the same."""
    total = sum(counts[label] for label in labels)
    return tuple(total / (len(labels) * max(1, counts[label])) for label in labels)


def told(n: int, what: str) -> list[str]:
    """A note on rows that were left out, where there are some."""
    return [f"{n} row{'s' if n > 1 else ''} {what} left out"] if n else []


def answer_of(prediction: Ranked) -> list[dict[str, Any]]:
    return [{"label": label, "score": round(value, 4)} for label, value in prediction]
