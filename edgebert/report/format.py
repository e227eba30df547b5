"""How every number of a report is written: one function a kind of number, for page, picture and table."""

from __future__ import annotations

from collections.abc import Iterable

from edgebert.results import EngineProof
from edgebert.types import Latency, Padding, Score

NONE = "—"


def percent(share: float | None, decimals: int = 1) -> str:
    """0.9512 -> '95.1'."""
    return NONE if share is None else f"{100 * share:.{decimals}f}"


def points(difference: float, decimals: int = 2) -> str:
    """A difference of two shares in points of the metric: -0.0034 -> '−0.34'; a rounded zero has no sign."""
    rounded = round(100 * difference, decimals)
    return (f"{rounded:+.{decimals}f}" if rounded else f"{0:.{decimals}f}").replace("-", "−")


def megabytes(size_bytes: int) -> str:
    """MB of 10^6 bytes: 5_123_456 -> '5.12 MB', 90_900_000 -> '90.9 MB'."""
    return f"{_three_digits(size_bytes / 1e6)} MB"


def milliseconds(value: float | None) -> str:
    """Three significant digits: 2.8312 -> '2.83', 22.51 -> '22.5', 431.7 -> '432'."""
    return NONE if value is None else _three_digits(value)


def interval(latency: Latency) -> str:
    """The bounds of a prediction: '2.9–6.0', or nothing when it has none."""
    if latency.low_ms is None or latency.high_ms is None:
        return ""
    return f"{_three_digits(latency.low_ms)}–{_three_digits(latency.high_ms)}"


def prediction(latency: Latency) -> str:
    """A predicted latency never stands without the word: 'predicted 4.10 (2.90–6.00)'."""
    bounds = interval(latency)
    return f"{latency.how} {_three_digits(latency.p50_ms)}" + (f" ({bounds})" if bounds else "")


def times(ratio: float) -> str:
    """8.04 -> '8.0×'; from 100 on without decimals."""
    return f"{ratio:.0f}×" if ratio >= 99.95 else f"{ratio:.1f}×"


def count(value: int) -> str:
    """22700000 -> '22,700,000'."""
    return f"{value:,}"


def difference(value: float) -> str:
    """A worst logit difference, two significant digits: 3.2e-06 -> '3.2e-06', 0.4567 -> '0.46'."""
    return f"{value:.2g}"


def score_basis(score: Score) -> str:
    """What a score was computed on: 'strict entity F1, test, n = 893'."""
    return f"{score.metric}, {score.split}, n = {count(score.n)}"


def padding(pad: Padding) -> str:
    """What padding costs, in a sentence that says how it was found."""
    where = {"here": "this machine", "this-machine": "this machine"}.get(pad.target, pad.called or pad.target)
    times_ms = f"{_three_digits(pad.fixed_ms)} ms against {_three_digits(pad.own_ms)} ms"
    own = f"at own lengths, median {pad.own_tokens} tokens"
    how = f"{pad.how} on {where}, {_runtime(pad.runtime, pad.runtime_version)}, {threads(pad.threads)}"
    return f"padded to {pad.fixed_tokens} tokens a text takes {pad.factor:.1f} times as long ({times_ms} {own}; {how})"


def engine(proof: EngineProof) -> str:
    """Whether an engine may be used with a file, and on what that stands, in a sentence."""
    where = ", ".join(filter(None, (proof.device, proof.adapter, _runtime(proof.runtime, proof.runtime_version))))
    place = "" if proof.undecided else f" ({proof.how}: {where})"
    if proof.failures:
        ran = "was not judged by" if proof.undecided else "must not be used with"
        return f"{proof.file} {ran} {proof.engine}{place}: {'; '.join(proof.failures)}"
    assert proof.parity is not None, "what passed was compared"
    own, here = proof.parity.score, proof.parity.reference_score
    return (
        f"{proof.file} may be used with {proof.engine}{place}: {percent(own.value, 2)} % ({score_basis(own)}; "
        f"{percent(here.value, 2)} % here), {percent(proof.parity.equal_predictions, 2)} % of its answers are this machine's, "
        f"largest difference {proof.parity.max_logit_difference:.2g}"
    )


def threads(n: int) -> str:
    """1 -> '1 thread', 0 -> 'all cores'."""
    return "all cores" if n == 0 else f"{n} thread{'' if n == 1 else 's'}"


def latency_basis(latency: Latency) -> str:
    """How a latency was obtained: 'measured, onnxruntime 1.20, 1 thread, batch 1, 128 tokens, 50 runs, p50: median of
    all runs'."""
    return _basis(latency, f"{count(latency.n_runs)} runs" if latency.n_runs else "")


def latency_bases(latencies: Iterable[Latency]) -> list[str]:
    """`latency_basis` of all, once each: where only the numbers of runs differ, from the least to the greatest."""
    groups: dict[str, list[Latency]] = {}
    for latency in latencies:
        groups.setdefault(_basis(latency, ""), []).append(latency)
    results = []
    for same in groups.values():
        least, most = min(item.n_runs for item in same), max(item.n_runs for item in same)
        runs = f"{count(least)} to {count(most)} runs" if least < most else f"{count(most)} runs" if most else ""
        results.append(_basis(same[0], runs))
    return results


def _basis(latency: Latency, runs: str) -> str:
    how = f"{latency.how} on {latency.called}" if latency.called else latency.how
    length = f"{latency.seq_len} tokens"
    if latency.lengths == "data":
        length = f"data lengths (median {length})"
    runtime = _runtime(latency.runtime, latency.runtime_version)
    parts = [how, runtime, threads(latency.threads), f"batch {latency.batch}", length]
    return ", ".join([*parts, *([runs] if runs else []), f"p50: {latency.statistic}"])


def _runtime(name: str, version: str) -> str:
    return f"{name} {version}".strip()


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
