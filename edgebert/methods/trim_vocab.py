"""Keep the tokens that the user's text needs, and the most frequent of the rest.

Not from one paper: vocabulary trimming as in Abdaoui, Pradel, Sigel (2020), "Load What You Need: Smaller Versions of
Multilingual BERT", arXiv 2010.05609, which keeps the tokens a language uses. Here the count in the training text decides;
a size that the text does not fill is filled with the most frequent tokens of the teacher's vocabulary, so that the
student still reads text that it has not seen. A vocabulary's own order stands for that frequency: WordPiece and BPE
vocabularies are built most frequent first, Unigram tokens carry their log probability.

Of a multilingual vocabulary, `languages` keeps the tokens that the text uses and those written in these languages' scripts;
`size` is then the most of them. Languages of one script are told apart by the text alone: `languages=de` keeps the Polish
tokens too, and those that are less frequent than the text's and the vocabulary's others go where `size` is smaller. Single
characters of other scripts go, and words of them become unknown. Of byte-level BPE, tokens that are part of a character stay.

Special tokens and single characters stay: a word whose token went is spelt with smaller ones, and no word becomes unknown
that was known before. Only of fewer than 8,000 tokens, characters would take most: then those that are neither ASCII nor in
the training text come last, and words of them may become unknown. The planner takes so few where nothing else fits. The
tokenizer is rewritten, ids are renumbered in their old order, and the embedding keeps
the rows of the tokens that stay.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from string import ascii_letters, digits, punctuation
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._languages import scripts_of, written_in
from edgebert.methods._vocabulary import named_ids, put_table, renumber, resized, unknown_report, words_of
from edgebert.modeling.vocabulary import unknown_token
from edgebert.training.context import MethodContext
from edgebert.types import Row, Student

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.tokenizer import TokenizerState

USUAL = 8000  # tokens, at the least: fewer spell much of what the training text does not hold
FEWER = (1500, 2000, 2500, 3000, 4000, 5000, 6000, 7000)
LANGUAGES = "trim-vocab.languages"
TELL_POINTS = 2.0  # lost by the vocabulary alone, of the metric on dev: worth a word to the user
SIZES = (
    8000,
    9000,
    10000,
    11000,
    12000,
    13000,
    14000,
    16000,
    18000,
    20000,
    22000,
    24000,
    26000,
    28000,
    32000,
    48000,
    64000,
    96000,
)


def token_counts(tokenizer: Tokenizer, rows: Iterable[Row]) -> Counter[str]:
    """How often each token occurs in the words of the rows."""
    counts: Counter[str] = Counter()
    for words in words_of(rows):
        for encoding in tokenizer.encode_batch(words, is_pretokenized=True):
            counts.update(encoding.tokens)
    return counts


def trim(
    tokenizer: Tokenizer,
    counts: Counter[str],
    size: int,
    named: Collection[int | None] = (),
    scripts: Collection[str] = (),
) -> tuple[Tokenizer, list[int]]:
    """A tokenizer with `size` tokens, and for each new id the old one; tokens whose ids are `named` stay in any case.

    With `scripts` they may be fewer: of tokens that do not occur in the text, only those written in one of them stay.

    Raises:
        RequestError: the tokenizer's model is none of WordPiece, BPE and Unigram.
    """
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.to_str())
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    unknown = unknown_token(tokenizer)
    wanted = {token for token, i in vocabulary.items() if i in named or token == unknown}
    keep = _chosen(state, counts, size, wanted, scripts)
    old_ids = sorted(vocabulary[token] for token in keep)
    new_ids = {old: new for new, old in enumerate(old_ids)}
    _rewrite(state, keep, new_ids)
    return Tokenizer.from_str(json.dumps(state)), old_ids


def _chosen(
    state: TokenizerState, counts: Counter[str], size: int, named: Collection[str], scripts: Collection[str]
) -> set[str]:
    """`size` tokens: special tokens, then single characters, then by count, then by general frequency."""
    model = state["model"]
    ranked = _by_frequency(model)
    if scripts:
        readable, text_of = written_in(scripts), _reader(state)
        ranked = [token for token in ranked if counts[token] or readable(text_of(token))]
    special = _special(state).union(named)
    prefix = model.get("continuing_subword_prefix") or ""
    own = set(ascii_letters + digits + punctuation).union(*counts)
    every = size >= USUAL or model["type"] == "BPE"  # whose characters may be bytes of others

    def order(subword: str) -> tuple[bool, int]:
        text = subword.removeprefix(prefix)
        return not (len(text) == 1 and (every or text in own)), -counts[subword]

    parts = _parts(model["merges"]) if model["type"] == "BPE" else {}
    keep = set(special)
    for token in sorted((p for p in ranked if p not in special), key=order):  # stable: ties keep their rank
        with_parts = _whole(token, parts) - keep
        if len(keep) + len(with_parts) <= size:
            keep |= with_parts
        if len(keep) == size:
            break
    return keep


def _reader(state: TokenizerState) -> Callable[[str], str]:
    """Gives the text of a token: that of a byte-level vocabulary stands for bytes, whose broken ones are U+FFFD."""
    from tokenizers.decoders import ByteLevel

    if "ByteLevel" not in json.dumps(state.get("pre_tokenizer")):
        return str
    decoder = ByteLevel()
    return lambda token: str(decoder.decode([token]))


def _by_frequency(model: dict[str, Any]) -> list[str]:
    if model.get("type") in ("WordPiece", "BPE"):
        return sorted(model["vocab"], key=model["vocab"].__getitem__)
    if model.get("type") == "Unigram":
        return [token for token, _ in sorted(model["vocab"], key=lambda item: -item[1])]
    raise RequestError(f"a {model.get('type')} tokenizer cannot be trimmed", where="trim-vocab")


def _special(state: TokenizerState) -> set[str]:
    """Added tokens, and the 256 byte tokens of a vocabulary with byte fallback."""
    special = {token["content"] for token in state["added_tokens"]}
    tokens = set(_by_frequency(state["model"]))
    return special | (tokens & {f"<0x{byte:02X}>" for byte in range(256)})


def _parts(merges: Sequence[str | list[str]]) -> dict[str, tuple[str, str]]:
    """For each merged token, the two that its first merge joins."""
    parts: dict[str, tuple[str, str]] = {}
    for merge in merges:
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        parts.setdefault(left + right, (left, right))
    return parts


def _whole(token: str, parts: dict[str, tuple[str, str]]) -> set[str]:
    """A token and every token that its merges build it from."""
    todo, whole = [token], {token}
    while todo:
        for part in parts.get(todo.pop(), ()):
            if part not in whole:
                whole.add(part)
                todo.append(part)
    return whole


def _rewrite(state: TokenizerState, keep: set[str], new_ids: dict[int, int]) -> None:
    """Renumbers every id of a tokenizer's JSON and drops the tokens that go. In place."""
    model = state["model"]
    if model["type"] == "Unigram":
        model["unk_id"] = new_ids.get(model.get("unk_id", -1))
        model["vocab"] = [item for i, item in enumerate(model["vocab"]) if i in new_ids]
    else:
        model["vocab"] = {subword: new_ids[old] for subword, old in model["vocab"].items() if subword in keep}
    if model["type"] == "BPE":
        split = [merge if isinstance(merge, list) else merge.split(" ") for merge in model["merges"]]
        model["merges"] = [m for m in split if {m[0], m[1], m[0] + m[1]} <= keep]
    for token in state["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    if state.get("post_processor"):
        renumber(state["post_processor"], new_ids)


def apply(student: Student, context: MethodContext, *, size: int, floor: int, languages: str) -> Student:
    """The student with a smaller vocabulary; `teacher_ids` maps its ids to the teacher's."""
    from edgebert.training.mlm import MASKS

    wanted = max(size or student.tokenizer.get_vocab_size(), floor)
    scripts = scripts_of(languages, LANGUAGES)
    if wanted >= student.tokenizer.get_vocab_size() and not scripts:
        student.notes += ("vocabulary kept whole",)
        return student
    counts = token_counts(student.tokenizer, context.transfer)
    masks = {student.tokenizer.token_to_id(name) for name in MASKS}
    tokenizer, old_ids = trim(student.tokenizer, counts, wanted, masks | named_ids(student.model.config), scripts)
    before = _dev_score(student, context) if context.scores_epochs else 0.0
    table = student.model.get_input_embeddings().weight.detach()[old_ids].clone()
    put_table(student.model, table, {old: new for new, old in enumerate(old_ids)})
    note = unknown_report(student.tokenizer, tokenizer, context.dev)
    if scripts:
        note += f"; tokens that the text does not use are written in {' or '.join(scripts)}"
    earlier = student.teacher_ids
    teacher_ids = (
        None if student.own_tokenizer else tuple(old_ids if earlier is None else (earlier[i] for i in old_ids))
    )
    trimmed = replace(student, tokenizer=tokenizer, teacher_ids=teacher_ids, notes=(*student.notes, note))
    if context.scores_epochs and (cost := before - _dev_score(trimmed, context)) > TELL_POINTS:
        message = f"the smaller vocabulary alone costs the untrained student {cost:.1f} points on dev"
        context.log(
            event="note", text=f"{message}; --precision int4-embedding keeps about twice the tokens in the same size"
        )
        trimmed.notes += (message,)
    return trimmed


def _dev_score(student: Student, context: MethodContext) -> float:
    """Points of the task's metric: before training, a student that has lost only tokens is the teacher itself."""
    from edgebert.training.run import evaluate

    max_length = context.settings.max_length
    return 100 * evaluate(student, context.task, context.labels, context.dev, "dev", max_length).value


def check(config: ModelConfig, teacher: ModelConfig, *, size: int, floor: int, languages: str) -> None:
    scripts_of(languages, LANGUAGES)


def reshape(config: ModelConfig, *, size: int, floor: int, languages: str) -> ModelConfig:
    """With `languages` this is the most that it has: how many tokens are theirs, only the tokenizer knows."""
    return resized(config, min(config.vocab_size, max(size or config.vocab_size, floor)))


METHOD = Method(
    name="trim-vocab",
    title="Keep the tokens that the text needs",
    paper=Paper(
        "Load What You Need: Smaller Versions of Multilingual BERT", "Abdaoui, Pradel, Sigel", 2020, "2010.05609"
    ),
    stage="vocabulary",
    apply=apply,
    check=check,
    reshape=reshape,
    params=(
        Param(
            "size",
            int,
            0,
            "tokens to keep; left open, the planner takes the most that the budget admits",
            minimum=1,
            search=lambda config: (*(size for size in SIZES if size < config.vocab_size), config.vocab_size),
            last=lambda config: [size for size in FEWER if size < config.vocab_size],
        ),
        Param("floor", int, 0, "never fewer than this many tokens", minimum=0),
        Param(
            "languages",
            str,
            "",
            "such as de,en: of tokens that the text does not use, only those in these languages' scripts stay",
        ),
    ),
    any_tokenizer=True,
    toy={"size": 80, "floor": 10},
)
