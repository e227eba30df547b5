"""`edgebert compare`: what the files of two or more runs differ in, row by row, label by label, and in what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgebert.errors import RequestError, RunError, name_list, unknown
from edgebert.faults import faults_as_errors, is_installed, not_installed
from edgebert.files import write_atomic
from edgebert.report import read_report, view
from edgebert.report.comparison import Against, ComparedFile, Comparison, DifferingRow, LabelChange
from edgebert.report.view import Entry
from edgebert.results import Report, RowOutcomes
from edgebert.runs.folder import REQUEST
from edgebert.runs.listing import list_runs, stage_records
from edgebert.runs.store import is_whole
from edgebert.verify.paired import check_alike, compare_labels, compare_scores
from edgebert.verify.rows import ANSWERS, ROWS, read_lines, read_outcomes
from edgebert.workflows.compare_figures import compared_file, differing_facts, figures
from edgebert.workflows.compare_rows import KeptRows, differing_rows

DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True)
class _Found:
    """A file that is compared.

    Attributes:
        outcomes: what each row adds to its score; None where nothing kept that.
        rows: the same with the rows and its answers; None where they are not there.
        missing: why one of them is None.
    """

    spec: str
    run: Path
    report: Report
    entry: Entry
    outcomes: RowOutcomes | None
    rows: KeptRows | None
    missing: str


def compare(specs: Sequence[str], output: Path | None = None) -> Comparison:
    """The files of two or more runs, the others held against the first.

    Args:
        specs: run folders, or RUN:STUDENT/FILE for another file than the packaged one.
        output: a file for the page.

    Raises:
        RequestError: fewer than two, one that is given twice, no run, no such file, or other tasks or metrics.
        RunError: the run is damaged, or the page cannot be written.
    """
    if output is not None:
        _check_output(output)
    result = _compare(specs)
    if output is not None:
        from edgebert.report.compare_html import render

        with faults_as_errors(output):
            write_atomic(output, render(result))
    return result


def _check_output(output: Path) -> None:
    """Raises RequestError where no page can be written there, before anything is read."""
    if not is_installed("jinja2"):
        raise not_installed("jinja2", "the page of a comparison")
    if output.is_dir():
        raise RequestError(
            "a folder is where the page would be", where=str(output), hint="Name a file: -o compare.html"
        )
    if not output.absolute().parent.is_dir():
        raise RequestError(
            "there is no such folder to write the page to", where=str(output.parent), hint="Make it first."
        )


def _compare(specs: Sequence[str]) -> Comparison:
    if len(specs) < 2:
        hint = "Give another run, or another file of this one: edgebert compare RUN RUN:STUDENT/FILE"
        raise RequestError("one file alone cannot be compared", where="RUN", hint=hint)
    found = [_find(spec) for spec in specs]
    _check(found)
    titles = _titles(found)
    files = tuple(
        compared_file(item.spec, title, item.run, item.report, item.entry)
        for item, title in zip(found, titles, strict=True)
    )
    against = [_against(found[0], item, title) for item, title in zip(found[1:], titles[1:], strict=True)]
    kept = [item.rows for item in found if item.rows]
    rows: tuple[DifferingRow, ...] = ()
    if len(kept) == len(found) and not any(item.without_rows for item in against):
        rows, counts = differing_rows(kept)
        against = [replace(item, n_by_kind=n) for item, n in zip(against, counts, strict=True)]
    return Comparison(
        task=found[0].report.task,
        metric=found[0].entry.score.metric,
        n_rows=found[0].entry.score.n,
        files=files,
        against=tuple(against),
        figures=figures(files),
        rows=rows,
        differs=differing_facts(files),
        notes=tuple(_notes(found, files, against, has_rows=len(kept) == len(found))),
    )


# ---------------------------------------------------------------- finding the files


def _find(spec: str) -> _Found:
    run, name = _run_of(spec)
    report = read_report(run / "report" / "report.json")
    known = {entry.name: entry for entry in view.entries(report) if entry.artifact}
    if not name and report.winner is None:
        hint = f"Name a file: {spec}:STUDENT/FILE, one of {name_list(known)}"
        raise RequestError("this run packaged nothing, so it must be said which file is meant", where=spec, hint=hint)
    name = name or str(report.winner)
    if name not in known:
        raise unknown("file", name, known, where=str(run))
    try:
        outcomes, rows, missing = _kept(run, known[name])
    except DAMAGED as error:
        hint = f"Give its command again, which makes anew what is damaged: {report.command}"
        what = f"what this run kept of its rows cannot be read ({type(error).__name__}: {error})"
        raise RunError(what, where=str(run), hint=hint) from None
    return _Found(spec, run, report, known[name], outcomes, rows, missing)


def _run_of(spec: str) -> tuple[Path, str]:
    """The run folder, and the file that is named, "" where none is. Raises RequestError where there is no run."""
    run, name = Path(spec), ""
    before, colon, after = spec.rpartition(":")
    if colon and not run.exists():
        run, name = Path(before), after
    if not (run / REQUEST).is_file():
        if (run.parent / REQUEST).is_file():
            hint = f"It lies in a run, whose folder is wanted: {run.parent}"
        elif run.is_dir():
            hint = "A run is what edgebert fit writes: a folder with stages/, report/ and request.toml."
        else:
            known = [item["name"] for item in list_runs(run.parent)] if run.parent.is_dir() else []
            raise unknown("run", run.name, known, where=str(run.parent))
        raise RequestError("this is no run folder", where=str(run), hint=hint)
    if not (run / "report" / "report.json").is_file():
        hint = "Give its edgebert fit command again: it goes on where it stopped."
        raise RequestError("this run has not finished, so it has no report", where=str(run), hint=hint)
    return run, name


def _kept(run: Path, entry: Entry) -> tuple[RowOutcomes | None, KeptRows | None, str]:
    """What the run kept of a file's answers, and why something of it is not there."""
    assert entry.artifact is not None and entry.result is not None
    name, of_report = entry.artifact.name, entry.result.outcomes
    records = stage_records(run)
    made = {record["key"] for record in records.values() if _has_file(record, name, entry.artifact.sha256)}
    proofs = [
        (path, record)
        for path, record in records.items()
        if record["stage"].startswith("verify-") and record["inputs"].get("converted") in made
    ]
    if not proofs:
        return of_report, None, "the stage that verified it is not in the run's folder any more"
    for path, record in sorted(proofs, key=lambda item: str(item[1].get("finished")), reverse=True):
        if not (path / ROWS).exists():
            continue
        if not is_whole(path, record):
            raise ValueError(f"a file of {path.name} was changed since it was written")
        outcomes = read_outcomes(path, name)
        if outcomes is None:
            return None, None, "its task does not tell what each row adds to its score (Task.tallies)"
        rows = KeptRows(read_lines(path / ROWS), read_lines(path / ANSWERS / f"{name}.jsonl"), outcomes)
        if not len(rows.lines) == len(rows.answers) == outcomes.n:
            raise ValueError(f"{path.name} has {len(rows.lines)} rows and {len(rows.answers)} answers")
        return outcomes, rows, ""
    return of_report, None, "it was verified by an older edgebert, which did not keep the answers"


def _has_file(record: Mapping[str, Any], name: str, sha256: str) -> bool:
    if not record["stage"].startswith("convert-"):
        return False
    return any(item["name"] == name and item["sha256"] == sha256 for item in record["result"])


def _check(found: Sequence[_Found]) -> None:
    """Raises RequestError where a file is given twice, or where tasks or metrics differ."""
    first = found[0]
    seen: set[tuple[Path, str]] = set()
    for item in found:
        key = (item.run.resolve(), item.entry.name)
        if key in seen:
            hint = "Give another run, or another file of it: RUN:STUDENT/FILE"
            raise RequestError(f"{item.entry.name} is given twice", where=item.spec, hint=hint)
        seen.add(key)
        for what, own, theirs in (
            ("task", first.report.task, item.report.task),
            ("metric", first.entry.score.metric, item.entry.score.metric),
        ):
            if own != theirs:
                message = f"its {what} is {theirs}, and that of {first.spec} is {own}"
                raise RequestError(message, where=item.spec, hint=f"Compare runs of one {what}.")


def _titles(found: Sequence[_Found]) -> list[str]:
    """The shortest that tell the files apart: the runs' names, else the files', else both."""
    short, names = [item.run.resolve().name for item in found], [item.entry.name for item in found]
    one_run = len({item.run.resolve() for item in found}) == 1
    both = [f"{run}:{name}" for run, name in zip(short, names, strict=True)]
    whole = [f"{item.run}:{name}" for item, name in zip(found, names, strict=True)]
    paths = [str(item.run) for item in found]
    choices = [short, *([names] if one_run else []), paths, both, whole]
    return next((titles for titles in choices if len(set(titles)) == len(titles)), whole)


# ---------------------------------------------------------------- holding them against the first


def _against(first: _Found, other: _Found, title: str) -> Against:
    difference = other.entry.score.value - first.entry.score.value
    old, new = first.outcomes, other.outcomes
    if old is None or new is None:
        return Against(title, difference, without_rows="the rows of one of them were not kept")
    try:
        check_alike(old, new)
    except ValueError as error:
        return Against(title, difference, without_rows=str(error))
    tests = compare_labels(old, new)
    f1 = [_f1_of_labels(side) for side in (old, new)]
    labels = [LabelChange(name, f1[0].get(name, 0.0), f1[1].get(name, 0.0), test) for name, test in tests.items()]
    labels.sort(key=lambda item: (item.test.difference, -item.test.n, item.label))
    return Against(title, difference, compare_scores(old, new), tuple(labels))


def _f1_of_labels(outcomes: RowOutcomes) -> dict[str, float]:
    """Of every label, named as in `compare_labels`."""
    results = {}
    for part in outcomes.parts:
        for label, (_, right, of) in part.labels.items():
            name = f"{part.head}: {label}" if len(outcomes.parts) > 1 else label
            results[name] = sum(right) / sum(of) if sum(of) else 0.0
    return results


def _notes(
    found: Sequence[_Found], files: Sequence[ComparedFile], against: Sequence[Against], *, has_rows: bool
) -> list[str]:
    results = []
    for item, file in zip(found, files, strict=True):
        if item.missing:
            again = f"; its command keeps them, and makes only that step anew: {file.command}"
            older = "older edgebert" in item.missing or "any more" in item.missing
            results.append(f"{file.title}: the rows are not there: {item.missing}{again if older else ''}")
    for other in against:
        if other.without_rows and all(item.outcomes for item in found):
            results.append(f"{other.file}: scores are not compared row by row: {other.without_rows}")
    if has_rows and len(found) > 2 and any(other.without_rows for other in against):
        results.append("rows are listed only where all files answered the same ones: compare fewer runs")
    for file in files[1:]:
        if file.sha256 == files[0].sha256:
            results.append(f"{file.title} is the same file as {files[0].title}, byte for byte")
    of_runs = {item.run.resolve(): (file.title, item.report.notes) for item, file in zip(found, files, strict=True)}
    for title, own in of_runs.values():
        results += [f"{title}: {note}" if len(of_runs) > 1 else note for note in own]
    return results
