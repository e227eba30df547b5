"""pkd: its layers, its loss on numbers worked by hand, and what it refuses."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.pkd import compared, inner_layers, objective, patience
from edgebert.modeling.checkpoint import copy_student
from edgebert.modeling.heads import Part
from edgebert.tasks import find_task
from edgebert.training.loop import Objective, collate
from edgebert.types import Row, Student
from tests.toy_methods import method_context


def config(n_layers: int) -> SimpleNamespace:
    return SimpleNamespace(num_hidden_layers=n_layers)


@pytest.mark.parametrize(
    ("strategy", "n_student", "n_teacher", "expected"),
    [
        ("skip", 6, 12, (2, 4, 6, 8, 10)),  # the paper's
        ("last", 6, 12, (7, 8, 9, 10, 11)),  # the paper's
        ("skip", 3, 12, (4, 8)),
        ("last", 3, 12, (10, 11)),
        ("skip", 2, 2, (1,)),
    ],
)
def test_the_layers_of_the_paper(strategy: str, n_student: int, n_teacher: int, expected: tuple[int, ...]) -> None:
    assert inner_layers(strategy, n_student, n_teacher) == expected


def test_explicit_layers_take_the_strategys_place() -> None:
    assert inner_layers("skip", 3, 12, (1, 11)) == (1, 11)


@pytest.mark.parametrize(
    ("n_student", "layers", "message"),
    [
        (3, (0, 4), "not increasing numbers from 1 to 12"),
        (3, (4, 13), "not increasing numbers from 1 to 12"),
        (3, (8, 4), "not increasing"),
        (3, (4,), "1 teacher layers for the 2 inner ones"),
        (13, (), "13 layers cannot learn from 12"),
        (1, (), "no inner layer"),
    ],
)
def test_layers_that_cannot_be_are_refused(n_student: int, layers: tuple[int, ...], message: str) -> None:
    method = METHODS.get("pkd")
    with pytest.raises(RequestError, match=message) as caught:
        method.check(config(n_student), config(12), **method.read_params({"layers": layers}))
    assert caught.value.where == "pkd.layers"


def test_patience_by_hand() -> None:
    """Unit vectors (1, 0) and (0.6, 0.8) are 0.8 apart, squared; opposite ones are 4 apart; lengths do not count."""
    ours = [torch.tensor([[5.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])]
    theirs = [torch.tensor([[3.0, 4.0], [0.0, 9.0]]), torch.tensor([[-2.0, -2.0], [7.0, 7.0]])]
    assert math.isclose(patience(ours, theirs).item(), (0.8 + 0) / 2 + (4 + 0) / 2, rel_tol=1e-6)


def test_what_is_compared_is_what_the_head_reads() -> None:
    states = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    first, tokens, vector = (
        compared(states, mask, [Part("", kind, ())])
        for kind in ("sequence-classification", "token-classification", "sentence-embedding")
    )
    assert first.tolist() == [[0.0, 1.0], [6.0, 7.0]]
    assert tokens.tolist() == [[0.0, 1.0], [2.0, 3.0], [6.0, 7.0]]
    assert vector.tolist() == [[1.0, 2.0], [6.0, 7.0]]  # the mean of the real tokens
    both = [Part("a", "sequence-classification", ()), Part("b", "token-classification", ())]
    assert torch.equal(compared(states, mask, both), tokens)


def batch_of(student: Student, rows: list[Row], labels: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return collate(find_task("ner").encode(rows[:4], student.tokenizer, labels, 32))


def test_for_a_copy_of_the_teacher_only_the_labels_are_left(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    batch = batch_of(student, toy_rows, toy_labels)
    all_hard = objective(student, context, (1, 2, 3), 2.0, 1.0, 7.0).eval()
    expected = Objective(student.model).loss(batch).item()
    assert math.isclose(all_hard(**batch)["loss"].item(), expected, rel_tol=1e-5)


def test_beta_weighs_the_inner_states(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    batch = batch_of(student, toy_rows, toy_labels)
    mask = batch["attention_mask"].bool()
    without, single, double = (
        objective(student, context, (2, 3, 4), 2.0, 0.1, beta).eval()(**batch)["loss"].item()
        for beta in (0.0, 1e3, 2e3)  # layers of random weights change little
    )
    with torch.no_grad():
        hidden = teacher.model(batch["input_ids"], mask.long(), output_hidden_states=True).hidden_states
    inner = patience([hidden[j][mask] for j in (1, 2, 3)], [hidden[j][mask] for j in (2, 3, 4)]).item()
    assert inner > 1e-4
    assert math.isclose(single - without, 1e3 * inner, rel_tol=1e-3)
    assert math.isclose(double - without, 2e3 * inner, rel_tol=1e-3)


def test_a_narrower_student_learns_through_projections(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    from edgebert.modeling.checkpoint import build_model

    narrow = copy.deepcopy(teacher.model.config)
    narrow.hidden_size, narrow.num_hidden_layers = 16, 3
    student = Student(build_model(narrow, "AutoModelForTokenClassification"), teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    patient = objective(student, context, (1, 3), 2.0, 0.1, 1.0)
    assert [tuple(p.shape) for p in patient.projections.parameters()] == [(32, 16)] * 2  # type: ignore[union-attr]
    patient(**batch_of(student, toy_rows, toy_labels))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in patient.projections.parameters())  # type: ignore[union-attr]
