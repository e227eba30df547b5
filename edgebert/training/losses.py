"""Pure loss functions. Every tensor says its shape; padding never counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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


def attention_kl(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1/(A_h |x|) Σ_a Σ_t KL(A^T_{a,t} ‖ A^S_{a,t}) over real queries and keys: equation 2 of MiniLM.

    Args:
        student, teacher: probabilities (batch, heads, seq, seq), rows sum to 1.
        mask: (batch, seq), true at real tokens.
    """
    real = (mask[:, None, :, None] & mask[:, None, None, :]).to(student.dtype)
    theirs, ours = teacher.clamp(min=1e-12), student.clamp(min=1e-12)
    rows = (theirs * (theirs.log() - ours.log()) * real).sum(-1)
    return rows.sum() / (mask.sum() * student.shape[1])


def relation(values: Tensor, mask: Tensor) -> Tensor:
    """softmax(V Vᵀ / √d_k) over real keys: equation 4 of MiniLM.

    Args:
        values: (batch, heads, seq, head_width), whose widths may differ between student and teacher.
        mask: (batch, seq), true at real tokens.

    Returns:
        (batch, heads, seq, seq), rows sum to 1.
    """
    scores = values @ values.transpose(-1, -2) / values.shape[-1] ** 0.5
    return scores.masked_fill(~mask[:, None, None, :], -1e4).softmax(-1)


def cosine_distance(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1 - cos(h_S, h_T), the mean over real tokens: DistilBERT's loss on hidden states.

    Args:
        student, teacher: (batch, seq, width).
        mask: (batch, seq), true at real tokens.
    """
    return (1 - F.cosine_similarity(student[mask], teacher[mask], dim=-1)).mean()


def normalised_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """‖h_S/‖h_S‖ - h_T/‖h_T‖‖², the mean over vectors: equation 7 of PKD, for vectors (n, width)."""
    return (F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)).square().sum(-1).mean()


def all_finite(tensors: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
