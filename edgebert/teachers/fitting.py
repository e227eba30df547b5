"""Gives a teacher the task's head: its own where it fits, a new one fine-tuned on the rows where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgebert.methods import Workshop
from edgebert.modeling.checkpoint import (
    load_config,
    load_model,
    load_tokenizer,
    n_parameters,
    save_checkpoint,
    slice_head,
)
from edgebert.modeling.heads import HEADS, SEVERAL, head_of
from edgebert.registry import method
from edgebert.run import plain
from edgebert.tasks import Task
from edgebert.teachers import TeacherSource
from edgebert.training.run import judge, read_rows
from edgebert.types import Dataset, Student, TrainSettings


def fit_teacher(
    source: TeacherSource,
    dataset: Dataset,
    task: Task,
    settings: TrainSettings,
    folder: Path,
    *,
    allow_pickle: bool = False,
    log: Callable[..., None] = lambda **event: None,
) -> dict[str, Any]:
    """Writes the teacher with the task's head to `folder`.

    Returns:
        dev and test scores, number of parameters, and a note on the head.
    """
    import torch
    from tokenizers.pre_tokenizers import ByteLevel

    torch.manual_seed(settings.seed)
    train, dev = dataset.splits["train"], dataset.splits["dev"]
    tokenizer = load_tokenizer(source.folder)
    if isinstance(tokenizer.pre_tokenizer, ByteLevel):
        tokenizer.pre_tokenizer.add_prefix_space = True  # rows are words, and RoBERTa's pieces of a word begin with one
    auto_model, settings_of = HEADS[task.head].auto_model, teacher_settings(task, dataset.labels)
    order = _fitting_head(source.folder, task, dataset.labels)
    if order is not None:
        model, whole = load_model(source.folder, auto_model, settings=settings_of, allow_pickle=allow_pickle)
        order = order if whole else None
    if order is not None:
        if dataset.labels and order != list(range(model.config.num_labels)):
            slice_head(model, order, dataset.labels)
        student, note = Student(model, tokenizer), "the checkpoint's own head"
        if dataset.labels:
            note += ", its outputs in the data's order"
    else:
        model, _ = load_model(
            source.folder, auto_model, dataset.labels, settings=settings_of, allow_pickle=allow_pickle
        )
        workshop = Workshop(model, task, dataset.labels, train, dev, settings, folder / "work", log=log)
        student = method("finetune").apply(Student(model, tokenizer), workshop, epochs=settings.epochs)
        note = f"a new head, fine-tuned for {settings.epochs:g} epochs at a learning rate of {settings.learning_rate:g}"
    save_checkpoint(folder, student, source.folder)
    dataset = taught(student, task, dataset, settings.max_length)
    scores = judge(student, task, dataset, settings.max_length)
    return plain({**scores, "n_parameters": n_parameters(student.model), "note": note})


def taught(student: Student, task: Task, dataset: Dataset, max_length: int) -> Dataset:
    """The dataset whose development and test rows hold what only the teacher can say of them."""
    if not task.asks_teacher:
        return dataset
    rows = dict(dataset.splits)
    for split in ("dev", "test"):
        features, outputs = read_rows(student, task, dataset.labels, rows[split], max_length)
        rows[split] = task.taught(rows[split], features, outputs)
    return replace(dataset, splits=rows)


def teacher_settings(task: Task, labels: tuple[str, ...]) -> dict[str, Any]:
    """What the teacher's config gets: a sentence vector of a width of its own is for students."""
    settings = task.model_settings(labels)
    return settings if task.head == SEVERAL else {k: v for k, v in settings.items() if k != "edgebert_heads"}


def _fitting_head(folder: Path, task: Task, labels: tuple[str, ...]) -> list[int] | None:
    """Where each label stands in the checkpoint's head, [] for a head without; None when it has none for the task."""
    config = load_config(folder)
    if task.head == "sentence-embedding":  # any encoder has states to pool
        return []
    if not any(head_of(name).name == task.head for name in config.architectures or ()):
        return None
    if task.head == SEVERAL and config.edgebert_heads != task.model_settings(labels)["edgebert_heads"]:
        return None
    if not labels:
        return []
    return task.match_labels([config.id2label[i] for i in range(config.num_labels)], labels)
