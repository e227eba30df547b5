"""Labels that spread over a teacher's states: the closed form, texts that no label reaches, and the way through fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgebert
from edgebert.errors import RequestError
from edgebert.modeling.heads import parts_of
from edgebert.search.halving import Rung
from edgebert.tasks import find_task
from edgebert.teachers.answers import Member, write_answers
from edgebert.teachers.spreading import ALPHA, NEIGHBOURS, NO_LABEL, spread_labels, spreading
from edgebert.training.answers import StoredAnswers
from edgebert.training.run import ask_teacher
from edgebert.types import FitRequest, MethodCall, Outputs, Row, Student
from edgebert.workflows import recipe_trials
from edgebert.workflows import request as job
from edgebert.workflows.request import EffortLevel, resolve
from tests.test_probe import LABELS, SETTINGS, opened, texts
from tests.test_recipe_trials import candidate


def clusters(*sizes: int, spread: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Points around axes of their own, and which axis each is of."""
    drawn = np.random.default_rng(0)
    of = np.repeat(np.arange(len(sizes)), sizes)
    return np.eye(len(sizes) + 2)[of] + spread * drawn.standard_normal((len(of), len(sizes) + 2)), of


def test_the_closed_form_of_the_paper() -> None:
    """F = (1 - alpha) (I - alpha S)^-1 Y over a graph made here by hand, then the share of each label."""
    states, _ = clusters(20, 15, 10, spread=0.4)
    labels = np.full(len(states), NO_LABEL)
    labels[[0, 1, 2, 20, 21, 40]] = [0, 0, 0, 1, 1, 2]
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    weights = np.zeros_like(cosine)
    for i, row in enumerate(cosine):
        for j in np.argsort(-row)[:NEIGHBOURS]:
            weights[i, j] = weights[j, i] = max(row[j], 0) ** 3
    degree = weights.sum(1)
    given = np.zeros((len(states), 3))
    for i, label in enumerate(labels):
        if label != NO_LABEL:
            given[i, label] = 1
    result = (1 - ALPHA) * np.linalg.solve(
        np.eye(len(states)) - ALPHA * weights / np.sqrt(degree[:, None] * degree), given
    )
    result = result * np.array([4, 3, 2]) / result[labels == NO_LABEL].sum(0)
    assert np.abs(spread_labels(states, labels, 3) - result / result.sum(1, keepdims=True)).max() < 1e-3


def test_one_labelled_text_of_each_cluster_is_enough_however_large_the_clusters_are() -> None:
    states, of = clusters(60, 20, 40)
    labels = np.full(len(states), NO_LABEL)
    labels[[0, 60, 80]] = [0, 1, 2]
    result = spread_labels(states, labels, 3)
    assert (result.argmax(1) == of).all()
    assert result.sum(1) == pytest.approx(1)


def test_texts_that_no_label_reaches_get_the_share_of_each_label() -> None:
    states, of = clusters(30, 30, 30, spread=0.01)
    labels = np.full(len(states), NO_LABEL)
    labels[[0, 1, 30]] = [0, 0, 1]  # none of the third cluster
    result = spread_labels(states, labels, 2)
    assert result[of == 2] == pytest.approx(np.tile([3 / 5, 2 / 5], (30, 1)))
    assert (result[of < 2].argmax(1) == of[of < 2]).all()


def test_two_texts_are_enough_for_a_graph() -> None:
    assert spread_labels(np.array([[1.0, 0.0], [1.0, 0.1]]), np.array([1, NO_LABEL]), 2)[1].argmax() == 1


def asked(student: Student, features: Any, dropout: bool) -> list[Outputs]:
    return ask_teacher(student, features, SETTINGS, dropout=dropout)


def test_answers_follow_from_the_states_before_the_last_layer(pooled_checkpoint: Path, tmp_path: Path) -> None:
    teacher, task, rows = opened(pooled_checkpoint), find_task("classify"), texts(24)
    rows += [Row(text=row.text + " tomorrow", labelled=False) for row in rows]
    windows = task.encode(rows, teacher.tokenizer, LABELS, 32)
    before = asked(teacher, windows, False)
    (part,) = parts_of(teacher.model.config, type(teacher.model).__name__)
    write_answers(tmp_path, windows, [Member(lambda: teacher)], [part], spreading(teacher, windows, part, asked))
    stored = StoredAnswers(tmp_path)
    result = np.stack([stored.find(item)["logits"] for item in windows])  # type: ignore[index]

    read: list[np.ndarray] = []
    last = teacher.model.heads["head"].classifier
    hook = last.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach().numpy()[0]))
    for window in windows:
        asked(teacher, [window], False)
    hook.remove()
    labels = np.array([item.targets.get("labels", NO_LABEL) for item in windows])
    assert (labels != NO_LABEL).sum() == 24 == (labels == NO_LABEL).sum()
    assert np.abs(np.exp(result) - spread_labels(np.stack(read), labels, 3)).max() < 1e-3
    # The layer is as it was, so the answers of the teacher are.
    after = asked(teacher, windows, False)
    assert all(np.array_equal(a["logits"], b["logits"]) for a, b in zip(before, after, strict=True))


def test_a_window_of_broken_states_has_no_answer_and_the_others_have(pooled_checkpoint: Path, tmp_path: Path) -> None:
    teacher, task, rows = opened(pooled_checkpoint), find_task("classify"), texts(24)
    rows += [Row(text="leave tomorrow", labelled=False)]
    windows = task.encode(rows, teacher.tokenizer, LABELS, 32)
    (part,) = parts_of(teacher.model.config, type(teacher.model).__name__)

    def broken(student: Student, features: Any, dropout: bool) -> list[Outputs]:
        outputs = asked(student, features, dropout)
        at = next(i for i, feature in enumerate(features) if not feature.targets)
        outputs[at] = {"logits": np.full_like(outputs[at]["logits"], np.nan)}
        return outputs

    message = write_answers(
        tmp_path, windows, [Member(lambda: teacher)], [part], spreading(teacher, windows, part, broken)
    )
    assert message["not_finite"] == 1 and message["windows"] == 25
    answers = [StoredAnswers(tmp_path).find(window)["logits"] for window in windows]  # type: ignore[index]
    assert [bool(np.isfinite(answer).all()) for answer in answers] == [True] * 24 + [False]


# ---------------------------------------------------------------- whole


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [f"{row.text}\t{row.labels[0]}" for row in texts(60)]
    for split, some in (("train", lines[:30]), ("dev", lines[30:45]), ("test", lines[45:])):
        (tmp_path / f"{split}.tsv").write_text("\n".join(["text\tlabel", *some]) + "\n", encoding="utf-8")
    unlabelled = [f"{row.text} {word}" for row in texts(30) for word in ("tomorrow", "on friday")]
    (tmp_path / "more.txt").write_text("\n".join(unlabelled) + "\n", encoding="utf-8")
    return tmp_path


SPLITS = ("train=train.tsv", "dev=dev.tsv", "test=test.tsv")
QUICK: dict[str, Any] = {"epochs": 2, "teacher_epochs": 2, "learning_rate": 3e-3, "batch_size": 16}


def test_a_student_learns_the_labels_that_spread(pooled_checkpoint: Path, here: Path) -> None:
    created: list[dict[str, Any]] = []
    edgebert.compress(
        str(pooled_checkpoint), "drop-layers+kd", data=SPLITS, task="classify", output="small", unlabelled=("more.txt",),
        params={"drop-layers.n_layers": "1", "kd.answers": "spread", "classify.out_of_scope": ""},
        on_event=created.append, **QUICK,
    )  # fmt: skip
    assert [item["stage"] for item in created if item["event"] == "begin"] == ["teacher", "answers", "compress-L1-v82"]
    assert (here / "small" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("task", "params", "unlabelled", "told"),
    [
        ("classify", {}, (), "no texts that the labels could spread to"),
        ("classify", {"classify.multi_label": "true"}, ("more.txt",), "where each has one"),
        ("classify", {"kd.calibrate": "true"}, ("more.txt",), "a temperature divides logits"),
        ("ner", {}, ("more.txt",), "where each has one"),
    ],
)
def test_what_cannot_spread_is_refused_before_training(
    task: str, params: dict[str, str], unlabelled: tuple[str, ...], told: str, pooled_checkpoint: Path,
    toy_data: Path, here: Path,
) -> None:  # fmt: skip
    events: list[Any] = []
    with pytest.raises(RequestError, match=told) as error:
        edgebert.compress(
            str(pooled_checkpoint), "kd", data=(str(toy_data),) if task == "ner" else SPLITS, task=task, output="small",
            params={"kd.answers": "spread", **params}, unlabelled=unlabelled, on_event=events.append, **QUICK,
        )  # fmt: skip
    assert str(error.value.where).startswith("kd.") and not events


@pytest.mark.parametrize(
    ("few_rows", "unlabelled", "answers", "told"),
    [
        (10, ("more.txt",), "spread", "students learn the labels, spread to texts like theirs"),
        (5, ("more.txt",), None, "students learn mostly the true labels"),
        (10, (), None, "students learn mostly the true labels"),
    ],
)
def test_few_rows_a_label_and_text_without_labels(
    few_rows: int, unlabelled: tuple[str, ...], answers: str | None, told: str, pooled_checkpoint: Path, here: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """30 rows of 3 labels, and 15 development rows, too few to compare anything."""
    monkeypatch.setattr(recipe_trials, "FEW_ROWS", few_rows)
    monkeypatch.setitem(job.EFFORTS, "standard", EffortLevel(1, 200, 400, trials=(Rung(6, 32), Rung(2, 64))))
    request = FitRequest(
        device="pixel6", task="classify", teacher=str(pooled_checkpoint), data=SPLITS, run=str(here / "run"),
        unlabelled=unlabelled, formats=("onnx",),
    )  # fmt: skip
    fit = resolve(request, "", None)
    try:
        plan: Any = type("Plan", (), {"candidates": (candidate(),)})
        choice = recipe_trials.choose_recipe(fit, plan, None)  # type: ignore[arg-type]
        spread = MethodCall("kd", {"hard_label_weight": 0.5, "temperature": 1.0, "replace": 0.0, "answers": "spread"})
        assert choice.recipe.calls[-1] == (recipe_trials.UNTRIED if answers is None else spread)
        notes = [json.loads(line) for line in (fit.run.folder / "events.jsonl").read_text().splitlines()]
        assert any(told in note.get("text", "") for note in notes)
        competing = [
            alternative.recipe.calls[-1] for alternative in recipe_trials.training_alternatives(fit, candidate())
        ]
        assert (spread in competing) == bool(unlabelled)
    finally:
        fit.run.close()
