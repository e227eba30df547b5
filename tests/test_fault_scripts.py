"""What the benchmark of faults showed: a user without a home folder, a full disk that is not the source's."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgebert.converters import CONVERTERS
from edgebert.cost.calibration import calibrations_of
from edgebert.devices.profiles import load_device
from edgebert.errors import RunError
from edgebert.faults import fault_of
from edgebert.files import user_folder
from edgebert.measure.targets import _browser_assets as assets
from edgebert.types import Student

ROOT = Path(__file__).parents[1]


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container whose user has no entry in the system's list."""

    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_what_is_only_looked_for_is_not_there() -> None:
    assert calibrations_of(load_device("pixel6")) == ()


@pytest.mark.usefixtures("homeless")
def test_without_a_home_what_has_to_be_written_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="no home folder") as caught:
        user_folder("XDG_CACHE_HOME", ".cache")
    assert caught.value.hint == "Set XDG_CACHE_HOME to a folder, or HOME."
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the specification says to ignore
    with pytest.raises(RunError, match="no home folder"):
        user_folder("XDG_CACHE_HOME", ".cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert user_folder("XDG_CACHE_HOME", ".cache") == Path("/somewhere/edgebert")


@pytest.mark.usefixtures("homeless")
def test_a_browser_without_a_place_for_its_files_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(assets.VARIABLE, raising=False)
    assert "no home folder" in assets.missing()


def test_the_place_of_a_full_disk_is_where_a_copy_goes() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/stages/model.onnx", None, "/bundle/model.onnx")
    fault = fault_of(error)
    assert fault is not None and fault.where == "/bundle/model.onnx"


@pytest.mark.parametrize("format", ["onnx", "tflite", "coreml"])
def test_a_disk_that_is_full_is_not_taken_for_a_model_that_cannot_be_converted(
    format: str, teacher: Student, toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"onnx": "onnx", "tflite": "litert_torch", "coreml": "coremltools"}[format])
    from edgebert.modeling.graph import make_source
    from tests.conftest import make_tokenizer

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "out" / "half"))

    (tmp_path / "out").mkdir()
    make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    source = make_source(teacher.model, lengths=(8,), labels=toy_labels, tokenizer=tmp_path / "tokenizer.json")
    for name in WRITERS[format]:
        monkeypatch.setattr(name, full)
    with pytest.raises(RunError, match="the disk is full") as caught:
        CONVERTERS.get(format).export(source, tmp_path / "out")
    assert caught.value.where == str(tmp_path / "out" / "half")
    assert not list((tmp_path / "out").iterdir())


WRITERS = {
    "onnx": ("torch.onnx.export", "onnx.save"),
    "tflite": ("zipfile.ZipFile.writestr",),
    "coreml": ("coremltools.models.MLModel.save",),
}


@pytest.mark.slow
def test_faults_at_every_stage_of_a_fit(tmp_path: Path) -> None:
    """The benchmark's disks: full and read-only at every stage, and without locks."""
    if not hasattr(os, "fork") or not shutil.which("mount"):
        pytest.skip("this system cannot fork or mount")
    page = tmp_path / "faults.md"
    command = [sys.executable, "-m", "benchmarks.reliability.faults", "--only", "full-disk,read-only,locks"]
    done = subprocess.run(
        [*command, "--output", str(page)], cwd=ROOT, capture_output=True, text=True, timeout=2400, check=False
    )
    text = page.read_text()
    if "| not tried |" in text:
        pytest.skip("no file system can be mounted here")
    assert done.returncode == 0, text + done.stderr[-3000:]
    assert ", 0 not, 0 not tried" in text
