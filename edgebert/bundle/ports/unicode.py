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
BETWEEN, AT_ONCE = "7|7", 256
LOWEST, HIGHEST = "\u0334", "\u0345"  # marks of the combining classes 1 and 240


def code_points() -> Iterator[int]:
    return (point for points in POINTS for point in points)


def changes(normalizer: Normalizer) -> dict[int, Target]:
    """Every code point that the normalizer does not leave as it is, with what it makes of it.

    Many are asked of at once, with a mark between them that no normalizer touches or makes; where the answer falls into
    another number of parts, one by one.
    """
    normal, points = normalizer.normalize_str, list(code_points())
    results: dict[int, Target] = {}
    for start in range(0, len(points), AT_ONCE):
        characters = [chr(point) for point in points[start : start + AT_ONCE]]
        texts = normal(f"{BETWEEN}{BETWEEN.join(characters)}{BETWEEN}").split(BETWEEN)[1:-1]
        if len(texts) != len(characters):
            texts = [normal(character) for character in characters]
        results |= {
            ord(character): tuple(map(ord, text))
            for character, text in zip(characters, texts, strict=True)
            if text != character
        }
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
def compositions() -> str:
    """A table of the two code points that NFC makes each composed one of; Hangul syllables are composed by arithmetic."""
    from tokenizers.normalizers import NFC

    compose = NFC().normalize_str
    pairs = {}
    for point, parts in _canonical().items():
        before, last = compose("".join(map(chr, parts[:-1]))), parts[-1]
        if point not in SYLLABLES and len(before) == 1 and compose(before + chr(last)) == chr(point):
            pairs[point] = (ord(before), last)
    return encode_map(pairs)


@cache
def combining_classes() -> str:
    """For each code point that does not stay in its place among neighbouring marks a number that orders them; as
    `encode_values` writes it. The numbers are Unicode's combining classes as far as Python knows the characters; a
    younger one has the class of its neighbours in the library's order.
    """
    from tokenizers.normalizers import NFD

    order = NFD().normalize_str
    moving = [
        mark
        for mark in map(chr, code_points())
        if mark in (LOWEST, HIGHEST)
        or (
            unicodedata.category(mark)[0] in "MC"
            and order(mark) == mark
            and (order(mark + LOWEST) != mark + LOWEST or order(HIGHEST + mark) != HIGHEST + mark)
        )
    ]
    known: dict[int, str] = {}
    for mark in moving:
        known.setdefault(unicodedata.combining(mark), mark)
    ranks = sorted(known.keys() - {0})  # 0 is what Python says of a younger mark
    # The largest class whose mark may stand before this one.
    values = {
        ord(mark): max(rank for rank in ranks if order(known[rank] + mark) == known[rank] + mark) for mark in moving
    }
    return encode_values(values)


def split_at(pre_tokenizer: PreTokenizer, *, pieces: int) -> str:
    """The set of code points at which a text of a letter before and one after falls into so many pieces."""
    split = pre_tokenizer.pre_tokenize_str
    return encode_set(point for point in code_points() if len(split(f"a{chr(point)}b")) == pieces)


def where(test: Callable[[str], bool]) -> str:
    """The set of code points whose character passes a test."""
    return encode_set(point for point in code_points() if test(chr(point)))
