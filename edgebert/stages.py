"""The stages that make files: each resolves its inputs to a key and hands the run a function that fills a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from edgebert import registry
from edgebert.converters import CALIBRATION_ROWS, Runner, Source
from edgebert.devices import HERE
from edgebert.environment import describe_hardware, usable_cores
from edgebert.errors import EdgebertError
from edgebert.infer import pad_batch, run_features
from edgebert.job import Fit, alignment, data_key, train_settings
from edgebert.measure.artifacts import Subject
from edgebert.measure.figures import as_latency
from edgebert.measure.footprint import measure_footprint
from edgebert.measure.inputs import Inputs, at_length, own_lengths_of
from edgebert.measure.measure import Gathered, Request, on_target
from edgebert.measure.protocol import (
    FIXED_LENGTH,
    MIN_RUNS,
    Batch,
    Entry,
    fixed_length,
    interleave,
    latency,
    spread_by_length,
)
from edgebert.measure.targets import File
from edgebert.methods import Workshop
from edgebert.modeling.checkpoint import (
    TOKENIZER,
    copy_student,
    give_head,
    load_config,
    load_model,
    load_student,
    load_tokenizer,
    n_parameters,
    save_checkpoint,
)
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.modeling.heads import HEADS
from edgebert.place import Place
from edgebert.results import artifacts_of
from edgebert.run import Stage, plain, sha256_file
from edgebert.tasks import Task
from edgebert.teachers.fitting import fit_teacher, teacher_settings
from edgebert.training.run import judge, pad_id
from edgebert.trials import TRIAL_ROWS, Judge, choose_trial
from edgebert.types import Artifact, Candidate, Feature, Latency, Student
from edgebert.verify.edges import edge_batches
from edgebert.verify.parity import TOLERANCES, compare_task, make_reference, row_batches, share_equal


def teacher_stage(job: Fit) -> Stage:
    """The teacher with the task's head, fine-tuned where its own does not fit."""
    width = load_config(job.source.folder).hidden_size
    n_rows = len(job.dataset.splits["train"])
    epochs = job.request.teacher_epochs or job.level.epochs(job.level.teacher_visits, n_rows)
    settings = train_settings(job, epochs=epochs, width=width)
    inputs = {
        "weights": job.source.sha256,
        "config": sha256_file(job.source.folder / "config.json"),
        "data": data_key(job),
        "task": (job.task.name, job.task.options()),
        "settings": settings,
    }

    def make(folder: Path) -> dict[str, Any]:
        return fit_teacher(
            job.source,
            job.dataset,
            job.task,
            settings,
            folder,
            allow_pickle=job.request.allow_pickle,
            log=job.run.log,
        )

    return job.run.stage("teacher", inputs, make, resumable=True)


def compress_stage(job: Fit, candidate: Candidate, teacher: Stage) -> Stage:
    """A student: the recipe's methods applied to a copy of the teacher, in order."""
    width = job.student_config.hidden_size
    epochs = job.request.epochs or job.level.epochs(job.level.visits, len(job.dataset.splits["train"]))
    settings = train_settings(job, epochs=epochs, width=width)
    calls = [(call.method, registry.method(call.method).read_params(call.params)) for call in candidate.recipe.calls]

    def make(folder: Path) -> dict[str, Any]:
        torch.manual_seed(settings.seed)
        source = load_student(teacher.path)
        student = _starting_student(job, source)
        splits = job.dataset.splits
        for name, params in calls:
            workshop = Workshop(
                source.model, job.task, job.dataset.labels, splits["train"], splits["dev"], settings,
                folder / "work", job.unlabelled.rows, source.tokenizer, job.run.log,
            )  # fmt: skip
            student = registry.method(name).apply(student, workshop, **params)
        save_checkpoint(folder, student, job.student.folder if job.student else teacher.path)
        facts = {"n_parameters": n_parameters(student.model), "notes": student.notes}
        return plain({**judge(student, job.task, job.dataset, settings.max_length), **facts})

    inputs = {"teacher": teacher.key, "recipe": calls, "settings": settings, "task": job.task.options()}
    if job.student:
        inputs["student"] = job.student.sha256
    if job.unlabelled.rows:
        inputs["unlabelled"] = job.unlabelled.sha256
    return job.run.stage(f"compress-{candidate.name}", inputs, make, resumable=True)


def _starting_student(job: Fit, teacher: Student) -> Student:
    """What the recipe begins with: a copy of the teacher, or a checkpoint of its own with a new head."""
    settings = job.task.model_settings(job.dataset.labels)
    if job.student is None:
        return give_head(copy_student(teacher.model, teacher.tokenizer), settings)
    auto_model, labels = HEADS[job.task.head].auto_model, job.dataset.labels
    model, _ = load_model(
        job.student.folder, auto_model, labels, settings=teacher_settings(job.task, labels),
        allow_pickle=job.request.allow_pickle,
    )  # fmt: skip
    ids, why = alignment(job.student, job.source, job.dataset)
    tokenizer = load_tokenizer(job.student.folder)
    return give_head(
        Student(model, tokenizer, ids, own_tokenizer=bool(why), notes=(f"from {job.student.name}",)), settings
    )


def tuned_task(job: Fit, model: Stage) -> Task:
    """The task with what was chosen for this model on the development rows."""
    return job.task.configured(model.result["task"])


def convert_stage(job: Fit, name: str, model: Stage) -> Stage:
    """The formats in float32 and in each reduced precision, the variant chosen by the metric.

    The teacher is the yardstick on this machine and never ships: it is converted to ONNX only.
    """
    formats = ("onnx",) if name == "teacher" else job.formats
    precisions = ("int8",) if name == "teacher" else job.precisions

    def make(folder: Path) -> list[dict[str, Any]]:
        student, task = load_student(model.path), tuned_task(job, model)
        rows = job.dataset.splits["dev"][:TRIAL_ROWS]
        features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
        source = _source(job, student, model.path)
        made = []

        judge = Judge(
            predict=lambda session: task.decode(rows, features, run_features(session, features), job.dataset.labels),
            score=lambda found: task.score(rows, found, "dev").value,
            same=lambda found, aim: share_equal(task, found, aim),
        )

        for format in formats:
            converter = registry.converter(format)
            place = folder / format / "fp32"
            place.mkdir(parents=True)
            exported = converter.export(source, place)
            made.append(_describe(exported, folder))
            for precision in (p for p in precisions if p in converter.precisions):
                chosen, table = choose_trial(
                    converter, source, exported, precision, folder,
                    judge=judge, log=job.run.log,
                )  # fmt: skip
                made.append(_describe(chosen, folder) | {"trials": table})
        return made

    inputs = {
        "model": model.key,
        "formats": formats,
        "precisions": precisions,
        "trials": {name: {p: c.trials for p, c in registry.converter(name).precisions.items()} for name in formats},
        "rows": (TRIAL_ROWS, CALIBRATION_ROWS),
        "lengths": job.lengths,
    }
    return job.run.stage(f"convert-{name}", inputs, make, version=5)


def _source(job: Fit, student: Student, folder: Path) -> Source:
    """The student as converters take it, with training rows to calibrate on."""
    rows = job.dataset.splits["train"][:CALIBRATION_ROWS]
    features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
    return make_source(
        student.model,
        lengths=job.lengths,
        labels=job.dataset.labels,
        calibration=row_batches(features, pad_id(student)),
        tokenizer=folder / TOKENIZER,
        title=f"edgebert {job.task.name}, {job.dataset.source.name}",
    )


def _describe(artifact: Artifact, folder: Path) -> dict[str, Any]:
    return plain(replace(artifact, path=artifact.path.relative_to(folder)))


def verify_stage(job: Fit, name: str, model: Stage, converted: Stage) -> Stage:
    """Every file run on the test rows and on edge rows and held against the model in torch; its own score on the
    development rows; and what of it leaves the accelerator."""

    def make(folder: Path) -> dict[str, Any]:
        student, task = load_student(model.path), tuned_task(job, model)
        rows = job.dataset.splits["test"]
        features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
        pad = pad_id(student)
        edges = edge_batches(student.model.config.vocab_size, job.max_length, pad, student.tokenizer)
        reference = make_reference(
            TorchSession(student.model), row_batches(features, pad), edges, tuple(job.dataset.labels)
        )
        dev = job.dataset.splits["dev"]
        dev_features = job.task.encode(dev, student.tokenizer, job.dataset.labels, job.max_length)
        results: dict[str, Any] = {}
        for artifact in artifacts_of(converted):  # of each format, float32 first
            converter = registry.converter(artifact.format)
            session = converter.open(artifact.path, 0)
            parity = compare_task(
                session,
                reference,
                registry.precision(artifact.format, artifact.precision).kind,
                task,
                rows,
                features,
                "test",
            )
            origin = results.get(f"{artifact.format}-fp32")
            if origin and origin["parity"].failures:  # a looser tolerance must not let its mistake through
                why = "the float32 file that it was made from was rejected"
                parity = replace(parity, failures=(*parity.failures, why))
            outputs = run_features(session, dev_features, pad_id=pad)
            predictions = task.decode(dev, dev_features, outputs, job.dataset.labels)
            results[artifact.name] = {
                "parity": parity,
                "dev": task.score(dev, predictions, "dev"),
                "leaves_accelerator": dict(converter.leaves_accelerator(artifact.path)),
            }
            outcome = "rejected" if parity.failures else "passed"
            job.run.log(event="parity", model=name, artifact=artifact.name, outcome=outcome, failures=parity.failures)
        return plain(results)

    inputs = {"model": model.key, "converted": converted.key, "data": data_key(job), "tolerances": plain(TOLERANCES)}
    return job.run.stage(f"verify-{name}", inputs, make, version=3)


def sound_files(converted: dict[str, Stage], verified: dict[str, Stage]) -> dict[str, tuple[str, Artifact]]:
    """Every file that passed verification, by the name of its model and its own: "L3/onnx-int8"."""
    return {
        f"{name}/{artifact.name}": (name, artifact)
        for name, stage in converted.items()
        for artifact in artifacts_of(stage)
        if not verified[name].result[artifact.name]["parity"]["failures"]
    }


def profile_stage(
    job: Fit, models: dict[str, Stage], converted: dict[str, Stage], verified: dict[str, Stage], n_budget: int
) -> Stage:
    """The teacher in torch and every sound file, timed in turns on this machine: at the rows' own lengths, at 128 tokens,
    and at the length that the budget is about."""
    sound = {
        key: pair
        for key, pair in sound_files(converted, verified).items()
        if registry.converter(pair[1].format).is_timed()
    }
    lengths_of = {"data": 0} | {f"{n} tokens": n for n in (min(FIXED_LENGTH, job.max_length), n_budget)}

    def make(folder: Path) -> dict[str, Any]:
        inputs = {name: _timing_inputs(job, stage, lengths_of) for name, stage in models.items()}
        latencies: dict[str, list[Latency]] = {key: [] for key in ("teacher/torch", *sound)}
        for threads in sorted({1, usable_cores()}):
            sessions: dict[str, Runner] = {
                key: registry.converter(artifact.format).open(artifact.path, threads)
                for key, (_, artifact) in sound.items()
            }
            sessions["teacher/torch"] = TorchSession(load_student(models["teacher"].path).model, threads)
            for lengths in lengths_of:
                entries = [Entry(key, session, inputs[key.split("/")[0]][lengths]) for key, session in sessions.items()]
                job.run.log(
                    event="timing",
                    files=len(entries),
                    threads=threads,
                    lengths="data lengths" if lengths == "data" else lengths,
                )
                interleave(entries)
                for entry in entries:
                    latencies[entry.name].append(latency(entry, device=HERE, threads=threads, lengths=lengths))
        torch.set_num_threads(usable_cores())
        n_tokens = latencies["teacher/torch"][0].seq_len
        footprints = {
            key: measure_footprint(artifact.format, artifact.path, n_tokens) for key, (_, artifact) in sound.items()
        }
        footprints["teacher/torch"] = measure_footprint("torch", models["teacher"].path, n_tokens)
        return plain({"latencies": latencies, "footprints": footprints})

    keys = {"converted": {name: stage.key for name, stage in converted.items()}, "sound": sorted(sound)}
    return job.run.stage("profile", {**keys, "lengths": lengths_of, "hardware": describe_hardware()}, make)


def _timing_inputs(job: Fit, model: Stage, lengths_of: Mapping[str, int]) -> dict[str, list[Batch]]:
    """Test rows at their own lengths (0), and pieces of them at fixed ones."""
    features = _test_features(job, model)
    own: list[Batch] = [pad_batch([features[i]]) for i in spread_by_length(features)]
    return {name: [fixed_length(features, n)] if n else own for name, n in lengths_of.items()}


def _test_features(job: Fit, model: Stage) -> list[Feature]:
    tokenizer = load_tokenizer(model.path)
    return job.task.encode(job.dataset.splits["test"], tokenizer, job.dataset.labels, job.max_length)


# ---------------------------------------------------------------- on a target

MAX_SECONDS = 10.0  # of a file's timed runs on a target, after the first that the protocol asks for


class _Incomplete(Exception):
    """Not everything was measured, so that the stage must not pass for done."""


def profile_on_stage(
    job: Fit, models: dict[str, Stage], converted: dict[str, Stage], verified: dict[str, Stage], n_budget: int
) -> dict[str, Any]:
    """The sound files that the place can run, measured there: at the rows' own lengths, at the length that the budget
    is about, and at 128. Files that read the same pieces take turns.

    What was measured is returned whatever happens there; only when nothing is missing it is kept as a stage of this run,
    so that the same command measures again when a device went away, and another run does so in any case.
    """
    place = job.place
    assert place is not None, "there is a place to measure on"
    sound = {
        key: (name, artifact)
        for key, (name, artifact) in sound_files(converted, verified).items()
        if artifact.format in place.formats
    }
    settings = Request((), (place.on,), threads=job.device.threads, max_seconds=MAX_SECONDS)
    told: dict[str, Any] = {}

    def make(folder: Path) -> dict[str, Any]:
        gathered, failure = Gathered(), ""
        try:
            for names in by_tokenizer(models, sound):
                group = [Subject(File(key, sound[key][1].format, sound[key][1].path), None) for key in names]
                inputs = _target_inputs(job, models[sound[names[0]][0]], n_budget)
                on_target(settings, place.on, place.target, group, inputs, gathered, job.run.log)
        except EdgebertError as error:
            failure = f"{place.on}: {error.what}"
        told.update(_told(job, place, gathered, failure))
        if told["missing"]:
            raise _Incomplete
        return plain(told)

    keys = {
        "run": job.run.folder.name,
        "files": {key: artifact.sha256 for key, (_, artifact) in sound.items()},
        "rows": data_key(job),
        "lengths": (n_budget, FIXED_LENGTH, job.max_length),
        "place": (place.on, place.called, place.is_device, job.device.name),
        "settings": settings,
    }
    try:
        return dict(job.run.stage("profile-on", keys, make).result)
    except _Incomplete:
        return dict(plain(told))


def by_tokenizer(models: dict[str, Stage], sound: Mapping[str, tuple[str, Artifact]]) -> list[list[str]]:
    """Files that read the same pieces can take turns on the same inputs."""
    groups: dict[str, list[str]] = {}
    for key, (name, _) in sound.items():
        groups.setdefault(sha256_file(models[name].path / TOKENIZER), []).append(key)
    return list(groups.values())


def _target_inputs(job: Fit, model: Stage, n_budget: int) -> list[Inputs]:
    """The first is the one whose outputs are held against a run here."""
    features = _test_features(job, model)
    lengths = dict.fromkeys((n_budget, min(FIXED_LENGTH, job.max_length)))
    return [own_lengths_of(features, "the test rows"), *(at_length(features, n, "the test rows") for n in lengths)]


def _told(job: Fit, place: Place, gathered: Gathered, failure: str) -> dict[str, Any]:
    """Latencies of each file, and what the user is told. A file that was cut short before it had the runs that the
    protocol asks for has none."""
    latencies: dict[str, list[Latency]] = {}
    notes = [*gathered.notes, *([failure] if failure else [])]
    for one in gathered.results:
        if one.n_runs >= MIN_RUNS:
            here = HERE if place.target.name == "here" else one.device
            latencies.setdefault(one.file, []).append(as_latency(one, job.device.name if place.is_device else here))
        if one.failure:
            notes.append(f"{one.file} on {place.on}: {one.failure}")
        if one.equal_predictions is not None and one.equal_predictions < 1:
            notes.append(f"{one.file} on {place.on}: {100 * one.equal_predictions:.2f} % of predictions are as here")
    missing = bool(failure) or any(one.failure for one in gathered.results)
    called = next((one.device for one in gathered.results), place.called)
    if any(one.how == "emulated" for one in gathered.results):
        notes.append(f"{place.on} is emulated: its times say nothing of a device, and the predictions judge")
    if missing:
        notes.append("what was not measured there is predicted; the same command measures again")
    notes = list(dict.fromkeys(notes))
    for note in notes:
        job.run.log(event="note", text=note)
    facts = {name: value for name, value in gathered.facts.get(place.on, {}).items() if name in FACTS}
    return {"latencies": latencies, "notes": notes, "missing": missing, "called": called, "facts": facts}


FACTS = ("processor", "system", "clock_mhz", "temperature_c")  # of a target, that a report tells
