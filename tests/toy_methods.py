"""Methods on the toy world of conftest: a context, a method applied with its `toy` parameters, the student's logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import copy_student
from edgebert.modeling.graph import TorchSession
from edgebert.runtime.batching import run_features
from edgebert.tasks import find_task
from edgebert.training.context import MethodContext
from edgebert.types import Row, Student, TrainSettings


def method_context(teacher: Student, rows: list[Row], labels: tuple[str, ...], work: Path) -> MethodContext:
    settings = TrainSettings(epochs=1, batch_size=16, learning_rate=1e-3, max_length=32)
    return MethodContext(teacher.model, find_task("ner"), labels, rows[:64], rows[64:], settings, work)


def applied(name: str, teacher: Student, rows: list[Row], labels: tuple[str, ...], work: Path) -> Student:
    method = METHODS.get(name)
    torch.manual_seed(0)
    student = copy_student(teacher.model, teacher.tokenizer)
    return method.apply(student, method_context(teacher, rows, labels, work), **method.read_params(method.toy))


def logits(student: Student, rows: list[Row], labels: tuple[str, ...]) -> list[np.ndarray]:
    features = find_task("ner").encode(rows[64:], student.tokenizer, labels, 32)
    return [feature["logits"] for feature in run_features(TorchSession(student.model), features)]
