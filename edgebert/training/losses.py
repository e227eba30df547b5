"""Pure loss functions. Every tensor says its shape; padding never counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100  # label of a position that is not trained on


def hard_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy with the true labels.

    Args:
        logits: (batch, seq, n_labels) or (batch, n_labels).
        labels: (batch, seq) or (batch,), IGNORED where there is none.
        weights: (n_labels,), of each label; the mean over positions stays unweighted, as balanced weights average to 1.

    Returns:
        Scalar: the mean over labelled positions, 0 where a batch has none.
    """
    flat = labels.flatten()
    total = F.cross_entropy(logits.flatten(0, -2), flat, weights, ignore_index=IGNORED, reduction="sum")
    return total / (flat != IGNORED).sum().clamp(min=1)


def soft_cross_entropy(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · CE(softmax(z_T / T), log softmax(z_S / T)): Hinton et al. 2015, and equation 10 of TinyBERT up to T².

    T² keeps the gradient's size when the temperature changes.

    Args:
        student, teacher: logits (batch, seq, n_labels).
        mask: (batch, seq), true where the position counts.

    Returns:
        Scalar: the mean over positions that count.
    """
    target = F.softmax(teacher[mask] / temperature, dim=-1)
    log_probs = F.log_softmax(student[mask] / temperature, dim=-1)
    return -(target * log_probs).sum(-1).mean() * temperature**2


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """MSE(H_S, H_T) over real tokens: equations 8 and 9 of TinyBERT, the projection applied by the caller.

    Args:
        student, teacher: (batch, seq, width).
        mask: (batch, seq), true at real tokens.
    """
    return F.mse_loss(student[mask], teacher[mask])


def attention_scores(probabilities: Tensor, mask: Tensor) -> Tensor:
    """Attention scores before softmax, up to the constant of a row that softmax discards.

    log p = score - logsumexp(scores), so subtracting the row's mean over real keys gives score - mean(score), for every
    family that returns attention probabilities.

    Args:
        probabilities: (batch, heads, seq, seq), rows sum to 1.
        mask: (batch, seq), true at real tokens.

    Returns:
        (batch, heads, seq, seq), 0 at padded keys.
    """
    keys = mask[:, None, None, :].to(probabilities.dtype)
    log_p = probabilities.clamp(min=1e-12).log() * keys
    mean = log_p.sum(-1, keepdim=True) / keys.sum(-1, keepdim=True)
    return (log_p - mean) * keys


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1/h · Σ_i MSE(A_i^S, A_i^T) on unnormalised scores, over real queries and keys: equation 7 of TinyBERT.

    Args:
        student, teacher: attention probabilities (batch, heads, seq, seq).
        mask: (batch, seq), true at real tokens.
    """
    pairs = (mask[:, None, :, None] & mask[:, None, None, :]).to(student.dtype)
    gap = (attention_scores(student, mask) - attention_scores(teacher, mask)) * pairs
    return gap.square().sum() / (pairs.sum() * student.shape[1])


def all_finite(tensors: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
