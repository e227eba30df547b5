"""onnxruntime-web's files: fetched by a real npm, checked, kept whole, and every way in which that fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgebert.errors import EdgebertError, RequestError
from edgebert.measure.targets import TARGETS
from edgebert.measure.targets import _browser_assets as assets

TARGET = TARGETS.get("browser")


def quiet(**event: Any) -> None:
    """A log that nobody reads."""


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a working folder with nothing in it."""
    monkeypatch.delenv(assets.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "my cache" / "edgebert"


def impostor(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program named npm, and no other on the path but the shell's."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.defpath}")


def test_npm_fetches_the_pinned_package_into_the_cache(nowhere: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip("no npm here")
    try:
        description = TARGET.prepare("", quiet) if TARGET.prepare else ""
    except EdgebertError as error:
        pytest.skip(f"npm reaches no registry: {error.what}")
    kept = nowhere / "onnxruntime-web-1.30.0"
    assert description == f"onnxruntime-web 1.30.0 in {kept}"
    assert list(nowhere.iterdir()) == [kept]
    assert {path.name for path in kept.iterdir()} == set(assets.FILES)
    assert assets.wrong(kept) == ""


def test_without_npm_and_cache_the_command_is_told(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(nowhere))
    assert "no npm to fetch it" in assets.missing()
    with pytest.raises(RequestError, match="no npm to fetch it") as caught:
        assets.fetch(quiet)
    assert "npm pack onnxruntime-web@1.30.0" in str(caught.value)
    assert f"export {assets.VARIABLE}=" in str(caught.value)


def test_offline_the_command_is_told_and_nothing_is_left(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not shutil.which("npm"):
        pytest.skip("no npm here")
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))
    with pytest.raises(EdgebertError, match=r"npm cannot fetch onnxruntime-web@1\.30\.0: .*only-if-cached") as caught:
        assets.fetch(quiet)
    assert "npm pack onnxruntime-web@1.30.0" in str(caught.value)
    assert not list(nowhere.iterdir())


def test_a_package_with_another_checksum_is_not_used(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    impostor(tmp_path / "bin", monkeypatch, "echo something else > onnxruntime-web-1.30.0.tgz")
    with pytest.raises(
        EdgebertError, match=r"checksum of onnxruntime-web-1\.30\.0\.tgz differs from the published one"
    ):
        assets.fetch(quiet)
    assert not list(nowhere.iterdir())


def test_an_installed_package_is_used_where_every_checksum_is_right(
    nowhere: Path, onnxruntime_web: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = Path("node_modules/onnxruntime-web/dist")
    shutil.copytree(onnxruntime_web, installed)
    assert assets.fetch(quiet) == installed.resolve()
    (installed / "ort.wasm.min.mjs").write_text("// another version")
    impostor(tmp_path / "bin", monkeypatch, "exit 1")
    notes: list[str] = []
    with pytest.raises(EdgebertError, match=r"npm cannot fetch .*: it gave no reason"):
        assets.fetch(lambda **event: notes.append(event["text"]))
    assert "the checksum of ort.wasm.min.mjs differs" in notes[0]
    monkeypatch.setenv(assets.VARIABLE, str(installed.parent))
    with pytest.raises(RequestError, match=r"this is not onnxruntime-web@1\.30\.0: the checksum of ort\.wasm"):
        assets.fetch(quiet)
    monkeypatch.setenv(assets.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(RequestError, match=r"this is not onnxruntime-web@1\.30\.0: ort\.wasm\.min\.mjs is missing"):
        assets.fetch(quiet)
    assert not list(nowhere.iterdir())


def test_a_damaged_cache_is_replaced_as_a_whole(nowhere: Path, onnxruntime_web: Path) -> None:
    damaged = nowhere / "onnxruntime-web-1.30.0"
    damaged.mkdir(parents=True)
    (damaged / "ort.wasm.min.mjs").write_text("half")
    assert assets._kept(lambda scratch: Path(shutil.copytree(onnxruntime_web, scratch / "files"))) == damaged
    assert assets.wrong(damaged) == ""
    assert list(nowhere.iterdir()) == [damaged]
    assert assets.fetch(quiet) == damaged


def test_a_cache_that_cannot_be_written_is_told(nowhere: Path) -> None:
    nowhere.parent.write_text("a file where the folder should be")
    with pytest.raises(EdgebertError, match=r"the cache cannot be written: .*\n.*XDG_CACHE_HOME"):
        assets._kept(lambda scratch: scratch)
