"""Texts that a port's tokenizer is held against the library's: random ones dense in what ports get wrong, and the expected
tokens with places in UTF-16 code units, as Kotlin, Swift and JavaScript count."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from edgebert.bundle.edge_texts import TEXTS
from edgebert.tasks._encode import valid_unicode

_POOLS: Sequence[Sequence[str]] = [
    [chr(point) for point in points]
    for points in (
        range(0x20, 0x7F), range(0xA0, 0x250), range(0x300, 0x370), range(0x591, 0x5C8), range(0x900, 0xE00),
        range(0x1100, 0x1200), range(0xAC00, 0xD7A4, 37), range(0x4E00, 0x9FFF, 211), range(0x20000, 0x2FA1F, 997),
        range(0x1F000, 0x1FB00, 7), range(0x1D000, 0x1D800, 5), (0xD800, 0xDBFF, 0xDC00, 0xDFFF),
        (0x9, 0xA, 0xB, 0xC, 0xD, 0x1C, 0x20, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x3000),
        (0x0, 0xAD, 0x180E, 0x200B, 0x200C, 0x200D, 0xFE0F, 0xFEFF, 0xFFFD, 0xE0100),
        map(ord, "ΣσςΑΆİıßẞǅÀéñÅΩŉǰΐ"), map(ord, "'\"`~.,;!?$%&()[]{}<>#@/\\-_"), (0xF73, 0xF75, 0xF81, 0x344, 0x1D15E, 0xFDFA),
    )
]  # fmt: skip
_WORDS = (
    "NewTok", "newtok", "NEWTOK", "NéwTok", "NewTokens", "cat", "cat7", "écat", "Straße", "STRASSE", "<x>", "<y>", "<z>",
    "<mask>", "[MASK]", "[CLS]", "[UNK]", "<s>", "``", "don't", "'ll", "I've", "'re", "denver", "flights", "show", "price",
)  # fmt: skip
# Beside `edge_texts`: what ../shared/facts/tokenizers.md lists, with the offsets that it tells.
CLASSES = (
    *TEXTS.values(),
    "\u200bhello", "hel\u200dlo", "❤️ x", "café cafe\u0301 \u0301e", "한" * 33, "한" * 34, "abc☃def", "concat écat cat7 cat.",
    " <x> \u00a0<x>\u3000", " <y> \u00a0<y>\u3000x", " <z> \u2028<z>\n", "NewTok néwtok NEWTOK NewTokens", " \u00a0<mask>\u3000", "x<mask>",
    "ΣΑΣ", "𝔘𝔫\u0301🙂 𐐀", "  🙂", " ", "", "\ud800", "a\udc00b \ud83d", "''s 's 'S 'll 'LL 've\u0301", "a\u0345\u0334\u0301b \u0f73\u0f71",
)  # fmt: skip


def random_texts(n: int, seed: int = 20) -> list[str]:
    rng = random.Random(seed)
    return [_text(rng) for _ in range(n)]


def _text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randint(0, 12) if rng.random() < 0.9 else rng.randint(30, 150)):
        kind = rng.random()
        if kind < 0.2:
            parts.append(rng.choice(_WORDS))
        elif kind < 0.35:
            parts.append(" ")
        elif kind < 0.43:
            ranges = ((0, 0xD7FF), (0xE000, 0x10FFFF), (0x1E000, 0x1EFFF))
            parts.append(chr(rng.randint(*rng.choice(ranges))))
        else:
            pool = rng.choice(_POOLS)
            parts.append("".join(rng.choice(pool) for _ in range(rng.randint(1, 4))))
    return joined("".join(parts))


def joined(text: str) -> str:
    """The text as UTF-16 holds it: halves of a surrogate pair beside each other are one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def utf16_places(text: str) -> list[int]:
    """Of each character, and of the text's end, its UTF-16 code unit."""
    places = [0]
    for character in text:
        places.append(places[-1] + (2 if ord(character) > 0xFFFF else 1))
    return places


def write_expected(path: Path, assets: Path, texts: Iterable[str]) -> Path:
    """A line with the folder of assets, then {text, ids, places} a line."""
    tokenizer = Tokenizer.from_file(str(assets / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with path.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps({"assets": str(assets)}) + "\n")
        for text in texts:
            encoding = tokenizer.encode(valid_unicode(text), add_special_tokens=False)
            units = utf16_places(text)
            places = [units[at] for place in encoding.offsets for at in place]
            stream.write(json.dumps({"text": text, "ids": encoding.ids, "places": places}) + "\n")
    return path
