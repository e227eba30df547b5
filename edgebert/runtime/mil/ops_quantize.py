"""Ops of reduced precision: stored weights, and activations in 8 bits."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from edgebert.runtime.mil.registry import HELD, Ints, op, refuse


def _along(values: Tensor, axis: int | None, rank: int) -> Tensor:
    """A scalar as it is; a vector shaped so that it runs along `axis` of a tensor of that rank."""
    if values.dim() == 0:
        return values
    if axis is None:
        raise refuse("a scale for each channel without an axis")
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def _affine(data: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int | None) -> Tensor:
    shifted = data.float()
    if zero_point is not None:
        shifted = shifted - _along(zero_point.float(), axis, data.dim())
    return shifted * _along(scale, axis, data.dim())


@op("quantize")
def quantize(
    input: Tensor, scale: Tensor, output_dtype: str, zero_point: Tensor | None = None, axis: int | None = None
) -> Tensor:
    """clip(round(input / scale) + zero point), halves to the even number."""
    if output_dtype not in ("int8", "uint8"):
        raise refuse(f"quantize to {output_dtype}")
    held = HELD[output_dtype.upper()]
    values = torch.round(input / _along(scale, axis, input.dim()))
    if zero_point is not None:
        values = values + _along(zero_point.float(), axis, input.dim())
    limits = torch.iinfo(held)
    return values.clamp(limits.min, limits.max).to(held)


@op("dequantize")
def dequantize(input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: int | None = None) -> Tensor:
    return _affine(input, scale, zero_point, axis)


@op("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    return _affine(quantized_data, scale, zero_point, axis)


@op("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """A scale for each block of data: along every axis, data's size is a multiple of scale's."""
    result = data.float()
    if offset is not None:
        result = result - _spread(offset.float(), data)
    return result * _spread(scale, data)


def _spread(blocks: Tensor, data: Tensor) -> Tensor:
    """Each block's value, repeated over the block."""
    for axis, (count, size) in enumerate(zip(blocks.shape, data.shape, strict=True)):
        if size % count:
            raise refuse(f"{count} blocks along a dimension of {size}")
        if 1 < count < size:  # one value, or one for each entry, broadcasts by itself
            blocks = blocks.repeat_interleave(size // count, axis)
    return blocks


@op("constexpr_lut_to_dense")
def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Ints | None = None, vector_axis: int | None = None
) -> Tensor:
    """Weights as places in a table of values.

    iOS 16 packs the indices into bytes, gives `shape`, and has one table (n,). iOS 18 has indices of the weight's
    own shape and a table for each block of them: (*blocks, n, 1).
    """
    if shape is not None:
        return lut[_unpack(indices, lut.shape[0], math.prod(shape))].reshape(shape)
    if lut.shape[-1] != 1:
        raise refuse("a look-up table of vectors")
    grid, size = list(lut.shape[:-2]), lut.shape[-2]
    numbers = torch.arange(math.prod(grid), dtype=torch.int64).reshape(grid)  # of each block's table
    place = _spread(numbers, indices).expand(indices.shape) * size + indices.to(torch.int64)
    return lut.reshape(-1)[place]


def _unpack(packed: Tensor, n_values: int, count: int) -> Tensor:
    """Int64 numbers (count,) from bytes that hold log2(n_values) bits of each, lowest bits first."""
    return torch.from_numpy(unpack_bits(packed.numpy(), n_values.bit_length() - 1, count).astype(np.int64))


def unpack_bits(packed: np.ndarray, width: int, count: int) -> np.ndarray:
    """Uint8 numbers (count,) of `width` bits each, stored lowest bits first."""
    bits = np.unpackbits(packed.reshape(-1), bitorder="little", count=count * width)
    return np.packbits(bits.reshape(count, width), axis=1, bitorder="little").reshape(-1)


@op("constexpr_cast")
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    if output_dtype not in ("fp16", "fp32"):
        raise refuse(f"constexpr_cast to {output_dtype}")
    return source_val
