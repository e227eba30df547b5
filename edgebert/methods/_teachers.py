"""Several teachers of one task: checkpoints that are there, or made from the context's by a new head and other rows.

A made teacher is a copy of the context's whose last layers are random again, fine-tuned on as many rows drawn with
replacement (Breiman 1996, "Bagging Predictors"), with a seed of its own. It reads the student's tokens, as the context's does.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Param, paths_of
from edgebert.runtime.specs import INPUT_IDS
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.heads import Part

TEACHERS = Param(
    "teachers", str, "", "checkpoint folders of other teachers, with commas or colons between them", paths=True
)
N_TEACHERS = Param("n_teachers", int, 3, "teachers in all, where no folders are given", minimum=2)
TEACHER_EPOCHS = Param("teacher_epochs", float, 3.0, "passes over the rows for each teacher that is made", minimum=0)


@dataclass(frozen=True)
class Teacher:
    model: PreTrainedModel
    ids: tuple[int, ...] | None  # student token id -> its own; None where they are equal


def check_teachers(teacher: ModelConfig, teachers: str, where: str) -> None:
    """Raises RequestError where a folder is no checkpoint of the same heads and labels as `teacher`'s, a config."""
    from edgebert.errors import TeacherError
    from edgebert.modeling.checkpoint import check_weights, load_config

    place = f"{where}.teachers"
    for folder in paths_of(teachers):
        try:
            check_weights(folder)
            config = load_config(folder)
        except TeacherError as error:
            raise RequestError(f"{error.where}: {error.what}", where=place, hint=error.hint) from None
        if _heads(config) != _heads(teacher):
            what = f"{folder} has other heads or labels than the teacher"
            hint = f"It must give {', '.join(map(str, _heads(teacher)[1]))}, in this order."
            raise RequestError(what, where=place, hint=hint)


def find_teachers(
    student: Student, context: MethodContext, name: str, teachers: str, n_teachers: int, epochs: float
) -> tuple[Teacher, ...]:
    """The context's teacher first, then those of the folders, or `n_teachers` - 1 that are made.

    Raises:
        RequestError: a folder whose tokenizer does not have the student's tokens.
    """
    first = Teacher(context.teacher, student.teacher_ids)
    if folders := paths_of(teachers):
        check_teachers(context.teacher.config, teachers, name)
        return (first, *(_loaded(folder, student, name) for folder in folders))
    return (first, *(create_teacher(student, context, name, i, epochs) for i in range(1, n_teachers)))


def create_teacher(student: Student, context: MethodContext, name: str, number: int, epochs: float) -> Teacher:
    """A teacher of its own rows, head and seed."""
    import torch

    from edgebert.modeling.headed import outlets
    from edgebert.training.loop import Objective
    from edgebert.training.run import train_student

    seed = context.settings.seed + number
    rows = random.Random(seed).choices(context.train, k=len(context.train))
    model, ids = copy.deepcopy(context.teacher), student.teacher_ids
    model.requires_grad_(True)
    for outlet in outlets(model):
        outlet.reset_parameters()

    class Reading(Objective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            inputs = batch[INPUT_IDS]
            return super().loss(batch if ids is None else {**batch, INPUT_IDS: torch.tensor(ids).to(inputs)[inputs]})

    weights = context.task.class_weights(context.train, context.labels)
    context = replace(context, settings=replace(context.settings, seed=seed))
    pupil = Student(model, student.tokenizer, ids)
    train_student(
        Reading(model, weights), pupil, context, f"{name}-teacher-{number + 1}", epochs, rows=rows, scored=False
    )
    return Teacher(model.requires_grad_(False), ids)


def ensemble(parts: Sequence[Part], answers: Sequence[dict[str, Tensor]], mask: Tensor) -> dict[str, Tensor]:
    """What several teachers say together, as logits of the mean of their probabilities; the mean of their vectors.

    Args:
        parts: their heads.
        answers: of each teacher, outputs by name.
        mask: (batch, seq), true at real tokens.
    """
    import torch

    from edgebert.modeling.pooling import unit

    def together(part: Part, name: str) -> Tensor:
        given = torch.stack([answer[name] for answer in answers])
        if part.head.mean != "probabilities":
            return unit(given.mean(0)) if part.head.mean == "vectors" else given.mean(0)
        if part.problem == "multi_label_classification":
            return given.sigmoid().mean(0).logit(eps=1e-6)
        if part.head.per_token and not part.head.has_labels:  # the choice is among tokens
            given = given.masked_fill(~mask, -1e4)
        return given.softmax(-1).mean(0).clamp(min=1e-12).log()

    return {name: together(part, name) for part in parts for name in part.outputs}


def _loaded(folder: Path, student: Student, where: str) -> Teacher:
    from edgebert.modeling.checkpoint import load_student
    from edgebert.modeling.vocabulary import teacher_ids

    result = load_student(folder)
    ids, why = teacher_ids(student.tokenizer, result.tokenizer, ())
    if why:
        what = f"{folder} cannot read the student's tokens: {why}"
        raise RequestError(what, where=f"{where}.teachers", hint="Use teachers that share the teacher's tokenizer.")
    return Teacher(result.model.requires_grad_(False), ids)


def _heads(config: ModelConfig) -> tuple[list[tuple[object, ...]], tuple[str, ...]]:
    """The kinds of a config's heads, and their labels."""
    from edgebert.modeling.heads import parts_of

    parts = parts_of(config, config.architectures[0])
    labels = tuple(config.id2label[i] for i in range(config.num_labels))
    return [(part.name, part.kind, part.n_labels, part.problem) for part in parts], labels
