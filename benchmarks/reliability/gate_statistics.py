"""What repeated measurements say of the gate: how far a ratio of two of them strays, and how much slower it sees."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

from benchmarks.reliability.gate_repeats import Repeat
from benchmarks.reliability.gate_workbench import Workbench
from edgebert.budget.findings import Subject
from edgebert.budget.limits import LIMITS
from edgebert.budget.settings import Setting
from edgebert.results import ModelResult
from edgebert.verify.growth import compare

CONDITIONS: Mapping[str, Mapping[str, int]] = {
    "own lengths, 1 thread": {},
    "own lengths, 2 threads": {"threads": 2},
    "128 tokens, 1 thread": {"tokens": 128},
    "128 tokens, 2 threads": {"tokens": 128, "threads": 2},
}


def facts(bench: Workbench, good: Sequence[Repeat], slow: Mapping[float, Sequence[Repeat]]) -> dict[str, Any]:
    """Of all ordered pairs of repeats how their ratios scatter and how many the gate fails; and of slowed files how many."""
    subjects = [_subject(bench, item) for item in good]
    whole = [_subject(bench, item) for item in good if len(item.figures[str(bench.report.winner)][0]) > 1]
    return {
        "ratios": {
            name: _ratios(whole if conditions else subjects, conditions) for name, conditions in CONDITIONS.items()
        },
        "load": _read(subjects, _setting("load_percent", 50.0)),
        "memory": _scatter(subjects, _setting("memory_percent", 20.0)),
        "detected": {f"{f:g}": _detected([_subject(bench, item) for item in own], subjects) for f, own in slow.items()},
    }


def _subject(bench: Workbench, item: Repeat) -> Subject:
    return Subject.of(bench.with_figures(bench.report, item.figures))


def _without_clock(subjects: Sequence[Subject]) -> list[Subject]:
    """The same runs without the teacher's file, so that nothing but the two times is compared."""
    return [Subject.of(replace(item.report, teacher=replace(item.report.teacher, artifacts=()))) for item in subjects]


def _as_elsewhere(subjects: Sequence[Subject]) -> list[Subject]:
    """The same runs as if each had been made on another machine: they are read by the teacher's file."""
    reports = [
        replace(item.report, environment={**item.report.environment, "hardware": {"processor": str(k)}})
        for k, item in enumerate(subjects)
    ]
    return [replace(item, report=report) for item, report in zip(subjects, reports, strict=True)]


def _by_wall(subjects: Sequence[Subject]) -> list[Subject]:
    """The same runs as a system would tell them that has no processor times."""

    def of(model: ModelResult) -> ModelResult:
        files = tuple(
            replace(
                file,
                latencies=tuple(replace(item, cpu=None) for item in file.latencies),
                footprint=file.footprint and replace(file.footprint, load_cpu_ms=None),
            )
            for file in model.artifacts
        )
        return replace(model, artifacts=files)

    reports = [item.report for item in subjects]
    return [Subject.of(replace(r, teacher=of(r.teacher), students=tuple(map(of, r.students)))) for r in reports]


READINGS: Mapping[str, Callable[[Sequence[Subject]], Sequence[Subject]]] = {
    "processor time": _without_clock,
    "processor time, the teacher's file as clock": _as_elsewhere,
    "processor time, the least of both (the rule)": lambda subjects: subjects,
    "wall clock": lambda subjects: _without_clock(_by_wall(subjects)),
    "wall clock, the teacher's file as clock": lambda subjects: _as_elsewhere(_by_wall(subjects)),
    "wall clock, the least of both": _by_wall,
}


def _setting(name: str, bound: float, **conditions: int) -> Setting:
    limit = next(limit for limit in LIMITS if limit.name == name)
    return Setting(limit, bound, "here", **conditions)  # type: ignore[arg-type]


def _ratios(subjects: Sequence[Subject], conditions: Mapping[str, int]) -> dict[str, Any]:
    return _read(subjects, _setting("latency_percent", 10.0, **conditions))


def _read(subjects: Sequence[Subject], setting: Setting) -> dict[str, Any]:
    """By processor time and by the wall clock, with the teacher's file as clock and without."""
    return {name: _scatter(change(subjects), setting) for name, change in READINGS.items()}


def _scatter(subjects: Sequence[Subject], setting: Setting) -> dict[str, Any]:
    findings = [compare(new, old, setting) for new, old in permutations(subjects, 2)]
    logs = [math.log1p((item.value or 0.0) / 100) for item in findings]
    return {
        "pairs": len(findings),
        "deviation": round(math.exp(statistics.pstdev(logs)), 4),
        "p95": round(math.exp(sorted(map(abs, logs))[int(0.95 * len(logs))]), 3),
        "largest": round(math.exp(max(logs)), 3),
        "failed": sum(item.outcome == "failed" for item in findings),
    }


def _detected(slow: Sequence[Subject], good: Sequence[Subject]) -> dict[str, Any]:
    """Slowed files against every repeat of the good one."""
    setting = _setting("latency_percent", 10.0)
    findings = [compare(new, old, setting) for new in slow for old in good]
    values = sorted(1 + (item.value or 0.0) / 100 for item in findings)
    return {
        "pairs": len(findings),
        "failed": sum(item.outcome == "failed" for item in findings),
        "median_ratio": round(statistics.median(values), 3),
    }
