"""BERT's WordPiece as operators of ONNX and onnxruntime-extensions: from a text to ids and offsets.

The cleaning of BERT looks at one character at a time, so it can be read off the tokenizer as a table. In the graph every
character becomes a string of its own, is mapped, and counted: the counts lead from the tokens back to the characters.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.errors import RequestError

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto
    from tokenizers import Tokenizer

DOMAIN = "ai.onnx.contrib"
_GONE = "\x01"  # stands for nothing in the operator's table, which cannot hold an empty value
_BREAKS = "\t\n\r"  # white space to BERT; the operator's table is made of lines and tabs, so it cannot hold them
_PRIVATE = r"[\x{E000}-\x{F8FF}\x{F0000}-\x{10FFFF}]"  # private use: dropped by BERT, too many for the table
_DENSE = 0x30000  # above it few characters are assigned, and the unassigned ones are no words of their own


@dataclass(frozen=True)
class Rules:
    """What the graph needs to know of a tokenizer.

    Attributes:
        tokens: the vocabulary, with ids.
        longest: a word of more characters is unknown.
        mapped: what a character turns into where that is not itself; a space separates words.
        alone: characters that are words of their own: punctuation, CJK.
    """

    tokens: dict[str, int]
    unknown: str
    first: int
    last: int
    longest: int
    mapped: dict[str, str]
    alone: tuple[str, ...]


def wordpiece(path: Path) -> tuple[Tokenizer, Rules]:
    """The tokenizer of a tokenizer.json, without padding and truncation, and its rules.

    Raises:
        RequestError: it is not BERT's WordPiece, with what differs.
    """
    from tokenizers import Tokenizer

    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise RequestError(f"the tokenizer cannot be read: {error}", where=str(path)) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if reason := _differs(spec):
        raise RequestError(
            f"only BERT's WordPiece tokenizer can be put into the graph: {reason}",
            where=str(path),
            hint="Ship tokenizer.json beside the file instead.",
        )
    first, last = tokenizer.encode("").ids
    model = spec["model"]
    longest = model.get("max_input_chars_per_word", 100)
    return tokenizer, Rules(model["vocab"], model["unk_token"], first, last, longest, *_characters(tokenizer))


def _differs(spec: dict[str, Any]) -> str:
    """Why the graph cannot stand for a tokenizer.json; "" where it can."""
    model, cleaning = spec["model"], spec.get("normalizer") or {}
    kinds = (model.get("type"), cleaning.get("type"), (spec.get("pre_tokenizer") or {}).get("type"))
    if kinds != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        return f"this one is {kinds[0]} after {kinds[1] or 'no normalizer'} and {kinds[2] or 'no pre-tokenizer'}"
    if not cleaning.get("clean_text", True):
        return "it keeps control characters"
    if model.get("continuing_subword_prefix", "##") != "##":
        return f"its tokens continue with {model['continuing_subword_prefix']!r}"
    if model.get("unk_token") not in model["vocab"]:
        return "its unknown token is not in its vocabulary"
    if any(not subword or set("\t\n") & set(subword) for subword in model["vocab"]):
        return "a token is empty or holds a tab or a line break"
    if extra := [token["content"] for token in spec.get("added_tokens", []) if token["content"] not in model["vocab"]]:
        return f"{extra[0]!r} was added to its vocabulary"
    return _frame(spec.get("post_processor") or {})


def _frame(template: dict[str, Any]) -> str:
    kind = template.get("type")
    if kind == "BertProcessing":
        return ""
    single = [next(iter(part)) for part in template.get("single", [])]
    if kind == "TemplateProcessing" and single == ["SpecialToken", "Sequence", "SpecialToken"]:
        return ""
    return f"it frames a text by {kind or 'nothing'}, not by one token before and one after"


def _characters(tokenizer: Tokenizer) -> tuple[dict[str, str], tuple[str, ...]]:
    """`Rules.mapped` and `Rules.alone`, by asking the tokenizer about every assigned character."""
    clean, split = tokenizer.normalizer.normalize_str, tokenizer.pre_tokenizer.pre_tokenize_str
    seen = [chr(code) for code in range(sys.maxunicode + 1) if _is_listed(code)]
    words = {char: [part for part, _ in split(f"a{char}a")] for char in seen}
    cleaned = {char: clean(char) for char in seen}
    alone = {char for char in seen if len(words[char]) == 3 or cleaned[char] == f" {char} "}
    mapped = {}
    for char in seen:
        text = "".join(f" {item} " if item in alone else item for item in cleaned[char].strip(" ")) or cleaned[char]
        if len(words[char]) == 2 and cleaned[char] == char:  # white space that cleaning leaves alone
            text = " "
        if text != (f" {char} " if char in alone else char):
            mapped[char] = text
    return mapped, tuple(sorted(alone))


def _is_listed(code: int) -> bool:
    """Whether the graph's tables must tell of a character: all that no rule of ranges covers."""
    kind = unicodedata.category(chr(code))
    return kind not in ("Cs", "Co") and (code < _DENSE or kind != "Cn") and chr(code) not in _BREAKS + "\0"


def text_nodes(rules: Rules) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes from `text` to `text_ids` (seq,) and `offsets` (seq, 2), and their constants."""
    graph = _Graph()
    cleaned = _clean(graph, rules)
    words = graph.parts(graph.joined(cleaned, "whole"), "words", "( +)", "")
    ids, word, is_unknown, sizes = _tokens(graph, words, rules)
    frame = [graph.const("first", [rules.first]), ids, graph.const("last", [rules.last])]
    graph.node("Concat", frame, "ids", axis=0)
    size = graph.node("Where", [is_unknown, graph.node("Gather", [graph.length(words), word], "long"), sizes], "size")
    # A token lies where the cleaned characters before it end; those are counted back to the text's own.
    end = graph.node("CumSum", [size, graph.const("zero", 0)], "end")
    begin = graph.node("Sub", [end, size], "begin")
    until = graph.node("CumSum", [graph.length(graph.replaced(cleaned, "plain", " ", "")), "text_zero"], "until")
    start = graph.count_until(until, begin)
    last = graph.count_until(until, graph.node("Sub", [end, "text_one"], "last_at"))
    pairs = graph.node("Concat", [start, graph.node("Add", [last, "text_one"], "after")], "pairs", axis=1)
    edge = graph.const("edge", [[0, 0]])
    graph.node("Concat", [edge, pairs, edge], "places", axis=0)
    return graph.nodes, list(graph.constants.values())


def _clean(graph: _Graph, rules: Rules) -> str:
    """The text's characters (n,), each as what it turns into; spaces stand around those that are words alone."""
    chars = graph.replaced(graph.parts("text", "chars", "(.)", "(.)"), "spaced", f"[{_BREAKS}]", " ")
    public = graph.replaced(chars, "public", _PRIVATE, "")
    table = "\n".join(f"{char}\t{text or _GONE}" for char, text in rules.mapped.items())
    mapped = graph.node("StringMapping", [public], "mapped", domain=DOMAIN, map=table)
    return graph.replaced(graph.replaced(mapped, "kept", _GONE, ""), "split", f"([{_ranges(rules.alone)}])", r" \1 ")


def _tokens(graph: _Graph, words: str, rules: Rules) -> tuple[str, str, str, str]:
    """Of each token: its id, the number of its word, whether it is unknown, its size in characters; all (tokens,).

    The operator that finds the tokens leaves those in that it had before it gave up on a word: only the mark counts.
    """
    results, rows, begins, limits = "text_found", "text_rows", "text_begins", "text_limits"
    graph.node(
        "WordpieceTokenizer",
        [words, graph.const("no_rows", [])],
        *(name.removeprefix("text_") for name in (results, rows, begins, limits)),
        domain=DOMAIN,
        vocab=json.dumps(rules.tokens, ensure_ascii=False),
        suffix_indicator="##",
        unknown_token=rules.unknown,
        max_input_chars_per_word=rules.longest,
    )
    table = "\n".join(f"{token}\t{number}" for token, number in rules.tokens.items())
    column = graph.node("StringToVector", [results], "id_column", domain=DOMAIN, map=table, unk="0")
    ids = graph.node("Reshape", [column, graph.const("flat", [-1])], "all_ids")
    item, zero = graph.const("one", [1]), graph.const("start", 0)
    unknown = graph.node("Equal", [ids, graph.const("unknown", [rules.tokens[rules.unknown]])], "all_unknown")
    order = graph.node("Range", [zero, graph.node("Size", [ids], "n_found"), graph.const("step", 1)], "order")
    nth = graph.node("Squeeze", [graph.count_until(begins, order), graph.const("column", [1])], "nth")
    nth = graph.node("Sub", [nth, item], "all_words")
    given_up = graph.node("Gather", [unknown, graph.node("Sub", [limits, item], "last_tokens")], "given_up")
    whole = graph.node("Not", [graph.node("Gather", [given_up, nth], "in_given_up")], "in_whole")
    kept = graph.node("Or", [unknown, whole], "kept_tokens")
    sizes = graph.length(graph.replaced(results, "bare", "^##", ""))
    ids, nth, unknown, sizes = (
        graph.node("Compress", [name, kept], f"{name.removeprefix('text_')}_kept", axis=0)
        for name in (ids, nth, unknown, sizes)
    )
    return ids, nth, unknown, sizes


class _Graph:
    """Nodes and constants while they are put together; every name is given `text_` before it."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def const(self, name: str, value: object) -> str:
        """A constant: a text, or int64 numbers."""
        from onnx import TensorProto, helper, numpy_helper

        name = f"text_{name}"
        if isinstance(value, str):
            self.constants[name] = helper.make_tensor(name, TensorProto.STRING, [1], [value.encode()])
        else:
            self.constants[name] = numpy_helper.from_array(np.array(value, dtype=np.int64), name)
        return name

    def node(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: object) -> str:
        """The name of the first output."""
        from onnx import helper

        named = [f"text_{name}" for name in outputs]
        self.nodes.append(helper.make_node(kind, inputs, named, name=f"{named[0]}_by", **attributes))
        return named[0]

    def replaced(self, source: str, name: str, pattern: str, by: str) -> str:
        inputs = [source, self.const(f"{name}_pattern", pattern), self.const(f"{name}_by", by)]
        return self.node("StringRegexReplace", inputs, name, domain=DOMAIN)

    def parts(self, source: str, name: str, pattern: str, keep: str) -> str:
        """What lies between the matches, and those matches that `keep` matches too."""
        inputs = [source, self.const(f"{name}_pattern", pattern), self.const(f"{name}_keep", keep)]
        outputs = (name, f"{name}_from", f"{name}_to", f"{name}_rows")
        return self.node("StringRegexSplitWithOffsets", inputs, *outputs, domain=DOMAIN)

    def joined(self, source: str, name: str) -> str:
        inputs = [source, self.const("nothing", ""), self.const("axis0", [0])]
        return self.node("StringJoin", inputs, name, domain=DOMAIN)

    def length(self, source: str) -> str:
        """Characters of each string."""
        return self.node("StringLength", [source], f"{source.removeprefix('text_')}_length", domain=DOMAIN)

    def count_until(self, ascending: str, values: str) -> str:
        """How many of `ascending` (m,) are at most each value: (n, 1) of (n,)."""
        name = f"{values.removeprefix('text_')}_in_{ascending.removeprefix('text_')}"
        column = self.node("Unsqueeze", [values, self.const("axis1", [1])], f"{name}_column")
        before = self.node("LessOrEqual", [ascending, column], f"{name}_before")
        number = self.node("Cast", [before], f"{name}_number", to=7)  # int64
        return self.node("ReduceSum", [number, "text_axis1"], name, keepdims=1)


def _ranges(chars: Iterable[str]) -> str:
    """The characters as the inside of a regular expression's brackets."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, chars)):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in ranges)
