"""The folder that optimum and transformers.js load: its files under the names that both look for, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgebert.api import package as write_package
from edgebert.errors import RequestError
from tests.packages import TASKS, make_bundle

KINDS = ("ner", "tag", "classify", "classify-several", "pair", "qa")


def package(tmp_path: Path, task: str, tokenizer: str = "uncased") -> Path:
    return write_package(
        str(make_bundle(tmp_path / "run", task, tokenizer)), "huggingface", output=str(tmp_path / "out"), name="a-model"
    ).folder


@pytest.mark.parametrize("task", KINDS)
def test_transformers_reads_it_and_the_file_runs_on_its_tokens(task: str, tmp_path: Path) -> None:
    import onnxruntime
    from transformers import AutoConfig, AutoTokenizer

    folder = package(tmp_path, task)
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    manifest = json.loads((tmp_path / "run" / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    if manifest["labels"]:
        assert [config.id2label[i] for i in range(config.num_labels)] == manifest["labels"]
    assert tokenizer.model_max_length == manifest["max_length"]
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")
    checked = 0
    for text in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if len(line["windows"]) != 1 or line["words"]:
            continue
        given = tokenizer(*line["texts"], return_tensors="np")
        (window,) = line["windows"]
        if given["input_ids"].shape[1] > tokenizer.model_max_length // 2:  # a part of it may have been cut
            continue
        assert given["input_ids"][0].tolist() == window["input_ids"]
        outputs = session.run(None, {node.name: given[node.name] for node in session.get_inputs()})
        for node, values in zip(session.get_outputs(), outputs, strict=True):
            assert np.allclose(values[0], window["outputs"][node.name], atol=1e-4)
        checked += 1
    assert checked > 10 or task in ("ner", "tag")


def test_files_have_the_names_that_both_libraries_look_for(tmp_path: Path) -> None:
    folder = package(tmp_path, "classify")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        *("config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx", "golden.jsonl", "README.md"),
        *("check.py", "manifest.json", "sbom.cdx.json", "LICENSES/NOTICE.md", "LICENSES/edgebert-Apache-2.0.txt"),
    }
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-classification" in page and 'dtype: "fp32"' in page and "@" not in page.split("##")[0]
    compile((folder / "check.py").read_text(encoding="utf-8"), "check.py", "exec")


@pytest.mark.parametrize("task", sorted(TASKS.keys() - set(KINDS)))
def test_what_they_have_no_pipeline_for_is_refused(task: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no pipeline"):
        package(tmp_path, task)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "a", "a b", "-a", "a--b", "a/b/c", "x" * 97, "../x"])
def test_a_name_that_no_repository_has_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be the name"):
        write_package(
            str(make_bundle(tmp_path / "run", "classify")), "huggingface", output=str(tmp_path / "out"), name=name
        )


def test_a_bundle_that_does_not_tell_its_model_is_refused(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "run", "classify")
    (tmp_path / "run" / "student" / "config.json").write_text('{"pad_token_id": 0}')
    from edgebert.bundle.platforms.huggingface import write

    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    del manifest["facts"]["checkpoint"]
    (made / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "out").mkdir()
    with pytest.raises(RequestError, match="does not say what transformers needs"):
        write(made, tmp_path / "out", "a-model")


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
def test_optimum_loads_it_and_reproduces_the_golden_vectors(task: str, tmp_path: Path) -> None:
    """In an environment of its own: optimum-onnx 0.1.0 wants transformers below 4.58."""
    environment = Path(os.environ.get("EDGEBERT_OPTIMUM", tmp_path / "venv"))
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "optimum-onnx[onnxruntime]==0.1.0"], check=True)
    folder = package(tmp_path, task)
    result = subprocess.run(
        [str(environment / "bin" / "python"), "check.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 and " 0 differ" in result.stdout, result.stdout + result.stderr
