"""How much the loss minds that weights change: the largest eigenvalue of its Hessian by power iteration, and bits by it.

Shen, Dong, Ye, Ma, Yao, Gholami, Mahoney, Keutzer (2019), "Q-BERT: Hessian Based Ultra Low Precision Quantization of BERT",
arXiv 1909.05840, on mixed precision: of the weights of a layer i, over batches of rows,

    v ← H v / |H v|,  |λ| = |H v|,      Ω_i = mean |λ_i| + std |λ_i|

where H v is the gradient of gᵀ v (g the gradient), so that H is never built. Difference: the paper reads λ = vᵀ H v, which never
settles where two eigenvalues of opposite sign are as large, as before any training.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")  # a batch
ITERATIONS, TOLERANCE = 50, 0.02


@dataclass(frozen=True)
class Sensitivity:
    """Of one part of a model.

    Attributes:
        mean, std: of its largest eigenvalue over batches.
        converged: share of the batches, 0 to 1, on which the iteration did.
    """

    mean: float
    std: float
    converged: float

    @property
    def omega(self) -> float:
        """Ω of the paper."""
        return self.mean + self.std


def largest_eigenvalue(
    loss: Tensor,
    weights: Sequence[Tensor],
    *,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> tuple[float, bool]:
    """Of the Hessian of `loss` by these weights the eigenvalue that is largest by magnitude.

    Args:
        loss: scalar, with its graph, which is kept.
        tolerance: relative change from one step to the next at which it has converged.

    Returns:
        Its magnitude, and whether it converged; 0 and True where the weights enter linearly.
    """
    generator = torch.Generator().manual_seed(0)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    vector = _unit([torch.randn(weight.shape, generator=generator).to(weight) for weight in weights])
    before = math.inf
    for _ in range(iterations):
        product = _times_hessian(gradients, weights, vector)
        value = float(_length(product))
        if not value:
            return 0.0, True
        if abs(value - before) <= tolerance * value:
            return value, True
        before, vector = value, _unit(product)
    return before, False


def _times_hessian(gradients: Sequence[Tensor], weights: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
    if not any(gradient.requires_grad for gradient in gradients):
        return [torch.zeros_like(weight) for weight in weights]
    along = torch.stack([(a * b).sum() for a, b in zip(gradients, vector, strict=True)]).sum()
    found = torch.autograd.grad(along, weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(weight) if part is None else part for part, weight in zip(found, weights, strict=True)]


def _unit(vector: Sequence[Tensor]) -> list[Tensor]:
    length = _length(vector)
    return [part / length for part in vector]


def _length(vector: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.square().sum() for part in vector]).sum().sqrt()


def sensitivities(
    batches: Iterable[T],
    loss: Callable[[T], Tensor],
    parts: Mapping[str, Sequence[Tensor]],
    iterations: int = ITERATIONS,
) -> dict[str, Sensitivity]:
    """Of each part of a model, over batches.

    Args:
        loss: of a batch, scalar.
        parts: name -> its weights.
    """
    values: dict[str, list[tuple[float, bool]]] = {name: [] for name in parts}
    for batch in batches:
        result = loss(batch)
        for name, weights in parts.items():
            values[name].append(largest_eigenvalue(result, weights, iterations=iterations))
    return {
        name: Sensitivity(
            statistics.fmean(value for value, _ in found),
            statistics.pstdev([value for value, _ in found]),
            statistics.fmean(done for _, done in found),
        )
        for name, found in values.items()
    }


def assign_bits(costs: Mapping[str, Mapping[int, float]], sizes: Mapping[str, int], mean_bits: float) -> dict[str, int]:
    """Bits of each part under a budget: from the fewest on, always the step that saves most loss a bit stored.

    Args:
        costs: name -> bits -> the loss that storing it so is expected to add, such as Ω |Q_b(W) - W|².
        sizes: name -> numbers that it holds.
        mean_bits: of a number over all parts, at most.

    Raises:
        ValueError: even the fewest bits are over the budget.
    """
    bits = {name: min(by_bits) for name, by_bits in costs.items()}
    room = mean_bits * sum(sizes.values()) - sum(sizes[name] * used for name, used in bits.items())
    if room < 0:
        raise ValueError(f"the fewest bits, {min(bits.values())}, are over {mean_bits:g} on average")
    while True:
        steps = [
            ((costs[name][bits[name]] - costs[name][more]) / (sizes[name] * (more - bits[name])), name, more)
            for name in costs
            for more in costs[name]
            if more > bits[name] and sizes[name] * (more - bits[name]) <= room + 1e-9
        ]
        if not steps or max(steps)[0] <= 0:
            return bits
        _, name, more = max(steps)
        room -= sizes[name] * (more - bits[name])
        bits[name] = more
