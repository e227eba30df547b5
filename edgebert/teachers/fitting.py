"""Gives a teacher the task's head: its own where it fits, a new one fine-tuned on the rows where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.methods import Workshop
from edgebert.modeling.checkpoint import (
    load_config,
    load_model,
    load_tokenizer,
    n_parameters,
    save_checkpoint,
    slice_head,
)
from edgebert.registry import method
from edgebert.run import plain
from edgebert.teachers import TeacherSource
from edgebert.training.run import evaluate
from edgebert.types import Dataset, Student, TrainSettings

if TYPE_CHECKING:
    from edgebert.tasks import Task


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
    train, dev, test = (dataset.splits[split] for split in ("train", "dev", "test"))
    tokenizer = load_tokenizer(source.folder)
    if isinstance(tokenizer.pre_tokenizer, ByteLevel):
        tokenizer.pre_tokenizer.add_prefix_space = True  # rows are words, and RoBERTa's pieces of a word begin with one
    order = _fitting_head(source.folder, task, dataset.labels)
    if order is not None:
        model, whole = load_model(source.folder, task.auto_model, allow_pickle=allow_pickle)
        order = order if whole else None
    if order is not None:
        slice_head(model, order, dataset.labels)
        student, note = Student(model, tokenizer), "the checkpoint's own head, its outputs put in the data's order"
    else:
        model, _ = load_model(source.folder, task.auto_model, dataset.labels, allow_pickle=allow_pickle)
        workshop = Workshop(model, task, dataset.labels, train, dev, settings, folder / "work", log)
        student = method("finetune").apply(Student(model, tokenizer), workshop, epochs=settings.epochs)
        note = f"a new head, fine-tuned for {settings.epochs:g} epochs at a learning rate of {settings.learning_rate:g}"
    save_checkpoint(folder, student, source.folder)
    scores = {
        split: evaluate(student, task, dataset.labels, rows, split, settings.max_length)
        for split, rows in (("dev", dev), ("test", test))
    }
    return plain({**scores, "n_parameters": n_parameters(student.model), "note": note})


def _fitting_head(folder: Path, task: Task, labels: tuple[str, ...]) -> list[int] | None:
    """Where each label stands in the checkpoint's head; None when it has none for the task."""
    config = load_config(folder)
    suffix = task.auto_model.removeprefix("AutoModel")
    if not any(name.endswith(suffix) for name in config.architectures or ()):
        return None
    return task.match_labels([config.id2label[i] for i in range(config.num_labels)], labels)
