"""Convolutions of width 1 (SqueezeBERT's layers) as the matrix products that they are, one a group.

ONNX Runtime's 8-bit convolution packs no weights and merges no scales. As products, 2 layers of width 768 in 4 groups take
under a fifth of its time in int8 (3.3 ms instead of 18.0 for 64 tokens; 1 thread, ONNX Runtime 1.32, AMD EPYC, in turns)
and the same in float. LiteRT gains nothing by it (tried), and Core ML was left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def pointwise_as_products() -> Iterator[None]:
    """Within it, what is traced of a Conv1d of width 1 is its products."""
    import torch
    from torch import nn
    from torch.nn.functional import linear

    convolve = nn.Conv1d.forward

    def forward(self: nn.Conv1d, x: Tensor) -> Tensor:
        if (self.kernel_size, self.stride, self.padding) != ((1,), (1,), (0,)):
            return convolve(self, x)
        weights = self.weight.squeeze(2).chunk(self.groups)
        biases = self.bias.chunk(self.groups) if self.bias is not None else [None] * self.groups
        # Slices at fixed places: chunk asks the traced tensor for its width, in nodes that run each time.
        width, rows = self.in_channels // self.groups, x.transpose(1, 2)
        inputs = [rows[..., start : start + width] for start in range(0, self.in_channels, width)]
        parts = [linear(*item) for item in zip(inputs, weights, biases, strict=True)]
        return torch.cat(parts, dim=2).transpose(1, 2)

    with mock.patch.object(nn.Conv1d, "forward", forward):
        yield
