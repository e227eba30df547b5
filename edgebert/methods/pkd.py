"""Patient distillation: beside the predictions, the student follows the teacher's states layer by layer.

Sun, Cheng, Gan, Liu (2019), "Patient Knowledge Distillation for BERT Model Compression", arXiv 1908.09355:

    L = hard_label_weight · CE(y, z_S) + (1 - hard_label_weight) · L_DS + beta · L_PT                       equation 8, their alpha is 1 - hard_label_weight
    L_DS = T² · CE(softmax(z_T / T), softmax(z_S / T))                            equation 3
    L_PT = Σ_j ‖h_S,j / ‖h_S,j‖ - h_T,I(j) / ‖h_T,I(j)‖‖²,  j = 1 … M - 1         equation 7

The last layer takes no part in L_PT, since the predictions speak for it. With M layers of the student and N of the
teacher, `skip` is I(j) = j·N/M (2, 4, 6, 8, 10 for 6 of 12) and `last` is I(j) = N - M + j (7, 8, 9, 10, 11).

h is the first token's state for heads of whole texts, as in the paper, or the mean where the head reads that; for sentence vectors it is the state pooled as the
vector is; for heads of tokens and spans, the mean over every real token's, since there each token is predicted.

Differences: equation 3 has no T², the authors' code has it. The mean over rows stands where the paper writes a sum. The
paper searches beta in 10, 100, 500, 1000, but the authors' code takes the mean over layers and components of the vectors:
500 there is 0.13 here, for five layers of width 768. A learned projection stands before h_S,j where the widths differ,
one a layer; the paper's students are as wide as their teachers. `temperature` defaults to 2, the paper searches 5, 10, 20;
`hard_label_weight` to 0.1, the paper searches 0.3, 0.5, 0.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS, HARD, TEMPERATURE
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.align import layer_map
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.heads import Part
    from edgebert.training.loop import Objective

STRATEGIES = {"skip": "uniform", "last": "top"}  # as `layer_map` calls them


def inner_layers(strategy: str, n_student: int, n_teacher: int, explicit: Sequence[int] = ()) -> tuple[int, ...]:
    """The teacher layers, from 1, of student layers 1 to M - 1.

    Raises RequestError for a student of one layer, one deeper than its teacher, or layers that cannot be.
    """
    where = "pkd.layers"
    if n_student < 2:
        what = "a student of one layer has no inner layer to be taught"
        raise RequestError(what, where=where, hint="Use kd, or keep more layers.")
    if not explicit:
        return layer_map(STRATEGIES[strategy], n_student, n_teacher, where=where)[1:-1]
    if len(explicit) != n_student - 1:
        what = f"{len(explicit)} teacher layers for the {n_student - 1} inner ones of the student"
        raise RequestError(what, where=where, hint="Name one for each layer of the student but the last.")
    return layer_map("", n_student - 1, n_teacher, explicit, where)[1:]


def patience(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """L_PT, the mean over vectors: each item is a layer's vectors (n, width)."""
    import torch

    from edgebert.training.losses import normalised_mse

    return torch.stack([normalised_mse(ours, theirs) for ours, theirs in zip(student, teacher, strict=True)]).sum()


def read_by_heads(model: PreTrainedModel) -> str:
    """How a head of whole texts reads the states: the first token's, the mean as EuroBERT's and some ModernBERT's do, or
    as a head of ours says."""
    if heads := getattr(model.config, "edgebert_heads", None):
        return str(heads[0].get("reads", "cls"))
    message = getattr(model.config, "classifier_pooling", "cls")
    return "cls" if message in ("cls", "bos") else "mean"


def compared(states: Tensor, mask: Tensor, parts: Sequence[Part], pooling: str = "cls") -> Tensor:
    """The vectors (n, width) of states (batch, seq, width) that the model's heads read; mask (batch, seq)."""
    from edgebert.modeling.pooling import pooled

    if all(part.head.labels_texts for part in parts):
        return pooled(states, mask, pooling)
    if all(part.head.gives_vectors for part in parts):
        return pooled(states, mask, parts[0].pooling)
    return states[mask]


def objective(
    student: Student,
    context: MethodContext,
    layers: tuple[int, ...],
    temperature: float,
    hard_label_weight: float,
    beta: float,
) -> Objective:
    """L, with projections where the widths differ."""
    from torch import nn

    from edgebert.modeling.heads import parts_of
    from edgebert.training.align import projection
    from edgebert.training.heads import hard_loss, soft_loss
    from edgebert.training.loop import DistillationObjective

    parts, pooling = parts_of(student.model.config, type(student.model).__name__), read_by_heads(student.model)
    widths = student.model.config.hidden_size, context.teacher.config.hidden_size
    weights = context.task.class_weights(context.train, context.labels)

    class Patient(DistillationObjective):
        def __init__(self) -> None:
            super().__init__(student.model, context.teacher, student.teacher_ids, weights)
            self.projections = nn.ModuleList(projection(*widths) for _ in layers)

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            mask = batch[ATTENTION_MASK].bool()
            theirs, ours = self.trace_teacher(batch), self.trace(batch)

            def vectors(states: Tensor) -> Tensor:
                return compared(states, mask, parts, pooling)

            soft = soft_loss(self.student, ours.outputs, theirs.outputs, batch, temperature)
            true = hard_loss(self.student, ours.outputs, batch, self.weights)
            inner = patience(
                [project(vectors(ours.hidden[j + 1])) for j, project in enumerate(self.projections)],
                [vectors(theirs.hidden[layer]) for layer in layers],
            )
            return hard_label_weight * true + (1 - hard_label_weight) * soft + beta * inner

    return Patient()


def apply(
    student: Student,
    context: MethodContext,
    *,
    epochs: float,
    strategy: str,
    layers: tuple[int, ...],
    beta: float,
    temperature: float,
    hard_label_weight: float,
) -> Student:
    """The student after training on predictions and inner states together."""
    from edgebert.training.run import train_student

    n_teacher = context.teacher.config.num_hidden_layers
    mapping = inner_layers(strategy, student.model.config.num_hidden_layers, n_teacher, layers)
    patient = objective(student, context, mapping, temperature, hard_label_weight, beta)
    train_student(patient, student, context, "pkd", epochs or context.settings.epochs)
    return student


def check(config: ModelConfig, teacher: ModelConfig, *, strategy: str, layers: tuple[int, ...], **_: object) -> None:
    inner_layers(strategy, config.num_hidden_layers, teacher.num_hidden_layers, layers)


METHOD = Method(
    name="pkd",
    title="Distil predictions and the states of inner layers together",
    paper=Paper(
        "Patient Knowledge Distillation for BERT Model Compression", "Sun, Cheng, Gan, Liu", 2019, "1908.09355"
    ),
    stage="train",
    apply=apply,
    check=check,
    params=(
        EPOCHS,
        Param("strategy", str, "skip", "every k-th teacher layer, or the last ones", choices=tuple(STRATEGIES)),
        Param("layers", tuple, (), "teacher layers, from 1, of the student's layers but the last, for a strategy"),
        Param("beta", float, 0.1, "weight of the inner states", minimum=0),
        TEMPERATURE,
        HARD,
    ),
    needs=("hidden states",),
    toy={"epochs": 1},
)
