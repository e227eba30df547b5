"""Learn from several teachers at once: the mean of their probabilities, beside the true labels, of each task.

Liu, He, Chen, Gao (2019), "Improving Multi-Task Deep Neural Networks via Knowledge Distillation for Natural Language
Understanding", arXiv 1904.09482, section 3. With teachers 1 … K and, for each task, a head over one shared encoder:

    Q      = 1/K Σ_k softmax(z_{T_k})
    L_task = ½ CE(y, softmax(z_S)) + ½ CE(Q, softmax(z_S))
    L      = Σ_task L_task

One head is one task; a model with several heads has several (`edgebert.modeling.headed`), and a batch mixes their rows.

Differences: a row of one task also has soft targets of the others, since each teacher has all heads; the paper's teachers
have one task each. `hard_label_weight` is the weight ½. For spans the probabilities are over positions; for sentence vectors the teachers'
mean vector is learnt. Teachers: the context's, and those of `teachers`; without any, `n_teachers` - 1 are made from it by a
new head and other rows (`edgebert.methods._teachers`), where the paper's differ in dropout and begin at the pretrained model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS
from edgebert.methods._teachers import (
    N_TEACHERS,
    TEACHER_EPOCHS,
    TEACHERS,
    Teacher,
    check_teachers,
    ensemble,
    find_teachers,
)
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig
    from edgebert.training.loop import Objective


def ensemble_objective(
    student: Student, context: MethodContext, teachers: Sequence[Teacher], hard_label_weight: float
) -> Objective:
    """hard_label_weight · CE with the labels + (1 - hard_label_weight) · CE with the teachers' mean."""
    from edgebert.modeling.heads import parts_of
    from edgebert.training.heads import hard_loss, soft_loss
    from edgebert.training.loop import DistillationObjective, Objective

    readers = tuple(DistillationObjective(student.model, teacher.model, teacher.ids) for teacher in teachers)
    parts = parts_of(student.model.config, type(student.model).__name__)

    class Ensemble(Objective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            description = [reader.ask_teacher(batch) for reader in readers]
            theirs = ensemble(parts, description, batch[ATTENTION_MASK].bool())
            ours = self.answer(batch)
            soft = soft_loss(self.student, ours, theirs, batch, 1.0)
            return (
                hard_label_weight * hard_loss(self.student, ours, batch, self.weights) + (1 - hard_label_weight) * soft
            )

    return Ensemble(student.model, context.task.class_weights(context.train, context.labels))


def check(config: ModelConfig, teacher: ModelConfig, *, teachers: str, **_: object) -> None:
    check_teachers(teacher, teachers, "mtdnn-kd")


def apply(
    student: Student,
    context: MethodContext,
    *,
    epochs: float,
    hard_label_weight: float,
    teachers: str,
    n_teachers: int,
    teacher_epochs: float,
) -> Student:
    """The student after learning from all teachers together."""
    from edgebert.training.run import train_student

    result = find_teachers(student, context, "mtdnn-kd", teachers, n_teachers, teacher_epochs)
    objective = ensemble_objective(student, context, result, hard_label_weight)
    train_student(objective, student, context, "mtdnn-kd", epochs or context.settings.epochs)
    student.notes += (f"learnt from {len(result)} teachers together",)
    return student


METHOD = Method(
    name="mtdnn-kd",
    title="Learn the mean of several teachers, of one task or several",
    paper=Paper(
        "Improving Multi-Task Deep Neural Networks via Knowledge Distillation for Natural Language Understanding",
        "Liu, He, Chen, Gao",
        2019,
        "1904.09482",
    ),
    stage="train",
    apply=apply,
    check=check,
    params=(
        EPOCHS,
        Param(
            "hard_label_weight",
            float,
            0.5,
            "weight of the true labels, 0 to 1; the teachers have the rest",
            minimum=0,
            maximum=1,
        ),
        TEACHERS,
        N_TEACHERS,
        TEACHER_EPOCHS,
    ),
    toy={"epochs": 1, "n_teachers": 2, "teacher_epochs": 1},
)
