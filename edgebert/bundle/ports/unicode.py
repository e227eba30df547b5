"""What a tokenizer's components do with each code point, asked of the components themselves: their Unicode is the
library's, of several versions at once, and not that of any platform."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

from edgebert.bundle.ports.tables import Target, encode_map, encode_set, encode_values

if TYPE_CHECKING:
    from tokenizers.normalizers import Normalizer
    from tokenizers.pre_tokenizers import PreTokenizer

# Surrogates stand in no text, and no version of Unicode has a character in planes 4 to 13.
POINTS = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0x110000))
SYLLABLES = range(0xAC00, 0xD7A4)  # Hangul: decomposed by arithmetic, Unicode's standard, section 3.12
LOWEST, HIGHEST = "\u0334", "\u0345"  # marks of the combining classes 1 and 240


def code_points() -> Iterator[int]:
    return (point for points in POINTS for point in points)


def changes(normalizer: Normalizer) -> dict[int, Target]:
    """Every code point that the normalizer does not leave as it is, with what it makes of it."""
    results = {}
    for point in code_points():
        character = chr(point)
        if (text := normalizer.normalize_str(character)) != character:
            results[point] = tuple(map(ord, text))
    return results


def character_map(normalizer: Normalizer) -> str:
    """A table of `changes`, for a normalizer that reads each character for itself."""
    return encode_map(changes(normalizer))


def after_decomposition(normalizer: Normalizer) -> str:
    """As `character_map`, of the characters that NFD leaves: no other reaches the normalizer."""
    gone = _canonical()
    left = {point: text for point, text in changes(normalizer).items() if point not in gone and point not in SYLLABLES}
    return encode_map(left)


@cache
def _canonical() -> Mapping[int, Target]:
    from tokenizers.normalizers import NFD

    return changes(NFD())


def decomposition(normalizer: Normalizer) -> str:
    """A table of full decompositions, canonical or for compatibility, of all but the Hangul syllables."""
    return encode_map({point: text for point, text in changes(normalizer).items() if point not in SYLLABLES})


@cache
def combining_classes() -> str:
    """For each code point that does not stay in its place among neighbouring marks a number that orders them; as
    `encode_values` writes it. The numbers are Unicode's combining classes as far as Python knows the characters; a
    younger one has the class of its neighbours in the library's order.
    """
    from tokenizers.normalizers import NFD

    order = NFD().normalize_str
    known: dict[int, str] = {}
    for point in code_points():
        if value := unicodedata.combining(chr(point)):
            known.setdefault(value, chr(point))
    ranks = sorted(known)
    values: dict[int, int] = {}
    for point in code_points():
        mark = chr(point)
        if unicodedata.category(mark)[0] not in "MC":
            continue
        moves = order(mark + LOWEST) != mark + LOWEST or order(HIGHEST + mark) != HIGHEST + mark
        if moves or mark in (LOWEST, HIGHEST):
            # The largest class whose mark may stand before this one.
            values[point] = max((rank for rank in ranks if order(known[rank] + mark) == known[rank] + mark), default=1)
    return encode_values(values)


def split_at(pre_tokenizer: PreTokenizer, *, pieces: int, before: str = "a", after: str = "b") -> str:
    """The set of code points at which a text of one character before and one after falls into so many pieces."""
    split = pre_tokenizer.pre_tokenize_str
    return encode_set(point for point in code_points() if len(split(f"{before}{chr(point)}{after}")) == pieces)


def where(test: Callable[[str], bool]) -> str:
    """The set of code points whose character passes a test."""
    return encode_set(point for point in code_points() if test(chr(point)))
