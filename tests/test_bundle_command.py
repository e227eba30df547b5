"""`edgebert bundle`: which file of a run it packages, what it refuses, and that a package is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgebert import api
from edgebert.bundle.card import model_card, notice
from edgebert.bundle.manifest import describe_files, read_manifest
from edgebert.bundle.platforms import PLATFORMS, Platform
from edgebert.bundle.platforms.python import PLATFORM
from edgebert.bundle.ports.archive import zip_folder
from edgebert.cli import main
from edgebert.errors import DataError, EdgebertError, ParityError, RequestError, RunError
from edgebert.files import sha256_file
from edgebert.runs.store import Run
from edgebert.tasks import find_task
from edgebert.workflows.bundle import bundle as write_package
from tests.packages import AWKWARD, make_bundle

STUDENT = "L2"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, the student's files and the model file that it was made of."""
    folder = tmp_path_factory.mktemp("parts")
    make_bundle(folder)
    return folder


@pytest.fixture
def bundle(parts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parts / "bundle", tmp_path / "mine" / "bundle"))


def edit_manifest(bundle: Path, **changes: Any) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def make_run(parts: Path, folder: Path, *, failures: tuple[str, ...] = (), winner: str = "coreml") -> Path:
    """A run whose winner is of a format that no platform of these tests runs, and which has an ONNX file too.

    Args:
        failures: what parity said of the ONNX file.
    """
    run = Run(folder, {"task": "ner"})

    def compress(place: Path) -> dict[str, Any]:
        shutil.copytree(parts / "student", place, dirs_exist_ok=True)
        return {}

    def convert(place: Path) -> list[dict[str, Any]]:
        (place / "onnx" / "fp32").mkdir(parents=True)
        path = Path(shutil.copyfile(parts / "model.onnx", place / "onnx" / "fp32" / "model.onnx"))
        facts = {"size_bytes": path.stat().st_size, "sha256": sha256_file(path), "options": {}}
        return [{"name": "onnx-fp32", "format": "onnx", "precision": "fp32", "path": "onnx/fp32/model.onnx", **facts}]

    model = run.stage(f"compress-{STUDENT}", {"seed": 0}, compress)
    files = run.stage(f"convert-{STUDENT}", {"model": model.key}, convert)
    parity = {"failures": failures, "score": {"metric": "strict entity F1", "value": 0.5, "split": "test", "n": 12}}
    inputs = {"model": model.key, "converted": files.key}
    run.stage(f"verify-{STUDENT}", inputs, lambda place: {"onnx-fp32": {"parity": parity}})
    run.close()
    shutil.copytree(parts / "bundle", folder / "bundle")
    facts = read_manifest(folder / "bundle")["facts"] | {"student": STUDENT}
    edit_manifest(folder / "bundle", format=winner, facts=facts)
    return folder


def refused(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says to a request that it cannot carry out."""
    with pytest.raises(SystemExit) as stopped:
        main(["bundle", *arguments])
    assert stopped.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


# ---------------------------------------------------------------- which file


def test_the_bundles_own_file_is_taken(bundle: Path, tmp_path: Path) -> None:
    result = api.package(str(bundle), "python", output=str(tmp_path / "made"), name="mine")
    assert (result.format, result.precision, result.platform, result.name) == ("onnx", "fp32", "python", "mine")
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text())
    assert manifest["platform"] == "python"
    files = describe_files(tmp_path / "made")
    assert manifest["files"] == files
    assert (result.n_files, result.size_bytes) == (
        len(files) + 1,
        sum(path.stat().st_size for path in (tmp_path / "made").rglob("*") if path.is_file()),
    )
    assert result.archive_bytes == result.archive.stat().st_size


def test_another_proven_file_of_the_run_is_taken(parts: Path, tmp_path: Path) -> None:
    run = make_run(parts, tmp_path / "run")
    steps: list[str] = []
    result = write_package(run, "python", output=tmp_path / "made", on_event=lambda event: steps.append(event["text"]))
    assert (result.format, result.precision) == ("onnx", "fp32")
    assert steps == ["looking for a file that python runs", "replaying the golden vectors", "writing the package"]
    data = tmp_path / "made" / "src" / "ner_toy" / "data"
    assert (data / "model.fp32.onnx").read_bytes() == (parts / "model.onnx").read_bytes()
    assert "strict entity F1 50.00, test rows, n = 12" in (tmp_path / "made" / "MODEL_CARD.md").read_text()


def test_a_file_that_failed_parity_is_never_taken(parts: Path, tmp_path: Path) -> None:
    run = make_run(parts, tmp_path / "run", failures=("the score drops",))
    with pytest.raises(RequestError, match=f"no file of {STUDENT} in these formats passed parity") as error:
        write_package(run, "python", output=tmp_path / "made")
    assert "--format tflite" in str(error.value)
    assert not (tmp_path / "made").exists()


def test_a_file_that_was_changed_since_is_not_taken(parts: Path, tmp_path: Path) -> None:
    run = make_run(parts, tmp_path / "run")
    next(run.glob("stages/*/onnx/fp32/model.onnx")).write_bytes(b"another")
    with pytest.raises(RequestError, match="passed parity in this run"):
        write_package(run, "python", output=tmp_path / "made")


def test_what_was_proven_later_counts(parts: Path, tmp_path: Path) -> None:
    run = make_run(parts, tmp_path / "run")
    record = next(run.glob("stages/*-verify-*/record.json"))
    old = json.loads(record.read_text())
    later = Path(shutil.copytree(record.parent, record.parent.with_name(f"00-verify-{STUDENT}-older")))
    old["result"]["onnx-fp32"]["parity"]["failures"] = ["it drifts"]
    old["finished"] = "2020-01-01T00:00:00+00:00"
    (later / "record.json").write_text(json.dumps(old))
    assert write_package(run, "python", output=tmp_path / "made").format == "onnx"


def test_a_student_of_an_earlier_command_is_not_taken(parts: Path, tmp_path: Path) -> None:
    """It has the winner's name, a file of the right format, and passed parity: but it is another model."""
    run = make_run(parts, tmp_path / "run")
    for stage, inputs in (
        ("compress", {}),
        ("convert", {"model": "earlier-model"}),
        ("verify", {"converted": "earlier"}),
    ):
        place = next(run.glob(f"stages/*-{stage}-*"))
        earlier = Path(shutil.copytree(place, place.with_name(f"00-{stage}-{STUDENT}-earlier")))
        record = json.loads((earlier / "record.json").read_text())
        del record["digest"]
        record |= {"key": "earlier-model" if stage == "compress" else "earlier", "inputs": record["inputs"] | inputs}
        if stage == "convert":
            (earlier / "onnx" / "fp32" / "model.onnx").write_bytes(b"another model")
            digest = sha256_file(earlier / "onnx" / "fp32" / "model.onnx")
            record["files"] = {"onnx/fp32/model.onnx": {"bytes": 13, "sha256": digest}}
        (earlier / "record.json").write_text(json.dumps(record))
    result = write_package(run, "python", output=tmp_path / "made")
    data = tmp_path / "made" / "src" / "ner_toy" / "data"
    assert (data / "model.fp32.onnx").read_bytes() == (parts / "model.onnx").read_bytes() and result.format == "onnx"


def test_a_bundle_alone_of_another_format(parts: Path, tmp_path: Path) -> None:
    run = make_run(parts, tmp_path / "run")
    alone = Path(shutil.copytree(run / "bundle", tmp_path / "alone"))
    with pytest.raises(RequestError) as error:
        write_package(alone, "python", output=tmp_path / "made")
    assert "python runs tflite or onnx, and this bundle's file is coreml" in str(error.value)
    assert "Give the run folder that it comes from" in str(error.value)


# ---------------------------------------------------------------- what is refused


def test_a_run_that_has_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(tmp_path / "run", {"task": "ner"}).close()
    told = refused(str(tmp_path / "run"), "--platform", "python", capsys=capsys)
    assert "this run has not finished" in told
    assert "goes on where it stopped" in told


def test_a_run_without_a_winner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(tmp_path / "run", {"task": "ner"}).close()
    (tmp_path / "run" / "report").mkdir()
    told = refused(str(tmp_path / "run"), "--platform", "python", capsys=capsys)
    assert "none passed parity and met the budget" in told
    assert "Its report says why" in told


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no bundle here" in refused(str(tmp_path), "--platform", "python", capsys=capsys)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "tokenizer.json", "labels.json", "golden.jsonl"])
def test_a_tampered_file_is_refused_with_its_name(name: str, bundle: Path, tmp_path: Path) -> None:
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content.replace(b"a", b"b", 1))
    with pytest.raises(DataError, match=f"{name} has another sha256"):
        write_package(bundle, "python", output=tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_golden_vectors_that_are_not_reproduced_here(bundle: Path, tmp_path: Path) -> None:
    """Edited with all that binds them, as another runtime would compute other outputs."""
    lines = (bundle / "golden.jsonl").read_text().splitlines()
    line = json.loads(lines[0])
    logits = line["windows"][0]["outputs"]["logits"]
    line["windows"][0]["outputs"]["logits"] = [[value + 1 for value in row] for row in logits]
    (bundle / "golden.jsonl").write_text("\n".join([json.dumps(line), *lines[1:]]) + "\n")
    edit_manifest(bundle, files=describe_files(bundle))
    with pytest.raises(ParityError, match="differ by up to 1"):
        write_package(bundle, "python", output=tmp_path / "made")


@pytest.mark.parametrize(("platform", "near"), [("pyton", "python"), ("Python", "python"), ("", "Known: ")])
def test_an_unknown_platform_is_told_the_nearest(
    platform: str, near: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(str(bundle), "--platform", platform, capsys=capsys)
    assert f"unknown platform '{platform}'" in told
    assert near in told


@pytest.mark.parametrize("name", ["1st", "my model", "class", "json", "numpy", "a/b", "$(reboot)", "line\nbreak", "名"])
def test_a_name_that_cannot_be_is_told_how_a_right_one_looks(
    name: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(str(bundle), "--platform", "python", "-o", str(tmp_path / "x"), "--name", name, capsys=capsys)
    assert "cannot be the name of a Python package" in told
    assert "my-entities" in told
    assert not (tmp_path / "x").exists()


def test_every_platform_refuses_names_and_makes_legal_ones() -> None:
    for platform in PLATFORMS.all().values():
        for name in ("", "a b", "../up", "line\nbreak", "$HOME", 'quo"te', "模型"):
            assert platform.check_name(name), f"{platform.name} takes {name!r}"
        for words in (["ner", "atis"], ["class"], ["model", "2"]):
            assert platform.check_name(platform.default_name(words)) == "", platform.name


@pytest.mark.parametrize("output", [".", "..", "made/.."])
def test_a_folder_without_a_name(output: str, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(str(bundle), "--platform", "python", "-o", output, capsys=capsys)
    assert "the package needs a folder with a name" in told


# ---------------------------------------------------------------- the folder


def test_a_folder_of_something_else_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    (place / "thesis.txt").write_text("years")
    with pytest.raises(RequestError, match="holds something else than a package"):
        write_package(bundle, "python", output=place)
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]
    with pytest.raises(RequestError, match="holds something else"):
        write_package(bundle, "python", output=place / "thesis.txt")
    with pytest.raises(RequestError, match="holds something else"):  # a bundle is none either
        write_package(bundle, "python", output=bundle)


def test_an_empty_folder_and_an_earlier_package_are_replaced(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "made"
    place.mkdir()
    write_package(bundle, "python", output=place, name="first")
    (place / "stale.txt").write_text("left by somebody")
    write_package(bundle, "python", output=place, name="second")
    assert not (place / "stale.txt").exists()
    assert [path.name for path in (place / "src").iterdir()] == ["second"]


def platform_that(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """`python` with another part."""
    known: dict[str, Platform] = PLATFORMS.all()
    monkeypatch.setitem(known, "python", replace(PLATFORM, **changes))


@pytest.mark.parametrize("part", ["write", "archive"])
def test_what_fails_half_way_leaves_the_earlier_package(
    part: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "made"
    first = write_package(bundle, "python", output=place, name="mine")
    before, wheel = describe_files(place), first.archive.read_bytes()

    def fail(*arguments: Any) -> Any:
        if part == "write":
            (arguments[1] / "half.txt").write_text("half")
        else:
            (arguments[1] / first.archive.name).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    platform_that(monkeypatch, **{part: {"write": lambda bundle, folder, name: fail(bundle, folder, name),
                                         "archive": lambda folder, parent, name: fail(folder, parent, name)}[part]})  # fmt: skip
    with pytest.raises(RunError, match="the disk is full"):
        write_package(bundle, "python", output=place, name="mine")
    assert describe_files(place) == before
    assert first.archive.read_bytes() == wheel
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["made", "mine", first.archive.name])


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from edgebert.bundle.platforms import PLATFORMS
from edgebert.bundle.platforms.python import PLATFORM
from edgebert.workflows.bundle import bundle

def write(bundle, folder, name):
    PLATFORM.write(bundle, folder, name)
    os.kill(os.getpid(), signal.SIGKILL)

def archive(folder, parent, name):
    (parent / "half.whl").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

PLATFORMS.all()["python"] = replace(PLATFORM, **{sys.argv[3]: globals()[sys.argv[3]]})
bundle(Path(sys.argv[1]), "python", output=Path(sys.argv[2]), name="mine")
"""


@pytest.mark.parametrize("part", ["write", "archive"])
def test_a_killed_write_leaves_nothing_half(part: str, bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "made"
    done = subprocess.run([sys.executable, "-c", KILLED, str(bundle), str(place), part])
    assert done.returncode == -signal.SIGKILL
    assert place.exists() == (part == "archive")
    assert not list(tmp_path.glob("*.whl"))
    result = write_package(bundle, "python", output=place, name="mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["made", "mine", result.archive.name])


def test_a_folder_that_cannot_be_written(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(str(bundle), "--platform", "python", "-o", "/proc/package", capsys=capsys)
    assert "error: /proc/package: cannot write the package" in told
    assert "Traceback" not in told


# ---------------------------------------------------------------- what is told and written


def test_the_command_tells_what_it_wrote(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["bundle", str(bundle), "--platform", "python"])
    assert stopped.value.code == 0
    told = capsys.readouterr()
    assert told.out.startswith("ner-toy-python: ")
    assert "onnx fp32" in told.out
    assert "python3 check.py" in told.out
    assert told.err.splitlines() == ["replaying the golden vectors", "writing the package"]
    assert (tmp_path / "ner-toy-python" / "src" / "ner_toy").is_dir()


def test_the_command_tells_it_as_json(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["bundle", str(bundle), "--platform", "python", "--json", "--name", "Mine.v2"])
    told = json.loads(capsys.readouterr().out)
    assert (told["folder"], told["name"], told["platform"]) == ("Mine.v2-python", "Mine.v2", "python")
    assert told["archive"].startswith("mine_v2-")
    with pytest.raises(SystemExit):
        main(["bundle", str(bundle), "--platform", "python", "--json", "-o", str(tmp_path / "app" / "made")])
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(tmp_path / "app" / "made") and Path(told["archive"]).is_file()


@pytest.mark.parametrize("data", [None, "my rows", {"name": None}, {"name": "Größe & 2"}, {"name": "../../etc"}])
def test_the_default_name_is_of_task_and_data(data: Any, bundle: Path) -> None:
    from edgebert.workflows.bundle import _name

    manifest = read_manifest(bundle)
    manifest["facts"] = {"data": data}
    name = _name(PLATFORM, None, manifest)
    assert name.startswith("ner")
    assert PLATFORM.check_name(name) == ""
    manifest["task"] = "2nd=ner"
    assert PLATFORM.check_name(_name(PLATFORM, None, manifest)) == ""


def test_a_zip_is_the_same_twice_and_keeps_the_right_to_run(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "b" / "run.sh").chmod(0o755)
    (folder / "a.txt").write_text("a")
    first = zip_folder(folder, tmp_path, "name").read_bytes()
    os.utime(folder / "a.txt", (0, 0))
    assert zip_folder(folder, tmp_path, "name").read_bytes() == first
    subprocess.run([sys.executable, "-m", "zipfile", "-e", "package.zip", "out"], cwd=tmp_path, check=True)
    assert sorted(path.name for path in (tmp_path / "out" / "package").rglob("*")) == ["a.txt", "b", "run.sh"]


def test_a_task_that_no_package_knows(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for decoder in (None, {"kind": "summary"}, {"kind": "multi", "heads": [{"kind": "summary"}]}):
        monkeypatch.setattr(type(find_task("ner")), "decoder", lambda self, labels, decoder=decoder: decoder)
        with pytest.raises(EdgebertError, match="no program but edgebert reads answers of the task ner"):
            write_package(bundle, "python", output=tmp_path / "made")


# ---------------------------------------------------------------- pages


def test_labels_stand_on_the_card_as_they_are(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    labels = [*AWKWARD, "a`b", "``", "`", " x ", "|", "*bold*", "_under_", "[link](x)", "# head", ""]
    manifest["labels"] = labels
    card = model_card("mine", manifest, find_task("ner"))
    line = next(line for line in card.splitlines() if line.startswith("Labels ("))
    assert line.startswith(f"Labels ({len(labels)}): ")
    assert all(" ".join(label.split()) in line for label in labels if "<" not in label)
    assert any("<" in label for label in labels) and "<" not in line and "&lt;" in line
    manifest["labels"] = [f"label-{i}" for i in range(50)]
    assert "label-39` and 10 more." in model_card("mine", manifest, find_task("ner"))


def test_names_of_data_cannot_change_the_page(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    evil = "<script>alert(1)</script>\n\n# Licence: none needed\n- Teacher: *nobody* [x](http://x) `y` \\"
    manifest["facts"] = {"data": {"name": evil, "licence": evil, "origin": evil}, "teacher": evil}
    for page in (model_card("mine", manifest, find_task("ner")), notice(manifest)):
        lines = page.splitlines()
        assert not [line for line in lines if line.startswith(("# Licence:", "- Teacher: *nobody*"))]
        assert "<script>" not in page
        assert sum(line.startswith("- Teacher: ") for line in lines) == 1


def test_what_is_not_recorded_is_said_to_be(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    manifest["facts"] = {"data": None, "teacher": {"name": "bert"}}
    assert "- Data: not recorded. Licence: not recorded: find out before you publish" in notice(manifest)
    assert "- Teacher: bert. Licence: not recorded" in notice(manifest)
