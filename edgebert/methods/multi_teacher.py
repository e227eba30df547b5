"""Learn from several teachers, each through a head of its own over one encoder: on text first, then on labelled rows.

Yang, Shou, Gong, Lin, Jiang (2019), "Model Compression with Multi-Task Knowledge Distillation for Web-scale Question
Answering System", arXiv 1904.09636. The student has a head for each of K teachers while it learns:

    stage 1, text:    L = 1/K Σ_k L_soft(z_{S,k}, z_{T_k})
    stage 2, labels:  L = 1/K Σ_k [(1 - hard_label_weight) · L_soft(z_{S,k}, z_{T_k}) + hard_label_weight · CE(y, softmax(z_{S,k}))]

L_soft is that of kd. The answer is the mean of the heads'. A head here is the last linear layer of the task's head, so the
mean of its copies' weights gives the same answer as the mean of their outputs: the student keeps that one layer, and costs
nothing more.

Differences: what lies between the encoder and that last layer is shared (a pooler, a dense layer), and the heads begin as the
student's own. Stage 1 reads --unlabelled and the training rows without their labels, `inner` of all passes; the paper's has
millions of questions and passages. Teachers: the context's, and those of `teachers`; without any, `n_teachers` - 1 are
made from it by a new head and other rows (`edgebert.methods._teachers`), where the paper's are trained apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgebert.methods import Method, Paper, Param
from edgebert.methods._fan import fan_of, mean_linear, swap
from edgebert.methods._prediction import EPOCHS, HARD, TEMPERATURE
from edgebert.methods._teachers import (
    N_TEACHERS,
    TEACHER_EPOCHS,
    TEACHERS,
    Teacher,
    check_teachers,
    find_teachers,
)
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.heads import Part
    from edgebert.training.loop import Objective


def answers_of(parts: Sequence[Part], fans: Sequence[Any], k: int, mask: Tensor) -> dict[str, Tensor]:
    """Outputs by name through the k-th head: a span's two are the columns of one layer. mask (batch, seq).

    EuroBERT's head of whole texts may give an answer a token, whose mean is the answer.
    """
    from edgebert.modeling.pooling import pooled

    results: dict[str, Tensor] = {}
    for part, fan in zip(parts, fans, strict=True):
        given = fan.last[k]
        if not part.head.per_token and given.dim() == 3:
            given = pooled(given, mask, "mean")
        columns = given.unbind(-1) if len(part.outputs) > 1 else (given,)
        results.update(zip(part.outputs, columns, strict=True))
    return results


def fans_objective(
    student: Student,
    context: MethodContext,
    teachers: Sequence[Teacher],
    fans: Sequence[Any],
    hard_label_weight: float,
    temperature: float,
) -> Objective:
    """The mean over teachers of (1 - hard_label_weight) · L_soft + hard_label_weight · CE with the labels."""
    import torch

    from edgebert.modeling.heads import parts_of
    from edgebert.training.heads import hard_loss, soft_loss
    from edgebert.training.loop import DistillationObjective, Objective

    readers = tuple(DistillationObjective(student.model, teacher.model, teacher.ids) for teacher in teachers)
    parts = parts_of(student.model.config, type(student.model).__name__)

    class Fans(Objective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            self.read_student(batch)
            return torch.stack([self.of_teacher(k, batch) for k in range(len(readers))]).mean()

        def of_teacher(self, k: int, batch: dict[str, Tensor]) -> Tensor:
            ours = answers_of(parts, fans, k, batch[ATTENTION_MASK])
            soft = soft_loss(self.student, ours, readers[k].ask_teacher(batch), batch, temperature)
            return (1 - hard_label_weight) * soft + (
                hard_label_weight * hard_loss(self.student, ours, batch, self.weights) if hard_label_weight else 0.0
            )

    return Fans(student.model, context.task.class_weights(context.train, context.labels))


def check(config: ModelConfig, teacher: ModelConfig, *, teachers: str, **_: object) -> None:
    check_teachers(teacher, teachers, "multi-teacher")


def apply(
    student: Student,
    context: MethodContext,
    *,
    epochs: float,
    inner: float,
    hard_label_weight: float,
    temperature: float,
    teachers: str,
    n_teachers: int,
    teacher_epochs: float,
) -> Student:
    """The student with the mean of its heads."""
    from edgebert.modeling.headed import outlets
    from edgebert.training.run import train_student

    result = find_teachers(student, context, "multi-teacher", teachers, n_teachers, teacher_epochs)
    own = outlets(student.model)
    fans = [fan_of(linear, len(result)) for linear in own]
    for linear, fan in zip(own, fans, strict=True):
        swap(student.model, linear, fan)
    text_epochs, whole = context.text_epochs(epochs), epochs or context.settings.epochs
    if inner:
        objective = fans_objective(student, context, result, fans, 0.0, temperature)
        train_student(objective, student, context, "multi-teacher-text", inner * text_epochs, rows=context.transfer)
    if inner < 1:
        objective = fans_objective(student, context, result, fans, hard_label_weight, temperature)
        train_student(objective, student, context, "multi-teacher-labels", (1 - inner) * whole)
    for fan in fans:
        swap(student.model, fan, mean_linear(fan))
    student.notes += (f"the mean of heads for {len(result)} teachers",)
    return student


METHOD = Method(
    name="multi-teacher",
    title="Learn from several teachers, a head for each",
    paper=Paper(
        "Model Compression with Multi-Task Knowledge Distillation for Web-scale Question Answering System",
        "Yang, Shou, Gong, Lin, Jiang",
        2019,
        "1904.09636",
    ),
    stage="train",
    apply=apply,
    check=check,
    params=(
        EPOCHS,
        Param("inner", float, 0.4, "share of the passes that go to text without labels", minimum=0, maximum=1),
        HARD,
        TEMPERATURE,
        TEACHERS,
        N_TEACHERS,
        TEACHER_EPOCHS,
    ),
    heads=("token-classification", "sequence-classification", "question-answering"),
    reads_text=True,
    toy={"epochs": 1, "n_teachers": 2, "teacher_epochs": 1},
)
