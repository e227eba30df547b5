"""`edgebert convert`: what it writes, what it says, what it refuses before anything is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from tokenizers import Tokenizer

import edgebert
from edgebert.cli import main
from edgebert.converters import CONVERTERS
from edgebert.devices.accelerators import DYNAMIC_SHAPE
from edgebert.errors import EdgebertError, RequestError
from edgebert.files import deflated_bytes
from edgebert.measure.artifacts import find_subjects
from edgebert.measure.inputs import tokenizer_of
from edgebert.modeling.headed import HeadedEncoder
from edgebert.results import ConvertResult
from edgebert.types import Parity
from tests.conftest import make_tokenizer
from tests.families import tiny


def save(folder: Path, head: str, **changes: Any) -> Path:
    """A checkpoint with a head, as a user has it."""
    tokenizer = make_tokenizer()
    model = tiny("bert", head, n_labels=3, vocab_size=tokenizer.get_vocab_size(), **changes)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tagger"), "token-classification")


@pytest.fixture(scope="module")
def converted(tagger: Path, tmp_path_factory: pytest.TempPathFactory) -> ConvertResult:
    output = tmp_path_factory.mktemp("converted") / "files"
    return edgebert.convert(str(tagger), "onnx", precisions=("fp32", "int8", "fp16"), output=str(output))


def test_every_file_is_written_and_proven(converted: ConvertResult) -> None:
    assert converted.exit_code == 0
    assert (converted.head, converted.family) == ("token-classification", "bert")
    names = [(item.format, item.precision) for item in converted.conversions]
    assert names == [("onnx", "fp32"), ("onnx", "int8"), ("onnx", "fp16")]
    for conversion in converted.conversions:
        assert conversion.artifact is not None and conversion.comparison is not None
        assert conversion.artifact.path == converted.folder / "onnx" / conversion.precision / "model.onnx"
        assert conversion.artifact.path.stat().st_size == conversion.artifact.size_bytes
        assert conversion.artifact.zip_bytes == deflated_bytes(conversion.artifact.path)
        assert conversion.comparison.failures == ()
    fp32, int8, fp16 = (item.comparison for item in converted.conversions)
    assert fp32 and int8 and fp16
    assert fp32.max_logit_difference < 1e-5 < fp16.max_logit_difference < int8.max_logit_difference
    assert set(fp32.edges) >= {"one token", "full length", "all padding but one", "unknown words", "emoji"}
    assert sorted(path.name for path in converted.folder.iterdir()) == ["converted.json", "onnx", "tokenizer.json"]


def test_the_tokenizer_lies_where_profile_finds_it(converted: ConvertResult, tagger: Path) -> None:
    (subject,) = find_subjects([str(converted.folder / "onnx" / "int8" / "model.onnx")])
    given, there = Tokenizer.from_file(str(tagger / "tokenizer.json")), Tokenizer.from_str(tokenizer_of(subject))
    assert (
        there.encode("fly from new dham to aville, quartzed").ids
        == given.encode("fly from new dham to aville, quartzed").ids
    )


def test_a_tokenizer_of_another_model_is_not_written_over(tagger: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(RequestError, match="this is there already"):
        edgebert.convert(str(tagger), "onnx", precisions=("fp32",), output=str(tmp_path))
    assert (tmp_path / "tokenizer.json").read_text() == "{}" and not (tmp_path / "onnx").exists()


def test_the_file_computes_what_transformers_computes(converted: ConvertResult, tagger: Path) -> None:
    """By ONNX Runtime alone, against the checkpoint loaded by transformers alone."""
    import torch
    from transformers import AutoModelForTokenClassification

    session = ort.InferenceSession(str(converted.folder / "onnx" / "fp32" / "model.onnx"))
    ids = np.arange(5, 17)[None].astype(np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    (ours,) = session.run(None, feed)
    with torch.inference_mode():
        theirs = AutoModelForTokenClassification.from_pretrained(tagger)(torch.from_numpy(ids)).logits.numpy()
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize(
    ("head", "outputs"),
    [
        ("sequence-classification", {"logits": (1, 3)}),
        ("question-answering", {"start_logits": (1, 6), "end_logits": (1, 6)}),
    ],
)
def test_the_head_is_told_from_the_checkpoint(head: str, outputs: dict[str, Any], tmp_path: Path) -> None:
    result = edgebert.convert(str(save(tmp_path / "m", head)), "onnx", precisions=("fp32",), output=str(tmp_path / "o"))
    assert (result.head, result.exit_code) == (head, 0)
    assert result.conversions[0].artifact is not None
    session = CONVERTERS.get("onnx").open(result.conversions[0].artifact.path, 1)
    ids = np.arange(5, 11)[None].astype(np.int64)
    results = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0})
    assert {name: value.shape for name, value in results.items()} == outputs


def test_sentence_vectors_are_pooled_inside_and_of_length_one(tmp_path: Path) -> None:
    """Against the mean of the encoder's states, computed here."""
    import torch
    from transformers import AutoModel

    folder = save(tmp_path / "m", "sentence-embedding")
    result = edgebert.convert(
        str(folder), ("onnx",), precisions=("fp32",), output=str(tmp_path / "o"), head="sentence-embedding"
    )
    assert result.exit_code == 0 and result.conversions[0].artifact is not None
    ids = torch.arange(5, 13)[None]
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0, 0]])
    session = CONVERTERS.get("onnx").open(result.conversions[0].artifact.path, 1)
    batch = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "token_type_ids": torch.zeros_like(ids).numpy()}
    ours = session.run(batch)["sentence_embedding"][0]
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder)(ids, attention_mask=mask).last_hidden_state[0, :5].mean(0)
    assert np.abs(ours - (states / states.norm()).numpy()).max() < 1e-5
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-6)


def test_labelled_rows_add_the_metric(tagger: Path, tmp_path: Path) -> None:
    """Rows in the model's own labels: the file's F1 is the model's."""
    folder = tmp_path / "model"
    shutil.copytree(tagger, folder)
    config = json.loads((folder / "config.json").read_text())
    labels = ["O", "B-x", "I-x"]
    config |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    (folder / "config.json").write_text(json.dumps(config))
    lines = "".join(f"fly\tO\nto\tO\nboston{i}\tB-x\n\n" for i in range(60))
    (tmp_path / "rows.conll").write_text(lines)
    result = edgebert.convert(
        str(folder), "onnx", precisions=("fp32",), output=str(tmp_path / "o"), task="ner",
        data=(f"train={tmp_path / 'rows.conll'}",),
    )  # fmt: skip
    likeness = result.conversions[0].comparison
    assert likeness is not None
    assert likeness.score == likeness.reference_score  # type: ignore[attr-defined]
    assert result.rows_from.endswith("test")


def test_a_file_that_differs_is_put_aside(tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgebert.converters import onnx

    def zeroed(*arguments: Any) -> Any:
        source = arguments[0]
        source.graph.model.classifier.weight.data.zero_()
        return onnx.export(*arguments)

    lying = onnx.CONVERTER.__class__(**{**vars(onnx.CONVERTER), "export": zeroed})
    monkeypatch.setattr(CONVERTERS, "all", lambda: {"onnx": lying})
    result = edgebert.convert(str(tagger), "onnx", output=str(tmp_path / "o"))
    assert result.exit_code == 1
    assert [conversion.precision for conversion in result.conversions] == [
        "fp32"
    ]  # nothing is reduced from a wrong file
    assert "same for every row" in (tmp_path / "o" / "rejected" / "onnx" / "fp32" / "reason.txt").read_text()
    assert not (tmp_path / "o" / "onnx").exists()


def test_the_command_prints_a_table_and_json(tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "convert",
        str(tagger),
        "--format",
        "onnx",
        "--precision",
        "fp32",
        "-o",
        str(tmp_path / "a"),
        "--quiet",
    ]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "onnx fp32: 3 x input of dynamic shape\n" in shown
    assert f"accelerators: input of dynamic shape: {DYNAMIC_SHAPE.why} ({DYNAMIC_SHAPE.cited})\n" in shown
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json", "--force"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["conversions"][0]["comparison"]["failures"] == []


# ---------------------------------------------------------------- bad input: exit code 2, one message, nothing written


def no_checkpoint(folder: Path, tagger: Path) -> dict[str, Any]:
    (folder / "empty").mkdir()
    return {"model": str(folder / "empty")}


def no_head(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(save(folder / "bare", "sentence-embedding"))}


def another_head(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(tagger), "head": "question-answering"}


def too_long(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(tagger), "lengths": (32, 4096)}


def unknown_format(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(tagger), "formats": ("onxx",)}


def unknown_precision(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(tagger), "precisions": ("int9",)}


def no_calibration(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(tagger), "precisions": ("int8-static",)}


def empty_calibration(folder: Path, tagger: Path) -> dict[str, Any]:
    (folder / "texts.txt").write_text("\n  \n\n")
    return {"model": str(tagger), "precisions": ("int8-static",), "texts": str(folder / "texts.txt")}


def missing_texts(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(tagger), "texts": str(folder / "nowhere.txt")}


def existing(folder: Path, tagger: Path) -> dict[str, Any]:
    (folder / "out" / "onnx" / "fp32").mkdir(parents=True)
    (folder / "out" / "onnx" / "fp32" / "model.onnx").write_text("mine")
    return {"model": str(tagger)}


def output_is_a_file(folder: Path, tagger: Path) -> dict[str, Any]:
    (folder / "out").write_text("mine")
    return {"model": str(tagger)}


def other_labels(folder: Path, tagger: Path) -> dict[str, Any]:
    (folder / "rows.conll").write_text("".join(f"fly\tO\nboston{i}\tB-city\n\n" for i in range(60)))
    return {"model": str(tagger), "task": "ner", "data": (f"train={folder / 'rows.conll'}",)}


def data_without_task(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(tagger), "data": ("atis",)}


def no_such_runtime(folder: Path, tagger: Path) -> dict[str, Any]:
    return {"model": str(tagger), "runtime": "tflite-runtime"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_checkpoint, "no config.json"),
        (no_head, "the checkpoint has no task head: its config names BertModel"),
        (another_head, "no weights for a question-answering head"),
        (too_long, "4096 tokens were asked for, and the model reads 1 to 80"),
        (unknown_format, "Did you mean onnx"),
        (unknown_precision, "unknown precision 'int9'"),
        (no_calibration, "calibrated on real rows, and there are none"),
        (empty_calibration, "every line is empty"),
        (missing_texts, "no such file"),
        (existing, "--force"),
        (output_is_a_file, "this is a file, and a folder is needed"),
        (other_labels, "labels of the data are not the model's, the first is B-city"),
        (data_without_task, "--data needs --task"),
        (no_such_runtime, "has no older runtime"),
    ],
)
def test_bad_input(make: Callable[[Path, Path], dict[str, Any]], message: str, tagger: Path, tmp_path: Path) -> None:
    request = {"formats": ("onnx",), "output": str(tmp_path / "out"), **make(tmp_path, tagger)}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(EdgebertError) as raised:
        edgebert.convert(request.pop("model"), request.pop("formats"), **request)
    assert message in str(raised.value)
    assert raised.value.exit_code == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_format_whose_extra_is_missing(tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgebert.converters.is_installed", lambda name: name != "litert_torch")
    with pytest.raises(EdgebertError, match=r'needs litert_torch.*\n.*pip install "edgebert\[tflite\]"'):
        edgebert.convert(str(tagger), "tflite", output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_too_little_disk(tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(EdgebertError, match="MB are free"):
        edgebert.convert(str(tagger), "onnx", output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_family_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, with what works instead; nothing is left behind."""
    from edgebert.converters import _onnx_export

    def fails(*_: Any) -> None:
        raise RuntimeError("aten::fft_rfft2 is not supported")

    monkeypatch.setattr(_onnx_export, "_EXPORTERS", {"torchscript": fails, "dynamo": fails})
    with pytest.raises(EdgebertError, match=r"bert cannot be written as ONNX.*fft_rfft2") as raised:
        edgebert.convert(str(save(tmp_path / "m", "token-classification")), "onnx", output=str(tmp_path / "o"))
    assert "roberta" in str(raised.value)
    assert not [path for path in (tmp_path / "o").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("task", "metric"),
    [("similarity", "Spearman correlation"), ("embed", "recall@10 of the teacher's neighbours")],
)
def test_a_sentence_encoder_is_scored_by_its_task(task: str, metric: str, toy_checkpoint: Path, tmp_path: Path) -> None:
    rows = [{"text": f"fly to {a}", "second": f"is {b} far", "score": i % 6} for i, (a, b) in enumerate(
        (a, b) for a in ("dham", "bton", "aville", "cburg") for b in ("fport", "efield", "dham", "bton")
    )]  # fmt: skip
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = edgebert.convert(
        str(toy_checkpoint), "onnx", precisions=("fp32",), output=str(tmp_path / "o"), head="sentence-embedding",
        task=task, data=(str(tmp_path),), lengths=(16, 32),
    )  # fmt: skip
    (item,) = result.conversions
    assert isinstance(item.comparison, Parity) and item.comparison.failures == ()
    assert (item.comparison.score.metric, item.comparison.score.n) == (metric, 16)
    assert item.comparison.score.value == pytest.approx(item.comparison.reference_score.value, abs=1e-3)


def test_one_head_of_ours_is_scored_by_its_task(tmp_path: Path) -> None:
    """As students of checkpoints of sentence-transformers have it, and those of power-bert and fastbert."""
    tokenizer = make_tokenizer()
    encoder = tiny("bert", "sentence-embedding", vocab_size=tokenizer.get_vocab_size())
    config = encoder.config
    config.id2label, config.label2id = {0: "go", 1: "ask"}, {"go": 0, "ask": 1}
    config.edgebert_heads = [{"name": "", "kind": "sequence-classification", "n_labels": 2, "reads": "mean"}]
    HeadedEncoder(encoder, config).eval().save_pretrained(tmp_path / "model")
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    rows = [{"text": f"{'fly to' if i % 2 else 'is'} dham {i}", "label": "go" if i % 2 else "ask"} for i in range(16)]
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = tuple(f"{split}={tmp_path / split}.jsonl" for split in ("train", "dev", "test"))

    def convert(task: str) -> ConvertResult:
        return edgebert.convert(
            str(tmp_path / "model"), "onnx", precisions=("fp32",), output=str(tmp_path / task), task=task, data=data
        )

    (item,) = convert("classify").conversions
    assert isinstance(item.comparison, Parity) and item.comparison.failures == ()
    assert (item.comparison.score.metric, item.comparison.score.n) == ("accuracy", 16)
    assert item.comparison.score.value == item.comparison.reference_score.value
    with pytest.raises(
        RequestError, match="task similarity does not fit a model that has a sequence-classification head"
    ):
        convert("similarity")
