"""Which texts are most like those of a task: what is read of more unlabelled text than there is time for."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

HELD_AGAINST = 2000  # of the task's texts
LOOKED_AT = 100_000  # of the other texts, so that millions do not take minutes
CHUNK = 2000


def most_alike(texts: Sequence[str], own: Sequence[str], n: int, seed: int = 0) -> list[int]:
    """Indices, in order, of the n texts that are nearest to any of the task's own.

    By the cosine of tf-idf vectors (Salton, Buckley 1988, "Term-weighting approaches in automatic text retrieval"), as
    scikit-learn has them, of three letters each, so that scripts without spaces are read too. Of more than `HELD_AGAINST`
    texts of the task, and of more than `LOOKED_AT` others, so many are drawn by the seed; never fewer than n.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    random = Random(seed)
    drawn = random.sample(own, min(len(own), HELD_AGAINST))
    looked_at = sorted(random.sample(range(len(texts)), min(len(texts), max(n, LOOKED_AT))))
    texts = [texts[i] for i in looked_at]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), sublinear_tf=True, dtype=np.float32)
    vectorizer.fit([*drawn, *texts])
    theirs = vectorizer.transform(drawn).T.tocsr()
    nearest = [
        (vectorizer.transform(texts[i : i + CHUNK]) @ theirs).max(axis=1).toarray().ravel()
        for i in range(0, len(texts), CHUNK)
    ]
    order = np.argsort(-np.concatenate(nearest), kind="stable")
    return sorted(looked_at[i] for i in order[:n])
