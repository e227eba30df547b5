"""Which texts are most like those of a task: what is read of more unlabelled text than there is time for."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

HELD_AGAINST = 2000  # of the task's texts
CHUNK = 2000


def most_alike(texts: Sequence[str], own: Sequence[str], n: int, seed: int = 0) -> list[int]:
    """Indices, in order, of the n texts that are nearest to any of the task's own.

    By the cosine of tf-idf vectors (Salton, Buckley 1988, "Term-weighting approaches in automatic text retrieval"), as
    scikit-learn has them, of three letters each, so that scripts without spaces are read too. Where more than
    `HELD_AGAINST` are the task's, so many are drawn by the seed.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    drawn = Random(seed).sample(own, min(len(own), HELD_AGAINST))
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), sublinear_tf=True, dtype=np.float32)
    vectorizer.fit([*drawn, *texts])
    theirs = vectorizer.transform(drawn).T.tocsr()
    nearest = [
        (vectorizer.transform(texts[i : i + CHUNK]) @ theirs).max(axis=1).toarray().ravel()
        for i in range(0, len(texts), CHUNK)
    ]
    order = np.argsort(-np.concatenate(nearest), kind="stable")
    return sorted(int(i) for i in order[:n])
