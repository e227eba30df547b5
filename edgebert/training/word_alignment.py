"""Which words of two sentences translate each other, learnt from many pairs of sentences without a dictionary.

Word j of a target sentence of m words comes from word i of the n of its source, or from none:

    p(i | j) ∝ δ(i | j) · t(target_j | source_i),    δ(none | j) = p0,    δ(i | j) ∝ (1 - p0) · exp(-λ |i / n - j / m|)

t is IBM model 1's, learnt by expectation maximisation: Brown, Della Pietra, Della Pietra, Mercer (1993), "The Mathematics of
Statistical Machine Translation", Computational Linguistics 19(2). δ is that of Dyer, Chahuneau, Smith (2013), "A Simple, Fast,
and Effective Reparameterization of IBM Model 2", NAACL-HLT 2013, with λ held at 4 and p0 at 0.08.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PASSES = 5
TENSION = 4.0  # λ
NONE = 0.08  # p0

Sentence = Sequence[str]  # its words


@dataclass(frozen=True)
class _Cells:
    """Each word of each target sentence against each of its source, the empty word first; sentence by sentence.

    Attributes:
        pairs: (n_cells,) which two words these are, an index into `source_of`.
        tokens: (n_cells,) which word of all target sentences it is.
        prior: (n_cells,) δ.
        source_of: (n_pairs,) source word of a pair.
        target_of: (n_pairs,) target word of a pair.
        shapes: of each sentence, target words × source words and one.
    """

    pairs: np.ndarray
    tokens: np.ndarray
    prior: np.ndarray
    source_of: np.ndarray
    target_of: np.ndarray
    shapes: tuple[tuple[int, int], ...]


def align_words(sources: Sequence[Sentence], targets: Sequence[Sentence]) -> list[list[tuple[int, int]]]:
    """For each pair of sentences, (source word, target word) where each is the other's likeliest: no word is in two.

    Needs about 30 bytes for each target word × source word of a pair.
    """
    results = []
    for there, back in zip(_likeliest(sources, targets), _likeliest(targets, sources), strict=True):
        results.append([(int(i), j) for j, i in enumerate(there) if i >= 0 and back[i] == j])
    return results


def translations(
    sources: Sequence[Sentence],
    targets: Sequence[Sentence],
    *,
    passes: int = PASSES,
    tension: float = TENSION,
    none: float = NONE,
) -> dict[tuple[str, str], float]:
    """t(target word | source word) of each two words that stand in one pair of sentences; the empty word is ""."""
    own, theirs = _numbers(sources), _numbers(targets)
    cells = _cells(sources, targets, own, theirs, tension, none)
    table, words, others = _learnt(cells, passes), ["", *own], ["", *theirs]
    return {
        (others[target], words[source]): float(value)
        for source, target, value in zip(cells.source_of, cells.target_of, table, strict=True)
    }


def _likeliest(sources: Sequence[Sentence], targets: Sequence[Sentence]) -> list[np.ndarray]:
    """For each pair of sentences, the source word that each target word most likely comes from; -1 for none."""
    cells = _cells(sources, targets, _numbers(sources), _numbers(targets), TENSION, NONE)
    weights = _posterior(cells, _learnt(cells, PASSES))
    bounds = np.cumsum([n * width for n, width in cells.shapes])[:-1]
    parts = np.split(weights, bounds) if cells.shapes else []
    return [
        part.reshape(shape).argmax(1) - 1 if shape[0] else np.empty(0, int)
        for part, shape in zip(parts, cells.shapes, strict=True)
    ]


def _numbers(sentences: Sequence[Sentence]) -> dict[str, int]:
    """Each word's number from 1; 0 is the empty word."""
    return {word: i for i, word in enumerate(dict.fromkeys(word for words in sentences for word in words), 1)}


def _cells(
    sources: Sequence[Sentence],
    targets: Sequence[Sentence],
    own: dict[str, int],
    theirs: dict[str, int],
    tension: float,
    none: float,
) -> _Cells:
    keys, tokens, priors = [np.empty(0, np.int64)], [np.empty(0, np.int32)], [np.empty(0)]  # for no sentences
    shapes: list[tuple[int, int]] = []
    n_tokens = 0
    for source, target in zip(sources, targets, strict=True):
        m, width = len(target), len(source) + 1
        ids = np.array([0, *(own[word] for word in source)], np.int64)
        keys.append((np.array([theirs[word] for word in target], np.int64)[:, None] * (len(own) + 1) + ids).ravel())
        tokens.append(np.repeat(np.arange(n_tokens, n_tokens + m, dtype=np.int32), width))
        priors.append(_prior(len(source), m, tension, none).ravel())
        shapes.append((m, width))
        n_tokens += m
    seen, pairs = np.unique(np.concatenate(keys), return_inverse=True)
    target_of, source_of = np.divmod(seen, len(own) + 1)
    return _Cells(
        pairs.astype(np.int32), np.concatenate(tokens), np.concatenate(priors), source_of, target_of, tuple(shapes)
    )


def _prior(n: int, m: int, tension: float, none: float) -> np.ndarray:
    """δ, (m, n + 1), the empty word first."""
    places = np.exp(-tension * np.abs(np.arange(1, n + 1) / max(1, n) - np.arange(1, m + 1)[:, None] / max(1, m)))
    return np.hstack([np.full((m, 1), none), (1 - none) * places / np.maximum(places.sum(1, keepdims=True), 1e-12)])


def _learnt(cells: _Cells, passes: int) -> np.ndarray:
    """t, (n_pairs,), from equal values; it sums to 1 over the target words of a source word."""
    table = np.ones(len(cells.source_of))
    for _ in range(passes):
        counts = np.bincount(cells.pairs, _posterior(cells, table), len(table))
        table = counts / np.maximum(np.bincount(cells.source_of, counts)[cells.source_of], 1e-300)
    return table


def _posterior(cells: _Cells, table: np.ndarray) -> np.ndarray:
    """p(i | j) of each cell, (n_cells,)."""
    weights = cells.prior * table[cells.pairs]
    return weights / np.maximum(np.bincount(cells.tokens, weights), 1e-300)[cells.tokens]
