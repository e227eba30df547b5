"""The convolutional student: its layer by hand, padding, the student for every head, and its files in every format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgebert.converters import CONVERTERS
from edgebert.cost.analytic import predict_bytes
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.bilstm import logit_objective
from edgebert.modeling.checkpoint import build_model, copy_student, load_model, load_tokenizer
from edgebert.modeling.families.conv import _Layer, neighbours
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.modeling.headed import HeadedEncoder
from edgebert.modeling.heads import HEADS as KINDS
from edgebert.modeling.operators import operators
from edgebert.modeling.rebuild import config_like, read_pooled
from edgebert.tasks import find_task
from edgebert.training.context import MethodContext
from edgebert.training.loop import collate
from edgebert.training.run import read_rows
from edgebert.types import Row, Student, TrainSettings
from edgebert.verify.edges import edge_batches
from tests.families import HEADS, tiny

METHOD = METHODS.get("conv")
LABELS = ("O", "B-A", "I-A", "B-B", "I-B")


def test_neighbours_by_hand() -> None:
    states = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    assert neighbours(states, 3, 1)[0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]
    assert neighbours(states, 3, 2)[0].tolist() == [[0, 1, 3], [0, 2, 4], [1, 3, 0], [2, 4, 0]]
    assert neighbours(states, 5, 1)[0, 0].tolist() == [0, 0, 1, 2, 3]
    assert neighbours(states[:, :1], 3, 4)[0].tolist() == [[0, 1, 0]]
    assert torch.equal(neighbours(states, 1, 1), states)


@pytest.mark.parametrize("step", [1, 2, 4])
def test_the_product_of_neighbours_is_a_dilated_convolution(step: int) -> None:
    torch.manual_seed(0)
    layer, states = _Layer(6, 3, step, 0.0), torch.randn(2, 9, 6)
    kernel = layer.product.weight.reshape(6, 3, 6).transpose(1, 2)  # (out, in, place)
    convolved = F.conv1d(states.transpose(1, 2), kernel, layer.product.bias, padding=step, dilation=step).transpose(
        1, 2
    )
    expected = layer.norm(states + torch.relu(convolved))
    assert torch.allclose(layer(states, torch.ones(2, 9, 1)), expected, atol=1e-5)


def small(head: str = "token-classification", **sizes: int) -> Any:
    """Convolutions with a head, whose weights are large enough that a wrong one shows."""
    base = tiny("bert", head)
    base.config.architectures = [type(base).__name__]
    torch.manual_seed(0)
    sizes = {"embedding_size": 16, "hidden_size": 32, "num_hidden_layers": 3, "kernel_size": 3, **sizes}
    model = build_model(read_pooled(config_like(base.config, "conv", **sizes), "max"), "HeadedEncoder").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    return model


def test_padding_changes_nothing_and_a_state_reads_as_far_as_the_paper_says() -> None:
    """Three layers of kernel 3 read 15 tokens, 7 on each side."""
    model = small().encoder
    ids = torch.arange(5, 25)[None]
    mask = torch.ones_like(ids)
    states = model(ids, mask).last_hidden_state
    padded = model(F.pad(ids, (0, 4)), F.pad(mask, (0, 4))).last_hidden_state
    assert torch.allclose(states, padded[:, :20], atol=1e-6)
    other = model(F.pad(ids, (0, 4), value=30), F.pad(mask, (0, 4))).last_hidden_state
    assert torch.allclose(states, other[:, :20], atol=1e-6)  # what the mask hides is not read
    for place in (0, 10):
        changed = ids.clone()
        changed[0, place] = 90
        moved = (model(changed, mask).last_hidden_state - states)[0].abs().amax(-1) > 1e-5
        assert moved.tolist() == [abs(i - place) <= 7 for i in range(20)]


def test_a_label_is_told_from_the_greatest_values_of_real_tokens() -> None:
    model = small("sequence-classification")
    ids, mask = torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    states = model.encoder(ids, mask).last_hidden_state
    head = model.heads["head"]
    expected = head.classifier(torch.tanh(head.dense(states[:, :3].amax(1))))
    assert torch.allclose(model(ids, mask).logits, expected, atol=1e-5)


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

    def trained(epochs: float) -> float:
        torch.manual_seed(0)
        work = replace(context, work=tmp_path / f"{epochs}")
        params = METHOD.read_params(METHOD.toy | {"epochs": epochs})
        created = METHOD.apply(copy_student(teacher.model, teacher.tokenizer), work, **params)
        assert isinstance(created.model, HeadedEncoder) and created.notes[-1].startswith("conv of")
        with torch.no_grad():
            return logit_objective(created, work, 0.0).eval()(**batch)["loss"].item()

    assert trained(10) < (1.0 if head == "question-answering" else 0.9) * trained(0.01)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"kernel": 4}, "a kernel of 4 has no token in its middle"),
     ({"embedding_width": 33}, "a word table of width 32 has no 33 numbers")],
)  # fmt: skip
def test_what_cannot_be_is_refused(given: dict[str, int], message: str, teacher: Student) -> None:
    config = teacher.model.config
    with pytest.raises(RequestError, match=message):
        METHOD.check(config, config, **METHOD.read_params({"embedding_width": 16} | given))


def test_heads_of_the_teachers_config_stay_as_they_are() -> None:
    base = tiny("bert", "sentence-embedding").config
    base.architectures = ["HeadedEncoder"]
    base.edgebert_heads = [
        {"name": "a", "kind": "sequence-classification", "n_labels": 3},
        {"name": "b", "kind": "sentence-embedding", "pooling": "cls"},
    ]
    created = read_pooled(config_like(base, "conv"), "max")
    assert [head.get("reads") for head in created.edgebert_heads] == ["max", None]
    assert created.edgebert_heads[1]["pooling"] == "mean" and base.edgebert_heads[1]["pooling"] == "cls"
    assert "reads" not in base.edgebert_heads[0] and KINDS.get("several").auto_model in created.architectures


# ---------------------------------------------------------------- cost


def test_operators_by_hand() -> None:
    model = small(num_hidden_layers=2, kernel_size=5)
    results = {operator.name: operator for operator in operators(model.config, 10)}
    assert results["convolution"].count == 2 and results["convolution"].flops == 2 * 10 * (5 * 32) * 32
    assert results["embedding projection"].flops == 2 * 10 * 16 * 32
    assert results["layer norm"].count == 3
    weights = sum(item.count * item.weights for item in results.values())
    assert weights == sum(p.numel() for p in model.parameters() if p.dim() > 1) - 100 * 16


# ---------------------------------------------------------------- formats


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


@pytest.mark.parametrize("head", ["token-classification", "sequence-classification"])
@pytest.mark.parametrize(("fmt", "extra"), [("onnx", "onnx"), ("tflite", "litert_torch"), ("coreml", "coremltools")])
def test_files_equal_torch_in_each_format(head: str, fmt: str, extra: str, tmp_path: Path) -> None:
    pytest.importorskip(extra)
    model, converter = small(head, hidden_size=64, embedding_size=32), CONVERTERS.get(fmt)
    length = 80 if fmt == "onnx" else 8
    rows = [edge_batches(100, 5 + i, 0, None)["full length"] for i in range(4)]
    source = make_source(model, labels=LABELS, lengths=(8,), calibration=rows)
    created = converter.export(source, tmp_path)
    assert worst(model, converter.open(created.path, 1), length) < 1e-5
    (tmp_path / "8").mkdir()
    precision = converter.precisions["int8"]
    int8 = converter.reduce(source, created, "int8", precision.variants[0], tmp_path / "8")
    assert worst(model, converter.open(int8.path, 1), length) < 0.15
    if fmt == "onnx":
        import onnx

        kinds = [node.op_type for node in onnx.load(int8.path).graph.node]
        assert kinds.count("MatMulInteger") == 5 + (head == "sequence-classification") and "ConvInteger" not in kinds
        assert predict_bytes(model.config, "HeadedEncoder", precision) > 0.5 * int8.size_bytes
