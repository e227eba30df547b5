"""Completes splits: what is missing is carved from train, the same way on every machine."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from edgebert.errors import DataError, RequestError
from edgebert.types import SPLITS, Row, Split

Rows = dict[Split, list[Row]]


def check_shares(dev_share: float, test_share: float) -> dict[Split, float]:
    """The shares by split. Raises RequestError unless both are above 0 and leave something to train on."""
    if min(dev_share, test_share) <= 0 or dev_share + test_share >= 1:
        raise RequestError(
            f"shares of {dev_share:g} for dev and {test_share:g} for test cannot be carved",
            where="dev_share, test_share",
            hint="Both lie above 0 and together below 1, for example 0.1 and 0.1.",
        )
    return {"dev": dev_share, "test": test_share}


def complete(rows: Rows, shares: Mapping[Split, float]) -> tuple[Rows, list[str]]:
    """All three splits, and notes on what was carved.

    Distinct sentences are ranked by the sha256 of their text; the first go to test, the next to dev. Equal sentences
    therefore never straddle carved splits, and neither order nor seed matters. Raises DataError for too few rows.
    """
    if not rows.get("train"):
        raise DataError("there are no rows to train on", where="train", hint="Give them: --data train=FILE")
    absent: list[Split] = [split for split in ("test", "dev") if not rows.get(split)]
    train = rows["train"]
    ranked = sorted({key(row) for row in train})
    owner: dict[bytes, Split] = {}
    for split in absent:
        n = _carved(len(ranked), split, shares[split])
        owner.update(dict.fromkeys(ranked[len(owner) : len(owner) + n], split))
    carved: Rows = {
        split: [row for row in train if owner.get(key(row), "train") == split] for split in ("train", *absent)
    }
    notes = [
        f"{split}: {len(carved[split])} of {len(train)} rows carved from train, by the sha256 of their text"
        f" (share {shares[split]:g} of the distinct ones)"
        for split in absent
    ]
    whole = {**rows, **carved}
    return {split: whole[split] for split in SPLITS}, notes


def _carved(n_texts: int, split: Split, share: float) -> int:
    n = math.floor(share * n_texts + 1e-9)
    if n < 1:
        raise DataError(
            f"{n_texts} distinct rows are too few to carve a {split} split of {share:.0%} from",
            where=split,
            hint=f"At least {math.ceil(1 / share - 1e-9)} are needed; or give the split: --data {split}=FILE",
        )
    return n


def key(row: Row) -> bytes:
    """sha256 of what is carved as one: the row's group, or what the model reads of it."""
    return hashlib.sha256((row.group or row.identity).encode("utf-8", "surrogatepass")).digest()


def overlap_notes(rows: Mapping[Split, Sequence[Row]]) -> list[str]:
    """How many training rows stand in another split too. They are counted, not removed."""
    notes = []
    for split in ("dev", "test"):
        texts = {row.identity for row in rows[split]}
        n = sum(row.identity in texts for row in rows["train"])
        if n:
            notes.append(f"train: the text of {n} rows is also in {split}")
    return notes


def unseen_notes(rows: Mapping[Split, Sequence[Row]]) -> list[str]:
    """Labels that only dev or test holds: no model can predict them, and the score still counts them."""
    notes = []
    known = {label for row in rows["train"] for label in (*row.tags, *row.labels)}
    for split in ("dev", "test"):
        unseen = Counter(label for row in rows[split] for label in (*row.tags, *row.labels) if label not in known)
        if unseen:
            listed = ", ".join(f"{tag} ({n})" for tag, n in sorted(unseen.items()))
            notes.append(
                f"{split}: labels that train never shows, so no model predicts them; scored all the same: {listed}"
            )
    return notes
