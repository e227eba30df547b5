"""The word table in 4 bits: two values a byte, each row with a least value and a step, out of standard operators.

A small student is mostly its word table, and a trimmed vocabulary costs it the words that the training text does not
hold. At 4 bits twice the words fit into the same file. A row is unpacked after it was gathered, so that the time grows
with the tokens read and not with the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters._onnx_embedding import tables
from edgebert.errors import EdgebertError

if TYPE_CHECKING:
    from types import ModuleType

    from onnx import ModelProto, NodeProto

STEPS = 15
SHRINKS = np.linspace(1.0, 0.7, 13)  # of a row's range: cutting its outliers off makes the other values' steps finer


def pack_word_table(model: ModelProto) -> None:
    """Replaces Gather(word table, ids), the largest table's, by gathers of packed rows. In place.

    Raises:
        EdgebertError: no table is gathered, its width is odd, or something else reads it too.
    """
    from onnx import helper, numpy_helper

    result = tables(model)
    if not result:
        raise EdgebertError("the graph gathers rows of no table", hint="Use precision int8.")
    name, item = max(result.items(), key=lambda pair: pair[1].dims[0])
    readers = [node for node in model.graph.node if name in node.input]
    if item.dims[1] % 2 or any(node.op_type != "Gather" for node in readers):
        raise EdgebertError(f"table {name} has an odd width or other readers", hint="Use precision int8.")
    codes, least, step = quantize_rows4(numpy_helper.to_array(item))
    half = item.dims[1] // 2
    arrays = {
        "packed": codes[:, :half] | codes[:, half:] << 4,  # low nibbles are the first half of a row
        "least": least,
        "step": step,
        "shift": np.array([4], np.uint8),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, f"{name}_{key}") for key, array in arrays.items())
    nodes = []
    for node in model.graph.node:
        nodes += _unpacked(helper, name, node.input[1], node.output[0]) if node in readers else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    kept = [entry for entry in model.graph.initializer if entry.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def quantize_rows4(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 codes 0 to 15 (rows, width), float32 least and step (rows, 1): `table` is about least + step * codes.

    Each row takes the range with the least squared error: its own, shrunk by one of SHRINKS, or the one about 0 that a
    row which was rounded before training (`round-embedding`) lies on exactly.
    """
    low, high = table.min(1, keepdims=True), table.max(1, keepdims=True)
    middle, reach, largest = (low + high) / 2, (high - low) / 2, np.maximum(-low, high)
    ranges = [(middle - shrink * reach, 2 * shrink * reach / STEPS) for shrink in SHRINKS]
    best = np.full(len(table), np.inf)
    least, step = np.zeros_like(low, np.float32), np.ones_like(low, np.float32)
    for start, size in (*ranges, (-8 * largest / 7, largest / 7)):
        start, size = start.astype(np.float32), np.where(size == 0, 1.0, size).astype(np.float32)
        error = np.square(start + size * _codes(table, start, size) - table).sum(1)
        better = error < best
        best[better], least[better], step[better] = error[better], start[better], size[better]
    return _codes(table, least, step), least, step


def _codes(table: np.ndarray, least: np.ndarray, step: np.ndarray) -> np.ndarray:
    return np.rint((table - least) / step).clip(0, STEPS).astype(np.uint8)


def _unpacked(helper: ModuleType, table: str, ids: str, out: str) -> list[NodeProto]:
    """The nodes that gather and unpack rows: shifting a byte left and right again leaves its low nibble."""

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> NodeProto:
        return helper.make_node(kind, inputs, [output], name=f"{output}_{kind}", **attributes)

    shift = f"{table}_shift"
    return [
        node("Gather", [f"{table}_packed", ids], f"{out}_packed"),
        node("Gather", [f"{table}_least", ids], f"{out}_least"),
        node("Gather", [f"{table}_step", ids], f"{out}_step"),
        node("BitShift", [f"{out}_packed", shift], f"{out}_raised", direction="LEFT"),
        node("BitShift", [f"{out}_raised", shift], f"{out}_low", direction="RIGHT"),
        node("BitShift", [f"{out}_packed", shift], f"{out}_high", direction="RIGHT"),
        node("Concat", [f"{out}_low", f"{out}_high"], f"{out}_codes", axis=-1),
        node("Cast", [f"{out}_codes"], f"{out}_float", to=1),
        node("Mul", [f"{out}_float", f"{out}_step"], f"{out}_scaled"),
        node("Add", [f"{out}_scaled", f"{out}_least"], out),
    ]
