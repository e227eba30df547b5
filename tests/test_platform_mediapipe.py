"""The file for MediaPipe's text tasks: one length and probabilities, run by LiteRT here, and by MediaPipe itself in a slow test."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgebert.bundle.platforms.mediapipe import check_name
from edgebert.bundle.write import write_bundle
from edgebert.errors import RequestError
from edgebert.modeling.graph import make_source
from edgebert.tasks import find_task
from edgebert.types import Row
from edgebert.workflows.bundle import bundle as write_package
from tests.families import tiny
from tests.packages import CORPUS, TOKENIZERS, make_bundle

LENGTHS = (12, 24)
LABELS = ("price", "book <flight>", 'it\'s "quoted"', "back\\slash 🙂")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A tiny BERT in TFLite, with two lengths, that classifies; made once, bundled as asked."""
    pytest.importorskip("litert_torch", reason="pip install edgebert[tflite]")
    from edgebert.converters.tflite import export

    folder = tmp_path_factory.mktemp("tflite")
    tokenizer = TOKENIZERS["uncased"]()  # training is not the same twice
    size = tokenizer.get_vocab_size()
    model = tiny("bert", "sequence-classification", vocab_size=size, n_labels=len(LABELS))
    artifact = export(make_source(model, lengths=LENGTHS, labels=LABELS, calibration=[]), folder)

    def make(**options: object) -> Path:
        place = tmp_path_factory.mktemp("run")
        (place / "student").mkdir()
        tokenizer.save(str(place / "student" / "tokenizer.json"))
        config = {"model_type": "bert", "pad_token_id": 0}
        (place / "student" / "config.json").write_text(json.dumps(config))
        return write_bundle(
            place / "bundle",
            artifact=artifact,
            student=place / "student",
            task=find_task("classify").configured(options),
            labels=LABELS,
            golden=[Row(text=text) for text in CORPUS],
            max_length=LENGTHS[-1],
            facts={},
        )

    return make


def package(bundle: Path, folder: Path) -> Path:
    return write_package(bundle, "mediapipe", output=folder / "made", name="intents").folder


@pytest.mark.parametrize("several", [False, True])
def test_it_gives_probabilities_of_the_same_logits(several: bool, bundle: Callable[..., Path], tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    made = bundle(multi_label=several)
    path = package(made, tmp_path) / "intents.tflite"
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    ports = {port["name"]: port["index"] for port in interpreter.get_input_details()}
    (output,) = interpreter.get_output_details()
    checked = 0
    for text in (made / "golden.jsonl").read_text(encoding="utf-8").splitlines():
        (window,) = json.loads(text)["windows"]
        ids, rest = window["input_ids"], [0] * (LENGTHS[-1] - len(window["input_ids"]))
        for name, values in {
            "input_ids": ids,
            "attention_mask": [1] * len(ids),
            "token_type_ids": [0] * len(ids),
        }.items():
            interpreter.set_tensor(ports[name], np.array([values + rest], np.int32))
        interpreter.invoke()
        logits = np.array(window["outputs"]["logits"])
        wanted = 1 / (1 + np.exp(-logits)) if several else np.exp(logits) / np.exp(logits).sum()
        assert np.allclose(interpreter.get_tensor(output["index"])[0], wanted, atol=1e-4)
        checked += 1
    assert checked > 40


def test_what_it_names_lies_behind_it(bundle: Callable[..., Path], tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    made = bundle()
    folder = package(made, tmp_path)
    data = (folder / "intents.tflite").read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        words, labels = (archive.read(name).decode().splitlines() for name in ("vocab.txt", "labels.txt"))
    vocabulary = json.loads((made / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert [vocabulary[word] for word in words] == list(range(len(vocabulary)))
    assert tuple(labels) == LABELS
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    assert len(model.subgraphs) == 1 and not model.signatureDefs
    (entry,) = [item for item in model.metadata if item.name == b"TFLITE_METADATA"]
    metadata = bytes(model.buffers[entry.buffer].data)
    assert metadata[4:8] == b"M001"
    assert all(name in metadata for name in (b"ids", b"mask", b"segment_ids", b"vocab.txt", b"labels.txt"))
    assert {"README.md", "check.py", "golden.jsonl", "MODEL_CARD.md", "manifest.json"} <= {
        p.name for p in folder.iterdir()
    }
    compile((folder / "check.py").read_text(encoding="utf-8"), "check.py", "exec")


@pytest.mark.parametrize(
    ("tokenizer", "what"),
    [("cased", "does not lower the case"), ("added-tokens", "tokens beside its vocabulary"), ("xlm-roberta", "Unigram"),
     ("modernbert", "BPE"), ("byte-level", "BPE")],
)  # fmt: skip
def test_a_tokenizer_that_mediapipe_does_not_have_is_refused(
    tokenizer: str, what: str, bundle: Callable[..., Path], tmp_path: Path
) -> None:
    from edgebert.bundle.platforms.mediapipe import write

    made = bundle()
    TOKENIZERS[tokenizer]().save(str(made / "tokenizer.json"))
    (tmp_path / "out").mkdir()
    with pytest.raises(RequestError, match=what):
        write(made, tmp_path / "out", "intents")


def test_another_padding_and_other_tasks_are_refused(bundle: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="mediapipe runs tflite, and this bundle's file is onnx"):
        package(make_bundle(tmp_path / "run", "classify"), tmp_path)
    made = bundle()
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    for change, what in (
        ({"task": "pair"}, "has nothing for the task pair"),
        ({"labels": ["a\nb"]}, "line break"),
        ({"pad_id": 4}, "padding has the id 4, not 0"),
    ):
        (made / "manifest.json").write_text(json.dumps(manifest | change))
        from edgebert.bundle.platforms.mediapipe import write

        with pytest.raises(RequestError, match=what):
            write(made, tmp_path, "intents")


@pytest.mark.parametrize("name", ["", "a b", "../x", "1st", "x" * 65, "a.tflite"])
def test_a_name_that_is_no_files_is_refused(name: str) -> None:
    assert "such as intents" in check_name(name)


@pytest.mark.slow
def test_mediapipe_itself_gives_the_golden_answers(bundle: Callable[..., Path], tmp_path: Path) -> None:
    environment = Path(os.environ.get("EDGEBERT_MEDIAPIPE", tmp_path / "venv"))
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(environment / "bin" / "pip"), "install", "--quiet", "mediapipe==1.2.3"], check=True)
    command = [str(environment / "bin" / "python"), "check.py"]
    done = subprocess.run(command, cwd=package(bundle(), tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " 0 of them are short plain ASCII" in done.stdout, done.stdout + done.stderr
