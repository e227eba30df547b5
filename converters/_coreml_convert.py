"""From a graph in torch to an ML program: shapes, deployment target, trace, conversion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from edgebert.converters._coreml_ops import register
from edgebert.converters._fourier import real_fourier
from edgebert.errors import EdgebertError, RequestError
from edgebert.faults import raise_if_fault
from edgebert.runtime.quiet import quiet
from edgebert.runtime.session import Source
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS
from edgebert.types import Shape

if TYPE_CHECKING:
    from types import ModuleType

    from coremltools import EnumeratedShapes
    from coremltools.models import MLModel
    from torch import Tensor
    from torch.jit import ScriptModule

HINT = "Distil into a bert, or export to ONNX (--format onnx). What converts to what, measured: docs/formats.md."


@dataclass(frozen=True)
class Plan:
    """How the lengths of rows go into a file.

    Attributes:
        shape: `functions` is a fixed program for each length.
        lengths: ascending; for `ranged` only the greatest matters.
        ios: the oldest iOS that runs the program.
    """

    shape: Shape
    lengths: tuple[int, ...]
    ios: int = 15

    @property
    def longest(self) -> int:
        return self.lengths[-1]

    @property
    def parts(self) -> tuple[Plan, ...]:
        """The programs that are converted: of `functions` one of fixed length for each."""
        if self.shape != "functions":
            return (self,)
        return tuple(replace(self, shape="fixed", lengths=(length,)) for length in self.lengths)


def plan(source: Source, shape: Shape, ios: int = 15) -> Plan:
    """The plan for a shape; one length is always fixed.

    Args:
        ios: the oldest iOS that the precision's ops exist on.

    Raises:
        RequestError: an unknown shape, or a length that the model's positions do not allow.
    """
    if shape not in get_args(Shape):
        raise RequestError(f"unknown shape '{shape}'", hint=f"Known: {', '.join(get_args(Shape))}.")
    lengths = tuple(sorted(set(source.lengths)))
    if shape == "ranged":
        return Plan(shape, (source.max_length,), ios)
    if not lengths or lengths[0] < 1 or lengths[-1] > source.max_length:
        raise RequestError(
            f"lengths {', '.join(map(str, lengths)) or 'missing'}; the model takes rows of 1 to {source.max_length}",
            where="lengths",
            hint=f"Name lengths up to {source.max_length}.",
        )
    if shape == "fixed" or len(lengths) == 1:
        return Plan("fixed", lengths[-1:], ios)
    needs_18 = shape == "functions" or len(source.inputs) > 1  # functions, or two flexible inputs
    return Plan(shape, lengths, max(ios, 18 if needs_18 else 15))


def convert(source: Source, wanted: Plan, *, half: bool) -> MLModel:
    """An MLModel that is not loaded: int32 inputs (1, length), float32 outputs.

    Args:
        half: compute in float16, the only type of the Neural Engine.

    Raises:
        EdgebertError: the family cannot be expressed; the op is named where one is to blame.
    """
    import numpy as np

    with quiet(capture=True):
        ct = _coremltools()
        register()
        try:
            traced = _trace(source, wanted.longest)
            return ct.convert(
                traced,
                convert_to="mlprogram",
                skip_model_load=True,
                inputs=[ct.TensorType(name=name, shape=_shape(ct, wanted), dtype=np.int32) for name in source.inputs],
                outputs=[ct.TensorType(name=name, dtype=np.float32) for name in source.outputs],
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                minimum_deployment_target=getattr(ct.target, f"iOS{wanted.ios}"),
            )
        except Exception as error:  # tracer and converter raise whatever they like
            raise_if_fault(error)
            raise refusal(source.family, wanted, error) from error


def _coremltools() -> ModuleType:
    try:
        import coremltools
    except ImportError:
        raise RequestError(
            "Core ML files are written by coremltools, which is not installed", hint='pip install "edgebert[coreml]"'
        ) from None
    return coremltools


def refusal(family: str, wanted: Plan, error: Exception) -> EdgebertError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    description = next(
        (line for line in lines if "not implemented" in line), lines[0] if lines else type(error).__name__
    )
    shape = f"{wanted.shape} lengths" if wanted.shape != "fixed" else "a fixed length"
    return EdgebertError(f"{family} cannot be written as Core ML with {shape}: {description}", where=family, hint=HINT)


def _shape(ct: ModuleType, wanted: Plan) -> tuple[object, ...] | EnumeratedShapes:
    if wanted.shape == "fixed":
        return (1, wanted.longest)
    if wanted.shape == "ranged":
        return (1, ct.RangeDim(1, wanted.longest, default=min(128, wanted.longest)))
    return ct.EnumeratedShapes([(1, length) for length in wanted.lengths], default=(1, wanted.longest))


def _trace(source: Source, length: int) -> ScriptModule:
    import torch

    source.graph.eval()
    with torch.no_grad(), real_fourier(source.graph):
        return torch.jit.trace(source.graph, sample(source, length, length - 1), check_trace=False, strict=False)


def sample(source: Source, length: int, real: int) -> tuple[Tensor, ...]:
    """One row of int32 inputs of a length, of which the first `real` tokens (at least one) are not padding."""
    import torch

    real = max(real, 1)
    ids = torch.arange(length, dtype=torch.int32)[None, :] * 7 % max(source.vocab_size - 1, 1)
    mask = torch.ones(1, length, dtype=torch.int32)
    ids[ids == source.pad_id] = source.vocab_size - 1
    ids[:, real:], mask[:, real:] = source.pad_id, 0
    values = {INPUT_IDS: ids, ATTENTION_MASK: mask, TOKEN_TYPE_IDS: torch.zeros_like(ids)}
    return tuple(values[name] for name in source.inputs)


def padding_moves(source: Source) -> float:
    """How far padding moves an output: next to nothing where the mask hides it; not so for convolutions and FNet."""
    import torch

    moved = []
    for real in {1, max(min(9, source.max_length - 3), 1)}:  # of one token all its neighbours are padding
        longer = min(real + 3, source.max_length)
        with torch.inference_mode():
            alone, padded = source.graph(*sample(source, real, real)), source.graph(*sample(source, longer, real))
        pairs = ((a, b if a.shape == b.shape else b[:, :real]) for a, b in zip(alone, padded, strict=True))
        moved += [float((a - b).abs().max()) for a, b in pairs]
    return max(moved)
