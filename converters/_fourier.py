"""FNet's Fourier transform with real matrices: complex numbers have no form in an ML program, in Core AI
or in ExecuTorch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def real_fourier(graph: nn.Module) -> Iterator[None]:
    """Within it, the model's two-dimensional Fourier transforms are matrix products. Does nothing for models without."""
    results: list[Any] = [module for module in graph.modules() if hasattr(module, "fourier_transform")]
    real = [module.fourier_transform for module in results]
    for module in results:
        module.fourier_transform = transform
    try:
        yield
    finally:
        for module, function in zip(results, real, strict=True):
            module.fourier_transform = function


class _Real:
    """Stands in for a complex tensor, of which only the real part is read."""

    def __init__(self, real: Tensor) -> None:
        self.real = real


def transform(states: Tensor) -> _Real:
    """The real part of the transform of states (batch, seq, width) over both last dimensions."""
    cos_seq, sin_seq = _waves(states.shape[1])
    cos_width, sin_width = _waves(int(states.shape[2]))
    return _Real(cos_seq @ (states @ cos_width) - sin_seq @ (states @ sin_width))


def _waves(size: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi j k / size, (1, size, size). The product is reduced first, so that the angle keeps its digits; by a
    division, for Core AI has no remainder."""
    import torch

    places = torch.arange(size)
    product = places[None, :, None] * places[None, None, :]
    turns = product - torch.div(product, size, rounding_mode="floor") * size
    angles = turns.float() * (2 * math.pi) / size
    return torch.cos(angles), torch.sin(angles)
