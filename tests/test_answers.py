"""The teacher's answers: stored once, of several kinds, and what a student learns from rows with and without them."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgebert
from edgebert.errors import RequestError, TeacherError
from edgebert.methods import METHODS
from edgebert.methods._prediction import prediction_objective
from edgebert.modeling.checkpoint import copy_student
from edgebert.modeling.heads import Part, parts_of
from edgebert.tasks import find_task
from edgebert.teachers.answers import Member, fitted_temperature, logits_of, probabilities, write_answers
from edgebert.teachers.folds import HELD_BY_NONE, fold_of_rows
from edgebert.training.answers import StoredAnswers, window_key
from edgebert.training.context import AnswerKind, MethodContext
from edgebert.training.heads import hard_loss, soft_loss
from edgebert.training.loop import collate
from edgebert.training.run import answered, ask_teacher
from edgebert.types import Feature, Row, Student
from tests.toy_methods import method_context

LABELS = Part("", "sequence-classification", ("logits",), 3)
QUICK: dict[str, Any] = {"epochs": 2, "teacher_epochs": 2, "learning_rate": 3e-3, "batch_size": 16}


def window(*ids: int) -> Feature:
    return Feature(0, ids, (0,) * len(ids))


def member(answer: dict[int, list[float]], **options: Any) -> Member:
    """One whose logits of a window follow from its first id."""
    return Member(lambda: Student(answer, None), **options)


def say(student: Student, features: Any, dropout: bool) -> list[dict[str, np.ndarray]]:
    return [{"logits": np.array(student.model[feature.input_ids[0]], np.float32)} for feature in features]


def stored(teacher: Student, context: MethodContext, rows: list[Row], folder: Path) -> StoredAnswers:
    folder.mkdir(parents=True, exist_ok=True)
    windows = context.task.encode(rows, teacher.tokenizer, context.labels, context.settings.max_length)
    parts = parts_of(teacher.model.config, type(teacher.model).__name__)
    write_answers(folder, windows, [Member(lambda: teacher)], parts,
                  lambda student, some, dropout: ask_teacher(student, some, context.settings, dropout=dropout))  # fmt: skip
    return StoredAnswers(folder)


# ---------------------------------------------------------------- stored


def test_answers_are_found_by_what_the_teacher_reads(tmp_path: Path) -> None:
    first = {1: [0.0, 1.0, 2.0], 2: [3.0, 4.0, 5.0]}
    result = write_answers(tmp_path, [window(2, 7), window(1, 7), window(2, 7)], [member(first)], [LABELS], say)
    results = StoredAnswers(tmp_path)
    assert result == {"windows": 2, "not_finite": 0, "temperatures": [1.0]} and len(results) == 2
    assert results.find(window(1, 7))["logits"].tolist() == [0.0, 1.0, 2.0]
    assert results.find(window(2, 7))["logits"].tolist() == [3.0, 4.0, 5.0]
    assert results.find(window(1, 8)) is None
    assert results.find(replace(window(1, 7), type_ids=(0, 1))) is None


def test_answers_of_each_token_keep_their_window(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    answers = stored(teacher, context, toy_rows[:9], tmp_path / "answers")
    windows = context.task.encode(toy_rows[:9], teacher.tokenizer, toy_labels, 32)
    live = ask_teacher(teacher, windows, context.settings)
    for item, answer in zip(windows, live, strict=True):
        assert np.allclose(answers.find(item)["logits"], answer["logits"], atol=1e-6)
    before = (tmp_path / "answers" / "output-0.npy").read_bytes()
    result = answers.find(windows[0])["logits"]
    assert isinstance(result.base, np.memmap) or isinstance(result.base.base, np.memmap)
    result[:] = 0
    assert (tmp_path / "answers" / "output-0.npy").read_bytes() == before


@pytest.mark.parametrize("replaced", [0.0, 0.3])
def test_training_with_stored_answers_is_training_with_the_teacher(
    replaced: float, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    kd, weights, asked = METHODS.get("kd"), [], []
    for name in ("live", "stored"):
        context = method_context(teacher, toy_rows, toy_labels, tmp_path / name)
        context = replace(context, log=lambda **event: asked.append(event["event"]))
        if name == "stored":
            context = replace(context, answers=stored(teacher, context, toy_rows[:64], tmp_path / "answers"))
        torch.manual_seed(0)
        student = copy_student(teacher.model, teacher.tokenizer)
        with torch.no_grad():
            student.model.classifier.weight.neg_()
        kd.apply(student, context, **kd.read_params({"epochs": 2, "replace": replaced, "hard_label_weight": 0.3}))
        weights.append(student.model.state_dict())
    before = teacher.model.state_dict()
    moved = max((weights[0][key] - before[key]).abs().max().item() for key in before)
    apart = max((weights[0][key] - weights[1][key]).abs().max().item() for key in before)
    assert apart < 1e-4 < 0.01 < moved
    assert "note" not in asked


def test_what_is_not_stored_is_asked_now_and_told(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    notes: list[str] = []
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    context = replace(context, log=lambda **event: notes.append(event.get("text", "")))
    rows = [Row(("leave", "bton")), Row(("fly", "to", "aville"))]
    context = replace(context, answers=stored(teacher, context, rows[:1], tmp_path / "answers"))
    windows = context.task.encode(rows, teacher.tokenizer, toy_labels, 32)
    result = answered(windows, rows, teacher, context)
    live = ask_teacher(teacher, windows, context.settings)
    assert all(
        np.allclose(item.targets["teacher_logits"], answer["logits"], atol=1e-6)
        for item, answer in zip(result, live, strict=True)
    )
    assert notes == ["the teacher is asked about 1 of 2 windows, whose answers are not stored"]


# ---------------------------------------------------------------- kinds


def test_a_mean_is_one_of_probabilities_and_is_stored_as_their_logarithms(tmp_path: Path) -> None:
    item, two = {1: [np.log(0.8), np.log(0.1), np.log(0.1)]}, {1: [5 + np.log(0.2), 5 + np.log(0.5), 5 + np.log(0.3)]}
    write_answers(tmp_path, [window(1, 7)], [member(item), member(two)], [LABELS], say)
    assert np.allclose(np.exp(StoredAnswers(tmp_path).find(window(1, 7))["logits"]), [0.5, 0.3, 0.2], atol=1e-6)


def test_each_kind_of_head_has_its_mean() -> None:
    several = Part("", "sequence-classification", ("logits",), 2, "multi_label_classification")
    logits = {"logits": np.array([0.0, np.log(3.0)])}
    assert np.allclose(probabilities([several], logits)["logits"], [0.5, 0.75])
    assert np.allclose(logits_of([several], probabilities([several], logits))["logits"], logits["logits"])
    span = Part("", "question-answering", ("start_logits", "end_logits"))
    ends = {"start_logits": np.log([0.25, 0.75]), "end_logits": np.log([0.5, 0.5])}
    assert np.allclose(probabilities([span], ends)["start_logits"], [0.25, 0.75])
    vector = Part("", "sentence-embedding", ("sentence_embedding",))
    means = {"sentence_embedding": np.array([0.3, 0.4])}
    assert np.allclose(logits_of([vector], means)["sentence_embedding"], [0.6, 0.8])


def test_a_window_of_a_fold_is_answered_by_its_own_teacher_and_others_by_the_mean(tmp_path: Path) -> None:
    fold_of = {window_key(window(1, 7)): 0, window_key(window(2, 7)): 1}
    shares = [{i: np.log(share).tolist() for i in (1, 2, 3)} for share in ([0.6, 0.3, 0.1], [0.2, 0.3, 0.5])]

    def asks(fold: int) -> Any:
        return lambda key: fold_of.get(key, fold) == fold

    members = [member(share, answers=asks(fold)) for fold, share in enumerate(shares)]
    write_answers(tmp_path, [window(1, 7), window(2, 7), window(3, 7)], members, [LABELS], say)
    results = [np.exp(StoredAnswers(tmp_path).find(window(i, 7))["logits"]) for i in (1, 2, 3)]
    assert np.allclose(results, [[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.4, 0.3, 0.3]], atol=1e-6)


def test_passes_with_dropout_differ_and_their_mean_is_stored(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    windows = context.task.encode(toy_rows[:3], teacher.tokenizer, toy_labels, 32)
    parts = parts_of(teacher.model.config, type(teacher.model).__name__)
    passes: list[Any] = []

    def ask(student: Student, some: Any, dropout: bool) -> Any:
        passes.append(ask_teacher(student, some, context.settings, dropout=dropout))
        return passes[-1]

    torch.manual_seed(0)
    write_answers(tmp_path, windows, [Member(lambda: teacher, passes=3)], parts, ask)
    logits = [np.stack([item[0]["logits"] for item in passes])]
    assert len(passes) == 3 and np.abs(logits[0][0] - logits[0][1]).max() > 1e-3
    shortest = min(windows, key=lambda item: len(item.input_ids))
    mean = np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True)
    assert np.allclose(np.exp(StoredAnswers(tmp_path).find(shortest)["logits"]), mean.mean(0), atol=1e-5)
    assert not teacher.model.training


def test_a_temperature_makes_the_development_rows_likeliest(toy_checkpoint: Path) -> None:
    """Logits ±z with 80 % of rows right: the likelihood is greatest where sigmoid(2 z / T) = 0.8."""
    from edgebert.modeling.checkpoint import load_model, load_tokenizer

    task, labels = find_task("classify"), ("no", "yes")
    model, _ = load_model(toy_checkpoint, "AutoModelForSequenceClassification", labels)
    student = Student(model, load_tokenizer(toy_checkpoint))
    rows = [Row(text="fly", labels=("yes" if i % 5 else "no",)) for i in range(100)]

    def ask(student: Student, features: Any, dropout: bool) -> Any:
        return [{"logits": np.array([-2.0, 2.0], np.float32)} for _ in features]

    assert fitted_temperature(student, task, labels, rows, 16, ask) == pytest.approx(4 / np.log(4), rel=1e-2)


def test_a_temperature_divides_what_is_stored(tmp_path: Path) -> None:
    result = write_answers(tmp_path, [window(1)], [member({1: [2.0, 4.0, 6.0]})], [LABELS], say, lambda student: 4.0)
    assert result["temperatures"] == [4.0]
    assert StoredAnswers(tmp_path).find(window(1))["logits"].tolist() == [0.5, 1.0, 1.5]


# ---------------------------------------------------------------- folds


def texts(*labels: str) -> list[Row]:
    return [Row(text=f"text {i}", labels=(label,)) for i, label in enumerate(labels)]


def test_folds_have_an_equal_share_of_each_label() -> None:
    rows = texts(*["a"] * 6, *["b"] * 3)
    folds = fold_of_rows(rows, 3)
    assert Counter(zip((row.labels[0] for row in rows), folds, strict=True)) == {
        **{("a", fold): 2 for fold in range(3)},
        **{("b", fold): 1 for fold in range(3)},
    }
    assert fold_of_rows(rows, 3) == folds != fold_of_rows(rows, 3, seed=1)


def test_a_class_of_fewer_rows_than_folds_is_known_to_every_teacher() -> None:
    rows = texts(*["a"] * 10, "b", "b", "c")
    folds = fold_of_rows(rows, 5)
    assert len({folds[10], folds[11]}) == 2 and HELD_BY_NONE not in folds[:12]
    assert folds[12] == HELD_BY_NONE
    for fold in range(5):
        assert {row.labels[0] for row, own in zip(rows, folds, strict=True) if own != fold} == {"a", "b", "c"}


def test_rows_of_several_labels_leave_each_label_to_every_teacher() -> None:
    rows = [
        Row(text=str(i), labels=labels) for i, labels in enumerate([("a", "x"), ("a", "x"), ("b", "y"), ("b", "y")])
    ]
    tags = [Row((str(i),), (tag,)) for i, tag in enumerate(["B-X", "I-X", "B-Y", "O", "O", "B-Y", "B-Z"])]
    for some, n in ((rows, 2), (tags, 3)):
        folds = fold_of_rows(some, n)
        every = {label for row in some for label in (*row.labels, *row.tags)}
        assert max(folds) > 0
        for fold in range(n):
            kept = [row for row, own in zip(some, folds, strict=True) if own != fold]
            results = {label[2:] if label[1:2] == "-" else label for row in kept for label in (*row.labels, *row.tags)}
            assert results == {label[2:] if label[1:2] == "-" else label for label in every}


def test_rows_of_one_text_or_group_are_in_one_fold() -> None:
    same = [Row(text="t", labels=("a",))] * 3
    grouped = [Row(text=f"g{i}", labels=("a",), group="doc") for i in range(3)]
    folds = fold_of_rows([*same, *grouped, *texts("a", "a", "a")], 2)
    assert len(set(folds[:3])) == 1 and len(set(folds[3:6])) == 1


@pytest.mark.parametrize("rows", [texts("a", "b", "c"), [], [Row(text="t", labels=("a",))] * 4])
def test_rows_that_cannot_be_folded_are_held_by_none(rows: list[Row]) -> None:
    assert fold_of_rows(rows, 3) == [HELD_BY_NONE] * len(rows)


# ---------------------------------------------------------------- rows with and without labels and answers


def test_each_row_learns_from_what_is_known_of_it(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Three labelled rows, one without an answer, and two unlabelled: the mean over rows of their own losses."""
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    rows = [*toy_rows[:3], *(replace(row, tags=()) for row in toy_rows[3:5])]
    student = copy_student(teacher.model, teacher.tokenizer)
    with torch.no_grad():
        student.model.classifier.weight.neg_()
    windows = answered(context.task.encode(rows, student.tokenizer, toy_labels, 32), rows, student, context)
    windows[1].targets["teacher_logits"][0, 0] = np.nan
    batch = collate(windows)
    objective = prediction_objective(student, context, 2.0, hard_label_weight=0.3).eval()
    with torch.no_grad():
        ours = objective.answer(batch)
        theirs = objective.ask_teacher(batch)

        def alone(*chosen: int) -> tuple[Any, Any, Any]:
            return tuple({name: value[list(chosen)] for name, value in side.items()} for side in (ours, theirs, batch))

        def soft(*chosen: int) -> Any:
            own, other, part = alone(*chosen)
            return soft_loss(student.model, own, other, part, 2.0)

        def hard_label_weight(*chosen: int) -> Any:
            own, _, part = alone(*chosen)
            return hard_loss(student.model, own, part)

        expected = (
            2 / 5 * (0.7 * soft(0, 2) + 0.3 * hard_label_weight(0, 2))
            + 2 / 5 * soft(3, 4)
            + 1 / 5 * hard_label_weight(1)
        )
        assert objective(**batch)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_answers_that_are_not_finite_are_counted_and_those_of_all_rows_are_refused(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    broken = copy.deepcopy(teacher)
    with torch.no_grad():
        broken.model.get_input_embeddings().weight[teacher.tokenizer.token_to_id("monday")] = float("nan")
    context = replace(context, teacher=broken.model)
    student = copy_student(teacher.model, teacher.tokenizer)
    n_bad = sum("monday" in row.words for row in toy_rows[:64])
    kd = METHODS.get("kd")
    kd.apply(student, context, **kd.read_params({"epochs": 2, "replace": 0}))
    assert 0 < n_bad < 64
    assert student.notes == (
        f"the teacher's answers to {n_bad} of 64 windows are not finite: their labels alone are learnt",
    )
    assert all(torch.isfinite(value).all() for value in student.model.state_dict().values())
    with torch.no_grad():
        broken.model.classifier.bias.fill_(float("inf"))
    with pytest.raises(TeacherError, match="none of the teacher's answers is a finite number"):
        kd.apply(student, context, **kd.read_params({"epochs": 2, "replace": 0}))


def test_stored_answers_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    some = {1: [0.0, 1.0, 2.0], 2: [np.nan, 0.0, 0.0], 3: [np.inf, 0.0, 0.0]}
    result = write_answers(tmp_path, [window(i) for i in some], [member(some)], [LABELS], say)
    assert result["not_finite"] == 2
    with pytest.raises(TeacherError, match="none of the teacher's answers is a finite number"):
        write_answers(tmp_path, [window(2), window(3)], [member(some)], [LABELS], say)


def test_kinds_that_only_a_stage_can_make_are_not_learnt_without_it(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context, kd = method_context(teacher, toy_rows, toy_labels, tmp_path), METHODS.get("kd")
    with pytest.raises(RequestError, match="out-of-fold answers are made by fit and compress"):
        kd.apply(copy_student(teacher.model, teacher.tokenizer), context, **kd.read_params({"answers": "out-of-fold"}))
    assert kd.answers(**kd.read_params({"answers": "dropout", "passes": 4})) == AnswerKind("dropout", 3, 4)


# ---------------------------------------------------------------- whole


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_kinds_share_their_teachers_and_a_second_student_shares_the_answers(
    toy_checkpoint: Path, toy_data: Path, here: Path
) -> None:
    (here / "t.txt").write_text("fly to aville\nleave bton on friday\n")
    created: list[str] = []

    def note(event: dict[str, Any]) -> None:
        if event["event"] in ("begin", "kept"):
            created.append(f"{event['event']} {event['stage']}")

    def compress(**params: str) -> Any:
        created.clear()
        return edgebert.compress(
            str(toy_checkpoint), "drop-layers+kd", data=str(toy_data), output="small", force=True,
            params={"drop-layers.n_layers": "1", "kd.folds": "2", **{f"kd.{k}": v for k, v in params.items()}},
            unlabelled=("t.txt",), on_event=note, **QUICK,
        )  # fmt: skip

    compress(answers="out-of-fold")
    assert created == [
        "begin teacher",
        "begin fold-teacher",
        "begin fold-teacher",
        "begin answers",
        "begin compress-L1-v82",
    ]
    compress(answers="out-of-fold", hard_label_weight="0.5")
    assert created == [
        "kept teacher",
        "kept fold-teacher",
        "kept fold-teacher",
        "kept answers",
        "begin compress-L1-v82",
    ]
    compress(answers="ensemble", calibrate="true")
    assert created == [
        "kept teacher",
        "kept fold-teacher",
        "kept fold-teacher",
        "begin answers",
        "begin compress-L1-v82",
    ]


def test_ten_rows_are_enough_for_folds_and_text(toy_checkpoint: Path, toy_data: Path, here: Path) -> None:
    rows = (toy_data / "train.conll").read_text().split("\n\n")[:10]
    (here / "ten.conll").write_text("\n\n".join(rows) + "\n")
    (here / "t.txt").write_text("fly to aville\nleave bton on friday\n")
    data = ("train=ten.conll", f"dev={toy_data / 'dev.conll'}", f"test={toy_data / 'test.conll'}")
    notes: list[str] = []
    result = edgebert.compress(
        str(toy_checkpoint), "drop-layers+kd", data=data, output="small", unlabelled=("t.txt",),
        params={"drop-layers.n_layers": "1", "kd.answers": "out-of-fold", "kd.folds": "20"},
        on_event=lambda event: notes.append(str(event.get("text"))), **(QUICK | {"teacher_epochs": 1}),
    )  # fmt: skip
    n_folds = len({fold for fold in fold_of_rows(conll_rows(data[0]), 20) if fold != HELD_BY_NONE})
    assert 1 < n_folds <= 10
    note = f"{n_folds} folds in place of 20: the training rows allow no more"
    assert note in notes and note in result.notes and result.test.n == 40


def conll_rows(spec: str) -> list[Row]:
    """The rows of a CoNLL file as the task reads them."""
    records = [line.split("\t") for line in Path(spec.partition("=")[2]).read_text().split("\n")]
    rows: list[list[list[str]]] = [[]]
    for cells in records:
        if len(cells) == 2:
            rows[-1].append(cells)
        elif rows[-1]:
            rows.append([])
    return [Row(tuple(c[0] for c in row), tuple(c[1] for c in row)) for row in rows if row]


def test_kinds_that_this_teacher_cannot_give_are_refused_before_training(
    toy_checkpoint: Path, toy_data: Path, here: Path
) -> None:
    edgebert.compress(
        str(toy_checkpoint), "drop-layers+finetune", data=str(toy_data), output="trained",
        params={"drop-layers.n_layers": "2"}, **QUICK,
    )  # fmt: skip
    events: list[Any] = []
    for kind, message in (("ensemble", "is trained for this task already"), ("out-of-fold", "trained anew")):
        with pytest.raises(RequestError, match=message):
            edgebert.compress(
                "trained", "kd", data=str(toy_data), params={"kd.answers": kind}, on_event=events.append, **QUICK
            )
    assert not events
