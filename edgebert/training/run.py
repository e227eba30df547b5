"""Trains a student inside a recipe: encodes the rows, runs the loop, scores after each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.errors import RequestError, TeacherError
from edgebert.modeling.checkpoint import n_parameters
from edgebert.modeling.graph import TorchSession
from edgebert.modeling.heads import is_per_token
from edgebert.modeling.losses import UNANSWERED
from edgebert.runtime.batching import run_features
from edgebert.training.context import MethodContext
from edgebert.training.loop import ANSWERED, DistillationObjective, Item, Objective, train
from edgebert.types import Dataset, Feature, Outputs, Row, Score, Student, TrainSettings

if TYPE_CHECKING:
    from edgebert.tasks import Task

EVALUATION_BATCH = 32
SCORED_PER_ROW = 5  # rows trained on, at the least, for each that is scored on the way


def train_student(
    objective: Objective,
    student: Student,
    context: MethodContext,
    name: str,
    epochs: float,
    *,
    rows: Sequence[Row] | None = None,
    learning_rate: float | None = None,
    scored: bool = True,
) -> None:
    """Minimises the objective; the student is trained in place.

    Args:
        name: of this phase, unlike any other of the recipe: its checkpoints lie under it.
        rows: to train on; by default the context's labelled ones.
        learning_rate: in place of the settings'.
        scored: tell the development score after each epoch; a phase that leaves the head untrained has none to tell.
    """
    settings = replace(context.settings, epochs=epochs)
    if learning_rate:
        settings = replace(settings, learning_rate=learning_rate)
    rows = context.train if rows is None else rows
    windows = context.task.encode(rows, student.tokenizer, context.labels, settings.max_length)
    if isinstance(objective, DistillationObjective) and (
        student.own_tokenizer or (objective.asks_once and (epochs > 1 or context.answers))
    ):
        windows = answered(windows, rows, student, context)
    items: Sequence[Item] = windows
    if context.task.paired:  # a pair's two windows must meet in one batch
        items = [tuple(pair) for _, pair in groupby(windows, lambda feature: feature.row)]

    passes = count(1)

    def dev_score() -> dict[str, object]:
        if next(passes) % passes_between_scores(len(windows), len(context.dev)):
            return {}
        precision = settings.mixed_precision
        score = evaluate(
            student, context.task, context.labels, context.dev, "dev", settings.max_length, mixed_precision=precision
        )
        objective.train()
        return {"dev": round(score.value, 4)}

    train(
        objective,
        items,
        settings,
        Path(context.work) / name,
        name=name,
        pad_id=pad_id(student),
        log=context.log,
        after_epoch=dev_score if scored and context.scores_epochs else None,
    )


def passes_between_scores(n_windows: int, n_dev: int) -> int:
    """Passes over the rows from one development score to the next, so that scoring costs little beside training: of a row,
    it is a third of the arithmetic of a training step."""
    return max(1, -(-SCORED_PER_ROW * n_dev // n_windows))


def answered(
    windows: Sequence[Feature], rows: Sequence[Row], student: Student, context: MethodContext
) -> list[Feature]:
    """The windows with what the teacher says of each: of the student's own tokens where it can read them; where it
    cannot, of each word at the student's first token of it, or of the whole text.

    Stored answers serve where they are of what the teacher would read; it is asked about the rest now. A window whose
    answer is not finite gets NaN alone, so that losses can leave it out (`edgebert.training.heads.rows_with_answers`).

    Raises:
        RequestError: answers are of places in the text, or the two cut rows into windows of other numbers.
        TeacherError: no answer is finite.
    """
    own = context.teacher_tokenizer
    teacher = Student(context.teacher, student.tokenizer if own is None else own)
    if student.own_tokenizer:
        features = context.task.encode(rows, teacher.tokenizer, context.labels, context.settings.max_length)
    else:
        ids = student.teacher_ids
        features = [replace(item, input_ids=tuple(ids[i] for i in item.input_ids)) if ids else item for item in windows]
    outputs = _without_broken(_answers_of(teacher, features, context), student, context)
    of_tokens = any(is_per_token(name, array.ndim + 1) for name, array in outputs[0].items())
    if student.own_tokenizer and of_tokens and context.task.reads_words:
        outputs = answers_by_word(windows, features, outputs)
    elif student.own_tokenizer and (
        of_tokens or [feature.row for feature in features] != [item.row for item in windows]
    ):
        what = "a student with a tokenizer of its own can learn one answer a text, and this task has one a token"
        raise RequestError(what, where="--student", hint="Choose a student of the teacher's tokenizer.")
    return [
        replace(window, targets={**window.targets, **{ANSWERED + name: array for name, array in answer.items()}})
        for window, answer in zip(windows, outputs, strict=True)
    ]


def answers_by_word(
    windows: Sequence[Feature], features: Sequence[Feature], outputs: Sequence[Outputs]
) -> list[Outputs]:
    """The teacher's answer to each word, put at the student's first token of that word; UNANSWERED at all others.

    Args:
        windows: of the student.
        features: of the teacher, whose windows and tokens may be others.
        outputs: one a window of the teacher, each (n_tokens, n_labels).

    Returns:
        One a window of the student.
    """
    known = {
        (feature.row, word): {name: array[place] for name, array in answer.items()}
        for feature, answer in zip(features, outputs, strict=True)
        for place, word in enumerate(feature.words)
        if word >= 0
    }
    blank = {name: np.full(array.shape[1:], UNANSWERED, array.dtype) for name, array in outputs[0].items()}
    results: list[Outputs] = []
    for window in windows:
        each = [known.get((window.row, word), blank) for word in window.words]
        results.append({name: np.stack([item[name] for item in each]) for name in blank})
    return results


def _answers_of(teacher: Student, features: Sequence[Feature], context: MethodContext) -> list[Outputs]:
    """The answer to each window: the stored one, or else the teacher's own now."""
    stored = context.answers
    results = [stored.find(feature) if stored else None for feature in features]
    missing = [i for i, answer in enumerate(results) if answer is None]
    if stored and missing:
        told = f"the teacher is asked about {len(missing)} of {len(features)} windows, whose answers are not stored"
        context.log(event="note", text=told)
    if missing:
        new = ask_teacher(teacher, [features[i] for i in missing], context.settings, context.log)
        results = [new.pop(0) if answer is None else answer for answer in results]
    return [answer for answer in results if answer is not None]


def _without_broken(outputs: Sequence[Outputs], student: Student, context: MethodContext) -> list[Outputs]:
    """The answers, those that are not finite as NaN alone: which are told, and refused where there are no others."""
    broken = [not all(np.isfinite(value).all() for value in answer.values()) for answer in outputs]
    if all(broken):
        hint = "Its weights or its training are broken: try another --teacher, or a lower --learning-rate."
        raise TeacherError("none of the teacher's answers is a finite number", where="--teacher", hint=hint)
    if any(broken):
        told = f"the teacher's answers to {sum(broken)} of {len(outputs)} windows are not finite: their labels alone are learnt"
        context.log(event="note", text=told)
        student.notes += (told,)
    return [
        {name: np.full_like(value, np.nan) for name, value in answer.items()} if bad else answer
        for answer, bad in zip(outputs, broken, strict=True)
    ]


def ask_teacher(
    teacher: Student,
    features: Sequence[Feature],
    settings: TrainSettings,
    log: Callable[..., None] = lambda **event: None,
    *,
    dropout: bool = False,
) -> list[Outputs]:
    """The teacher's outputs of each window, by name and without padding, in the precision of the training.

    Args:
        features: as the teacher reads them.
        dropout: leave its dropout on; torch's generator draws it.
    """
    done, told = 0, time.monotonic()

    def step(n: int) -> None:
        nonlocal done, told
        done += n
        if time.monotonic() - told > 2:
            told = time.monotonic()
            log(event="step", training="teacher's answers", step=done, steps=len(features))

    session = TorchSession(teacher.model)
    session.graph.train(dropout)
    with _autocast(teacher, settings.mixed_precision):
        outputs = run_features(session, features, batch_size=EVALUATION_BATCH, pad_id=pad_id(teacher), step=step)
    session.graph.eval()
    return outputs


def _autocast(student: Student, mixed_precision: str) -> AbstractContextManager[object]:
    import torch

    device = next(student.model.parameters()).device.type
    return torch.autocast(device, torch.bfloat16, enabled=mixed_precision == "bf16")


def evaluate(
    student: Student,
    task: Task,
    labels: Sequence[str],
    rows: Sequence[Row],
    split: str,
    max_length: int,
    *,
    mixed_precision: str = "no",
) -> Score:
    """The task's score of a model in torch, on the device where it is; in the precision of its training where it is told
    on the way, or trainings are compared by it."""
    with _autocast(student, mixed_precision):
        features, outputs = read_rows(student, task, labels, rows, max_length)
    return task.score(rows, task.decode(rows, features, outputs, labels), split)


@dataclass(frozen=True)
class TrainedModel:
    """What the stages that train record of a model.

    Attributes:
        dev, test: its scores in torch.
        task: the options of the task as tuned on the development rows.
    """

    dev: Score
    test: Score
    task: Mapping[str, object]
    n_parameters: int


def evaluate_splits(student: Student, task: Task, dataset: Dataset, max_length: int) -> TrainedModel:
    """The scores of a model in torch, and its number of parameters."""
    dev = dataset.splits["dev"]
    features, outputs = read_rows(student, task, dataset.labels, dev, max_length)
    tuned = task.tuned(dev, features, outputs, dataset.labels)
    return TrainedModel(
        dev=tuned.score(dev, tuned.decode(dev, features, outputs, dataset.labels), "dev"),
        test=evaluate(student, tuned, dataset.labels, dataset.splits["test"], "test", max_length),
        task=tuned.options(),
        n_parameters=n_parameters(student.model),
    )


def read_rows(
    student: Student, task: Task, labels: Sequence[str], rows: Sequence[Row], max_length: int
) -> tuple[list[Feature], list[Outputs]]:
    """The windows of the rows, and what the model in torch gives for each."""
    features = task.encode(rows, student.tokenizer, labels, max_length)
    session = TorchSession(student.model)
    return features, run_features(session, features, batch_size=EVALUATION_BATCH, pad_id=pad_id(student))


def pad_id(student: Student) -> int:
    return int(getattr(student.model.config, "pad_token_id", 0) or 0)
