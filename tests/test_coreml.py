"""Core ML files against torch, run by the interpreter; and the files that must be refused."""

from __future__ import annotations

import copy
import datetime
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgebert.converters import QuantizationVariant, check_shape
from edgebert.errors import EdgebertError, RequestError
from edgebert.runtime.session import Source
from edgebert.runtime.specs import INPUT_IDS, OutputSpec, input_specs
from tests.families import tiny

pytest.importorskip("coremltools")

from edgebert.converters import _coreml_ops as ops
from edgebert.converters._coreml_static import best_range, calibrate, quantized_inputs
from edgebert.converters._coreml_weights import padded_vocabulary, palette
from edgebert.converters._fourier import transform
from edgebert.converters.coreml import CONVERTER, export
from edgebert.modeling.graph import make_source
from edgebert.runtime.mil.package import open_package
from edgebert.runtime.mil.program import load
from edgebert.runtime.mil.session import MilSession
from edgebert.types import Artifact
from edgebert.verify.contents import contents_failures

IDS, LOGITS = input_specs([INPUT_IDS]), (OutputSpec("logits", axes=("batch", "sequence", "labels")),)
LABELS = ("O", "B-CITY", "I-CITY", "B-DAY", "I-DAY")
WIDE = {"hidden_size": 64, "intermediate_size": 128}  # so that the layers are large enough to be quantized


def batch(length: int, real: int, rows: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of random tokens, the last of which has `real` of them."""
    ids = np.random.default_rng(seed).integers(5, 100, (rows, length))
    mask = np.ones_like(ids)
    ids[-1, real:], mask[-1, real:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def source_of(family: str = "bert", head: str = "token-classification", **changes: Any) -> Source:
    rows = [batch(10, 10, seed=i) for i in range(8)]
    return make_source(tiny(family, head, **changes), lengths=(12, 24), labels=LABELS, calibration=rows, title="Tags")


def difference(session: Any, source: Source, rows: dict[str, np.ndarray], graph: nn.Module | None = None) -> float:
    """Largest difference from torch where the mask is 1."""
    with torch.inference_mode():
        expected = (graph or source.graph)(*(torch.from_numpy(rows[name]) for name in source.inputs))
    result = session.run(rows)
    worst = 0.0
    for name, tensor in zip(source.outputs, expected, strict=True):
        assert result[name].shape == tuple(tensor.shape)
        delta = np.abs(result[name] - tensor.numpy())
        by_token = delta.ndim > 1 and delta.shape[1] == rows["input_ids"].shape[1]
        worst = max(worst, float((delta[rows["attention_mask"].astype(bool)] if by_token else delta).max()))
    return worst


@pytest.fixture(scope="module")
def source() -> Source:
    return source_of(**WIDE)


@pytest.fixture(scope="module")
def exported(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(source, tmp_path_factory.mktemp("fp32"))


@pytest.fixture(scope="module")
def reduced(
    source: Source, exported: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Artifact, MilSession]]:
    created: dict[str, tuple[Artifact, MilSession]] = {}

    def make(precision: str) -> tuple[Artifact, MilSession]:
        if precision not in created:
            variant = CONVERTER.precisions[precision].variants[0]
            artifact = CONVERTER.reduce(source, exported, precision, variant, tmp_path_factory.mktemp(precision))
            created[precision] = (artifact, MilSession(artifact.path, 1))
        return created[precision]

    return make


def test_float32_is_torch(source: Source, exported: Artifact) -> None:
    session = MilSession(exported.path, 1)
    for rows in (batch(12, 7, rows=2), batch(9, 4, rows=2), batch(24, 24), batch(1, 1)):
        assert difference(session, source, rows) < 1e-5
    assert exported.options == {"shape": "enumerated", "lengths": [12, 24], "minimum_ios": 18}
    assert [item.name for item in exported.path.parent.iterdir()] == ["model.mlpackage"]


def test_the_same_bytes_on_another_day(
    source: Source, exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime.date):
        @classmethod
        def today(cls) -> Later:
            return cls(2031, 5, 17)

    monkeypatch.setattr("coremltools.converters._converters_entry.date", Later)
    again = export(source, tmp_path)
    assert again.sha256 == exported.sha256
    assert not any(b"2031-05-17" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_session_leaves_torchs_threads_as_they_were(exported: Artifact) -> None:
    """Else a model that is trained after it gets other weights: sums are split by threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        MilSession(exported.path, 1).run(batch(9, 4))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("head", ["sequence-classification", "question-answering", "sentence-embedding"])
def test_other_heads(head: str, tmp_path: Path) -> None:
    source = source_of(head=head, num_hidden_layers=1)
    session = MilSession(export(replace(source, lengths=(12,)), tmp_path).path)
    assert difference(session, source, batch(12, 7, rows=2)) < 1e-5
    assert difference(session, source, batch(9, 5)) < 1e-5


def test_file_says_what_it_is(exported: Artifact) -> None:
    session = MilSession(exported.path)
    inputs, outputs = session.signature()
    names = ("input_ids", "attention_mask", "token_type_ids")
    assert inputs == [{"name": name, "type": "int32", "shape": [1, "seq"]} for name in names]
    assert outputs == [{"name": "logits", "type": "float32", "shape": [1, "seq", 5]}]
    assert session.labels == LABELS and session.lengths == (12, 24)
    package = open_package(exported.path)
    description = package.spec.description
    assert (description.metadata.author, description.metadata.shortDescription) == ("edgebert", "Tags")
    assert package.metadata["edgebert.family"] == "bert" and package.metadata["edgebert.precision"] == "fp32"
    assert "12 or 24 tokens" in description.input[0].shortDescription
    assert package.spec.specificationVersion == 9  # iOS 18, which several flexible inputs need


def test_rows_that_do_not_fit(exported: Artifact) -> None:
    session = MilSession(exported.path)
    assert [session.padded(length) for length in (1, 12, 13)] == [12, 12, 24]
    with pytest.raises(EdgebertError, match="a row of 25 tokens; the file takes 24"):
        session.run(batch(25, 25))


def test_float16_is_rounded_and_finite(
    source: Source, exported: Artifact, reduced: Callable[[str], tuple[Artifact, MilSession]]
) -> None:
    artifact, session = reduced("fp16")
    rows = batch(12, 3, rows=2)
    logits = session.run(rows)["logits"]
    assert np.isfinite(logits).all() and (logits == logits.astype(np.float16).astype(np.float32)).all()
    assert 1e-5 < difference(session, source, rows) < 5e-3
    assert artifact.size_bytes < 0.65 * exported.size_bytes
    layer_norms = 2 * source.graph.model.config.num_hidden_layers + 1
    assert CONVERTER.accelerator_fallbacks(artifact.path) == {"layer norms beside enumerated lengths": layer_norms}


def test_int8_is_the_weights_rounded_by_row(
    source: Source, reduced: Callable[[str], tuple[Artifact, MilSession]]
) -> None:
    """The same weights rounded by hand in torch: what is left is float16."""
    _, session = reduced("int8")
    rows = batch(12, 7, rows=2)
    rounded = rounded_by_row(source.graph)
    assert difference(session, source, rows, rounded) < 6e-3
    assert session.program.counts["constexpr_blockwise_shift_scale"] == 14  # two layers of six, tokens, positions


def test_constants_that_ops_share(tmp_path: Path) -> None:
    """A layer's zero bias is one constant with a normalization's: only weights are reduced."""
    source = replace(source_of(num_hidden_layers=1, **WIDE), lengths=(12,))
    with torch.no_grad():
        for module in source.graph.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.bias.zero_()
    exported = export(source, tmp_path)
    artifact = CONVERTER.reduce(source, exported, "int8", QuantizationVariant("w8"), tmp_path)
    session = MilSession(artifact.path)
    assert session.program.counts["constexpr_affine_dequantize"] == 7  # six layers, tokens; positions are folded
    assert difference(session, source, batch(12, 7), rounded_by_row(source.graph)) < 0.02


def rounded_by_row(graph: nn.Module) -> nn.Module:
    copied = copy.deepcopy(graph)
    for module in copied.modules():
        if isinstance(module, nn.Linear | nn.Embedding) and module.weight.numel() > 2048:
            weight = module.weight.data
            step = weight.abs().amax(1, keepdim=True) / 127
            module.weight.data = torch.where(step > 0, torch.round(weight / step) * step, weight)
    return copied


@pytest.mark.parametrize(("precision", "bits"), [("int6", 6), ("int4", 4)])
def test_palettes(
    source: Source, reduced: Callable[[str], tuple[Artifact, MilSession]], precision: str, bits: int
) -> None:
    artifact, session = reduced(precision)
    rows = batch(12, 7, rows=2)
    group, copied = artifact.options["group"], copy.deepcopy(source.graph)
    reduced_modules = 0
    for module in copied.modules():
        if not isinstance(module, nn.Linear | nn.Embedding) or module.weight.numel() <= 2048:
            continue
        rows_of = module.weight.data
        if module is copied.model.get_input_embeddings():  # the one that is filled up to whole groups
            rows_of = torch.cat([rows_of, torch.zeros(-len(rows_of) % group, rows_of.shape[1])])
        if len(rows_of) % group == 0:
            parts = [palette(part.half().numpy(), bits) for part in rows_of.split(group)]
            whole = torch.cat([torch.from_numpy(table[at]).float().reshape(group, -1) for table, at in parts])
            module.weight.data = whole[: len(module.weight)]
            reduced_modules += 1
    assert session.program.counts["constexpr_lut_to_dense"] == reduced_modules == (14 if bits == 4 else 13)
    by_hand, from_float = difference(session, source, rows, copied), difference(session, source, rows)
    assert by_hand < 0.01 < from_float
    assert source.graph.model.get_input_embeddings().weight.shape[0] == 100


def test_palette_by_hand() -> None:
    table, places = palette(np.array([0.0, 0.1, 1.0, 1.1, 0.1, 0.0], np.float32), 1)
    np.testing.assert_allclose(table, [0.05, 1.05], rtol=1e-6)
    assert places.tolist() == [0, 0, 1, 1, 0, 0]
    exact = np.linspace(-1, 1, 16, dtype=np.float32)
    result, where = palette(np.repeat(exact, 50), 4)
    np.testing.assert_allclose(result[where], np.repeat(exact, 50), atol=1e-6)


def test_padded_vocabulary_is_put_back(source: Source) -> None:
    table = source.graph.model.get_input_embeddings()
    before = table.weight
    with padded_vocabulary(source, 32):
        assert table.weight.shape[0] == 128 and not table.weight[100:].any()
    assert table.weight is before


def test_static_rounds_what_goes_into_the_layers(
    source: Source, reduced: Callable[[str], tuple[Artifact, MilSession]]
) -> None:
    artifact, session = reduced("int8-static")
    counts = session.program.counts
    assert counts["quantize"] == counts["dequantize"] == 8  # one tensor feeds query, key and value
    steps = calibrate(source, clip=False)
    assert len(steps) == 12
    rounded = replace(source, graph=rounded_by_row(source.graph))
    with quantized_inputs(rounded, steps):
        assert difference(session, source, batch(12, 7, rows=2), rounded.graph) < 0.03
    assert artifact.options["minimum_ios"] == 18 and artifact.options["range"] == "greatest"


def test_calibration_measures_the_greatest_value(source: Source) -> None:
    seen: list[float] = []
    layer = source.graph.model.bert.encoder.layer[0].output.dense
    hook = layer.register_forward_pre_hook(lambda _module, args: seen.append(float(args[0].abs().max())))
    steps = calibrate(source, clip=False)
    hook.remove()
    name = next(key for key in steps if key.endswith("encoder.layer.0.output.dense"))
    assert steps[name] == pytest.approx(max(seen) / 127)


def test_best_range_cuts_what_is_rare() -> None:
    counts = torch.zeros(1024)
    counts[:100], counts[-1] = 10_000.0, 1.0  # nearly all below a tenth of the greatest value
    assert best_range(counts, 10.0) < 5.0
    even = torch.ones(1024)
    assert best_range(even, 10.0) > 9.7


@pytest.mark.parametrize("rows", [(), (batch(4, 0),)])
def test_static_needs_rows(rows: tuple, source: Source, exported: Artifact, tmp_path: Path) -> None:
    bare = replace(source, calibration=rows)
    with pytest.raises(RequestError, match="calibration row"):
        CONVERTER.reduce(bare, exported, "int8-static", QuantizationVariant("t", {"range": "greatest"}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_fixed_and_ranged(tmp_path: Path) -> None:
    source = source_of("distilbert", n_layers=1)
    (tmp_path / "fixed").mkdir()
    (tmp_path / "ranged").mkdir()
    fixed = export(replace(source, shape="fixed"), tmp_path / "fixed")
    assert fixed.options == {"shape": "fixed", "lengths": [24], "minimum_ios": 15}
    session = MilSession(fixed.path)
    assert session.signature()[0][0]["shape"] == [1, 24]
    assert not [name for name in CONVERTER.accelerator_fallbacks(fixed.path) if "length" in name]
    assert difference(session, source, batch(9, 5)) < 1e-5
    ranged = export(replace(source, shape="ranged"), tmp_path / "ranged")
    session = MilSession(ranged.path)
    assert session.padded(5) == 5 and session.limit == 80
    assert max(difference(session, source, batch(n, n)) for n in (1, 5, 80)) < 1e-5
    result = CONVERTER.accelerator_fallbacks(ranged.path)
    assert result["inputs of ranged length"] == 2 and result["float32 ops"] > 20


@pytest.fixture(scope="module")
def functions(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(replace(source, shape="functions"), tmp_path_factory.mktemp("functions"))


def test_a_function_for_each_length(source: Source, functions: Artifact) -> None:
    session = MilSession(functions.path, 1)
    for rows in (batch(12, 7, rows=2), batch(9, 4), batch(24, 24), batch(13, 13), batch(1, 1)):
        assert difference(session, source, rows) < 1e-5
    assert functions.options == {"shape": "functions", "lengths": [12, 24], "minimum_ios": 18}
    assert session.functions == {12: "main_len_12", 24: "main_len_24"} and session.lengths == (12, 24)
    assert {name: program.inputs["input_ids"].shape for name, program in session.programs.items()} == {
        "main_len_12": (1, 12), "main_len_24": (1, 24),
    }  # fmt: skip
    with pytest.raises(EdgebertError, match="a row of 25 tokens; the file takes 24"):
        session.run(batch(25, 25))


def test_functions_say_what_the_file_is(functions: Artifact) -> None:
    """coremltools writes a file of functions without any metadata of those that it is made of."""
    session, package = MilSession(functions.path), open_package(functions.path)
    assert session.labels == LABELS and session.metadata == {"pad_id": 0, "max_length": 24, "precision": "fp32"}
    assert [port["shape"] for side in session.signature() for port in side] == [[1, "seq"]] * 3 + [[1, "seq", 5]]
    description = package.spec.description
    assert (description.metadata.author, description.metadata.shortDescription) == ("edgebert", "Tags")
    assert description.defaultFunctionName == "main_len_24" and package.spec.specificationVersion == 9
    shown = {item.name: item.input[0].shortDescription for item in description.functions}
    assert "12 tokens" in shown["main_len_12"] and "24 tokens" in shown["main_len_24"]


def test_functions_share_their_weights(source: Source, functions: Artifact, exported: Artifact, tmp_path: Path) -> None:
    size = lambda path: next(path.rglob("weight.bin")).stat().st_size  # noqa: E731
    weights = sum(p.numel() for p in source.graph.parameters()) * 4
    assert size(functions.path) < size(exported.path) and abs(size(functions.path) / weights - 1) < 0.1
    assert export(replace(source, shape="functions"), tmp_path).sha256 == functions.sha256


@pytest.mark.parametrize(
    "precision", ["int8", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fp16", "int4", "int8-static"))]
)
def test_reduced_functions(source: Source, functions: Artifact, tmp_path: Path, precision: str) -> None:
    variant = CONVERTER.precisions[precision].variants[0]
    artifact = CONVERTER.reduce(source, functions, precision, variant, tmp_path)
    assert artifact.options["shape"] == "functions" and artifact.size_bytes < 0.65 * functions.size_bytes
    session, limit = (
        MilSession(artifact.path),
        {"fp16": 5e-3, "int8": 0.02, "int4": 0.2, "int8-static": 0.03}[precision],
    )
    for rows in (batch(12, 7, rows=2), batch(24, 20)):
        assert 1e-5 < difference(session, source, rows) < limit
    found = CONVERTER.accelerator_fallbacks(artifact.path)
    assert "layer norms beside enumerated lengths" not in found and found.get("lookups with 32-bit indices", 0) < 3


def test_the_gate_looks_into_every_function(source: Source, functions: Artifact, tmp_path: Path) -> None:
    """Two layers' weights swapped in the function that is not the default one."""
    names = [f"model_bert_encoder_layer_{i}_attention_self_query_weight" for i in (0, 1)]
    path = tmp_path / "altered.mlpackage"
    shutil.copytree(functions.path, path)
    package = open_package(path)
    consts = {item.outputs[0].name: item for item in package.block("main_len_12").operations}
    first, second = (consts[name].attributes["val"].blobFileValue for name in names)
    first.offset, second.offset = second.offset, first.offset
    package.model.write_bytes(package.spec.SerializeToString())
    assert CONVERTER.contents is not None
    honest, origin = CONVERTER.contents(functions.path), CONVERTER.contents(functions.path)
    fp16 = CONVERTER.precisions["fp16"]
    assert contents_failures(honest, fp16, origin=origin, tables={}) == []
    wrong = contents_failures(CONVERTER.contents(path), fp16, origin=origin, tables={})
    assert len(wrong) == 2 and all("main_len_12: model_bert_encoder_layer" in line for line in wrong)


def test_functions_that_cannot_be(functions: Artifact, source: Source, tmp_path: Path) -> None:
    def changed(change: Callable[[Any], None]) -> Path:
        path = tmp_path / "changed.mlpackage"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(functions.path, path)
        package = open_package(path)
        change(package.spec)
        package.model.write_bytes(package.spec.SerializeToString())
        return path

    def same_length(spec: Any) -> None:
        for port in spec.description.functions[0].input:
            port.type.multiArrayType.shape[1] = 24

    for change, what in (
        (lambda spec: spec.mlProgram.functions.pop("main_len_12"), "describes functions main_len_24, main_len_12, and has main_len_24"),
        (same_length, "each of its functions takes one length of its own"),
        (lambda spec: spec.description.functions[0].output.pop(), "its functions differ in inputs or outputs"),
        (lambda spec: setattr(spec.description, "defaultFunctionName", "other"), "the package is damaged"),
    ):  # fmt: skip
        with pytest.raises(EdgebertError, match=what):
            MilSession(changed(change))
    fnet = source_of("fnet")
    with pytest.raises(EdgebertError, match="fnet reads padding"):
        export(replace(fnet, shape="functions"), tmp_path)


def test_a_shape_is_refused_before_anything_is_made() -> None:
    for formats in (["coreml"], ["tflite", "coreai"]):
        check_shape("functions", formats, {"bert"})
    check_shape("ranged", ["coreml"], {"fnet"})
    with pytest.raises(RequestError, match="none of the formats that were asked for can take functions lengths"):
        check_shape("functions", ["tflite", "onnx"])
    with pytest.raises(RequestError, match="fnet reads padding, so rows cannot be padded to a length"):
        check_shape("functions", ["coreml"], {"fnet"})


def test_one_length_needs_no_functions(tmp_path: Path) -> None:
    source = source_of("distilbert", n_layers=1)
    single = export(replace(source, shape="functions", lengths=(12,)), tmp_path)
    assert single.options == {"shape": "fixed", "lengths": [12], "minimum_ios": 15}
    assert MilSession(single.path).functions == {}


def test_family_that_reads_padding_is_ranged(tmp_path: Path) -> None:
    """FNet mixes all tokens, padding too, and its Fourier transform becomes matrices."""
    source = source_of("fnet")
    artifact = export(source, tmp_path)
    assert artifact.options["shape"] == "ranged"
    assert difference(MilSession(artifact.path), source, batch(9, 9)) < 1e-5
    with pytest.raises(EdgebertError, match="fnet reads padding"):
        export(replace(source, shape="enumerated"), tmp_path)


def test_fourier_by_matrices() -> None:
    states = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(transform(states).real, torch.fft.fftn(states, dim=(1, 2)).real, atol=2e-5, rtol=0)


def test_lengths_beyond_the_model(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="lengths 12, 99; the model takes rows of 1 to 80"):
        export(replace(source_of(), lengths=(12, 99)), tmp_path)
    with pytest.raises(RequestError, match="unknown shape 'square'"):
        export(replace(source_of(), shape="square"), tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


class Odd(nn.Module):
    """A graph with a fault of its own after the embedding."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.table, self.fault = nn.Embedding(100, 4), fault

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states = self.table(ids)
        if self.fault == "op":
            return (torch.lgamma(states),)
        return (states * torch.from_numpy(np.ones((int(ids.shape[1]), 1), np.float32)),)  # the trace keeps this length


def test_op_that_coremltools_lacks_is_named(tmp_path: Path) -> None:
    odd = Source(Odd("op").eval(), "odd", IDS, LOGITS, 100, 24, lengths=(12,))
    with pytest.raises(EdgebertError, match=r"odd cannot be written as Core ML with a fixed length: .*lgamma"):
        export(odd, tmp_path)
    assert not list(tmp_path.iterdir())


def test_trace_that_keeps_its_length_is_caught(tmp_path: Path) -> None:
    odd = Source(Odd("length").eval(), "odd", IDS, LOGITS, 100, 24, lengths=(12, 24))
    with pytest.raises(EdgebertError, match="odd cannot be written as Core ML with enumerated length: at 12, op mul"):
        export(odd, tmp_path)
    assert not list(tmp_path.iterdir())


def test_unknown_ops_and_arguments_are_all_named(exported: Artifact, tmp_path: Path) -> None:
    def change(operation: Any) -> None:
        operation.type = {"softmax": "softplex", "gelu": "gelux"}.get(operation.type, operation.type)
        if operation.type == "layer_norm":
            operation.inputs["strength"].CopyFrom(operation.inputs["epsilon"])

    with pytest.raises(EdgebertError, match=r"gelux; layer_norm\(strength\); softplex"):
        load(altered(exported.path, tmp_path, change))


def test_program_that_lies_about_a_shape(exported: Artifact, tmp_path: Path) -> None:
    def change(operation: Any) -> None:
        if operation.type == "softmax":
            operation.outputs[0].type.tensorType.dimensions[1].constant.size = 3

    session = MilSession(altered(exported.path, tmp_path, change))
    with pytest.raises(EdgebertError, match=r"op softmax .*gives shape .* is declared"):
        session.run(batch(4, 4))


def altered(path: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """A copy of a package whose ops were changed."""
    import shutil

    copied = folder / "altered.mlpackage"
    shutil.copytree(path, copied)
    package = open_package(copied)
    function = package.spec.mlProgram.functions["main"]
    for operation in function.block_specializations[function.opset].operations:
        change(operation)
    package.model.write_bytes(package.spec.SerializeToString())
    return copied


def test_weights_cut_short(exported: Artifact, tmp_path: Path) -> None:
    path = altered(exported.path, tmp_path, lambda _operation: None)
    weights = next(path.rglob("weight.bin"))
    weights.write_bytes(weights.read_bytes()[:-4096])
    with pytest.raises(EdgebertError, match=r"cut short|no entry"):
        load(path)


def test_swapped_weights_are_another_model(source: Source, exported: Artifact, tmp_path: Path) -> None:
    """The interpreter reads what the file holds: a file with two layers' weights swapped does not pass for the model."""
    names = [f"model_bert_encoder_layer_{i}_attention_self_query_weight" for i in (0, 1)]
    package = open_package(exported.path)
    function = package.spec.mlProgram.functions["main"]
    consts = {item.outputs[0].name: item for item in function.block_specializations[function.opset].operations}
    offsets = [consts[name].attributes["val"].blobFileValue.offset for name in names]

    def change(operation: Any) -> None:
        if operation.type == "const" and operation.outputs[0].name in names:
            other = offsets[1 - names.index(operation.outputs[0].name)]
            operation.attributes["val"].blobFileValue.offset = other

    session = MilSession(altered(exported.path, tmp_path, change))
    assert difference(session, source, batch(12, 7, rows=2)) > 1e-2


def test_runs_here_are_not_timed() -> None:
    import sys

    assert (CONVERTER.untimed() == "") == (sys.platform == "darwin")
    assert ops.register() is None  # the second time does nothing
