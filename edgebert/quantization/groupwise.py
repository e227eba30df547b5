"""Weights of few bits in groups along a row, as ONNX Runtime's MatMulNBits stores them without zero points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgebert.quantization.fake import straight_through

if TYPE_CHECKING:
    from torch import Tensor


def grouped(weight: Tensor, bits: int, group: int) -> Tensor:
    """(rows, n) rounded: with m the number of largest magnitude of a group, s = m / -2^(bits - 1), and q = round(w / s) of
    the 2^bits whole numbers from -2^(bits - 1) on. What is rounded already stays as it is."""
    rows, n = weight.shape
    padded = nn.functional.pad(weight, (0, -n % group)).view(rows, -1, group)
    half = 2 ** (bits - 1)
    scale = padded.gather(-1, padded.abs().argmax(-1, keepdim=True)) / -half
    whole = (padded / torch.where(scale == 0, 1, scale)).round().clamp(-half, half - 1)
    result: Tensor = (whole * scale).view(rows, -1)[:, :n]
    return result


class _OnGrid(nn.Module):
    def __init__(self, bits: int, group: int) -> None:
        super().__init__()
        self.bits, self.group = bits, group

    def forward(self, weight: Tensor) -> Tensor:
        return straight_through(weight, grouped(weight, self.bits, self.group))


def on_grid(module: nn.Linear, bits: int, group: int) -> None:
    """Lets a layer compute with its weight rounded, while the weight itself is trained, in place."""
    parametrize.register_parametrization(module, "weight", _OnGrid(bits, group))


def settle(module: nn.Linear) -> None:
    """Leaves the rounded weight in place of the trained one."""
    parametrize.remove_parametrizations(module, "weight")
