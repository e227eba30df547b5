"""The stages that make files: each resolves its inputs to a key and hands the run a function that fills a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from edgebert import registry
from edgebert.converters import CALIBRATION_ROWS, Runner, Session, Source
from edgebert.environment import describe_hardware, usable_cores
from edgebert.infer import pad_batch, run_features
from edgebert.job import Fit, alignment, data_key, train_settings
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
from edgebert.profile.footprint import measure_footprint
from edgebert.profile.protocol import FIXED_LENGTH, Batch, Entry, fixed_length, interleave, latency, spread_by_length
from edgebert.results import artifacts_of
from edgebert.run import Stage, plain, sha256_file
from edgebert.tasks import Task
from edgebert.teachers.fitting import fit_teacher, teacher_settings
from edgebert.training.run import judge, pad_id
from edgebert.trials import TRIAL_ROWS, choose_trial
from edgebert.types import Artifact, Candidate, Latency, Student
from edgebert.verify.edges import edge_batches
from edgebert.verify.parity import TOLERANCES, compare_task, make_reference, row_batches


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
    """The formats in float32 and in each reduced precision, the variant chosen by metric and time.

    The teacher is the yardstick on this machine and never ships: it is converted to ONNX only.
    """
    formats = ("onnx",) if name == "teacher" else job.formats
    precisions = ("int8",) if name == "teacher" else job.precisions

    def make(folder: Path) -> list[dict[str, Any]]:
        student, task = load_student(model.path), tuned_task(job, model)
        rows = job.dataset.splits["dev"][:TRIAL_ROWS]
        features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
        source = _source(job, student, model.path)
        timed_on = row_batches([features[i] for i in spread_by_length(features)], source.pad_id)
        made = []

        def score(session: Session) -> float:
            predictions = task.decode(rows, features, run_features(session, features), job.dataset.labels)
            return task.score(rows, predictions, "dev").value

        for format in formats:
            converter = registry.converter(format)
            place = folder / format / "fp32"
            place.mkdir(parents=True)
            exported = converter.export(source, place)
            made.append(_describe(exported, folder))
            for precision in (p for p in precisions if p in converter.precisions):
                chosen, table = choose_trial(
                    converter, source, exported, precision, folder,
                    score=score, timed_on=timed_on, log=job.run.log,
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
    return job.run.stage(f"convert-{name}", inputs, make, version=2)


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


def profile_stage(job: Fit, models: dict[str, Stage], converted: dict[str, Stage], verified: dict[str, Stage]) -> Stage:
    """The teacher in torch and every sound file, timed in turns on this machine."""
    sound = {
        f"{name}/{artifact.name}": (name, artifact)
        for name, stage in converted.items()
        for artifact in artifacts_of(stage)
        if not verified[name].result[artifact.name]["parity"]["failures"]
        and registry.converter(artifact.format).is_timed()
    }

    def make(folder: Path) -> dict[str, Any]:
        inputs = {name: _timing_inputs(job, stage) for name, stage in models.items()}
        latencies: dict[str, list[Latency]] = {key: [] for key in ("teacher/torch", *sound)}
        for threads in sorted({1, usable_cores()}):
            sessions: dict[str, Runner] = {
                key: registry.converter(artifact.format).open(artifact.path, threads)
                for key, (_, artifact) in sound.items()
            }
            sessions["teacher/torch"] = TorchSession(load_student(models["teacher"].path).model, threads)
            for lengths in ("data", "fixed"):
                entries = [Entry(key, session, inputs[key.split("/")[0]][lengths]) for key, session in sessions.items()]
                job.run.log(event="timing", files=len(entries), threads=threads, lengths=lengths)
                interleave(entries)
                for entry in entries:
                    latencies[entry.name].append(
                        latency(entry, device="this-machine", threads=threads, lengths=lengths)
                    )
        torch.set_num_threads(usable_cores())
        n_tokens = latencies["teacher/torch"][0].seq_len
        footprints = {
            key: measure_footprint(artifact.format, artifact.path, n_tokens) for key, (_, artifact) in sound.items()
        }
        footprints["teacher/torch"] = measure_footprint("torch", models["teacher"].path, n_tokens)
        return plain({"latencies": latencies, "footprints": footprints})

    keys = {"converted": {name: stage.key for name, stage in converted.items()}, "sound": sorted(sound)}
    return job.run.stage("profile", {**keys, "hardware": describe_hardware()}, make)


def _timing_inputs(job: Fit, model: Stage) -> dict[str, list[Batch]]:
    student = load_student(model.path)
    features = job.task.encode(job.dataset.splits["test"], student.tokenizer, job.dataset.labels, job.max_length)
    n_fixed = min(FIXED_LENGTH, job.max_length)
    return {
        "data": [pad_batch([features[i]]) for i in spread_by_length(features)],
        "fixed": [fixed_length(features, n_fixed)],
    }
