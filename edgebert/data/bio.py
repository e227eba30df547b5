"""Tag schemes of entities: IO, IOB1, IOE, BIO (IOB2), BIOES, BILOU and BMEWO, all read as BIO.

In BIO, `B-X` begins an entity of type X, `I-X` continues it, and `O` is outside of any. Letter and type may also be
written `b-loc`, `B_LOC` or `LOC-B`, the letter may stand alone (B, I, O), and so may the type (LOC, O).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from edgebert.errors import DataError, shown

TAG = re.compile(r"O|[BIELSUMW]-.+")
# IOB1 has the letters of BIO. The letters after B mean: I, M inside; E, L last; S, U, W an entity of one word.
SCHEMES = {"BIO": "BI", "IOE": "IE", "BIOES": "BIES", "BILOU": "BILU", "BMEWO": "BMEW", "BMESO": "BMES"}
UNTYPED = "ENTITY"  # the type of entities that have none
_CONTINUES = frozenset("IMEL")
_STAYS_OPEN = frozenset("BIM")
_SPELLINGS = (
    re.compile(r"(?P<letter>[BIELSUMW])-(?P<kind>.+)"),
    re.compile(r"(?P<letter>[BIELSUMW])[-_:./|](?P<kind>.+)", re.IGNORECASE),
    re.compile(r"(?P<kind>.+)[-_:./|](?P<letter>[BIELSUMW])", re.IGNORECASE),
    re.compile(r"(?P<letter>[BIELSUMW])(?P<kind>)", re.IGNORECASE),
)
_OUTSIDE = ("0", "_", "-", "NONE", "None", "none", "OTHER", "Other", "other", "OUT", "out")
_HINT = (
    "A tag is O, or B-TYPE and I-TYPE (BIO, IOB1), or of BIOES, BILOU or BMEWO. The tag is the last column of a line. "
    "Parts of speech and other tags of every word are read by --task tag."
)

Locate = Callable[[int, int], str]  # (sentence, word) -> "file:line"


def normalise(sentences: Sequence[Sequence[str]], place: Locate) -> tuple[list[tuple[str, ...]], list[str]]:
    """BIO tags of each sentence, and notes on what was read differently from how it was written.

    Raises DataError with the place of a tag that is none, or that no scheme holds beside the tags before it.
    """
    blank = next(((i, j) for i, tags in enumerate(sentences) for j, tag in enumerate(tags) if not tag.strip()), None)
    if blank:
        raise DataError("the tag is empty", where=place(*blank), hint=_HINT)
    spelled, notes, plain = _spelling(list(dict.fromkeys(tag for tags in sentences for tag in tags)))
    sentences = [[spelled.get(tag, tag) for tag in tags] for tags in sentences]
    scheme = _scheme(sentences, place)
    converted = [to_bio(tags) for tags in sentences]
    bio, stray = [tags for tags, _ in converted], sum(n for _, n in converted)
    if plain:
        return bio, notes
    if scheme == "IOE" or (scheme == "BIO" and stray and _is_iob1(sentences)):
        return bio, [*notes, f"tags are {'IOE' if scheme == 'IOE' else 'IOB1'}, read as BIO"]
    if scheme != "BIO":
        notes.append(f"tags are {scheme}, read as BIO")
    if stray:
        notes.append(f"{stray} tags that continue no entity of their type were read as the beginning of one")
    return bio, notes


def are_entities(tags: Iterable[str]) -> bool:
    """Whether tags are of entities: `normalise` takes them, or all have a scheme's letters, though no scheme has them all."""
    tags = list(tags)
    try:
        normalise([tags], lambda *_: "")
    except DataError:
        return bool(tags) and all(map(TAG.fullmatch, tags))
    return True


def _spelling(distinct: Sequence[str]) -> tuple[dict[str, str], list[str], bool]:
    """Tag -> how it is written in a scheme with `B-TYPE`; notes on what is written otherwise; whether tags are plain
    types.

    One spelling serves all tags of the data; where none does, tags stay as they are, and `_scheme` refuses the first.
    """
    outside = [tag for tag in ("O", "o") if tag in distinct] or [tag for tag in _OUTSIDE if tag in distinct][:1]
    inside = [tag for tag in distinct if tag not in outside]
    if not inside:
        return {"o": "O"}, [], False
    read = next((result for pattern in _SPELLINGS if (result := _matched(pattern, inside))), None)
    plain = read is None and bool(outside) and not any(re.match("[BI]-", tag, re.IGNORECASE) for tag in inside)
    if plain:
        read = {tag: f"I-{tag.strip()}" for tag in inside}
    if read is None:
        return {}, [], False
    notes = [f"the tag '{tag}' is read as O" for tag in outside if tag != "O"]
    example = next((tag for tag in inside if tag != read[tag]), None)
    if plain:
        notes.append(
            f"tags are types alone, such as '{example}': neighbouring words of one type are read as one entity"
        )
    elif example and len(example) == 1:
        notes.append(f"tags have no type: entities are read as of the type {UNTYPED}")
    elif example:
        notes.append(f"tags are written as '{example}', which is read as '{read[example]}'")
    return {**read, **dict.fromkeys(outside, "O")}, notes, plain


def _matched(pattern: re.Pattern[str], tags: Sequence[str]) -> dict[str, str]:
    """Tag -> LETTER-TYPE where the pattern reads every tag, and some begin or continue an entity; else nothing."""
    results = {tag: pattern.fullmatch(tag) for tag in tags}
    if not all(results.values()):
        return {}
    read = {tag: (match["letter"].upper(), match["kind"].strip()) for tag, match in results.items() if match}
    standard = pattern is _SPELLINGS[0]
    if not standard and not {"B", "I"} & {letter for letter, _ in read.values()}:
        return {}  # types that happen to end in a letter
    return {tag: f"{letter}-{kind or UNTYPED}" for tag, (letter, kind) in read.items()}


def _scheme(sentences: Sequence[Sequence[str]], place: Locate) -> str:
    letters: set[str] = set()
    name = "BIO"
    for i, tags in enumerate(sentences):
        for j, tag in enumerate(tags):
            if not TAG.fullmatch(tag):
                raise DataError(f"'{shown(tag)}' is not an entity tag", where=place(i, j), hint=_HINT)
            if tag == "O" or tag[0] in letters:
                continue
            letters.add(tag[0])
            fitting = [known for known, its in SCHEMES.items() if letters <= set(its)]
            if not fitting:
                seen = ", ".join(sorted(letters - {tag[0]}))
                raise DataError(
                    f"no scheme has the letter of '{shown(tag)}' beside {seen}, which stand before it",
                    where=place(i, j),
                    hint=_HINT,
                )
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
    results: list[tuple[str, int, int]] = []
    for i, tag in enumerate(to_bio(tags)[0]):
        if tag[0] == "B":
            results.append((tag[2:], i, i + 1))
        elif tag[0] == "I":
            kind, start, _ = results[-1]
            results[-1] = (kind, start, i + 1)
    return results
