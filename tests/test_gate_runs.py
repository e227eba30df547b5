"""The gate on a run folder whose package is doctored: a small run with a real bundle, each copy worse in one way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability.tampering import DIGESTED, field, first_output, line, raw, seal
from edgebert.budget.findings import GateResult, Subject
from edgebert.converters import describe
from edgebert.report.serial import dump_report
from edgebert.workflows.gate import gate, suggested
from tests.packages import TOKENIZERS, make_bundle
from tests.test_gate import GOOD, changed_file

BUDGET = "[limits]\nsize_mb = 9\ntokenizer_mismatches = 0\n[growth]\nsize_percent = 5\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a report and the bundle of the file that it tells of."""
    folder = tmp_path_factory.mktemp("good")
    bundle = make_bundle(folder)
    (folder / "request.toml").touch()
    (folder / "report").mkdir()
    model = next(bundle.glob("model.*"))
    report = changed_file(
        GOOD, artifact=replace(Subject.of(GOOD).file.artifact, sha256=describe(model, "onnx", "fp32").sha256)
    )
    (folder / "report" / "report.json").write_text(dump_report(report), encoding="utf-8")
    return folder


def doctored(run: Path, folder: Path, edit: Callable[[Path], Any], *, sealed: bool = True) -> GateResult:
    copy = folder / "run"
    shutil.copytree(run, copy)
    edit(copy / "bundle")
    if sealed:
        seal(copy / "bundle", DIGESTED)
    (folder / "budget.toml").write_text(BUDGET, encoding="utf-8")
    return gate(copy, folder / "budget.toml", run)


def failed(result: GateResult) -> dict[str, str]:
    return {item.limit: item.reason for item in result.findings if item.outcome == "failed"}


def test_the_good_run_passes_and_so_does_its_suggested_budget(run: Path, tmp_path: Path) -> None:
    result = doctored(run, tmp_path, lambda bundle: None, sealed=False)
    assert result.exit_code == 0 and {item.outcome for item in result.findings} == {"passed"}
    text = suggested(run)
    assert "tokenizer_mismatches = 0" in text
    (tmp_path / "suggested.toml").write_text(text, encoding="utf-8")
    assert gate(run, tmp_path / "suggested.toml", run).exit_code == 0


def _tokenizer(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def edit(text: str) -> str:
        value = json.loads(text)
        change(value)
        return json.dumps(value)

    return raw("tokenizer.json", edit)


def _byte(bundle: Path) -> None:
    model = next(bundle.glob("model.*"))
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)


def _other_model(bundle: Path) -> None:
    other = make_bundle(bundle.parent / "other", tokenizer="cased")
    shutil.copyfile(next(other.glob("model.*")), next(bundle.glob("model.*")))


def _other_tokenizer(bundle: Path) -> None:
    TOKENIZERS["cased"]().save(str(bundle / "tokenizer.json"))


@pytest.mark.parametrize(
    ("edit", "sealed", "reason"),
    [
        (_byte, False, "model.*"),
        (_other_model, True, "the bundle's model is not the file of the report"),
        (lambda bundle: (bundle / "labels.json").unlink(), False, "labels.json"),
        (lambda bundle: (bundle / "manifest.json").write_text("{"), False, "the manifest cannot be read"),
        (lambda bundle: (bundle / "manifest.json").unlink(), False, "this run has no bundle"),
        (shutil.rmtree, False, "this run has no bundle"),
        (field("labels", lambda v: [*v[:-2], v[-1], v[-2]]), True, "labels"),
        (line(2, first_output(lambda v: v + 3.0)), True, "differ by up to 3"),
    ],
)
def test_a_doctored_package_fails_as_such_though_its_tokenizer_cannot_be_tried(
    edit: Callable[[Path], Any], sealed: bool, reason: str, run: Path, tmp_path: Path
) -> None:
    """A limit that has no figure for the same reason does not turn the run's fault, 1, into the request's, 2."""
    result = doctored(run, tmp_path, edit, sealed=sealed)
    assert result.exit_code == 1 and list(failed(result)) == ["package"]
    assert reason.rstrip("*") in failed(result)["package"]


@pytest.mark.parametrize(
    "edit",
    [_other_tokenizer, _tokenizer(lambda v: v["normalizer"].update(lowercase=False))],
    ids=["another", "letters"],
)
def test_texts_that_are_read_otherwise_are_counted(edit: Callable[[Path], None], run: Path, tmp_path: Path) -> None:
    result = doctored(run, tmp_path, edit)
    assert result.exit_code == 1 and set(failed(result)) == {"package", "tokenizer_mismatches"}


def test_a_runtime_that_is_not_installed_cannot_judge(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebert.converters.is_installed", lambda name: False)
    result = doctored(run, tmp_path, lambda bundle: None, sealed=False)
    package = result.findings[0]
    assert (result.exit_code, package.outcome) == (2, "missing")
    assert "is not installed here, so that the package cannot be tried. Run: pip install" in package.reason
