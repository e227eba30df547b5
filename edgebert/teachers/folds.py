"""Which rows a fold's teacher does not learn from, and answers: folds with an equal share of each label.

Rows of one text, or of one group, are in one fold: a teacher that has seen the text elsewhere has no news of it. Every
teacher keeps at least one row of each label, or it could not name it: a row whose label no other row has is held out of
none (`HELD_BY_NONE`), and is answered by the teacher of all rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random

from edgebert.types import Row

HELD_BY_NONE = -1


def fold_of_rows(rows: Sequence[Row], n_folds: int, seed: int = 0) -> list[int]:
    """The fold of each row, 0 to n_folds - 1, or HELD_BY_NONE.

    Fewer folds come of fewer than n_folds texts; where that leaves one fold, every row is held by none.
    """
    units: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        units[row.head, row.group or row.identity].append(i)
    labels = [sorted({label for i in unit for label in labels_of_row(rows[i])}) or [""] for unit in units.values()]
    result = _balanced(labels, min(n_folds, len(labels)), seed)
    folds = [HELD_BY_NONE] * len(rows)
    for unit, fold in zip(units.values(), result, strict=True):
        for i in unit:
            folds[i] = fold
    return folds


def labels_of_row(row: Row) -> set[str]:
    """What a row says, as classes: its labels, or the types of its tags without their BIO prefix."""
    tags = {tag[2:] if tag[1:2] == "-" else tag for tag in row.tags} - {"O"}
    return {f"{row.head}:{label}" for label in (*row.labels, *tags)}


def _balanced(labels: Sequence[Sequence[str]], n_folds: int, seed: int) -> list[int]:
    """A fold for each unit of rows: rare labels are dealt out first, each to the fold that has fewest of it."""
    counts = Counter(label for own in labels for label in own)
    rarest = [min(own, key=lambda label: (counts[label], label)) for own in labels]
    order = list(range(len(labels)))
    Random(seed).shuffle(order)
    order.sort(key=lambda i: (counts[rarest[i]], rarest[i]))
    sizes = [0] * n_folds
    held: dict[str, Counter[int]] = defaultdict(Counter)
    result = [HELD_BY_NONE] * len(labels)
    if n_folds < 2:
        return result
    for i in order:
        if counts[rarest[i]] < 2:
            continue
        result[i] = min(range(n_folds), key=lambda fold: (held[rarest[i]][fold], sizes[fold]))
        sizes[result[i]] += 1
        for label in labels[i]:
            held[label][result[i]] += 1
    _give_back(labels, counts, held, result)
    return result


def _give_back(
    labels: Sequence[Sequence[str]], counts: Counter[str], held: dict[str, Counter[int]], results: list[int]
) -> None:
    """Holds one unit by none where all units of a label are in one fold, in place: units may have several labels."""
    for i, own in enumerate(labels):
        if any(counts[label] > 1 and held[label][results[i]] == counts[label] for label in own):
            for label in own:
                held[label][results[i]] -= 1
            results[i] = HELD_BY_NONE
