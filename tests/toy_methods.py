"""Methods on the toy world of conftest: a context, a method applied with its `toy` parameters, the student's logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edgebert.methods import METHODS, ParamValue
from edgebert.modeling.checkpoint import copy_student, set_labels
from edgebert.modeling.graph import TorchSession
from edgebert.modeling.heads import parts_of
from edgebert.runtime.batching import run_features
from edgebert.tasks import Task, find_task
from edgebert.training.context import MethodContext
from edgebert.types import Feature, Row, Student, TrainSettings

FIRST_WORDS = ("fly", "i", "is", "leave", "show")  # of the toy sentences


def served(name: str, teacher: Student) -> Student:
    """The teacher of tags, or for a method that serves labels of texts alone, its encoder with a head of these."""
    from transformers import AutoModelForSequenceClassification

    if METHODS.get(name).heads != ("sequence-classification",):
        return teacher
    torch.manual_seed(1)
    config = type(teacher.model.config).from_dict(teacher.model.config.to_dict())
    set_labels(config, FIRST_WORDS)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    prefix = f"{model.base_model_prefix}."
    encoder = {key: value for key, value in teacher.model.state_dict().items() if key.startswith(prefix)}
    model.load_state_dict(encoder, strict=False)
    model.config.architectures = [type(model).__name__]
    return replace(teacher, model=model)


def toy_task(student: Student, rows: Sequence[Row], labels: tuple[str, ...]) -> tuple[Task, list[Row], tuple[str, ...]]:
    """What a model with this head is tried on: the tags of the rows, or their first words as labels."""
    if parts_of(student.model.config, type(student.model).__name__)[0].kind != "sequence-classification":
        return find_task("ner"), list(rows), labels
    texts = [Row(text=" ".join(row.words), labels=row.words[:1]) for row in rows]
    return find_task("classify"), texts, FIRST_WORDS


def method_context(teacher: Student, rows: list[Row], labels: tuple[str, ...], work: Path) -> MethodContext:
    task, rows, labels = toy_task(teacher, rows, labels)
    rate = 1e-3 if rows[0].tags else 3e-3  # one label a text says less than one a word
    settings = TrainSettings(epochs=1, batch_size=16, learning_rate=rate, max_length=32)
    return MethodContext(teacher.model, task, labels, rows[:64], rows[64:], settings, work)


def toy_params(name: str, **more: ParamValue) -> dict[str, ParamValue]:
    """Those of the method's declaration, with `more` in their place; its files lie beside this one."""
    method = METHODS.get(name)
    files = {param.name for param in method.params if param.paths}
    toy = {key: str(Path(__file__).parent / str(value)) if key in files else value for key, value in method.toy.items()}
    return method.read_params({**toy, **more})


def applied(name: str, teacher: Student, rows: list[Row], labels: tuple[str, ...], work: Path) -> Student:
    method = METHODS.get(name)
    teacher = served(name, teacher)
    torch.manual_seed(0)
    student = copy_student(teacher.model, teacher.tokenizer)
    return method.apply(student, method_context(teacher, rows, labels, work), **toy_params(name))


def encoded(student: Student, rows: Sequence[Row], labels: tuple[str, ...]) -> list[Feature]:
    task, rows, labels = toy_task(student, rows, labels)
    return list(task.encode(rows, student.tokenizer, labels, 32))


def logits(student: Student, rows: list[Row], labels: tuple[str, ...]) -> list[np.ndarray]:
    features = encoded(student, rows[64:], labels)
    return [feature["logits"] for feature in run_features(TorchSession(student.model), features)]


def wrong(student: Student, rows: Sequence[Row], labels: tuple[str, ...]) -> float:
    """The share of tags, or of labels, that are not the rows'."""
    task, rows, labels = toy_task(student, rows, labels)
    features = task.encode(rows, student.tokenizer, labels, 32)
    predicted = task.decode(rows, features, run_features(TorchSession(student.model), features), labels)
    pairs = [
        pair
        for row, given in zip(rows, predicted, strict=True)
        for pair in zip(row.tags or row.labels, getattr(given, "labels", given), strict=True)
    ]
    return sum(a != b for a, b in pairs) / len(pairs)
