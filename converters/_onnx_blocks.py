"""Products with weights in blocks along the sum, each block with a scale: MatMulNBits, an operator of ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgebert.runtime.quiet import quiet

if TYPE_CHECKING:
    from onnx import ModelProto


def in_blocks(
    model: ModelProto,
    *,
    bits: int,
    block_size: int,
    leave: Sequence[str],
    symmetric: bool = True,
    accuracy_level: int = 4,
) -> ModelProto:
    """The model with its matrix products so, but for the nodes of these names.

    Args:
        accuracy_level: 4 multiplies in 8 bits, activations scaled a block as weights are; 0 in float.
    """
    with _logging_kept():
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        with quiet(capture=True):
            quantizer = MatMulNBitsQuantizer(
                model,
                bits=bits,
                block_size=block_size,
                is_symmetric=symmetric,
                accuracy_level=accuracy_level,
                nodes_to_exclude=list(leave),
            )
            quantizer.process()
    created = quantizer.model.model
    once = {item.name: item for item in created.graph.initializer}  # weights shared by layers were written for each
    del created.graph.initializer[:]
    created.graph.initializer.extend(once.values())
    return created


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Importing ONNX Runtime's module of it sets up the program's log; this puts it back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
