"""What the system refuses, kills, or damages: one message, nothing lost, and the same command goes on."""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import edgebert
from edgebert.cli import _stop, main
from edgebert.cli._stop import Stopped, end_children, stoppable
from edgebert.devices.profiles import load_device
from edgebert.errors import EdgebertError, RequestError, RunError
from edgebert.faults import check_writable, fault_of, faults_as_errors
from edgebert.files import name_of, replace_folder, slug
from edgebert.runs.listing import list_runs, read_stages
from edgebert.runs.store import Run
from edgebert.workflows.compress import check_student_folder

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes, and grows, a small file system."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def mount(kilobytes: int) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={kilobytes}k"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted = True
        return place

    if not shutil.which("mount"):
        pytest.skip("there is no mount here")
    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def met(error: Exception, context: Exception) -> Exception:
    error.__context__ = context
    return error


# ---------------------------------------------------------------- errors become messages


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (FULL, "the disk is full"),
        (caused(RuntimeError("cannot save"), FULL), "the disk is full"),
        (met(ValueError("closing failed"), met(RuntimeError("x"), FULL)), "the disk is full"),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
        (Exception('IoError(Os { code: 122, message: "Disk quota exceeded" })'), "your quota of this disk is used up"),
        (OSError(errno.EDQUOT, ""), "your quota of this disk is used up"),
        (OSError(errno.EROFS, ""), "this file system can only be read"),
        (PermissionError(errno.EACCES, ""), "permission denied"),
        (OSError(errno.EIO, ""), "the disk failed to read or write"),
        (OSError(errno.EFBIG, ""), "this file system does not take a file of that size"),
        (OSError(errno.ENAMETOOLONG, ""), "the name is too long for this file system"),
        (OSError(errno.EMFILE, ""), "too many files are open in this process"),
        (OSError(errno.ESTALE, ""), "the network's file system went away"),
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "there is not enough memory"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_a_message_with_a_place(error: Exception, what: str, tmp_path: Path) -> None:
    with pytest.raises(RunError) as raised, faults_as_errors(tmp_path, needs_bytes=5_000_000):
        raise error
    assert (raised.value.what, raised.value.where) == (what, str(tmp_path))
    assert raised.value.hint
    assert raised.value.exit_code == 2
    if "full" in what:
        assert "MB are free there, about 5 MB are needed in all." in raised.value.hint


def test_the_file_that_the_error_names_is_the_place() -> None:
    fault = fault_of(OSError(errno.ENOSPC, "No space left on device", "/somewhere/model.onnx"))
    assert fault is not None and fault.where == "/somewhere/model.onnx"


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("no space"), FileNotFoundError(errno.ENOENT, "")])
def test_other_errors_stay_what_they_are(error: Exception, tmp_path: Path) -> None:
    assert fault_of(error, tmp_path) is None
    with pytest.raises(type(error)), faults_as_errors(tmp_path):
        raise error


def test_a_message_of_ours_stays_what_it_is() -> None:
    assert fault_of(caused(RequestError("unknown device"), FULL)) is None


def _torch(path: str) -> None:
    import torch

    torch.save({"a": torch.zeros(1 << 20)}, path)


def _safetensors(path: str) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1 << 20)}, path)


def _tokenizer(path: str) -> None:
    from tests.conftest import make_tokenizer

    make_tokenizer().save(path)


def _onnx(path: str) -> None:
    import onnx

    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), path)


def _image(path: str) -> None:
    from matplotlib.figure import Figure

    Figure().savefig(path, format="png")


@pytest.mark.parametrize("write", [_torch, _safetensors, _tokenizer, _onnx, _image])
def test_every_library_that_writes_for_us_is_understood(
    write: Callable[[str], None], tmpfs: Callable[[int], Path]
) -> None:
    place = tmpfs(4)
    (place / "other").write_bytes(b"x")  # the one page that there was
    with pytest.raises(RunError, match="the disk is full"), faults_as_errors(place):
        write(str(place / "made"))


def test_torch_that_tells_no_reason_on_a_disk_with_room_is_a_disk_that_failed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the disk failed"), faults_as_errors(tmp_path):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")


# ---------------------------------------------------------------- the command line


def ended(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException) -> tuple[Any, str]:
    """Exit code and message of a command in which this is raised."""

    def failing() -> None:
        raise error

    monkeypatch.setattr("edgebert.api.list_devices", failing)
    with pytest.raises(SystemExit) as raised:
        main(["devices"])
    return raised.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OSError(errno.ENOSPC, "", "/disk/x"), 2, "error: /disk/x: the disk is full\n"),
        (KeyError("x"), 70, "internal error: KeyError: 'x'\n"),
        (EOFError("Ran out of input"), 70, "internal error: EOFError: Ran out of input\n"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT; "),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, description = ended(capsys, monkeypatch, error)
    assert result == code
    assert told in description
    if code == 70:
        assert "--debug" in description and "report" in description


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_raises_once_and_the_handlers_come_back(name: str) -> None:
    number = getattr(signal, name)
    kept = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Stopped) as raised, stoppable():
            try:
                os.kill(os.getpid(), number)
                time.sleep(5)
            finally:
                os.kill(os.getpid(), number)  # an impatient second one must not cut the tidying short
        assert raised.value.exit_code == 128 + number
        assert str(raised.value) == f"stopped by {name}; the same command begins again"
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, kept)


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_children_and_theirs_are_gone_also_those_that_do_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stop, "CHILDREN_S", 0.3)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(99)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {deaf!r}])"
    child = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    pids = [child.pid, *(item.pid for item in psutil.Process(child.pid).children())]
    assert len(pids) == 2
    end_children()
    child.communicate()  # closes the pipe, too
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def test_progress_that_nobody_reads_ends_no_work(capsys: pytest.CaptureFixture[str]) -> None:
    from edgebert.cli._progress import Progress

    progress = Progress()

    def failing(line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    progress._print = failing  # type: ignore[method-assign]
    progress({"event": "note", "text": "hello"})
    assert progress.quiet


# ---------------------------------------------------------------- where is written


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["new", "new/er/est", "folder", "folder/new", "file"])
def test_what_can_be_written_is_tried_and_nothing_is_left(name: str, places: Path) -> None:
    before = sorted(places.rglob("*"))
    check_writable(places / name, "--output")
    assert sorted(places.rglob("*")) == before


def test_nothing_is_left_where_not_a_byte_can_be_written(places: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sorted(places.rglob("*"))
    gc.disable()  # which would delete what an error left
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        check_writable(places / "new", "--output")
    except RunError as error:
        kept = error  # with the frames in which it was raised
        left = sorted(places.rglob("*"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        gc.enable()
    assert "cannot write here" in kept.what and left == before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("file/new", "a file is where a folder must be"),
        ("file/new/er", "a file is where a folder must be"),
        ("n" * 300, "the name is too long for this file system"),
        ("a\0b", "null byte"),
        ("/proc/edgebert/run", "cannot write here"),
        ("/sys/edgebert", "cannot write here"),
    ],
)
def test_what_cannot_be_written_is_refused(name: str, why: str, places: Path) -> None:
    with pytest.raises(RunError, match=why) as raised:
        check_writable(places / name, "--output")
    assert raised.value.hint == "Choose another --output."


def test_a_student_replaces_nothing_that_is_read_or_not_its_own(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = places / "model", places / "out"
    for folder in (model, out):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    check_student_folder(out, True, (str(model),))
    with pytest.raises(RequestError, match="not empty"):
        check_student_folder(out, False, (str(model),))
    for data in (str(out / "config.json"), f"train={out / 'config.json'}"):
        with pytest.raises(RequestError, match="which is read"):
            check_student_folder(out, True, (str(model), data))
    for place in (model, places, Path(f"{model}/../model")):
        with pytest.raises(RequestError, match=r"which is read|is not|holds"):
            check_student_folder(place, True, (str(model),))
    with pytest.raises(RequestError, match="a file"):
        check_student_folder(places / "file", True, (str(model),))
    (out / "thesis.md").write_text("years of work")
    with pytest.raises(RequestError, match=r"holds thesis\.md"):
        check_student_folder(out, True, (str(model),))
    monkeypatch.chdir(places / "folder")
    for place in (Path(), Path(".."), places):
        with pytest.raises(RequestError, match="folder that you are in"):
            check_student_folder(place, True, (str(model),))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("pixel6", "pixel6"), ("../../evil", "evil"), ("..", "data"), ("/etc/passwd", "passwd"), ("a b/c d", "c-d"),
        ("", "data"), ("ü" * 99, "ü" * 40), ("a\\..\\b", "a-..-b"),
    ],
)  # fmt: skip
def test_a_name_in_a_folders_name_leads_nowhere(name: str, kept: str) -> None:
    assert slug(name) == kept


@pytest.mark.parametrize("name", ["../../evil", "..", ".", "/tmp/evil", "a/b", "a\\\\b", "a\\nb"])
def test_a_profile_whose_name_is_a_path_is_refused(name: str, tmp_path: Path) -> None:
    packaged = Path(edgebert.__file__).parent / "device_profiles" / "pixel6.toml"
    text = packaged.read_text(encoding="utf-8").replace('name = "pixel6"', f'name = "{name}"', 1)
    assert name in text
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=r"cannot name a device|control character"):
        load_device(str(tmp_path / "mine.toml"))


def test_outputs_are_named_after_the_folder_also_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (name_of("."), name_of("owner/model"), name_of("..")) == (tmp_path.name, "model", tmp_path.parent.name)


# ---------------------------------------------------------------- the run folder


def a_run(folder: Path, events: list[dict[str, Any]] | None = None) -> Run:
    return Run(
        folder,
        {"device": "pixel6", "params": {"kd.hard_label_weight": "1"}},
        events.append if events is not None else None,
    )


def made(run: Run, name: str = "teacher", text: str = "weights", **options: Any) -> Any:
    def make(folder: Path) -> dict[str, int]:
        (folder / "model").write_text(text)
        return {"n": 1}

    return run.stage(name, {"a": 1}, make, **options)


def test_a_disk_that_is_full_before_the_request_is_written(tmpfs: Callable[[int], Path]) -> None:
    folder = tmpfs(4) / "run"
    folder.mkdir()
    (folder.parent / "other").write_bytes(b"x")  # the one page that there was
    with pytest.raises(RunError, match="the disk is full"):
        a_run(folder)
    tmpfs(64)
    run = a_run(folder)
    assert made(run).result == {"n": 1}


def test_a_disk_that_is_full_in_a_stage_costs_no_training(tmpfs: Callable[[int], Path]) -> None:
    folder = tmpfs(64) / "run"
    trained: list[str] = []

    def train(place: Path) -> dict[str, int]:
        checkpoint = place / "work" / "checkpoint-9"
        if not checkpoint.exists():
            checkpoint.parent.mkdir(exist_ok=True)
            checkpoint.write_text("step 9")
            trained.append("from the start")
        (place / "weights").write_bytes(b"x" * 80_000)
        return {"n": 1}

    run = a_run(folder)
    with pytest.raises(RunError, match="the disk is full"), faults_as_errors(run.folder):
        run.stage("teacher", {}, train, resumable=True)
    run.close()
    with pytest.raises(RunError, match="the disk is full"):  # before anything is computed
        a_run(folder)
    tmpfs(400)
    run = a_run(folder)
    assert run.stage("teacher", {}, train, resumable=True).result == {"n": 1}
    assert trained == ["from the start"]
    lines = (folder / "events.jsonl").read_text().splitlines()
    assert all(line.startswith("{") and line.endswith("}") for line in lines), "no half line swallowed another"


@pytest.mark.parametrize("n", range(1, 7))
def test_a_full_disk_at_any_write_of_a_run(n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th of all files that a run opens to write cannot be written: request, events, stages, record, manifest."""
    folder, count, opened = tmp_path / "run", 0, Path.open

    def failing(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        nonlocal count
        if set(mode) & set("wa") and path.is_relative_to(tmp_path):
            count += 1
            if count == n:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return opened(path, mode, *rest, **named)

    def work() -> None:
        run = a_run(folder)
        try:
            with faults_as_errors(folder):
                made(run)
                run.write_manifest(created="now")
        finally:
            run.close()

    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(RunError, match="the disk is full") as raised:
        work()
    assert raised.value.where and raised.value.where.startswith(str(folder))
    work()
    assert json.loads((folder / "manifest.json").read_text())["stages"][0]["files"]["model"]["bytes"] == 7
    assert not [path for path in folder.rglob(".*") if path.name != ".lock"]


def test_a_stage_that_is_done_but_for_its_renaming_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path / "r")
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda path, to: _killed() if path.name.endswith(".partial") else replace(path, to)
    )
    with pytest.raises(KeyboardInterrupt):
        made(run, resumable=True)
    monkeypatch.undo()
    stage = run.stage("teacher", {"a": 1}, lambda folder: pytest.fail("made again"), resumable=True)
    assert stage.result == {"n": 1} and stage.path.name.startswith("01-teacher")


def _killed() -> None:
    raise KeyboardInterrupt


def test_what_a_kill_left_is_swept_when_the_lock_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run = a_run(folder)
    stage = made(run).path
    run.close()
    for name in ("stages/.convert-x-0.making", "stages/.02-x.linking", ".bundle.new", ".report.old"):
        (folder / name).mkdir()
        (folder / name / "half").write_text("half")
    (folder / ".manifest.json.new").write_text("half")
    (folder / "report").mkdir()
    (folder / ".bundle.old").mkdir()
    (folder / ".bundle.old" / "model").write_text("whole")
    (folder / "stages" / ".teacher-1.partial").mkdir()
    a_run(folder).close()
    assert (folder / "bundle" / "model").read_text() == "whole", "it was killed between two renames"
    hidden = sorted(path.name for path in folder.rglob(".*"))
    assert hidden == [".lock", ".teacher-1.partial"], "a training can go on from the last"
    assert stage.exists()


DAMAGE = {
    "empty": b"", "cut": b'{"stage": "teacher", "res', "binary": bytes(range(256)), "list": b"[]", "null": b"null",
    "number": b"1", "no digest": b'{"stage": "teacher"}', "deep": b"[" * 100_000,
    "types": b'{"digest": 1, "files": 7, "result": [], "seconds": "x"}',
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_told_and_its_stage_made_again(damage: str, tmp_path: Path) -> None:
    folder, events = tmp_path / "r", []
    run = a_run(folder)
    record = made(run).path / "record.json"
    run.close()
    record.write_bytes(DAMAGE[damage])
    assert [stage["damaged"] for stage in read_stages(folder)] == [True]
    assert list_runs(tmp_path)[0]["name"] == "r"
    run = a_run(folder, events)
    assert made(run).result == {"n": 1}
    assert [event["event"] for event in events] == ["start", "damaged", "begin", "done"]


def test_a_record_in_which_one_number_changed_is_damaged(tmp_path: Path) -> None:
    run = a_run(tmp_path / "r")
    record = made(run).path / "record.json"
    record.write_text(record.read_text().replace('"n": 1', '"n": 2'))
    assert made(run).result == {"n": 1}


def test_a_record_that_cannot_be_read_now_is_not_taken_for_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path / "r")
    stage = made(run).path
    read = Path.read_text

    def refusing(path: Path, *rest: Any, **named: Any) -> str:
        if path.name == "record.json":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return read(path, *rest, **named)

    monkeypatch.setattr(Path, "read_text", refusing)
    with pytest.raises(RunError, match="the disk failed to read"), faults_as_errors(tmp_path):
        made(run)
    assert (stage / "model").read_text() == "weights", "hours of training are not thrown away"


@pytest.mark.parametrize("name", ["request.toml", "events.jsonl", "manifest.json", "plan.json"])
@pytest.mark.parametrize("damage", ["empty", "cut", "binary"])
def test_a_run_goes_on_with_its_other_files_damaged(name: str, damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run = a_run(folder)
    stage = made(run)
    run.close()
    (folder / name).write_bytes(DAMAGE[damage])
    run = a_run(folder)
    assert made(run).path == stage.path
    assert made(run).reused
    lines = (folder / "events.jsonl").read_bytes().split(b"\n")
    assert json.loads(lines[-2])["event"] == "kept", "the events after a cut line are whole"
    assert list_runs(tmp_path)[0]["name"] == "r"


@pytest.mark.parametrize("name", ["bundle", "report", "stages", "rejected", "events.jsonl", "plan.json"])
def test_a_file_for_a_folder_is_found_before_anything_is_made(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    a_run(folder).close()
    if (folder / name).is_dir():
        shutil.rmtree(folder / name)
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir() if "." in name else (folder / name).write_text("mine")
    with pytest.raises(RunError, match="must be") as raised:
        a_run(folder)
    assert raised.value.where == str(folder / name)


def test_a_run_that_moved_keeps_its_stages(tmp_path: Path) -> None:
    run = a_run(tmp_path / "r")
    made(run)
    run.close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "r").rename(tmp_path / "elsewhere" / "other")
    assert made(a_run(tmp_path / "elsewhere" / "other")).reused


def test_a_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(a_run(tmp_path / "one"))

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert (made(a_run(tmp_path / "two"), text="made again").path / "model").read_text() == "weights"


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_told(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    events: list[dict[str, Any]] = []
    run = a_run(tmp_path / "r", events)
    assert made(run).result == {"n": 1}
    run.close()
    assert "no locks" in next(event["text"] for event in events if event["event"] == "note")


def test_a_sibling_that_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(a_run(tmp_path / "one"))
    read = Path.read_text

    def refusing(path: Path, *rest: Any, **named: Any) -> str:
        if path.name == "record.json" and "one" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path, *rest, **named)

    monkeypatch.setattr(Path, "read_text", refusing)
    assert not made(a_run(tmp_path / "two")).reused


def test_a_request_of_any_kind_is_toml(tmp_path: Path) -> None:
    from edgebert.files import read_toml

    params = {"kd.hard_label_weight": "1", "a b": None, "odd \x7f\n": [1.5, float("inf")]}
    Run(tmp_path / "r", {"params": params, "data": ("caf\udce9.conll",), "seed": 0}).close()
    result = read_toml(tmp_path / "r" / "request.toml")
    assert result == {
        "params": {"kd.hard_label_weight": "1", "odd \x7f\n": [1.5, float("inf")]},
        "data": ["caf?.conll"],
        "seed": 0,
    }


@pytest.mark.parametrize("fails", ["first", "second"])
def test_replacing_a_folder_leaves_one_or_the_other(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    rename, done = Path.rename, []

    def failing(path: Path, to: Path) -> Path:
        done.append(path)
        if len(done) == (1 if fails == "first" else 2):
            raise FULL
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"), replace_folder(target) as folder:
        (folder / "new").write_text("new")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["bundle", "bundle/old"]


# ---------------------------------------------------------------- the whole line


def test_a_full_disk_at_each_stage_of_a_fit_and_the_same_command_goes_on(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run in which each stage fails once, as the library that writes there fails."""
    run = tmp_path / "runs" / "full"

    def fit() -> edgebert.types.FitResult:
        return edgebert.fit(
            "pixel6", "ner", teacher=str(toy_checkpoint), data=str(toy_data), run=str(run), teacher_epochs=1, epochs=1,
            recipe="drop-layers+kd", params={"drop-layers.n_layers": "2"}, formats=("onnx",), max_drop=99, on="none",
        )  # fmt: skip

    rust = Exception("I/O error: No space left on device (os error 28)")
    for target, error in (
        ("edgebert.runs.store.write_atomic", FULL),
        ("transformers.Trainer._save_checkpoint", rust),
        ("edgebert.workflows.stages.save_checkpoint", rust),
        ("edgebert.workflows.stages.fit_teacher", caused(RuntimeError("cannot save"), FULL)),
        ("edgebert.workflows.fit.write_atomic", FULL),
        ("edgebert.workflows.stages.choose_variant", FULL),
        ("edgebert.workflows.stages.compare_task", FULL),
        ("edgebert.workflows.profiling._measure_here", FULL),
        ("edgebert.workflows.fit.keep_rejected", FULL),
        ("edgebert.bundle.write.copy_tree", FULL),
        ("edgebert.report.html.render", FULL),
        ("edgebert.runs.store.Run.write_manifest", FULL),
    ):
        calls = []

        def refuse(*_: Any, error: Exception = error, calls: list[int] = calls, **__: Any) -> None:
            calls.append(1)
            raise error

        with monkeypatch.context() as patch:
            try:
                patch.setattr(target, refuse)
            except AttributeError:
                continue  # another module does it now
            try:
                fit()
            except EdgebertError as told:
                assert isinstance(told, RunError), f"{target}: {told}"
            else:
                assert not calls, f"{target} was refused, and nothing was told"
    done = [stage["name"] for stage in read_stages(run)]
    assert len(done) == len(set(done)), "no stage was made twice"
    begun = (run / "events.jsonl").read_text().count('"event": "begin"')
    result = fit()
    assert result.bundle is not None and (run / "manifest.json").exists()
    assert (run / "events.jsonl").read_text().count('"event": "begin"') == begun, "every stage was finished before"
