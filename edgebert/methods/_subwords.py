"""A WordPiece vocabulary learnt from text, and text in which some words are marked to be read by it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from string import ascii_letters, digits, punctuation
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods._vocabulary import renumber, words_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.modeling.tokenizer import TokenizerState
    from edgebert.types import Row

WHERE = "optimal-subwords"
SHIFT = 0xF0000  # from a character of the basic plane to one of private use, which no text holds


def word_state(tokenizer: Tokenizer) -> TokenizerState:
    """The tokenizer's JSON. Raises RequestError where its model is not WordPiece."""
    state: TokenizerState = json.loads(tokenizer.to_str())
    if state["model"]["type"] != "WordPiece":
        what = (
            f"the teacher's tokenizer is {state['model']['type']}, and a new vocabulary is learnt for WordPiece alone"
        )
        raise RequestError(what, where=WHERE, hint="Use trim-vocab, which keeps tokens of any tokenizer.")
    return state


def splitter(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """Text as the words that the tokenizer cuts into tokens: normalised, split at spaces and punctuation."""
    normalise = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    split = tokenizer.pre_tokenizer.pre_tokenize_str if tokenizer.pre_tokenizer else lambda text: [(text, ())]
    return lambda text: [word for word, _ in split(normalise(text)) if word.strip()]


def split_texts(tokenizer: Tokenizer, rows: Iterable[Row]) -> list[str]:
    """The rows' texts, normalised, with a space between the words that the tokenizer cuts into tokens.

    Raises:
        RequestError: the tokenizer is not WordPiece, or the text has no word.
    """
    word_state(tokenizer)
    split = splitter(tokenizer)
    texts = [" ".join(word for text in words for word in split(text)) for lot in words_of(rows) for words in lot]
    if not any(texts):
        what = "the training texts hold no word that the teacher's tokenizer can read"
        raise RequestError(what, where=WHERE, hint="Give --data or --unlabelled with text.")
    return texts


def base_tokens(tokenizer: Tokenizer, texts: Iterable[str], special: Sequence[str], size: int) -> list[str]:
    """What no vocabulary goes without: the special tokens, then single characters of ASCII and of the texts.

    Args:
        texts: of `split_texts`.

    Raises:
        RequestError: they are more than `size`.
    """
    split, prefix = splitter(tokenizer), word_state(tokenizer)["model"]["continuing_subword_prefix"]
    words = {word for text in texts for word in text.split()}
    characters = set("".join(words)).union(*(split(c) for c in ascii_letters + digits + punctuation))
    # A character that always stands alone, such as a comma, continues no word.
    inside = {c for word in words for c in word[1:]} | {c for c in characters if len(split("a" + c)) == 1}
    base = list(dict.fromkeys([*special, *sorted(characters), *(prefix + c for c in sorted(inside))]))
    if len(base) > size:
        what = f"{size} tokens cannot hold {len(special)} special ones and the text's {len(base) - len(special)} characters"
        raise RequestError(what, where=f"{WHERE}.size", hint=f"Ask for at least {len(base)}, or use trim-vocab.")
    return base


def learn_tokens(tokenizer: Tokenizer, rows: Iterable[Row], special: Sequence[str], size: int) -> tuple[list[str], int]:
    """At most `size` tokens, the most useful first: those of `base_tokens`, then the merges.

    The first n of them, for any n that holds the base, are what a training for n tokens would give; the second result is
    the least such n.

    Raises:
        RequestError: see `split_texts` and `base_tokens`.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    texts, prefix = split_texts(tokenizer, rows), word_state(tokenizer)["model"]["continuing_subword_prefix"]
    base = base_tokens(tokenizer, texts, special, size)
    learner = Tokenizer(models.WordPiece(unk_token=base[0]))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # All characters are given as special tokens: those inside words would else get ids in the order of a hash map, by
    # which the library breaks ties, so that every process would learn other tokens.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=base, continuing_subword_prefix=prefix, show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    vocabulary = learner.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__), len(base)


def with_tokens(tokenizer: Tokenizer, tokens: Sequence[str]) -> Tokenizer:
    """The tokenizer with another vocabulary, whose ids are the tokens' places; all else of it stays."""
    from tokenizers import Tokenizer

    state, old = word_state(tokenizer), tokenizer.get_vocab(with_added_tokens=True)
    ids = {token: i for i, token in enumerate(tokens)}
    state["model"]["vocab"] = ids
    for token in state["added_tokens"]:
        token["id"] = ids[token["content"]]
    if state.get("post_processor"):
        renumber(state["post_processor"], {old[token]: i for token, i in ids.items() if token in old})
    return Tokenizer.from_str(json.dumps(state))


def pieces(token: str, model: dict[str, Any]) -> list[int]:
    """Ids of the longest tokens of a WordPiece model, from the left, that spell another one's token; [] where none do."""
    vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
    lead, text = (prefix, token.removeprefix(prefix)) if token.startswith(prefix) else ("", token)
    ids: list[int] = []
    while text:
        longest = next((n for n in range(len(text), 0, -1) if lead + text[:n] in vocabulary), 0)
        if not longest:
            return []
        ids.append(vocabulary[lead + text[:longest]])
        lead, text = prefix, text[longest:]
    return ids


# ---------------------------------------------------------------- two vocabularies in one text


def shifted(text: str) -> str:
    """The text with each character moved to the plane of private use; "" where one cannot be."""
    return "".join(chr(ord(c) + SHIFT) for c in text) if all(ord(c) < 0xFFFE for c in text) else ""


def both(tokenizer: Tokenizer, tokens: Sequence[str], special: Sequence[str], first: int) -> Tokenizer:
    """A tokenizer that reads words by its own tokens and shifted words by the new ones, whose ids count from `first`.

    It reads text of `marked`, which is normalised and split already.
    """
    from tokenizers import Tokenizer

    state = word_state(tokenizer)
    prefix = state["model"]["continuing_subword_prefix"]
    for i, token in enumerate(tokens):
        lead = prefix if token.startswith(prefix) and token != prefix else ""
        if token not in special and (body := shifted(token.removeprefix(lead))):
            state["model"]["vocab"][lead + body] = first + i
    state["normalizer"], state["pre_tokenizer"] = None, {"type": "WhitespaceSplit"}
    return Tokenizer.from_str(json.dumps(state))


def marked(rows: Iterable[Row], tokenizer: Tokenizer, share: float, seed: int) -> list[Row]:
    """The rows with `share` of their words shifted, drawn at random, normalised and with a space between all words."""
    split, draw = splitter(tokenizer), random.Random(seed)

    def mark(text: str) -> str:
        return " ".join((draw.random() < share and shifted(word)) or word for word in split(text))

    return [
        replace(
            row,
            words=tuple(map(mark, row.words)),
            text=None if row.text is None else mark(row.text),
            second=None if row.second is None else mark(row.second),
            offsets=(),
        )
        for row in rows
    ]
