"""What methods that read gradients at the start share: batches of training rows, and a loss for any head."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]


def batches_of(student: Student, context: MethodContext, n_rows: int, size: int) -> list[Batch]:
    """At most `n_rows` training rows, spread evenly, in batches on the student's device."""
    from edgebert.training.loop import collate
    from edgebert.training.run import pad_id

    rows = context.train[:: 1 + (len(context.train) - 1) // n_rows]
    features = context.task.encode(rows, student.tokenizer, context.labels, context.settings.max_length)
    device = next(student.model.parameters()).device
    batches = [collate(features[start : start + size], pad_id(student)) for start in range(0, len(features), size)]
    return [{name: value.to(device) for name, value in batch.items()} for batch in batches]


def loss_of(student: Student, context: MethodContext) -> Callable[[Batch], Tensor]:
    """The sum over a batch's rows of the loss on true labels; where rows have none, of a random projection of the answers."""
    import torch

    from edgebert.training.heads import rows_with_labels
    from edgebert.training.loop import Objective

    objective = Objective(student.model, context.task.class_weights(context.train, context.labels))
    generator = torch.Generator().manual_seed(context.settings.seed)

    def loss(batch: Batch) -> Tensor:
        labelled = rows_with_labels(batch)
        if labelled.any():
            return objective.loss(batch) * labelled.sum()
        answers = objective.answer(batch).values()
        signs = [torch.randint(2, answer.shape, generator=generator).to(answer) * 2 - 1 for answer in answers]
        return torch.stack([(answer * sign).sum() for answer, sign in zip(answers, signs, strict=True)]).sum()

    return loss
