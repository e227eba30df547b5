"""Distillation into a BiLSTM: the loss, the size, the student for every head, and its files in every format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgebert.converters import CONVERTERS
from edgebert.cost.analytic import predict_bytes
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.bilstm import logit_distance, logit_objective, samples
from edgebert.modeling.checkpoint import build_model, copy_student, load_model, load_tokenizer, n_parameters
from edgebert.modeling.families import families
from edgebert.modeling.families.bilstm import BiLstmConfig, BiLstmModel, gathered, turned
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.modeling.operators import operators
from edgebert.modeling.rebuild import config_like, narrowed
from edgebert.runtime.session import Source
from edgebert.tasks import find_task
from edgebert.training.context import MethodContext
from edgebert.training.loop import collate
from edgebert.training.run import answered, read_rows
from edgebert.types import Row, Student, TrainSettings
from edgebert.verify.edges import edge_batches
from tests.families import HEADS, tiny
from tests.toy_methods import method_context

METHOD = METHODS.get("bilstm")
LABELS = ("O", "B-A", "I-A", "B-B", "I-B")


def test_the_loss_by_hand() -> None:
    """(1² + 2²) at one position and 0 at the other."""
    student, teacher = torch.tensor([[1.0, 3.0], [2.0, 2.0]]), torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    assert logit_distance(student, teacher).item() == 2.5


def test_the_papers_size() -> None:
    """0.96 M without the word table: two tables of width 300 as one of 600, 150 units a direction, then 200 and 2 outputs."""
    config = BiLstmConfig(vocab_size=9, embedding_size=600, hidden_size=300)
    n_lstm = n_parameters(BiLstmModel(config)) - 9 * 600
    assert n_lstm == 2 * 4 * 150 * (600 + 150 + 2)
    assert n_lstm + (300 + 1) * 200 + (200 + 1) * 2 == pytest.approx(0.96e6, rel=0.005)


def test_rows_are_turned_within_their_length() -> None:
    states = torch.arange(8.0).reshape(1, 4, 2)
    mask = torch.tensor([[1, 1, 1, 0]])
    assert turned(states, mask)[0, :, 0].tolist() == [4.0, 2.0, 0.0, 6.0]
    assert gathered(states, mask)[0].tolist() == [[4.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]


def small(head: str = "token-classification", **sizes: int) -> Any:
    """A BiLSTM with a head, whose weights are large enough that a wrong one shows."""
    base = tiny("bert", head)
    base.config.architectures = [type(base).__name__]
    torch.manual_seed(0)
    config = config_like(base.config, "bilstm", **{"embedding_size": 16, "hidden_size": 32, **sizes})
    model = build_model(config, "HeadedEncoder").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    return model


def test_the_first_state_has_read_all_and_padding_changes_nothing() -> None:
    model = small(num_hidden_layers=2).encoder
    ids, mask = torch.tensor([[5, 6, 7, 8]]), torch.ones(1, 4, dtype=torch.long)
    states = model(ids, mask).last_hidden_state
    padded = model(torch.tensor([[5, 6, 7, 8, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])).last_hidden_state
    assert torch.allclose(states, padded[:, :4], atol=1e-6)
    for place in range(4):
        other = ids.clone()
        other[0, place] = 9
        ahead, back = (model(other, mask).last_hidden_state - states)[0, 0].abs().chunk(2)
        assert ahead.max() > 1e-4 and back.max() > 1e-4  # both directions of the first state


@pytest.mark.parametrize("head", HEADS)
def test_every_head_gets_a_student_that_nears_its_teacher(
    head: str, toy_checkpoint: Path, toy_rows: list[Row], tmp_path: Path
) -> None:
    texts = [" ".join(row.words) for row in toy_rows[:32]]
    rows = {
        "token-classification": list(toy_rows[:32]),
        "sequence-classification": [Row(text=text, labels=("OAB"[i % 3],)) for i, text in enumerate(texts)],
        "question-answering": [Row(text="how far", second=text, answers=((text.split()[0], 0),)) for text in texts],
        "sentence-embedding": [Row(text=text) for text in texts],
    }[head]
    task = find_task(dict(zip(HEADS, ("ner", "classify", "qa", "embed"), strict=True))[head])
    labels = task.labels(rows)
    model, _ = load_model(toy_checkpoint, HEADS[head], labels or None)
    model.config.architectures = [type(model).__name__]
    teacher = Student(model, load_tokenizer(toy_checkpoint))
    settings = TrainSettings(epochs=1, batch_size=16, learning_rate=1e-3, max_length=32)
    context = MethodContext(
        teacher.model, task, labels, rows, rows, settings, tmp_path, teacher_tokenizer=teacher.tokenizer
    )
    if head == "sentence-embedding":
        context = replace(context, dev=task.with_teacher_labels(rows, *read_rows(teacher, task, labels, rows, 32)))
    batch = collate(task.encode(rows, teacher.tokenizer, labels, 32))

    spans = head == "question-answering"  # their loss has the teacher's own entropy as its least
    hard_label_weight, enough = (0.0, 1.0) if spans else (0.2, 0.9)

    def trained(epochs: float, **changes: Any) -> float:
        torch.manual_seed(0)
        student = replace(copy_student(teacher.model, teacher.tokenizer), **changes)
        work = replace(context, work=tmp_path / f"{epochs}{len(changes)}")
        created = METHOD.apply(
            student, work, **METHOD.read_params(METHOD.toy | {"hard_label_weight": hard_label_weight, "epochs": epochs})
        )
        assert created.model.config.model_type == "bilstm" and created.notes[-1].startswith("bilstm of")
        with torch.no_grad():
            return logit_objective(replace(created, own_tokenizer=False), work, 0.0).eval()(**batch)["loss"].item()

    assert trained(10) < enough * trained(0.01)
    if head in ("sequence-classification", "sentence-embedding"):
        assert trained(10, own_tokenizer=True) < enough * trained(0.01)


def test_the_word_table_is_the_students_narrowed(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Before training: cosines of words are those of the old table where the width stays."""
    old = teacher.model.get_input_embeddings().weight.detach()
    table, _ = narrowed(old, 32)
    assert torch.allclose(table @ table.T, old @ old.T, atol=1e-5)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    params = METHOD.read_params(METHOD.toy | {"embedding_width": 32, "epochs": 0.01, "rate": 0.01})
    created = METHOD.apply(copy_student(teacher.model, teacher.tokenizer), context, **params)
    assert torch.allclose(created.model.get_input_embeddings().weight, table, atol=1e-3)


def test_samples_are_masked_with_a_token_of_the_students(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    result = samples(teacher, method_context(teacher, toy_rows, toy_labels, tmp_path), 3)
    assert 64 < len(result) <= 192
    assert any("[MASK]" in row.words for row in result)
    assert all(len(row.words) == len(row.tags) for row in result)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"hidden": 33}, "33 cannot be halved"), ({"embedding_width": 33}, "a word table of width 32 has no 33 numbers")],
)
def test_what_cannot_be_is_refused(given: dict[str, int], message: str, teacher: Student) -> None:
    config = teacher.model.config
    with pytest.raises(RequestError, match=message):
        METHOD.check(config, config, **METHOD.read_params({"embedding_width": 16} | given))


# ---------------------------------------------------------------- cost


def test_operators_by_hand() -> None:
    config = small(num_hidden_layers=2).config  # table 16, states 32, so 16 a direction and 64 numbers of gates
    results = {(operator.name, operator.weights): operator for operator in operators(config, 10)}
    assert results["lstm input", 16 * 64].flops == 2 * 10 * 16 * 64
    assert results["lstm input", 32 * 64].flops == 2 * 10 * 32 * 64  # the second layer reads both directions
    assert results["lstm step", 16 * 64].flops == 2 * 10 * 16 * 64
    weights = sum(operator.count * operator.weights for operator in operators(config, 10))
    matrices = sum(p.numel() for n, p in small(num_hidden_layers=2).named_parameters() if p.dim() > 1)
    assert weights == matrices - 100 * 16  # the word table is gathered from
    assert "bilstm" in families()


# ---------------------------------------------------------------- formats


def source(model: Any, **options: Any) -> Source:
    rows = [edge_batches(100, 9 + i, 0, None)["full length"] for i in range(8)]
    return make_source(model, labels=LABELS, calibration=rows, **options)


def worst(model: Any, session: Any, longest: int) -> float:
    """Largest difference from torch on the edge rows, over the largest output."""
    result = 0.0
    for rows in edge_batches(100, longest, 0, None).values():
        expected, got = TorchSession(model, 1).run(rows), session.run(rows)
        real = rows["attention_mask"].astype(bool)
        for name, value in expected.items():
            gap = np.abs(value - got[name])
            gap = gap[real] if value.shape[:2] == real.shape else gap
            result = max(result, float(gap.max() / np.abs(value).max()))
    return result


@pytest.mark.parametrize("head", HEADS)
def test_onnx_files_equal_torch_and_hold_the_lstm_in_8_bits(head: str, tmp_path: Path) -> None:
    import onnx

    model = small(head, embedding_size=64, hidden_size=128, num_hidden_layers=2)
    ours, converter = source(model), CONVERTERS.get("onnx")
    created = converter.export(ours, tmp_path)
    assert worst(model, converter.open(created.path, 1), 80) < 1e-5
    for variant in converter.precisions["int8"].variants:
        (tmp_path / variant.name).mkdir()
        int8 = converter.reduce(ours, created, "int8", variant, tmp_path / variant.name)
        kinds = [node.op_type for node in onnx.load(int8.path).graph.node]
        assert kinds.count("DynamicQuantizeLSTM") == 4 and "LSTM" not in kinds
        assert worst(model, converter.open(int8.path, 1), 80) < 0.1
        assert int8.size_bytes < 0.4 * created.size_bytes
        predicted = predict_bytes(model.config, "HeadedEncoder", converter.precisions["int8"])
        assert int8.size_bytes == pytest.approx(predicted, rel=0.35)


def test_static_int8_leaves_the_lstm_dynamic(tmp_path: Path) -> None:
    import onnx

    model = small(hidden_size=64)
    ours, converter = source(model), CONVERTERS.get("onnx")
    created = converter.export(ours, tmp_path)
    (tmp_path / "s").mkdir()
    static = converter.reduce(
        ours, created, "int8-static", converter.precisions["int8-static"].variants[0], tmp_path / "s"
    )
    kinds = [node.op_type for node in onnx.load(static.path).graph.node]
    assert kinds.count("DynamicQuantizeLSTM") == 2 and "QuantizeLinear" in kinds
    assert worst(model, converter.open(static.path, 1), 80) < 0.1


@pytest.mark.parametrize(
    ("fmt", "extra"), [pytest.param("tflite", "litert_torch", marks=pytest.mark.slow), ("coreml", "coremltools")]
)
def test_other_formats_equal_torch(fmt: str, extra: str, tmp_path: Path) -> None:
    pytest.importorskip(extra)
    model = small(embedding_size=32, hidden_size=64)
    ours, converter = source(model, lengths=(8,)), CONVERTERS.get(fmt)
    created = converter.export(ours, tmp_path)
    assert worst(model, converter.open(created.path, 1), 8) < 1e-5
    (tmp_path / "8").mkdir()
    int8 = converter.reduce(ours, created, "int8", converter.precisions["int8"].variants[0], tmp_path / "8")
    assert worst(model, converter.open(int8.path, 1), 8) < 0.05
    assert METHOD.formats == ()


def test_rows_whose_answers_are_not_finite_are_left_to_their_labels(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    student = copy_student(teacher.model, teacher.tokenizer)
    with torch.no_grad():
        student.model.classifier.bias.add_(1.0)
    objective = logit_objective(student, context, 0.0).eval()
    windows = answered(
        context.task.encode(toy_rows[:2], student.tokenizer, context.labels, 32), toy_rows[:2], student, context
    )
    without = objective(**collate(windows[:1]))["loss"]
    windows[1].targets["teacher_logits"][:] = float("nan")
    assert torch.allclose(objective(**collate(windows))["loss"], without, atol=1e-4) and without > 1


@pytest.mark.parametrize("trimmed", [False, True])
def test_a_teacher_that_is_asked_beforehand_says_what_it_would_say_in_the_batch(
    trimmed: bool, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = replace(method_context(teacher, toy_rows, toy_labels, tmp_path), teacher_tokenizer=teacher.tokenizer)
    student = copy_student(teacher.model, teacher.tokenizer)
    if trimmed:  # the student's token i is the teacher's n - 1 - i
        student.teacher_ids = tuple(reversed(range(teacher.tokenizer.get_vocab_size())))
    windows = context.task.encode(toy_rows[:5], student.tokenizer, context.labels, 32)
    objective = logit_objective(student, context, 0.0).eval()
    batch = collate(windows)
    message = collate(answered(windows, toy_rows[:5], student, context))
    asked, given = objective.ask_teacher(batch), objective.ask_teacher(message)
    real = batch["attention_mask"].bool()
    assert torch.allclose(given["logits"][real], asked["logits"][real], atol=1e-5)
    assert torch.allclose(objective(**message)["loss"], objective(**batch)["loss"], atol=1e-5)
