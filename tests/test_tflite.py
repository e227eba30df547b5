"""TFLite: what the file computes, held against torch; what it carries; what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_tokenizer
from tests.families import FAMILIES, tiny

pytest.importorskip("litert_torch", reason="pip install edgebert[tflite]")

from edgebert.converters import tflite
from edgebert.converters._tflite_delegates import findings
from edgebert.errors import EdgebertError
from edgebert.modeling.graph import TorchSession, make_source

LABELS = ("O", "B-Ort", "I-Ort", "B-Maß", "I-Maß")
DEPEND_ON_PADDING = ("convbert", "funnel", "fnet")
NOT_LOWERED = ("xlnet",)


def batch(lengths: list[int], width: int | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of random ids of the given lengths, padded with 0 to `width` or the longest."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), width or max(lengths))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for i, n in enumerate(lengths):
        ids[i, :n], mask[i, :n] = rng.integers(3, 100, n), 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (ids % 2) * mask}


ROWS = (batch([8]), batch([8, 3]), batch([5]), batch([16]), batch([16, 4, 1]), batch([1]))


def worst(model, path: Path, rows=ROWS) -> float:
    """Largest difference of an output at a real token, over all rows."""
    reference, session = TorchSession(model), tflite.open_session(path, 1)
    result = 0.0
    for row in rows:
        expected, got = reference.run(row), session.run(row)
        assert list(got) == list(expected)
        for name, value in expected.items():
            assert got[name].shape == value.shape and got[name].dtype == np.float32
            per_token = value.ndim == 3 or name in ("start_logits", "end_logits")
            visible = row["attention_mask"].astype(bool) if per_token else slice(None)
            result = max(result, float(np.abs(got[name] - value)[visible].max()))
    return result


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny BERT, its source with 20 calibration rows, and its float file of lengths 8 and 16."""
    folder = tmp_path_factory.mktemp("tflite")
    make_tokenizer().save(str(folder / "tokenizer.json"))
    rows = [batch([n], seed=n) for n in range(2, 16)]
    model = tiny("bert")
    source = make_source(
        model, lengths=(8, 16, 999), labels=LABELS, calibration=rows, tokenizer=folder / "tokenizer.json", title="toy"
    )
    return model, source, tflite.export(source, folder)


@pytest.fixture(scope="module")
def reduced(bert, tmp_path_factory):
    """Every reduced precision with its every variant."""
    _, source, artifact = bert
    created = {}
    for precision, declared in tflite.CONVERTER.precisions.items():
        for variant in declared.variants:
            folder = tmp_path_factory.mktemp("reduced")
            created[precision, variant.name] = tflite.reduce(source, artifact, precision, variant, folder)
    return created


# ---------------------------------------------------------------- what it computes


def test_float32_equals_torch_at_every_length_and_padding(bert):
    model, _, artifact = bert
    assert worst(model, artifact.path) < 1e-5


def test_reduced_precisions_stay_near_torch(bert, reduced):
    """An eighth bit of a weight is worth 1/127 of the largest; logits here reach 0.8."""
    model, _, artifact = bert
    limits = {"fp16": 1e-3, "int4-embedding": 0.2}
    for (precision, variant), file in reduced.items():
        difference = worst(model, file.path)
        assert 1e-6 < difference < limits.get(precision, 0.05), (precision, variant, difference)
        assert file.size_bytes < artifact.size_bytes
        assert (file.format, file.precision) == ("tflite", precision)


def test_static_files_have_fixed_ranges_and_dynamic_ones_none(reduced):
    def quantized(file) -> int:
        model = tflite.file.read_model(file.path)
        return sum(tflite.file.operators(model, graph)["QUANTIZE"] for graph in model.subgraphs)

    assert quantized(reduced["int8-static", "but-down"]) > 0
    assert quantized(reduced["int8-static", "all"]) > quantized(reduced["int8-static", "but-down"])
    assert quantized(reduced["int8", "default"]) == 0


def test_without_xnnpack_a_product_takes_its_inputs_range_as_xnnpack_does(reduced):
    """The quantizer leaves the flag off; then the built-in kernels take twice the larger side of a range."""
    for file in reduced.values():
        operators = [operator for graph in tflite.file.read_model(file.path).subgraphs for operator in graph.operators]
        flags = [getattr(operator.builtinOptions, "asymmetricQuantizeInputs", None) for operator in operators]
        assert True in flags and False not in flags
    for variant in (("int8", "default"), ("int4-embedding", "default")):  # one scale a weight: 2e-3
        path = reduced[variant].path
        with_it, without = tflite.open_session(path, 1), tflite.open_without_xnnpack(path, 1)
        for row in ROWS:
            expected = with_it.run(row)
            for name, value in without.run(row).items():
                assert np.abs(value - expected[name]).max() < 1e-4, (variant, name)


@pytest.mark.parametrize("head", ["sequence-classification", "question-answering", "sentence-embedding"])
def test_heads(head, tmp_path):
    """Eight labels at length 8: an output of that width is not one of that many tokens."""
    model = tiny("bert", head, n_labels=8)
    artifact = tflite.export(make_source(model, lengths=(8,)), tmp_path)
    assert worst(model, artifact.path, ROWS[:3]) < 1e-5


def test_signatures_share_weights_and_the_position_table(bert):
    _, _, artifact = bert
    model = tflite.file.read_model(artifact.path)
    large = {i for i, buffer in enumerate(model.buffers) if buffer.data is not None and len(buffer.data) > 1000}
    used = [{tensor.buffer for tensor in graph.tensors} & large for graph in model.subgraphs]
    assert used[0] == used[1] == large and len(large) > 5
    tables = [t for t in model.subgraphs[0].tensors if t.name == b"bert/embeddings/position_embeddings"]
    assert [list(table.shape) for table in tables] == [[16, 32]]


# ---------------------------------------------------------------- what it carries


def test_labels_and_vocabulary_are_packed_and_survive_quantization(bert, reduced):
    _, source, artifact = bert
    vocabulary = make_tokenizer().get_vocab()
    for file in (artifact, *reduced.values()):
        with zipfile.ZipFile(file.path) as archive:
            assert archive.testzip() is None
            lines = archive.read("vocab.txt").decode().split("\n")[:-1]
            assert {token: i for i, token in enumerate(lines)} == vocabulary
            assert archive.read("tokenizer.json") == source.tokenizer.read_bytes()
            info = json.loads(archive.read("edgebert.json"))
        assert info["precision"] == file.precision
        assert (info["family"], info["lengths"], info["pad_id"], info["title"]) == ("bert", [8, 16], 0, "toy")
        assert tflite.open_session(file.path, 1).labels == LABELS


def test_signature_is_read_from_the_file(bert):
    inputs, outputs = tflite.open_session(bert[2].path, 1).signature()
    assert inputs == [
        {"name": name, "type": "int32", "shape": [1, "8|16"]}
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    assert outputs == [{"name": "logits", "type": "float32", "shape": [1, "8|16", 5]}]


@pytest.mark.slow  # float32 and int8: tests/test_reproducible.py
def test_the_same_model_gives_the_same_bytes(bert, reduced, tmp_path):
    _, source, artifact = bert
    again = tflite.export(source, tmp_path)
    assert again.sha256 == artifact.sha256
    precision = tflite.CONVERTER.precisions["int8-static"]
    assert (
        tflite.reduce(source, again, "int8-static", precision.variants[0], tmp_path).sha256
        == reduced["int8-static", "but-down"].sha256
    )


def test_operators_outside_the_delegate_are_only_the_lookups(bert, reduced):
    for file in (bert[2], reduced["int8", "default"]):
        left = tflite.accelerator_fallbacks(file.path)
        assert left["EMBEDDING_LOOKUP"] == 3
        assert not {"FULLY_CONNECTED", "BATCH_MATMUL", "SOFTMAX", "GELU", "MEAN"} & left.keys()
        assert tflite.file.custom_operators(tflite.file.read_model(file.path)) == []


def test_what_keeps_a_file_off_an_npu_or_a_gpu(bert, reduced):
    """13 matrix products: six in each of two layers and the head. LiteRT's delegates for GPU and NPU are rules here."""
    expected = {
        "int8": 13, "int8-tensor": 13, "int4-embedding": 13, ("int8-static", "but-down"): 3, ("int8-static", "all"): 1,
        "int8-weights": 0, "fp16": 0,
    }  # fmt: skip
    for name, count in expected.items():
        path = (reduced[name] if isinstance(name, tuple) else reduced[name, "default"]).path
        assert findings(path) == ({"products scaled at run time": count} if count else {}), name
        assert findings(path).items() <= tflite.accelerator_fallbacks(path).items()
    assert findings(bert[2].path) == {}, (
        "no 64-bit ids, no dynamic length, and no operator that the GPU delegate refuses"
    )


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        pytest.param(
            "modernbert",
            {"CAST refused by the GPU delegate": 1, "GATHER_ND refused by the GPU delegate": 1},
            marks=pytest.mark.slow,
        ),
        ("roberta", {"CAST refused by the GPU delegate": 1}),
    ],
)
def test_operators_that_the_gpu_delegate_refuses(family, expected, tmp_path):
    source = make_source(tiny(family), lengths=(8,), labels=LABELS)
    assert findings(tflite.export(source, tmp_path).path) == expected


def test_ids_of_64_bits_and_dynamic_lengths_are_found(bert, tmp_path):
    """What a BERT with an output a token met on a GPU (tensorflow/tensorflow #59232), and any length at all on an NPU."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType

    model = tflite.file.read_model(bert[2].path)
    graph = model.subgraphs[0]
    names = tflite.file.operator_names(model, graph)
    graph.tensors[graph.operators[names.index("CAST")].outputs[0]].type = TensorType.INT64
    graph.tensors[graph.inputs[0]].shapeSignature = np.array([1, -1], np.int32)
    for code in model.operatorCodes:
        if code.builtinCode == BuiltinOperator.EMBEDDING_LOOKUP:
            code.builtinCode = code.deprecatedBuiltinCode = BuiltinOperator.GATHER
    tflite.file.write(tmp_path / "changed.tflite", model, {})
    assert findings(tmp_path / "changed.tflite") == {
        "CAST refused by the GPU delegate": 1,
        "GATHER refused by the GPU delegate": 3,  # its operands are the other way round: indices from a float table
        "input of dynamic shape": 1,
    }


def test_no_chatter(bert, tmp_path, capfd):
    _, source, artifact = bert
    tflite.reduce(source, artifact, "int8", tflite.CONVERTER.precisions["int8"].variants[0], tmp_path)
    tflite.open_session(artifact.path, 1)
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------- what is refused


def test_a_row_longer_than_the_file_names_its_lengths(bert):
    session = tflite.open_session(bert[2].path, 0)
    with pytest.raises(EdgebertError, match=r"17 tokens.* 8, 16"):
        session.run(batch([17]))


def test_an_id_beyond_the_vocabulary(bert):
    row = batch([4])
    row["input_ids"][0, 1] = 10**6
    with pytest.raises(EdgebertError, match="cannot run the row"):
        tflite.open_session(bert[2].path, 1).run(row)


def test_no_length_fits(bert, tmp_path):
    source = dataclasses.replace(bert[1], lengths=(512,))
    with pytest.raises(EdgebertError, match=r"at most 80 tokens.*512"):
        tflite.export(source, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [[], [{"input_ids": np.zeros((1, 0), np.int64)}]])
def test_static_without_calibration_rows(bert, rows, tmp_path):
    _, source, artifact = bert
    source = dataclasses.replace(source, calibration=rows)
    with pytest.raises(EdgebertError, match="needs rows"):
        tflite.reduce(source, artifact, "int8-static", tflite.PRECISIONS["int8-static"].variants[0], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_ours(bert, tmp_path):
    content = bert[2].path.read_bytes()
    for name, data, words in (
        ("plain.tflite", content[: content.index(b"PK\x03\x04")], "carries no edgebert.json"),
        ("cut.tflite", content[:5000], "carries no edgebert.json"),
        ("noise.tflite", b"noise" * 9999 + content[content.index(b"PK\x03\x04") :], "refuses the file"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(EdgebertError, match=words):
            tflite.open_session(tmp_path / name, 1)
    with pytest.raises(EdgebertError, match="cannot be read"):
        tflite.open_session(tmp_path / "absent.tflite", 1)


@pytest.mark.parametrize("family", DEPEND_ON_PADDING)
def test_families_whose_answers_depend_on_padding(family, tmp_path):
    with pytest.raises(EdgebertError, match=f"{family} model.*padding changes its answers"):
        tflite.export(make_source(tiny(family), lengths=(8, 16)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_cannot_be_lowered(bert, tmp_path, capfd):
    import torch

    class Spectral(torch.nn.Module):
        def forward(self, ids, mask, types):
            return (torch.fft.fft(ids[:, :, None] * torch.arange(4.0)).real,)

    with pytest.raises(EdgebertError, match=r"bert model cannot be written as TFLite: .*complex") as caught:
        tflite.export(dataclasses.replace(bert[1], graph=Spectral().eval()), tmp_path)
    assert "ONNX" in str(caught.value) and capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_label_that_lines_cannot_say(bert, tmp_path):
    with pytest.raises(EdgebertError, match="line break"):
        tflite.file.associated_files({}, ("a\nb",), None)


# ---------------------------------------------------------------- minutes


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in DEPEND_ON_PADDING])
def test_every_family_equals_torch_or_says_why_not(family, tmp_path):
    model = tiny(family)
    source = make_source(model, lengths=(8, 16))
    if family in NOT_LOWERED:
        with pytest.raises(EdgebertError, match="cannot be written as TFLite"):
            tflite.export(source, tmp_path)
        assert list(tmp_path.iterdir()) == []
        return
    assert worst(model, tflite.export(source, tmp_path).path) < 1e-4


OLD_RUN = """
import sys, numpy as np
from tflite_runtime.interpreter import Interpreter
runner = Interpreter(model_path=sys.argv[1], num_threads=1).get_signature_runner("seq16")
np.save(sys.argv[3], runner(**np.load(sys.argv[2]))["logits"])
"""


@pytest.mark.slow
def test_older_runtime_computes_what_the_table_says(bert, reduced, tmp_path):
    """Needs a Python with numpy<2 and tflite-runtime==2.14.0, named by EDGEBERT_TFLITE_RUNTIME."""
    python = os.environ.get("EDGEBERT_TFLITE_RUNTIME")
    if not python:
        pytest.skip("EDGEBERT_TFLITE_RUNTIME names no Python that has tflite-runtime 2.14")
    row = batch([16])
    np.savez(tmp_path / "row.npz", **{name: value.astype(np.int32) for name, value in row.items()})
    expected = TorchSession(bert[0]).run(row)["logits"]
    for (precision, _), file in {("fp32", ""): bert[2], **reduced}.items():
        command = [python, "-c", OLD_RUN, str(file.path), str(tmp_path / "row.npz"), str(tmp_path / "out.npy")]
        done = subprocess.run(command, capture_output=True, text=True)
        wrong = done.returncode != 0 or np.abs(np.load(tmp_path / "out.npy") - expected).max() > 0.05
        assert wrong == (precision in tflite.OLDER_RUNTIMES["tflite-runtime"]), (precision, done.stderr[-300:])
