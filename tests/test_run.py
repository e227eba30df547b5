"""The run folder: nothing done twice, nothing half-written, nothing of the user's lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgebert.errors import RunError
from edgebert.files import digest, plain, replace_folder, write_atomic
from edgebert.runs.listing import list_runs
from edgebert.runs.store import Run, Stage
from edgebert.workflows.config_fit import DeviceResult
from edgebert.workflows.records import student_record


def open_run(folder: Path) -> Run:
    return Run(folder, {"device": "pixel6", "seed": 0, "teacher": None, "data": ["a b", 'c"d']})


def test_a_stage_is_made_once_and_kept(tmp_path: Path) -> None:
    created = []

    def make(folder: Path) -> dict[str, int]:
        created.append(folder)
        (folder / "weights.bin").write_bytes(b"123")
        return {"n": 3}

    run = open_run(tmp_path / "r")
    first = run.stage("teacher", {"a": 1}, make)
    run.close()
    again = open_run(tmp_path / "r")
    second = again.stage("teacher", {"a": 1}, make)
    assert len(created) == 1
    assert (first.result, second.result) == ({"n": 3}, {"n": 3})
    assert (first.reused, second.reused) == (False, True)
    assert second.path.name == f"01-teacher-{first.key}"
    assert (second.path / "weights.bin").read_bytes() == b"123"


def test_other_inputs_or_versions_make_another_stage(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r")
    keys = {
        run.stage("s", {"a": 1}, lambda folder: None).key,
        run.stage("s", {"a": 2}, lambda folder: None).key,
        run.stage("s", {"a": 1}, lambda folder: None, version=2).key,
    }
    assert len(keys) == 3


def test_why_a_stage_is_made_again_is_told(tmp_path: Path) -> None:
    notes: list[str] = []

    def command(inputs: dict[str, int], version: int = 1) -> None:
        run = Run(tmp_path / "run", {}, lambda event: notes.append(event.get("text", "")))
        run.stage("teacher", inputs, lambda folder: {}, version=version)
        run.close()

    command({"seed": 0, "epochs": 1})
    command({"seed": 1, "epochs": 1})
    command({"seed": 1, "epochs": 1})
    command({"seed": 1, "epochs": 1}, version=2)
    assert [note for note in notes if note] == [
        "teacher is made again: seed changed",
        "teacher is made again: this edgebert makes it in another way",
    ]


def test_a_killed_stage_leaves_no_result_and_a_resumable_one_finds_its_work(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r")

    def killed(folder: Path) -> None:
        (folder / "work").mkdir(exist_ok=True)
        (folder / "work" / "checkpoint").write_text("step 5")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.stage("train", {}, killed, resumable=True)
    assert not list((tmp_path / "r" / "stages").glob("[0-9]*"))
    seen = []

    def resumed(folder: Path) -> str:
        seen.append((folder / "work" / "checkpoint").read_text())
        return "done"

    stage = run.stage("train", {}, resumed, resumable=True)
    assert seen == ["step 5"]
    assert not (stage.path / "work").exists(), "what training left behind is not part of the result"


def test_a_stage_that_is_not_resumable_starts_empty(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r")

    def killed(folder: Path) -> None:
        (folder / "half.onnx").write_text("half")
        raise OSError("boom")

    with pytest.raises(OSError, match="boom"):
        run.stage("convert", {}, killed)
    stage = run.stage("convert", {}, lambda folder: sorted(p.name for p in folder.iterdir()))
    assert stage.result == []


def test_a_damaged_stage_is_made_again(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r")
    counter = []

    def make(folder: Path) -> None:
        counter.append(1)
        (folder / "model").write_text("right")

    stage = run.stage("convert", {}, make)
    (stage.path / "model").write_text("wrong")
    run.close()
    again = open_run(tmp_path / "r")
    assert (again.stage("convert", {}, make).path / "model").read_text() == "right"
    assert len(counter) == 2


def test_a_stage_of_a_sibling_run_is_linked(tmp_path: Path) -> None:
    item = open_run(tmp_path / "one")
    item.stage("teacher", {"w": 1}, lambda folder: (folder / "f").write_text("x") and {"f1": 0.9})
    item.close()
    two = open_run(tmp_path / "two")
    stage = two.stage("teacher", {"w": 1}, lambda folder: pytest.fail("made again"))
    assert stage.result == {"f1": 0.9}
    assert stage.path.is_relative_to(tmp_path / "two")
    assert stage.reused


def test_two_processes_cannot_hold_one_run(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r")
    with pytest.raises(RunError, match="another edgebert"):
        open_run(tmp_path / "r")
    run.close()
    open_run(tmp_path / "r").close()


def test_a_folder_of_the_users_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not empty"):
        open_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("place", ["/proc/edgebert/run", "{tmp}/file/run"])
def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write here"):
        open_run(Path(place.format(tmp=tmp_path)))


def test_the_request_is_kept_as_toml(tmp_path: Path) -> None:
    from edgebert.files import read_toml

    open_run(tmp_path / "r").close()
    assert read_toml(tmp_path / "r" / "request.toml") == {"device": "pixel6", "seed": 0, "data": ["a b", 'c"d']}


def test_write_atomic_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\ud800")
    assert path.read_text() == "old"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    beside = tmp_path / ".record.json.new"
    beside.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "record.json", "x" * 10)
    assert list(tmp_path.iterdir()) == []


def test_replace_folder_keeps_the_old_one_when_the_block_fails(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with replace_folder(target) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(ValueError, match="boom"), replace_folder(target) as folder:
        (folder / "a").write_text("2")
        raise ValueError("boom")
    assert (target / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    with replace_folder(target) as folder:
        (folder / "b").write_text("3")
    assert [path.name for path in target.iterdir()] == ["b"]


def test_runs_are_listed_with_what_is_done_and_what_is_open(tmp_path: Path) -> None:
    run = open_run(tmp_path / "one")
    stage = run.stage("teacher", {}, lambda folder: None)
    with pytest.raises(KeyboardInterrupt):
        run.stage("compress-L3", {}, _interrupt, resumable=True)
    (listed,) = list_runs(tmp_path)
    assert listed["name"] == "one"
    assert listed["done"] == [f"01-teacher-{stage.key}"]
    assert listed["open"] == ["compress-L3"]
    assert listed["bundle"] is False


def _interrupt(folder: Path) -> None:
    raise KeyboardInterrupt


def test_events_are_one_json_object_a_line(tmp_path: Path) -> None:
    seen = []
    run = Run(tmp_path / "r", {"task": "ner"}, seen.append)
    run.stage("data", {}, lambda folder: None)
    lines = [json.loads(line) for line in (tmp_path / "r" / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "begin", "done"]
    assert lines == seen


def test_digest_does_not_depend_on_key_order_or_container() -> None:
    assert digest({"a": (1, 2), "b": Path("x")}) == digest({"b": "x", "a": [1, 2]})
    assert plain({"a": (1, Path("x"))}) == {"a": [1, "x"]}


def test_a_recipe_that_leaves_no_note_has_none() -> None:
    score = {"metric": "F1", "value": 0.5, "split": "dev", "n": 4}
    stage = Stage(
        "compress-L3",
        "k",
        Path(),
        {"dev": score, "test": score, "task": {}, "n_parameters": 1, "notes": []},
        0.0,
        False,
    )
    assert student_record(stage).notes == ()


def test_what_failed_for_one_device_can_be_written_as_json() -> None:
    error = RunError("no student fits", where="tiny.toml", hint="Allow more.")
    item = plain(DeviceResult("tiny.toml", 1, errors=(error,)))
    assert json.loads(json.dumps(item))["errors"] == [str(error)]
    assert "no student fits" in str(error) and "tiny.toml" in str(error)
