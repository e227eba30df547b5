"""minilm: its loss on numbers worked by hand, its assistant, and what it refuses."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.minilm import assistant_of, deep_self_attention, inner_objective, learn_relations
from edgebert.modeling.checkpoint import build_model, copy_student
from edgebert.modeling.layers import encoder_layers
from edgebert.tasks import find_task
from edgebert.training.features import Trace
from edgebert.training.loop import collate
from edgebert.training.losses import attention_kl, relation
from edgebert.types import Row, Student
from tests.toy_methods import method_context


def config(n_layers: int, n_heads: int = 4) -> BertConfig:
    return BertConfig(num_hidden_layers=n_layers, num_attention_heads=n_heads, hidden_size=32)


def test_attention_kl_by_hand() -> None:
    """Two real tokens, one head. KL((1/2, 1/2) ‖ (1/4, 3/4)) = log(2/√3); the other row is equal."""
    theirs = torch.tensor([[[[0.5, 0.5, 0.0], [0.25, 0.75, 0.0], [1.0, 0.0, 0.0]]]])
    ours = torch.tensor([[[[0.25, 0.75, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]]])
    mask = torch.tensor([[True, True, False]])
    assert math.isclose(attention_kl(ours, theirs, mask).item(), math.log(2 / math.sqrt(3)) / 2, rel_tol=1e-5)


def test_relation_by_hand() -> None:
    """V = (2, 0), (0, 2) with d = 4 through two zeros: scores V Vᵀ / 2 = 2 on the diagonal, 0 beside it."""
    values = torch.zeros(1, 1, 3, 4)
    values[0, 0, 0, 0] = values[0, 0, 1, 1] = 2.0
    values[0, 0, 2] = 9.0  # padding
    result = relation(values, torch.tensor([[True, True, False]]))[0, 0, :2]
    p = math.exp(2) / (math.exp(2) + 1)
    assert torch.allclose(result, torch.tensor([[p, 1 - p, 0.0], [1 - p, p, 0.0]]), atol=1e-6)


def test_relations_compare_across_widths_and_with_the_chosen_layer() -> None:
    """Scores are divided by √d: 1 of width 1 and 2^¼ of width 2 have the same relation."""
    attention = torch.full((1, 1, 2, 2), 0.5)
    other = torch.tensor([[[[0.9, 0.1], [0.1, 0.9]]]])
    narrow = torch.tensor([[[[1.0], [0.0]]]])  # scores ((1, 0), (0, 0))
    wide = torch.tensor([[[[2.0**0.25, 0.0], [0.0, 0.0]]]])  # ((√2, 0), (0, 0)) / √2
    mask = torch.ones(1, 2, dtype=torch.bool)
    ours = Trace({}, (), (attention,), (narrow,))
    theirs = Trace({}, (), (attention, other), (wide, torch.zeros(1, 1, 2, 2)))
    assert abs(deep_self_attention(ours, theirs, 0, mask).item()) < 1e-6
    assert deep_self_attention(ours, theirs, -1, mask).item() > 0.1


@pytest.mark.parametrize(
    ("student", "teacher", "params", "where", "message"),
    [
        (config(3, 2), config(12), {}, "minilm", "2 heads cannot learn from 4"),
        (config(3), config(12), {"layer": 13}, "minilm.layer", "12 layers, none is number 13"),
        (config(3), config(12), {"assistant": 3}, "minilm.assistant", "not between a student of 3 and a teacher of 12"),
        (config(3), config(12), {"assistant": 12}, "minilm.assistant", "not between"),
    ],
)
def test_what_cannot_be_is_refused(student: Any, teacher: Any, params: Any, where: str, message: str) -> None:
    method = METHODS.get("minilm")
    with pytest.raises(RequestError, match=message) as caught:
        method.check(student, teacher, **method.read_params(params))
    assert caught.value.where == where


def test_what_can_be_is_not_refused() -> None:
    method = METHODS.get("minilm")
    method.check(config(3), config(12), **method.read_params({"layer": 11, "assistant": 6}))


def test_the_inner_loss_of_a_copy_is_zero_against_the_same_layer(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...]
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    batch = collate(find_task("ner").encode(toy_rows[:4], student.tokenizer, toy_labels, 32))
    same = inner_objective(student, teacher.model, -1).eval()(**batch)["loss"].item()
    other = inner_objective(student, teacher.model, 0).eval()(**batch)["loss"].item()
    assert abs(same) < 1e-6 < other


def test_a_student_of_other_width_and_as_many_heads_learns(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...]
) -> None:
    narrow = copy.deepcopy(teacher.model.config)
    narrow.hidden_size, narrow.num_hidden_layers = 16, 2
    student = Student(build_model(narrow, "AutoModelForTokenClassification"), teacher.tokenizer)
    batch = collate(find_task("ner").encode(toy_rows[:4], student.tokenizer, toy_labels, 32))
    inner_objective(student, teacher.model, -1)(**batch)["loss"].backward()
    value = encoder_layers(student.model)[1].attention.self.value.weight
    assert value.grad is not None and value.grad.abs().sum() > 0


def test_the_assistant_has_the_teachers_layers_spread_evenly(teacher: Student) -> None:
    ours, theirs = encoder_layers(assistant_of(teacher.model, 2)), encoder_layers(teacher.model)
    assert len(ours) == 2 and len(theirs) == 4
    for mine, index in zip(ours, (1, 3), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs[index].parameters(), strict=True))


def test_the_assistant_learns_first_and_the_epochs_are_shared(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float, int, Any, int]] = []

    def note(objective: Any, student: Student, context: Any, name: str, epochs: float, **options: Any) -> None:
        (read,) = objective._teacher
        depth = student.model.config.num_hidden_layers
        seen.append((name, epochs, depth, read.config.num_hidden_layers, len(options["rows"])))

    monkeypatch.setattr("edgebert.training.run.train_student", note)
    student = copy_student(teacher.model, teacher.tokenizer)
    METHODS.get("drop-layers").apply(student, None, n_layers=1, strategy="top", layers=())
    learn_relations(student, method_context(teacher, toy_rows, toy_labels, tmp_path), 3, 2, 1.0)
    assert seen == [("minilm-assistant", 0.5, 2, 4, 64), ("minilm-inner", 0.5, 1, 2, 64)]


def test_it_runs_with_an_assistant_after_a_trimmed_vocabulary(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    from dataclasses import replace

    context = replace(method_context(teacher, toy_rows, toy_labels, tmp_path), teacher_tokenizer=teacher.tokenizer)
    student = copy_student(teacher.model, teacher.tokenizer)
    student = METHODS.get("trim-vocab").apply(student, context, size=80, floor=10, languages="")
    student = METHODS.get("drop-layers").apply(student, context, n_layers=1, strategy="top", layers=())
    method = METHODS.get("minilm")
    student = method.apply(student, context, **method.read_params({"epochs": 0.5, "assistant": 2, "layer": 3}))
    assert student.model.config.num_hidden_layers == 1
    assert teacher.model.config.num_hidden_layers == 4
