"""Words, their places in a text, and a tag each: what the tasks that tag words share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from edgebert.data.words import find_words
from edgebert.types import Feature, Outputs, Row


def split_words(text: str) -> Row:
    """A row of the words of a text, by the rule of `edgebert.data.words`, with their places."""
    offsets = tuple(find_words(text))
    return Row(tuple(text[start:end] for start, end in offsets), text=text, offsets=offsets)


def placed(row: Row) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The row's text, or its words joined by spaces, and (start, end) of each word in it."""
    if row.text is not None:
        return row.text, row.offsets
    starts = accumulate((len(word) + 1 for word in row.words), initial=0)
    return " ".join(row.words), tuple(
        (start, start + len(word)) for start, word in zip(starts, row.words, strict=False)
    )


def best_tags(
    rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str], default: str
) -> list[tuple[str, ...]]:
    """The best label of each word's first token; `default` for a word without tokens.

    Args:
        outputs: `logits` (n_tokens, n_labels) of each feature.
    """
    tags = [[default] * len(row.words) for row in rows]
    for feature, output in zip(features, outputs, strict=True):
        best = output["logits"].argmax(axis=-1).tolist()
        for word, label in zip(feature.words, best, strict=True):
            if word >= 0:
                tags[feature.row][word] = labels[label]
    return [tuple(row) for row in tags]
