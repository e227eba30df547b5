"""Ops that read by index. An index out of range is an error: what Core ML reads there is undefined."""

from __future__ import annotations

import torch
from torch import Tensor

from edgebert.runtime.mil.registry import Opset, check_count, op, refuse


def _positive(indices: Tensor, size: int, opset: int) -> Tensor:
    """Int64 indices in [0, size). Negative ones count from the end up to iOS 16, and mean nothing from iOS 17 on."""
    low = 0 if opset >= 7 else -size
    if indices.numel() and (int(indices.min()) < low or int(indices.max()) >= size):
        raise refuse(f"indices {int(indices.min())} to {int(indices.max())} into {size} entries")
    return torch.where(indices < 0, indices + size, indices).to(torch.int64)


@op("gather")
def gather(
    x: Tensor, indices: Tensor, opset: Opset, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """Shape x.shape[:axis] + indices.shape[batch_dims:] + x.shape[axis + 1:]."""
    axis %= x.dim()
    if batch_dims:
        rows = [
            gather(x[i], indices[i], opset, axis=axis - 1, batch_dims=batch_dims - 1) for i in range(indices.shape[0])
        ]
        return torch.stack(rows)
    picked = torch.index_select(x, axis, _positive(indices, x.shape[axis], opset).flatten())
    return picked.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


@op("gather_along_axis")
def gather_along_axis(
    x: Tensor, indices: Tensor, opset: Opset, axis: int = 0, validate_indices: bool = False
) -> Tensor:
    """Every dimension of x and of the indices is equal but that of `axis`."""
    axis %= x.dim()
    same = [i for i in range(x.dim()) if i != axis]
    if x.dim() != indices.dim() or any(x.shape[i] != indices.shape[i] for i in same):
        raise refuse(f"gather_along_axis of {tuple(x.shape)} by {tuple(indices.shape)}")
    return torch.gather(x, axis, _positive(indices, x.shape[axis], opset))


@op("gather_nd")
def gather_nd(x: Tensor, indices: Tensor, opset: Opset, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """The last dimension of the indices names a place in x's first dimensions."""
    if batch_dims:
        return torch.stack([gather_nd(x[i], indices[i], opset, batch_dims=batch_dims - 1) for i in range(len(x))])
    columns = [_positive(indices[..., i], x.shape[i], opset) for i in range(indices.shape[-1])]
    return x[tuple(columns)]


@op("one_hot")
def one_hot(
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Tensor | None = None,
    off_value: Tensor | None = None,
) -> Tensor:
    """Indices out of range give a row of off values."""
    check_count(indices.numel() * one_hot_vector_size)
    hot = (indices[..., None] == torch.arange(one_hot_vector_size)).movedim(-1, axis)
    on = torch.ones((), dtype=torch.int32) if on_value is None else on_value
    off = torch.zeros((), dtype=on.dtype) if off_value is None else off_value
    return torch.where(hot, on, off)
