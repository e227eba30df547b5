"""Gives a teacher the task's head: its own where it fits, a new one fine-tuned on the rows where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import (
    labels_of,
    load_config,
    load_model,
    load_tokenizer,
    save_checkpoint,
    set_labels,
    slice_head,
)
from edgebert.modeling.heads import HEADS, MULTI_TASK, parts_of
from edgebert.modeling.sentence import pooling_of
from edgebert.modeling.source import TeacherSource
from edgebert.modeling.tokenizer import reads_bytes_bare
from edgebert.tasks import Task
from edgebert.training.context import MethodContext
from edgebert.training.probe import fit_head
from edgebert.training.run import TrainedModel, evaluate, evaluate_splits, read_rows
from edgebert.types import Dataset, Row, Student, TrainSettings

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig


@dataclass(frozen=True)
class TeacherRecord(TrainedModel):
    """What the stage that makes a teacher records; `note` is on its head."""

    note: str

    @property
    def notes(self) -> tuple[str, ...]:
        return (self.note,)


def fit_teacher(
    source: TeacherSource,
    dataset: Dataset,
    task: Task,
    settings: TrainSettings,
    folder: Path,
    *,
    allow_pickle: bool = False,
    log: Callable[..., None] = lambda **event: None,
) -> TeacherRecord:
    """Writes the teacher with the task's head to `folder`.

    Returns:
        What the stage records.
    """
    import torch

    torch.manual_seed(settings.seed)
    dev = dataset.splits["dev"]
    result = fitting_head(source.folder, task, dataset.labels, allow_pickle=allow_pickle)
    tokenizer = load_tokenizer(source.folder, words=task.reads_words, vectors=HEADS.get(task.head).gives_vectors)
    if result.model is not None:
        model, note = result.model, result.note
        if task.reads_words:
            tokenizer, description = words_tokenizer(
                model, source.folder, task, dataset.labels, dev, settings.max_length
            )
            note = "; ".join(part for part in (note, description) if part)
        student = Student(model, tokenizer)
    else:
        student = fine_tuned(source, dataset, task, settings, folder / "work", allow_pickle=allow_pickle, log=log)
        (part, *_) = parts_of(student.model.config, type(student.model).__name__)
        of_states = "" if part.reads == "cls" else f" that reads the states pooled by {part.reads}"
        note = f"a new head{of_states}, fine-tuned for {settings.epochs:g} epochs at a learning rate of "
        note += f"{settings.learning_rate:g}"
        note += f": {result.note}" if result.note else ""
    save_checkpoint(folder, student, source.folder)
    dataset = with_teacher_labels(student, task, dataset, settings.max_length)
    scores = evaluate_splits(student, task, dataset, settings.max_length)
    return TeacherRecord(**vars(scores), note=note)


def fine_tuned(
    source: TeacherSource,
    dataset: Dataset,
    task: Task,
    settings: TrainSettings,
    work: Path,
    *,
    allow_pickle: bool = False,
    log: Callable[..., None] = lambda **event: None,
) -> Student:
    """The checkpoint with a new head, trained on the dataset's rows."""
    auto_model, of_head = new_head(source.folder, task, dataset.labels)
    model, _ = load_model(source.folder, auto_model, dataset.labels, settings=of_head, allow_pickle=allow_pickle)
    tokenizer = load_tokenizer(source.folder, words=task.reads_words, vectors=HEADS.get(task.head).gives_vectors)
    train, dev = dataset.splits["train"], dataset.splits["dev"]
    context = MethodContext(model, task, dataset.labels, train, dev, settings, work, log=log)
    student = Student(model, tokenizer)
    fit_head(student, task, dataset.labels, train, settings)
    return METHODS.get("finetune").apply(student, context, epochs=settings.epochs)


def with_teacher_labels(student: Student, task: Task, dataset: Dataset, max_length: int) -> Dataset:
    """The dataset whose development and test rows hold what only the teacher can say of them."""
    if not task.asks_teacher:
        return dataset
    rows = dict(dataset.splits)
    for split in ("dev", "test"):
        features, outputs = read_rows(student, task, dataset.labels, rows[split], max_length)
        rows[split] = task.with_teacher_labels(rows[split], features, outputs)
    return replace(dataset, splits=rows)


def teacher_settings(task: Task, labels: tuple[str, ...]) -> dict[str, object]:
    """What the teacher's config gets: a sentence vector of a width of its own is for students."""
    settings = task.model_settings(labels)
    return settings if task.head == MULTI_TASK else {k: v for k, v in settings.items() if k != "edgebert_heads"}


def new_head(folder: Path, task: Task, labels: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """The class of a new head for the task, and what its config gets.

    It is transformers' own where they have one, but for labels of texts over an encoder that sentence-transformers trained to have its states
    pooled, or where the task says so: then it is ours, which reads them pooled. (1,600 rows of banking77, all-MiniLM-L6-v2:
    a logistic regression on the frozen mean has an accuracy of 86.6 on 1,500 held-out rows, on the first token's state 83.4,
    on what BERT's head reads of it 65.0.)
    """
    settings, config = teacher_settings(task, labels), load_config(folder)
    pooling = getattr(task, "pooling", "cls") or pooling_of(folder, config)
    auto_model = HEADS.get(task.head).auto_model
    if auto_model and (pooling == "cls" or _order(config, task, labels)[0] is not None):
        return auto_model, settings
    head = {
        "name": "",
        "kind": task.head,
        "n_labels": len(labels),
        "problem": settings.get("problem_type"),
        "reads": pooling,
    }
    return HEADS.get(MULTI_TASK).auto_model, {**settings, "edgebert_heads": [head]}


@dataclass(frozen=True)
class ExistingHead:
    """What a checkpoint's own head can do for a task: `model` is None where a new head is needed, `note` says why."""

    model: PreTrainedModel
    note: str


def fitting_head(
    folder: Path,
    task: Task,
    labels: tuple[str, ...],
    *,
    allow_pickle: bool = False,
    notes: list[str] | None = None,
) -> ExistingHead:
    """The checkpoint with its own head, the outputs in the order of `labels`, where that head is for the task.

    Args:
        notes: gets what was left out without harm.

    Raises:
        TeacherError: its head is for the task and its weights are not whole.
    """
    settings, config = teacher_settings(task, labels), load_config(folder)
    auto_model = HEADS.get(MULTI_TASK if hasattr(config, "edgebert_heads") else task.head).auto_model
    if HEADS.get(task.head).of_states is not None:  # any encoder has states to pool
        model, _ = load_model(folder, auto_model, settings=settings, allow_pickle=allow_pickle, notes=notes)
        return ExistingHead(model, "the checkpoint's own vectors")
    order, why = _order(config, task, labels)
    if order is None:
        return ExistingHead(None, why)
    model, whole = load_model(folder, auto_model, settings=settings, allow_pickle=allow_pickle, notes=notes)
    if not whole:
        return ExistingHead(None, "the checkpoint has no weights for the head that its config names")
    if not labels:
        return ExistingHead(model, "the checkpoint's own head")
    named = labels_of(model.config, folder)
    if order != list(range(len(named))):
        slice_head(model, order, labels)
    set_labels(model.config, labels)
    note = "the checkpoint's own head, its outputs in the data's order"
    if renamed := [(named[i], label) for i, label in zip(order, labels, strict=True) if named[i] != label]:
        note += f", {renamed[0][0]} called {renamed[0][1]}" + (" and so on" if len(renamed) > 1 else "")
    if unused := [label for i, label in enumerate(named) if i not in order]:
        note += f", without {len(unused)} that the data never uses ({', '.join(unused[:5])})"
    return ExistingHead(model, note)


def has_fitting_head(folder: Path, task: Task, labels: tuple[str, ...]) -> bool:
    """Whether the checkpoint's config names a head for the task and its labels: it is not trained anew."""
    return HEADS.get(task.head).of_states is not None or _order(load_config(folder), task, labels)[0] is not None


def has_dropout(config: ModelConfig) -> bool:
    """Whether a model of this config changes with dropout: some probability of its is above 0."""
    values = [value for name, value in config.to_dict().items() if "dropout" in name or name.endswith("pdrop")]
    return any(isinstance(value, int | float) and value > 0 for value in values)


def _order(config: ModelConfig, task: Task, labels: tuple[str, ...]) -> tuple[list[int] | None, str]:
    """Where each label stands in the checkpoint's head, [] for a head without; None where it cannot serve, and why."""
    names = list(config.architectures or ())
    if not any(_kind(config, name) == task.head for name in names):
        return None, f"config.json names {' and '.join(names) or 'no class'}, no {task.head} head"
    if task.head == MULTI_TASK and config.edgebert_heads != task.model_settings(labels)["edgebert_heads"]:
        return None, "the checkpoint's heads are others"
    if not labels:
        return [], ""
    named = labels_of(config)
    order = task.match_labels(named, labels)
    if order is None:
        what = "the checkpoint's own head has other labels"
        return None, f"{what} ({_some(named)}) than the data ({_some(labels)})"
    several = task.model_settings(labels).get("problem_type") == "multi_label_classification"
    if config.problem_type and several != (config.problem_type == "multi_label_classification"):
        return None, f"the checkpoint's own head is for {config.problem_type}"
    return order, ""


def _kind(config: ModelConfig, class_name: str) -> str:
    """Of a class's head: one of ours that stands alone goes by what it is."""
    parts = parts_of(config, class_name)
    alone = len(parts) == 1 and not parts[0].name
    return parts[0].kind if alone else MULTI_TASK


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (f" … {len(labels)} in all" if len(labels) > 5 else "")


TRIED_ROWS = 200  # on which two ways to read words are compared


def words_tokenizer(
    model: PreTrainedModel, folder: Path, task: Task, labels: Sequence[str], rows: Sequence[Row], max_length: int
) -> tuple[Tokenizer, str]:
    """The tokenizer as a trained tagger reads words, and "" or what was found out.

    A byte-level tokenizer reads words with a space before each, or glued together; the checkpoint need not say which its
    tagger learnt from. Where it does not say that there is one (`add_prefix_space`), the labelled rows tell.

    Args:
        labels: of the model's outputs.
        rows: labelled; none leave the space.
    """
    bare, spaced = load_tokenizer(folder), load_tokenizer(folder, words=True)
    if not reads_bytes_bare(bare) or not rows:
        return spaced, ""
    first = list(rows[:TRIED_ROWS])
    with_space, without = (
        evaluate(Student(model, item), task, labels, first, "dev", max_length).value for item in (spaced, bare)
    )
    note = f"{task.metric} {100 * with_space:.2f} with a space before each word, {100 * without:.2f} without"
    chosen = spaced if with_space >= without else bare
    way = "with one" if chosen is spaced else "without"
    return (
        chosen,
        f"the tokenizer's files do not say add_prefix_space: on {len(first)} rows {note}, so words are read {way}",
    )
