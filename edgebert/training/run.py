"""Trains a student inside a recipe: encodes the rows, runs the loop, scores after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.infer import run_features
from edgebert.methods import Workshop
from edgebert.modeling.graph import TorchSession
from edgebert.training.loop import Objective, train
from edgebert.types import Row, Score, Student

if TYPE_CHECKING:
    from edgebert.tasks import Task

EVALUATION_BATCH = 32


def train_student(objective: Objective, student: Student, workshop: Workshop, name: str, epochs: float) -> None:
    """Minimises the objective over the workshop's training rows; the student is trained in place."""
    settings = replace(workshop.settings, epochs=epochs)
    features = workshop.task.encode(workshop.train, student.tokenizer, workshop.labels, settings.max_length)

    def dev_score() -> dict[str, Any]:
        score = evaluate(student, workshop.task, workshop.labels, workshop.dev, "dev", settings.max_length)
        student.model.train()
        return {"dev": round(score.value, 4)}

    train(
        objective,
        features,
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
    features = task.encode(rows, student.tokenizer, labels, max_length)
    logits = run_features(TorchSession(student.model), features, batch_size=EVALUATION_BATCH, pad_id=pad_id(student))
    return task.score(rows, task.decode(rows, features, logits, labels), split)


def pad_id(student: Student) -> int:
    return int(getattr(student.model.config, "pad_token_id", 0) or 0)
