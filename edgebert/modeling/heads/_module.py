"""The layers of a head as a module of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn


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
