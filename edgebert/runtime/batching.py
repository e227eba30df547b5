"""Runs encoded features through any session: torch, ONNX Runtime or whatever a converter opens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgebert.runtime.session import Runner
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS, OutputSpec, specs_by_name
from edgebert.types import Feature, Outputs


def pad_batch(features: Sequence[Feature], pad_id: int = 0) -> dict[str, np.ndarray]:
    """The int64 inputs of `edgebert.runtime.specs.INPUTS` by name, each (batch, seq), padded to the longest feature."""
    width = max(len(feature.input_ids) for feature in features)
    shape = (len(features), width)
    ids, mask, types = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for i, feature in enumerate(features):
        n = len(feature.input_ids)
        ids[i, :n], mask[i, :n], types[i, :n] = feature.input_ids, 1, feature.type_ids
    return {INPUT_IDS: ids, ATTENTION_MASK: mask, TOKEN_TYPE_IDS: types}


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
        specs = specs_by_name(outputs, session.output_specs)
        for at, i in enumerate(chosen):
            n = len(features[i].input_ids)
            results[i] = {name: one_row(specs[name], array, at, n) for name, array in outputs.items()}
        if step:
            step(len(chosen))
    return results


def one_row(spec: OutputSpec, output: np.ndarray, at: int, n_tokens: int) -> np.ndarray:
    """Of an output of a batch, row `at`, cut to its tokens where it has one entry a token."""
    return output[at][:n_tokens] if spec.per_token else output[at]
