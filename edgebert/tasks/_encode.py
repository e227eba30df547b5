"""Rows to windows of token ids: what the tasks share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.types import Feature, Row

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

IGNORED = -100  # the label id that torch's cross entropy skips


def valid_unicode(text: str) -> str:
    """The text without lone surrogates, which a JSON escape can smuggle in and a tokenizer cannot read."""
    return text.encode("utf-8", "replace").decode("utf-8")


def cut_texts(
    rows: Sequence[Row],
    tokenizer: Tokenizer,
    max_length: int,
    targets: Callable[[Row], Mapping[str, object]] = lambda row: {},
) -> list[Feature]:
    """One window a row: its text, and its second text where it has one, cut to `max_length` tokens, the longer first.

    Raises RequestError when no token fits into a window.
    """
    from tokenizers import Tokenizer

    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    room(private, max_length, pair=any(row.second is not None for row in rows))
    private.enable_truncation(max_length, strategy="longest_first")
    texts = [
        valid_unicode(row.text or "")
        if row.second is None
        else (valid_unicode(row.text or ""), valid_unicode(row.second))
        for row in rows
    ]
    return [
        Feature(i, tuple(encoding.ids), tuple(encoding.type_ids), targets=targets(row))
        for i, (row, encoding) in enumerate(zip(rows, private.encode_batch(texts), strict=True))
    ]


def room(tokenizer: Tokenizer, max_length: int, *, pair: bool = False) -> int:
    """Tokens of text in a window, the special tokens aside. Raises RequestError when there is none."""
    free = int(max_length - tokenizer.num_special_tokens_to_add(pair))
    if free < 1:
        what = f"windows of {max_length} tokens leave no room for a word"
        raise RequestError(what, where="max_length", hint=f"At least {max_length - free + 1}; 128 is usual.")
    return free


def word_windows(rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int) -> list[Feature]:
    """Windows over words of at most `max_length` tokens, overlapping by about a quarter.

    Each word belongs to the one window in which its first token has the most context on its poorer side, so that no word
    is predicted at a window's edge if another window shows it better. A window that owns no word is left out, so a row
    whose words give no tokens has none. A tag that is not in `labels` gets the label id -100. Raises RequestError when
    no token fits into a window.
    """
    from tokenizers import Tokenizer

    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    free = room(private, max_length)
    stride = min(max_length // 4, free - 1)
    private.enable_truncation(max_length, stride=stride)
    ids = {label: i for i, label in enumerate(labels)}
    encodings = private.encode_batch(
        [[valid_unicode(word) for word in row.words] for row in rows], is_pretokenized=True
    )
    return [
        feature
        for i, (row, encoding) in enumerate(zip(rows, encodings, strict=True))
        for feature in _features(i, row, [encoding, *encoding.overflowing], free - stride, ids)
    ]


def _features(
    index: int, row: Row, windows: Sequence[Encoding], step: int, ids: Mapping[str, int]
) -> Iterator[Feature]:
    owned: list[dict[int, int]] = [{} for _ in windows]  # of each window: token -> word
    for word, (window, token) in _owners([encoding.word_ids for encoding in windows], step).items():
        owned[window][token] = word
    known = [ids.get(tag, IGNORED) for tag in row.tags]
    for encoding, mine in zip(windows, owned, strict=True):
        if mine:
            words = tuple(mine.get(subword, -1) for subword in range(len(encoding.ids)))
            labels = tuple(known[word] if word >= 0 else IGNORED for word in words) if known else ()
            yield Feature(index, tuple(encoding.ids), tuple(encoding.type_ids), words, labels)


def _owners(windows: Sequence[Sequence[int | None]], step: int) -> dict[int, tuple[int, int]]:
    """word -> (window, token): where the word's first token has the most context on its poorer side.

    `windows` holds the word of each token, None for special tokens. Window k begins with token k * step of the row, so
    a word that a window's edge cuts is told from one that begins there. The row's own ends count as endless context.
    """
    begun: dict[int, int] = {}  # word -> its first token, counted from the row's first
    best: dict[int, tuple[float, int, int]] = {}
    for k, window in enumerate(windows):
        tokens = [(subword, word) for subword, word in enumerate(window) if word is not None]
        for n_before, (token, word) in enumerate(tokens):
            position = k * step + n_before
            if begun.setdefault(word, position) != position:
                continue
            before = n_before if k else math.inf
            after = len(tokens) - 1 - n_before if k < len(windows) - 1 else math.inf
            context = min(before, after)
            if word not in best or context > best[word][0]:
                best[word] = (context, k, token)
    return {word: (k, subword) for word, (_, k, subword) in best.items()}
