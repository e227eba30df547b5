"""A run against a baseline: what grew, and by more than chance.

Scores are compared row by row (`edgebert.verify.paired`). A time is compared as the ratio of two measurements that were
made at different moments, perhaps on different machines, so two things are done about it. The teacher's float32 ONNX file
was timed in turns with each of the two files: where it has the same shape in both runs, it is the clock by which both
are read. And a ratio counts only as far as the spread of the measurements that it is made of does not explain it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edgebert.budget.findings import (
    Finding,
    MissingFigure,
    Subject,
    Value,
    find_footprint,
    find_latency,
    of_latency,
    over,
)
from edgebert.budget.limits import PREDICTED
from edgebert.budget.settings import Setting
from edgebert.cost.analytic import predict_memory_bytes
from edgebert.results import Report, RowOutcomes
from edgebert.types import Latency
from edgebert.verify.paired import PairedTest, compare_labels, compare_scores

SIGNIFICANT = 0.05  # two-sided
DEVIATIONS = 2.0  # of a ratio's logarithm, that noise is taken to explain
LEAST_SPREAD = 0.01  # of a measured time, where its own is smaller or unknown it is never taken for less
UNKNOWN_SPREAD = 0.05  # of a time measured by an edgebert that did not keep its spread
LOAD_SPREAD = 0.25  # of the time to load, which is measured once
MEMORY_SPREAD = 0.02  # of a peak of memory, which is measured once
YARDSTICK = ("onnx", "fp32")  # the teacher's file that every run times


@dataclass(frozen=True)
class Ratio:
    """New over old, and how far chance may have moved it: a factor, 1 or more."""

    value: float
    noise: float
    how: str


def compare(new: Subject, old: Subject, setting: Setting) -> Finding:
    """What a setting of [growth] says of a run against the baseline."""
    limit = setting.limit
    facts = Finding(limit.name, limit.title, "passed", bound=setting.bound, unit=limit.unit)
    try:
        return COMPARISONS[limit.name](new, old, setting, facts)
    except MissingFigure as missing:
        return replace(facts, outcome="missing", reason=str(missing))


# ---------------------------------------------------------------- scores


def _score(new: Subject, old: Subject, setting: Setting, facts: Finding) -> Finding:
    return _of_test(compare_scores(*_outcomes(new, old)), setting, facts)


def _labels(new: Subject, old: Subject, setting: Setting, facts: Finding) -> Finding:
    before, after = _outcomes(new, old)
    tests = compare_labels(before, after)
    enough = {name: test for name, test in tests.items() if test.n >= setting.rows}
    if not enough:
        raise MissingFigure(f"no label has {setting.rows} test rows or more: set rows lower")
    judged = {name: _of_test(test, setting, facts, f"label {name}") for name, test in enough.items()}
    failed = {name: finding for name, finding in judged.items() if finding.outcome == "failed"}
    name = max(failed or judged, key=lambda item: -enough[item].difference)
    result = judged[name]
    others = [item for item in failed if item != name]
    more = f"; also {', '.join(sorted(others))}" if others else ""
    return replace(result, how=f"{result.how}, {len(enough)} labels, Holm's correction", reason=result.reason + more)


def _outcomes(new: Subject, old: Subject) -> tuple[RowOutcomes, RowOutcomes]:
    """Of the baseline and of the run."""
    for name, subject in (("the baseline", old), ("the run", new)):
        if subject.file.outcomes is None:
            what = (
                f"{name} keeps no outcome of each test row: an older edgebert made it, or its task does not tell them"
            )
            raise MissingFigure(f"{what}. Its fit command, given again, makes them without training")
    assert old.file.outcomes and new.file.outcomes
    return old.file.outcomes, new.file.outcomes


def _of_test(test: PairedTest, setting: Setting, facts: Finding, of: str = "") -> Finding:
    """Failed where the drop is over the limit and not explained by chance."""
    drop = -100 * test.difference
    how = f"{test.test} over {test.n:,} rows, {test.changed:,} changed, p = {test.p:.2g}, 95 % interval "
    how += f"{-100 * test.high:+.2f} to {-100 * test.low:+.2f} points"
    if drop <= setting.bound or (drop <= 0):
        return replace(facts, value=drop, how=how)
    if test.p >= SIGNIFICANT:
        reason = f"{of + ': ' if of else ''}a drop of {drop:.2f} points that chance explains (p = {test.p:.2g})"
        return replace(facts, value=drop, how=how, reason=reason)
    return replace(facts, outcome="failed", value=drop, how=how, reason=over(setting, Value(drop, how, of)))


# ---------------------------------------------------------------- sizes, times, memory


def _size(new: Subject, old: Subject, setting: Setting, facts: Finding) -> Finding:
    a, b = (subject.file.artifact.size_bytes for subject in (old, new))
    return _of_ratio(Ratio(b / a, 1.0, f"{a / 1e6:.2f} to {b / 1e6:.2f} MB"), setting, facts)


def _latency(new: Subject, old: Subject, setting: Setting, facts: Finding) -> Finding:
    before, after = (find_latency(subject, setting) for subject in (old, new))
    _check_conditions(before, after)
    ratio = Ratio(
        after.p50_ms / before.p50_ms,
        noise(_spread(before), _spread(after)) if after.how != "predicted" else 1.0,
        f"{before.p50_ms:.3g} to {after.p50_ms:.3g} ms ({of_latency(after)})",
    )
    a, b = _yardstick(old, before), _yardstick(new, after)
    if a and b and _same_clock(old, new):
        drift = b.p50_ms / a.p50_ms
        ratio = Ratio(
            ratio.value / drift,
            noise(*(_spread(item) for item in (before, after, a, b))),
            f"{ratio.how}; the teacher's file, timed in turns with each, took {drift:.2f} times as long",
        )
    return _of_ratio(ratio, setting, facts)


def _check_conditions(before: Latency, after: Latency) -> None:
    """Raises MissingFigure where two latencies were not taken alike."""
    for name in ("how", "device", "called", "threads", "lengths", "seq_len", "statistic"):
        a, b = getattr(before, name), getattr(after, name)
        if a != b:
            raise MissingFigure(f"the latencies cannot be compared: {name} was {a!r} in the baseline and is {b!r}")


def _yardstick(subject: Subject, of: Latency) -> Latency | None:
    """The teacher's file timed under the same conditions in the same run."""
    for file in subject.report.teacher.artifacts:
        if (file.artifact.format, file.artifact.precision) == YARDSTICK:
            for item in file.latencies:
                if all(
                    getattr(item, k) == getattr(of, k)
                    for k in ("how", "device", "called", "threads", "lengths", "seq_len")
                ):
                    return item
    return None


def _same_clock(old: Subject, new: Subject) -> bool:
    """Whether the teachers cost the same: equal shapes, in the same version of their runtime."""
    a, b = old.report, new.report
    shapes = [(item.teacher.n_layers, item.teacher.n_parameters, item.teacher.vocab_size) for item in (a, b)]
    versions = [versions_of(item).get("onnxruntime") for item in (a, b)]
    return shapes[0] == shapes[1] and versions[0] == versions[1]


def versions_of(report: Report) -> Mapping[str, object]:
    """Of the libraries that made a run; none where it does not tell them."""
    versions = report.environment.get("versions")
    return versions if isinstance(versions, Mapping) else {}


def _spread(latency: Latency) -> float:
    return max(LEAST_SPREAD, UNKNOWN_SPREAD if latency.spread is None else latency.spread)


def noise(*spreads: float) -> float:
    """The factor that chance explains of a ratio whose parts have these spreads."""
    return math.exp(DEVIATIONS * math.sqrt(sum(math.log1p(spread) ** 2 for spread in spreads)))


def _load(new: Subject, old: Subject, setting: Setting, facts: Finding) -> Finding:
    a, b = (find_footprint(subject, setting).load_ms for subject in (old, new))
    how = f"{a:.3g} to {b:.3g} ms, one load each"
    return _of_ratio(Ratio(b / a, noise(LOAD_SPREAD, LOAD_SPREAD), how), setting, facts)


def _memory(new: Subject, old: Subject, setting: Setting, facts: Finding) -> Finding:
    if setting.on == PREDICTED:
        a, b = (float(predict_memory_bytes(subject.file.artifact.size_bytes)) for subject in (old, new))
        return _of_ratio(Ratio(b / a, 1.0, "predicted from the files' sizes"), setting, facts)
    a, b = (float(find_footprint(subject, setting).peak_memory_bytes) for subject in (old, new))
    how = f"{a / 1e6:.1f} to {b / 1e6:.1f} MB, one load each"
    return _of_ratio(Ratio(b / a, noise(MEMORY_SPREAD, MEMORY_SPREAD), how), setting, facts)


def _of_ratio(ratio: Ratio, setting: Setting, facts: Finding) -> Finding:
    """Failed where the growth is over the limit by more than the noise explains."""
    growth, allowed = 100 * (ratio.value - 1), 1 + setting.bound / 100
    how = ratio.how if ratio.noise <= 1 else f"{ratio.how}; noise explains a factor of {ratio.noise:.2f}"
    result = replace(facts, value=growth, how=how)
    if ratio.value <= allowed:
        return result
    if ratio.value <= allowed * ratio.noise:
        least = 100 * (allowed * ratio.noise - 1)
        reason = f"a growth of {growth:.1f} % that the noise explains: from {least:.0f} % on it would count"
        return replace(result, reason=reason)
    return replace(result, outcome="failed", reason=over(setting, Value(growth, how)))


COMPARISONS: Mapping[str, Callable[[Subject, Subject, Setting, Finding], Finding]] = {
    "score_points": _score,
    "label_points": _labels,
    "size_percent": _size,
    "latency_percent": _latency,
    "load_percent": _load,
    "memory_percent": _memory,
}
