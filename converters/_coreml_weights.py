"""Weights in fewer bits: linear to 8, tables of values (palettes) for 6 and 4."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edgebert.errors import EdgebertError, first_line
from edgebert.faults import raise_if_fault
from edgebert.runtime.quiet import quiet
from edgebert.runtime.session import Source

if TYPE_CHECKING:
    from coremltools.models import MLModel
    from coremltools.optimize.coreml import OptimizationConfig
    from coremltools.proto.MIL_pb2 import TensorType
    from coremltools.proto.Model_pb2 import Model

# Weights are what these ops read as these arguments: layers and embedding tables. Other constants stay as they are:
# position and type embeddings that a fixed length folded into one tensor, tables of relative positions, masks.
READERS = {"linear": "weight", "conv": "weight", "gather": "x"}
SMALLEST = 2048  # values; below it the scales cost more than they save


def to_int8(model: MLModel) -> MLModel:
    """Each output channel of a layer, and each row of an embedding table, with a scale of its own."""
    from coremltools.optimize import coreml as optimize

    setting = optimize.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=SMALLEST
    )
    return _apply(optimize.linear_quantize_weights, model, setting)


def to_palette(model: MLModel, bits: int, group: int) -> MLModel:
    """A table of values for each `group` channels, or for each tensor where it is 0. See `padded_vocabulary`."""
    from coremltools.optimize import coreml as optimize

    setting = optimize.OpPalettizerConfig(
        mode="custom",
        lut_function=partial(palette, bits=bits),
        granularity="per_grouped_channel" if group else "per_tensor",
        group_size=group or 32,
        weight_threshold=SMALLEST,
    )
    return _apply(optimize.palettize_weights, model, setting)


def palette(weight: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The values (2 ** bits,) that represent a weight with little squared error, and each value's place among them.

    k-means in one dimension: sorted, a cluster is a stretch, so a step costs a binary search for each border.
    """
    values = np.sort(weight.astype(np.float64), axis=None)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centres = _spread(values, 1 << bits)
    for _ in range(40):
        ends = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        ends = np.concatenate([[0], ends, [len(values)]])
        counts = np.diff(ends)
        moved = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    table = centres.astype(weight.dtype)
    borders = (table[1:].astype(np.float64) + table[:-1]) / 2
    return table, np.searchsorted(borders, weight.astype(np.float64).ravel()).astype(np.uint8)


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    """First centres, ascending: dense as the cube root of the values' own density, which is best for many of them."""
    density, edges = np.histogram(values, bins=512)
    share = np.concatenate([[0.0], np.cumsum(np.cbrt(density))])
    return np.interp((np.arange(count) + 0.5) / count * share[-1], share, edges)


@contextmanager
def padded_vocabulary(source: Source, group: int) -> Iterator[None]:
    """Within it, the model's table of tokens has a multiple of `group` rows: else it could not be put in groups.

    The rows added are zero, and no token reads them.
    """
    import torch

    table = source.graph.model.get_input_embeddings()  # type: ignore[union-attr, operator]
    real = table.weight
    more = -real.shape[0] % group if group else 0
    table.weight = torch.nn.Parameter(torch.cat([real.detach(), real.new_zeros(more, real.shape[1])]))
    try:
        yield
    finally:
        table.weight = real


def _apply(function: Callable[[MLModel, OptimizationConfig], MLModel], model: MLModel, setting: object) -> MLModel:
    from coremltools.optimize import coreml as optimize

    # By name: by kind of op, coremltools refuses a constant that ops of two kinds share, such as a vector of zeros.
    config = optimize.OptimizationConfig(op_name_configs=dict.fromkeys(weight_names(model.get_spec()), setting))
    try:
        with quiet(capture=True):
            return function(model, config)
    except Exception as error:  # coremltools raises whatever it likes
        raise_if_fault(error)
        raise EdgebertError(f"the weights cannot be reduced: {first_line(error)}") from error


def weight_names(spec: Model) -> list[str]:
    """Names of the float constants that are worth reducing, from a model's specification."""
    function = spec.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    constants = {item.outputs[0].name: item.outputs[0].type.tensorType for item in operations if item.type == "const"}
    read = {
        item.inputs[READERS[item.type]].arguments[0].name
        for item in operations
        if item.type in READERS and item.inputs[READERS[item.type]].arguments
    }
    return sorted(name for name in read & set(constants) if _size(constants[name]) > SMALLEST)


def _size(tensor: TensorType) -> int:
    """Values of a float tensor; 0 for other types."""
    kind = type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[tensor.dataType].name
    return math.prod(item.constant.size for item in tensor.dimensions) if kind.startswith("FLOAT") else 0
