"""Named entities: a tag a word, in BIO, scored by strict entity F1.

Long rows are read in overlapping windows. Each word belongs to the one window in which its first piece has the most
context on its poorer side, so that no word is predicted at a window's edge if another window shows it better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from edgebert.data.bio import entities, normalise
from edgebert.data.tagged import place, read_tagged
from edgebert.data.words import find_words
from edgebert.errors import RequestError
from edgebert.types import Feature, Record, Row, Score, TypeScore

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Encoding, Tokenizer

IGNORED = -100  # the label id that torch's cross entropy skips
_ALIASES = {
    "person": "per",
    "location": "loc",
    "organization": "org",
    "organisation": "org",
    "miscellaneous": "misc",
}


class Ner:
    """The task `ner`; see `edgebert.tasks.Task` for what each function promises."""

    name = "ner"
    title = "named entities"
    metric = "strict entity F1"
    auto_model = "AutoModelForTokenClassification"
    default_data = "atis"

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows with BIO tags, whatever scheme the records have. Records without words are left out, with a note."""
        pairs = [(record, read_tagged(record)) for record in records]
        kept = [(record, row) for record, row in pairs if row.words]
        tags, notes = normalise([row.tags for _, row in kept], lambda i, j: place(kept[i][0], j))
        if len(kept) < len(pairs):
            notes.append(f"{len(pairs) - len(kept)} rows without words left out")
        return [replace(row, tags=bio) for (_, row), bio in zip(kept, tags, strict=True)], notes

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """`O`, then `B-X` and `I-X` of each type, types sorted."""
        types = sorted({tag[2:] for row in rows for tag in row.tags if tag != "O"})
        return ("O", *(f"{letter}-{kind}" for kind in types for letter in "BI"))

    def match_labels(self, head: Sequence[str], labels: Sequence[str]) -> list[int] | None:
        """Indices into `head`, matched without case and by the usual names of types (PERSON is PER)."""
        known = {_fold(label): i for i, label in enumerate(head)}
        wanted = [_fold(label) for label in labels]
        if len(known) < len(head) or len(set(wanted)) < len(wanted) or not known.keys() >= set(wanted):
            return None
        return [known[label] for label in wanted]

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """Windows of at most `max_length` pieces, overlapping by about a quarter.

        A window that owns no word is left out, so a row whose words give no pieces has none: its words are `O`.
        A tag that is not in `labels` gets the label id -100. Raises RequestError when no piece fits into a window.
        """
        private, step = _windowed(tokenizer, max_length)
        ids = {label: i for i, label in enumerate(labels)}
        encodings = private.encode_batch([[_sound(word) for word in row.words] for row in rows], is_pretokenized=True)
        return [
            feature
            for i, (row, encoding) in enumerate(zip(rows, encodings, strict=True))
            for feature in _features(i, row, [encoding, *encoding.overflowing], step, ids)
        ]

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray], labels: Sequence[str]
    ) -> list[tuple[str, ...]]:
        """The best label of each word's first piece; `O` for a word without pieces. Stray `I-` tags are left as is."""
        tags = [["O"] * len(row.words) for row in rows]
        for feature, scores in zip(features, logits, strict=True):
            best = scores.argmax(axis=-1).tolist()
            for word, label in zip(feature.words, best, strict=True):
                if word >= 0:
                    tags[feature.row][word] = labels[label]
        return [tuple(row) for row in tags]

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
        types.sort(key=lambda one: (-one.support, one.name))
        return Score(self.metric, float(f1), split, len(pairs), float(precision), float(recall), tuple(types))

    def read_text(self, text: str) -> Row:
        """Words by the rule of `edgebert.data.words`."""
        offsets = tuple(find_words(text))
        return Row(tuple(text[start:end] for start, end in offsets), text=text, offsets=offsets)

    def answer(self, row: Row, prediction: tuple[str, ...]) -> list[dict[str, Any]]:
        """Entities as {text, type, start, end}: characters of the row's text, or of its words joined by spaces.

        An `I-X` that continues no X begins an entity of its own: a user would rather see it than not.
        """
        text, offsets = (row.text, row.offsets) if row.text is not None else _joined(row.words)
        if not len(offsets) == len(prediction) == len(row.words):
            raise ValueError("every word needs one prediction and one place in the text")
        spans = [(kind, offsets[first][0], offsets[after - 1][1]) for kind, first, after in entities(prediction)]
        return [{"text": text[start:end], "type": kind, "start": start, "end": end} for kind, start, end in spans]


TASK = Ner()


def _fold(label: str) -> str:
    letter, mark, kind = label.casefold().partition("-")
    return f"{letter}{mark}{_ALIASES.get(kind, kind)}"


def _sound(word: str) -> str:
    """The word without lone surrogates, which a JSON escape can smuggle in and a tokenizer cannot read."""
    return word.encode("utf-8", "replace").decode("utf-8")


def _joined(words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    starts = accumulate((len(word) + 1 for word in words), initial=0)
    return " ".join(words), tuple((start, start + len(word)) for start, word in zip(starts, words, strict=False))


def _windowed(tokenizer: Tokenizer, max_length: int) -> tuple[Tokenizer, int]:
    """A private copy that cuts into windows, and how many pieces further each window begins."""
    from tokenizers import Tokenizer

    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    room = max_length - private.num_special_tokens_to_add(False)
    if room < 1:
        what = f"windows of {max_length} pieces leave no room for a word"
        raise RequestError(what, where="max_length", hint=f"At least {max_length - room + 1}; 128 is usual.")
    stride = min(max_length // 4, room - 1)
    private.enable_truncation(max_length, stride=stride)
    return private, room - stride


def _features(
    index: int, row: Row, windows: Sequence[Encoding], step: int, ids: Mapping[str, int]
) -> Iterator[Feature]:
    owned: list[dict[int, int]] = [{} for _ in windows]  # of each window: piece -> word
    for word, (window, piece) in _owners([encoding.word_ids for encoding in windows], step).items():
        owned[window][piece] = word
    known = [ids.get(tag, IGNORED) for tag in row.tags]
    for encoding, mine in zip(windows, owned, strict=True):
        if mine:
            words = tuple(mine.get(piece, -1) for piece in range(len(encoding.ids)))
            labels = tuple(known[word] if word >= 0 else IGNORED for word in words) if known else ()
            yield Feature(index, tuple(encoding.ids), tuple(encoding.type_ids), words, labels)


def _owners(windows: Sequence[Sequence[int | None]], step: int) -> dict[int, tuple[int, int]]:
    """word -> (window, piece): where the word's first piece has the most context on its poorer side.

    `windows` holds the word of each piece, None for special tokens. Window k begins with piece k * step of the row, so
    a word that a window's edge cuts is told from one that begins there. The row's own ends count as endless context.
    """
    begun: dict[int, int] = {}  # word -> its first piece, counted from the row's first
    best: dict[int, tuple[float, int, int]] = {}
    for k, window in enumerate(windows):
        pieces = [(piece, word) for piece, word in enumerate(window) if word is not None]
        for n_before, (piece, word) in enumerate(pieces):
            position = k * step + n_before
            if begun.setdefault(word, position) != position:
                continue
            before = n_before if k else math.inf
            after = len(pieces) - 1 - n_before if k < len(windows) - 1 else math.inf
            context = min(before, after)
            if word not in best or context > best[word][0]:
                best[word] = (context, k, piece)
    return {word: (k, piece) for word, (_, k, piece) in best.items()}
