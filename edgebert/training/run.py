"""Trains a student inside a recipe: encodes the rows, runs the loop, scores after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.infer import run_features
from edgebert.methods import Workshop
from edgebert.modeling.graph import TorchSession
from edgebert.training.loop import Item, Objective, train
from edgebert.types import Dataset, Feature, Outputs, Row, Score, Student

if TYPE_CHECKING:
    from edgebert.tasks import Task

EVALUATION_BATCH = 32


def train_student(objective: Objective, student: Student, workshop: Workshop, name: str, epochs: float) -> None:
    """Minimises the objective over the workshop's training rows; the student is trained in place."""
    settings = replace(workshop.settings, epochs=epochs)
    windows = workshop.task.encode(workshop.train, student.tokenizer, workshop.labels, settings.max_length)
    items: Sequence[Item] = windows
    if workshop.task.paired:  # a pair's two windows must meet in one batch
        items = [tuple(pair) for _, pair in groupby(windows, lambda feature: feature.row)]

    def dev_score() -> dict[str, Any]:
        score = evaluate(student, workshop.task, workshop.labels, workshop.dev, "dev", settings.max_length)
        student.model.train()
        return {"dev": round(score.value, 4)}

    train(
        objective,
        items,
        settings,
        Path(workshop.work) / name,
        name=name,
        pad_id=pad_id(student),
        log=workshop.log,
        after_epoch=dev_score,
    )


def evaluate(
    student: Student, task: Task, labels: Sequence[str], rows: Sequence[Row], split: str, max_length: int
) -> Score:
    """The task's score of a model in torch, on the device where it is."""
    features, outputs = read_rows(student, task, labels, rows, max_length)
    return task.score(rows, task.decode(rows, features, outputs, labels), split)


def judge(student: Student, task: Task, dataset: Dataset, max_length: int) -> dict[str, Any]:
    """dev and test scores of a model in torch, and the options of the task as tuned on the development rows."""
    dev = dataset.splits["dev"]
    features, outputs = read_rows(student, task, dataset.labels, dev, max_length)
    tuned = task.tuned(dev, features, outputs, dataset.labels)
    return {
        "dev": tuned.score(dev, tuned.decode(dev, features, outputs, dataset.labels), "dev"),
        "test": evaluate(student, tuned, dataset.labels, dataset.splits["test"], "test", max_length),
        "task": tuned.options(),
    }


def read_rows(
    student: Student, task: Task, labels: Sequence[str], rows: Sequence[Row], max_length: int
) -> tuple[list[Feature], list[Outputs]]:
    """The windows of the rows, and what the model in torch gives for each."""
    features = task.encode(rows, student.tokenizer, labels, max_length)
    session = TorchSession(student.model)
    return features, run_features(session, features, batch_size=EVALUATION_BATCH, pad_id=pad_id(student))


def pad_id(student: Student) -> int:
    return int(getattr(student.model.config, "pad_token_id", 0) or 0)
