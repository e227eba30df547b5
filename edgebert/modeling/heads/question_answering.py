"""The first and the last token of an answer in a text: Devlin et al. 2018, section 4.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgebert.modeling.heads import Form, Head, Layers, Part
from edgebert.runtime.specs import BATCH, SEQUENCE, OutputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def layers(width: int, part: Part, dropout: float) -> dict[str, nn.Module]:
    from torch import nn

    return {"classifier": nn.Linear(width, 2)}


def forward(layers: Layers, states: Tensor, mask: Tensor | None, *, part: Part) -> tuple[Tensor, ...]:
    scores = layers["classifier"](states)
    return scores[:, :, 0], scores[:, :, 1]


def hard_loss(
    own: Sequence[Tensor], targets: Mapping[str, Tensor], part: Part, weights: Sequence[float]
) -> Tensor | float:
    """The mean of the cross-entropies of the first and the last token; `start_positions`, `end_positions` (batch,)."""
    from edgebert.modeling.losses import hard_cross_entropy

    if "start_positions" not in targets:
        return 0.0
    pairs = zip(own, (targets["start_positions"], targets["end_positions"]), strict=True)
    return sum(hard_cross_entropy(logits, labels) for logits, labels in pairs) / 2


def soft_loss(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, temperature: float, part: Part) -> Tensor:
    """Over positions instead of labels; padding has no share."""
    import torch

    hidden = ~mask
    losses = []
    for ours, other in zip(own, theirs, strict=True):
        target = (other / temperature).masked_fill(hidden, -1e4).softmax(-1)
        log_probs = (ours / temperature).masked_fill(hidden, -1e4).log_softmax(-1)
        losses.append(-(target * log_probs).sum(-1).mean() * temperature**2)
    return torch.stack(losses).mean()


def answer(part: Part) -> Form:
    return "span"


HEAD = Head(
    name="question-answering",
    mark="ForQuestionAnswering",
    auto_model="AutoModelForQuestionAnswering",
    outputs=(
        OutputSpec("start_logits", axes=(BATCH, SEQUENCE)),
        OutputSpec("end_logits", axes=(BATCH, SEQUENCE)),
    ),
    layers=layers,
    forward=forward,
    hard_loss=hard_loss,
    soft_loss=soft_loss,
    answer=answer,
)
