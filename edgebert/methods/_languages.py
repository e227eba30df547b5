"""Which scripts languages are written in, and which tokens of a vocabulary are.

A script is all that is known of a token without text: it tells Russian from German, and not German from Polish. Scripts are those
of Unicode's property Script; languages are named by ISO 639, each with the script that CLDR's likely subtags give it, and Serbian with
Latin beside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

from edgebert.errors import RequestError, shown

LATIN = """
af ast az bar br bs ca ceb cs cy da de en eo es et eu fi fil fr fy ga gd gl ha hr ht hu id ig io is it jv ku la lb lmo lt lv
mg min ms mt nb nds nl nn no oc om pl pms pt qu ro rw scn sco sk sl sn so sq st su sv sw tl tn tr uz vi vo war wo xh yo zu
"""
OTHERS = {
    "Cyrillic": "ba be bg ce cv kk ky mk mn ru tg tt uk",
    "Arabic": "ar arz azb ckb fa pnb ps sd ug ur",
    "Devanagari": "hi mr ne new sa",
    "Bengali": "as bn bpy",
    "Hebrew": "he yi",
    "Ethiopic": "am ti",
    "Armenian": "hy",
    "Georgian": "ka",
    "Greek": "el",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Han": "yue zh",
    "Kannada": "kn",
    "Khmer": "km",
    "Lao": "lo",
    "Malayalam": "ml",
    "Myanmar": "my",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
    "Tibetan": "bo dz",
}
SEVERAL = {
    "ja": ("Han", "Hiragana", "Katakana"),
    "ko": ("Hangul", "Han"),
    "sr": ("Cyrillic", "Latin"),
}
ANY = ("Common", "Inherited")  # digits, punctuation, symbols, marks: of no script alone


@cache
def scripts() -> dict[str, tuple[str, ...]]:
    """The scripts of each language that is known, by its code."""
    results = {code: (script,) for script, codes in {"Latin": LATIN, **OTHERS}.items() for code in codes.split()}
    return {**results, **SEVERAL}


def scripts_of(languages: str, where: str) -> tuple[str, ...]:
    """The scripts of languages with commas between them, such as `de,en` or `pt-BR`; () of "".

    Raises RequestError for a code that is not known, with those that are.
    """
    results: list[str] = []
    for code in languages.replace(",", " ").split():
        name = code.replace("_", "-").split("-")[0].lower()
        if name not in scripts():
            raise RequestError(
                f"unknown language '{shown(code)}'", where=where, hint=f"Known: {', '.join(sorted(scripts()))}."
            )
        results += (script for script in scripts()[name] if script not in results)
    return tuple(results)


def written_in(scripts: Collection[str]) -> Callable[[str], bool]:
    """Tells of a text whether each of its characters is of one of these scripts, or of none."""
    import regex  # type: ignore[import-untyped]

    return regex.compile("[" + "".join(rf"\p{{Script={script}}}" for script in (*scripts, *ANY)) + "]*").fullmatch
