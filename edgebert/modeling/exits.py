"""Answers before the last layer: how certain one is, and which one a text gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

Exits = Sequence[tuple[Tensor, Tensor]]  # which texts stop at an exit, (batch,), and its answer, (batch, n_labels)


def uncertainty(logits: Tensor) -> Tensor:
    """Σ p log p / log(1/N) of (batch, N) logits: (batch,), 0 where one label has all, 1 where all have the same."""
    logs = logits.log_softmax(-1)
    return (logs.exp() * logs).sum(-1) * (-1 / math.log(logits.shape[-1]))


def answer_with(exits: Exits, last: Tensor) -> Tensor:
    """Of each text the answer of the first exit that it stops at, or the `last` one: (batch, n_labels)."""
    for certain, logits in reversed(exits):
        last = torch.where(certain[:, None], logits, last)
    return last


def stops_early(config: ModelConfig) -> bool:
    """Whether some texts go through fewer layers than others, so that a time is that of the texts that were read."""
    return bool(getattr(config, "speed", 0))
