"""Which words are alike, told from what is at hand: the text itself, or a model's table of tokens."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

CLASSES = 50  # about as many as the Penn Treebank has tags
CONTEXTS = 250  # frequent words whose company tells a word's class
NEAREST = 15  # TinyBERT's K
EDGE = ""  # stands before the first word and behind the last
CHUNK = 256
SAME = 8  # more are looked at than asked for: a word may be written in ways that give the same tokens

Ids = tuple[int, ...]


def word_classes(texts: Iterable[Sequence[str]], n: int = CLASSES, seed: int = 0) -> dict[str, int]:
    """Word -> one of at most n classes of words that keep the same company.

    Schütze (1995), "Distributional Part-of-Speech Tagging", EACL, cmp-lg/9503009: a word is the counts of its left and
    right neighbours among the 250 most frequent words. Differences: vectors of length 1 are clustered by k-means, without
    a singular value decomposition first; each word has one class wherever it stands; the edges of a text count too.
    """
    import numpy as np
    from scipy.sparse import csr_matrix
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import normalize

    padded = [(EDGE, *words, EDGE) for words in texts if words]
    counts = Counter(word for words in padded for word in words[1:-1])
    if not counts:
        return {}
    numbers = {word: i for i, word in enumerate(counts)}
    frequent = {word: i for i, (word, _) in enumerate([(EDGE, 0), *counts.most_common(CONTEXTS)])}
    places = [  # (word, neighbour), a pair a time it occurs
        (numbers[words[i]], frequent[words[i + step]] + side * len(frequent))
        for words in padded
        for i in range(1, len(words) - 1)
        for side, step in enumerate((-1, 1))
        if words[i + step] in frequent
    ]
    at = np.array(places).T
    vectors = csr_matrix((np.ones(at.shape[1]), (at[0], at[1])), shape=(len(counts), 2 * len(frequent)))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # where fewer than n words differ
        result = KMeans(min(n, len(counts)), n_init=1, random_state=seed).fit_predict(normalize(vectors))
    return {word: int(result[i]) for word, i in numbers.items()}


def nearest_words(
    words: Iterable[str], tokenizer: Tokenizer, table: np.ndarray, k: int = NEAREST
) -> dict[str, tuple[str, ...]]:
    """For each word, the k that are nearest by cosine, the nearest first; itself left out.

    A word of one token is compared with the whole words of the vocabulary, one of several with all that are given, by
    the means of their tokens.

    Args:
        table: (n_tokens, width), a row for each of the tokenizer's tokens.
    """
    distinct = list(dict.fromkeys(words))
    known = {word: ids for word, ids in zip(distinct, _tokens(tokenizer, distinct), strict=True) if ids}
    single = {word: ids for word, ids in known.items() if len(ids) == 1}
    several = {word: ids for word, ids in known.items() if len(ids) > 1}
    whole = whole_words(tokenizer, len(table))
    return {**_nearest(single, whole, table, k), **_nearest(several, known, table, k)}


def whole_words(tokenizer: Tokenizer, n_tokens: int) -> dict[str, Ids]:
    """Word -> its token, of the tokens that are read back when what they say is written as a word of its own."""
    texts = [text.strip() for text in tokenizer.decode_batch([[i] for i in range(n_tokens)])]
    tokens = enumerate(zip(texts, _tokens(tokenizer, texts), strict=True))
    return {text: ids for i, (text, ids) in tokens if text and ids == (i,)}


def _tokens(tokenizer: Tokenizer, words: Sequence[str]) -> list[Ids]:
    """The ids of each word as it stands within a text: behind a space."""
    encodings = tokenizer.encode_batch([f" {word}" for word in words], add_special_tokens=False)
    return [tuple(encoding.ids) for encoding in encodings]


def _nearest(
    asked: Mapping[str, Ids], among: Mapping[str, Ids], table: np.ndarray, k: int
) -> dict[str, tuple[str, ...]]:
    """For each word the k of the others that are nearest; words of the same tokens are the same."""
    import numpy as np

    def unit(words: Iterable[Ids]) -> np.ndarray:
        means = np.array([table[list(ids)].mean(0) for ids in words])
        return means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)

    if not asked or not among:
        return {}
    names, tokens, rows, words = list(among), list(among.values()), unit(among.values()), list(asked)
    results = {}
    for start in range(0, len(words), CHUNK):
        part = words[start : start + CHUNK]
        cosines = unit(asked[word] for word in part) @ rows.T
        for word, own in zip(part, cosines, strict=True):
            best = np.argpartition(-own, min(k + SAME, len(own) - 1))[: k + SAME + 1]
            order = sorted(best.tolist(), key=lambda i: -own[i])
            results[word] = tuple(names[i] for i in order if tokens[i] != asked[word])[:k]
    return results
