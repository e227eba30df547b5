"""The layers of a head as a module of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.heads import Part


class HeadModule(nn.ModuleDict):
    """Layers by name, and the function that takes tensors through them; the names are those of the saved weights.

    Args:
        function: (layers, *tensors) -> what the module returns.
    """

    def __init__(self, layers: Mapping[str, nn.Module], function: Callable[..., Any]) -> None:
        super().__init__(layers)
        self.function = function

    def forward(self, *tensors: Any) -> Any:
        return self.function(self, *tensors)


def head_module(part: Part, config: ModelConfig) -> HeadModule:
    """One head: (states (batch, seq, width), mask (batch, seq)) -> a tensor for each of its outputs."""
    head, dropout = part.head, float(getattr(config, "hidden_dropout_prob", 0.1))
    assert head.layers is not None and head.forward is not None
    return HeadModule(head.layers(config.hidden_size, part, dropout), partial(head.forward, part=part))
