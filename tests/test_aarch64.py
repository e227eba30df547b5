"""int8 files on another processor: a real sshd whose python3 is an aarch64 one under qemu. The times of it say nothing."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgebert
from edgebert.measure import inputs
from edgebert.measure.measure import Request, measure
from edgebert.measure.targets import Job
from tests import aarch64
from tests.conftest import sentence
from tests.sshd import PROGRAM, Board, board
from tests.test_convert import save

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None or shutil.which("ssh") is None, reason="needs OpenSSH's client and server"),
]
N = 24


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return aarch64.python3()
    except aarch64.CannotBeHad as error:
        pytest.skip(f"an aarch64 user-space cannot be had here: {error}")


@pytest.fixture
def far(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    (tmp_path / "far").mkdir()
    with board(tmp_path / "far") as item:
        (item.folder / "bin" / "python3").unlink()
        (item.folder / "bin" / "python3").symlink_to(python)
        monkeypatch.setenv("EDGEBERT_SSH_CONFIG", str(item.config))
        yield item


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """int8 ONNX and TFLite of a tagger of random weights, three labels."""
    folder = tmp_path_factory.mktemp("files")
    created = edgebert.convert(
        str(save(folder / "model", "token-classification")), ("onnx", "tflite"), precisions=("int8",),
        output=str(folder / "out"), lengths=(32,),
    )  # fmt: skip
    shutil.copy(folder / "model" / "tokenizer.json", folder / "out")
    paths = {
        conversion.format: str(conversion.artifact.path)
        for conversion in created.conversions
        if conversion.artifact and conversion.precision == "int8"
    }
    return paths["onnx"], paths["tflite"]


def test_int8_files_predict_on_arm_what_they_predict_here(
    far: Board, files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole path of `edgebert profile --on ssh:…`, with the outputs of all texts sent back."""
    rng = random.Random(0)
    lines = rng.sample(sorted({" ".join(sentence(rng)[0]) for _ in range(200)}), N)
    (tmp_path / "texts").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(inputs, "N_INPUTS", N)
    monkeypatch.setattr(Job, "n_outputs", N)
    result = measure(Request(files, ("ssh:board",), texts=str(tmp_path / "texts"), max_seconds=0))
    assert result.exit_code == 0 and not result.notes
    facts = result.facts["ssh:board"]
    assert (facts["machine"], facts["bits"]) == ("aarch64", 64)
    assert {entry.how for entry in result.results} == {pad.how for pad in result.padding} == {"emulated"}
    assert all(entry.device == "aarch64" and entry.instructions is None for entry in result.results)
    compared = [entry for entry in result.results if entry.lengths == "data"]
    assert [entry.runtime for entry in compared] == ["onnxruntime", "ai_edge_litert"]
    for item in compared:
        assert (item.compared, item.equal_predictions) == (N, 1.0)
        assert item.max_difference is not None and item.max_difference < 0.05
    assert far.left_behind() == []
