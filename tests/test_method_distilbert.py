"""distilbert: its layers, its triple loss term by term, and what it refuses."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from edgebert.errors import RequestError
from edgebert.methods import METHODS, distilbert
from edgebert.methods.distilbert import depth_of, triple_objective
from edgebert.modeling.checkpoint import build_model, copy_student
from edgebert.modeling.layers import encoder_layers
from edgebert.tasks import find_task
from edgebert.training.heads import soft_loss
from edgebert.training.loop import collate
from edgebert.training.losses import cosine_distance
from edgebert.training.mlm import MaskedLm
from edgebert.types import Row, Student
from tests.toy_methods import applied, method_context


def test_half_of_the_layers_unless_told_otherwise(teacher: Student) -> None:
    config = copy.deepcopy(teacher.model.config)
    assert depth_of(config, 0) == 2 and depth_of(config, 3) == 3
    config.num_hidden_layers = 1
    assert depth_of(config, 0) == 1
    method = METHODS.get("distilbert")
    assert method.read_params({}) == {
        "n_layers": 0, "epochs": 0.0, "inner": 0.4, "ce": 5.0, "mlm": 2.0, "cos": 1.0, "temperature": 2.0, "hard_label_weight": 0.1,
    }  # fmt: skip


def test_the_first_weights_are_of_every_other_layer(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebert.training.run.train_student", lambda *_, **__: None)
    student = applied("distilbert", teacher, toy_rows, toy_labels, tmp_path)
    assert student.notes == ("kept layers 2, 4 of 4",)
    for mine, index in zip(encoder_layers(student.model), (1, 3), strict=True):
        other = encoder_layers(teacher.model)[index]
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), other.parameters(), strict=True))


def test_more_layers_than_there_are_are_refused(teacher: Student) -> None:
    method = METHODS.get("distilbert")
    with pytest.raises(RequestError, match="5 layers cannot be kept of 4") as caught:
        method.check(teacher.model.config, teacher.model.config, **method.read_params({"n_layers": 5}))
    assert caught.value.where == "distilbert.n_layers"


def test_cosine_distance_by_hand() -> None:
    """(1, 0) and (3, 4) have the cosine 0.6, opposite vectors -1; padding does not count."""
    ours = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]])
    theirs = torch.tensor([[[3.0, 4.0], [0.0, -5.0], [9.0, 0.0]]])
    result = cosine_distance(ours, theirs, torch.tensor([[True, True, False]])).item()
    assert math.isclose(result, (0.4 + 2.0) / 2, rel_tol=1e-6)


@pytest.fixture
def shallow(teacher: Student) -> Student:
    student = copy_student(teacher.model, teacher.tokenizer)
    with torch.no_grad():
        student.model.classifier.weight.mul_(-3.0)
    return METHODS.get("drop-layers").apply(student, None, n_layers=1, strategy="top", layers=())


def test_the_triple_loss_is_the_weighted_sum_of_its_terms(
    teacher: Student, shallow: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Only the hidden tokens read masked text: the other two terms are those of the text as it is."""
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    batch = collate(find_task("ner").encode(toy_rows[:8], shallow.tokenizer, toy_labels, 32))
    triple: Any = triple_objective(shallow, context, ce=5.0, mlm=2.0, cos=1.0, temperature=2.0).eval()
    words = MaskedLm(shallow.model, shallow.tokenizer).eval()
    words.head = triple.head
    with torch.no_grad():
        ours, theirs = triple.trace(batch), triple.trace_teacher(batch)
        mask = batch["attention_mask"].bool()
        ce = soft_loss(shallow.model, ours.outputs, theirs.outputs, batch, 2.0).item()
        cos = cosine_distance(ours.hidden[-1], theirs.hidden[-1], mask).item()
        torch.manual_seed(3)
        mlm = words.loss(batch).item()
        torch.manual_seed(3)
        result = triple(**batch)["loss"].item()
    assert ce > 0 and mlm > 3 and cos > 0
    assert math.isclose(result, 5 * ce + 2 * mlm + cos, rel_tol=1e-5)


def test_the_head_for_hidden_pieces_is_trained_and_left_behind(
    teacher: Student, shallow: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    batch = collate(find_task("ner").encode(toy_rows[:8], shallow.tokenizer, toy_labels, 32))
    triple = triple_objective(shallow, context, ce=0.0, mlm=1.0, cos=0.0, temperature=2.0)
    triple(**batch)["loss"].backward()
    head = [p for name, p in triple.named_parameters() if name.startswith("head.")]
    assert head and all(p.grad is not None and p.grad.abs().sum() > 0 for p in head)
    assert not any("head." in name for name, _ in shallow.model.named_parameters())


def test_a_narrower_student_learns_through_a_projection(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    narrow = copy.deepcopy(teacher.model.config)
    narrow.hidden_size = 16
    student = Student(build_model(narrow, "AutoModelForTokenClassification"), teacher.tokenizer)
    batch = collate(find_task("ner").encode(toy_rows[:4], student.tokenizer, toy_labels, 32))
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    triple: Any = triple_objective(student, context, ce=0.0, mlm=0.0, cos=1.0, temperature=2.0)
    triple(**batch)["loss"].backward()
    assert triple.projection.weight.shape == (32, 16) and triple.projection.weight.grad.abs().sum() > 0


def test_a_vocabulary_without_a_mask_is_refused_unless_nothing_is_hidden(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, models

    plain = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    student = Student(copy.deepcopy(teacher.model), plain)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    with pytest.raises(RequestError, match="no mask token") as caught:
        triple_objective(student, context, ce=5.0, mlm=2.0, cos=1.0, temperature=2.0)
    assert caught.value.where == "distilbert.mlm"
    triple_objective(student, context, ce=5.0, mlm=0.0, cos=1.0, temperature=2.0)


def test_what_drop_layers_left_stays_where_the_planner_asks_for_as_many(teacher: Student) -> None:
    config = copy.deepcopy(teacher.model.config)
    drop, method = METHODS.get("drop-layers"), METHODS.get("distilbert")
    config = drop.reshape(config, **drop.read_params({"n_layers": 3}))
    method.check(config, teacher.model.config, **method.read_params({"n_layers": 3}))
    assert distilbert.reshape(config, n_layers=3).num_hidden_layers == 3
