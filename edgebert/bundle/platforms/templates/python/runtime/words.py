"""Text to words: split at white space; each ideograph is a word; marks at either end of what is left are words of their
own, and marks inside a word stay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .tables import Characters

Span = tuple[int, int]


class Words:
    """The rules, by the tables that the model was proven with.

    Args:
        tables: `words` of edgebert.json.
    """

    def __init__(self, tables: Mapping[str, str]) -> None:
        spaces, ideographs = Characters(tables["spaces"]), Characters(tables["ideographs"])
        self._marks, self._combining = Characters(tables["marks"]), Characters(tables["combining"])
        self._spaces = "".join(spaces)
        alone, between = ideographs.pattern(), spaces.pattern()
        self._chunk = re.compile(f"[{alone}]|[^{between}{alone}]+")

    def find(self, text: str) -> list[Span]:
        """(start, end) of each word, increasing."""
        return [span for chunk in self._chunk.finditer(text) for span in self._peel(text, *chunk.span())]

    def _peel(self, text: str, start: int, end: int) -> Iterator[Span]:
        left, right, marks = start, end, self._marks
        while left < right and text[left] in marks:
            left += 1
        while right > left and text[right - 1] in marks:
            right -= 1
        yield from ((i, i + 1) for i in range(start, left))
        if left < right:
            yield left, right
        yield from ((i, i + 1) for i in range(right, end))

    def place(self, text: str, start: int, end: int) -> Span:
        """The place of a token without the white space around it, and with the marks that belong to its last letter."""
        token = text[start:end]
        start += len(token) - len(token.lstrip(self._spaces))
        end = start + len(token.strip(self._spaces))
        while start < end < len(text) and text[end] in self._combining:
            end += 1
        return start, end
