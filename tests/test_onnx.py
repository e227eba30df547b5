"""ONNX files against torch: every head and family, every precision, and what must be refused."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgebert.converters import QuantizationVariant, _onnx_export, _onnx_static
from edgebert.converters._onnx_embedding import per_row, quantize_rows, tables
from edgebert.converters._onnx_file import graph_file
from edgebert.converters._onnx_pointwise import pointwise_as_products
from edgebert.converters.onnx import CONVERTER, OnnxSession
from edgebert.errors import EdgebertError, RequestError
from edgebert.measure.artifacts import Subject
from edgebert.measure.inputs import limit_of
from edgebert.measure.targets import File
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.runtime.session import Runner, Source
from edgebert.types import Artifact
from tests.families import HEADS, tiny

LABELS = ("O", "B-A", "I-A", "B-B", "I-B")


def batch(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random ids; the last row ends two tokens early."""
    ids = np.random.default_rng(seed).integers(3, 100, (rows, length))
    mask = np.ones_like(ids)
    mask[-1, max(1, length - 2) :] = 0 if rows > 1 else 1
    ids[mask == 0] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


CALIBRATION = [batch(1, 6 + i, seed=i) for i in range(8)]


def source(family: str = "bert", head: str = "token-classification", **changes: Any) -> Source:
    return make_source(tiny(family, head, **changes), labels=LABELS, calibration=CALIBRATION)


def visible(outputs: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    mask = rows["attention_mask"].astype(bool)
    return {name: array[mask] if array.shape[:2] == mask.shape else array for name, array in outputs.items()}


def worst(
    ours: Source, path: Path, rows: dict[str, np.ndarray], opened: Callable[[Path, int], Runner] = OnnxSession
) -> float:
    """Largest difference from the model in torch at tokens, over the largest output."""
    result = visible(opened(path, 1).run(rows), rows)
    expected = visible(TorchSession(ours.graph.model, 1).run(rows), rows)
    assert result.keys() == expected.keys()
    return max(float(np.abs(result[key] - expected[key]).max() / np.abs(expected[key]).max()) for key in result)


def reduced(ours: Source, exported: Artifact, precision: str, folder: Path, variant: int = 0) -> Artifact:
    folder.mkdir(exist_ok=True)
    return CONVERTER.reduce(ours, exported, precision, CONVERTER.precisions[precision].variants[variant], folder)


@pytest.fixture(scope="module")
def bert() -> Source:
    return source()


@pytest.fixture(scope="module")
def exported(bert: Source, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return CONVERTER.export(bert, tmp_path_factory.mktemp("onnx"))


@pytest.mark.parametrize("head", HEADS)
def test_every_head_equals_torch_on_shapes_that_the_exporter_did_not_see(head: str, tmp_path: Path) -> None:
    ours = source(head=head)
    created = CONVERTER.export(ours, tmp_path)
    assert list(tmp_path.iterdir()) == [created.path]
    for rows in (batch(1, 1), batch(3, 13), batch(2, 80)):
        assert worst(ours, created.path, rows) < 1e-5


@pytest.mark.parametrize(
    ("family", "exporter"),
    [
        ("roberta", "torchscript"),
        ("albert", "torchscript"),
        ("squeezebert", "torchscript"),
        ("deberta-v2", "torchscript"),
        ("xlnet", "torchscript"),
        ("modernbert", "torchscript"),
        ("fnet", "dynamo"),
    ],
)
def test_families_equal_torch_in_float_and_stay_near_it_in_int8_and_half(
    family: str, exporter: str, tmp_path: Path
) -> None:
    ours = source(family)
    created = CONVERTER.export(ours, tmp_path)
    assert created.options["exporter"] == exporter
    assert b"site-packages" not in created.path.read_bytes(), "where a line of the model's code lies"
    assert worst(ours, created.path, batch(3, 13)) < 2e-5
    assert worst(ours, reduced(ours, created, "int8", tmp_path / "8", 2).path, batch(1, 13)) < 0.05
    assert worst(ours, reduced(ours, created, "fp16", tmp_path / "16").path, batch(3, 13)) < 3e-3


def test_a_family_that_only_computes_the_traced_length_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer exporter's file fails in the same way, after half a minute: the older one stands in for it here."""
    monkeypatch.setitem(_onnx_export._EXPORTERS, "dynamo", _onnx_export._EXPORTERS["torchscript"])
    with pytest.raises(EdgebertError, match=r"funnel cannot be written as ONNX: by torchscript .* by dynamo .* 3x21"):
        CONVERTER.export(source("funnel"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_not_kept(
    bert: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Louder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph = bert.graph

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(output * 1.01 for output in self.graph(*tensors))

    honest = _onnx_export._EXPORTERS["torchscript"]
    loud = lambda given, path: honest(replace(given, graph=Louder().eval()), path)  # noqa: E731
    monkeypatch.setitem(_onnx_export._EXPORTERS, "torchscript", loud)
    created = CONVERTER.export(bert, tmp_path)
    assert created.options["exporter"] == "dynamo"
    assert worst(bert, created.path, batch(3, 13)) < 1e-5
    created.path.unlink()
    monkeypatch.setitem(_onnx_export._EXPORTERS, "dynamo", loud)
    with pytest.raises(EdgebertError, match="logits differs from torch by"):
        CONVERTER.export(bert, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_file_says_what_it_is(bert: Source, exported: Artifact) -> None:
    model = onnx.load(exported.path)
    notes = {item.key: item.value for item in model.metadata_props}
    assert json.loads(notes.pop("labels")) == list(LABELS)
    assert notes == {"family": "bert", "precision": "fp32", "pad_id": "0", "max_length": "80", "producer": "edgebert"}
    assert {item.version for item in model.opset_import} == {17}
    session = OnnxSession(exported.path, 1)
    assert session.labels == LABELS
    shape = {"type": "int64", "shape": ["batch", "seq"]}
    inputs, outputs = session.signature()
    assert inputs == [{"name": name, **shape} for name in ("input_ids", "attention_mask", "token_type_ids")]
    assert outputs == [{"name": "logits", "type": "float32", "shape": ["batch", "seq", 5]}]


def test_a_batch_longer_than_the_model_is_refused(exported: Artifact) -> None:
    with pytest.raises(EdgebertError, match="81 tokens, the model takes 80"):
        OnnxSession(exported.path, 1).run(batch(1, 81))


@pytest.mark.parametrize("text", [b"attention_mask", b"logits", b"family"])
def test_names_that_are_no_utf8_are_one_clear_error(text: bytes, exported: Artifact, tmp_path: Path) -> None:
    """In the names of inputs and outputs, and in the metadata."""
    content, path = exported.path.read_bytes(), tmp_path / "model.onnx"
    assert text in content
    path.write_bytes(content.replace(text, b"\xff" * len(text)))
    with pytest.raises(EdgebertError, match="ONNX Runtime refuses the file"):
        OnnxSession(path, 1)
    assert limit_of(Subject(File("m", "onnx", path), None)) == (None if text == b"family" else 80)


def test_a_file_cut_short_is_refused(exported: Artifact, bert: Source, tmp_path: Path) -> None:
    cut = tmp_path / "model.onnx"
    cut.write_bytes(exported.path.read_bytes()[:-1000])
    with pytest.raises(EdgebertError, match="refuses the file"):
        OnnxSession(cut, 1)
    with pytest.raises(EdgebertError, match="cannot be read"):
        reduced(bert, replace(exported, path=cut), "int8", tmp_path / "8")
    assert not list((tmp_path / "8").iterdir())


def test_weights_of_a_large_model_lie_beside_the_graph(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    created = _onnx_export.export(bert, tmp_path, external_from=50_000)
    assert created.path == tmp_path / "model"
    assert sorted(item.name for item in created.path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert created.size_bytes == sum(item.stat().st_size for item in created.path.iterdir())
    assert graph_file(created.path).stat().st_size < 50_000
    rows = batch(3, 13)
    one_file = OnnxSession(exported.path, 1).run(rows)["logits"]
    assert np.array_equal(OnnxSession(created.path, 1).run(rows)["logits"], one_file)
    assert reduced(bert, created, "int8", tmp_path / "8").size_bytes < created.size_bytes


def test_a_row_of_a_table_is_divided_by_its_own_largest_value() -> None:
    quantized, scales = quantize_rows(np.array([[1.27, -0.635], [0, 0], [-254, 1]], np.float32))
    assert np.allclose(scales, [[0.01], [1], [2]])
    assert quantized.tolist() == [[127, -64], [0, 0], [-127, 0]]  # halves go to the even number


def test_embeddings_are_looked_up_in_8_bits(exported: Artifact) -> None:
    model = onnx.load(exported.path)
    name, table = next((name, numpy_helper.to_array(item)) for name, item in tables(model).items() if "word" in name)
    assert per_row(model) == 2  # words and positions; the two types are not worth it
    assert not tables(model)
    kept = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert name not in kept
    assert kept[f"{name}_int8"].dtype == np.int8
    restored = kept[f"{name}_int8"] * kept[f"{name}_scales"]
    assert (np.abs(restored - table) <= kept[f"{name}_scales"] * 0.5001).all()


def test_dynamic_int8_keeps_the_head_in_float_where_a_trial_says_so(
    bert: Source, exported: Artifact, tmp_path: Path
) -> None:
    grid = CONVERTER.precisions["int8"].variants
    assert len({variant.name for variant in grid}) == len(grid) == 5
    counts = {}
    for variant in (0, 1):  # all in 8 bits; with the head in float
        created = reduced(bert, exported, "int8", tmp_path / str(variant), variant)
        assert created.options == dict(grid[variant].options)
        assert OnnxSession(created.path, 1).labels == LABELS
        assert worst(bert, created.path, batch(1, 13)) < 0.03
        model = onnx.load(created.path)
        counts[variant] = Counter(node.op_type for node in model.graph.node)["MatMulInteger"]
        assert not tables(model)
    assert counts == {0: 13, 1: 12}  # six products a layer, two layers, the head


def test_int8_in_blocks_stays_near_float_where_one_activation_is_far_larger_than_the_others(tmp_path: Path) -> None:
    ours = source(hidden_size=128, intermediate_size=1024)
    with torch.no_grad():
        for layer in ours.graph.model.bert.encoder.layer:  # one of 1024 inner values is large, and counts for little
            layer.intermediate.dense.weight[3] *= 30
            layer.output.dense.weight[:, 3] /= 30
    exported = CONVERTER.export(ours, tmp_path)
    grid = CONVERTER.precisions["int8"].variants
    assert [variant.name for variant in grid if variant.spare] == ["s8-blocks"]
    plain, blocks = (reduced(ours, exported, "int8", tmp_path / str(i), i) for i in (1, len(grid) - 1))
    rows = batch(1, 13)
    assert worst(ours, blocks.path, rows) < 0.04
    assert worst(ours, blocks.path, rows) < 0.5 * worst(ours, plain.path, rows)
    model = onnx.load(blocks.path)
    assert Counter(node.op_type for node in model.graph.node)["MatMulNBits"] == 12  # the head stays in float
    assert not tables(model)
    assert blocks.size_bytes < 1.1 * plain.size_bytes


def test_static_int8_takes_the_ranges_of_the_calibration_rows(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    created = reduced(bert, exported, "int8-static", tmp_path)
    assert worst(bert, created.path, batch(1, 13)) < 0.08
    model = onnx.load(created.path)
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantizers) == 9  # four inputs a layer: of attention, its output, both of the feed-forward; the head's
    floats = onnx.load(exported.path)
    per_row(floats)  # the ranges are those of the model with its tables in 8 bits
    value = quantizers[0].input[0]
    seen = np.concatenate([array.ravel() for _, array in _onnx_export.values(floats, [value], CALIBRATION)])
    assert constants[quantizers[0].input[1]] == pytest.approx((seen.max() - seen.min()) / 255, rel=1e-5)
    assert not tables(model)


def test_products_with_noisy_inputs_are_left_to_the_dynamic_recipe(
    bert: Source, exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    floats = onnx.load(exported.path)
    per_row(floats)
    power = _onnx_static.signal_to_noise(
        floats, sorted({node.input[0] for node in _onnx_static.products(floats)}), CALIBRATION
    )
    monkeypatch.setattr(_onnx_static, "NOISY_DB", sorted(power.values())[3])  # three tensors lie under it
    created = reduced(bert, exported, "int8-static", tmp_path, 2)
    counts = Counter(node.op_type for node in onnx.load(created.path).graph.node)
    assert (counts["QuantizeLinear"], counts["DynamicQuantizeLinear"]) == (6, 3)
    assert worst(bert, created.path, batch(1, 13)) < 0.08


def test_signal_to_noise_is_that_of_256_steps() -> None:
    """All of 0 to 255, once each: the step is 1, its noise 1/12, and the mean square 255 * 511 / 6 = 21717.5."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["input_ids"], ["x"], to=1), helper.make_node("Neg", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rows = [{"input_ids": np.arange(100)[None]}, {"input_ids": np.arange(100, 256)[None]}]
    assert _onnx_static.signal_to_noise(model, ["x"], rows)["x"] == pytest.approx(10 * np.log10(21717.5 * 12))


def test_static_int8_needs_rows_that_hold_something(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="needs rows to calibrate on"):
        reduced(replace(bert, calibration=()), exported, "int8-static", tmp_path)
    with pytest.raises(RequestError, match="all 2 calibration rows are empty"):
        reduced(replace(bert, calibration=[batch(1, 2)] * 2), exported, "int8-static", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_quantizer_that_changes_nothing_is_caught(
    bert: Source, exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "onnxruntime.quantization.quantize_static", lambda model, path, *_, **__: onnx.save(model, path)
    )
    with pytest.raises(EdgebertError, match="0 of 9 activations were quantized"):
        reduced(bert, exported, "int8-static", tmp_path)
    assert not list(tmp_path.iterdir())


def test_half_precision_halves_the_weights_and_keeps_float_outputs(
    bert: Source, exported: Artifact, tmp_path: Path
) -> None:
    created = reduced(bert, exported, "fp16", tmp_path)
    assert worst(bert, created.path, batch(3, 13)) < 3e-3
    assert OnnxSession(created.path, 1).signature() == OnnxSession(exported.path, 1).signature()
    big = [item.data_type for item in onnx.load(created.path).graph.initializer if np.prod(item.dims) > 16]
    assert set(big) == {TensorProto.FLOAT16}


def test_half_precision_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    ours = source()
    for scale, message in ((1e6, "weight .* float16 ends at 65504"), (6e4, "tensor .* float16 ends at 65504")):
        with torch.no_grad():
            ours.graph.model.classifier.weight.normal_(0, 1).clamp_(-1, 1).mul_(scale)
        created = CONVERTER.export(ours, tmp_path)
        with pytest.raises(EdgebertError, match=message):
            reduced(ours, created, "fp16", tmp_path / "16")
        assert not list((tmp_path / "16").iterdir())


def test_the_word_table_may_have_four_bits_beside_four_bit_weights(tmp_path: Path) -> None:
    """Of 5 x 4 bits less: half a byte for each of the table's numbers; a row's least value and step instead of one scale."""
    ours = source()
    created = CONVERTER.export(ours, tmp_path)
    plain, packed = (reduced(ours, created, name, tmp_path / name) for name in ("int4", "int4-all"))
    table = ours.graph.model.get_input_embeddings().weight  # type: ignore[operator, union-attr]
    saved = plain.size_bytes - packed.size_bytes
    assert saved == pytest.approx(table.numel() / 2 - 8 * len(table), abs=1500)  # and nodes that unpack
    assert worst(ours, packed.path, batch(1, 13)) < 0.3


@pytest.mark.parametrize("family", ["bert", "albert", "squeezebert"])
def test_four_bit_weights_stay_near_torch(family: str, tmp_path: Path) -> None:
    ours, handlers = source(family), list(logging.getLogger().handlers)
    created = CONVERTER.export(ours, tmp_path)
    small = reduced(ours, created, "int4", tmp_path / "4")
    model = onnx.load(small.path)
    names = [item.name for item in model.graph.initializer]
    assert len(names) == len(set(names))  # ALBERT's layers share their weights
    assert Counter(node.op_type for node in model.graph.node)["MatMulNBits"] == {"albert": 13, "squeezebert": 42}.get(
        family, 12
    )
    assert not tables(model)
    assert worst(ours, small.path, batch(1, 13)) < 0.15
    assert small.size_bytes < created.size_bytes
    assert logging.getLogger().handlers == handlers


def test_four_bit_weights_are_refused_where_nothing_can_take_them(tmp_path: Path) -> None:
    ours = replace(source(), graph=OneHead().eval())  # and the head stays in float
    created = CONVERTER.export(ours, tmp_path)
    with pytest.raises(EdgebertError, match="bert has no matrix product"):
        reduced(ours, created, "int4", tmp_path / "4")


class OneHead(torch.nn.Module):
    """Nothing but a table and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = torch.nn.Embedding(100, 8), torch.nn.Linear(8, len(LABELS))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.head(self.table(ids)) * mask[..., None] + types[..., None],)


def test_convolutions_of_width_one_become_a_product_a_group(tmp_path: Path) -> None:
    """Of squeezebert's two layers: query, key, value and both of the feed-forward in four groups, one in a single one."""
    created = CONVERTER.export(source("squeezebert"), tmp_path)
    kinds = Counter(node.op_type for node in onnx.load(created.path).graph.node)
    assert (kinds["Conv"], kinds["MatMul"]) == (0, 2 * (5 * 4 + 1) + 2 * 2 + 1)  # attention's own, and the head


def test_another_convolution_stays_one() -> None:
    wide, x = torch.nn.Conv1d(4, 6, 3, groups=2), torch.randn(2, 4, 9)
    expected = wide(x)
    with pointwise_as_products():
        assert torch.equal(wide(x), expected)


@pytest.mark.parametrize("bias", [True, False])
def test_a_grouped_convolution_as_products_by_its_value(bias: bool) -> None:
    item, x = torch.nn.Conv1d(6, 4, 1, groups=2, bias=bias), torch.randn(3, 6, 5)
    expected = item(x)
    with pointwise_as_products():
        assert torch.allclose(item(x), expected, atol=1e-6)


def test_onnx_runtime_does_not_merge_norms_into_its_slow_kernel(
    bert: Source, exported: Artifact, tmp_path: Path
) -> None:
    created = reduced(bert, exported, "int8", tmp_path / "8")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(created.path), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kinds["LayerNormalization"] == 5
    assert not kinds["SkipLayerNormalization"]


def test_an_unknown_precision_is_refused(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown ONNX precision 'int9'"):
        CONVERTER.reduce(bert, exported, "int9", QuantizationVariant("default"), tmp_path)


def test_what_an_accelerator_cannot_take_is_counted(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    floats = CONVERTER.accelerator_fallbacks(exported.path)
    assert floats["operator LayerNormalization"] == 5
    assert floats["input of dynamic shape"] == 3
    assert "operator MatMul" not in floats
    dynamic = CONVERTER.accelerator_fallbacks(reduced(bert, exported, "int8", tmp_path / "8").path)
    assert (dynamic["operator MatMulInteger"], dynamic["operator DynamicQuantizeLinear"]) == (13, 9)
    small = CONVERTER.accelerator_fallbacks(reduced(bert, exported, "int4", tmp_path / "4").path)
    assert small["operator com.microsoft:MatMulNBits"] == 12
    assert "weight too large for the CoreML provider" not in floats
    large = source(vocab_size=16385)
    (tmp_path / "large").mkdir()
    found = CONVERTER.accelerator_fallbacks(CONVERTER.export(large, tmp_path / "large").path)
    assert found == floats | {"weight too large for the CoreML provider": 1}


def test_labels_are_no_tokens_whatever_their_number(tmp_path: Path) -> None:
    """As many labels as the traced row has tokens."""
    from edgebert.converters._onnx_export import TRACED

    model = tiny("bert", "sequence-classification", n_labels=TRACED[1])
    created = CONVERTER.export(make_source(model, labels=tuple(f"L{i}" for i in range(TRACED[1]))), tmp_path)
    _, outputs = CONVERTER.open(created.path, 1).signature()
    assert outputs == [{"name": "logits", "type": "float32", "shape": ["batch", TRACED[1]]}]
