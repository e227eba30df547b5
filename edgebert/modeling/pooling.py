"""One vector of a text from the states of its tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def pooled(states: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """(batch, width) of states (batch, seq, width), padded at the right: a mode of sentence-transformers, or several
    joined by +, whose vectors are joined."""
    if mask is None:
        mask = torch.ones(states.shape[:2], dtype=torch.int64, device=states.device)
    parts = [_pooled(states, mask, mode) for mode in pooling.split("+")]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def _pooled(states: Tensor, mask: Tensor, mode: str) -> Tensor:
    if mode == "cls":
        return states[:, 0]
    weights = mask[:, :, None].float()
    if mode == "max":
        return (states * weights + (weights - 1) * 1e4).max(1).values  # finite in float16 too
    if mode == "lasttoken":
        after = torch.cat([weights[:, 1:], torch.zeros_like(weights[:, :1])], 1)
        return (states * (weights - after)).sum(1)
    if mode == "weightedmean":
        weights = weights * torch.arange(1, states.shape[1] + 1, device=states.device)[None, :, None]
    total = weights.sum(1)
    return (states * weights).sum(1) / (torch.sqrt(total) if mode == "mean_sqrt_len_tokens" else total)


def unit(vectors: Tensor) -> Tensor:
    """(batch, width), each of length 1."""
    return vectors / torch.sqrt((vectors * vectors).sum(-1, keepdim=True))
