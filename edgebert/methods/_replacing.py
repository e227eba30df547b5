"""The layers of BERT-of-Theseus: groups of old layers in whose place a new one may run, and how often it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgebert.methods._stack import hidden_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def replacing_rate(schedule: str, rate: float, step: int, steps: int) -> float:
    """p at a step counted from 0: equation 6, with k = (1 - rate) / (steps - 1)."""
    return rate if schedule == "constant" else min(1.0, rate + (1 - rate) * step / max(1, steps - 1))


def group_module(old: Sequence[nn.Module], new: nn.Module) -> Any:
    """A layer that is `new` with probability `rate`, else those of `old` in turn; in eval mode it is `new`."""
    import torch
    from torch import nn

    class Group(nn.Module):
        rate = 1.0

        def __init__(self) -> None:
            super().__init__()
            self.predecessor, self.successor = nn.ModuleList(old), new

        def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            if not self.training or float(torch.rand(())) < self.rate:
                return self.successor(hidden, *args, **kwargs)
            for layer in self.predecessor:
                returned = layer(hidden, *args, **kwargs)
                hidden = hidden_of(returned)
            return returned

    return Group()


def groups_of(old: Sequence[nn.Module], new: Sequence[nn.Module]) -> list[Any]:
    """A group for each new layer, over the old ones from round((i-1)·N/M) to round(i·N/M)."""
    from edgebert.training.align import layer_map

    ends = layer_map("uniform", len(new), len(old))
    return [group_module(old[ends[i] : ends[i + 1]], layer) for i, layer in enumerate(new)]
