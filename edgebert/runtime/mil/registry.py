"""The table of ops: a function a name. The function's signature is the op's declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from edgebert.errors import EdgebertError

Ints = list[int]
Bools = list[bool]
Tensors = tuple[Tensor, ...]
Opset = int  # 5 for CoreML5 (iOS 15) to 8 for CoreML8 (iOS 18): some ops mean other things in other opsets
TABLES = ("elementwise", "matrix", "recurrent", "reduce", "shape", "gather", "quantize")

# A program's types as they are held here. Float16 is float32 whose values were rounded; unsigned types that torch
# hardly computes with are held in the next wider signed one.
HELD = {
    "FLOAT16": torch.float32,
    "FLOAT32": torch.float32,
    "BOOL": torch.bool,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "INT16": torch.int16,
    "UINT16": torch.int32,
    "INT32": torch.int32,
    "UINT32": torch.int64,
    "INT4": torch.int8,
    "UINT1": torch.uint8,
    "UINT2": torch.uint8,
    "UINT3": torch.uint8,
    "UINT4": torch.uint8,
    "UINT6": torch.uint8,
}
READERS: Mapping[str, Callable[[Any], Any]] = {
    "Tensor": lambda value: value,
    "Tensors": tuple,
    "int": lambda value: int(value),
    "float": lambda value: float(value),
    "bool": lambda value: bool(value),
    "str": str,
    "Ints": lambda value: [int(item) for item in value.flatten().tolist()],
    "Bools": lambda value: [bool(item) for item in value.flatten().tolist()],
}


@dataclass(frozen=True)
class Op:
    """An op that can be evaluated.

    Attributes:
        run: takes the arguments by name; returns a tensor, or a tuple of them.
        kinds: how each argument is handed over, a key of READERS; `Opset` is filled in by the program.
        required: arguments without a default.
    """

    name: str
    run: Callable[..., Tensor | Tensors]
    kinds: Mapping[str, str]
    required: frozenset[str]


OPS: dict[str, Op] = {}


def op(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares the function that evaluates op `name`; argument names and defaults are those of the MIL specification."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = inspect.signature(function).parameters.values()
        kinds = {item.name: str(item.annotation).removesuffix(" | None") for item in parameters}
        required = (item.name for item in parameters if item.default is item.empty and kinds[item.name] != "Opset")
        OPS[name] = Op(name, function, kinds, frozenset(required))
        return function

    return declare


def table() -> Mapping[str, Op]:
    """All ops, their modules imported."""
    for name in TABLES:
        import_module(f"edgebert.runtime.mil.ops_{name}")
    return OPS


def check(name: str, arguments: Iterable[str], opset: int) -> str | None:
    """What keeps an op with these arguments from being evaluated here; None where nothing does."""
    known = table().get(name)
    if known is None:
        return name
    given = set(arguments)
    strange = sorted(given - {key for key, kind in known.kinds.items() if kind != "Opset"})
    if strange:
        return f"{name}({', '.join(strange)})"
    absent = sorted(known.required - given)
    return f"{name} without {', '.join(absent)}" if absent else None


MOST_VALUES = 1 << 31  # of one result: no tensor of a program that edgebert wrote comes near


def check_count(count: float) -> None:
    """Raises EdgebertError for a result that memory could not hold. Said of a few numbers in a program, so that a damaged
    one is refused before it takes what the machine has."""
    if not count <= MOST_VALUES:
        raise refuse(f"a result of {count:.3g} values")


def refuse(what: str, where: str | None = None) -> EdgebertError:
    """An argument whose meaning is known but not supported."""
    return EdgebertError(
        what, where=where, hint="This interpreter of Core ML programs does not guess. Run the file on a Mac."
    )
