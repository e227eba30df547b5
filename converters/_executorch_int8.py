"""ExecuTorch programs with weights in 8 bits, and lookups in 8 or 4.

Products: weights in 8 bits, a scale for each channel; activations are scaled as they come, a scale for each token. Lookups are
operators of ExecuTorch's quantized kernels, which an app must link as well: XNNPACK has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from edgebert.converters._executorch_lower import traced
from edgebert.converters._onnx_embedding import LEAST, LEAST_WIDTH, quantize_rows
from edgebert.converters._onnx_embedding4 import quantize_rows4
from edgebert.converters._torch_export import example
from edgebert.errors import EdgebertError
from edgebert.runtime.session import Source

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node

LOOKUP = torch.ops.aten.embedding.default


def quantized(source: Source, program: ExportedProgram, table_bits: int) -> ExportedProgram:
    """A float32 program in int8, its largest table in `table_bits` (8 or 4). The program stays as it is.

    Raises:
        EdgebertError: 4 bits, and no table is looked up in, or its width is odd.
    """
    import executorch.kernels.quantized  # noqa: F401 - the lookups in few bits
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    class Quantizer(XNNPACKQuantizer):
        def transform_for_annotation(self, model: GraphModule) -> GraphModule:
            """It would make tensors of the numbers that index, and torch refuses those."""
            return model

    module = program.module()
    _quantize_tables(module, table_bits)
    wanted = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    prepared = prepare_pt2e(module, Quantizer().set_global(wanted))
    prepared(*example(source))  # observers want to have seen something; ranges are taken as the rows come
    return traced(source, convert_pt2e(prepared), variadic=False)


def _quantize_tables(module: GraphModule, largest_bits: int) -> None:
    """Replaces lookups in float tables. In place. A table that something else reads too stays float for that reader."""
    lookups = [node for node in module.graph.nodes if node.target is LOOKUP and _is_table(module, node)]
    largest = max((len(_table(module, node)) for node in lookups), default=0)
    if largest_bits == 4 and not largest:
        raise EdgebertError("the graph looks up rows of no table", hint="Use precision int8.")
    for i, node in enumerate(lookups):
        table, bits = _table(module, node), 8
        if largest_bits == 4 and len(table) == largest:
            if table.shape[1] % 2:
                raise EdgebertError(f"the word table has an odd width, {table.shape[1]}", hint="Use precision int8.")
            bits = 4
        arrays = _packed(table) if bits == 4 else (*quantize_rows(table), None)
        with module.graph.inserting_before(node):
            stored = [
                None if array is None else _constant(module, f"table{i}_{k}", array) for k, array in enumerate(arrays)
            ]
            operator = getattr(torch.ops.quantized_decomposed, "embedding_4bit" if bits == 4 else "embedding_byte")
            limits = (-8, 7) if bits == 4 else (-128, 127)
            new = module.graph.call_function(operator.default, (*stored, *limits, node.args[1]))
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        module.graph.erase_node(node)
    module.recompile()


def _packed(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two codes a byte, the first in the high half; scales; zero points, as floats, of codes that are stored plus 8."""
    codes, least, step = quantize_rows4(table)
    return codes[:, 0::2] << 4 | codes[:, 1::2], step, -(least / step) - 8


def _is_table(module: GraphModule, node: Node) -> bool:
    """Whether a lookup reads a constant matrix that is large enough to gain."""
    table = node.args[0]
    if table.op != "get_attr":  # type: ignore[union-attr]
        return False
    rows = _table(module, node)
    return rows.ndim == 2 and rows.shape[1] >= LEAST_WIDTH and rows.size >= LEAST


def _table(module: GraphModule, node: Node) -> np.ndarray:
    value: object = module
    for name in str(node.args[0].target).split("."):  # type: ignore[union-attr]
        value = getattr(value, name)
    assert isinstance(value, torch.Tensor)
    return value.detach().numpy()


def _constant(module: GraphModule, name: str, array: np.ndarray) -> Node:
    module.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)))
    return module.graph.get_attr(name)
