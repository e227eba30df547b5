"""A model's states in fewer dimensions: the basis, the maps to it and back, and a layer's weights between such states.

States h (H numbers) become h̃ = A h (k numbers), and h ≈ E h̃ + e. A layer that reads states reads E h̃ + e, and one that
writes them writes A times what it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgebert.methods._narrow_embedding import summing_to_zero

if TYPE_CHECKING:
    from torch import Tensor

RIDGE = 1e-3  # of the mean of a covariance's diagonal: how much a fit prefers what it starts from


@dataclass(frozen=True)
class Moments:
    """Of vectors x of n numbers.

    Attributes:
        mean: (n,), the mean of x.
        second: (n, n), the mean of x xᵀ.
    """

    mean: Tensor
    second: Tensor

    @property
    def covariance(self) -> Tensor:
        return self.second - self.mean[:, None] * self.mean


@dataclass(frozen=True)
class Projection:
    """Between states of width H and of width k.

    Attributes:
        encode: A, (k, H).
        decode: E, (H, k).
        offset: e, (H,).
    """

    encode: Tensor
    decode: Tensor
    offset: Tensor

    def reading(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Of a linear layer of states, (n, H) and (n,): the same of narrow states, (n, k) and (n,)."""
        return weight @ self.decode, bias + weight @ self.offset

    def writing(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Of a linear layer that gives states, (H, n) and (H,): the same of narrow states, (k, n) and (k,)."""
        return self.encode @ weight, self.encode @ bias


def projection_of(states: Moments, scale: Tensor, width: int) -> Projection:
    """The best projection of states to `width` numbers, for a residual stream with layer norms.

    A layer norm takes the mean out of a vector and divides the rest x by its length: LN(x) = √H x / |x|. An orthogonal map
    commutes with the length but not with the mean, so A = Q Vᵀ, where V (H, k - 1) holds the best factors of the states
    without their mean, and Q (k, k - 1) is orthonormal with columns of sum 0: a narrow vector has mean 0 and the length
    of what V kept. The norm's scale γ does not commute either; V is turned so that Vᵀ diag(γ) V is diagonal for the mean
    γ of the model's norms. E is V Qᵀ, and what can be told by a linear fit of the directions that V left out.

    Args:
        states: of the states, whose width is H.
        scale: (H,), the mean γ.
        width: k, at most H; where it is H, everything stays as it is.
    """
    import torch

    n = len(states.mean)
    if width == n:
        return Projection(torch.eye(n), torch.eye(n), torch.zeros(n))
    second, covariance = states.second.double(), states.covariance.double()
    ones = torch.full((n, n), 1.0 / n, dtype=torch.double)
    centre = torch.eye(n, dtype=torch.double) - ones
    _, vectors = torch.linalg.eigh(centre @ second @ centre - ones * second.trace())  # the mean's direction comes last
    basis = vectors[:, -(width - 1) :]
    _, turn = torch.linalg.eigh(basis.T @ (scale.double()[:, None] * basis))
    encode = summing_to_zero(width).double().T @ (basis @ turn).T
    decode = encode.T + _fit(encode @ covariance @ encode.T, (covariance - encode.T @ encode @ covariance) @ encode.T)
    offset = states.mean.double() - decode @ (encode @ states.mean.double())
    return Projection(encode.float(), decode.float(), offset.float())


def _fit(inputs: Tensor, crossed: Tensor) -> Tensor:
    """W (m, n) of the least ‖y - W x‖² + a little ‖W‖², from the moments x xᵀ (n, n) and y xᵀ (m, n)."""
    import torch

    little = RIDGE * inputs.diagonal().mean().clamp(min=1e-12) * torch.eye(len(inputs), dtype=inputs.dtype)
    return torch.linalg.solve(inputs + little, crossed.T).T


def correction(inputs: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """What to add to a linear layer's weight (m, n) and bias (m,) so that its outputs come nearer to what is wanted.

    Args:
        inputs: (rows, n) that it reads.
        missing: (rows, m), what its outputs lack.
    """
    mean_in, mean_out = inputs.mean(0), missing.mean(0)
    x, y = (inputs - mean_in).double(), (missing - mean_out).double()
    weight = _fit(x.T @ x / len(x), y.T @ x / len(x)).float()
    return weight, mean_out - weight @ mean_in


def norm_fit(normed: Tensor, wanted: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """A layer norm's scale and shift (k,): the least squares fit of each number; one that does not vary keeps `scale`.

    Args:
        normed: (rows, k), before scale and shift.
        wanted: (rows, k).
    """
    import torch

    x, y = normed - normed.mean(0), wanted - wanted.mean(0)
    varies = x.square().mean(0) > 1e-6
    slope = torch.where(varies, (x * y).sum(0) / x.square().sum(0).clamp(min=1e-12), scale)
    return slope, wanted.mean(0) - slope * normed.mean(0)


# ---------------------------------------------------------------- attention


@dataclass(frozen=True)
class Heads:
    """Attention of n heads of d numbers over states of width H, and what it adds to them.

    Attributes:
        query, key, value: weights (n, d, H).
        query_bias, key_bias, value_bias: (n, d).
        output: (n, H, d), from each head's values to the states.
        bias: (H,).
    """

    query: Tensor
    key: Tensor
    value: Tensor
    query_bias: Tensor
    key_bias: Tensor
    value_bias: Tensor
    output: Tensor
    bias: Tensor


def heads_of(weights: Mapping[str, Tensor], n_heads: int) -> Heads:
    """Of BERT's names: attention.self.query and so on."""

    def cut(name: str) -> tuple[Tensor, Tensor]:
        weight, bias = (weights[f"attention.self.{name}.{kind}"] for kind in ("weight", "bias"))
        return weight.reshape(n_heads, -1, weight.shape[1]), bias.reshape(n_heads, -1)

    (query, query_bias), (key, key_bias), (value, value_bias) = cut("query"), cut("key"), cut("value")
    output = weights["attention.output.dense.weight"]
    output = output.reshape(len(output), n_heads, -1).transpose(0, 1)
    bias = weights["attention.output.dense.bias"]
    return Heads(query, key, value, query_bias, key_bias, value_bias, output, bias)


def head_energies(output: Tensor, contexts: Moments) -> Tensor:
    """(n,): by how much what each head adds to the states varies, E|O_h (c_h - mean)|².

    Args:
        output: (n, k, d).
        contexts: of the heads' values side by side, n · d numbers.
    """
    import torch

    n, _, d = output.shape
    own = [contexts.covariance[i * d : (i + 1) * d, i * d : (i + 1) * d] for i in range(n)]
    return torch.stack([(output[i] @ own[i] * output[i]).sum() for i in range(n)])


def strongest(energies: Tensor, n: int) -> Tensor:
    """Indices (n,) of the largest, in their old order."""
    import torch

    return torch.sort(torch.topk(energies, n).indices).values


def narrowed_heads(
    heads: Heads, contexts: Moments, states: Moments, to: Projection, n_heads: int, head_width: int
) -> Heads:
    """The `n_heads` heads that add most to the narrow states, each of `head_width` numbers.

    What the other heads add on the average goes into the bias. Where a head was wider, two products stay as near as their
    rank allows, over the states that are seen: of query and key, whose scores stay as large after the division by the
    root of the width, and of value and output. A key's bias adds the same to all scores of a query, which softmax does
    not see, and is left out.
    """
    import torch

    output = to.encode @ heads.output
    kept = strongest(head_energies(output, contexts), n_heads)
    d = heads.query.shape[1]
    dropped = [i for i in range(len(output)) if i not in kept.tolist()]
    bias = to.encode @ heads.bias + sum(
        (output[i] @ contexts.mean[i * d : (i + 1) * d] for i in dropped), torch.zeros(len(to.encode))
    )
    (query, query_bias), (key, key_bias), (value, value_bias) = (
        (weight[kept] @ to.decode, own[kept] + weight[kept] @ to.offset)
        for weight, own in (
            (heads.query, heads.query_bias), (heads.key, heads.key_bias), (heads.value, heads.value_bias)
        )
    )  # fmt: skip
    output = output[kept]
    if head_width == d:
        return Heads(query, key, value, query_bias, key_bias, value_bias, output, bias)
    bias = bias + (output @ value_bias[:, :, None])[:, :, 0].sum(0)
    seen = _with_one(states, to)
    cut = [_cut_head(*item, seen, head_width) for item in zip(query, query_bias, key, value, output, strict=True)]
    query, query_bias, key, value, output = (torch.stack(parts) for parts in zip(*cut, strict=True))
    nothing = torch.zeros_like(query_bias)
    return Heads(query, key, value, query_bias, nothing, nothing, output, bias)


def _with_one(states: Moments, to: Projection) -> Tensor:
    """(k + 1, k + 1): the second moment of narrow states with a 1 behind them, and a little of all directions."""
    import torch

    mean = to.encode @ states.mean
    second = to.encode @ states.second @ to.encode.T
    second = second + RIDGE * second.diagonal().mean() * torch.eye(len(second))
    return torch.cat([torch.cat([second, mean[:, None]], 1), torch.cat([mean, torch.ones(1)])[None]]).double()


def _cut_head(
    query: Tensor, query_bias: Tensor, key: Tensor, value: Tensor, output: Tensor, seen: Tensor, width: int
) -> tuple[Tensor, ...]:
    """One head's query (width, k), its bias, key, value (width, k) and output (k, width); the value's bias is taken out."""
    import torch

    k = query.shape[1]
    whole, states = torch.linalg.cholesky(seen), torch.linalg.cholesky(seen[:k, :k])
    asked = torch.cat([query, query_bias[:, None]], 1).double()
    left, sizes, right = torch.linalg.svd((asked @ whole).T @ (key.double() @ states), full_matrices=False)
    root = sizes[:width].sqrt() * (width / query.shape[0]) ** 0.25
    asked = _over(left, root, whole)
    keyed = _over(right.T, root, states)
    left, sizes, right = torch.linalg.svd(output.double() @ value.double() @ states, full_matrices=False)
    root = sizes[:width].sqrt()
    cut = asked[:, :k], asked[:, k], keyed, _over(right.T, root, states), left[:, :width] * root
    return tuple(item.float() for item in cut)


def _over(vectors: Tensor, root: Tensor, whitener: Tensor) -> Tensor:
    """(width, n): the first vectors (n, …), each times its root, without the whitening by (n, n) that they were found under."""
    import torch

    return torch.linalg.solve(whitener.T, vectors[:, : len(root)] * root).T
