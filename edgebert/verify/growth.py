"""A run against a baseline: what grew, and by more than chance.

Scores are compared row by row (`edgebert.verify.paired`). A time is compared as the ratio of two measurements that were
made at different moments, perhaps on different machines, so three things are done about it. Processor times are compared
where both runs have them: with other work on the machine a latency grows, that of a slow file more than that of a fast one.
The teacher's float32 ONNX file was timed in turns with each of the two: where it is the same work in both runs, it is a
clock by which both can be read, and must be where the hardware differs. On equal hardware a time has grown where it has by
both readings: beside other work the larger file suffers more than the student's, and on a machine that as a whole was slower
it tells so. And a ratio counts only as far as the spread of the measurements that it is made of does not explain it. What
each of these is worth: benchmarks/reliability/gate_runs.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from edgebert.budget.limits import HERE, PREDICTED
from edgebert.budget.settings import Setting
from edgebert.cost.analytic import predict_memory_bytes
from edgebert.results import Report, RowOutcomes
from edgebert.types import Footprint, Latency
from edgebert.verify.paired import PairedTest, compare_labels, compare_scores

SIGNIFICANT = 0.05  # two-sided
DEVIATIONS = 2.0  # of a ratio's logarithm, that noise is taken to explain
LEAST_SPREAD = 0.01  # of a measured time, where its own is smaller or unknown it is never taken for less
UNKNOWN_SPREAD = 0.05  # of a time measured by an edgebert that did not keep its spread
# Of the processor time of loading, which is measured once: 16 loads on two cores that 15 to 24 processes used, each over the
# teacher's file's, strayed by a factor of 1.38 from pair to pair, and by 2.6 at most.
LOAD_CPU_SPREAD = 0.17
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
    facts = Finding(setting.name, limit.title, "passed", bound=setting.bound, unit=limit.unit)
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
        what = f"no label has {setting.rows} test rows or more: set rows lower"
        raise MissingFigure(what if tests else f"{after.metric} has no part of each label: leave this limit out")
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
    drop = -100 * test.difference + 0.0  # and never -0
    how = f"{test.test} over {test.n:,} rows, {test.changed:,} changed, p = {test.p:.2g}, 95 % interval "
    how += f"{-100 * test.high + 0.0:+.2f} to {-100 * test.low + 0.0:+.2f} points"
    if drop <= setting.bound:
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
    how = f"{before.p50_ms:.3g} to {after.p50_ms:.3g} ms ({of_latency(after)})"
    if after.how == PREDICTED:
        return _of_ratio(Ratio(after.p50_ms / before.p50_ms, 1.0, how), setting, facts)
    clock = _clock(old, new, before, after)
    by_cpu = all(item.cpu for pair in ((before, after), clock or ()) for item in pair)
    own = _ratio(_readings((before, after), by_cpu))
    if by_cpu and before.cpu and after.cpu:
        how = f"processor time {before.cpu.p50_ms:.3g} to {after.cpu.p50_ms:.3g} ms, {how}"
    drift = _ratio(_readings(clock, by_cpu)) if clock else None
    return _of_ratio(_least(replace(own, how=how), drift, old, new, before.called), setting, facts)


def _ratio(readings: Sequence[tuple[float, float]]) -> Ratio:
    """Of two times, each with its spread."""
    (a, first), (b, second) = readings
    return Ratio(b / a, noise(first, second), "")


def _least(own: Ratio, drift: Ratio | None, old: Subject, new: Subject, called: str) -> Ratio:
    """How much a time has grown at least: as it is, and as the teacher's file as clock reads it, which alone counts where the
    hardware differs. A device that was measured through a target (`called`) is the same one: that was checked.

    Neither reading is better everywhere: of 2,450 pairs of repeats of one file, processor time alone failed 71 on an AMD EPYC
    and 6 on a busy Intel Xeon, and with the clock 1 and 73 failed.
    """
    if drift is None:
        return own
    told = f"{own.how}; the teacher's file, timed in turns with each, took {drift.value:.2f} times as long"
    both = math.exp(math.hypot(math.log(own.noise), math.log(drift.noise)))
    clocked = Ratio(own.value / drift.value, both, told)
    if not called and hardware_of(old.report) != hardware_of(new.report):
        return clocked
    return min(replace(own, how=told), clocked, key=lambda ratio: ratio.value / ratio.noise)


def _readings(pair: Iterable[Latency], by_cpu: bool) -> list[tuple[float, float]]:
    """The time of each and its spread: processor time where all have it, which other work on the machine hardly moves."""
    results = []
    for item in pair:
        p50, spread = (item.cpu.p50_ms, item.cpu.spread) if by_cpu and item.cpu else (item.p50_ms, item.spread)
        results.append((p50, max(LEAST_SPREAD, UNKNOWN_SPREAD if spread is None else spread)))
    return results


def _check_conditions(before: Latency, after: Latency) -> None:
    """Raises MissingFigure where two latencies were not taken alike. At the rows' own lengths two tokenizers may make other
    numbers of tokens of the same rows: that is part of what the student costs."""
    tokens = ("seq_len",) if after.lengths == "fixed" else ()
    for name in ("how", "device", "called", "threads", "lengths", "statistic", *tokens):
        a, b = getattr(before, name), getattr(after, name)
        if a != b:
            raise MissingFigure(f"the latencies cannot be compared: {name} was {a!r} in the baseline and is {b!r}")


def _clock(old: Subject, new: Subject, before: Latency, after: Latency) -> tuple[Latency, Latency] | None:
    """The teacher's file as it was timed beside each of the two; None where it was not, or is not the same work."""
    a, b = _yardstick(old, before), _yardstick(new, after)
    if a is None or b is None or (a.seq_len, a.runtime_version) != (b.seq_len, b.runtime_version):
        return None
    return (a, b) if _same_teacher(old, new) else None


def _yardstick(subject: Subject, of: Latency) -> Latency | None:
    """The teacher's file timed under the same conditions in the same run. It may read other tokens than the student."""
    same = ("how", "device", "called", "threads", "lengths", *(("seq_len",) if of.lengths == "fixed" else ()))
    for file in subject.report.teacher.artifacts:
        if (file.artifact.format, file.artifact.precision) == YARDSTICK:
            for item in file.latencies:
                if all(getattr(item, name) == getattr(of, name) for name in same):
                    return item
    return None


def versions_of(report: Report) -> Mapping[str, object]:
    """Of the libraries that made a run; none where it does not tell them."""
    versions = report.environment.get("versions")
    return versions if isinstance(versions, Mapping) else {}


def hardware_of(report: Report) -> Mapping[str, object]:
    """What the speed of a run's machine depends on: processor, its instructions, usable cores. Neither the system's version
    nor the memory, of which a kernel keeps some for itself."""
    found = report.environment.get("hardware")
    names = ("processor", "instructions", "cores")
    return {name: found.get(name) for name in names} if isinstance(found, Mapping) else {}


def noise(*spreads: float) -> float:
    """The factor that chance explains of a ratio whose parts have these spreads."""
    return math.exp(DEVIATIONS * math.sqrt(sum(math.log1p(spread) ** 2 for spread in spreads)))


def _load(new: Subject, old: Subject, setting: Setting, facts: Finding) -> Finding:
    """As a latency's growth, with the time that the teacher's file took to load in each run as clock."""
    before, after = (find_footprint(subject, setting) for subject in (old, new))
    clock = [cost for subject in (old, new) if (cost := _yardstick_cost(subject, setting))]
    pairs = [(before, after), *([(clock[0], clock[1])] if len(clock) == 2 and _same_teacher(old, new) else [])]
    by_cpu = all(item.load_cpu_ms for pair in pairs for item in pair)
    spread = LOAD_CPU_SPREAD if by_cpu else LOAD_SPREAD
    times = [[item.load_cpu_ms if by_cpu and item.load_cpu_ms else item.load_ms for item in pair] for pair in pairs]
    own, *drift = (_ratio([(time, spread) for time in pair]) for pair in times)
    how = f"{'processor time ' if by_cpu else ''}{times[0][0]:.3g} to {times[0][1]:.3g} ms, one load each"
    least = _least(replace(own, how=how), drift[0] if drift else None, old, new, before.called)
    return _of_ratio(least, setting, facts)


def _yardstick_cost(subject: Subject, setting: Setting) -> Footprint | None:
    """What loading the teacher's file cost in the same run, in the same place."""
    for file in subject.report.teacher.artifacts:
        if (file.artifact.format, file.artifact.precision) == YARDSTICK:
            return file.footprint if setting.on == HERE else file.device_footprint
    return None


def _same_teacher(old: Subject, new: Subject) -> bool:
    """Whether the teachers are the same work, in size and shape."""
    a, b = ((t.n_layers, t.n_parameters, t.vocab_size) for t in (old.report.teacher, new.report.teacher))
    return a == b


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
