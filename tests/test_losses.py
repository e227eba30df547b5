"""Each formula against numbers worked by hand."""

from __future__ import annotations

import math

import torch

from edgebert.modeling.losses import hard_cross_entropy, soft_cross_entropy
from edgebert.training.losses import attention_mse, attention_scores, hidden_mse


def test_hard_cross_entropy_is_the_mean_over_labelled_positions() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0], [9.0, 0.0]]])
    labels = torch.tensor([[1, 0, -100]])
    # p(1) = 3/4 at the first, p(0) = 1/2 at the second, the third does not count.
    expected = (-math.log(0.75) - math.log(0.5)) / 2
    assert math.isclose(hard_cross_entropy(logits, labels).item(), expected, rel_tol=1e-6)


def test_hard_cross_entropy_of_no_labels_is_zero_not_nan() -> None:
    assert hard_cross_entropy(torch.ones(1, 2, 3), torch.full((1, 2), -100)).item() == 0.0


def test_soft_cross_entropy_by_hand() -> None:
    student = torch.tensor([[[0.0, 0.0], [5.0, 1.0]]])
    teacher = torch.tensor([[[0.0, 2 * math.log(3.0)], [1.0, 1.0]]])
    mask = torch.tensor([[True, False]])
    # At T = 2 the teacher says (1/4, 3/4) and the student (1/2, 1/2): cross-entropy log 2, times T² = 4.
    assert math.isclose(soft_cross_entropy(student, teacher, mask, 2.0).item(), 4 * math.log(2), rel_tol=1e-6)


def test_soft_cross_entropy_is_smallest_at_the_teacher() -> None:
    teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    student = teacher.clone().requires_grad_()
    soft_cross_entropy(student, teacher, torch.ones(2, 3, dtype=torch.bool), 2.0).backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


def test_hidden_mse_leaves_padding_out() -> None:
    student = torch.tensor([[[1.0, 3.0], [100.0, 100.0]]])
    teacher = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    assert hidden_mse(student, teacher, torch.tensor([[True, False]])).item() == (1 + 4) / 2


def test_attention_scores_recover_the_scores_up_to_the_rows_mean() -> None:
    scores = torch.tensor([[[[1.0, 3.0, 0.0], [2.0, -2.0, 0.0], [0.0, 0.0, 0.0]]]])
    mask = torch.tensor([[True, True, False]])
    masked = scores.masked_fill(~mask[:, None, None, :], -math.inf)
    result = attention_scores(masked.softmax(-1), mask)
    assert torch.allclose(result[0, 0, :2, :2], torch.tensor([[-1.0, 1.0], [2.0, -2.0]]), atol=1e-6)
    assert result[0, 0, :, 2].abs().max() == 0


def test_attention_mse_by_hand() -> None:
    student = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]]]]).softmax(-1)
    teacher = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]]]]).softmax(-1)
    mask = torch.tensor([[True, True]])
    # Centred, the first row is (-1, 1) against (0, 0), the second is equal: mean square 2/4.
    assert math.isclose(attention_mse(student, teacher, mask).item(), 0.5, rel_tol=1e-5)
