"""Ops that move, cut, join and make tensors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from edgebert.runtime.mil.registry import Bools, Ints, Opset, Tensors, check_count, op, refuse


@op("shape")
def shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)


@op("reshape")
def reshape(x: Tensor, shape: Ints, opset: Opset) -> Tensor:
    """A 0 takes the size of x's dimension: the same one up to iOS 16, counted from the right from iOS 17 on."""
    if 0 in shape and len(shape) != x.dim():
        if opset < 7:
            raise refuse("reshape with a 0 in a shape of another rank")
        sizes = [1] * len(shape) + list(x.shape)
        shape = [size or sizes[i - len(shape)] for i, size in enumerate(shape)]
    return x.reshape([size or x.shape[i] for i, size in enumerate(shape)])


@op("transpose")
def transpose(x: Tensor, perm: Ints) -> Tensor:
    return x.permute(perm)


@op("expand_dims")
def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    """Axes are those of the result."""
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op("squeeze")
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@op("concat")
def concat(values: Tensors, axis: int, interleave: bool = False) -> Tensor:
    if interleave:
        raise refuse("concat that interleaves")
    if values[0].dim() == 0:
        return torch.stack(values)
    return torch.cat(values, axis)


@op("stack")
def stack(values: Tensors, axis: int) -> Tensor:
    return torch.stack(values, axis)


@op("split")
def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> Tensors:
    if split_sizes is not None:
        return torch.split(x, split_sizes, axis)
    if not num_splits or x.shape[axis] % num_splits:
        raise refuse(f"split of {x.shape[axis]} into {num_splits} parts")
    return torch.split(x, x.shape[axis] // num_splits, axis)


@op("slice_by_index")
def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Bools | None = None,
    end_mask: Bools | None = None,
    squeeze_mask: Bools | None = None,
) -> Tensor:
    """numpy's x[begin:end:stride] in every dimension; a mask of begin or end stands for "from the edge"."""
    off = [False] * x.dim()
    strides, from_edge = stride or [1] * x.dim(), begin_mask or off
    to_edge, drop = end_mask or off, squeeze_mask or off
    for axis, size in enumerate(x.shape):
        if drop[axis]:
            x = x.narrow(axis, begin[axis] % size if -size <= begin[axis] < size else size, 1)
            continue
        start, stop = None if from_edge[axis] else begin[axis], None if to_edge[axis] else end[axis]
        picked = range(*slice(start, stop, strides[axis]).indices(size))
        if picked != range(size):
            x = x.index_select(axis, torch.tensor(list(picked), dtype=torch.int64))
    return x.reshape([size for size, gone in zip(x.shape, drop, strict=True) if not gone])


@op("slice_by_size")
def slice_by_size(x: Tensor, begin: Ints, size: Ints) -> Tensor:
    """A size of -1 takes what is left."""
    for axis, (first, count) in enumerate(zip(begin, size, strict=True)):
        start = first + x.shape[axis] if first < 0 else first
        x = x.narrow(axis, start, x.shape[axis] - start if count == -1 else count)
    return x


@op("pad")
def pad(x: Tensor, pad: Ints, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """Two amounts, before and after, for each of the last dimensions."""
    if mode != "constant":
        raise refuse(f"pad of mode {mode}")
    pairs = [pad[i : i + 2] for i in range(0, len(pad), 2)]
    sizes = list(x.shape)
    for axis, pair in enumerate(pairs, len(sizes) - len(pairs)):
        sizes[axis] += sum(pair)
    check_count(math.prod(sizes))
    return F.pad(x, [amount for pair in reversed(pairs) for amount in pair], value=constant_val)


@op("tile")
def tile(x: Tensor, reps: Ints) -> Tensor:
    check_count(x.numel() * math.prod(reps))
    return x.repeat(reps)


@op("reverse")
def reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.flip(list(range(x.dim())) if axes is None else axes)


@op("band_part")
def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """Zero outside `lower` diagonals below the main one and `upper` above; -1 keeps all of that side."""
    below = torch.arange(x.shape[-2])[:, None] - torch.arange(x.shape[-1])[None, :]
    kept = (below <= lower if lower >= 0 else below == below) & (-below <= upper if upper >= 0 else below == below)
    return torch.where(kept, x, torch.zeros((), dtype=x.dtype))


@op("range_1d")
def range_1d(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    check_count((end.item() - start.item()) / step.item())
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


@op("fill")
def fill(shape: Ints, value: Tensor | None = None) -> Tensor:
    check_count(math.prod(shape))
    return torch.zeros(shape) if value is None else value.reshape(()).expand(shape)


@op("fill_like")
def fill_like(ref_tensor: Tensor, value: Tensor | None = None) -> Tensor:
    return fill(list(ref_tensor.shape), value)
