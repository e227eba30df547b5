"""The ssh target against a real sshd on the loopback, through the real ssh: what goes right, and what goes wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.errors import EdgebertError, RequestError
from edgebert.measure.compare import compare
from edgebert.measure.targets import TARGETS, File, Job, Outcome, ssh
from edgebert.measure.targets._ssh import Connection, check_address, refusal
from tests.sshd import PROGRAM, Board, board, make_key, write_config, write_program
from tests.test_bundle import make_model, weights

pytestmark = pytest.mark.skipif(
    PROGRAM is None or shutil.which("ssh") is None, reason="needs OpenSSH's client and server"
)
NASTY = 'a model; it\'s "new" $(here).onnx'
INPUTS = ({"input_ids": [[2, 8, 3]]}, {"input_ids": [[2, 4, 5, 10, 3]]})


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with board(tmp_path_factory.mktemp("far")) as item:
        yield item


@pytest.fixture(autouse=True)
def _configured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "far" in request.fixturenames:
        monkeypatch.setenv("EDGEBERT_SSH_CONFIG", str(request.getfixturevalue("far").config))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    make_model(tmp_path / NASTY, weights())
    return tmp_path / NASTY


def job(*paths: Path, **more: Any) -> Job:
    files = tuple(File(path.name, "tflite" if path.suffix == ".tflite" else "onnx", path) for path in paths)
    return Job(files, INPUTS, **{"max_seconds": 0.2, "timeout_s": 60.0, **more})


def quietly(**event: Any) -> None:
    """No progress."""


@pytest.fixture
def with_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Board]]:
    """Another board whose sessions have these variables."""
    opened = []

    def start(**more: str) -> Board:
        folder = tmp_path / f"another{len(opened)}"
        folder.mkdir()
        opened.append(board(folder, more))
        entry = opened[-1].__enter__()
        monkeypatch.setenv("EDGEBERT_SSH_CONFIG", str(entry.config))
        return entry

    yield start
    for item in opened:
        item.__exit__(None, None, None)


# ---------------------------------------------------------------- what goes right


def test_a_file_is_measured_there_with_the_outputs_of_here_and_nothing_is_left(far: Board, model: Path) -> None:
    asked = job(model)
    outcome = ssh.measure("board", asked, quietly)
    (result,) = outcome.records
    assert outcome.how == "measured" and outcome.facts["bits"] == 64 and outcome.device
    assert not result.failure and result.runtime == "onnxruntime" and len(result.times_ms) >= 50
    assert result.load_ms > 0 and result.first_run_ms > 0 and result.peak_memory_bytes
    np.testing.assert_array_equal(np.asarray(result.outputs[0]["logits"])[0], weights()[[2, 8, 3]])
    agreement = compare(asked.files[0], asked, result)
    assert agreement.n == 2 and agreement.max_difference == 0 and agreement.equal_predictions == 1
    assert far.left_behind() == []
    assert list(far.home.iterdir()) == []


def test_several_files_and_a_folder_of_weights(far: Board, model: Path, tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "with weights; beside"
    folder.mkdir()
    onnx.save(onnx.load(str(model)), str(folder / "model.onnx"), save_as_external_data=True, location="w.data",
              size_threshold=0)  # fmt: skip
    assert (folder / "w.data").stat().st_size > 0
    outcome = ssh.measure("board", job(model, folder, threads=2), quietly)
    assert [result.failure for result in outcome.records] == ["", ""]
    assert outcome.records[0].outputs == outcome.records[1].outputs
    assert far.left_behind() == []


def test_what_a_login_shell_prints_does_not_confuse(far: Board, model: Path) -> None:
    (far.home / ".ssh").mkdir()
    (far.home / ".ssh" / "rc").write_text("echo welcome to the board\n")
    try:
        with Connection("board") as device:
            assert (
                Path(device.socket).is_socket()
                and device.folder.startswith(str(far.temporary))
                and device.ask("echo one; echo two") == "one\ntwo\n"
            )
        assert not Path(device.socket).exists()
        assert len(ssh.measure("board", job(model), quietly).records[0].times_ms) >= 50
    finally:
        shutil.rmtree(far.home / ".ssh")


def test_it_answers(far: Board) -> None:
    assert ssh.answers("board") == ""
    seen = ssh.look("board", ("onnx",))
    assert seen.called and seen.lacks == {} and far.left_behind() == []
    assert TARGETS.get("ssh") is ssh.TARGET


def test_nothing_is_left_when_the_program_here_is_killed(far: Board, tmp_path: Path) -> None:
    """SIGKILL: no finally runs on this side."""
    code = (
        "import sys, time; from edgebert.measure.targets._ssh import Connection\n"
        "device = Connection('board').__enter__()\n"
        "device.ask('echo x > \"$1/y\"', device.folder)\n"
        "print(device.socket, flush=True); time.sleep(60)\n"
    )
    root = Path(__file__).parent.parent
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        socket = Path(process.stdout.readline().decode().strip())
        assert socket.is_socket()
        assert [path.name[:9] for path in far.temporary.iterdir()] == ["edgebert."]
        process.kill()
    assert far.left_behind() == []
    for _ in range(100):
        if socket.exists():
            time.sleep(0.05)
    assert not socket.exists(), "and nothing here"


def test_a_python_under_an_emulator_is_told(model: Path, with_environment: Callable[..., Board]) -> None:
    """python3 there is run by a program whose name is an emulator's, as under qemu-user."""
    far = with_environment()
    emulator = far.folder / "bin" / "qemu-made-up"
    shutil.copyfile(shutil.which("dash") or "/bin/sh", emulator)
    emulator.chmod(0o755)
    write_program(far.folder / "bin" / "python3", f'#!{emulator}\n"{sys.executable}" "$@"\nexit "$?"\n')
    assert ssh.measure("board", job(model), quietly).how == "emulated"
    assert far.left_behind() == []


# ---------------------------------------------------------------- who is there


@pytest.mark.parametrize(
    "address", ["", "-oProxyCommand=touch x", "a b", "a;touch x", "it's", 'a"b', "$(x)", "a`b`", "a|b"]
)
def test_an_address_that_cannot_be_is_refused_before_ssh_sees_it(address: str, model: Path) -> None:
    with pytest.raises(RequestError, match=r"is no address of a host|no host is given"):
        ssh.measure(address, job(model), quietly)
    assert ssh.answers(address)


def test_plain_addresses_are_taken() -> None:
    for address in ("pi@raspberrypi", "board", "pi@192.168.1.7", "pi@fe80::1%eth0", "my-board_2.local"):
        assert check_address(address) == address


def raised(what: str, model: Path, address: str = "board") -> EdgebertError:
    with pytest.raises(EdgebertError, match=what) as caught:
        ssh.measure(address, job(model), quietly)
    assert caught.value.hint and caught.value.exit_code == 2
    assert ssh.answers(address) == caught.value.what
    return caught.value


def test_a_key_that_changed(far: Board, model: Path) -> None:
    known = far.folder / "known"
    right = known.read_text()
    other = make_key(far.folder / "other-host")
    try:
        known.write_text(f"[127.0.0.1]:{far.port} {' '.join(other.split()[:2])}\n")
        assert "ssh-keygen -R" in str(raised("not the one that this machine knows", model))
        known.write_text("")
        assert "fingerprint" in str(raised("not known yet", model))
        assert known.read_text() == "", "a key must never be taken on trust"
    finally:
        known.write_text(right)
    assert far.left_behind() == []


def test_a_user_who_is_not_let_in(far: Board, model: Path) -> None:
    make_key(far.folder / "stranger")
    write_config(far.folder, far.port, key="stranger")
    try:
        assert "ssh-copy-id" in str(raised("lets nobody in", model))
    finally:
        write_config(far.folder, far.port)


def test_nobody_there(far: Board, model: Path) -> None:
    write_config(far.folder, far.port + 1 if far.port < 65000 else far.port - 1)
    try:
        raised("no ssh server answers", model)
    finally:
        write_config(far.folder, far.port)
    raised("no host has this name", model, "nowhere.invalid")


@pytest.mark.parametrize(
    ("said", "code", "what"),
    [
        ("ssh: connect to host x port 22: Connection timed out", 255, "does not answer within"),
        ("ssh: connect to host x port 22: No route to host", 255, "cannot be reached"),
        ("ssh: connect to host x port 22: Network is unreachable", 255, "cannot be reached"),
        ("mktemp: failed to create directory: Read-only file system", 97, "no folder can be made"),
        ("", -9, "took the connection and then said nothing"),
        ("kex_exchange_identification: nonsense", 255, "ssh failed: kex_exchange_identification: nonsense"),
    ],
)
def test_complaints_that_need_a_network_to_provoke(said: str, code: int, what: str) -> None:
    assert what in refusal("pi@x", code, said).what


def test_no_ssh_here(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RequestError, match="no ssh program"):
        ssh.measure("board", job(model), quietly)
    assert "no ssh program" in ssh.answers("board")


# ---------------------------------------------------------------- what is there


def test_no_python_or_one_that_is_too_old(model: Path, with_environment: Callable[..., Board]) -> None:
    far = with_environment()
    program = far.folder / "bin" / "python3"
    write_program(program, '#!/bin/sh\necho "3 7"\n')
    with pytest.raises(RequestError, match=r"its Python is 3\.7, and the runner needs 3\.9 or later"):
        ssh.measure("board", job(model), quietly)
    assert far.left_behind() == []


def test_no_python(model: Path, with_environment: Callable[..., Board], tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "mktemp", "cat", "rm", "echo", "true"):
        (tools / name).symlink_to(shutil.which(name) or "")
    far = with_environment(PATH=str(tools))
    with pytest.raises(RequestError, match="the device has no python3") as caught:
        ssh.measure("board", job(model), quietly)
    assert "apt install python3" in str(caught.value)
    assert far.left_behind() == []


def isolated(far: Board, *options: str) -> None:
    """python3 there sees no packages of this Python."""
    write_program(far.folder / "bin" / "python3", f'#!/bin/sh\nexec "{sys.executable}" {" ".join(options)} "$@"\n')


def test_a_runtime_that_is_missing_names_the_command(model: Path, with_environment: Callable[..., Board]) -> None:
    far = with_environment()
    isolated(far, "-I", "-S")
    with pytest.raises(RequestError, match="onnxruntime is not installed there") as caught:
        ssh.measure("board", job(model), quietly)
    assert "edgebert devices prepare ssh:board" in str(caught.value)
    assert far.left_behind() == []


def test_a_system_of_32_bits_says_what_runs_there(
    model: Path, with_environment: Callable[..., Board], tmp_path: Path
) -> None:
    """A userland that says of itself what a 32-bit one says: pointers of 4 bytes, armv7l, no packages."""
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "sitecustomize.py").write_text(
        "import platform, struct, sys\nreal = struct.calcsize\n"
        "struct.calcsize = lambda form: 4 if form == 'P' else real(form)\nplatform.machine = lambda: 'armv7l'\n"
        "sys.path = [p for p in sys.path if 'site-packages' not in p]\n"
        "import importlib.util as u\nspec = u.find_spec\n"
        "gone = ('onnxruntime', 'ai_edge_litert', 'numpy')\n"
        "u.find_spec = lambda name, *a: None if name in gone else spec(name, *a)\n"
    )
    far = with_environment(PYTHONPATH=str(fake))
    with pytest.raises(RequestError, match=r"32-bit system \(armv7l\)") as caught:
        ssh.measure("board", job(model), quietly)
    assert "tflite-runtime" in str(caught.value) and "64-bit" in str(caught.value)
    assert far.left_behind() == []
    assert ssh.wanted({"bits": 32, "machine": "armv7l", "python": "3.9.2"}, "x") == ["numpy<2", "tflite-runtime"]
    with pytest.raises(RequestError, match="no runtime has wheels"):
        ssh.wanted({"bits": 32, "machine": "armv7l", "python": "3.13.1"}, "x")
    assert ssh.wanted({"bits": 64, "machine": "aarch64", "python": "3.9.2"}, "x") == ["numpy", "onnxruntime"]
    assert "ai-edge-litert" in ssh.wanted({"bits": 64, "machine": "aarch64", "python": "3.10.1"}, "x")


def test_a_file_that_the_runtime_refuses_does_not_cost_the_others(far: Board, model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"this is no model")
    outcome = ssh.measure("board", job(tmp_path / "broken.onnx", model), quietly)
    bad, good = outcome.records
    assert "refuses the file" in bad.failure and not bad.times_ms
    assert not good.failure and len(good.times_ms) >= 50


# ---------------------------------------------------------------- a target that dies or hangs


FAKE_RUNTIME = """
import os, signal, time
__version__ = "0"
class SessionOptions:
    def add_session_config_entry(self, *a): pass
class _Item:
    name, type = "input_ids", "tensor(int64)"
class _Meta:
    custom_metadata_map = {}
class InferenceSession:
    n = 0
    def __init__(self, path, options, providers): pass
    def get_inputs(self): return [_Item]
    def get_outputs(self): return [_Item]
    def get_modelmeta(self): return _Meta
    def run(self, names, feed):
        self.n += 1
        time.sleep(0.02)
        if self.n > 90: ACT
        return [feed["input_ids"]]
"""


def with_runtime(with_environment: Callable[..., Board], tmp_path: Path, act: str) -> Board:
    package = tmp_path / "runtime"
    package.mkdir()
    (package / "onnxruntime.py").write_text(FAKE_RUNTIME.replace("ACT", act))
    return with_environment(PYTHONPATH=str(package))


def test_a_runner_that_is_killed_leaves_what_it_measured(
    model: Path, with_environment: Callable[..., Board], tmp_path: Path
) -> None:
    far = with_runtime(with_environment, tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    outcome = ssh.measure("board", job(model, min_runs=10**6), quietly)
    (result,) = outcome.records
    assert len(result.times_ms) >= 20 and "killed" in result.failure
    assert far.left_behind() == []


@pytest.mark.slow
def test_a_runtime_that_hangs_is_stopped_at_the_limit(
    model: Path, with_environment: Callable[..., Board], tmp_path: Path
) -> None:
    far = with_runtime(with_environment, tmp_path, "time.sleep(1e4)")
    began = time.monotonic()
    outcome = ssh.measure("board", job(model, min_runs=10**6, timeout_s=6.0), quietly)
    (result,) = outcome.records
    assert time.monotonic() - began < 40
    assert len(result.times_ms) >= 20 and result.failure == "stopped after 6 s, the time limit"
    assert far.left_behind() == []


def test_a_board_that_loses_its_power_leaves_what_it_measured(
    model: Path, with_environment: Callable[..., Board], tmp_path: Path
) -> None:
    far = with_runtime(with_environment, tmp_path, "pass")
    kept: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: kept.append(ssh.measure("board", job(model, min_runs=10**6), quietly)), daemon=True
    )
    thread.start()
    time.sleep(8)
    assert runners(), "it has not begun"
    far.cut()
    thread.join(60)
    assert kept, "it still waits"
    (result,) = kept[0].records
    assert len(result.times_ms) >= 20 and result.failure == "the connection was lost while it measured"
    assert far.left_behind() == []
    ends = time.monotonic() + 20  # it looks once a second whether anybody still reads
    while runners() and time.monotonic() < ends:
        time.sleep(0.1)
    assert not runners(), "the runner outlived its connection"


def runners() -> list[int]:
    """Processes of a runner that a board of this test started."""
    import psutil

    results = []
    for process in psutil.process_iter(["pid", "cmdline", "environ"]):
        line = process.info["cmdline"] or []
        if "runner.py" in line and "far tmp; it's" in str(process.info["environ"]):
            results.append(process.info["pid"])
    return results


def test_a_death_before_anything_was_measured_is_an_error(
    model: Path, with_environment: Callable[..., Board], tmp_path: Path
) -> None:
    far = with_environment()
    script = (
        f'#!/bin/sh\ncase "$*" in *job.json*) echo "cannot allocate" >&2; exit 9;; esac\nexec "{sys.executable}" "$@"\n'
    )
    write_program(far.folder / "bin" / "python3", script)
    with pytest.raises(EdgebertError, match="exit status 9") as caught:
        ssh.measure("board", job(model), quietly)
    assert "cannot allocate" in str(caught.value)
    assert far.left_behind() == []


# ---------------------------------------------------------------- prepare


def make_wheel(folder: Path, name: str, module: str) -> None:
    """A package of this name that holds one empty module."""
    source = folder / f"source-{name}"
    source.mkdir(parents=True)
    (source / f"{module}.py").write_text("__version__ = '7.0'\n")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "7.0"\n[tool.setuptools]\npy-modules = ["{module}"]\n'
    )
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


def test_prepare_installs_into_a_folder_of_ours_and_measuring_uses_it(
    with_environment: Callable[..., Board], tmp_path: Path, model: Path
) -> None:
    wheels = tmp_path / "wheels"
    for name, module in (("numpy", "numpy"), ("onnxruntime", "onnxruntime"), ("ai-edge-litert", "ai_edge_litert")):
        make_wheel(wheels, name, module)
    far = with_environment(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels), PIP_CONFIG_FILE="/dev/null")
    description = ssh.prepare("board", quietly)
    assert "numpy 7.0, onnxruntime 7.0, ai_edge_litert 7.0" in description and "~/.local/share/edgebert" in description
    assert sorted(path.name for path in (far.home / ".local/share/edgebert").iterdir()) == ["venv"]
    assert far.left_behind() == []
    with Connection("board") as device:
        assert device.python == f"{far.home}/.local/share/edgebert/venv/bin/python"
        assert ssh.ask(device)["runtimes"]["onnxruntime"] == "7.0"
    shutil.rmtree(wheels)
    with pytest.raises(EdgebertError, match="pip cannot install there") as caught:
        ssh.prepare("board", quietly)
    assert "package index" in str(caught.value)
    assert sorted(path.name for path in (far.home / ".local/share/edgebert").iterdir()) == ["venv"], "the old one stays"


def test_no_venv_names_the_package(with_environment: Callable[..., Board]) -> None:
    far = with_environment()
    script = f'#!/bin/sh\nif [ "$2" = venv ]; then echo no ensurepip >&2; exit 1; fi\nexec "{sys.executable}" "$@"\n'
    write_program(far.folder / "bin" / "python3", script)
    with pytest.raises(RequestError, match="cannot make a virtual environment") as caught:
        ssh.prepare("board", quietly)
    assert "python3-venv" in str(caught.value)
    assert list((far.home / ".local/share/edgebert").iterdir()) == []


@pytest.mark.slow
def test_prepare_for_real_and_measure_with_it(with_environment: Callable[..., Board], model: Path) -> None:
    """Wheels from the package index that this machine's pip knows."""
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    far = with_environment(**pip)
    python = shutil.which("python3.11") or sys.executable
    write_program(far.folder / "bin" / "python3", f'#!/bin/sh\nexec "{python}" "$@"\n')
    assert "onnxruntime" in ssh.prepare("board", quietly)
    outcome = ssh.measure("board", job(model), quietly)
    assert len(outcome.records[0].times_ms) >= 50 and not outcome.records[0].failure
    assert far.left_behind() == []
