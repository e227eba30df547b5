"""More rows out of few: words of a row are changed, and a teacher answers for what comes out.

`by_neighbours` is Algorithm 1 of Jiao et al. (2019), "TinyBERT", arXiv 1909.10351: in each of n samples of a row, each word
is replaced with probability p_t by one of K candidates. Difference: the candidates are neighbours by vector for every word
(`edgebert.data.neighbours`). For words of a single token the paper asks BERT's masked-word head, which a fine-tuned teacher
no longer has; for others it asks GloVe, which would be a download.

`by_noise` is section 2.3 of Tang et al. (2019), "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks",
arXiv 1903.12136. With X ~ U[0, 1] for each word: masked where X < p_mask, replaced by a word of its class where
p_mask ≤ X < p_mask + p_pos, as often as each occurs in the text; then with probability p_ng all is dropped but an n-gram,
n from 1 to 5. Difference: the class of a word is the tag that its row gives it, where rows tag words, or one that was
induced from the text, since a tagger would be a download.

`by_mixing` makes a row of two. The others: of a pair, the first text is changed, then the second, then both, as Tang et al. do; a question's context stays. Samples
that stood there before are dropped. What a row says as a whole (labels, score, answers) does not hold for its samples. Tags
hold where a word was masked or replaced by one of its tag: `by_noise` keeps them and cuts them with their words, which may
cut an entity; a neighbour may have another tag, so `by_neighbours` drops them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from edgebert.types import Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Words = tuple[str, ...]
Change = Callable[[Words, Words], tuple[Words, Words]]  # (words, their tags or ()) -> the same, changed
P_NEIGHBOUR, P_MASK, P_CLASS, P_NGRAM, LONGEST_NGRAM = 0.4, 0.1, 0.1, 0.25, 5  # the papers'
HIDDEN = ("[MASK]", "<mask>", "[UNK]", "<unk>")


def by_neighbours(
    rows: Sequence[Row],
    n: int,
    nearest: Mapping[str, Sequence[str]],
    *,
    share: float = P_NEIGHBOUR,
    seed: int = 0,
    second: bool = True,
) -> list[Row]:
    """At most n samples of each row.

    Args:
        nearest: word -> candidates; a word without any stays.
        share: p_t, of the words to replace.
        second: the second text of a pair is changed too.
    """
    rng = Random(seed)

    def change(words: Words, tags: Words) -> tuple[Words, Words]:
        drawn = ((word, nearest.get(word)) for word in words)
        return tuple(rng.choice(near) if near and rng.random() < share else word for word, near in drawn), ()

    return _samples(rows, n, change, second)


def by_noise(
    rows: Sequence[Row],
    n: int,
    *,
    mask: str,
    classes: Mapping[str, int],
    p_mask: float = P_MASK,
    p_class: float = P_CLASS,
    p_ngram: float = P_NGRAM,
    seed: int = 0,
    second: bool = True,
) -> list[Row]:
    """At most n samples of each row.

    Args:
        mask: what a masked word becomes; "" masks none.
        classes: word -> its class, for words without tags; a word of none stays.
        second: the second text of a pair is changed too.
    """
    rng, pool = Random(seed), _occurrences(rows, classes)

    def one(word: str, tag: str) -> str:
        x = rng.random()
        if x < p_mask:
            return mask or word
        return rng.choice(pool.get(tag or classes.get(word), [word])) if x < p_mask + p_class else word

    def change(words: Words, tags: Words) -> tuple[Words, Words]:
        created = tuple(one(word, tag) for word, tag in zip(words, tags or [""] * len(words), strict=True))
        if rng.random() >= p_ngram:
            return created, tags
        size = rng.randint(1, LONGEST_NGRAM)
        start = rng.randrange(max(1, len(words) - size + 1))
        return created[start : start + size], tags[start : start + size]

    return _samples(rows, n, change, second)


def by_mixing(rows: Sequence[Row], n: int, *, seed: int = 0) -> list[Row]:
    """At most n rows of two each, without labels: the beginning of one and the end of another, both cut at a random word.

    Ours, after CutMix (Yun et al. 2019, arXiv 1905.04899) without its mixed labels: a teacher answers. Of a pair, the first
    text of one stands beside the second of another, each whole.
    """
    rng = Random(seed)
    created = []
    for _ in range(n if len(rows) > 1 else 0):
        first, other = rng.sample(rows, 2)
        blank = replace(first, tags=(), labels=(), score=None, answers=(), gold=(), labelled=False, offsets=())
        if (first.second is None, bool(first.words)) != (other.second is None, bool(other.words)):
            continue  # rows of different heads
        if first.second is not None:
            created.append(replace(blank, second=other.second))
        elif first.words:
            created.append(replace(blank, words=_spliced(first.words, other.words, rng), text=None))
        else:
            mine, theirs = (tuple((row.text or row.identity).split()) for row in (first, other))
            if mine or theirs:  # else there is nothing to mix
                created.append(replace(blank, text=" ".join(_spliced(mine, theirs, rng))))
    return created


def _spliced(first: Words, other: Words, rng: Random) -> Words:
    return first[: rng.randint(1, max(1, len(first)))] + other[rng.randrange(max(1, len(other))) :]


def words_of(rows: Iterable[Row], *, tagged: bool = True, second: bool = True) -> list[Words]:
    """The words of each text, as they are changed here.

    Args:
        tagged: those that have tags too.
        second: the second text of a pair too.
    """
    results: list[Words] = []
    for row in rows:
        if not row.words:
            results += [tuple(text.split()) for text in (row.text, row.second if second else None) if text]
        elif tagged or not row.tags:
            results.append(row.words)
    return results


def _occurrences(rows: Sequence[Row], classes: Mapping[str, int]) -> dict[str | int | None, list[str]]:
    """Tag or class -> its words, each as often as it occurs."""
    results: dict[str | int | None, list[str]] = defaultdict(list)
    for word, kind in (pair for row in rows for pair in zip(row.words, row.tags, strict=False)):
        results[kind].append(word)
    for word in (word for words in words_of(rows, tagged=False) for word in words if word in classes):
        results[classes[word]].append(word)
    return dict(results)


def _samples(rows: Sequence[Row], n: int, change: Change, second: bool) -> list[Row]:
    seen = {(row.head, row.identity) for row in rows}
    results = []
    for row in rows:
        for i in range(n):
            created = _changed(row, i, change, second)
            if (created.head, created.identity) not in seen:
                seen.add((created.head, created.identity))
                results.append(created)
    return results


def _changed(row: Row, i: int, change: Change, second: bool) -> Row:
    """Sample i of a row."""
    blank = replace(row, labels=(), score=None, answers=(), gold=(), labelled=False)
    if row.words:
        words, tags = change(row.words, row.tags)
        return replace(blank, words=words, tags=tags, labelled=bool(tags), text=None, offsets=())
    parts = ["text", "second"] if second and row.second is not None else ["text"]
    chosen = parts if len(parts) == 1 or i % 3 == 2 else [parts[i % 3]]
    texts: dict[str, str] = {
        part: " ".join(change(tuple((getattr(row, part) or "").split()), ())[0]) for part in chosen
    }
    return replace(blank, text=texts.get("text", blank.text), second=texts.get("second", blank.second))


def mask_word(*tokenizers: Tokenizer) -> str:
    """What each of the tokenizers reads as a hidden word: a mask token, or else the unknown one; "" where there is none."""
    known = [{token.content for token in tokenizer.get_added_tokens_decoder().values()} for tokenizer in tokenizers]
    return next((word for word in HIDDEN if all(word in tokens for tokens in known)), "")
