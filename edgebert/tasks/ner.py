"""Named entities: a tag a word, in BIO, scored by strict entity F1.

Long rows are read in overlapping windows; see `edgebert.tasks._encode.word_windows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgebert.data.bio import entities, normalise
from edgebert.data.tagged import SPANS, TAGS, WORDS, place, read_rows
from edgebert.results import Tally
from edgebert.tasks import Task
from edgebert.tasks._encode import word_windows
from edgebert.tasks._labels import left_out_note as left_out
from edgebert.tasks._words import best_tags, placed, split_words
from edgebert.types import Feature, Outputs, Record, Row, Score, TypeScore

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ALIASES = {
    "person": "per",
    "location": "loc",
    "organization": "org",
    "organisation": "org",
    "miscellaneous": "misc",
}


@dataclass(frozen=True)
class Ner(Task):
    """The task `ner`; see `edgebert.tasks.Task` for what each function promises."""

    name = "ner"
    title = "named entities"
    metric = "strict entity F1"
    head = "token-classification"
    columns = {"text": ("text",), "words": WORDS, "tags": TAGS, "spans": SPANS}
    aliases = ("slots", "entities")
    default_data = "atis"
    answer_name = "entities"

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows with BIO tags, whatever scheme the records have. Records without words are left out, with a note."""
        pairs, message = read_rows(list(records))
        kept = [(record, row) for record, row in pairs if row.words]
        tags, notes = normalise([row.tags for _, row in kept], lambda i, j: place(kept[i][0], j))
        rows = [replace(row, tags=bio) for (_, row), bio in zip(kept, tags, strict=True)]
        return rows, [*message, *notes, *left_out(len(pairs) - len(kept), "without words")]

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """`O`, then `B-X` and `I-X` of each type, types sorted."""
        types = sorted({tag[2:] for row in rows for tag in row.tags if tag != "O"})
        return ("O", *(f"{letter}-{kind}" for kind in types for letter in "BI"))

    def fold(self, label: str) -> str:
        """Without case, types by their usual names: PERSON is PER."""
        letter, mark, kind = label.casefold().partition("-")
        return f"{letter}{mark}{_ALIASES.get(kind, kind)}"

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """`word_windows`: words without tokens are in none, and are `O`."""
        return word_windows(rows, tokenizer, labels, max_length)

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[tuple[str, ...]]:
        """The best label of each word's first token; `O` for a word without tokens. Stray `I-` tags are left as is."""
        return best_tags(rows, features, outputs, labels, "O")

    def same(self, a: tuple[str, ...], b: tuple[str, ...]) -> list[bool]:
        """Word by word."""
        return [item == other for item, other in zip(a, b, strict=True)]

    def score(self, rows: Sequence[Row], predictions: Sequence[tuple[str, ...]], split: str) -> Score:
        """Micro-averaged over all entities: right only if type, first and last word are (seqeval, strict, IOB2).

        Where there is nothing to count, a figure is 0. Raises ValueError unless each word has one tag and prediction.
        """
        from seqeval.metrics.v1 import precision_recall_fscore_support, unique_labels
        from seqeval.scheme import IOB2

        pairs = list(zip(rows, predictions, strict=True))
        if any(not len(row.words) == len(row.tags) == len(predicted) for row, predicted in pairs):
            raise ValueError("every word needs one tag and one prediction")
        gold, predicted = [list(row.tags) for row, _ in pairs], [list(tags) for _, tags in pairs]
        if not pairs:
            return Score(self.metric, 0.0, split, 0, 0.0, 0.0)
        options = {"scheme": IOB2, "zero_division": 0}
        precision, recall, f1, _ = precision_recall_fscore_support(gold, predicted, average="micro", **options)
        columns = precision_recall_fscore_support(gold, predicted, average=None, **options)
        types = [
            TypeScore(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(unique_labels(gold, predicted, IOB2), *columns, strict=True)
        ]
        types.sort(key=lambda item: (-item.support, item.name))
        return Score(self.metric, float(f1), split, len(pairs), float(precision), float(recall), tuple(types))

    def tallies(self, rows: Sequence[Row], predictions: Sequence[tuple[str, ...]]) -> list[Tally]:
        """Entities: twice the right ones, and those there and predicted together."""
        from seqeval.scheme import IOB2, Entities

        sides = ([list(tags) for tags in predictions], [list(row.tags) for row in rows])
        found = [
            [{entity.to_tuple()[1:] for entity in sentence} for sentence in Entities(side, IOB2).entities]
            for side in sides
        ]
        return [_tally(own, gold) for own, gold in zip(*found, strict=True)]

    def gold(self, row: Row) -> object:
        return self.answer(row, row.tags)

    def read_texts(self, *texts: str) -> Row:
        """Words by the rule of `edgebert.data.words`."""
        return split_words(texts[0])

    def answer(self, row: Row, prediction: tuple[str, ...]) -> list[dict[str, object]]:
        """Entities as {text, type, start, end}: characters of the row's text, or of its words joined by spaces.

        An `I-X` that continues no X begins an entity of its own: a user would rather see it than not.
        """
        text, offsets = placed(row)
        if not len(offsets) == len(prediction) == len(row.words):
            raise ValueError("every word needs one prediction and one place in the text")
        spans = [(kind, offsets[first][0], offsets[after - 1][1]) for kind, first, after in entities(prediction)]
        return [{"text": text[start:end], "type": kind, "start": start, "end": end} for kind, start, end in spans]

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object]:
        return {"kind": "ner"}


TASK = Ner()


def _tally(own: set[tuple[str, int, int]], gold: set[tuple[str, int, int]]) -> Tally:
    """Of one sentence, from its entities as (type, first word, after the last)."""
    counts = {"": (2.0 * len(own & gold), float(len(own) + len(gold)))}
    for kind in sorted({kind for kind, _, _ in own | gold}):
        a, b = ({entity for entity in side if entity[0] == kind} for side in (own, gold))
        counts[kind] = (2.0 * len(a & b), float(len(a) + len(b)))
    return counts
