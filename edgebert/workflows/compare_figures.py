"""What the compared files cost, side by side, and what they were made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebert.files import digest, portable
from edgebert.report.comparison import ComparedFile, Figure
from edgebert.report.view import Entry
from edgebert.results import Report
from edgebert.types import Footprint, Latency
from edgebert.workflows.recipe import recipe_text

TOLD_ELSEWHERE = {"run", "device", "task", "seed", "effort"}  # of a request: where it went, and what the report says
NOT_THERE, NOT_GIVEN = "—", "not given"
ASKED = "asked for: "


def compared_file(spec: str, title: str, run: Path, report: Report, entry: Entry) -> ComparedFile:
    """A file of a report, with what it was made of."""
    assert entry.artifact is not None and entry.result is not None
    hardware = report.environment.get("hardware")
    return ComparedFile(
        run=spec,
        name=entry.name,
        title=title,
        format=entry.artifact.format,
        precision=entry.artifact.precision,
        packaged=entry.packaged,
        sha256=entry.artifact.sha256,
        size_bytes=entry.artifact.size_bytes,
        score=entry.score,
        latencies=entry.latencies,
        footprint=entry.result.footprint,
        device_footprint=entry.result.device_footprint,
        machine=_machine(hardware if isinstance(hardware, Mapping) else {}),
        facts=dict(_facts(report, entry, _request(run))),
        command=report.command,
    )


# ---------------------------------------------------------------- figures


def figures(files: Sequence[ComparedFile]) -> tuple[Figure, ...]:
    """Size, latencies, load time and memory: a ratio only where the conditions are the same."""
    sizes = tuple(float(file.size_bytes) for file in files)
    nothing: tuple[None, ...] = (None,) * len(files)
    results = [Figure("size", "bytes", sizes, _ratios(sizes), ("",) * len(files), nothing)]
    kinds = dict.fromkeys(_condition(latency) for file in files for latency in file.latencies)
    for kind in sorted(kinds, key=lambda kind: ("here", "target", "predicted").index(kind[0])):
        results.append(_latency_figure(kind, files))
    for place, of in (("here", "footprint"), ("on the target", "device_footprint")):
        footprints: list[Footprint | None] = [getattr(file, of) for file in files]
        if any(footprints):
            results += _footprint_figures(place, footprints, [file.machine for file in files])
    return tuple(results)


Condition = tuple[str, int, int]  # where, threads, tokens (0: the rows' own lengths)


def _condition(latency: Latency) -> Condition:
    where = "target" if latency.called else "predicted" if latency.how in ("predicted", "published") else "here"
    return where, latency.threads, 0 if latency.lengths == "data" else latency.seq_len


def _latency_figure(kind: Condition, files: Sequence[ComparedFile]) -> Figure:
    place, threads, tokens = kind
    where = {"here": "latency here", "target": "latency on the target", "predicted": "predicted latency"}[place]
    length = f"{tokens} tokens" if tokens else "own lengths"
    count = "all cores" if threads == 0 else f"{threads} thread{'' if threads == 1 else 's'}"
    found = [next((item for item in file.latencies if _condition(item) == kind), None) for file in files]
    values = tuple(item.p50_ms if item else None for item in found)
    apart = _apart([_conditions(item, file.machine) if item else None for item, file in zip(found, files, strict=True)])
    spreads = [item.spread if item else None for item in found]
    noise = tuple(
        None if own is None or spreads[0] is None else (1 + own) * (1 + spreads[0]) - 1 for own in (None, *spreads[1:])
    )
    return Figure(f"{where}, {count}, {length}", "ms", values, _ratios(values, apart), apart, noise)


def _conditions(latency: Latency, machine: str) -> dict[str, str]:
    """What must be the same for two times to be divided by each other; runtimes may differ, as formats do."""
    here = {} if latency.called or latency.how == "predicted" else {"machine": machine}
    return {
        "how": latency.how,
        "device": latency.called or latency.device,
        "median tokens": str(latency.seq_len),
        "batch": str(latency.batch),
        "statistic": latency.statistic,
        **here,
    }


def _footprint_figures(place: str, found: Sequence[Footprint | None], machines: Sequence[str]) -> Iterator[Figure]:
    devices = [{"machine": item.called or machine} if item else None for item, machine in zip(found, machines, strict=True)]  # fmt: skip
    apart = _apart(devices)
    reads: dict[str, tuple[str, Callable[[Footprint], float]]] = {
        "load": ("ms", lambda item: item.load_ms),
        "first run": ("ms", lambda item: item.first_run_ms),
        "peak memory": ("bytes", lambda item: float(item.peak_memory_bytes)),
    }
    for name, (unit, read) in reads.items():
        values = tuple(read(item) if item else None for item in found)
        yield Figure(f"{name} {place}", unit, values, _ratios(values, apart), apart, (None,) * len(found))


def _apart(conditions: Sequence[Mapping[str, str] | None]) -> tuple[str, ...]:
    """Of each file how its conditions differ from the first's; "" where they do not, or where there is nothing."""
    first, results = conditions[0], []
    for own in conditions:
        names = {*first, *own} if first is not None and own is not None else set()
        differing = [
            f"{name}: {(first or {}).get(name, NOT_THERE)} and {(own or {}).get(name, NOT_THERE)}"
            for name in sorted(names)
            if (first or {}).get(name) != (own or {}).get(name)
        ]
        results.append("; ".join(differing))
    return tuple(results)


def _ratios(values: Sequence[float | None], apart: Sequence[str] = ()) -> tuple[float | None, ...]:
    """To the first; None for itself."""
    first = values[0]
    return (
        None,
        *(
            value / first if value is not None and first and not (apart and apart[at]) else None
            for at, value in enumerate(values[1:], 1)
        ),
    )


# ---------------------------------------------------------------- what they were made of


def differing_facts(files: Sequence[ComparedFile]) -> dict[str, tuple[str, ...]]:
    """The facts that are not the same of all files; of the requests only where all are known."""
    names = dict.fromkeys(name for file in files for name in file.facts)
    if not all(any(name.startswith(ASKED) for name in file.facts) for file in files):
        names = {name: None for name in names if not name.startswith(ASKED)}
    absent = {name: NOT_GIVEN if name.startswith(ASKED) else NOT_THERE for name in names}
    rows = {name: tuple(file.facts.get(name, absent[name]) for file in files) for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _facts(report: Report, entry: Entry, request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    environment, model, candidate = report.environment, entry.model, entry.model.candidate
    teacher = environment.get("teacher")
    if isinstance(teacher, Mapping):
        yield "teacher", str(teacher.get("name"))
        yield "teacher sha256", str(teacher.get("sha256"))[:16]
    yield "recipe", recipe_text(candidate.recipe) if candidate else "none: the teacher itself"
    yield "starts from", candidate.start if candidate else NOT_THERE
    yield "layers", str(model.n_layers)
    yield "vocabulary", f"{model.vocab_size:,}"
    yield "parameters", f"{model.n_parameters:,}"
    yield "format", f"{entry.artifact.format} {entry.precision}" if entry.artifact else NOT_THERE
    yield "variant", str(entry.artifact.options.get("variant", NOT_THERE)) if entry.artifact else NOT_THERE
    yield "data", report.data.name
    yield "data sha256", report.data.sha256[:16]
    for split, n in report.n_rows.items():
        yield f"rows of {split}", f"{n:,}"
    yield "device", report.device.name
    yield "device profile", digest({**portable(report.device), "path": None}, 12)
    yield "seed", str(environment.get("seed", NOT_THERE))
    yield "effort", str(environment.get("effort", NOT_THERE))
    for name, value in sorted(request.items()):
        if name not in TOLD_ELSEWHERE:
            yield f"{ASKED}{name.replace('_', ' ')}", _text(value)
    for group in ("versions", "hardware"):
        facts = environment.get(group)
        for name, value in facts.items() if isinstance(facts, Mapping) else ():
            yield f"version of {name}" if group == "versions" else name, _text(value)
    if report.measured_on:
        yield "measured on", f"{report.measured_on.on} ({report.measured_on.called or 'nothing was measured there'})"


def _request(run: Path) -> Mapping[str, Any]:
    """What the run was asked for; nothing where its manifest cannot be read, as none of an older edgebert may be there."""
    try:
        request = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["request"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def _text(value: object) -> str:
    if value in (None, [], {}, ()):
        return NOT_GIVEN
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _machine(hardware: Mapping[str, Any]) -> str:
    """What tells one machine's measurements from another's; the system's version is no part of it."""
    known = {name: value for name, value in hardware.items() if name != "system"}
    processor = known.pop("processor", "unknown processor")
    return f"{processor} ({', '.join(f'{name} {_text(value)}' for name, value in sorted(known.items()))})"
