"""mini-seq: its loss on numbers worked by hand, its phases, and the heads that it serves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods._prediction import prediction_objective
from edgebert.modeling.checkpoint import copy_student
from edgebert.modeling.losses import soft_cross_entropy
from edgebert.training.loop import collate
from edgebert.types import Row, Student
from tests.toy_methods import method_context


def test_the_loss_by_hand() -> None:
    """At T = 3 the teacher says (1/4, 3/4) and the student (1/2, 1/2) at one token, both (1/3, 2/3) at the next."""
    theirs = torch.tensor([[[0.0, 3 * math.log(3)], [0.0, 3 * math.log(2)], [50.0, 0.0]]])
    ours = torch.tensor([[[1.0, 1.0], [1.0, 1.0 + 3 * math.log(2)], [0.0, 50.0]]])
    mask = torch.tensor([[True, True, False]])
    entropy = -(math.log(1 / 3) / 3 + math.log(2 / 3) * 2 / 3)
    result = soft_cross_entropy(ours, theirs, mask, 3.0).item()
    assert math.isclose(result, 9 * (math.log(2) + entropy) / 2, rel_tol=1e-5)


def test_the_temperature_is_the_papers_and_no_label_counts() -> None:
    params = METHODS.get("mini-seq").read_params({})
    assert params == {"epochs": 0.0, "temperature": 3.0, "labels": 0.0}


def test_true_labels_change_nothing_while_the_teacher_speaks(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    objective = prediction_objective(student, context, temperature=3.0, hard_label_weight=0.0).eval()
    batch = collate(context.task.encode(toy_rows[:4], student.tokenizer, toy_labels, 32))
    other = {**batch, "labels": batch["labels"].where(batch["labels"] < 0, 1)}
    assert objective(**batch)["loss"] == objective(**other)["loss"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (0.0, [("mini-seq-prediction", 10.0, 66)]),
        (0.25, [("mini-seq-prediction", 7.5, 66), ("mini-seq-labels", 2.5, 64)]),
    ],
)
def test_the_phases_share_the_epochs(
    labels: float,
    expected: Any,
    teacher: Student,
    toy_rows: list[Row],
    toy_labels: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, float, int]] = []

    def note(objective: Any, student: Student, context: Any, name: str, epochs: float, **options: Any) -> None:
        rows = options.get("rows")
        seen.append((name, epochs, len(context.train if rows is None else rows)))

    monkeypatch.setattr("edgebert.training.run.train_student", note)
    unlabelled = (Row(("leave", "dham")), Row(("quartz",)))
    context = replace(method_context(teacher, toy_rows, toy_labels, tmp_path), unlabelled=unlabelled)
    method = METHODS.get("mini-seq")
    student = copy_student(teacher.model, teacher.tokenizer)
    method.apply(student, context, **method.read_params({"epochs": 10, "labels": labels}))
    assert seen == expected


def test_a_student_learns_from_text_without_any_label(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    bare = [replace(row, tags=()) for row in toy_rows]
    context = replace(method_context(teacher, bare, toy_labels, tmp_path), dev=toy_rows[64:])
    student = copy_student(teacher.model, teacher.tokenizer)
    with torch.no_grad():
        student.model.classifier.weight.neg_()
    objective = prediction_objective(student, context, temperature=3.0, hard_label_weight=0.0).eval()
    batch = collate(context.task.encode(bare[:16], student.tokenizer, toy_labels, 32))
    before = objective(**batch)["loss"].item()
    method = METHODS.get("mini-seq")
    method.apply(student, context, **method.read_params({"epochs": 4}))
    assert objective(**batch)["loss"].item() < before


def test_it_serves_token_heads_alone_and_a_share_of_all_epochs_is_refused() -> None:
    method = METHODS.get("mini-seq")
    assert method.heads == ("token-classification",)
    with pytest.raises(RequestError, match=r"1.0 is above 0.9"):
        method.read_params({"labels": 1})
