"""The stages that store a teacher's answers: made once for every candidate, trial and student that learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from edgebert.modeling.checkpoint import load_student, save_checkpoint
from edgebert.modeling.heads import parts_of
from edgebert.runs.store import Stage
from edgebert.teachers.answers import Member, fitted_temperature, write_answers
from edgebert.teachers.fitting import fine_tuned
from edgebert.teachers.folds import HELD_BY_NONE, fold_of_rows
from edgebert.teachers.spreading import spreading
from edgebert.training.answers import window_key
from edgebert.training.context import AnswerKind
from edgebert.training.run import ask_teacher
from edgebert.types import Feature, Outputs, Student
from edgebert.workflows.request import Fit, data_key, teacher_train_settings


def answers_stage(job: Fit, kind: AnswerKind, teacher: Stage) -> Stage:
    """What the teacher, or several, say of the training rows and of the unlabelled ones; `StoredAnswers` reads it.

    Raises:
        TeacherError: no answer is a finite number.
    """
    if kind in job.answers:
        return job.answers[kind]
    folds, notes = _folds(job, kind)
    others = [fold_teacher_stage(job, folds, fold) for fold in range(max(folds, default=HELD_BY_NONE) + 1)]
    rows = (*job.dataset.splits["train"], *job.unlabelled.rows)

    def make(folder: Path) -> dict[str, object]:
        torch.manual_seed(job.request.seed)  # of dropout
        first = load_student(teacher.path)
        windows = job.task.encode(rows, first.tokenizer, job.dataset.labels, job.max_length)
        fold_of = {window_key(window): folds[window.row] for window in windows if window.row < len(folds)}

        def temperature(student: Student) -> float:
            dev = job.dataset.splits["dev"]
            return fitted_temperature(student, job.task, job.dataset.labels, dev, job.max_length, ask)

        def ask(student: Student, features: Sequence[Feature], dropout: bool) -> list[Outputs]:
            return ask_teacher(student, features, settings, job.run.log, dropout=dropout)

        parts = parts_of(first.model.config, type(first.model).__name__)
        result = write_answers(
            folder,
            windows,
            _members(kind, first, others, fold_of),
            parts,
            spreading(first, windows, parts[0], ask) if kind.name == "spread" else ask,
            temperature if kind.calibrated else None,
        )
        return {**result, "notes": notes}

    settings = teacher_train_settings(job)
    inputs = {
        "teacher": teacher.key,
        "folds": [stage.key for stage in others],
        "data": data_key(job),
        "unlabelled": job.unlabelled.sha256,
        "kind": (kind.name, kind.passes if kind.name == "dropout" else 0, kind.calibrated),
        "reading": (job.max_length, settings.mixed_precision),
    }
    job.answers[kind] = job.run.stage("answers", inputs, make)
    return job.answers[kind]


def _folds(job: Fit, kind: AnswerKind) -> tuple[list[int], list[str]]:
    """The fold of each training row, where the kind needs teachers of folds, and what a user should know of them."""
    if not kind.trains_teachers:
        return [], []
    train = job.dataset.splits["train"]
    folds, notes = fold_of_rows(train, kind.folds, job.request.seed), []
    n_folds, alone = max(folds) + 1, folds.count(HELD_BY_NONE)
    if n_folds < kind.folds:
        notes.append(f"{n_folds} folds in place of {kind.folds}: the training rows allow no more")
    if alone:
        message = f"{alone} of {len(train)} training rows are answered by the teacher that learnt them"
        notes.append(f"{message}: without them no row of another fold would have their label")
    for note in notes:
        job.run.log(event="note", text=note)
    return folds, notes


def _members(kind: AnswerKind, teacher: Student, others: Sequence[Stage], fold_of: dict[bytes, int]) -> list[Member]:
    """Who answers which windows. Those of unlabelled rows are in no fold."""
    if kind.name == "dropout":
        return [Member(lambda: teacher, passes=kind.passes)]
    if kind.name != "out-of-fold" or not others:
        return [Member(lambda: teacher), *(Member(_loader(stage)) for stage in others)]

    def of_fold(fold: int, unlabelled: bool) -> Callable[[bytes], bool]:
        return lambda key: fold_of[key] == fold if key in fold_of else unlabelled

    return [
        Member(lambda: teacher, of_fold(HELD_BY_NONE, unlabelled=False)),
        *(Member(_loader(stage), of_fold(fold, unlabelled=True)) for fold, stage in enumerate(others)),
    ]


def _loader(stage: Stage) -> Callable[[], Student]:
    return lambda: load_student(stage.path)


def fold_teacher_stage(job: Fit, folds: Sequence[int], fold: int) -> Stage:
    """A teacher trained as the teacher is, without the rows of one fold, and with a seed of its own."""
    settings = teacher_train_settings(job)
    settings = replace(settings, seed=settings.seed + 1 + fold)
    rows = tuple(row for row, own in zip(job.dataset.splits["train"], folds, strict=True) if own != fold)
    dataset = replace(job.dataset, splits={**job.dataset.splits, "train": rows})

    def make(folder: Path) -> dict[str, object]:
        torch.manual_seed(settings.seed)
        allow_pickle = job.request.allow_pickle
        student = fine_tuned(
            job.source, dataset, job.task, settings, folder / "work", allow_pickle=allow_pickle, log=job.run.log
        )
        save_checkpoint(folder, student, job.source.folder)
        return {"rows": len(rows)}

    inputs = {
        "checkpoint": job.source.key,
        "data": data_key(job),
        "task": (job.task.name, job.task.options()),
        "settings": settings,
        "folds": (max(folds) + 1, fold),
    }
    return job.run.stage("fold-teacher", inputs, make, resumable=True, version=2)
