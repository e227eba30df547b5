"""What a Core AI asset is made of: weights as the floats that they stand for, and its operators.

coreai-core gives no weights back, but it writes a program as text, those in hexadecimal. A program in half precision is
another graph than the float32 one, so its operators are not told.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.converters import Contents, Operator

CONSTANT, SCALED, PALETTE, GATHERED = (
    "coreai.constant", "coreai.blockwise_shift_scale", "coreai.lut_to_dense", "coreai.gather_nd",
)  # fmt: skip
FEW = 16  # numbers of a constant that is no weight: axes, sizes
KINDS = {"f32": "<f4", "f16": "<f2", "si8": "i1", "ui8": "u1", "si16": "<i2", "ui16": "<u2", "si32": "<i4", "ui32": "<u4",
         "si64": "<i8", "ui64": "<u8"}  # fmt: skip
Folded = tuple[Any, ...]  # an operator and what it reads: the text of a constant, or more of these
RESOURCE = re.compile(r'^\s*(\w+): "0x([0-9A-Fa-f]+)"', re.MULTILINE)


def contents(path: Path) -> Contents:
    """Of an asset's folder, of all its functions."""
    from coreai.authoring import AIModelAsset

    module = AIModelAsset.load(path).program._module._mlir_module
    text = str(module)
    stored = {name: bytes.fromhex(digits)[4:] for name, digits in RESOURCE.findall(text)}  # 4 bytes of alignment first
    graphs = {str(item.attributes["sym_name"].value): item for item in (op.operation for op in module.body.operations)}
    # Parts that functions call, such as a layer norm, by what they compute.
    parts = {name: _digest(str(item)) for name, item in graphs.items() if "priv" in item.attributes}
    reader = _Reader(stored, parts)
    for name, item in graphs.items():
        if name not in parts:
            reader.function(name, item)
    operators = [] if re.search(r"tensor<[\dx?]*x?f16>", text) else reader.operators
    return Contents(reader.weights, operators, tuple(reader.outputs))


def _digest(text: str) -> str:
    """Of a part's text without its name."""
    return hashlib.sha256(re.sub(r"@\w+", "@", text).encode()).hexdigest()[:12]


class _Reader:
    """Collects weights and operators. Weights are numbered as they are read, by their shape: a reduced file reads its own in
    the same order."""

    def __init__(self, stored: Mapping[str, bytes], parts: Mapping[str, str]) -> None:
        self.weights: dict[str, np.ndarray] = {}
        self.operators: list[Operator] = []
        self.outputs: list[str] = []
        self._stored, self._parts = stored, parts
        self._seen: Counter[str] = Counter()
        self._decoded: dict[Folded, np.ndarray] = {}

    def function(self, name: str, graph: Any) -> None:
        """All of one function."""
        constants: dict[str, Folded] = {}
        for item in graph.regions[0].blocks[0].operations:
            operation = item.operation
            results = tuple(f"{name}{value.get_name()}" for value in operation.results)
            inputs = tuple(f"{name}{value.get_name()}" for value in operation.operands)
            if operation.name == CONSTANT:
                constants[results[0]] = (CONSTANT, str(operation.attributes["value"]))
            elif operation.name in COMPUTED and all(item in constants for item in inputs):
                constants[results[0]] = (operation.name, *(constants[item] for item in inputs))
            elif operation.name == "coreai.output":
                self.outputs += inputs
            else:
                self._add(operation, [item for item in inputs if item not in constants],
                          [constants[item] for item in inputs if item in constants], results)  # fmt: skip

    def _add(self, operation: Any, inputs: list[str], constants: list[Folded], results: tuple[str, ...]) -> None:
        numbers = []
        for constant in constants:
            array = self._array(constant)
            if array.dtype.kind == "f" and array.size > 1:
                shape = "x".join(map(str, array.shape))
                self._seen[shape] += 1
                self.weights[f"{shape}, number {self._seen[shape]}"] = array
            elif array.size <= FEW:
                numbers.append(array.ravel().tolist())
        settings = sorted(f"{item.name} {item.attr}" for item in operation.attributes)
        told = re.sub(r"@(\w+)", lambda found: f"@{self._parts.get(found[1], '')}", " ".join(settings))
        self.operators.append(Operator(f"{operation.name} {told} {numbers}", tuple(inputs), results))

    def _array(self, constant: Folded) -> np.ndarray:
        """A constant's value, or of an operator on constants."""
        if constant not in self._decoded:
            kind, *parts = constant
            if kind == CONSTANT:
                array = self._dense(str(parts[0]))
                array = array.astype(np.float32) if array.dtype.kind == "f" else array
            else:
                values = [self._array(part) for part in parts]
                array = COMPUTED[kind](*values)
            self._decoded[constant] = array
        return self._decoded[constant]

    def _dense(self, text: str) -> np.ndarray:
        found = re.fullmatch(r"(dense|dense_resource)<(.*)> : tensor<([\dx]*?)x?([a-z]+\d+)>", text, re.DOTALL)
        assert found, text[:80]
        kind, value, sizes, dtype = found.groups()
        shape = [int(size) for size in sizes.split("x") if size]
        n = int(np.prod(shape, dtype=int))
        if kind == "dense_resource":
            return _unpacked(self._stored[value], dtype, n).reshape(shape)
        if value.startswith('"0x'):
            return _unpacked(bytes.fromhex(value[3:-1]), dtype, n).reshape(shape)
        whole = np.float32 if dtype.startswith("f") else bool if dtype == "i1" else np.int64
        numbers = [item == "true" if item in ("true", "false") else float(item)
                   for item in re.findall(r"[-+\w.]+", value)]  # fmt: skip
        array = np.asarray(numbers, whole)
        return np.broadcast_to(array, (n,)).reshape(shape) if array.size == 1 else array.reshape(shape)


def _unpacked(raw: bytes, dtype: str, n: int) -> np.ndarray:
    """Numbers of fewer than 8 bits lie one after the other, the lowest bit first; one number alone stands for all."""
    if dtype in KINDS:
        return np.resize(np.frombuffer(raw, KINDS[dtype]), n)
    bits = int(re.sub(r"\D", "", dtype))
    if len(raw) == n and bits < 8:  # the text of small constants has a byte a number
        codes = np.frombuffer(raw, np.uint8).astype(np.int16)
    else:
        places = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[: n * bits].reshape(n, bits)
        codes = (places.astype(np.int16) << np.arange(bits, dtype=np.int16)).sum(1, dtype=np.int16)
    return np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes) if dtype.startswith("si") else codes


def _scaled(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, least: np.ndarray) -> np.ndarray:
    """scale * (codes - zero) + least, each of which covers a block."""

    def spread(array: np.ndarray) -> np.ndarray:
        for axis, (whole, size) in enumerate(zip(codes.shape, array.shape, strict=True)):
            array = np.repeat(array, whole // size, axis)
        return array.astype(np.float32)

    return np.asarray((codes.astype(np.float32) - spread(zero)) * spread(scale) + spread(least), np.float32)


def _palette(codes: np.ndarray, table: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Each code's entry of its group's palette; `table` is (groups of rows, groups of columns, entries, 1)."""
    rows, columns = (
        np.arange(size) * groups // size for size, groups in zip(codes.shape, table.shape[:2], strict=True)
    )
    return np.asarray(table[rows[:, None], columns[None, :], codes, 0], np.float32)


def _gathered(table: np.ndarray, places: np.ndarray, *_: np.ndarray) -> np.ndarray:
    """Rows by their numbers, which stand along the last axis."""
    return table[places[..., 0].astype(int)] if places.shape[-1] == 1 else table[places.astype(int)]


# What gives a constant of constants: the converter computes positions of a fixed length beforehand where they are float.
COMPUTED: Mapping[str, Callable[..., np.ndarray]] = {SCALED: _scaled, PALETTE: _palette, GATHERED: _gathered}
