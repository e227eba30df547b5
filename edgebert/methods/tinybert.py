"""TinyBERT's distillation on the task: first the inside of the network, then its predictions.

Jiao, Yin, Shang, Jiang, Chen, Li, Wang, Liu (2019), "TinyBERT: Distilling BERT for Natural Language Understanding",
arXiv 1909.10351. Student layer m of M learns from teacher layer g(m) = m·N/M of N (layer 0 is the embedding):

- L_attn = 1/h Σ_i MSE(A_i^S, A_i^T)        equation 7, attention scores before softmax
- L_hidn = MSE(H^S W_h, H^T)                equation 8
- L_embd = MSE(E^S W_e, E^T)                equation 9
- L_pred = CE(z^T / t, z^S / t)             equation 10

The first phase minimises the sum of the first three over all layers, the second the last one.

Augmentation: the paper replaces words by neighbours of BERT and GloVe before training. Here, in each batch of the
prediction phase, half of the rows get a share `replace` of their pieces replaced, by pieces as frequent as in the batch
and by any piece of the vocabulary in equal parts; the teacher reads the same changed rows, so its answer is right for
them. The teacher has learnt the training rows by heart; on changed rows it shows what it knows.

Differences: scores are compared up to the constant of a row that softmax discards (see `attention_scores`), so that any
family's attention probabilities serve. W_h and W_e exist only where widths differ; one W serves the embedding and one
each layer. L_pred is of the task's own head: at every real piece
where each has a label; for sentence vectors their distance (`edgebert.training.heads`). `hard` mixes in the true labels, which the paper does not use at this
stage; `temperature` defaults to 2, the paper's is 1. `inner_epochs` defaults to 0 for
time; whether the inner phase pays here was not measured in a controlled way: the runs with and without it on WNUT-17
also differed in layers, learning rate and positions, and dev and test disagreed on them (one seed each).
General distillation on unlabelled text is not done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param, Workshop
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, learn_predictions
from edgebert.training.align import STRATEGIES, layer_map
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.training.loop import Objective


def inner_objective(student: Student, workshop: Workshop, mapping: tuple[int, ...]) -> Objective:
    """L_embd + Σ L_hidn + Σ L_attn, with a learned projection where the widths differ."""
    import torch
    from torch import nn

    from edgebert.training.align import projection
    from edgebert.training.loop import DistillationObjective
    from edgebert.training.losses import attention_mse, hidden_mse

    class Inner(DistillationObjective):
        def __init__(self, width: int, teacher_width: int) -> None:
            super().__init__(student.model, workshop.teacher, student.teacher_ids)
            self.projections = nn.ModuleList(projection(width, teacher_width) for _ in mapping)

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            mask = batch["attention_mask"].bool()
            theirs = self.look_inside_teacher(batch, "hidden states", "attentions")
            ours = self.look_inside(batch, "hidden states", "attentions")
            pairs = list(enumerate(mapping))
            hidden: Tensor | int = sum(
                hidden_mse(self.projections[m](ours.hidden[m]), theirs.hidden[g], mask) for m, g in pairs
            )
            attention = sum(attention_mse(ours.attentions[m - 1], theirs.attentions[g - 1], mask) for m, g in pairs[1:])
            return torch.as_tensor(hidden + attention)

    return Inner(student.model.config.hidden_size, workshop.teacher.config.hidden_size)


def apply(
    student: Student,
    workshop: Workshop,
    *,
    inner_epochs: float,
    epochs: float,
    mapping: str,
    temperature: float,
    hard: float,
    replace: float,
) -> Student:
    """The student after both phases."""
    from edgebert.training.run import train_student

    config, teacher = student.model.config, workshop.teacher.config
    layers = layer_map(mapping, config.num_hidden_layers, teacher.num_hidden_layers)
    if inner_epochs:
        if config.num_attention_heads != teacher.num_attention_heads:
            raise RequestError(
                f"attention of {config.num_attention_heads} heads cannot learn from {teacher.num_attention_heads}",
                where="tinybert",
            )
        train_student(inner_objective(student, workshop, layers), student, workshop, "tinybert-inner", inner_epochs)
    learn_predictions(
        student, workshop, "tinybert", epochs or workshop.settings.epochs,
        temperature=temperature, hard=hard, replace=replace,
    )  # fmt: skip
    return student


METHOD = Method(
    name="tinybert",
    title="Distil embeddings, hidden states, attention and predictions",
    paper=Paper(
        "TinyBERT: Distilling BERT for Natural Language Understanding",
        "Jiao, Yin, Shang, Jiang, Chen, Li, Wang, Liu",
        2019,
        "1909.10351",
    ),
    stage="train",
    apply=apply,
    params=(
        Param("inner_epochs", float, 0.0, "passes of the first phase, over layers and attention", minimum=0),
        EPOCHS,
        Param("mapping", str, "uniform", "teacher layer of each student layer", choices=STRATEGIES),
        TEMPERATURE,
        HARD,
        REPLACE,
    ),
    toy={"inner_epochs": 1, "epochs": 1},
)
