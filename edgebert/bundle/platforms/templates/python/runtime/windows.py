"""Texts to what the model reads at once: windows of at most `max_length` tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from .words import Span, Words

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

NOWHERE = (-1, -1)


class Window(NamedTuple):
    """One call of the model.

    Attributes:
        words: of each token the word whose first token it is and which this window answers for, or -1; [] where no words
            are tagged.
        spans: of each token of a context its characters, else (-1, -1); [] where no context is read.
        head: the only one that reads it; "" for all that read one text.
    """

    ids: Sequence[int]
    types: Sequence[int]
    words: Sequence[int] = ()
    spans: Sequence[Span] = ()
    head: str = ""


class Windows:
    """Makes windows. Safe to share between threads.

    Args:
        path: of tokenizer.json.
        max_length: tokens of a window.
        frame: how many tokens the tokenizer puts around one text (`single`) and around two (`pair`).
    """

    def __init__(self, path: Path, max_length: int, frame: Mapping[str, int], words: Words) -> None:
        self._path, self._max_length, self._frame, self._words = path, max_length, frame, words
        self._lock = Lock()
        self._tokenizers: dict[tuple[int, str], Tokenizer] = {}

    def plain(self) -> Tokenizer:
        """A tokenizer that cuts nothing."""
        return self._tokenizer(0, "")

    def _tokenizer(self, stride: int, strategy: str) -> Tokenizer:
        """One that cuts in this way, made when it is first asked for and not changed afterwards."""
        with self._lock:
            if (stride, strategy) not in self._tokenizers:
                from tokenizers import Tokenizer

                made = Tokenizer.from_file(str(self._path))
                made.no_padding()
                made.no_truncation()
                if strategy:
                    made.enable_truncation(self._max_length, stride=stride, strategy=strategy)
                self._tokenizers[stride, strategy] = made
            return self._tokenizers[stride, strategy]

    # ------------------------------------------------------------ whole texts

    def cut(self, text: str, second: str | None = None) -> list[Window]:
        """One window of a text, or of two; what is too long is cut, the longer text first."""
        tokenizer = self._tokenizer(0, "longest_first")
        given = (valid_unicode(text),) if second is None else (valid_unicode(text), valid_unicode(second))
        encoding = tokenizer.encode(*given)
        return [Window(encoding.ids, encoding.type_ids)]

    # ------------------------------------------------------------ words

    def of_words(self, words: Sequence[str]) -> list[Window]:
        """Windows that overlap by about a quarter. Each word is answered by the one that shows it with the most context
        on its poorer side; a window that answers for none is left out."""
        if not words:
            return []
        free = self._max_length - self._frame["single"]
        stride = min(self._max_length // 4, free - 1)
        tokenizer = self._tokenizer(stride, "longest_first")
        encoding = tokenizer.encode([valid_unicode(word) for word in words], is_pretokenized=True)
        windows = [encoding, *encoding.overflowing]
        owned: list[dict[int, int]] = [{} for _ in windows]  # of each window: token -> word
        for word, (window, token) in _owners([item.word_ids for item in windows], free - stride).items():
            owned[window][token] = word
        return [
            Window(item.ids, item.type_ids, [mine.get(token, -1) for token in range(len(item.ids))])
            for item, mine in zip(windows, owned, strict=True)
            if mine
        ]

    # ------------------------------------------------------------ question and context

    def of_context(self, question: str, context: str, stride: int) -> list[Window]:
        """Windows of the question, which keeps at most half of one, and a part of the context.

        Args:
            stride: tokens that windows share; 0 is a quarter of a window.
        """
        room = self._max_length - self._frame["pair"]
        half = room // 2
        shortest = room - half
        stride = max(0, min(stride or self._max_length // 4, shortest - 1))
        question = self._first_tokens(valid_unicode(question), half)
        encoding = self._tokenizer(stride, "only_second").encode(question, valid_unicode(context))
        # Windows after the first have types that its template does not say, in tokenizers 0.23.
        types = dict(zip(encoding.sequence_ids, encoding.type_ids, strict=True))
        return [
            Window(
                item.ids,
                [
                    own if sequence is None else types.get(sequence, own)
                    for sequence, own in zip(item.sequence_ids, item.type_ids, strict=True)
                ],
                spans=list(self._spans(context, item)),
            )
            for item in (encoding, *encoding.overflowing)
        ]

    def _first_tokens(self, text: str, most: int) -> str:
        """The text up to its token number `most`, or less: one character may be several tokens."""
        tokenizer = self.plain()
        while len(offsets := tokenizer.encode(text, add_special_tokens=False).offsets) > most:
            text = text[: min(offsets[most - 1][1], len(text) - 1)]
        return text

    def _spans(self, context: str, encoding: Encoding) -> Iterator[Span]:
        for (start, end), sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True):
            yield self._words.place(context, start, end) if sequence == 1 else NOWHERE


def valid_unicode(text: str) -> str:
    """The text without lone surrogates, which a tokenizer cannot read: each becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _owners(windows: Sequence[Sequence[int | None]], step: int) -> dict[int, tuple[int, int]]:
    """word -> (window, token). Window k begins with token k * step of the row, so that a word which a window's edge cuts
    is told from one that begins there; the row's own ends count as endless context."""
    begun: dict[int, int] = {}
    best: dict[int, tuple[float, int, int]] = {}
    for k, window in enumerate(windows):
        tokens = [(token, word) for token, word in enumerate(window) if word is not None]
        for before, (token, word) in enumerate(tokens):
            position = k * step + before
            if begun.setdefault(word, position) != position:
                continue
            left = before if k else math.inf
            right = len(tokens) - 1 - before if k < len(windows) - 1 else math.inf
            context = min(left, right)
            if word not in best or context > best[word][0]:
                best[word] = (context, k, token)
    return {word: (k, token) for word, (_, k, token) in best.items()}
