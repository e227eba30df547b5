"""A tokenizer described for programs in other languages: what `tokenizer.json` leaves to its library is written out.

    normalizer      steps in order: `characters` (table), `decompose` (table, classes), `replace` (from, to), `strip`
    pre_tokenizer   steps in order: `bert` (spaces, punctuation), `byte_level` (letters, numbers, spaces, add_prefix_space,
                    use_regex), `whitespace` (spaces)
    model           WordPiece or BPE with its settings; vocabulary and merges are read from `tokenizer.json`
    single, pair    the frame of one and of two texts: a token id with its type, or the number of a text with its type
    trim_offsets    of each post-processor that takes spaces off a token's place, its add_prefix_space
    word_characters where some added token is `single_word`: what may not stand beside it

Tables are as `edgebert.bundle.ports.tables` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgebert.bundle.ports.unicode import (
    after_decomposition,
    character_map,
    combining_classes,
    decomposition,
    split_at,
    where,
)
from edgebert.errors import RequestError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Step = dict[str, object]
Settings = Mapping[str, Any]


def describe(tokenizer: Tokenizer) -> dict[str, object]:
    """What a port needs beside `tokenizer.json`.

    Raises:
        RequestError: names the component that ports do not have.
    """
    parts = json.loads(tokenizer.to_str())
    result: dict[str, object] = {
        "normalizer": [step for part in _listed(parts["normalizer"], "normalizers") for step in _normalizer(part)],
        "pre_tokenizer": [_pre_tokenizer(part) for part in _listed(parts["pre_tokenizer"], "pretokenizers")],
        "model": _model(parts["model"]),
        "single": _frame(tokenizer, pair=False),
        "pair": _frame(tokenizer, pair=True),
        "trim_offsets": [
            bool(part["add_prefix_space"])
            for part in _listed(parts["post_processor"], "processors")
            if part.get("trim_offsets")
        ],
    }
    if any(token["single_word"] for token in parts["added_tokens"]):
        result["word_characters"] = _word_characters()
    return result


def _listed(part: Settings | None, name: str) -> Iterator[Settings]:
    """A component, or the components of a sequence of them."""
    if part is None:
        return
    if part["type"] != "Sequence":
        yield part
        return
    for item in part[name]:
        yield from _listed(item, name)


def _refused(kind: str, part: Settings) -> RequestError:
    settings = {key: value for key, value in part.items() if key not in ("type", "precompiled_charsmap", "vocab")}
    shown = f"{part['type']} {json.dumps(settings)}"[:120]
    return RequestError(
        f"the tokenizer's {kind} {shown} cannot be copied for this platform",
        where="tokenizer.json",
        hint="--platform python runs every tokenizer.",
    )


# ---------------------------------------------------------------- normalizers


def _normalizer(part: Settings) -> list[Step]:
    kind = part["type"]
    if kind not in _NORMALIZERS:
        raise _refused("normalizer", part)
    return _NORMALIZERS[kind](part)


def _bert(part: Settings) -> list[Step]:
    """Google's rules as `BertNormalizer` has them: clean and set ideographs apart, strip accents, lower case."""
    from tokenizers.normalizers import BertNormalizer

    clean, ideographs, lower = part["clean_text"], part["handle_chinese_chars"], part["lowercase"]
    strip = lower if part["strip_accents"] is None else part["strip_accents"]
    steps: list[Step] = []
    if clean or ideographs:
        steps.append(_characters(character_map(BertNormalizer(clean, ideographs, False, False))))
    rest = BertNormalizer(False, False, strip, lower)
    if strip:
        steps += [*_nfd(part), _characters(after_decomposition(rest))]
    elif lower:
        steps.append(_characters(character_map(rest)))
    return steps


def _characters(table: str) -> Step:
    return {"type": "characters", "table": table}


def _nfd(part: Settings) -> list[Step]:
    from tokenizers import normalizers

    name = "NFKD" if part["type"] == "NFKD" else "NFD"
    table = decomposition(getattr(normalizers, name)())
    return [{"type": "decompose", "table": table, "classes": combining_classes()}]


def _lowercase(part: Settings) -> list[Step]:
    from tokenizers.normalizers import Lowercase

    return [_characters(character_map(Lowercase()))]


def _strip_accents(part: Settings) -> list[Step]:
    from tokenizers.normalizers import StripAccents

    return [_characters(character_map(StripAccents()))]


def _replace(part: Settings) -> list[Step]:
    if "String" not in part["pattern"] or not part["pattern"]["String"]:
        raise _refused("normalizer", part)
    return [{"type": "replace", "from": part["pattern"]["String"], "to": part["content"]}]


def _strip(part: Settings) -> list[Step]:
    return [{"type": "strip", "left": part["strip_left"], "right": part["strip_right"], "spaces": _spaces()}]


_NORMALIZERS: Mapping[str, Callable[[Settings], list[Step]]] = {
    "BertNormalizer": _bert,
    "NFD": _nfd,
    "NFKD": _nfd,
    "Lowercase": _lowercase,
    "StripAccents": _strip_accents,
    "Replace": _replace,
    "Strip": _strip,
}


# ---------------------------------------------------------------- pre-tokenizers


def _pre_tokenizer(part: Settings) -> Step:
    kind = part["type"]
    if kind not in _PRE_TOKENIZERS:
        raise _refused("pre-tokenizer", part)
    return _PRE_TOKENIZERS[kind](part)


def _bert_words(part: Settings) -> Step:
    from tokenizers.pre_tokenizers import BertPreTokenizer

    splitter = BertPreTokenizer()
    return {
        "type": "bert",
        "spaces": split_at(splitter, pieces=2),
        "punctuation": split_at(splitter, pieces=3),
    }


def _byte_level(part: Settings) -> Step:
    """The classes of GPT-2's pattern, whose letters and numbers are Unicode's L and N.

    Beside "a" a letter begins no new piece; before "1" a number ends none; between two exclamation marks only a space
    ends one.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    split = ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str
    return {
        "type": "byte_level",
        "add_prefix_space": part["add_prefix_space"],
        "use_regex": part.get("use_regex", True),
        "letters": where(lambda character: split(f"a{character}")[0][1] == (0, 2)),
        "numbers": where(lambda character: split(f"1{character}")[0][1] == (0, 2)),
        "spaces": where(lambda character: len(split(f"!{character}!")) > 1 and _is_space(split, character)),
    }


def _is_space(split: Callable[[str], Any], character: str) -> bool:
    """Whether a character that ends a run of marks is a space: two of them before a letter fall apart, as \\s+(?!\\S) wants."""
    return len(split(f"{character * 3}!")) > 1


def _whitespace(part: Settings) -> Step:
    return {"type": "whitespace", "spaces": _spaces()}


def _spaces() -> str:
    from tokenizers.pre_tokenizers import WhitespaceSplit

    return split_at(WhitespaceSplit(), pieces=2)


def _word_characters() -> str:
    from tokenizers.pre_tokenizers import Whitespace

    return split_at(Whitespace(), pieces=1)


_PRE_TOKENIZERS: Mapping[str, Callable[[Settings], Step]] = {
    "BertPreTokenizer": _bert_words,
    "ByteLevel": _byte_level,
    "WhitespaceSplit": _whitespace,
}


# ---------------------------------------------------------------- model and frame


def _model(part: Settings) -> Step:
    if part["type"] == "WordPiece":
        names = ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word")
        return {"type": "WordPiece", **{name: part[name] for name in names}}
    plain = (
        "dropout",
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "byte_fallback",
        "ignore_merges",
    )
    if part["type"] == "BPE" and not any(part.get(name) for name in plain if name != "unk_token"):
        return {"type": "BPE", "unk_token": part["unk_token"]}
    raise _refused("model", part)


def _frame(tokenizer: Tokenizer, *, pair: bool) -> list[list[object]]:
    """["token", id, type] or ["text", 0 or 1, type] in order, asked of the post-processor with a token of each text."""
    from tokenizers import Tokenizer

    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    private.no_truncation()
    first, second = _single_tokens(private)
    numbers = {first.ids[0]: 0, second.ids[0]: 1}
    framed = private.post_process(first, second if pair else None)
    return [
        ["text", numbers[id], type] if id in numbers else ["token", id, type]
        for id, type in zip(framed.ids, framed.type_ids, strict=True)
    ]


def _single_tokens(tokenizer: Tokenizer) -> list[Any]:
    """Two texts of one token each, which no frame holds."""
    results: dict[int, Any] = {}
    for text in (*"abcdefghijklmnopqrstuvwxyz0123456789", ".", ",", *tokenizer.get_vocab(with_added_tokens=False)):
        encoding = tokenizer.encode(text, add_special_tokens=False)
        token = tokenizer.get_added_tokens_decoder().get(encoding.ids[0]) if len(encoding) == 1 else None
        if len(encoding) == 1 and not (token and token.special):
            results.setdefault(encoding.ids[0], encoding)
        if len(results) == 2:
            return list(results.values())
    raise RequestError("no two texts of one token each were found", where="tokenizer.json")
