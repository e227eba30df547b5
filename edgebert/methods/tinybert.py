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
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.training.loop import Objective


def layer_map(strategy: str, n_student: int, n_teacher: int) -> tuple[int, ...]:
    """For student layers 0 (the embedding) to M, the teacher layer each learns from.

    uniform is g(m) = m·N/M; top maps to the last M layers, bottom to the first M (the paper's ablations).
    """
    if n_student > n_teacher:
        raise RequestError(f"a student of {n_student} layers cannot learn from {n_teacher}", where="tinybert")
    layers = range(1, n_student + 1)
    if strategy == "uniform":
        return (0, *(round(m * n_teacher / n_student) for m in layers))
    shift = n_teacher - n_student if strategy == "top" else 0
    return (0, *(m + shift for m in layers))


def inner_objective(student: Student, workshop: Workshop, mapping: tuple[int, ...]) -> Objective:
    """L_embd + Σ L_hidn + Σ L_attn, with a learned projection where the widths differ."""
    import torch
    from torch import nn

    from edgebert.training.loop import DistillationObjective
    from edgebert.training.losses import attention_mse, hidden_mse

    class Inner(DistillationObjective):
        def __init__(self, width: int, teacher_width: int) -> None:
            super().__init__(student.model, workshop.teacher, student.teacher_ids)
            self.projections = nn.ModuleList(
                nn.Identity() if width == teacher_width else nn.Linear(width, teacher_width, bias=False)
                for _ in mapping
            )

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            mask = batch["attention_mask"].bool()
            theirs = self.read_teacher(batch, output_hidden_states=True, output_attentions=True)
            ours = self.read_student(batch, output_hidden_states=True, output_attentions=True)
            pairs = list(enumerate(mapping))
            hidden: Tensor | int = sum(
                hidden_mse(self.projections[m](ours.hidden_states[m]), theirs.hidden_states[g], mask) for m, g in pairs
            )
            attention = sum(attention_mse(ours.attentions[m - 1], theirs.attentions[g - 1], mask) for m, g in pairs[1:])
            return torch.as_tensor(hidden + attention)

    return Inner(student.model.config.hidden_size, workshop.teacher.config.hidden_size)


def replace_pieces(ids: Tensor, mask: Tensor, special: Tensor, share: float, n_vocab: int) -> tuple[Tensor, Tensor]:
    """Random pieces in place of a share of those of half the rows.

    Args:
        ids: (batch, seq) token ids.
        mask: (batch, seq), true at real tokens.
        special: (n_special,) ids that are neither replaced nor put in.
        share: of the pieces of a chosen row, 0 to 1.
        n_vocab: ids to draw from.

    Returns:
        New ids, and which rows were chosen, (batch, 1); their labels no longer hold.
    """
    import torch

    rows = torch.rand(ids.shape[0], 1, device=ids.device) < 0.5
    chosen = (torch.rand(ids.shape, device=ids.device) < share) & rows & mask & ~torch.isin(ids, special)
    seen = ids[mask & ~torch.isin(ids, special)]
    if not len(seen):
        return ids, rows & False
    frequent = seen[torch.randint(len(seen), ids.shape, device=ids.device)]
    anything = torch.randint(n_vocab, ids.shape, device=ids.device)
    anything = torch.where(torch.isin(anything, special), frequent, anything)
    drawn = torch.where(torch.rand(ids.shape, device=ids.device) < 0.5, frequent, anything)
    return torch.where(chosen, drawn, ids), rows


def prediction_objective(
    student: Student, workshop: Workshop, temperature: float, hard: float, replace: float
) -> Objective:
    """(1 - hard) · L_pred + hard · cross-entropy with the true labels, on rows of which some pieces were replaced."""
    import torch

    from edgebert.training.heads import forget, hard_loss, soft_loss
    from edgebert.training.loop import DistillationObjective

    special = torch.tensor([i for i, t in student.tokenizer.get_added_tokens_decoder().items() if t.special])
    n_vocab = student.tokenizer.get_vocab_size()

    class Prediction(DistillationObjective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            counts = batch["attention_mask"].bool()
            if replace:
                ids = batch["input_ids"]
                ids, changed = replace_pieces(ids, counts, special.to(ids.device), replace, n_vocab)
                batch = {**forget(batch, changed), "input_ids": ids}
            theirs, ours = self.ask_teacher(batch), self.answer(batch)
            soft = soft_loss(self.student, ours, theirs, batch, temperature)
            return (1 - hard) * soft + hard * hard_loss(self.student, ours, batch, self.weights)

    weights = workshop.task.class_weights(workshop.train, workshop.labels)
    return Prediction(student.model, workshop.teacher, student.teacher_ids, weights)


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
    objective = prediction_objective(student, workshop, temperature, hard, replace)
    train_student(objective, student, workshop, "tinybert-prediction", epochs or workshop.settings.epochs)
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
        Param("epochs", float, 0.0, "passes of the prediction phase; 0 takes what --effort gives", minimum=0),
        Param("mapping", str, "uniform", "teacher layer of each student layer", choices=("uniform", "top", "bottom")),
        Param("temperature", float, 2.0, "softens both predictions", minimum=0.1),
        Param("hard", float, 0.1, "weight of the true labels in the prediction phase, 0 to 1", minimum=0),
        Param("replace", float, 0.3, "share of pieces replaced in half of the rows, 0 to 1", minimum=0),
    ),
)
