"""Figures from raw times: what one file took on one target, and what padding costs. In one place, for every target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgebert.devices.machine import SHARED_FROM
from edgebert.measure.inputs import Inputs
from edgebert.measure.runner import is_stable, quiet_p50, spread
from edgebert.measure.targets import File, Job, MeasurementRecord, Outcome
from edgebert.results import EngineProof
from edgebert.types import QUIETEST, CpuTime, Footprint, How, Latency, Padding

STATISTIC = (
    "p50 is that of the quietest tenth of blocks (edgebert.measure.runner.quiet_p50); "
    "p50_all, p90 and p99 are of all timed runs"
)
Lengths = Literal["data", "fixed"]


# The least spread of a time beside another process that keeps a core busy. Processor time counts the instructions of a core's
# other thread as one's own wait: one of 50 repeats of a p50 of 0.59 ms was 1.07 ms beside two processes that computed, and its
# blocks agreed (AMD EPYC, two threads of a core, 2026-11-30).
BESIDE = 0.4


@dataclass(frozen=True)
class Measured:
    """One file on one target at one kind of lengths. Times in ms; 0 runs and a `failure` where there is nothing."""

    file: str
    path: Path
    target: str  # as it was asked for
    device: str  # as it calls itself
    how: How
    runtime: str
    runtime_version: str
    threads: int
    cores: tuple[int, ...]
    lengths: Lengths
    n_tokens: tuple[int, ...]  # of each input
    inputs: str  # where they come from
    n_runs: int = 0
    stable: bool = False
    p50_ms: float | None = None  # of the quietest tenth of blocks, see STATISTIC
    p50_all_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    load_ms: float | None = None
    first_run_ms: float | None = None
    peak_memory_bytes: int | None = None
    instructions: int | None = None  # of one inference
    compared: int = 0  # inputs whose outputs were held against a run here
    max_difference: float | None = None
    equal_predictions: float | None = None  # share, 0 to 1
    failure: str = ""
    times_ms: tuple[float, ...] = ()
    statistic: str = QUIETEST  # of p50_ms
    spread: float | None = None  # of p50_ms, as a share of it
    cpu: CpuTime | None = None  # processor time, by the same statistics
    load_cpu_ms: float | None = None

    @property
    def seq_len(self) -> int:
        """Median tokens of the inputs."""
        return int(np.median(self.n_tokens))


@dataclass(frozen=True)
class Measurement:
    results: tuple[Measured, ...]
    padding: tuple[Padding, ...]
    facts: Mapping[str, Mapping[str, Any]]  # of each target: system, clock, temperature, runtimes
    failures: Mapping[str, str]  # of targets that gave nothing
    notes: tuple[str, ...]
    created: str
    statistic: str = STATISTIC
    engines: tuple[EngineProof, ...] = ()  # whether the targets' engines may be used with the files

    @property
    def exit_code(self) -> int:
        """2 where something that was asked for was not measured or not judged; 1 where an engine's answers are wrong."""
        if self.failures or any(result.failure for result in self.results) or any(p.undecided for p in self.engines):
            return 2
        return 1 if any(proof.failures for proof in self.engines) else 0


def measured(file: File, result: MeasurementRecord, outcome: Outcome, on: str, job: Job, inputs: Inputs) -> Measured:
    """Figures from a file's raw times."""
    times, ran, n_inputs = result.times_ms, bool(result.times_ms), len(inputs.rows)
    beside = BESIDE * min(1.0, outcome.others) if outcome.others >= SHARED_FROM else 0.0
    loaded = result.load_ms > 0
    return Measured(
        file=file.name,
        path=file.path,
        target=on,
        device=outcome.device,
        how=outcome.how,
        runtime=result.runtime,
        runtime_version=result.runtime_version,
        threads=file.threads or job.threads,
        cores=job.cores,
        lengths=inputs.lengths,
        n_tokens=tuple(inputs.n_tokens),
        inputs=inputs.origin,
        n_runs=len(times),
        stable=ran and is_stable(times, n_inputs),
        p50_ms=round(quiet_p50(times, n_inputs), 4) if ran else None,
        p50_all_ms=_percentile(times, 50),
        p90_ms=_percentile(times, 90),
        p99_ms=_percentile(times, 99),
        load_ms=result.load_ms if loaded else None,
        first_run_ms=result.first_run_ms if loaded else None,
        peak_memory_bytes=result.peak_memory_bytes,
        instructions=result.instructions,
        failure=result.failure,
        times_ms=tuple(times),
        spread=_spread(times, n_inputs, beside) if ran else None,
        cpu=_cpu_time(result.cpu_ms, n_inputs, beside),
        load_cpu_ms=result.load_cpu_ms,
    )


def _cpu_time(times_ms: Sequence[float], n_inputs: int, beside: float) -> CpuTime | None:
    """None where the system does not tell it, or told none."""
    if not times_ms or not min(times_ms) > 0:
        return None
    p50, p90 = quiet_p50(times_ms, n_inputs), float(np.percentile(times_ms, 90))
    return CpuTime(round(p50, 4), round(p90, 4), _spread(times_ms, n_inputs, beside))


def _spread(times_ms: Sequence[float], n_inputs: int, beside: float) -> float | None:
    """None where the times do not tell it and nobody else computed."""
    own = spread(times_ms, n_inputs)
    return round(max(own or 0.0, beside), 5) if own is not None or beside else None


def _percentile(times: Sequence[float], share: float) -> float | None:
    return round(float(np.percentile(times, share)), 4) if times else None


def as_latency(item: Measured, device: str) -> Latency:
    """What was measured as a Latency of this device; it must have been."""
    assert item.p50_ms is not None, "as_latency is for what was measured"
    return Latency(
        how=item.how,
        device=device,
        runtime=item.runtime,
        runtime_version=item.runtime_version,
        threads=item.threads,
        seq_len=item.seq_len,
        batch=1,
        p50_ms=item.p50_ms,
        lengths=item.lengths,
        p90_ms=item.p90_ms,
        n_runs=item.n_runs,
        called=item.device,
        statistic=item.statistic,
        spread=item.spread,
        cpu=item.cpu,
    )


def as_footprint(item: Measured, called: str = "") -> Footprint | None:
    """What loading the file cost; None where the target does not tell all of it."""
    if item.load_ms is None or item.first_run_ms is None or item.peak_memory_bytes is None:
        return None
    return Footprint(
        item.load_ms, item.first_run_ms, item.peak_memory_bytes, item.runtime, item.runtime_version, called=called,
        load_cpu_ms=item.load_cpu_ms,
    )  # fmt: skip


def padding_of(timed: Sequence[tuple[str, Latency]]) -> list[Padding]:
    """For each file (name, latency) that was timed at its own lengths and at a fixed one under equal conditions."""

    def conditions(file: str, at: Latency) -> tuple[object, ...]:
        return file, at.device, at.called, at.how, at.runtime, at.runtime_version, at.threads, at.statistic

    fixed = {conditions(file, at): at for file, at in timed if at.lengths == "fixed"}
    return [
        Padding(
            file=file,
            target=own.device,
            how=own.how,
            own_tokens=own.seq_len,
            own_ms=own.p50_ms,
            fixed_tokens=at.seq_len,
            fixed_ms=at.p50_ms,
            factor=round(at.p50_ms / own.p50_ms, 3),
            runtime=own.runtime,
            runtime_version=own.runtime_version,
            threads=own.threads,
            called=own.called,
        )
        for file, own in timed
        if own.lengths == "data" and own.p50_ms and (at := fixed.get(conditions(file, own)))
    ]
