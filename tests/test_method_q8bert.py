"""Training in 8 bits: its formulas by hand, what prepare and convert leave, and the file that computes what was trained."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import transformers
from onnx import numpy_helper
from torch import nn

from edgebert.converters import CONVERTERS, Converter, Precision
from edgebert.errors import EdgebertError, RequestError, TeacherError
from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import load_student, save_checkpoint
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.quantization import QuantSpec, TensorSpec
from edgebert.quantization.fake import (
    FakeQuantization,
    check_spec,
    convert,
    fake_quantized,
    in_half,
    prepare,
    quantized,
    rounded_rows,
    row_scales,
    why_not,
)
from edgebert.quantization.spec import FILE
from edgebert.tasks import find_task
from edgebert.types import Artifact, Row, Student
from edgebert.verify.edges import edge_batches
from edgebert.verify.file import check_file
from edgebert.verify.parity import _typical
from edgebert.verify.reference import Reference, make_reference, row_batches, with_quantization
from edgebert.verify.tolerances import TOLERANCES
from edgebert.workflows.recipe import formats_of, read_recipe
from edgebert.workflows.variants import without_stored
from tests.test_methods_by_family import teacher_of
from tests.toy_methods import applied

ONNX = CONVERTERS.get("onnx")
SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "embedding_size": 32,
}


# ---------------------------------------------------------------- formulas by hand


def test_rows_are_rounded_by_hand() -> None:
    """3 bits are -3 to 3: of the first row s = 0.5, of the second 2; a row of zeros keeps its zeros."""
    weight = torch.tensor([[1.5, -0.6, 0.2], [-6.0, 2.9, 3.1], [0.0, 0.0, 0.0]], requires_grad=True)
    assert row_scales(weight, 3).flatten().tolist() == [0.5, 2.0, 1.0]
    rounded = rounded_rows(weight, 3)
    assert torch.allclose(rounded, torch.tensor([[1.5, -0.5, 0.0], [-6.0, 2.0, 4.0], [0.0, 0.0, 0.0]]))
    (rounded * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert weight.grad is not None
    assert weight.grad[0].tolist() == [1.0, 2.0, 3.0]  # as if nothing had been rounded


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (TensorSpec(8, "tensor", scale=(0.5,)), [-64.0, 0.0, 0.5, 1.0, 63.5]),  # 0.25 is halfway: to the even step
        (TensorSpec(8, "tensor", False, (0.5,), (10,)), [-5.0, 0.0, 0.5, 1.0, 100.0]),  # 0 to 255, less 10
    ],
)
def test_what_a_layer_reads_is_rounded_by_hand(how: TensorSpec, expected: list[float]) -> None:
    assert quantized(torch.tensor([-200.0, 0.25, 0.3, 0.8, 100.0]), how).tolist() == expected


def test_the_average_follows_the_largest_number_of_each_batch() -> None:
    layer = nn.Sequential(nn.Linear(2, 1, bias=False))
    prepare(layer, FakeQuantization(ranges="ema", momentum=0.75))
    for largest in (4.0, 8.0):
        layer.train()(torch.tensor([[-largest, 1.0]]))
    layer.eval()(torch.tensor([[100.0, 1.0]]))  # reading alone changes nothing
    assert layer[0].inputs.largest == 0.75 * 4 + 0.25 * 8
    spec = convert(layer)
    assert spec.activations["0"].scale == (1291 / 2**15,)  # 5 / 127 and up: float16 has 2^-15 there
    assert type(layer[0]) is nn.Linear


def test_a_learned_step_has_the_gradient_of_the_paper() -> None:
    """Equation 3 times g = 1 / √(n · 127): round(v / s) - v / s inside, -128 and 127 outside, of the value 1 and 0."""
    layer = nn.Sequential(nn.Linear(3, 1, bias=False))
    with torch.no_grad():
        layer[0].weight.fill_(127.0)  # 127 steps of 1: the product is their sum, 127 times
    prepare(layer, FakeQuantization(ranges="learned"))
    values = torch.tensor([[0.6, 200.0, -300.0]], requires_grad=True)
    with torch.no_grad():
        layer[0].inputs.step.fill_(0.5)
    layer(values).backward()
    of_step = (1 - 0.6 / 0.5) + 127 - 128
    assert layer[0].inputs.step.grad == pytest.approx(127 * of_step / (3 * 127) ** 0.5, rel=1e-5)
    assert values.grad is not None
    assert values.grad.tolist() == [[127.0, 0.0, 0.0]]


def test_a_learned_step_starts_at_the_first_batch() -> None:
    layer = nn.Sequential(nn.Linear(2, 1))
    prepare(layer, FakeQuantization(ranges="learned"))
    assert torch.equal(layer.eval()(torch.ones(1, 2)), layer(torch.ones(1, 2)))  # not rounded yet, and no error
    layer.train()(torch.tensor([[-2.54, 1.0]]))
    assert layer[0].inputs.scale == 1311 / 2**16  # 0.02 and up: float16 has 2^-16 there


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(0.5, 0.5), (1 + 2**-11, 1 + 2**-10), (1 + 2**-20, 1 + 2**-10), (2 - 2**-12, 2.0), (2**-30, 2**-24), (0.0, 0.0)],
)
def test_scales_go_up_to_the_next_number_of_float16(scale: float, expected: float) -> None:
    assert in_half(torch.tensor(scale)).item() == expected


def test_what_was_prepared_is_what_the_spec_computes(teacher: Student) -> None:
    """The model that is trained, and the plain one of its spec, give the same numbers to the last bit."""
    model, batch = copy.deepcopy(teacher.model), {"input_ids": torch.arange(24).reshape(2, 12)}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prepare(model, FakeQuantization())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    model.train()(**batch)
    with torch.inference_mode():
        trained = model.eval()(**batch).logits
    spec = convert(model)
    check_spec(model, spec)
    assert model.state_dict().keys() == before.keys()
    with torch.inference_mode():
        assert torch.equal(fake_quantized(model, spec)(**batch).logits, trained)
        assert not torch.equal(model(**batch).logits, trained)
    assert "classifier" in spec.activations and "bert.embeddings.word_embeddings.weight" in spec.weights


def test_layers_of_other_kinds_are_refused_before_training() -> None:
    assert "Conv1d" in why_not(nn.Sequential(nn.Linear(2, 2), nn.Conv1d(2, 2, 1)))
    config = transformers.SqueezeBertConfig(architectures=["SqueezeBertForTokenClassification"], **SMALL)
    with pytest.raises(RequestError, match="is neither"):
        METHODS.get("q8bert").check(config, config)


# ---------------------------------------------------------------- recipes


def test_nothing_is_trained_after_it() -> None:
    with pytest.raises(RequestError, match="kd would train on after q8bert, and lose what it made") as caught:
        read_recipe("drop-layers+q8bert+kd")
    assert caught.value.hint == "Name q8bert last."
    recipe, notes = read_recipe("trim-vocab+drop-layers+kd+q8bert")
    assert [call.method for call in recipe.calls][-1] == "q8bert" and not notes


def test_formats_that_cannot_take_its_scales_are_refused_or_left_out() -> None:
    recipe, _ = read_recipe("q8bert")
    assert formats_of(recipe, ("onnx", "coreml", "tflite"), ()) == (
        ("onnx", "coreml"),
        ["no tflite file is written: the format cannot express a student of q8bert"],
    )
    with pytest.raises(RequestError, match="a student of q8bert cannot be converted to tflite"):
        formats_of(recipe, ("onnx", "tflite"), ("tflite",))


# ---------------------------------------------------------------- files


class Files:
    """A student trained for a moment, its checkpoint, its files, and what they are held against."""

    def __init__(
        self, student: Student, rows: list[Row], labels: tuple[str, ...], folder: Path, converter: Converter = ONNX
    ) -> None:
        self.student, self.folder, self.converter = student, folder, converter
        encoded = find_task("ner").encode(rows[:24], student.tokenizer, labels, 32)
        batches = row_batches(encoded, 0)
        edges = edge_batches(student.model.config.vocab_size, 32, 0, student.tokenizer)
        plain = make_reference(TorchSession(student.model), batches, edges, labels)
        self.reference: Reference = with_quantization(plain, student.model, student.quantization)
        self.source = make_source(student.model, lengths=(32,), labels=labels, quantization=student.quantization)
        (folder / "fp32").mkdir()
        self.origin = converter.export(self.source, folder / "fp32")

    def reduced(self, precision: str, spec: QuantSpec | None = None, **options: Any) -> Artifact:
        """By the student's own spec, or by another."""
        place = self.folder / precision
        place.mkdir(exist_ok=True)
        (variant,) = self.converter.precisions[precision].variants_of(self.source.quantization)
        variant = replace(variant, options={**variant.options, **options})
        source = replace(self.source, quantization=spec or self.source.quantization)
        return self.converter.reduce(source, self.origin, precision, variant, place)

    def failures(self, artifact: Artifact) -> list[str]:
        failures = check_file(artifact, self.origin, self.reference).comparison.failures
        return [failure for failure in failures if "the model was decided on" not in failure]  # few rows, thin margins


@pytest.fixture(scope="module")
def student(toy_checkpoint: Path, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path_factory: Any) -> Student:
    teacher = teacher_of("bert", toy_labels)
    return applied("q8bert", teacher, toy_rows, toy_labels, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def files(student: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path_factory: Any) -> Files:
    return Files(student, toy_rows, toy_labels, tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_a_file_computes_what_was_trained(files: Files, precision: str) -> None:
    """Beside the usual comparison: nearer to the model that computes with the spec than rounding alone would be."""
    artifact = files.reduced(precision)
    assert files.failures(artifact) == []
    session, reference = ONNX.open(artifact.path, 1), files.reference
    assert reference.quantized is not None
    ours = [session.run(batch)["logits"] for batch in reference.batches]
    begun = [session.run(batch)["logits"] for batch in reference.quantized.batches]
    near = [np.abs(a - b["logits"]).max() for a, b in zip(begun, reference.quantized.outputs, strict=True)]
    far = [np.abs(a - b["logits"]).max() for a, b in zip(ours, reference.outputs, strict=True)]
    assert np.median(near) < 1e-4 < 10 * np.median(near) + 1e-3 < np.median(far)


@pytest.mark.parametrize(("precision", "operator"), [("int8", "MatMulIntegerToFloat"), ("int8-static", "MatMul")])
def test_its_products_and_scales_are_those_of_the_spec(files: Files, precision: str, operator: str) -> None:
    model, spec = onnx.load(files.reduced(precision).path), files.student.quantization
    assert spec is not None
    found = ONNX.contents(files.reduced(precision).path) if ONNX.contents else None
    assert found is not None and found.fixed_scales == {how.scale[0] for how in spec.activations.values()}
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    scales = [array for name, array in arrays.items() if f"{name.removesuffix('_scale')}_quantized" in arrays]
    expected = {spec.weights[f"{name}.weight"].scale for name in spec.activations}
    assert {tuple(array.tolist()) for array in scales if array.ndim} == expected
    of_words = spec.weights["bert.embeddings.word_embeddings.weight"].scale
    assert tuple(arrays["model.bert.embeddings.word_embeddings.weight_scales"].ravel().tolist()) == of_words
    constant = [node for node in model.graph.node if node.op_type == operator]
    assert len(constant) >= len(spec.activations)
    attention = sum(node.op_type == "Attention" for node in model.graph.node)
    assert attention == (files.student.model.config.num_hidden_layers if precision == "int8" else 0)


def mutants(model: onnx.ModelProto) -> Iterator[tuple[str, str, np.ndarray]]:
    """One scale of each kind, 1 % larger: of what a layer reads, of an output's weights, of a word's row."""
    for kind, ends in (("read", "_128_scale"), ("output", "_scale"), ("row", "word_embeddings.weight_scales")):
        item = next(
            item for item in model.graph.initializer if item.name.endswith(ends) and (ends != "_scale" or item.dims)
        )
        array = numpy_helper.to_array(item).copy()
        array.reshape(-1)[-1] *= 1.01
        yield kind, item.name, array


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
@pytest.mark.parametrize("kind", ["read", "output", "row"])
def test_the_gate_sees_a_scale_that_is_one_percent_off(files: Files, precision: str, kind: str, tmp_path: Path) -> None:
    artifact = files.reduced(precision)
    model = onnx.load(artifact.path)
    name, array = next((name, array) for found, name, array in mutants(model) if found == kind)
    [item] = [item for item in model.graph.initializer if item.name == name]
    item.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, str(tmp_path / "model.onnx"))
    failures = files.failures(replace(artifact, path=tmp_path / "model.onnx"))
    expected = "scales that the model was not trained with" if kind == "read" else "more than its bits explain"
    assert any(expected in failure for failure in failures), failures


@pytest.mark.parametrize("place", [0, 4, -1])
def test_rows_show_a_scale_that_is_one_percent_off(files: Files, place: int, tmp_path: Path) -> None:
    """Of what a layer reads, early or late, by the outputs alone."""
    artifact = files.reduced("int8")
    model = onnx.load(artifact.path)
    item = [item for item in model.graph.initializer if item.name.endswith("_128_scale")][place]
    item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) * np.float32(1.01), item.name))
    onnx.save(model, str(tmp_path / "model.onnx"))
    failures = files.failures(replace(artifact, path=tmp_path / "model.onnx"))
    told = "beside the model that computes with its scales, half of the rows differ by"
    assert any(failure.startswith(told) for failure in failures), failures


def test_the_typical_row_by_hand() -> None:
    """Three rows of one token and two columns of deviation 2 and 4: they differ by (2, 0), (0, 0) and (2, 4)."""
    theirs = [np.array([[[x, 2.0 * x]]]) for x in (1.0, 3.0, 5.0)]
    scale = float(np.std([1.0, 3.0, 5.0]))
    changes = [np.array([[[scale, 0.0]]]), np.zeros((1, 1, 2)), np.array([[[scale, 2 * scale]]])]
    batch = {"input_ids": np.ones((1, 1), int), "attention_mask": np.ones((1, 1), int)}
    reference = Reference([batch] * 3, [{"logits": array} for array in theirs], {}, {}, ())
    ours = [{"logits": a + b} for a, b in zip(theirs, changes, strict=True)]
    assert _typical(ours, reference) == pytest.approx(0.5**0.5)  # of √½, 0 and 1


def test_its_tolerance_is_nearer_than_that_of_a_file_in_8_bits() -> None:
    exact, usual = TOLERANCES["trained"], TOLERANCES["int8"]
    assert exact.nrmse < usual.nrmse / 2 and exact.scale < usual.scale / 2 and exact.drop_points < usual.drop_points


# ---------------------------------------------------------------- what cannot be


def other_spec(student: Student, **changes: Any) -> QuantSpec:
    assert student.quantization is not None
    return replace(student.quantization, **changes)


def test_a_spec_of_other_weights_is_refused(student: Student, toy_checkpoint: Path, tmp_path: Path) -> None:
    """As a damaged quantization.json gives it: one scale of the saved file is changed."""
    save_checkpoint(tmp_path, student, toy_checkpoint)
    again = load_student(tmp_path)
    assert again.quantization == student.quantization
    check_spec(again.model, again.quantization)
    document = json.loads((tmp_path / FILE).read_text())
    document["weights"]["classifier.weight"]["scale"][0] *= 1.1
    (tmp_path / FILE).write_text(json.dumps(document))
    damaged = load_student(tmp_path)
    with pytest.raises(TeacherError, match=r"classifier\.weight has 1 rows that are no whole numbers of its scales"):
        fake_quantized(damaged.model, damaged.quantization)


@pytest.mark.parametrize(
    ("kind", "name", "how", "message"),
    [
        (
            "activations",
            "bert.pooler",
            TensorSpec(8, "tensor", scale=(0.1,)),
            "what bert.pooler reads, and the model has no",
        ),
        ("activations", "classifier", TensorSpec(8, "tensor", scale=(0.1, 0.2)), "classifier reads has 2 scales"),
        (
            "weights",
            "bert.nothing.weight",
            TensorSpec(8),
            "how bert.nothing.weight is stored, and the model has no such",
        ),
        ("weights", "classifier.weight", TensorSpec(8, scale=(0.1,)), "rows and 1 scales"),
    ],
)
def test_a_spec_that_names_what_is_not_there_is_refused(
    student: Student, kind: str, name: str, how: TensorSpec, message: str
) -> None:
    spec = other_spec(student, **{kind: {**getattr(student.quantization, kind), name: how}})
    with pytest.raises(TeacherError, match=message) as caught:
        check_spec(student.model, spec)
    assert caught.value.where == FILE


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (TensorSpec(16, scale=(0.1,)), "was trained in 16 bits, and int8 files store 8"),
        (TensorSpec(8, "tensor", scale=(0.1,)), "has other scales than one an output or row"),
        (TensorSpec(8), "has other scales than one an output or row"),
    ],
)
def test_what_a_file_of_bytes_cannot_store_is_refused(
    files: Files, how: TensorSpec, message: str, tmp_path: Path
) -> None:
    spec = files.student.quantization
    assert spec is not None
    weights = {**spec.weights, "classifier.weight": how}
    source = replace(files.source, quantization=replace(spec, weights=weights))
    (variant,) = ONNX.precisions["int8"].variants_of(source.quantization)
    with pytest.raises(EdgebertError, match=message):
        ONNX.reduce(source, files.origin, "int8", variant, tmp_path)


def test_a_spec_without_ranges_is_refused(files: Files, tmp_path: Path) -> None:
    source = replace(files.source, quantization=other_spec(files.student, activations={}))
    (variant,) = ONNX.precisions["int8"].variants_of(source.quantization)
    with pytest.raises(EdgebertError, match="has scales of weights, and no ranges"):
        ONNX.reduce(source, files.origin, "int8", variant, tmp_path)


def test_precisions_that_choose_their_own_scales_are_told(files: Files) -> None:
    plain = replace(files.source, quantization=None)
    assert without_stored(plain, ("onnx", "tflite"), ("int8", "int4")) == []
    assert without_stored(replace(plain, quantization=QuantSpec()), ("onnx", "tflite"), ("int8", "int4")) == []
    [note] = without_stored(files.source, ("onnx", "coreml"), ("fp32", "fp16", "int8", "int4"))
    assert note.endswith("choose scales of their own: onnx int4, coreml int8, coreml int4")
    assert without_stored(files.source, ("tflite",), ("fp32", "fp16")) == []
    with pytest.raises(RequestError, match="tflite int8 would choose scales of its own") as caught:
        without_stored(files.source, ("onnx", "tflite"), ("fp32", "int8"))
    assert caught.value.hint is not None and caught.value.hint.startswith("Take coreml, onnx, or --precision fp32")
    assert not Precision("").takes(files.source.quantization)
