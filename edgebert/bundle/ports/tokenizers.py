"""A tokenizer described for programs in other languages: what `tokenizer.json` leaves to its library is written out.

    normalizer      steps in order: `characters` (table), `decompose` (table, classes), `recompose` (the same, then
                    composed: of what each composed character is made), `replace` (from, to), `spaces` (to:
                    what two and more U+0020 in a row become), `strip` (left, right, spaces), `precompiled` (see
                    `edgebert.bundle.ports.precompiled`)
    pre_tokenizer   steps in order: `bert` (spaces, punctuation), `byte_level` (letters, numbers, spaces, add_prefix_space,
                    use_regex), `whitespace` (spaces), `metaspace` (replacement, prepend: always, first or never, split)
    model           WordPiece, BPE or Unigram with its settings; vocabulary, merges and scores are read from
                    `tokenizer.json`
    single, pair    the frame of one and of two texts: a token id with its type, or the number of a text with its type
    trim_offsets    of each post-processor that takes spaces off a token's place, its add_prefix_space
    word_characters where some added token is `single_word`: what may not stand beside it

Tables are as `edgebert.bundle.ports.tables` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from edgebert.bundle.ports.precompiled import describe_precompiled
from edgebert.bundle.ports.tables import encode_set
from edgebert.bundle.ports.unicode import (
    after_decomposition,
    character_map,
    code_points,
    combining_classes,
    compositions,
    decomposition,
    split_at,
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
    if part["type"] not in _NORMALIZERS:
        raise _refused("normalizer", part)
    return list(_steps(json.dumps(part)))


@cache
def _steps(part: str) -> tuple[Step, ...]:
    """The steps of a component, given as JSON: it takes seconds to ask a component of every code point."""
    settings = json.loads(part)
    return tuple(_NORMALIZERS[settings["type"]](settings))


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

    name = "NFKD" if "K" in part["type"] else "NFD"
    table = decomposition(getattr(normalizers, name)())
    return [{"type": "decompose", "table": table, "classes": combining_classes()}]


def _nfc(part: Settings) -> list[Step]:
    return [step | {"type": "recompose", "composed": compositions()} for step in _nfd(part)]


def _lowercase(part: Settings) -> list[Step]:
    from tokenizers.normalizers import Lowercase

    return [_characters(character_map(Lowercase()))]


def _strip_accents(part: Settings) -> list[Step]:
    from tokenizers.normalizers import StripAccents

    return [_characters(character_map(StripAccents()))]


def _precompiled(part: Settings) -> list[Step]:
    return [describe_precompiled(part["precompiled_charsmap"])] if part["precompiled_charsmap"] else []


def _replace(part: Settings) -> list[Step]:
    if part["pattern"].get("Regex") == " {2,}":
        return [{"type": "spaces", "to": part["content"]}]
    if not part["pattern"].get("String"):
        raise _refused("normalizer", part)
    return [{"type": "replace", "from": part["pattern"]["String"], "to": part["content"]}]


def _strip(part: Settings) -> list[Step]:
    return [{"type": "strip", "left": part["strip_left"], "right": part["strip_right"], "spaces": _spaces()}]


_NORMALIZERS: Mapping[str, Callable[[Settings], list[Step]]] = {
    "BertNormalizer": _bert,
    "NFD": _nfd,
    "NFKD": _nfd,
    "NFC": _nfc,
    "NFKC": _nfc,
    "Lowercase": _lowercase,
    "StripAccents": _strip_accents,
    "Replace": _replace,
    "Precompiled": _precompiled,
    "Strip": _strip,
}


# ---------------------------------------------------------------- pre-tokenizers


def _pre_tokenizer(part: Settings) -> Step:
    kind = part["type"]
    if kind not in _PRE_TOKENIZERS:
        raise _refused("pre-tokenizer", part)
    return _PRE_TOKENIZERS[kind](part)


def _bert_words(part: Settings) -> Step:
    return {"type": "bert", **_bert_classes()}


@cache
def _bert_classes() -> Mapping[str, str]:
    from tokenizers.pre_tokenizers import BertPreTokenizer

    split = BertPreTokenizer().pre_tokenize_str
    pieces = {point: len(split(f"a{chr(point)}b")) for point in code_points()}
    return {
        name: encode_set(point for point, n in pieces.items() if n == count)
        for name, count in (("spaces", 2), ("punctuation", 3))
    }


def _byte_level(part: Settings) -> Step:
    return {
        "type": "byte_level",
        "add_prefix_space": part["add_prefix_space"],
        "use_regex": part.get("use_regex", True),
        **_byte_level_classes(),
    }


@cache
def _byte_level_classes() -> Mapping[str, str]:
    """The classes of GPT-2's pattern: a letter goes on after "a", a number after "1", and what is neither goes on between
    two exclamation marks unless it is a space."""
    from tokenizers.pre_tokenizers import ByteLevel

    split = ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str
    classes: dict[str, list[int]] = {"letters": [], "numbers": [], "spaces": []}
    for point in code_points():
        character = chr(point)
        if split(f"a{character}")[0][1] == (0, 2):
            classes["letters"].append(point)
        elif split(f"1{character}")[0][1] == (0, 2):
            classes["numbers"].append(point)
        elif len(split(f"!{character}!")) > 1:
            classes["spaces"].append(point)
    return {name: encode_set(points) for name, points in classes.items()}


def _whitespace(part: Settings) -> Step:
    return {"type": "whitespace", "spaces": _spaces()}


def _metaspace(part: Settings) -> Step:
    prepend = part.get("prepend_scheme") or ("always" if part.get("add_prefix_space", True) else "never")
    return {
        "type": "metaspace",
        "replacement": part["replacement"],
        "prepend": prepend,
        "split": part.get("split", True),
    }


@cache
def _spaces() -> str:
    from tokenizers.pre_tokenizers import WhitespaceSplit

    return split_at(WhitespaceSplit(), pieces=2)


@cache
def _word_characters() -> str:
    from tokenizers.pre_tokenizers import Whitespace

    return split_at(Whitespace(), pieces=1)


_PRE_TOKENIZERS: Mapping[str, Callable[[Settings], Step]] = {
    "BertPreTokenizer": _bert_words,
    "ByteLevel": _byte_level,
    "WhitespaceSplit": _whitespace,
    "Metaspace": _metaspace,
}


# ---------------------------------------------------------------- model and frame


def _model(part: Settings) -> Step:
    if part["type"] == "WordPiece":
        names = ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word")
        return {"type": "WordPiece", **{name: part[name] for name in names}}
    if part["type"] == "Unigram" and not part.get("byte_fallback") and part["unk_id"] is not None:
        return {"type": "Unigram", "unk_id": part["unk_id"]}
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
    """["token", id, type] or ["text", 0 or 1, type] in order, asked of the post-processor with a text of few tokens, which
    alone have a place in a text."""
    from tokenizers import Tokenizer

    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    private.no_truncation()
    words = (token.strip("\u2581\u0120#") for token in private.get_vocab(with_added_tokens=False))
    for text in ("a", "1", ".", *words):
        if len(encoding := private.encode(text, add_special_tokens=False)):
            break
    else:
        raise RequestError("no token of its vocabulary is one of a text", where="tokenizer.json")
    framed = private.post_process(encoding, private.encode(text, add_special_tokens=False) if pair else None)
    results: list[list[object]] = []
    n_read = 0
    for id, type, place in zip(framed.ids, framed.type_ids, framed.offsets, strict=True):
        if place == (0, 0):
            results.append(["token", id, type])
            continue
        if n_read % len(encoding) == 0:
            results.append(["text", n_read // len(encoding), type])
        n_read += 1
    return results
