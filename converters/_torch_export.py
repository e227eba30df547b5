"""A graph of torch as torch.export writes it, for the formats that begin there: one row of any length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgebert.converters._fourier import real_fourier
from edgebert.converters._onnx_export import random_rows
from edgebert.converters._onnx_file import first_line
from edgebert.errors import EdgebertError
from edgebert.runtime.session import Source

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TRACED = 8  # tokens of the example


def example(source: Source) -> tuple[Tensor, ...]:
    """One row, in the order of the graph's inputs."""
    row = random_rows(source, 1, TRACED, seed=0)
    return tuple(torch.from_numpy(row[name]) for name in source.inputs)


def exported(source: Source, graph: nn.Module, *, variadic: bool = True) -> ExportedProgram:
    """The graph for one row of 2 tokens up to the model's most; files made of it take 1 as well.

    Args:
        variadic: its inputs are `*tensors`, as those of `Source.graph` are, and not one parameter each.

    Raises:
        EdgebertError: its steps depend on the number of tokens or on their ids.
    """
    from torch._dynamo.exc import UserError

    seq = torch.export.Dim("seq", min=2, max=source.max_length)
    shapes: tuple[Any, ...] = tuple({1: seq} for _ in source.inputs)
    try:
        with torch.no_grad(), real_fourier(graph):
            return torch.export.export(
                graph,
                example(source),
                dynamic_shapes=(shapes,) if variadic else shapes,
                strict=False,
                # Without it a step that is another one for 2 tokens alone, such as a broadcast, is refused for all.
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except UserError as error:
        lines = [line.strip(" -") for line in str(error).splitlines() if line.startswith("  - ")]
        what = f"torch.export does not take rows of any length: {lines[0] if lines else first_line(error)}"
        raise EdgebertError(what, where=source.title or None) from error
