"""The tables of the page as text cells: rows are figures, columns are the models in torch and their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgebert.budget.limits import PLANNED
from edgebert.devices.accelerators import rule_of
from edgebert.report import format as fmt
from edgebert.report import view
from edgebert.report.view import Entry
from edgebert.results import ModelResult, Report
from edgebert.types import Footprint, Latency, Score, TypeScore


@dataclass(frozen=True)
class Line:
    """One figure of every entry. A predicted figure is marked, so that the page writes it differently."""

    name: str
    cells: tuple[str, ...]
    predicted: bool = False


@dataclass(frozen=True)
class Group:
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class TypeLine:
    """One label: the teacher in torch and the packaged file."""

    name: str
    support: int
    teacher: TypeScore
    winner: TypeScore | None


Cell = Callable[[Entry], str]


def file_table(report: Report) -> list[Group]:
    """Every figure of every entry, in groups; lines without any figure are left out."""
    entries = view.entries(report)

    def lines(*wanted: tuple[str, Cell], predicted: bool = False) -> tuple[Line, ...]:
        created = [Line(name, tuple(cell(entry) for entry in entries), predicted) for name, cell in wanted]
        return tuple(line for line in created if any(cell != fmt.NONE for cell in line.cells))

    groups = [
        Group("Score", lines(*_score_cells(report))),
        Group("Size", lines(*_size_cells(report))),
        Group(f"Latency measured here, ms: p50{_statistic(report)} / p90, batch 1", lines(*_latency_cells(report))),
        *(Group(title, lines(*cells)) for title, cells in _target_cells(report, entries)),
        Group(
            f"Latency predicted for {report.device.title}, ms",
            lines(("p50 (interval)", _device_cell(report)), predicted=True),
        ),
        Group("Loading, measured here in a process of its own", lines(*_footprint_cells("footprint"))),
        Group("Loading, measured on the device", lines(*_footprint_cells("device_footprint"))),
        Group("Parity with the student in torch, on real rows", lines(*_PARITY_CELLS)),
        Group("What keeps it off an accelerator, count", lines(*_accelerator_cells(report))),
        Group("Outcome", lines(("verdict", view.state))),
    ]
    return [group for group in groups if group.lines]


def _statistic(report: Report) -> str:
    """What p50 is taken from on this machine: " (quietest tenth of blocks)"."""
    here = view.this_machine(report)
    timed = [
        t for e in view.entries(report) for t in e.latencies if (t.how, t.device, t.called) == ("measured", here, "")
    ]
    result = dict.fromkeys(latency.statistic for latency in timed)
    return f" ({' or '.join(result)})" if result else ""


def _score_cells(report: Report) -> list[tuple[str, Cell]]:
    score = report.teacher.test
    return [
        (f"{score.metric}, {score.split}, %", lambda e: fmt.percent(e.score.value, 2)),
        ("points against the teacher", lambda e: fmt.points(view.drop(e, report))),
        (f"on {report.teacher.dev.split}, %", lambda e: fmt.percent(e.dev.value if e.dev else None, 2)),
        *_more_cells(score),
        *_part_cells(report),
        ("precision, %", lambda e: fmt.percent(e.score.precision)),
        ("recall, %", lambda e: fmt.percent(e.score.recall)),
        ("rows", lambda e: fmt.count(e.score.n)),
    ]


def _more_cells(score: Score) -> list[tuple[str, Cell]]:
    """The other metrics of the same rows."""

    def cell(name: str) -> Cell:
        return lambda e: fmt.percent(e.score.more.get(name), 2)

    return [(f"{name}, %", cell(name)) for name in score.more]


def _part_cells(report: Report) -> list[tuple[str, Cell]]:
    """Each head's own metric, where a model has several."""
    score = report.teacher.test

    def cell(name: str) -> Cell:
        return lambda e: fmt.percent(e.score.parts[name].value if name in e.score.parts else None, 2)

    return [(f"{name}: {part.metric}, %{_alone(report, name)}", cell(name)) for name, part in score.parts.items()]


def _alone(report: Report, name: str) -> str:
    """What the head's baseline reached."""
    baseline = report.baselines.get(name)
    return (
        f" ({fmt.percent(baseline.score.value, 2)} alone, in {fmt.megabytes(baseline.size_bytes)})" if baseline else ""
    )


def _size_cells(report: Report) -> list[tuple[str, Cell]]:
    def share(entry: Entry) -> str:
        base = view.baseline(report, "fp32")
        if not entry.artifact or not base or not base.artifact:
            return fmt.NONE
        return f"{fmt.percent(entry.artifact.size_bytes / base.artifact.size_bytes)}%"

    return [
        ("file", lambda e: fmt.megabytes(e.artifact.size_bytes) if e.artifact else fmt.NONE),
        (
            "in a zip",
            lambda e: fmt.megabytes(e.artifact.zip_bytes) if e.artifact and e.artifact.zip_bytes else fmt.NONE,
        ),
        ("of the teacher's fp32 file", share),
        ("parameters", lambda e: fmt.count(e.model.n_parameters)),
        ("layers / vocabulary", lambda e: f"{e.model.n_layers} / {fmt.count(e.model.vocab_size)}"),
    ]


def _latency_cells(report: Report) -> list[tuple[str, Cell]]:
    device = view.this_machine(report)

    timed = [t for entry in view.entries(report) for t in entry.latencies if (t.how, t.device) == ("measured", device)]

    def cell(one_thread: bool, n_tokens: int) -> Cell:
        return lambda e: _pair(view.measured(e.latencies, device, one_thread=one_thread, n_tokens=n_tokens))

    def faster(entry: Entry) -> str:
        ratio = view.speedup(entry, view.baseline(report, view.TORCH), report)
        return fmt.times(ratio) if ratio else fmt.NONE

    return [
        *(
            (f"{_length(n)}, {threads}", cell(threads == "1 thread", n))
            for n in sorted({view.length_of(item) for item in timed})
            for threads in ("1 thread", "all cores")
        ),
        ("speed against the teacher in torch", faster),
        *_padding_cells(report, ""),
    ]


def _padding_cells(report: Report, called: str) -> list[tuple[str, Cell]]:
    """How many times as long texts take when they are padded, here ("") or on the target that calls itself so."""

    def cell(n_tokens: int) -> Cell:
        def found(entry: Entry) -> str:
            own = [
                item for item in view.padding(report, entry) if item.called == called and item.fixed_tokens == n_tokens
            ]
            return fmt.times(own[0].factor) if own else fmt.NONE

        return found

    lengths = sorted({item.fixed_tokens for item in report.padding if item.called == called})
    return [(f"padded to {n} tokens against own lengths", cell(n)) for n in lengths]


def _target_cells(report: Report, entries: list[Entry]) -> list[tuple[str, list[tuple[str, Cell]]]]:
    """A group for what was measured on the target, or emulated there: each length that was run."""
    timed = [latency for entry in entries for latency in view.on_target(entry)]
    groups = []
    for how, called, threads in dict.fromkeys((item.how, item.called, item.threads) for item in timed):
        ran = sorted({view.length_of(item) for item in timed})
        title = f"Latency {how} on {called}, ms: p50 / p90, batch 1, {fmt.threads(threads)}"
        cells = [(_length(n), _target_cell(how, called, n)) for n in ran]
        groups.append((title, [*cells, *_padding_cells(report, called)]))
    return groups


def _target_cell(how: str, called: str, n_tokens: int) -> Cell:
    def cell(entry: Entry) -> str:
        for item in view.on_target(entry):
            if (item.how, item.called, view.length_of(item)) == (how, called, n_tokens):
                return _pair(item)
        return fmt.NONE

    return cell


def _length(n_tokens: int) -> str:
    return f"{n_tokens} tokens" if n_tokens else "data lengths"


def _pair(latency: Latency | None) -> str:
    return f"{fmt.milliseconds(latency.p50_ms)} / {fmt.milliseconds(latency.p90_ms)}" if latency else fmt.NONE


def _device_cell(report: Report) -> Cell:
    def cell(entry: Entry) -> str:
        latency = view.predicted(entry, report)
        return fmt.prediction(latency) if latency else fmt.NONE

    return cell


def _of_file(text: Callable[[view.ArtifactResult], str]) -> Cell:
    return lambda entry: text(entry.result) if entry.result else fmt.NONE


def _footprint_cells(field: str) -> list[tuple[str, Cell]]:
    def cell(text: Callable[[Footprint], str]) -> Cell:
        def found(result: view.ArtifactResult) -> str:
            footprint = getattr(result, field)
            return text(footprint) if footprint else fmt.NONE

        return _of_file(found)

    return [
        ("load, ms", cell(lambda f: fmt.milliseconds(f.load_ms))),
        ("first run, ms", cell(lambda f: fmt.milliseconds(f.first_run_ms))),
        ("peak memory", cell(lambda f: fmt.megabytes(f.peak_memory_bytes))),
    ]


_PARITY_CELLS: list[tuple[str, Cell]] = [
    ("rows", _of_file(lambda r: fmt.count(r.parity.n_rows))),
    ("worst logit difference", _of_file(lambda r: fmt.difference(r.parity.max_logit_difference))),
    ("worst difference on edge rows", _of_file(lambda r: fmt.difference(max(r.parity.edges.values())))),
    ("difference over deviation", _of_file(lambda r: fmt.difference(r.parity.nrmse))),
    ("equal predictions, %", _of_file(lambda r: fmt.percent(r.parity.equal_predictions, 2))),
]


def _accelerator_cells(report: Report) -> list[tuple[str, Cell]]:
    """A line a finding of any file, with who said that it matters."""
    results = [entry.result for entry in view.entries(report) if entry.result]
    names = dict.fromkeys(name for result in results for name in result.accelerator_fallbacks)

    def cell(name: str) -> Cell:
        return _of_file(
            lambda r: fmt.count(r.accelerator_fallbacks[name]) if name in r.accelerator_fallbacks else fmt.NONE
        )

    return [(f"{name} ({rule.cited})" if (rule := rule_of(name)) else name, cell(name)) for name in names]


def type_table(report: Report, best: Entry | None) -> list[TypeLine]:
    """A line per label of the teacher or the packaged file, the most frequent first."""
    ours = {score.name: score for score in best.score.per_type} if best else {}
    teacher = {score.name: score for score in report.teacher.test.per_type}
    lines = [
        TypeLine(
            name, (teacher.get(name) or ours[name]).support, teacher.get(name) or _never(ours[name]), ours.get(name)
        )
        for name in teacher | ours
    ]
    return sorted(lines, key=lambda line: (-line.support, line.name))


def _never(score: TypeScore) -> TypeScore:
    # A type that the metric does not list for one of the two was neither predicted nor present there.
    return TypeScore(score.name, 0.0, 0.0, 0.0, score.support)


def conditions(report: Report) -> list[tuple[str, str]]:
    """Every distinct way in which a latency was obtained: (device, basis)."""
    models: tuple[ModelResult, ...] = (report.teacher, *report.students)
    timed = [t for m in models for t in (*m.torch_latencies, *(t for a in m.artifacts for t in a.latencies))]
    timed += [candidate.latency for candidate in report.plan.candidates]
    return [
        (device, basis)
        for device in dict.fromkeys(item.device for item in timed)
        for basis in fmt.latency_bases(item for item in timed if item.device == device)
    ]


def budget_lines(report: Report) -> list[tuple[str, str]]:
    """What was allowed, in words."""
    more = {
        "latency_ms": f" on the device at {report.plan.length_p95} tokens, batch 1",
        "drop_points": f" of the metric, judged on {report.teacher.dev.split}",
    }
    held = [(limit, getattr(report.plan.budget, limit.name)) for limit in PLANNED]
    return [
        (
            limit.title,
            "not limited" if allowed is None else f"at most {allowed:g} {limit.unit}{more.get(limit.name, '')}",
        )
        for limit, allowed in held
    ]
