"""What packages are described with: tables of code points, and tokenizers held against the library that they describe."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from edgebert.bundle.ports.assets import write_tokenizer
from edgebert.bundle.ports.precompiled import describe_precompiled
from edgebert.bundle.ports.tables import (
    ALTERNATING,
    LISTED,
    SHIFTED,
    decode_map,
    decode_numbers,
    decode_set,
    encode_map,
    encode_numbers,
    encode_set,
    encode_values,
)
from edgebert.bundle.ports.tokenizers import describe
from edgebert.bundle.ports.unicode import combining_classes, compositions
from edgebert.errors import RequestError
from tests.packages import TOKENIZERS, charsmap

points = st.integers(0, 0x10FFFF)


@given(st.lists(st.integers(0, 1 << 40)))
def test_numbers_come_back(numbers: list[int]) -> None:
    assert decode_numbers(encode_numbers(numbers)) == numbers


@given(st.sets(points))
def test_sets_come_back(values: set[int]) -> None:
    assert decode_set(encode_set(values)) == values


@given(st.dictionaries(st.integers(0, 300) | points, st.lists(points, max_size=3).map(tuple)))
def test_maps_come_back(targets: dict[int, tuple[int, ...]]) -> None:
    assert decode_map(encode_map(targets)) == targets


def test_runs_are_short() -> None:
    lower = {c: (c + 32,) for c in range(65, 91)}
    assert decode_numbers(encode_map(lower)) == [65, 25, SHIFTED, 64]
    pairs = {c: (c + 1,) for c in range(0x100, 0x130, 2)}
    assert decode_numbers(encode_map(pairs)) == [0x100, 46, ALTERNATING, 2]
    accents = {0xC0: (65, 0x300), 0xC1: (65, 0x301)}
    assert decode_numbers(encode_map(accents)) == [0xC0, 1, LISTED, 2, 130, 0x600, 2, 0, 2]
    assert decode_numbers(encode_values({5: 230, 6: 230, 9: 1})) == [5, 1, 230, 2, 0, 1]


def test_a_mark_that_changes_its_place_has_a_class() -> None:
    numbers = decode_numbers(combining_classes())
    classes, after = {}, 0
    for gap, more, value in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        classes |= dict.fromkeys(range(after + gap, after + gap + more + 1), value)
        after += gap + more + 1
    assert (classes[0x301], classes[0x316], classes[0x334], classes[0x345], classes[0x94D]) == (230, 220, 1, 240, 9)
    assert 0x41 not in classes and 0x903 not in classes


def test_compositions_are_those_of_nfc() -> None:
    pairs = decode_map(compositions())
    assert pairs[0xE9] == (0x65, 0x301)
    assert pairs[0x1EBF] == (0xEA, 0x301)  # from what is composed already
    assert 0x212B not in pairs and 0x958 not in pairs  # a second code for a letter; excluded from composition
    assert 0xAC00 not in pairs


# ---------------------------------------------------------------- normalizers, step by step


def normalized(steps: Sequence[Mapping[str, Any]], text: str) -> str:
    """What the described steps make of a text, written for clearness: the reference for ports."""
    for step in steps:
        text = STEPS[step["type"]](step, text)
    return text


def characters(step: Mapping[str, Any], text: str) -> str:
    table = decode_map(step["table"])
    return "".join("".join(map(chr, table[ord(c)])) if ord(c) in table else c for c in text)


def precompiled(step: Mapping[str, Any], text: str) -> str:
    table, clusters = decode_map(step["table"]), step["clusters"]
    joining, controls, prepended = (decode_set(step[name]) for name in ("joining", "controls", "prepended"))

    def looked_up(part: str) -> str | None:
        if len(part) > 1:
            return clusters.get(part)
        return "".join(map(chr, table[ord(part)])) if ord(part) in table else None

    def joins(before: str, after: str) -> bool:
        if before + after == "\r\n":
            return True
        a, b = ord(before), ord(after)
        return (b in joining and a not in controls) or (a in prepended and b not in controls)

    results, start = [], 0
    while start < len(text):
        end = start + 1
        while end < len(text) and joins(text[end - 1], text[end]):
            end += 1
        cluster = text[start:end]
        short = len(cluster.encode()) < 6
        whole = [found for n in range(1, len(cluster) + 1) if (found := looked_up(cluster[:n])) is not None]
        results += [whole[0]] if short and whole else [c if (x := looked_up(c)) is None else x for c in cluster]
        start = end
    return "".join(results)


STEPS = {
    "characters": characters,
    "precompiled": precompiled,
    "replace": lambda step, text: text.replace(step["from"], step["to"]),
    "spaces": lambda step, text: re.sub(" {2,}", step["to"], text),
}


@pytest.mark.slow
def test_precompiled_is_described_to_the_last_cluster() -> None:
    step = describe_precompiled(base64.b64encode(charsmap()).decode())
    reference = normalizers.Precompiled(charsmap())
    assert precompiled(step, "tie\u0302\u0301ng \uff76\uff9e\r\n\u00bd") == "ti\u00eang \u30ab\u3099 1\u20442"
    seeds = random.Random(0)
    kinds: list[Sequence[Any]] = [
        sorted(decode_set(str(step["joining"]))), sorted(decode_set(str(step["controls"]))), range(0xA0, 0x3000),
        sorted(decode_set(str(step["prepended"]))), sorted(decode_map(str(step["table"]))), range(0x20, 0x7F), range(0xF900, 0x10400),
    ]  # fmt: skip
    clusters = sorted(step["clusters"])  # type: ignore[call-overload]
    table = {"step": step}
    differing = []
    for _ in range(80):
        parts = [
            seeds.choice(clusters) if seeds.random() < 0.2 else chr(seeds.choice(seeds.choice(kinds)))
            for _ in range(40)
        ]
        text = "".join(parts)
        if precompiled(table["step"], text) != reference.normalize_str(text):
            differing.append(ascii(text))
    assert not differing


# ---------------------------------------------------------------- whole tokenizers


def test_a_frame_is_asked_of_the_post_processor() -> None:
    result = describe(TOKENIZERS["uncased"]())
    assert result["single"] == [["token", 2, 0], ["text", 0, 0], ["token", 3, 0]]
    assert result["pair"] == [["token", 2, 0], ["text", 0, 0], ["token", 3, 0], ["text", 1, 1], ["token", 3, 1]]
    assert result["trim_offsets"] == []
    assert "word_characters" not in result
    roberta = describe(TOKENIZERS["byte-level-prefix"]())
    assert [kind for kind, *_ in roberta["pair"]] == ["token", "text", "token", "token", "text", "token"]  # type: ignore[attr-defined]
    assert roberta["trim_offsets"] == [True]


def test_the_classes_are_the_librarys_own() -> None:
    uncased = describe(TOKENIZERS["uncased"]())
    (words,) = uncased["pre_tokenizer"]  # type: ignore[misc]
    assert {0x20, 0x3000, 0x2028} <= decode_set(words["spaces"])
    assert {0x21, 0x166D, 0x2014} <= decode_set(words["punctuation"])
    assert not {0x2E43, 0x61D} & decode_set(words["punctuation"])  # punctuation since Unicode 9 splits no word
    steps: Any = uncased["normalizer"]
    assert [step["type"] for step in steps] == ["characters", "decompose", "characters"]
    assert decode_map(steps[0]["table"])[0x4E00] == (0x20, 0x4E00, 0x20)
    assert decode_map(steps[2]["table"])[0x3A3] == (0x3C3,)
    assert decode_map(steps[2]["table"])[0x301] == () and 0x8D4 not in decode_map(steps[2]["table"])
    (bytes_step,) = describe(TOKENIZERS["byte-level"]())["pre_tokenizer"]  # type: ignore[misc]
    letters, numbers, spaces = (decode_set(bytes_step[name]) for name in ("letters", "numbers", "spaces"))
    assert 0xE9 in letters and 0xBD in numbers and {0x20, 0xA0, 0x0A} <= spaces
    assert not letters & numbers and not letters & spaces


def unigram(normalizer: normalizers.Normalizer) -> Tokenizer:
    vocab = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("\u2581", -1.0),
        ("a", -2.0),
        ("\u2581b", -3.0),
    ]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def test_unigram_is_described() -> None:
    steps = [normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer = unigram(normalizers.Sequence(steps))
    result: Any = describe(tokenizer)
    assert result["model"] == {"type": "Unigram", "unk_id": 3}
    expected = {"type": "metaspace", "replacement": "\u2581", "prepend": "always", "split": True}
    assert result["pre_tokenizer"] == [expected]
    assert result["single"] == [["token", 0, 0], ["text", 0, 0], ["token", 2, 0]]
    text = "\uff21  \u2460\u00bd   x\u00ad"
    assert normalized(result["normalizer"], text) == tokenizer.normalizer.normalize_str(text)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tokenizer: setattr(tokenizer, "normalizer", normalizers.Prepend("x")), "normalizer Prepend"),
        (
            lambda tokenizer: setattr(tokenizer, "normalizer", normalizers.Replace(Regex("a+"), "b")),
            "normalizer Replace",
        ),
        (lambda tokenizer: setattr(tokenizer, "pre_tokenizer", pre_tokenizers.Digits()), "pre-tokenizer Digits"),
        (lambda tokenizer: setattr(tokenizer, "model", models.WordLevel({"a": 0, "b": 1}, "a")), "model WordLevel"),
    ],
)
def test_what_ports_do_not_have_is_named(change: Any, named: str, tmp_path: Path) -> None:
    tokenizer = TOKENIZERS["uncased"]()
    change(tokenizer)
    with pytest.raises(RequestError, match=named) as caught:
        describe(tokenizer)
    assert "--platform python" in str(caught.value)


def test_scores_are_written_as_the_library_has_them(tmp_path: Path) -> None:
    """Of a number with 17 digits it reads a neighbour, and what it then writes is read alike by all."""
    tokenizer = unigram(normalizers.NFC())
    tokenizer.model = models.Unigram(
        [("<s>", 0.0), ("<unk>", -7.4955611715402855), ("a", -3.9304130050238637)], unk_id=1
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    write_tokenizer(loaded, tmp_path / "tokenizer.json")
    written = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert [score for _, score in written["model"]["vocab"]] == [0.0, -7.495561171540285, -3.930413005023864]
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).to_str() == loaded.to_str()
