"""A head in one file: a number of each text, from the mean of its tokens' states. transformers has no class for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgebert.modeling.heads import Form, Head, Layers, Part
from edgebert.runtime.specs import BATCH, OutputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def layers(width: int, part: Part, dropout: float) -> dict[str, nn.Module]:
    from torch import nn

    return {"dropout": nn.Dropout(dropout), "linear": nn.Linear(width, 1)}


def forward(layers: Layers, states: Tensor, mask: Tensor | None, *, part: Part) -> tuple[Tensor, ...]:
    from edgebert.modeling.pooling import pooled

    return (layers["linear"](layers["dropout"](pooled(states, mask, "mean"))),)


def hard_loss(
    own: Sequence[Tensor], targets: Mapping[str, Tensor], part: Part, weights: Sequence[float]
) -> Tensor | float:
    """Mean squared error; `amount` (batch,)."""
    return (own[0][:, 0] - targets["amount"]).square().mean() if "amount" in targets else 0.0


def soft_loss(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, temperature: float, part: Part) -> Tensor:
    return (own[0] - theirs[0]).square().mean()


def answer(part: Part) -> Form:
    return "scores"


HEAD = Head(
    name="toy-head",
    outputs=(OutputSpec("amount", axes=(BATCH, "numbers")),),
    layers=layers,
    forward=forward,
    hard_loss=hard_loss,
    soft_loss=soft_loss,
    answer=answer,
    mean="values",
)
