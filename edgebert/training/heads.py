"""What a model minimises: the sum over its heads of what each declares, with true labels and with a teacher's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from edgebert.modeling.heads import Part, parts_of
from edgebert.modeling.losses import IGNORED, UNANSWERED
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, INPUT_NAMES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

T = TypeVar("T")
Batch = Mapping[str, Tensor]
ANSWERED = "teacher_"  # before the name of a target that is the teacher's output


def hard_loss(model: nn.Module, answers: Batch, batch: Batch, weights: Sequence[float] = ()) -> Tensor:
    """Sum over the model's heads of the loss on true labels; a head that a batch has no target for adds nothing.

    Args:
        answers: outputs by name, of `edgebert.modeling.headed.answers`.
        batch: of `edgebert.training.loop.collate`.
        weights: of each label of a sequence head; () weighs them alike.
    """
    total = sum(answer.sum() for answer in answers.values()) * 0.0  # so that a batch without targets has gradients too
    for part in parts_of(_config(model), type(model).__name__):
        own = [answers[name] for name in part.outputs]
        targets = {
            name.removeprefix(part.prefix): value for name, value in batch.items() if name.startswith(part.prefix)
        }
        total = total + _declared(part.head.hard_loss)(own, targets, part, weights)
    return torch.as_tensor(total)


def soft_loss(
    model: nn.Module,
    answers: Batch,
    teacher: Batch,
    batch: Batch,
    temperature: float,
    parts: Sequence[Part] | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """Sum over heads, by default all of the model's, of the distance from the teacher's answers, which have the same names.

    Rows whose answers are not finite are left out.

    Args:
        rows: (batch,) true for those that count; None counts all.
    """
    mask = batch[ATTENTION_MASK].bool()
    parts = parts_of(_config(model), type(model).__name__) if parts is None else parts
    known = rows_with_answers(teacher) if rows is None else rows & rows_with_answers(teacher)
    if not known.all():
        answers, teacher = ({name: value[known] for name, value in side.items()} for side in (answers, teacher))
        mask = mask[known]
    if not len(mask):
        return torch.stack([answer.sum() for answer in answers.values()]).sum()  # 0, with gradients
    return torch.stack(
        [
            _declared(part.head.soft_loss)(
                [answers[n] for n in part.outputs], [teacher[n] for n in part.outputs], mask, temperature, part
            )
            for part in parts
        ]
    ).sum()


def rows_with_answers(teacher: Batch) -> Tensor:
    """(batch,) true where all outputs of a row are finite, but for tokens that are UNANSWERED."""
    known = [
        value.isfinite() | (value == UNANSWERED) if value.dim() == 3 else value.isfinite() for value in teacher.values()
    ]
    return torch.stack([item.flatten(1).all(1) for item in known]).all(0)


def rows_with_labels(batch: Batch) -> Tensor:
    """(batch,) true where a row has a target of its own for any head; pair rows of vectors share one."""
    result = torch.zeros_like(batch[INPUT_IDS][:, 0], dtype=torch.bool)
    for name, value in batch.items():
        if name not in INPUT_NAMES and not name.startswith(ANSWERED):
            empty = value.isnan() if value.is_floating_point() else value == IGNORED
            result = result | ~empty.flatten(1).all(1) if value.dim() > 1 else result | ~empty
    return result


def forget(batch: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The batch without the targets and answers of some rows, (batch, 1) true: they do not hold of what was changed."""
    return {name: value if name in INPUT_NAMES else _emptied(value, rows[:, 0]) for name, value in batch.items()}


def _emptied(target: Tensor, rows: Tensor) -> Tensor:
    where = rows.reshape(-1, *(1 for _ in target.shape[1:]))
    return target.masked_fill(where, float("nan") if target.is_floating_point() else IGNORED)


def _config(model: PreTrainedModel) -> ModelConfig:
    return model.config


def _declared(function: T | None) -> T:
    """A function that every head with outputs declares."""
    assert function is not None
    return function
