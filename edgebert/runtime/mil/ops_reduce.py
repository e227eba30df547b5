"""Ops that sum, average and normalize."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgebert.runtime.mil.registry import Ints, Tensors, op


def _axes(x: Tensor, axes: Ints | None) -> Ints:
    return list(range(x.dim())) if axes is None else [axis % x.dim() for axis in axes]


@op("reduce_sum")
def reduce_sum(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.sum(x, _axes(x, axes), keep_dims, dtype=x.dtype)


@op("reduce_mean")
def reduce_mean(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.mean(x, _axes(x, axes), keep_dims)


@op("reduce_max")
def reduce_max(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.amax(x, _axes(x, axes), keep_dims)


@op("reduce_min")
def reduce_min(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.amin(x, _axes(x, axes), keep_dims)


@op("reduce_prod")
def reduce_prod(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    for axis in sorted(_axes(x, axes)):
        x = torch.prod(x, axis, keepdim=True, dtype=x.dtype)
    return x if keep_dims else x.squeeze(tuple(_axes(x, axes)))


@op("reduce_l2_norm")
def reduce_l2_norm(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.sqrt(torch.sum(x * x, _axes(x, axes), keep_dims))


@op("reduce_sum_square")
def reduce_sum_square(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.sum(x * x, _axes(x, axes), keep_dims)


@op("argsort")
def argsort(x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """Which of two equal values comes first is not specified: here the earlier."""
    return torch.argsort(x, dim=axis, descending=not ascending, stable=True).to(torch.int32)


@op("topk")
def topk(
    x: Tensor, k: int = 1, axis: int = -1, ascending: bool = False, sort: bool = True, return_indices: bool = True
) -> Tensor | Tensors:
    """The k greatest values along an axis, or the least, in order; and where they are."""
    order = argsort(x, axis, ascending).narrow(axis, 0, k)
    values = x.gather(axis, order.long())
    return (values, order) if return_indices else values


@op("cumsum")
def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """`exclusive` leaves each element out of its own sum; `reverse` sums from the end."""
    ordered = x.flip(axis) if reverse else x
    total = torch.cumsum(ordered, axis, dtype=x.dtype)
    total = total - ordered if exclusive else total
    return total.flip(axis) if reverse else total


@op("softmax")
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


@op("layer_norm")
def layer_norm(
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """gamma and beta have the sizes of the normalized axes, in the order of x's dimensions."""
    wanted = sorted(_axes(x, axes))
    if wanted == list(range(x.dim() - len(wanted), x.dim())):
        return F.layer_norm(x, [x.shape[i] for i in wanted], gamma, beta, epsilon)
    shape = [size if i in wanted else 1 for i, size in enumerate(x.shape)]
    centred = x - x.mean(wanted, keepdim=True)
    result = centred / torch.sqrt((centred * centred).mean(wanted, keepdim=True) + epsilon)
    result = result if gamma is None else result * gamma.reshape(shape)
    return result if beta is None else result + beta.reshape(shape)
