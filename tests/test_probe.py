"""New heads: fitted to their encoder's states before training, and pooled where sentence-transformers pooled them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebert.cost.analytic import count_parameters
from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import (
    copy_student,
    load_config,
    load_model,
    load_student,
    load_tokenizer,
    n_parameters,
    save_checkpoint,
)
from edgebert.modeling.headed import HeadedEncoder, answers
from edgebert.modeling.rebuild import auto_model_of
from edgebert.modeling.source import find_teacher
from edgebert.search.plan import possible_shapes
from edgebert.tasks import find_task
from edgebert.teachers.fitting import fine_tuned, fitting_head, has_fitting_head, new_head
from edgebert.training.context import MethodContext
from edgebert.training.loop import collate
from edgebert.training.probe import _read, fit_head
from edgebert.training.run import evaluate, read_rows
from edgebert.types import Dataset, DataSource, MethodCall, Recipe, Row, Student, TrainSettings
from tests.toy_methods import toy_params

SETTINGS = TrainSettings(epochs=1, batch_size=16, learning_rate=1e-3, max_length=32)
LABELS = ("go", "stay", "wait")
WORDS = {"go": "flights from boston", "stay": "hotel in denver", "wait": "show me monday"}


def texts(n: int) -> list[Row]:
    """Texts whose words tell their label, but for every seventh."""
    rows = []
    for i in range(n):
        label = LABELS[i % 3]
        words = f"{WORDS[label]} {' '.join('abcdefgh'[k] for k in range(i % 8))}".strip()
        rows.append(Row(text=words, labels=(LABELS[(i + 1) % 3] if i % 7 == 0 else label,)))
    return rows


def opened(folder: Path, task: str = "classify", labels: tuple[str, ...] = LABELS) -> Student:
    torch.manual_seed(0)
    auto_model, settings = new_head(folder, find_task(task), labels)
    model, whole = load_model(folder, auto_model, labels, settings=settings)
    assert not whole
    return Student(model, load_tokenizer(folder))


def test_pooled_head_is_the_logistic_regression_of_scikit_learn(pooled_checkpoint: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    student, task, rows = opened(pooled_checkpoint), find_task("classify"), texts(90)
    assert fit_head(student, task, LABELS, rows, SETTINGS)
    features, outputs = read_rows(student, task, LABELS, rows, 32)
    ours = torch.softmax(torch.tensor(np.stack([output["logits"] for output in outputs])), -1).numpy()
    batch = collate(features)
    states, targets = _read(student.model, student.model.heads["head"].classifier, [batch])
    with torch.no_grad():  # the dense layer passes the mean of the states through, and tanh hardly bends it
        encoder = student.model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        mask = batch["attention_mask"][:, :, None]
        mean = (encoder.last_hidden_state * mask).sum(1) / mask.sum(1)
        scale = student.model.heads["head"].dense.weight[0, 0]
    assert 0 < float(scale.detach()) <= 1
    assert torch.allclose(states, torch.tanh(mean * scale), atol=1e-5)
    given = ((states - states.mean(0)) / states.std()).numpy()
    theirs = LogisticRegression(C=1.0, tol=1e-6, max_iter=5000).fit(given, targets.numpy()).predict_proba(given)
    assert np.abs(ours - theirs).max() < 0.02


@pytest.mark.parametrize("order", ["alternating", "by label"])
def test_of_more_rows_than_are_read_the_drawn_ones_hold_every_label(
    order: str, pooled_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third row of labels that take turns would be of one label, and so would the first third of sorted ones."""
    monkeypatch.setattr("edgebert.training.probe.MOST_ROWS", 30)
    some, again = opened(pooled_checkpoint), opened(pooled_checkpoint)
    task, rows = find_task("classify"), texts(90)
    rows = sorted(rows, key=lambda row: row.labels) if order == "by label" else rows
    for student in (some, again):
        fit_head(student, task, LABELS, rows, SETTINGS)
    assert torch.equal(some.model.heads["head"].classifier.weight, again.model.heads["head"].classifier.weight)
    assert evaluate(some, task, LABELS, rows, "dev", 32).value > 0.8


def test_long_texts_give_no_more_tokens_than_are_read(
    toy_checkpoint: Path, toy_rows: list[Row], toy_labels: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = opened(toy_checkpoint, "ner", toy_labels)
    features = find_task("ner").encode(toy_rows[:24], student.tokenizer, toy_labels, 32)
    batches = [collate(features[i : i + 8]) for i in (0, 8, 16)]
    n_words = [int((batch["labels"] != -100).sum()) for batch in batches]
    monkeypatch.setattr("edgebert.training.probe.MOST_VECTORS", n_words[0] + 1)
    states, targets = _read(student.model, student.model.classifier, batches)
    assert len(states) == len(targets) == sum(n_words[:2])


def test_several_labels_a_text(pooled_checkpoint: Path) -> None:
    task = replace(find_task("classify"), multi_label=True)
    rows = [replace(row, labels=(*row.labels, "wait") if i % 2 and row.labels != ("wait",) else row.labels)
            for i, row in enumerate(texts(90)) if i % 7]  # fmt: skip
    auto_model, settings = new_head(pooled_checkpoint, task, LABELS)
    model, _ = load_model(pooled_checkpoint, auto_model, LABELS, settings=settings)
    student = Student(model, load_tokenizer(pooled_checkpoint))
    before = evaluate(student, task, LABELS, rows, "dev", 32).value
    assert fit_head(student, task, LABELS, rows, SETTINGS)
    assert evaluate(student, task, LABELS, rows, "dev", 32).value > max(0.6, before)


def test_token_head(toy_checkpoint: Path, toy_rows: list[Row], toy_labels: tuple[str, ...]) -> None:
    student, task = opened(toy_checkpoint, "ner", toy_labels), find_task("ner")
    encoder = {name: value.clone() for name, value in student.model.bert.state_dict().items()}
    assert fit_head(student, task, toy_labels, toy_rows, SETTINGS)
    assert evaluate(student, task, toy_labels, toy_rows, "dev", 32).value > 0.6
    assert all(torch.equal(value, student.model.bert.state_dict()[name]) for name, value in encoder.items())


def test_head_over_the_first_token_stays_random(toy_checkpoint: Path) -> None:
    student = opened(toy_checkpoint)
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    assert not fit_head(student, find_task("classify"), LABELS, texts(30), SETTINGS)
    assert all(torch.equal(value, student.model.state_dict()[name]) for name, value in before.items())


def test_rows_without_labels_leave_the_head(pooled_checkpoint: Path) -> None:
    assert not fit_head(opened(pooled_checkpoint), find_task("classify"), LABELS, [Row(text="monday")], SETTINGS)


def test_a_pooled_teacher_is_known_again_with_fewer_labels_too(pooled_checkpoint: Path, tmp_path: Path) -> None:
    task, rows = find_task("classify"), texts(60)
    splits = {"train": tuple(rows), "dev": tuple(rows[:20]), "test": tuple(rows[20:40])}
    data = Dataset(splits, LABELS, DataSource("toy", "", "", "0"))
    source = find_teacher(str(pooled_checkpoint))
    student = fine_tuned(source, data, task, SETTINGS, tmp_path / "work")
    assert isinstance(student.model, HeadedEncoder)
    save_checkpoint(tmp_path / "made", student, pooled_checkpoint)
    assert has_fitting_head(tmp_path / "made", task, LABELS)
    result = fitting_head(tmp_path / "made", task, ("wait", "go"))
    assert result.model is not None
    assert result.model.config.edgebert_heads[0]["n_labels"] == 2
    ids = torch.tensor([[2, 10, 11, 12, 3]])
    whole, cut = (
        model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for model in (student.model, result.model)
    )
    assert torch.allclose(cut, whole[:, [2, 0]], atol=1e-6)
    save_checkpoint(tmp_path / "cut", Student(result.model, student.tokenizer), pooled_checkpoint)
    assert load_model(tmp_path / "cut", "HeadedEncoder")[0].heads["head"].classifier.out_features == 2
    assert new_head(tmp_path / "made", task, ("a", "b"))[1]["edgebert_heads"][0]["reads"] == "mean"
    assert load_config(tmp_path / "made").problem_type == "single_label_classification"


LOOK_AT_HEADS = ("bilstm", "conv", "kd", "mtdnn-kd", "multi-teacher", "narrow", "pkd", "static", "theseus")
SERVING = [
    pytest.param(name, marks=() if name in LOOK_AT_HEADS else pytest.mark.slow)
    for name, method in sorted(METHODS.all().items())
    if not method.heads or "sequence-classification" in method.heads
]


@pytest.mark.parametrize("name", SERVING)
def test_each_method_serves_a_pooled_head(name: str, pooled_checkpoint: Path, tmp_path: Path) -> None:
    teacher, method, rows = opened(pooled_checkpoint), METHODS.get(name), texts(12)
    params = toy_params(name)
    recipe = Recipe((MethodCall(name, params),))
    config = copy.deepcopy(teacher.model.config)
    ((_, _, predicted),) = possible_shapes(config, recipe, METHODS.all(), config)
    context = MethodContext(
        teacher.model, find_task("classify"), LABELS, rows[:8], rows[8:], SETTINGS, tmp_path / "work"
    )
    student = method.apply(copy_student(teacher.model, teacher.tokenizer), context, **params)
    assert n_parameters(student.model) == count_parameters(predicted, auto_model_of(predicted))
    save_checkpoint(tmp_path / "saved", student, pooled_checkpoint)
    again = load_student(tmp_path / "saved")
    ids = torch.tensor([[2, 10, 11, 12, 3], [2, 10, 3, 0, 0]])
    given = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    results, same = (
        answers(item, item(**given), given["attention_mask"]) for item in (student.model.eval(), again.model)
    )
    assert results["logits"].shape == (2, 3) and torch.allclose(results["logits"], same["logits"], atol=1e-5)
    alone = student.model(input_ids=ids[1:, :3], attention_mask=torch.ones(1, 3, dtype=torch.int64))
    assert torch.allclose(answers(student.model, alone, None)["logits"][0], results["logits"][1], atol=1e-4)
