"""Texts that tell a right port of a tokenizer from a wrong one: every bundle's golden vectors hold them.

A port that takes the platform's own Unicode tables, or its lower-casing of whole strings, gives other ids than Hugging
Face's tokenizers on one class of characters or another, and seldom on a corpus of today's texts. Which text stands here
belongs to the schema of the bundle: `edgebert check` wants each of them, so another list needs another schema.

Words of `ner` and `tag` are peeled by Python's tables of punctuation, which grow. Punctuation younger than Unicode 13,
Python 3.10's, therefore stands inside words.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

FIRST = "Denver"
# What a bundle of schema 2 has of them.
OLD_TEXTS = (
    FIRST,
    "Zoë flew from São Paulo to Malmö, naïvely.",
    "show me flights ✈️ to boston 🙂",
    "我想从北京飞到上海",
)
TEXTS = {
    "one word": FIRST,
    "accents": OLD_TEXTS[1],
    "emoji": OLD_TEXTS[2],
    "ideographs": OLD_TEXTS[3],
    "composed and decomposed": "caf\u00e9 cafe\u0301 e\u0301tude \u0301x ti\u1ebfng tie\u0302\u0301ng Vie\u0323\u0302t",
    "Greek capitals, final sigma": "\u03a3\u0391\u03a3 \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u0386\u0388",
    "case of rare letters": "\u0130stanbul STRA\u1e9eE \u01c4 \ua7cbx \U00016ea0x \U00010400\U00010401",
    "marks since Unicode 9": "a\u08d4b e\u1dfbf o\u1ac1p u\u0898v",
    "marks of changed class": "ka\u1734b a\U0001171eb c\U000111c9d",
    "format characters": "a\u08e2b c\U000110cdd e\U00013430f g\u0890h i\u0600j k\u061cl",
    "punctuation since Unicode 9": "a\u2e43b c\u061dd e\u0a76f g\u1b7dh i\U00010f55j k\u166dl m\u2014n o\u00b7p",
    "unassigned and noncharacters": "a\u0378b c\ufdd0d e\uffff f\U000ffffeg private\ue000use",
    "canonical decomposition": "a\U00011938b c\U00011383d e\U000105c9f \u212b \u2126 \u0344g",
    "ideographs of extensions": "a\U00020000b c\U0002b820d e\U0002b920f g\U0002ceb0h i\u9fffj k\ufa6el m\U00030000n",
    "kinds of space": "a\u2028b c\u2029d e\u1680f g\u3000h i\u00a0j k\tl m\nn o\r\np q\u2003r  s",
    "control characters": "a\u000bb c\u000cd e\u0085f g\u0007h i\u007fj",
    "joiners and soft hyphens": "\u200bhello hel\u200dlo wor\u00adld\u00ad \ufeffa\ufeffb c\u180ed\u2060e f\u200cg\u200c",
    "replacement character and NUL": "a\ufffdb c\u0000d \ufffde",
    "variation selectors": "\u2764\ufe0f a\ufe0fb c\U000e0100d e\u180ff",
    "tatweel and harakat": "\u0643\u062a\u0640\u0640\u0627\u0628 \u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f",
    "niqqud": "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
    "virama and vowel signs": "\u0928\u092e\u0938\u094d\u0924\u0947 \u0915\u093f\u0924\u093e\u092c \u0e20\u0e32\u0e29\u0e32",
    "Hangul": "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab" + " " + "\ud55c" * 34,
    "compatibility forms": "\uff76\uff9e\uff77\uff9e \ufb01x \u00bdy \u2167 \u2460 \uff21\uff22\uff23",
    "outside the basic plane": "\U0001d518\U0001d52b \U0001f1e9\U0001f1ea \U0001f469\u200d\U0001f469\u200d\U0001f467 x\U0001f44d\U0001f3fdy",
    "ASCII punctuation": "don't stop-it (now) $5.00 e-mail@x.com ~`^|<>+= we'll THEY'VE",
    "digits and superscripts": "12345 x\u00b2 \u0663\u0664 1,000.5 3rd",
    "spaces around": "  two  spaces ",
    "unknown inside a word": "abc\u2603def go\u2603 \u2603 \u16a0\u16a2",
    "a word of 100 accents": "\u00e9" * 100,
    "a word of 101 letters": "x" * 101 + " after",
    "no visible character": "\u200b",
}
_MOST = 4  # added tokens of a kind that are tried


def texts_for(tokenizer: Tokenizer, max_length: int) -> dict[str, str]:
    """Every text by its class, with those that the tokenizer's own added tokens ask for; the longest one last.

    Args:
        max_length: of a window, in tokens, which the last text does not fit into.
    """
    added = [token for token in tokenizer.get_added_tokens_decoder().values() if token.content.strip()]
    special = " ".join(_special(token) for token in islice((item for item in added if item.special), _MOST))
    own = " ".join(_added(token) for token in islice((item for item in added if not item.special), _MOST))
    results = {"special tokens in the text": special, "added tokens in the text": own}
    more = {name: text for name, text in results.items() if text}
    return {**TEXTS, **more, "longer than a window": too_long(max_length)}


def too_long(max_length: int) -> str:
    return " ".join(("denver", "to", "boston")[i % 3] for i in range(max_length + 1))


def _special(token: AddedToken) -> str:
    """Alone, glued to letters, in the other case, with a space of another kind beside it."""
    text = token.content
    return f"to {text} a{text}b {text.swapcase()} \u00a0{text}\u3000"


def _added(token: AddedToken) -> str:
    """As is, in other cases, with a mark, beside a letter, a digit, punctuation and kinds of space."""
    text = token.content
    forms = (text, text.upper(), text.lower(), f"{text}\u0301", f"x{text}", f"{text}7", f",{text}.", f" {text}\u00a0")
    return " ".join(forms)
