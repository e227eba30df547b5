"""Q-BERT: groups of weights by hand, and the ONNX file that stores each layer in its own bits."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebert.converters import CONVERTERS
from edgebert.converters._onnx_half import stored_bits
from edgebert.cost.analytic import predict_bytes
from edgebert.errors import EdgebertError, RequestError
from edgebert.methods import METHODS
from edgebert.methods.q_bert import parts_of
from edgebert.modeling.checkpoint import copy_student, load_student, save_checkpoint
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.quantization import QuantSpec, TensorSpec
from edgebert.quantization.groupwise import grouped, on_grid, settle
from edgebert.runtime.session import Source
from edgebert.tasks import find_task
from edgebert.types import Row, Student
from edgebert.verify.reference import row_batches
from tests.toy_methods import applied, method_context


def test_a_group_is_scaled_by_its_largest_number() -> None:
    """Of [7, -8, 3.2, 0] in 4 bits the scale is -8 / -8 = 1; of [4, -2, 1, 0.6] it is 4 / -8, so 4 = -8 * -0.5."""
    weight = torch.tensor([[7.0, -8.0, 3.2, 0.0, 4.0, -2.0, 1.0, 0.6], [0.0] * 8])
    assert grouped(weight, 4, 4).tolist() == [[7.0, -8.0, 3.0, 0.0, 4.0, -2.0, 1.0, 0.5], [0.0] * 8]
    assert grouped(torch.tensor([[1.0, -1.0, 0.4]]), 2, 4).tolist() == [[1.0, -0.5, 0.5]]  # -2 to 1 times -0.5


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_what_is_rounded_stays(bits: int) -> None:
    torch.manual_seed(0)
    once = grouped(torch.randn(5, 37), bits, 16)
    assert torch.equal(grouped(once, bits, 16), once)


def test_gradients_pass_straight_through_the_grid() -> None:
    module = torch.nn.Linear(3, 1, bias=False)
    module.weight.data = torch.tensor([[0.9, -1.0, 0.3]])
    on_grid(module, 2, 16)
    module(torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert module.weight.tolist() == [[0.5, -1.0, 0.5]]
    assert module.parametrizations.weight.original.grad.tolist() == [[1.0, 2.0, 3.0]]
    settle(module)
    assert dict(module.named_parameters())["weight"].tolist() == [[0.5, -1.0, 0.5]]


# ---------------------------------------------------------------- the student and its file


@pytest.fixture
def student(teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path) -> Student:
    return applied("q-bert", teacher, toy_rows, toy_labels, tmp_path / "q-bert")


def source_of(student: Student, rows: list[Row], labels: tuple[str, ...]) -> Source:
    pad = student.model.config.pad_token_id
    batches = row_batches(find_task("ner").encode(rows[:16], student.tokenizer, labels, 32), pad)
    return make_source(
        student.model, lengths=(32,), labels=labels, calibration=batches, quantization=student.quantization
    )


def test_a_student_keeps_its_bits_under_the_budget_and_loads_with_them(
    student: Student, toy_checkpoint: Path, tmp_path: Path
) -> None:
    assert student.quantization is not None
    specs = student.quantization.weights
    modules = {name: module for own in parts_of(student.model).values() for name, module in own.items()}
    assert set(specs) == {f"{name}.weight" for name in modules}
    sizes = {name: module.weight.numel() for name, module in modules.items()}
    used = sum(specs[f"{name}.weight"].bits * size for name, size in sizes.items())
    assert used <= 6.0 * sum(sizes.values())
    assert len({spec.bits for spec in specs.values()}) > 1
    for name, module in modules.items():
        assert torch.equal(grouped(module.weight, specs[f"{name}.weight"].bits, 16), module.weight)
    save_checkpoint(tmp_path, student, toy_checkpoint)
    assert load_student(tmp_path).quantization == student.quantization


def test_the_int4_file_holds_exactly_the_students_weights_in_their_bits(
    student: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    import onnx

    assert student.quantization is not None
    source, converter = source_of(student, toy_rows, toy_labels), CONVERTERS.get("onnx")
    exported = converter.export(source, tmp_path)
    (tmp_path / "int4").mkdir()
    variant = next(item for item in converter.precisions["int4"].stored["group"] if item.options["accuracy_level"] == 0)
    created = converter.reduce(source, exported, "int4", variant, tmp_path / "int4")
    bits = [
        next(item.i for item in node.attribute if item.name == "bits")
        for node in onnx.load(str(created.path)).graph.node
        if node.op_type == "MatMulNBits"
    ]
    assert sorted(bits) == sorted(spec.bits for spec in student.quantization.weights.values())
    session, reference = converter.open(created.path, 1), TorchSession(student.model)
    for batch in source.calibration:
        ours, theirs = session.run(batch)["logits"], reference.run(batch)["logits"]
        mask = batch["attention_mask"].astype(bool)
        assert np.abs(ours - theirs)[mask].max() < 2e-3  # the word table's 8 bits


def test_the_plan_counts_the_mean_bits(teacher: Student) -> None:
    """2 more bits of each weight of a matrix beside the word table."""
    int4, config = CONVERTERS.get("onnx").precisions["int4"], copy.deepcopy(teacher.model.config)
    before = predict_bytes(config, "AutoModelForTokenClassification", int4)
    after = predict_bytes(METHODS.get("q-bert").reshape(config, mean_bits=6.0), "AutoModelForTokenClassification", int4)
    matrices = [p.numel() for p in teacher.model.parameters() if p.dim() > 1]
    assert after - before == (sum(matrices) - max(matrices)) * 2 / 8


def test_a_spec_of_another_model_is_refused(
    student: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    import onnx

    source = source_of(student, toy_rows, toy_labels)
    exported = CONVERTERS.get("onnx").export(source, tmp_path)
    other = replace(source, quantization=QuantSpec({"bert.encoder.layer.9.weight": TensorSpec(4, "group", group=16)}))
    with pytest.raises(EdgebertError, match=r"layer\.9\.weight of quantization\.json is no weight"):
        stored_bits(other, onnx.load(str(exported.path)))


def test_bad_parameters_are_refused_before_training(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    method, config = METHODS.get("q-bert"), teacher.model.config
    for given, what in (({"choices": (3, 4)}, "weights of 3 bits cannot be stored"), ({"choices": ()}, "of no bits"),
                        ({"mean_bits": 3.0, "choices": (4, 8)}, "3 bits on average are fewer")):  # fmt: skip
        with pytest.raises(RequestError, match=what):
            method.check(config, config, **method.read_params(given))
    with pytest.raises(RequestError, match="above 8"):
        method.read_params({"mean_bits": 9})
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    untouched = copy_student(teacher.model, teacher.tokenizer)
    before = copy.deepcopy(untouched.model.state_dict())
    with pytest.raises(RequestError, match="no largest eigenvalue was found in 2 steps for layer 1"):
        method.apply(untouched, context, **method.read_params({**method.toy, "iterations": 2}))
    assert all(torch.equal(before[name], value) for name, value in untouched.model.state_dict().items())
