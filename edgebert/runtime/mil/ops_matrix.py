"""Ops that multiply matrices or slide over them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgebert.runtime.mil.registry import Ints, Tensors, op, refuse

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}  # by number of spatial dimensions


@op("linear")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


@op("matmul")
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    left = x.transpose(-1, -2) if transpose_x and x.dim() > 1 else x
    right = y.transpose(-1, -2) if transpose_y and y.dim() > 1 else y
    return torch.matmul(left, right)


@op("einsum")
def einsum(values: Tensors, equation: str) -> Tensor:
    return torch.einsum(equation, *values)


@op("conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """x (batch, channels in, *size); weight (channels out, channels in / groups, *kernel)."""
    spatial = x.dim() - 2
    if pad_type == "custom":
        padding = pad or [0] * (2 * spatial)
        backwards = [amount for i in reversed(range(spatial)) for amount in padding[2 * i : 2 * i + 2]]
        x = F.pad(x, backwards)  # torch names the last dimension first
    elif pad_type != "valid":
        raise refuse(f"conv with padding of type {pad_type}")
    ones = [1] * spatial
    return CONVOLUTIONS[spatial](x, weight, bias, strides or ones, 0, dilations or ones, groups)


def _window(
    x: Tensor, strides: Ints | None, pad_type: str, pad: Ints | None, ceil_mode: bool
) -> tuple[Ints, Ints, bool]:
    """Strides and symmetric padding of a pooling op, as torch takes them."""
    spatial = x.dim() - 2
    padding = (pad or []) if pad_type == "custom" else []
    if pad_type not in ("valid", "custom") or padding[0::2] != padding[1::2] or spatial not in (1, 2):
        raise refuse(f"pooling over {spatial} dimensions with padding {pad_type} {padding}")
    return strides or [1] * spatial, padding[0::2] or [0] * spatial, ceil_mode


@op("avg_pool")
def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """`ceil_mode` is torch's, says the specification."""
    window = _window(x, strides, pad_type, pad, ceil_mode)
    pool = F.avg_pool1d if x.dim() == 3 else F.avg_pool2d
    return pool(x, kernel_sizes, *window, count_include_pad=not exclude_padding_from_average)


@op("max_pool")
def max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    steps, padding, ceil = _window(x, strides, pad_type, pad, ceil_mode)
    pool = F.max_pool1d if x.dim() == 3 else F.max_pool2d
    return pool(x, kernel_sizes, steps, padding, 1, ceil)
