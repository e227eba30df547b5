"""FreeLB: the disturbance on numbers worked by hand, and the gradient that moves the student."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgebert.methods.freelb import ascend, disturbed, freelb_objective, same_draws, start_of
from edgebert.modeling.checkpoint import accepted, copy_student
from edgebert.tasks import find_task
from edgebert.training.loop import Objective, collate
from edgebert.types import Row, Student
from tests.families import FAMILIES, tiny
from tests.toy_methods import method_context


def test_the_first_disturbance_lies_within_its_bounds_and_off_padding() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    delta = start_of(mask, 400, 0.5)
    assert not delta[1, 1:].any()
    assert 0.95 * 0.5 / 40 < delta[0].abs().max() <= 0.5 / 40  # √(4 · 400) = 40
    assert 0.95 * 0.5 / 20 < delta[1].abs().max() <= 0.5 / 20
    assert delta.flatten(1).norm(dim=1).tolist() == pytest.approx([0.5 / 3**0.5] * 2, abs=0.02)


def test_a_step_by_hand() -> None:
    """Row 1: 0 + 0.5 · (3, 4)/5 = (0.3, 0.4), within 1. Row 2: (0.9, 0) + 0.5 · (1, 0) = (1.4, 0), back to (1, 0)."""
    delta = torch.tensor([[[0.0, 0.0]], [[0.9, 0.0]]])
    gradient = torch.tensor([[[3.0, 4.0]], [[0.001, 0.0]]])
    assert torch.allclose(ascend(delta, gradient, 0.5, 1.0), torch.tensor([[[0.3, 0.4]], [[1.0, 0.0]]]))
    assert torch.equal(ascend(delta, torch.zeros_like(gradient), 0.5, 1.0), delta)


def test_draws_repeat_within_and_go_on_outside() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with same_draws(5, None):
        item = torch.rand(3)
    with same_draws(5, None):
        assert torch.equal(torch.rand(3), item)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_feels_the_disturbance(family: str) -> None:
    model = tiny(family)
    table = model.get_input_embeddings()
    ids = torch.randint(3, 90, (2, 9))
    batch = accepted(
        model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    )
    delta = torch.zeros(2, 9, table.weight.shape[1]).requires_grad_(True)
    with disturbed(table, ids, delta):
        undisturbed = model(**batch).logits
    assert torch.equal(undisturbed, model(**batch).logits)
    (gradient,) = torch.autograd.grad(undisturbed.square().sum(), delta)
    assert gradient.abs().sum() > 0


@pytest.fixture
def parts(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> tuple[Student, dict[str, torch.Tensor], object]:
    student = copy_student(teacher.model, teacher.tokenizer)
    batch = collate(find_task("ner").encode(toy_rows[:8], student.tokenizer, toy_labels, 32))
    return student, batch, method_context(teacher, toy_rows, toy_labels, tmp_path)


def test_without_disturbance_it_is_plain_training(parts: tuple) -> None:
    student, batch, context = parts
    objective = freelb_objective(student, context, 3, 0.0, 0.0, 0.0, 1.0, 2.0).eval()
    assert objective(**batch)["loss"].item() == pytest.approx(Objective(student.model).eval()(**batch)["loss"].item())


def test_the_gradient_is_the_mean_over_the_steps(parts: tuple) -> None:
    """Two steps: the same two losses apart, the second at δ_1 = Π(δ_0 + α g / ‖g‖)."""
    student, batch, context = parts
    torch.manual_seed(3)
    freelb_objective(student, context, 2, 0.05, 0.04, 0.02, 1.0, 2.0).eval()(**batch)["loss"].backward()
    weight = student.model.classifier.weight
    result = weight.grad.clone()
    table, plain = student.model.get_input_embeddings(), Objective(student.model).eval()
    torch.manual_seed(3)
    delta, expected, losses = start_of(batch["attention_mask"].bool(), 32, 0.02), torch.zeros_like(weight), []
    for _ in range(2):
        delta.requires_grad_(True)
        with disturbed(table, batch["input_ids"], delta):
            loss = plain.loss(batch)
        gradient, of_weight = torch.autograd.grad(loss, (delta, weight))
        expected += of_weight / 2
        losses.append(loss.item())
        delta = ascend(delta.detach(), gradient, 0.05, 0.04)
    assert torch.allclose(result, expected, atol=1e-7)
    assert losses[1] > losses[0]
    assert delta.flatten(1).norm(dim=1).max().item() <= 0.04 + 1e-6


def test_all_steps_drop_the_same_neurons(parts: tuple) -> None:
    """With no disturbance every one of K losses is the same, dropout and all."""
    student, batch, context = parts
    torch.manual_seed(0)
    item = freelb_objective(student, context, 1, 0.0, 0.0, 0.0, 1.0, 2.0).train()(**batch)["loss"].item()
    torch.manual_seed(0)
    three = freelb_objective(student, context, 3, 0.0, 0.0, 0.0, 1.0, 2.0).train()(**batch)["loss"].item()
    assert three == pytest.approx(item, rel=1e-6)


def test_the_teacher_has_the_rest(parts: tuple) -> None:
    student, batch, context = parts
    losses = [
        freelb_objective(student, context, 1, 0.0, 0.0, 0.0, hard_label_weight, 2.0).eval()(**batch)["loss"].item()
        for hard_label_weight in (0.0, 0.25, 1.0)
    ]
    assert losses[1] == pytest.approx(0.75 * losses[0] + 0.25 * losses[2], rel=1e-5)
