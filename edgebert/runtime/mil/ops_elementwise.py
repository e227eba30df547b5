"""Ops that work element by element, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgebert.runtime.mil.registry import HELD, op, refuse

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "floor": torch.floor,
    "identity": torch.clone,
    "logical_not": torch.logical_not,
    "relu": torch.relu,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tanh": torch.tanh,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "equal": torch.eq,
    "floor_div": torch.floor_divide,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,
    "mul": torch.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "sub": torch.sub,
}
CASTS = {"fp16": "FLOAT16", "fp32": "FLOAT32"} | {
    name: name.upper() for name in ("bool", "int8", "uint8", "int16", "uint16", "int32")
}


def _declare_unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    @op(name)
    def run(x: Tensor) -> Tensor:
        return function(x)


def _declare_binary(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @op(name)
    def run(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)


for _name, _unary in UNARY.items():
    _declare_unary(_name, _unary)
for _name, _binary in BINARY.items():
    _declare_binary(_name, _binary)


@op("real_div")
def real_div(x: Tensor, y: Tensor) -> Tensor:
    """Of integers only where nothing is left over: how Core ML would round is not specified."""
    if x.is_floating_point() or y.is_floating_point():
        return x / y
    if bool((y == 0).any()) or bool((x % y).any()):
        raise refuse("a division of integers that leaves a remainder")
    return x // y


@op("gelu")
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    if mode not in ("EXACT", "TANH_APPROXIMATION"):
        raise refuse(f"gelu of mode {mode}")
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


@op("leaky_relu")
def leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


@op("clip")
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return x.clamp(alpha, beta)


@op("log")
def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    return torch.log(x + epsilon)


@op("rsqrt")
def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    return torch.rsqrt(x + epsilon)


@op("inverse")
def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    return 1.0 / (x + epsilon)


@op("select")
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(cond, a, b)


@op("cast")
def cast(x: Tensor, dtype: str) -> Tensor:
    """Floats are cut towards zero; what does not fit an integer type is an error, as its value there is undefined."""
    if dtype not in CASTS:
        raise refuse(f"cast to {dtype}")
    held = HELD[CASTS[dtype]]
    if held.is_floating_point or held == torch.bool or not x.numel():
        return x.to(held)
    limits = torch.iinfo(held) if dtype != "uint16" else torch.iinfo(torch.uint16)
    if float(x.min()) < limits.min or float(x.max()) > limits.max:
        raise refuse(f"cast of {float(x.min()):g} to {float(x.max()):g} to {dtype}")
    return x.to(held)
