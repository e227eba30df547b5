"""Labels of a text: BERT's head, a dense layer and tanh over the first token's state, or over the pooled states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgebert.modeling.heads import Form, Head, Layers, Part
from edgebert.runtime.specs import BATCH, OutputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def layers(width: int, part: Part, dropout: float) -> dict[str, nn.Module]:
    from torch import nn

    return {
        "dense": nn.Linear(width * len(part.reads.split("+")), width),
        "dropout": nn.Dropout(dropout),
        "classifier": nn.Linear(width, part.n_labels),
    }


def forward(layers: Layers, states: Tensor, mask: Tensor | None, *, part: Part) -> tuple[Tensor, ...]:
    import torch

    from edgebert.modeling.pooling import pooled

    vectors = torch.tanh(layers["dense"](pooled(states, mask, part.reads)))
    return (layers["classifier"](layers["dropout"](vectors)),)


def hard_loss(
    own: Sequence[Tensor], targets: Mapping[str, Tensor], part: Part, weights: Sequence[float]
) -> Tensor | float:
    """Cross-entropy, or a binary one a label where a row may have several; `labels` (batch,) or (batch, n_labels)."""
    import torch
    from torch.nn import functional as F

    from edgebert.modeling.losses import hard_cross_entropy

    if "labels" not in targets:
        return 0.0
    logits, labels = own[0], targets["labels"]
    each = torch.tensor(weights, device=logits.device) if weights else None
    if part.problem != "multi_label_classification":
        return hard_cross_entropy(logits, labels, each)
    known = ~torch.isnan(labels[:, 0])
    if not known.any():
        return 0.0
    return F.binary_cross_entropy_with_logits(logits[known], labels[known], weight=each)


def soft_loss(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, temperature: float, part: Part) -> Tensor:
    """Hinton et al. 2015; where a row may have several labels, a binary cross-entropy each, with the teacher's share."""
    import torch
    from torch.nn import functional as F

    from edgebert.modeling.losses import soft_cross_entropy

    if part.problem != "multi_label_classification":
        return soft_cross_entropy(own[0], theirs[0], torch.ones_like(mask[:, 0]), temperature)
    targets = torch.sigmoid(theirs[0] / temperature)
    return F.binary_cross_entropy_with_logits(own[0] / temperature, targets) * temperature**2


def answer(part: Part) -> Form:
    if part.problem == "multi_label_classification":
        return "labels"
    return "scores" if part.problem == "regression" or part.n_labels == 1 else "label"


HEAD = Head(
    name="sequence-classification",
    mark="ForSequenceClassification",
    auto_model="AutoModelForSequenceClassification",
    outputs=(OutputSpec("logits", axes=(BATCH, "labels")),),
    layers=layers,
    forward=forward,
    hard_loss=hard_loss,
    soft_loss=soft_loss,
    answer=answer,
    has_labels=True,
)
