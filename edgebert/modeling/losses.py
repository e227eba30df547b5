"""Losses on the outputs of heads: with true labels, and with a teacher's answers. Padding never counts."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

IGNORED = -100  # label of a position that is not trained on
UNANSWERED = float("inf")  # at tokens for which the teacher has no answer; not NaN, which would hide a broken teacher


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
        Scalar: the mean over positions that count, 0 where a batch has none.
    """
    target = F.softmax(teacher[mask] / temperature, dim=-1)
    log_probs = F.log_softmax(student[mask] / temperature, dim=-1)
    each = -(target * log_probs).sum(-1)
    return (each.mean() if len(each) else each.sum()) * temperature**2


def answered_tokens(answers: Tensor, mask: Tensor) -> Tensor:
    """(batch, seq): the real tokens that the teacher answered: all, or words' first ones where its tokenizer is another.

    Args:
        answers: (batch, seq, n_labels), UNANSWERED where there is none.
        mask: (batch, seq), true at real tokens.
    """
    return mask & (answers != UNANSWERED).all(-1)
