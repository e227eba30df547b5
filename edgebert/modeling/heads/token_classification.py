"""A label for each token: a linear layer over its state. A word is labelled at its first token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgebert.modeling.heads import Form, Head, Layers, Part
from edgebert.runtime.specs import BATCH, SEQUENCE, OutputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def layers(width: int, part: Part, dropout: float) -> dict[str, nn.Module]:
    from torch import nn

    return {"dropout": nn.Dropout(dropout), "classifier": nn.Linear(width, part.n_labels)}


def forward(layers: Layers, states: Tensor, mask: Tensor | None, *, part: Part) -> tuple[Tensor, ...]:
    return (layers["classifier"](layers["dropout"](states)),)


def hard_loss(
    own: Sequence[Tensor], targets: Mapping[str, Tensor], part: Part, weights: Sequence[float]
) -> Tensor | float:
    """Cross-entropy; `labels` (batch, seq)."""
    from edgebert.modeling.losses import hard_cross_entropy

    return hard_cross_entropy(own[0], targets["labels"]) if "labels" in targets else 0.0


def soft_loss(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, temperature: float, part: Part) -> Tensor:
    """Hinton et al. 2015 at each token that the teacher answered."""
    from edgebert.modeling.losses import answered_tokens, soft_cross_entropy

    return soft_cross_entropy(own[0], theirs[0], answered_tokens(theirs[0], mask), temperature)


def answer(part: Part) -> Form:
    return "tags"


HEAD = Head(
    name="token-classification",
    mark="ForTokenClassification",
    auto_model="AutoModelForTokenClassification",
    outputs=(OutputSpec("logits", axes=(BATCH, SEQUENCE, "labels")),),
    layers=layers,
    forward=forward,
    hard_loss=hard_loss,
    soft_loss=soft_loss,
    answer=answer,
    has_labels=True,
    by_word=True,
)
