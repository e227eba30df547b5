"""Sets of code points as edgebert.json has them: they stand in for the Unicode tables of this Python, which other
versions have not alike.

A set is a list of whole numbers, each in base 64 as source maps write them (five bits a character, the lowest first, the
sixth bit set where more follow): for each run of neighbours the gap since the run before and the run's length less one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def numbers(text: str) -> Iterator[int]:
    """The whole numbers of a table."""
    value = shift = 0
    for character in text:
        digit = _VALUES[character]
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            yield value
            value = shift = 0


class Characters:
    """A set of characters."""

    def __init__(self, table: str) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._known: dict[str, bool] = {}  # of the characters that were asked for
        after, read = 0, numbers(table)
        for gap in read:
            start = after + gap
            after = start + next(read) + 1
            self._starts.append(start)
            self._ends.append(after)

    def __contains__(self, character: str) -> bool:
        found = self._known.get(character)
        if found is None:
            point = ord(character)
            at = bisect_right(self._starts, point) - 1
            found = self._known[character] = at >= 0 and point < self._ends[at]
        return found

    def __iter__(self) -> Iterator[str]:
        return (chr(point) for pair in zip(self._starts, self._ends, strict=True) for point in range(*pair))

    def pattern(self) -> str:
        """The set inside the brackets of a regular expression."""
        pairs = zip(self._starts, self._ends, strict=True)
        return "".join(f"\\U{start:08x}-\\U{end - 1:08x}" for start, end in pairs)
