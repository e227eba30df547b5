"""Ops of torch that coremltools 9 does not translate, or not as needed: registered once, for every conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coremltools.converters.mil.frontend.torch.converter import TranscriptionContext
    from coremltools.converters.mil.frontend.torch.internal_graph import InternalTorchIRNode
    from coremltools.converters.mil.mil import Var

_done: list[bool] = []


def register() -> None:
    """Adds the translations. Does nothing the second time."""
    if _done:
        return
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY as known

    known.set_func_by_name(known.get_func("mul"), "multiply")
    for name, function in (
        ("or", either),
        ("fake_quantize_per_tensor_affine", fake_quantize_per_tensor_affine),
        ("new_ones", new_ones),
        ("eye", eye),
        ("where", where),
        ("where.self", where),
        ("where.scalarself", where),
    ):
        known.set_func_by_name(function, name)
    _done.append(True)


def _inputs(context: TranscriptionContext, node: InternalTorchIRNode) -> list[Var]:
    from coremltools.converters.mil.frontend.torch.ops import _get_inputs

    return list(_get_inputs(context, node))


def fake_quantize_per_tensor_affine(context: TranscriptionContext, node: InternalTorchIRNode) -> None:
    """To 8 bits and back: what the Neural Engine runs as integers between a pair of such ops."""
    import numpy as np
    from coremltools.converters.mil import Builder as mb

    x, scale, zero_point, low, high = _inputs(context, node)
    if (low.val, high.val) != (-128, 127):
        raise NotImplementedError(f"fake_quantize to {low.val}..{high.val} is not implemented")
    settings = {"scale": np.float32(scale.val), "zero_point": np.int8(zero_point.val)}
    stored = mb.quantize(input=x, output_dtype="int8", **settings)
    context.add(mb.dequantize(input=stored, name=node.name, **settings))


def either(context: TranscriptionContext, node: InternalTorchIRNode) -> None:
    """`a | b` of truth values."""
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    x, y = _inputs(context, node)
    if not (types.is_bool(x.dtype) and types.is_bool(y.dtype)):
        raise NotImplementedError("`|` of integers is not implemented")
    context.add(mb.logical_or(x=x, y=y, name=node.name))


def new_ones(context: TranscriptionContext, node: InternalTorchIRNode) -> None:
    """Ones of a size that may be known at run time only, in the type asked for, else in that of the tensor."""
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.frontend.torch.ops import NUM_TO_DTYPE_STRING
    from coremltools.converters.mil.mil import types

    like, size, dtype = _inputs(context, node)[:3]
    shape = mb.concat(values=size, axis=0) if isinstance(size, list) and size else size
    kind = types.builtin_to_string(like.dtype) if dtype is None else NUM_TO_DTYPE_STRING[int(dtype.val)]
    is_scalar = isinstance(shape, list) or shape.shape == (0,)
    ones = mb.const(val=1.0) if is_scalar else mb.fill(shape=shape, value=1.0)
    context.add(mb.cast(x=ones, dtype=kind, name=node.name))


def eye(context: TranscriptionContext, node: InternalTorchIRNode) -> None:
    """The identity of a size that may be known at run time only."""
    from coremltools.converters.mil import Builder as mb

    inputs = _inputs(context, node)
    if len(inputs) == 6 and inputs[1].val != inputs[0].val:
        raise NotImplementedError("eye with two sizes is not implemented")
    places = mb.range_1d(start=0, end=inputs[0], step=1)
    same = mb.equal(x=mb.expand_dims(x=places, axes=[0]), y=mb.expand_dims(x=places, axes=[1]))
    context.add(mb.cast(x=same, dtype="fp32", name=node.name))


def where(context: TranscriptionContext, node: InternalTorchIRNode) -> None:
    """A choice element by element. Between two numbers, coremltools gives the result the numbers' shape, which Core ML
    would not: they are spread over the condition first."""
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.frontend.torch import ops

    inputs = _inputs(context, node)
    if len(inputs) != 3 or not inputs[0].rank or inputs[1].rank or inputs[2].rank or inputs[1].val is None:
        ops.where(context, node)
        return
    cond, a, b = inputs
    a, b = ops.promote_input_dtypes([a, b])
    spread = mb.fill(shape=mb.shape(x=cond), value=a.val)
    context.add(mb.select(cond=mb.cast(x=cond, dtype="bool"), a=spread, b=b, name=node.name))
