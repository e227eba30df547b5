"""The main job, stage by stage: teacher, data, plan, compress, convert, verify, profile, report, bundle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.budget.changes import single_changes
from edgebert.budget.choice import choose
from edgebert.bundle import write_bundle
from edgebert.converters import CONVERTERS, find_precision
from edgebert.devices.machine import describe_environment, versions
from edgebert.distributed import is_main
from edgebert.errors import WorkerFinished
from edgebert.faults import faults_as_errors
from edgebert.files import link_tree, now, plain, slug, write_atomic
from edgebert.measure.protocol import FIXED_LENGTH
from edgebert.modeling.checkpoint import load_student, load_tokenizer
from edgebert.report import write_report
from edgebert.results import FitResult, MeasuredOn, ModelResult, Report, SearchLine, SingleTaskBaseline, TrialLine
from edgebert.runs.store import Stage
from edgebert.search.plan import make_plan
from edgebert.tasks._multitask import MultiTask
from edgebert.teachers.fitting import with_teacher_labels
from edgebert.types import FitRequest, Plan
from edgebert.workflows.attempts import next_attempt
from edgebert.workflows.data import specs_by_head
from edgebert.workflows.engines import engines_of
from edgebert.workflows.names import RUNS, planned
from edgebert.workflows.profiling import profile_on_stage, profile_stage
from edgebert.workflows.recipe import recipe_text
from edgebert.workflows.recipe_trials import choose_recipe, with_choice
from edgebert.workflows.records import LatencyRecord, TargetRecord, model_result, paddings, with_outcomes
from edgebert.workflows.request import Fit, needs_bytes, pick_lengths, resolve
from edgebert.workflows.search import searched
from edgebert.workflows.stages import (
    compress_stage,
    convert_stage,
    teacher_stage,
    tuned_task,
    verify_stage,
)
from edgebert.workflows.target import MeasurementTarget
from edgebert.workflows.unchanged import fingerprint_now, results_of

if TYPE_CHECKING:
    from edgebert.types import OnEvent

GOLDEN_ROWS = 8  # of the test split, packed with the bundle


def fit(request: FitRequest, *, command: str = "", on_event: OnEvent | None = None) -> FitResult:
    """Runs every stage that is not done yet.

    Raises:
        EdgebertError: the request, the data or the teacher cannot be used (exit code 2).
        BudgetError: no student shape fits the budget (exit code 1).
        WorkerFinished: in every process but the main one, under `accelerate launch`.
    """
    with faults_as_errors(Path(request.run or RUNS)):
        before = fingerprint_now(request)  # of the rows as they are read now: they may be edited while it trains
        job = resolve(request, command, on_event)
        job.fingerprint = fingerprint_now(request) if before["unknown"] else before  # the teacher was fetched meanwhile
    try:
        with faults_as_errors(job.run.folder, needs_bytes(job)):
            return _stages(job)
    finally:
        job.run.close()


def _stages(job: Fit) -> FitResult:
    teacher = teacher_stage(job)
    job.dataset = with_teacher_labels(load_student(teacher.path), job.task, job.dataset, job.max_length)
    plan = plan_stage(job, teacher)
    choice = choose_recipe(job, plan, teacher)
    job.run.log(event="recipe", recipe=recipe_text(choice.recipe))
    n_candidates = job.request.candidates or job.level.candidates
    plan = with_choice(plan, choice, n_candidates=n_candidates)
    judged: tuple[SearchLine, ...] = ()
    if job.request.search_trials:
        plan, judged = searched(job, plan, teacher, n_candidates)
    taken = [candidate for candidate in plan.candidates if candidate.taken]
    models = {"teacher": teacher} | {item.name: compress_stage(job, item, teacher) for item in taken}
    converted, verified = _files(job, models)
    while further := next_attempt(job, plan, models, verified, choice.others):
        plan = replace(plan, candidates=(*plan.candidates, further))
        student = {further.name: compress_stage(job, further, teacher)}
        models |= student
        more_converted, more_verified = _files(job, student)
        converted, verified = converted | more_converted, verified | more_verified
    if not is_main():
        raise WorkerFinished
    profiled = profile_stage(job, models, converted, verified, plan.length_p95)
    there = profile_on_stage(job, models, converted, verified, plan.length_p95) if job.target else None
    report = _report(job, plan, models, converted, verified, profiled, there, choice.table)
    report = replace(report, baselines=_baselines(job), search=judged)
    return _finish(job, report, models, complete=not (profiled.missing or (there and there.missing)))


def _files(job: Fit, models: dict[str, Stage]) -> tuple[dict[str, Stage], dict[str, Stage]]:
    """Each model in its formats, and what was proved of them."""
    converted = {name: convert_stage(job, name, stage) for name, stage in models.items()}
    return converted, {name: verify_stage(job, name, models[name], converted[name]) for name in models}


def _baselines(job: Fit) -> dict[str, SingleTaskBaseline]:
    """Each head of several fitted alone, in a run of its own beside this one."""
    if not job.request.baselines or not isinstance(job.task, MultiTask):
        return {}
    results = {}
    options = {name: head.options() for name, head in job.task.heads}
    rest = {key: value for key, value in job.request.params.items() if key.partition(".")[0] not in options}
    for name, specs in specs_by_head(job.request.data, list(options)).items():
        item = job.task.by_name[name]
        own = {f"{item.name}.{key}": value for key, value in options[name].items()}
        place = f"{job.run.folder}-{slug(name)}"
        request = replace(job.request, task=item.name, data=specs, run=place, params=rest | own, baselines=False)
        report = fit(request, command=job.command, on_event=job.run.on_event).report
        results[name] = _baseline(report, planned(job.formats, job.precisions))
    return results


def _baseline(report: Report, shipped: tuple[str, str]) -> SingleTaskBaseline:
    """What a baseline would ship: its packaged file, or where nothing was, the one that was planned for."""
    files = {f"{s.name}/{a.artifact.name}": a for s in report.students for a in s.artifacts}
    first = next(name for name, a in files.items() if (a.artifact.format, a.artifact.precision) == shipped)
    name = report.winner or first
    return SingleTaskBaseline(name, files[name].parity.score, files[name].artifact.size_bytes)


def plan_stage(job: Fit, teacher: Stage) -> Plan:
    tokenizer = load_tokenizer(teacher.path)
    features = job.task.encode(job.dataset.splits["train"], tokenizer, job.dataset.labels, job.max_length)
    lengths = [len(feature.input_ids) for feature in features]
    job.lengths = pick_lengths(lengths, job.max_length)
    shipped = planned(job.formats, job.precisions)
    full = sum(length == job.max_length for length in lengths)
    if job.task.cuts and full:
        note = f"{full} of {len(lengths)} training rows fill the window of {job.max_length} tokens and may be cut there"
        job.run.log(event="note", text=f"{note}; --max-length reads more")
    plan = make_plan(
        job.starts,
        job.recipe,
        job.device,
        job.budget,
        lengths,
        precision=find_precision(*shipped),
        runtime=CONVERTERS.get(shipped[0]).runtime,
        format=shipped[0],
        n_candidates=n_planned(job),
        teacher=job.teacher_config,
    )
    if is_main():
        write_atomic(job.run.folder / "plan.json", json.dumps(plain(plan), indent=1, ensure_ascii=False))
    for candidate in plan.candidates:
        if candidate.taken:
            job.run.log(event="candidate", name=candidate.name, reason=candidate.reason)
    return plan


def n_planned(job: Fit) -> int:
    """Candidates that the plan takes: those to be trained, or one of each start where trials will choose among them."""
    wanted = job.request.candidates or job.level.candidates
    competing = job.request.recipe is None and job.level.trials and len(job.starts) > 1
    return max(wanted, len(job.starts)) if competing else wanted


# ---------------------------------------------------------------- from stages to a report


def _report(
    job: Fit,
    plan: Plan,
    models: dict[str, Stage],
    converted: dict[str, Stage],
    verified: dict[str, Stage],
    profiled: LatencyRecord,
    there: TargetRecord | None,
    trials: tuple[TrialLine, ...],
) -> Report:
    results = {
        name: model_result(job, name, models[name], converted[name], verified[name], profiled, there, plan)
        for name in models
    }
    padding = tuple(paddings(results, n_fixed=min(FIXED_LENGTH, job.max_length)))
    teacher, students = results.pop("teacher"), tuple(results.values())
    winner, verdict, failures = choose(teacher, students, job.budget, job.device, plan.length_p95)
    if winner:
        students = with_outcomes(students, winner, verified)
    return Report(
        run=job.run.folder.name,
        command=job.command,
        device=job.device,
        task=job.task.name,
        data=job.dataset.source,
        n_rows={split: len(rows) for split, rows in job.dataset.splits.items()},
        teacher=teacher,
        students=students,
        plan=replace(plan, notes=(*plan.notes, *job.notes)),
        winner=f"{winner[0].name}/{winner[1].artifact.name}" if winner else None,
        verdict=verdict,
        failures=tuple(failures),
        environment={
            **describe_environment(),
            "seed": job.request.seed,
            "effort": job.request.effort,
            "recipe": recipe_text(next(candidate.recipe for candidate in plan.candidates if candidate.taken)),
            "teacher": job.source.facts(),
            "seconds": {stage.path.name: stage.seconds for stage in job.run.stages},
        },
        created=now(),
        measured_on=_measured_on(job.target, there) if job.target and there else None,
        padding=padding,
        notes=profiled.notes,
        engines=engines_of(job.run.folder, students),
        recipe_trials=trials,
        changes=() if winner else single_changes(teacher, students, plan, job.budget, job.device),
    )


def _measured_on(place: MeasurementTarget, there: TargetRecord) -> MeasuredOn:
    notes = (*place.notes, *there.notes)
    return MeasuredOn(place.on, there.called, place.is_device, notes, there.facts)


def _finish(job: Fit, report: Report, models: dict[str, Stage], *, complete: bool) -> FitResult:
    """Args: complete: everything was measured that was to be, so that the same command has nothing left to do."""
    keep_rejected(job.run.folder, report)
    job.run.log(event="write", stage="bundle")
    bundle = _bundle(job, report, models)
    job.run.log(event="write", stage="report")
    write_report(report, job.run.folder / "report")  # after the bundle, which it calls packaged
    job.run.log(event="write", stage="manifest")
    rejected = any(result.parity.failures for student in report.students for result in student.artifacts)
    wrong = any(proof.failures for proof in report.engines if job.target and proof.target == job.target.on)
    exit_code = 1 if rejected or wrong or report.winner is None else 0
    job.run.write_manifest(
        run=job.run.folder.name,
        created=report.created,
        command=job.command,
        request=job.request,
        environment=report.environment,
        data=job.dataset.source,
        winner=report.winner,
        verdict=report.verdict,
        failures=report.failures,
        exit_code=exit_code,
        complete=complete,
        fingerprint=job.fingerprint,
        results=results_of(job.run.folder),
    )
    job.run.log(event="finish", winner=report.winner, failures=report.failures)
    return FitResult(job.run.folder, report, bundle, exit_code)


def keep_rejected(run: Path, report: Report) -> None:
    """Puts every file that failed parity aside under rejected/, with the reason."""
    folder = run / "rejected"
    shutil.rmtree(folder, ignore_errors=True)
    for student in report.students:
        for result in student.artifacts:
            if result.parity.failures:
                place = folder / f"{student.name}-{result.artifact.name}"
                place.mkdir(parents=True)
                link_tree(result.artifact.path, place / result.artifact.path.name)
                write_atomic(place / "reason.txt", "\n".join(result.parity.failures) + "\n")


def _start(job: Fit, student: ModelResult) -> dict[str, str] | None:
    """The checkpoint that a student started with, where it is not the teacher."""
    source = job.start_of(student.candidate).source if student.candidate else None
    return source.facts() if source else None


def _bundle(job: Fit, report: Report, models: dict[str, Stage]) -> Path | None:
    folder = job.run.folder / "bundle"
    if report.winner is None:
        if folder.exists():  # of an earlier request in this run: it must not pass for this one's
            shutil.rmtree(folder)
        return None
    name, artifact_name = report.winner.split("/")
    student = next(student for student in report.students if student.name == name)
    result = next(result for result in student.artifacts if result.artifact.name == artifact_name)
    return write_bundle(
        folder,
        artifact=result.artifact,
        student=models[name].path,
        task=tuned_task(job, models[name]),
        labels=job.dataset.labels,
        golden=job.dataset.splits["test"][:GOLDEN_ROWS],
        max_length=job.max_length,
        facts={
            "created": report.created,
            "device": job.device.name,
            "teacher": report.environment["teacher"],
            "start": _start(job, student),
            "data": job.dataset.source,
            "recipe": recipe_text(student.candidate.recipe) if student.candidate else "",
            "student": name,
            "score": result.parity.score,
            "teacher_score": report.teacher.test,
            "parity": result.parity,
            "latencies": result.latencies,
            "padding": [item for item in report.padding if item.file == report.winner],
            "measured_on": report.measured_on,
            "footprint": result.footprint,
            "versions": versions(module.replace("_", "-") for module in CONVERTERS.get(result.artifact.format).needs),
        },
    )
