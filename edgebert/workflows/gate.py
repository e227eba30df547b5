"""`edgebert gate`: whether a run may ship, by a budget and against a baseline. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.budget.findings import Finding, GateResult, Subject, judge
from edgebert.budget.settings import Setting, of_plan, read_budget
from edgebert.budget.suggest import default_growth, suggest
from edgebert.errors import EdgebertError, RequestError, first_line
from edgebert.report.serial import read_report
from edgebert.results import Report
from edgebert.runs.folder import REQUEST
from edgebert.verify.growth import compare, hardware_of, versions_of

if TYPE_CHECKING:
    from edgebert.bundle.check import BundleCheck

REPORT = Path("report") / "report.json"
NO_BASELINE = "no --baseline was given"


def gate(path: Path, budget: Path | None = None, baseline: Path | None = None) -> GateResult:
    """Judges the packaged file of a run.

    Args:
        path: a run folder; or its report.json, where the package itself is not tried.
        budget: the file of the limits; without one, the budget that the run was planned with.
        baseline: a run folder or a report.json that the run is compared with.

    Raises:
        RequestError: there is no finished run, a limit is not understood, or the baseline is of another task, device or
            data.
        RunError: a report is damaged, or of another version.
    """
    settings = read_budget(budget) if budget else ()
    report, folder = _read(path, "RUN")
    old = _read(baseline, "--baseline")[0] if baseline else None
    if old:
        _check_baseline(report, old, str(baseline))
    limits = [item for item in settings if not item.limit.growth] if budget else list(of_plan(report.plan.budget))
    growth = [item for item in settings if item.limit.growth]
    if old and report.winner and not growth:
        growth = list(default_growth(Subject.of(report), Subject.of(old)))
    if report.winner is None:
        why = "; ".join(report.failures[:3]) or report.verdict
        findings: tuple[Finding, ...] = (
            Finding("package", "a packaged file", "failed", reason=f"nothing was packaged: {why}"),
        )
    else:
        findings = _findings(report, folder, old, limits, growth)
    return GateResult(
        run=report.run,
        file=report.winner or "",
        device=report.device.name,
        task=report.task,
        budget=str(budget) if budget else "the budget of the run",
        baseline=str(baseline) if baseline else "",
        findings=findings,
        exit_code=_exit_code(findings),
        report=report,
        notes=_notes(report, old),
    )


def suggested(path: Path) -> str:
    """A budget.toml that a run meets, with some room. Raises RequestError where it has no packaged file."""
    report, folder = _read(path, "RUN")
    if report.winner is None:
        raise RequestError("nothing was packaged in it", where=str(path), hint="Name a run that has a packaged file.")
    tried = _package(folder, Subject.of(report))[1] if folder else None
    return suggest(Subject.of(report, mismatches=tried[0] if tried else None, n_golden=tried[1] if tried else 0))


def _exit_code(findings: Sequence[Finding]) -> int:
    """A limit that failed decides, whatever could not be judged beside it: the run is worse, and must not pass for a request
    that is wrong."""
    outcomes = {item.outcome for item in findings}
    return 1 if "failed" in outcomes else 2 if "missing" in outcomes else 0


def _findings(
    report: Report, folder: Path | None, old: Report | None, limits: Sequence[Setting], growth: Sequence[Setting]
) -> tuple[Finding, ...]:
    new = Subject.of(report)
    package, tried = (Finding("package", "the bundle", "skipped", reason="a report was given, and no run"), None)
    if folder:
        package, tried = _package(folder, new)
    new = Subject.of(report, mismatches=tried[0] if tried else None, n_golden=tried[1] if tried else 0)
    results = [package, _parity(new), *(judge(new, setting) for setting in limits)]
    for setting in growth:
        if old is None:
            facts = Finding(setting.name, setting.limit.title, "skipped", bound=setting.bound, unit=setting.limit.unit)
            results.append(replace(facts, reason=NO_BASELINE))
        else:
            results.append(compare(new, Subject.of(old), setting))
    return tuple(results)


def _parity(subject: Subject) -> Finding:
    parity = subject.file.parity
    how = f"{parity.n_rows:,} test rows and {len(parity.edges)} kinds of edge rows against the model in torch"
    outcome = "failed" if parity.failures else "passed"
    return Finding("parity", "computes what the model computes", outcome, how=how, reason="; ".join(parity.failures))  # type: ignore[arg-type]


# ---------------------------------------------------------------- the package


def _package(folder: Path, subject: Subject) -> tuple[Finding, tuple[int, int] | None]:
    """Whether the bundle is whole, is of the reported file and reproduces here; and how many golden texts its tokenizer
    reads otherwise, of how many."""
    from edgebert.bundle.check import check_bundle
    from edgebert.bundle.manifest import damage, damage_note, find_bundle, read_manifest
    from edgebert.converters import describe, runnable_converter

    title = "whole, and its golden vectors reproduce here"
    artifact = subject.file.artifact
    try:
        place = find_bundle(folder)
        manifest = read_manifest(place)
        if wrong := damage(place, manifest):
            return Finding("package", title, "failed", reason=damage_note(wrong)), None
        model = describe(place / manifest["model"], artifact.format, artifact.precision)
        if model.sha256 != artifact.sha256:
            reason = f"the bundle's model is not the file of the report, {subject.report.winner}"
            return Finding("package", title, "failed", reason=reason), None
    except (EdgebertError, OSError) as error:
        return Finding("package", title, "failed", reason=_first(error)), None
    try:
        runnable_converter(artifact.format)
    except RequestError as error:
        reason = f"{error.what}, so that the package cannot be tried. {error.hint}"
        return Finding("package", title, "missing", reason=reason), None
    tried = None
    try:
        tried = _try_tokenizer(place)
        checked: BundleCheck = check_bundle(place)
    except EdgebertError as error:
        return Finding("package", title, "failed", reason=_first(error)), tried
    how = f"{checked.n_texts} golden texts, {checked.n_padded} also padded"
    return Finding("package", title, "passed", how=how), tried


def _try_tokenizer(place: Path) -> tuple[int, int]:
    """How many golden texts the bundle's tokenizer reads otherwise, of how many."""
    from edgebert.bundle.agreement import open_bundle, read_vectors

    manifest, engine = open_bundle(place)
    lines = read_vectors(place, manifest, engine)
    rows = [engine.task.read_texts(*line["texts"]) for line in lines]
    read = [[list(feature.input_ids) for feature in own] for own in engine.windows(rows)]
    golden = [[list(window["input_ids"]) for window in line["windows"]] for line in lines]
    return sum(a != b for a, b in zip(read, golden, strict=True)), len(lines)


def _first(error: Exception) -> str:
    if not isinstance(error, EdgebertError):
        return first_line(error)
    place = f"{Path(error.where).name}: " if error.where else ""
    return f"{place}{error.what}"


# ---------------------------------------------------------------- reading


def _read(path: Path, option: str) -> tuple[Report, Path | None]:
    """A report, and the run folder where one was given. Raises RequestError that says why there is none."""
    if path.is_file():
        if path.stat().st_size == 0:
            raise RequestError(
                "the file is empty", where=f"{option} {path}", hint="A report.json of a finished run is needed."
            )
        return read_report(path), None
    if (path / REPORT).exists():
        return read_report(path / REPORT), path
    if (path / REQUEST).exists():
        hint = "Give its edgebert fit command again: it goes on where it stopped."
        raise RequestError("this run has not finished", where=f"{option} {path}", hint=hint)
    what = "there is no run here" if path.is_dir() else "no such run or report"
    hint = "Give a run folder, which edgebert runs lists, or its report/report.json."
    raise RequestError(what, where=f"{option} {path}", hint=hint)


def _check_baseline(new: Report, old: Report, where: str) -> None:
    """Raises RequestError where the two cannot be compared, and says what differs."""
    place = f"--baseline {where}"
    for name, a, b in (("task", old.task, new.task), ("device", old.device.name, new.device.name)):
        if a != b:
            raise RequestError(f"its {name} is {a}, the run's is {b}", where=place, hint=f"Compare runs of one {name}.")
    if old.winner is None:
        raise RequestError("nothing was packaged in it", where=place, hint="Name a run that has a packaged file.")
    if new.winner is None:
        return
    outcomes = [Subject.of(report).file.outcomes for report in (old, new)]
    keys = [item.rows_sha256 for item in outcomes if item]
    if len(keys) < 2:
        keys = [report.data.sha256 for report in (old, new)]
    if keys[0] != keys[1]:
        what = f"its test rows ({old.data.name}) are not those of the run ({new.data.name})"
        hint = "A score counts against a baseline on the same rows alone: make the baseline anew with these data."
        raise RequestError(what, where=place, hint=hint)


def _notes(new: Report, old: Report | None) -> tuple[str, ...]:
    """What else a reader should know of a comparison."""
    notes = [*new.notes]
    if old is None:
        return tuple(notes)
    if hardware_of(old) != hardware_of(new):
        notes.append("the baseline was measured on another machine")
    a, b = (versions_of(report) for report in (old, new))
    names = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    if names:
        changed = ", ".join(f"{name} {a.get(name, 'absent')} to {b.get(name, 'absent')}" for name in names)
        notes.append(f"versions changed since the baseline: {changed}")
    return tuple(notes)
