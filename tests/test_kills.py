"""Signals that come at a bad moment, and what a killed process leaves: temporary folders, and runs that go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from edgebert.cli._progress import Progress
from edgebert.cli._stop import Stopped, stoppable
from edgebert.errors import RunError
from edgebert.faults import faults_as_errors
from edgebert.runtime.scratch import PREFIX, library_scratch, scratch_folder

ROOT = Path(__file__).parents[1]


class SignalWhenDeleted:
    """What the handler raises here Python drops."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        for _ in range(1000):
            pass


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_within_a_del_is_not_lost(name: str) -> None:
    number = getattr(signal, name)
    kept, hook = signal.signal(number, signal.SIG_DFL), sys.unraisablehook
    try:
        began = time.monotonic()
        with pytest.raises(Stopped, match=f"stopped by {name}"), stoppable():
            item: object = SignalWhenDeleted(number)
            del item
            time.sleep(20)
        assert time.monotonic() - began < 10
        assert sys.unraisablehook is hook
    finally:
        signal.signal(number, kept)


def test_what_else_python_drops_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))

    class Failing:
        def __del__(self) -> None:
            raise KeyError

    with stoppable():
        item: object = Failing()
        del item
    assert told == [KeyError]


def test_a_signal_that_a_library_catches_ends_the_command_at_the_next_event() -> None:
    kept = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    progress = Progress(quiet=True)
    try:
        with pytest.raises(Stopped, match="stopped by SIGTERM"), stoppable():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            except BaseException:  # as some libraries do
                pass
            progress({"event": "step", "training": "kd", "step": 1, "steps": 2})
    finally:
        signal.signal(signal.SIGTERM, kept)
    progress({"event": "step", "training": "kd", "step": 1, "steps": 2})  # of the next command


# ---------------------------------------------------------------- temporary folders


def folders(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


HOLDING = """
import sys, time
from edgebert.runtime.scratch import scratch_folder
with scratch_folder("job-", sys.argv[1]) as folder:
    (folder / "job.json").write_text("{}")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_a_folder_of_a_killed_process_goes_with_the_next_and_that_of_a_live_one_stays(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    try:
        places = [Path(str(item.stdout and item.stdout.readline().strip())) for item in processes]
        processes[0].kill()
        processes[0].wait()
        assert all(place.is_dir() for place in places)
        ended: list[Path] = []
        with scratch_folder("job-", str(tmp_path), end=ended.append) as folder:
            assert folder.is_dir() and not places[0].exists()
            assert (places[1] / "job.json").exists(), "its process lives"
        assert ended == [places[0]]
        assert folders(tmp_path) == [places[1].name]
    finally:
        for item in processes:
            item.kill()
            item.communicate()


LIBRARY = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from edgebert.runtime.scratch import library_scratch
with library_scratch(), tempfile.TemporaryDirectory(prefix="ort.quant.") as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_library_left_when_its_process_was_killed_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", LIBRARY, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        left = Path(str(process.stdout and process.stdout.readline().strip()))
    finally:
        process.kill()
        process.communicate()
    assert left.is_dir() and left.parent.parent == tmp_path
    with library_scratch():
        assert not left.exists()
        assert Path(tempfile.mkdtemp()).parent.parent == tmp_path
    assert folders(tmp_path) == [] and tempfile.gettempdir() == str(tmp_path)


def test_a_browser_whose_command_was_killed_is_ended_with_its_folder(tmp_path: Path) -> None:
    from edgebert.measure.targets._browser_process import _end_all

    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    mine, other = (subprocess.Popen([*sleep, f"--user-data-dir={tmp_path / name}/profile"]) for name in ("a", "b"))
    try:
        _end_all(tmp_path / "a")
        assert mine.wait(10) != 0
        assert other.poll() is None
    finally:
        for item in (mine, other):
            item.kill()
            item.wait()


def test_only_folders_of_the_same_kind_and_no_links_are_deleted(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("years of work")
    place = tmp_path / "tmp"
    for name in (f"{PREFIX}other-1", f"{PREFIX}job-1", "job-1"):
        (place / name).mkdir(parents=True)
    (place / f"{PREFIX}job-link").symlink_to(mine)
    (place / f"{PREFIX}job-file").write_text("x")
    with scratch_folder("job-", str(place)):
        pass
    assert folders(place) == [f"{PREFIX}job-file", f"{PREFIX}job-link", f"{PREFIX}other-1", "job-1"]
    assert (mine / "thesis").exists()


def test_an_error_within_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyError), scratch_folder("job-", str(tmp_path)) as folder:
        (folder / "a").mkdir()
        raise KeyError
    assert folders(tmp_path) == []


def test_without_locks_nothing_is_deleted_that_may_be_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / f"{PREFIX}job-1").mkdir()
    with scratch_folder("job-", str(tmp_path)) as folder:
        assert folder.is_dir()
    assert folders(tmp_path) == [f"{PREFIX}job-1"]


def test_no_folder_for_temporary_files_is_an_error_that_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "nothing")])
    monkeypatch.setattr(tempfile, "tempdir", None)
    raised = pytest.raises(RunError, match="no folder that temporary files")
    with raised as caught, faults_as_errors(tmp_path), scratch_folder("job-"):
        pass
    assert caught.value.hint and "TMPDIR" in caught.value.hint


# ---------------------------------------------------------------- a whole run


@pytest.mark.slow
def test_kills_at_random_moments_of_a_fit(tmp_path: Path) -> None:
    """The benchmark with one run folder: it is killed in every stage, and its page tells no fault."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    page = tmp_path / "kills.md"
    command = [sys.executable, "-m", "benchmarks.reliability.kills", "--kills", "14", "--no-signals"]
    done = subprocess.run(
        [*command, "--output", str(page)], cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "| all | 14 |" in page.read_text()
    assert "FAULT" not in page.read_text()
