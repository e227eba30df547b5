"""Runs encoded features through any session: torch, ONNX Runtime or whatever a converter opens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgebert.runtime.session import Runner, per_token
from edgebert.types import Feature, Outputs


def pad_batch(features: Sequence[Feature], pad_id: int = 0) -> dict[str, np.ndarray]:
    """int64 `input_ids`, `attention_mask` and `token_type_ids`, each (batch, seq), padded to the longest feature."""
    width = max(len(feature.input_ids) for feature in features)
    shape = (len(features), width)
    ids, mask, types = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for i, feature in enumerate(features):
        n = len(feature.input_ids)
        ids[i, :n], mask[i, :n], types[i, :n] = feature.input_ids, 1, feature.type_ids
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def run_features(
    session: Runner,
    features: Sequence[Feature],
    *,
    batch_size: int = 1,
    pad_id: int = 0,
    step: Callable[[int], None] | None = None,
) -> list[Outputs]:
    """Every output of each feature by name, without batch axis and without padding, in the order given.

    Batch 1 is the default because that is what a device runs, and because dynamic int8 takes one activation scale a
    batch: padding and neighbours would change the answer. `step` is told how many features each batch held.
    """
    order = sorted(range(len(features)), key=lambda i: len(features[i].input_ids))
    results: list[Outputs] = [{}] * len(features)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        outputs = session.run(pad_batch([features[i] for i in chosen], pad_id))
        for at, i in enumerate(chosen):
            results[i] = {name: one_row(name, array, at, len(features[i].input_ids)) for name, array in outputs.items()}
        if step:
            step(len(chosen))
    return results


def one_row(name: str, output: np.ndarray, at: int, n_tokens: int) -> np.ndarray:
    """Of an output of a batch, row `at`, cut to its tokens where it has one entry a token."""
    return output[at][:n_tokens] if per_token(name, output.ndim) else output[at]
