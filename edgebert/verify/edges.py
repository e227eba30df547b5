"""Edge rows: inputs on which a wrong mask, position or vocabulary shows, and which real rows seldom hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import Batch

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "\u16a0\u16a2\u16a6 \U00012000\U00012001 \u2d30\u2d31"  # runes, cuneiform, Tifinagh: in few vocabularies
EMOJI = "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 \u2708\ufe0f \U0001f1e9\U0001f1ea"


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


def batch_of(ids: Sequence[int], types: Sequence[int] | None = None, *, n_real: int | None = None) -> Batch:
    """A batch of one row, (1, seq); `n_real` ids from the left are real, None for all."""
    mask = np.zeros((1, len(ids)), np.int64)
    mask[0, :n_real] = 1
    return {
        "input_ids": np.array([ids], np.int64),
        "attention_mask": mask,
        "token_type_ids": np.array([types if types is not None else [0] * len(ids)], np.int64),
    }
