"""Raw text to words.

The rule, in order: text is split at whitespace; each Chinese character (the ideographs that BERT's own tokenizer sets
apart, https://github.com/google-research/bert/blob/master/tokenization.py) is a word; from what is left, punctuation
and symbols at either end are peeled off, one word a character. Marks inside a word stay: o'clock, co-op, u.s
"""

from __future__ import annotations

import re
import unicodedata

IDEOGRAPHS = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f"
)
_CHUNK = re.compile(f"[{IDEOGRAPHS}]|[^\\s{IDEOGRAPHS}]+")


def find_words(text: str) -> list[tuple[int, int]]:
    """(start, end) characters of each word, increasing. Nothing but whitespace lies between them."""
    return [span for chunk in _CHUNK.finditer(text) for span in _peel(text, *chunk.span())]


def _peel(text: str, start: int, end: int) -> list[tuple[int, int]]:
    left, right = start, end
    while left < right and is_mark(text[left]):
        left += 1
    while right > left and is_mark(text[right - 1]):
        right -= 1
    inner = [(left, right)] if left < right else []
    return [*_singles(start, left), *inner, *_singles(right, end)]


def _singles(start: int, end: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(start, end)]


def is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
