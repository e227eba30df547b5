"""What is wrong with labelled rows though every one of them can be read: found, counted and told, not repaired."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from edgebert.data.columns import is_number
from edgebert.data.layout import TYPED
from edgebert.types import Row, Split

MISSING = frozenset(("nan", "none", "null", "n/a", "na", "<na>", "#n/a"))
MANY = 10  # rows, of which not all have one label by chance
SKEW = 20  # times as many rows of the largest class as of the smallest
MOST = 0.8  # of a label's texts that hold its name, and of the labels, before it counts as told in the text


def problems(rows: Mapping[Split, Sequence[Row]]) -> list[str]:
    """Notes on contradicting labels, rare classes, and labels that stand in their own texts."""
    train = [row for row in rows.get("train", ()) if row.labels]
    if not train:
        return _without_entities(rows)
    return [
        *_contradictions(train),
        *_imbalance(train),
        *_missing(train),
        *_variants(train),
        *_tags(train),
        *_leaks(train),
        *_constant(rows),
    ]


def _contradictions(rows: Sequence[Row]) -> list[str]:
    labels = defaultdict(set)
    for row in rows:
        labels[row.identity].add(row.labels)
    n = sum(len(label) > 1 for label in labels.values())
    return [f"train: {n} texts stand there more than once, with different labels"] if n else []


def _imbalance(rows: Sequence[Row]) -> list[str]:
    counts = Counter(label for row in rows for label in row.labels)
    if len(counts) == 1 and len(rows) >= MANY:
        return [f"train: all {len(rows)} rows have the label '{next(iter(counts))}': there is nothing to tell apart"]
    notes = []
    if single := sorted(label for label, n in counts.items() if n == 1):
        notes.append(f"train: {len(single)} labels have a single row: {_few(single)}")
    (most, n_most), (least, n_least) = counts.most_common()[0], counts.most_common()[-1]
    if n_most > SKEW * n_least:
        notes.append(f"train: labels are uneven, from {n_most} rows of '{most}' to {n_least} of '{least}'")
    return notes


def _missing(rows: Sequence[Row]) -> list[str]:
    """Labels that pandas, Excel and SQL write where there is none."""
    counts = Counter(label for row in rows for label in row.labels if label.casefold() in MISSING)
    return [
        f"train: the label of {n} rows is '{label}': remove them if this says that they have none"
        for label, n in counts.items()
    ]


def _variants(rows: Sequence[Row]) -> list[str]:
    """Labels that differ in case alone, and numbers that are no classes."""
    labels = {label for row in rows for label in row.labels}
    spellings = defaultdict(list)
    for label in sorted(labels):
        spellings[label.casefold()].append(label)
    notes = [
        f"train: the labels {', '.join(own)} differ in capitals alone, and are labels of their own"
        for own in spellings.values()
        if len(own) > 1
    ]
    if all(map(is_number, labels)) and not all(float(label).is_integer() for label in labels):
        notes.append("train: labels are numbers that are not whole, of which each is a label of its own")
    return notes


def _tags(rows: Sequence[Row]) -> list[str]:
    """Labels of whole rows that are tags of words, as where each line of a CoNLL file became a row."""
    labels = {label for row in rows for label in row.labels}
    if "O" not in labels or len(labels) < 2 or not all(label == "O" or TYPED.fullmatch(label) for label in labels):
        return []
    return [
        f"train: the labels are tags of words ({_few(sorted(labels))}), which --task ner reads: is each row a word?"
    ]


def _without_entities(rows: Mapping[Split, Sequence[Row]]) -> list[str]:
    """Splits of many rows in which no word has a tag but O, where train has others."""
    if not any(tag != "O" for row in rows.get("train", ()) for tag in row.tags):
        return []
    notes = []
    for split in ("dev", "test"):
        own = rows.get(split, ())
        if len(own) >= MANY and all(row.tags and set(row.tags) == {"O"} for row in own):
            notes.append(
                f"{split}: none of its {len(own)} rows has an entity, as where tags are hidden: it tells nothing"
            )
    return notes


def _constant(rows: Mapping[Split, Sequence[Row]]) -> list[str]:
    """Splits of many rows that all have one label, as where somebody filled in what is hidden."""
    known = {row.labels for row in rows["train"]}
    notes = []
    for split in ("dev", "test"):
        results = {row.labels for row in rows.get(split, ())}
        if len(results) == 1 < len(known) and len(rows[split]) >= MANY:
            (labels,) = results
            what = f"all {len(rows[split])} rows are labelled '{', '.join(labels)}'"
            notes.append(f"{split}: {what}, of {len(known)} in train: are these the labels?")
    return notes


def _leaks(rows: Sequence[Row]) -> list[str]:
    """Labels whose name stands in most of their texts: a model learns to read it off, and real texts will not hold it."""
    texts = defaultdict(list)
    for row in rows:
        for label in row.labels:
            texts[label].append(_plain(row.identity))
    notes = [
        label
        for label, own in texts.items()
        if _plain(label).strip() and sum(_plain(label) in text for text in own) > MOST * len(own)
    ]
    if len(notes) <= MOST * len(texts):
        return []
    return [
        f"train: {len(notes)} of {len(texts)} labels stand by name in nearly all of their texts: {_few(sorted(notes))}"
    ]


def _plain(text: str) -> str:
    """Lower case, words apart by one space, a space at either end, so that only whole words match."""
    return f" {' '.join(''.join(c if c.isalnum() else ' ' for c in text.casefold()).split())} "


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
