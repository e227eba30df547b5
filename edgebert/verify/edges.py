"""Edge rows: inputs on which a wrong mask, position or vocabulary shows, and which real rows seldom hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from edgebert.runtime.session import Batch
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "\u16a0\u16a2\u16a6 \U00012000\U00012001 \u2d30\u2d31"  # runes, cuneiform, Tifinagh: in few vocabularies
EMOJI = "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 \u2708\ufe0f \U0001f1e9\U0001f1ea"
PADDED = ("padded rows", "text under the mask")  # which only the mask tells from the rows themselves
N_TAKEN, N_JOINED = 16, 6  # real rows that edge rows are made of


def edge_batches(vocab_size: int, max_length: int, pad_id: int, tokenizer: Tokenizer | None) -> dict[str, Batch]:
    """Batches of one row by name. Ids are drawn with a fixed seed; texts are added where there is a tokenizer.

    Args:
        max_length: of the full row, in tokens.
    """
    drawn = np.random.default_rng(0).integers(min(vocab_size - 1, 5), vocab_size, max_length).tolist()
    short = min(16, max_length)
    rows = {
        "one token": batch_of(drawn[:1]),
        "full length": batch_of(drawn),
        "half padding": batch_of(drawn[: short // 2] + [pad_id] * (short - short // 2), n_real=short // 2),
        "all padding but one": batch_of(drawn[:1] + [pad_id] * (short - 1), n_real=1),
    }
    if tokenizer is not None:
        for name, text in (("unknown words", UNKNOWN), ("emoji", EMOJI)):
            encoding = tokenizer.encode(text)
            if encoding.ids:
                rows[name] = batch_of(encoding.ids[:max_length], encoding.type_ids[:max_length])
    return rows


def edges_of(rows: Sequence[Batch], vocab_size: int, max_length: int, pad_id: int) -> dict[str, list[Batch]]:
    """Edge rows made of real ones, by name: a trained model answers them as it answers texts, so that in a reduced
    precision a mistake stands out from rounding, as it does not on random ids.

    - padded rows: behind each stands as much padding as there is room for.
    - text under the mask: behind each stands the next one, which the mask hides.
    - joined rows: one behind the other up to the full length, so that every position is read.
    - words of other rows: each word of the rows gives way to one that no row has.
    """
    taken = [row for row in rows if row[ATTENTION_MASK].sum() > 1][:N_TAKEN]
    if not taken:
        return {}
    created: dict[str, list[Batch]] = {name: [] for name in PADDED}
    for row, other in zip(taken, [*taken[1:], taken[0]], strict=True):
        ids, types = _real(row)
        room = max_length - len(ids)
        if room > 0:
            behind = list(islice(cycle(_real(other)[0]), min(room, max(16, len(ids)))))
            created[PADDED[0]].append(batch_of(ids + [pad_id] * room, types + [0] * room, n_real=len(ids)))
            created[PADDED[1]].append(batch_of(ids + behind, types + [0] * len(behind), n_real=len(ids)))
    created["joined rows"] = list(_joined(taken, max_length))
    created["words of other rows"] = list(_unread(taken, rows, vocab_size))
    return {name: batches for name, batches in created.items() if batches}


def _joined(taken: Sequence[Batch], max_length: int) -> Iterator[Batch]:
    for start in range(min(N_JOINED, len(taken))):
        ids: list[int] = []
        types: list[int] = []
        for row in islice(cycle(taken), start, start + max_length):
            ids, types = ids + _real(row)[0], types + _real(row)[1]
            if len(ids) >= max_length:
                break
        yield batch_of(ids[:max_length], types[:max_length])


def _unread(taken: Sequence[Batch], rows: Sequence[Batch], vocab_size: int) -> Iterator[Batch]:
    """Ids that stand in every row, such as [CLS], stay."""
    seen = [set(_real(row)[0]) for row in rows]
    common = set.intersection(*seen)
    left = np.array(sorted(set(range(vocab_size)) - set().union(*seen)))
    if not len(left):
        return
    drawn = np.random.default_rng(0)
    for row in taken:
        ids, types = _real(row)
        yield batch_of([item if item in common else int(drawn.choice(left)) for item in ids], types)


def _real(row: Batch) -> tuple[list[int], list[int]]:
    """Token and segment ids of a batch of one row, without padding."""
    mask = row[ATTENTION_MASK][0].astype(bool)
    return row[INPUT_IDS][0][mask].tolist(), row[TOKEN_TYPE_IDS][0][mask].tolist()


def batch_of(ids: Sequence[int], types: Sequence[int] | None = None, *, n_real: int | None = None) -> Batch:
    """A batch of one row, (1, seq); `n_real` ids from the left are real, None for all."""
    mask = np.zeros((1, len(ids)), np.int64)
    mask[0, :n_real] = 1
    return {
        INPUT_IDS: np.array([ids], np.int64),
        ATTENTION_MASK: mask,
        TOKEN_TYPE_IDS: np.array([types if types is not None else [0] * len(ids)], np.int64),
    }
