"""What most distillations end with: the student learns the teacher's answers, on the rows and on changed ones.

L_pred = CE(softmax(z_T / t), log softmax(z_S / t)) (Hinton, Vinyals, Dean 2015, arXiv 1503.02531), of the task's own head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgebert.methods import Param, Workshop
from edgebert.types import Row, Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.training.loop import Objective

TEMPERATURE = Param("temperature", float, 2.0, "softens both predictions", minimum=0.1)
HARD = Param(
    "hard", float, 0.1, "weight of the true labels, 0 to 1; the teacher's answers have the rest", minimum=0, maximum=1
)
REPLACE = Param("replace", float, 0.3, "share of pieces replaced in half of the rows, 0 to 1", minimum=0, maximum=1)
EPOCHS = Param("epochs", float, 0.0, "passes over the rows; 0 takes what --effort gives", minimum=0)


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
    student: Student, workshop: Workshop, temperature: float = 2.0, hard: float = 0.1, replace: float = 0.0
) -> Objective:
    """(1 - hard) · L_pred + hard · cross-entropy with the true labels, on rows of which some pieces were replaced.

    A student with a tokenizer of its own reads no changed rows: its teacher has answered each row beforehand.
    """
    from edgebert.training.heads import forget, hard_loss, soft_loss
    from edgebert.training.loop import DistillationObjective
    from edgebert.training.mlm import special_ids

    special = special_ids(student.tokenizer)
    n_vocab = student.tokenizer.get_vocab_size()
    replace = 0.0 if student.own_tokenizer else replace

    class Prediction(DistillationObjective):
        asks_once = not replace

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


def learn_predictions(
    student: Student,
    workshop: Workshop,
    name: str,
    epochs: float,
    *,
    rows: Sequence[Row] | None = None,
    temperature: float = 2.0,
    hard: float = 0.1,
    replace: float = 0.0,
) -> None:
    """Trains the student, in place, on the teacher's answers; rows are those to train on unless others are given."""
    from edgebert.training.run import train_student

    objective = prediction_objective(student, workshop, temperature, hard, replace)
    train_student(objective, student, workshop, f"{name}-prediction", epochs, rows=rows)
