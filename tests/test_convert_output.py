"""What `edgebert convert` puts into its output: all of it or nothing, and nothing of the user's is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgebert.errors import RequestError
from edgebert.workflows import convert_output
from edgebert.workflows.convert_output import NEW, WORK, holds_another, publish, work_folder

FP32, INT8 = "onnx/fp32/model.onnx", "onnx/int8/model.onnx"
TFLITE, REJECTED = "tflite/int8/model.tflite", "rejected/onnx/int8/model.onnx"


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def convert(output: Path, model: str, *names: str, force: bool = False) -> bool:
    """As convert does; each file holds its model's name."""
    with work_folder(output) as work:
        put(work / NEW, dict.fromkeys((*names, "tokenizer.json"), model))
        return publish(work, output, model, force=force)


def seen(output: Path) -> dict[str, str]:
    paths = [path for path in output.rglob("*") if path.is_file() and path.name != convert_output.RECORD]
    assert not [path for path in output.rglob("*") if path.is_dir() and not any(path.iterdir())], "empty folders"
    return {path.relative_to(output).as_posix(): path.read_text() for path in paths}


def test_formats_and_precisions_of_one_model_gather(tmp_path: Path) -> None:
    assert convert(tmp_path, "A", FP32)
    assert convert(tmp_path, "A", TFLITE)
    assert seen(tmp_path) == dict.fromkeys((FP32, TFLITE, "tokenizer.json"), "A")


def test_without_force_nothing_is_replaced_and_no_other_model_joins(tmp_path: Path) -> None:
    convert(tmp_path, "A", FP32)
    with pytest.raises(RequestError, match="is there already"):
        convert(tmp_path, "B", TFLITE)
    with work_folder(tmp_path) as work, pytest.raises(RequestError, match="is there already"):
        put(work / NEW, {FP32: "A, again"})
        publish(work, tmp_path, "A", force=False)
    assert holds_another(tmp_path, "B") and not holds_another(tmp_path, "A")
    assert seen(tmp_path) == dict.fromkeys((FP32, "tokenizer.json"), "A")


def test_force_leaves_no_file_of_the_other_model_and_every_file_of_the_users(tmp_path: Path) -> None:
    convert(tmp_path, "A", FP32, INT8, TFLITE)
    users = {"onnx/int8/notes.txt": "mine", "thesis.md": "mine", "rejected/why.md": "mine"}
    put(tmp_path, users)
    assert convert(tmp_path, "B", FP32, force=True)
    assert seen(tmp_path) == dict.fromkeys((FP32, "tokenizer.json"), "B") | users


def test_force_of_the_same_model_keeps_what_is_not_made_anew(tmp_path: Path) -> None:
    convert(tmp_path, "A", FP32, "onnx/fp32/model.onnx.data", TFLITE)
    with work_folder(tmp_path) as work:
        put(work / NEW, {FP32: "A, again", "tokenizer.json": "A"})
        assert publish(work, tmp_path, "A", force=True)
    assert seen(tmp_path) == {FP32: "A, again", TFLITE: "A", "tokenizer.json": "A"}


def test_a_rejected_file_replaces_nothing(tmp_path: Path) -> None:
    convert(tmp_path, "A", FP32, INT8)
    assert not convert(tmp_path, "B", FP32, REJECTED, force=True)
    assert seen(tmp_path) == dict.fromkeys((FP32, INT8, "tokenizer.json"), "A") | {REJECTED: "B"}
    assert convert(tmp_path, "B", FP32, INT8, force=True)
    assert seen(tmp_path) == dict.fromkeys((FP32, INT8, "tokenizer.json"), "B")


def test_a_rejected_file_of_a_first_conversion_lies_beside_those_that_passed(tmp_path: Path) -> None:
    assert convert(tmp_path, "A", FP32, REJECTED)
    assert seen(tmp_path) == dict.fromkeys((FP32, REJECTED, "tokenizer.json"), "A")
    assert convert(tmp_path, "A", INT8), "what was rejected gives way to what passed"
    assert seen(tmp_path) == dict.fromkeys((FP32, INT8, "tokenizer.json"), "A")


def test_files_of_an_earlier_version_without_a_record_are_known_by_their_places(tmp_path: Path) -> None:
    put(tmp_path, {FP32: "A", TFLITE: "A", "tokenizer.json": "A", "onnx/fp32/notes.txt": "mine", "other.onnx": "mine"})
    assert convert(tmp_path, "B", INT8, force=True)
    assert seen(tmp_path) == {
        INT8: "B", "tokenizer.json": "B", "onnx/fp32/notes.txt": "mine", "other.onnx": "mine",
    }  # fmt: skip


@pytest.mark.parametrize(
    "damaged", ["", "[]", "{", '{"model": 1, "files": []}', '{"model": "B", "files": [1]}', "[" * 9999]
)
def test_a_damaged_record_is_none(damaged: str, tmp_path: Path) -> None:
    convert(tmp_path, "A", FP32)
    (tmp_path / convert_output.RECORD).write_text(damaged)
    assert convert(tmp_path, "B", FP32, force=True)
    assert seen(tmp_path) == dict.fromkeys((FP32, "tokenizer.json"), "B")


def test_a_record_that_names_files_elsewhere_is_not_followed(tmp_path: Path) -> None:
    output, outside = tmp_path / "out", tmp_path / "thesis.md"
    outside.write_text("years of work")
    convert(output, "A", FP32)
    record = f'{{"model": "A", "files": ["../thesis.md", "{outside}", "{FP32}"]}}'
    (output / convert_output.RECORD).write_text(record)
    assert convert(output, "B", FP32, force=True)
    assert outside.read_text() == "years of work"


@pytest.mark.parametrize("fails_at", range(1, 7))
def test_a_move_that_fails_undoes_those_before(fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(tmp_path, "A", FP32, INT8)
    before, calls = seen(tmp_path), []
    move = convert_output._move

    def failing(source: Path, target: Path) -> None:
        calls.append(1)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr(convert_output, "_move", failing)
    with pytest.raises(OSError, match="No space"):
        convert(tmp_path, "B", FP32, INT8, TFLITE, force=True)
    assert seen(tmp_path) == before


@pytest.mark.parametrize("dies_at", range(1, 7))
def test_a_kill_while_files_move_is_undone_by_the_next_command(dies_at: int, tmp_path: Path) -> None:
    convert(tmp_path, "A", FP32, INT8)
    before = seen(tmp_path)
    program = f"""
import os, sys
from pathlib import Path
from edgebert.workflows import convert_output
from tests.test_convert_output import convert
calls, move = [], convert_output._move
def dying(source, target):
    calls.append(1)
    if len(calls) == {dies_at}:
        os._exit(9)
    move(source, target)
convert_output._move = dying
convert(Path({str(tmp_path)!r}), "B", {FP32!r}, {INT8!r}, {TFLITE!r}, force=True)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert list(tmp_path.glob(f"{WORK}*"))
    convert_output.undo_killed(tmp_path)
    assert seen(tmp_path) == before
    assert not list(tmp_path.glob(f"{WORK}*"))


def test_an_error_leaves_no_folder_behind(tmp_path: Path) -> None:
    output = tmp_path / "new" / "out"
    with pytest.raises(ValueError, match="boom"), work_folder(output) as work:
        put(work / NEW, {FP32: "A"})
        raise ValueError("boom")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_users_that_is_named_like_ours_stays(tmp_path: Path) -> None:
    put(tmp_path, {f"{WORK}notes/a.txt": "mine", f"{WORK}{10**30}/b.txt": "stale"})
    convert(tmp_path, "A", FP32)
    assert seen(tmp_path) == {f"{WORK}notes/a.txt": "mine", FP32: "A", "tokenizer.json": "A"}
