"""The stages that make files: each resolves its inputs to a key and hands the run a function that fills a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgebert import registry
from edgebert.converters import Converter, Session, Trial
from edgebert.environment import describe_hardware
from edgebert.infer import pad_batch, run_features
from edgebert.job import Fit, data_key, train_settings
from edgebert.methods import Workshop
from edgebert.modeling.checkpoint import (
    TorchSession,
    copy_student,
    load_config,
    load_student,
    n_parameters,
    save_checkpoint,
)
from edgebert.profile.footprint import measure_footprint
from edgebert.profile.protocol import FIXED_LENGTH, Batch, Entry, fixed_length, interleave, latency, spread_by_length
from edgebert.results import artifacts_of
from edgebert.run import Stage, plain, sha256_file
from edgebert.teachers.fitting import fit_teacher
from edgebert.training.run import EVALUATION_BATCH, evaluate, pad_id
from edgebert.types import (
    Artifact,
    Candidate,
    Feature,
    Latency,
    Row,
)
from edgebert.verify.parity import TOLERANCES, Reference, compare

TRIAL_ROWS = 300  # development rows on which the variants of a precision are compared
TRIAL_RUNS = 30
SCORE_TIE = 0.0025  # of a metric from 0 to 1: variants nearer than this are equal, the faster wins


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
        "task": job.task.name,
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
    width = load_config(teacher.path).hidden_size
    epochs = job.request.epochs or job.level.epochs(job.level.visits, len(job.dataset.splits["train"]))
    settings = train_settings(job, epochs=epochs, width=width)
    calls = [(call.method, registry.method(call.method).read_params(call.params)) for call in candidate.recipe.calls]

    def make(folder: Path) -> dict[str, Any]:
        torch.manual_seed(settings.seed)
        source = load_student(teacher.path, job.task.auto_model)
        student = copy_student(source.model, source.tokenizer)
        splits = job.dataset.splits
        for name, params in calls:
            workshop = Workshop(
                source.model, job.task, job.dataset.labels, splits["train"], splits["dev"], settings,
                folder / "work", job.run.log,
            )  # fmt: skip
            student = registry.method(name).apply(student, workshop, **params)
        save_checkpoint(folder, student, teacher.path)
        scores = {
            split: evaluate(student, job.task, job.dataset.labels, splits[split], split, settings.max_length)
            for split in ("dev", "test")
        }
        return plain({**scores, "n_parameters": n_parameters(student.model), "notes": student.notes})

    inputs = {"teacher": teacher.key, "recipe": calls, "settings": settings}
    return job.run.stage(f"compress-{candidate.name}", inputs, make, resumable=True)


def convert_stage(job: Fit, name: str, model: Stage) -> Stage:
    """Every format in float32 and in each reduced precision, the variant chosen by metric and time."""

    def make(folder: Path) -> list[dict[str, Any]]:
        student = load_student(model.path, job.task.auto_model)
        made = []
        for format in registry.converters():
            converter = registry.converter(format)
            place = folder / format / "fp32"
            place.mkdir(parents=True)
            exported = converter.export(student.model, place)
            rows = job.dataset.splits["dev"][:TRIAL_ROWS]
            features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
            made.append(_describe(exported, folder))
            for precision, trials in converter.precisions.items():
                chosen, table = choose_trial(converter, exported, precision, trials, rows, features, job, folder)
                made.append(_describe(chosen, folder) | {"trials": table})
        return made

    inputs = {
        "model": model.key,
        "formats": tuple(registry.converters()),
        "trials": {name: converter.precisions for name, converter in registry.converters().items()},
        "rows": TRIAL_ROWS,
    }
    return job.run.stage(f"convert-{name}", inputs, make, version=1)


def _describe(artifact: Artifact, folder: Path) -> dict[str, Any]:
    return plain(replace(artifact, path=artifact.path.relative_to(folder)))


def choose_trial(
    converter: Converter,
    exported: Artifact,
    precision: str,
    trials: Sequence[Trial],
    rows: Sequence[Row],
    features: Sequence[Feature],
    job: Fit,
    folder: Path,
) -> tuple[Artifact, list[dict[str, Any]]]:
    """Writes every variant of a precision, scores and times them in turns, and keeps one.

    The best score wins; of variants within SCORE_TIE of it, the fastest.
    """
    work = folder / "work"
    artifacts, entries, scores = [], [], []
    spread = [pad_batch([features[i]]) for i in spread_by_length(features)]
    for trial in trials:
        place = work / trial.name
        place.mkdir(parents=True)
        artifact = converter.reduce(exported, precision, trial, place)
        session = converter.open(artifact.path, 1)
        logits = run_features(session, features)
        predictions = job.task.decode(rows, features, logits, job.dataset.labels)
        scores.append(job.task.score(rows, predictions, "dev").value)
        artifacts.append(artifact)
        entries.append(Entry(trial.name, session, spread))
        job.run.log(event="trial", name=trial.name, score=round(scores[-1], 4))
    interleave(entries, TRIAL_RUNS)
    times = [float(np.median(entry.times_ms)) for entry in entries]
    good = [i for i in range(len(trials)) if scores[i] >= max(scores) - SCORE_TIE]
    best = min(good, key=lambda i: times[i])
    place = folder / exported.format / precision
    place.mkdir(parents=True)
    target = place / artifacts[best].path.name
    shutil.move(artifacts[best].path, target)
    table = [
        {
            "trial": trial.name,
            "dev_score": round(scores[i], 5),
            "p50_ms": round(times[i], 3),
            "bytes": artifacts[i].size_bytes,
            "chosen": i == best,
        }
        for i, trial in enumerate(trials)
    ]
    return replace(artifacts[best], path=target), table


def verify_stage(job: Fit, name: str, model: Stage, converted: Stage) -> Stage:
    """Every file run on the test rows and held against the model in torch; its own score on the development rows."""

    def make(folder: Path) -> dict[str, Any]:
        student = load_student(model.path, job.task.auto_model)
        results = {}
        references = {split: _reference(job, student, split) for split in ("test", "dev")}
        for artifact in artifacts_of(converted):
            session = registry.converter(artifact.format).open(artifact.path, 0)
            parity = compare(session, references["test"], job.task, artifact.precision, pad_id=pad_id(student))
            dev = references["dev"]
            predictions = job.task.decode(
                dev.rows, dev.features, run_features(session, dev.features), job.dataset.labels
            )
            results[artifact.name] = {"parity": parity, "dev": job.task.score(dev.rows, predictions, "dev")}
            outcome = "rejected" if parity.failures else "passed"
            job.run.log(event="parity", model=name, artifact=artifact.name, outcome=outcome, failures=parity.failures)
        return plain(results)

    inputs = {"model": model.key, "converted": converted.key, "data": data_key(job), "tolerances": plain(TOLERANCES)}
    return job.run.stage(f"verify-{name}", inputs, make)


def _reference(job: Fit, student: Any, split: Any) -> Reference:
    rows = job.dataset.splits[split]
    features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
    logits = run_features(TorchSession(student.model), features, batch_size=EVALUATION_BATCH, pad_id=pad_id(student))
    return Reference(rows, features, logits, job.dataset.labels, split)


def profile_stage(job: Fit, models: dict[str, Stage], converted: dict[str, Stage], verified: dict[str, Stage]) -> Stage:
    """The teacher in torch and every sound file, timed in turns on this machine."""
    sound = {
        f"{name}/{artifact.name}": (name, artifact)
        for name, stage in converted.items()
        for artifact in artifacts_of(stage)
        if not verified[name].result[artifact.name]["parity"]["failures"]
    }

    def make(folder: Path) -> dict[str, Any]:
        inputs = {name: _timing_inputs(job, stage) for name, stage in models.items()}
        latencies: dict[str, list[Latency]] = {key: [] for key in ("teacher/torch", *sound)}
        for threads in sorted({1, usable_cores()}):
            sessions: dict[str, Session] = {
                key: registry.converter(artifact.format).open(artifact.path, threads)
                for key, (_, artifact) in sound.items()
            }
            sessions["teacher/torch"] = TorchSession(
                load_student(models["teacher"].path, job.task.auto_model).model, threads
            )
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


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _timing_inputs(job: Fit, model: Stage) -> dict[str, list[Batch]]:
    student = load_student(model.path, job.task.auto_model)
    features = job.task.encode(job.dataset.splits["test"], student.tokenizer, job.dataset.labels, job.max_length)
    n_fixed = min(FIXED_LENGTH, job.source.max_length)
    return {
        "data": [pad_batch([features[i]]) for i in spread_by_length(features)],
        "fixed": [fixed_length(features, n_fixed)],
    }
