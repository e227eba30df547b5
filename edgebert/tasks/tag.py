"""A tag a word that is not an entity: parts of speech, morphology, segmentation. Scored by token accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgebert.data.tagged import SPANS, TAGS, WORDS, place, read_rows
from edgebert.errors import DataError
from edgebert.results import Tally
from edgebert.tasks import Task
from edgebert.tasks._encode import word_windows
from edgebert.tasks._labels import by_class, class_tallies, left_out_note, macro_f1, share
from edgebert.tasks._words import best_tags, placed, split_words
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Tag(Task):
    """The task `tag`; see `edgebert.tasks.Task` for what each function promises."""

    name = "tag"
    title = "a tag a word"
    metric = "token accuracy"
    head = "token-classification"
    # before TAGS, as a corpus with entities too has its parts of speech in a column of their own
    columns = {"text": ("text",), "words": WORDS, "tags": ("tags", "upos", "pos_tags", "pos", *TAGS), "spans": SPANS}
    aliases = ("pos", "tagging")
    answer_name = "tags"
    example = ("the old man the boats",)

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows with their tags as they are. Rows without words are left out, with a note.

        Raises DataError with the word's place for a blank tag."""
        rows, empty = [], 0
        pairs, notes = read_rows(list(records))
        for record, row in pairs:
            blank = next((i for i, tag in enumerate(row.tags) if not tag.strip()), None)
            if blank is not None:
                what = f"the tag of word {blank + 1}, '{row.words[blank]}', is empty"
                raise DataError(what, where=place(record, blank), hint="Every word has a tag.")
            empty += not row.words
            if row.words:
                rows.append(row)
        return rows, [*notes, *left_out_note(empty, "without words")]

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Every tag, sorted."""
        return tuple(sorted({tag for row in rows for tag in row.tags}))

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """`word_windows`."""
        return word_windows(rows, tokenizer, labels, max_length)

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[tuple[str, ...]]:
        """The best tag of each word's first token; the first label for a word without tokens."""
        return best_tags(rows, features, outputs, labels, labels[0])

    def same(self, a: tuple[str, ...], b: tuple[str, ...]) -> list[bool]:
        """Word by word."""
        return [item == other for item, other in zip(a, b, strict=True)]

    def score(self, rows: Sequence[Row], predictions: Sequence[tuple[str, ...]], split: str) -> Score:
        """The share of words with the right tag. Raises ValueError unless each word has one tag and prediction."""
        pairs = [pair for row, tags in zip(rows, predictions, strict=True) for pair in zip(row.tags, tags, strict=True)]
        classes = by_class([[gold] for gold, _ in pairs], [[result] for _, result in pairs])
        accuracy = share(sum(gold == result for gold, result in pairs), len(pairs))
        return Score(self.metric, accuracy, split, len(rows), per_type=classes, more={"macro F1": macro_f1(classes)})

    def tallies(self, rows: Sequence[Row], predictions: Sequence[tuple[str, ...]]) -> list[Tally]:
        """Words: the right ones, and all."""
        results: list[Tally] = []
        for row, tags in zip(rows, predictions, strict=True):
            counts: dict[str, tuple[float, float]] = {"": (0.0, float(len(tags)))}
            for gold, own in zip(row.tags, tags, strict=True):
                counts[""] = (counts[""][0] + (gold == own), counts[""][1])
                for name, (a, b) in class_tallies([gold], [own]).items():
                    before = counts.get(name, (0.0, 0.0))
                    counts[name] = (before[0] + a, before[1] + b)
            results.append(counts)
        return results

    def gold(self, row: Row) -> object:
        return self.answer(row, row.tags)

    def read_texts(self, *texts: str) -> Row:
        """Words by the rule of `edgebert.data.words`."""
        return split_words(texts[0])

    def answer(self, row: Row, prediction: tuple[str, ...]) -> list[dict[str, object]]:
        """Words as {text, tag, start, end}: characters of the row's text, or of its words joined by spaces."""
        text, offsets = placed(row)
        return [
            {"text": text[start:end], "tag": tag, "start": start, "end": end}
            for (start, end), tag in zip(offsets, prediction, strict=True)
        ]

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object]:
        return {"kind": "tag"}


TASK = Tag()
