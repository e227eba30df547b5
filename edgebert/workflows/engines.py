"""`edgebert profile`, and what its proofs of engines change in the runs that the files come from: their reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgebert.errors import RunError
from edgebert.faults import faults_as_errors
from edgebert.files import plain, write_atomic
from edgebert.measure.artifacts import find_subjects
from edgebert.measure.figures import Measurement
from edgebert.measure.measure import Request, measure_into
from edgebert.report import write_report
from edgebert.report.serial import read_report
from edgebert.results import EngineProof, ModelResult
from edgebert.runs.engines import read_proofs
from edgebert.runs.folder import lock_folder
from edgebert.types import OnEvent
from edgebert.workflows.unchanged import results_of


def profile(request: Request, output: str | None = None, on_event: OnEvent | None = None) -> Measurement:
    """`edgebert.measure.measure.measure_into`; the reports of runs whose files an engine was judged with tell of it."""
    result = measure_into(request, output, on_event)
    if result.engines:
        for run in {subject.origin.run for subject in find_subjects(request.artifacts) if subject.origin}:
            try:
                _retell(run)
            except RunError as error:
                note = f"the report of {run} does not tell of this: {error.what}"
                result = replace(result, notes=(*result.notes, note))
    return result


def engines_of(run: Path, students: Sequence[ModelResult]) -> tuple[EngineProof, ...]:
    """What a run keeps of engines, of the files as they are, each by the name that the report gives it."""
    names = {
        file.artifact.sha256: f"{model.name}/{file.artifact.name}" for model in students for file in model.artifacts
    }
    return tuple(replace(proof, file=names[proof.sha256]) for proof in read_proofs(run, tuple(names)))


def _retell(run: Path) -> None:
    """Writes a finished run's report anew, and its sums in the run's manifest.

    Raises:
        RunError: a command works in the run, or it cannot be written.
    """
    path = run / "report" / "report.json"
    if not path.exists():
        return
    with faults_as_errors(run):
        lock, _ = lock_folder(run)
        try:
            report = read_report(path)
            write_report(replace(report, engines=engines_of(run, report.students)), run / "report")
            manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
            write_atomic(
                run / "manifest.json",
                json.dumps({**manifest, "results": plain(results_of(run))}, indent=1, ensure_ascii=False) + "\n",
            )
        finally:
            if lock is not None:
                lock.release()
