"""Tag schemes of entities: IOB1, BIO (IOB2), BIOES, BILOU and BMEWO, all read as BIO.

In BIO, `B-X` begins an entity of type X, `I-X` continues it, and `O` is outside of any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edgebert.errors import DataError

TAG = re.compile(r"O|[BIELSUMW]-.+")
# IOB1 has the letters of BIO. The letters after B mean: I, M inside; E, L last; S, U, W an entity of one word.
SCHEMES = {"BIO": "BI", "BIOES": "BIES", "BILOU": "BILU", "BMEWO": "BMEW", "BMESO": "BMES"}
_CONTINUES = frozenset("IMEL")
_STAYS_OPEN = frozenset("BIM")
_HINT = (
    "A tag is O, or B-TYPE and I-TYPE (BIO, IOB1), or of BIOES, BILOU or BMEWO. The tag is the last column of a line."
)

Place = Callable[[int, int], str]  # (sentence, word) -> "file:line"


def normalise(sentences: Sequence[Sequence[str]], place: Place) -> tuple[list[tuple[str, ...]], list[str]]:
    """BIO tags of each sentence, and notes on what was read differently from how it was written.

    Raises DataError with the place of a tag that is none, or that no scheme holds beside the tags before it.
    """
    scheme = _scheme(sentences, place)
    converted = [to_bio(tags) for tags in sentences]
    stray = sum(n for _, n in converted)
    notes = []
    if scheme != "BIO":
        notes.append(f"tags are {scheme}, read as BIO")
    elif stray and _is_iob1(sentences):
        return [tags for tags, _ in converted], ["tags are IOB1, read as BIO"]
    if stray:
        notes.append(f"{stray} tags that continue no entity of their type were read as the beginning of one")
    return [tags for tags, _ in converted], notes


def _scheme(sentences: Sequence[Sequence[str]], place: Place) -> str:
    letters: set[str] = set()
    name = "BIO"
    for i, tags in enumerate(sentences):
        for j, tag in enumerate(tags):
            if not TAG.fullmatch(tag):
                raise DataError(f"'{tag}' is not an entity tag", where=place(i, j), hint=_HINT)
            if tag == "O" or tag[0] in letters:
                continue
            letters.add(tag[0])
            fitting = [known for known, its in SCHEMES.items() if letters <= set(its)]
            if not fitting:
                seen = ", ".join(sorted(letters - {tag[0]}))
                raise DataError(f"'{tag}' belongs to no scheme that also has {seen}", where=place(i, j), hint=_HINT)
            name = fitting[0]
    return name


def to_bio(tags: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """BIO tags, and how many tags continued nothing and so became a `B-`."""
    bio: list[str] = []
    open_type: str | None = None
    stray = 0
    for tag in tags:
        letter, _, kind = tag.partition("-")
        continues = letter in _CONTINUES and kind == open_type
        stray += letter in _CONTINUES and not continues
        bio.append("O" if tag == "O" else f"{'I' if continues else 'B'}-{kind}")
        open_type = kind if letter in _STAYS_OPEN else None
    return tuple(bio), stray


def _is_iob1(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether every `B-` stands where IOB1 needs one: right after an entity of its own type."""
    return all(
        before[2:] == tag[2:]
        for tags in sentences
        for before, tag in zip(["O", *tags], tags, strict=False)  # the last has no successor
        if tag[0] == "B"
    )


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first word, word after the last) of each entity; an `I-` that continues nothing begins one."""
    found: list[tuple[str, int, int]] = []
    for i, tag in enumerate(to_bio(tags)[0]):
        if tag[0] == "B":
            found.append((tag[2:], i, i + 1))
        elif tag[0] == "I":
            kind, start, _ = found[-1]
            found[-1] = (kind, start, i + 1)
    return found
