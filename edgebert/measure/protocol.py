"""The measuring protocol inside a process, on sessions that are open already: what benchmarks use.

The loop is `edgebert.measure.runner.take_turns`, which every target runs: files and the teacher take turns in blocks,
so that a machine that slows down slows all of them. Inputs are real rows, evenly spread over the sorted lengths, so
that p50 is the latency at the median length; and one input of 128 tokens, made of the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgebert.measure.runner import Turn, take_turns
from edgebert.runtime.batching import pad_batch
from edgebert.runtime.session import Runner
from edgebert.runtime.specs import INPUT_IDS
from edgebert.types import Feature, Latency

MIN_RUNS = 50
FIXED_LENGTH = 128

Batch = Mapping[str, np.ndarray]


@dataclass
class Entry:
    """One thing to time: a name, a session, and its inputs (batch 1 each)."""

    name: str
    session: Runner
    batches: Sequence[Batch]
    times_ms: list[float] = field(default_factory=list)


def interleave(entries: Sequence[Entry], n_runs: int = MIN_RUNS, step: Callable[[], None] | None = None) -> None:
    """Times every entry `n_runs` times, in whole blocks and in turns; fills `times_ms`."""
    turns = [Turn(_runs(entry), len(entry.batches), entry.times_ms) for entry in entries]
    take_turns(turns, min_runs=n_runs, step=step)


def _runs(entry: Entry) -> Callable[[int], object]:
    run, batches = entry.session.run, entry.batches
    return lambda index: run(batches[index])


def latency(entry: Entry, *, device: str, threads: int, lengths: str) -> Latency:
    """The entry's times as a measured Latency."""
    tokens = [batch[INPUT_IDS].shape[1] for batch in entry.batches]
    return Latency(
        how="measured",
        device=device,
        runtime=entry.session.runtime,
        runtime_version=entry.session.runtime_version,
        threads=threads,
        seq_len=int(np.median(tokens)),
        batch=1,
        p50_ms=round(float(np.percentile(entry.times_ms, 50)), 4),
        p90_ms=round(float(np.percentile(entry.times_ms, 90)), 4),
        lengths="data" if lengths == "data" else "fixed",
        n_runs=len(entry.times_ms),
    )


def spread_by_length(features: Sequence[Feature], n: int = MIN_RUNS) -> list[int]:
    """Indices of `n` features (or all), evenly spread over the sorted lengths, in a fixed shuffled order."""
    order = sorted(range(len(features)), key=lambda i: (len(features[i].input_ids), i))
    n = min(n, len(order))
    chosen = [order[int((k + 0.5) * len(order) / n)] for k in range(n)]
    return [chosen[i] for i in np.random.default_rng(0).permutation(n)]


def fixed_length(features: Sequence[Feature], n_tokens: int = FIXED_LENGTH) -> Batch:
    """One input of exactly `n_tokens`: the first feature's special tokens around real tokens of as many as it takes."""
    first = features[0].input_ids
    body = [token for feature in features for token in feature.input_ids[1:-1]]
    body = (body * (n_tokens // max(1, len(body)) + 1))[: max(0, n_tokens - 2)]
    ids = (first[0], *body, first[-1])[:n_tokens]
    return pad_batch([Feature(0, ids, (0,) * n_tokens, (-1,) * n_tokens)])
