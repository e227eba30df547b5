"""A Raspberry Pi or any Linux board, by the user's own ssh: configuration, keys and known hosts are the user's.

    edgebert devices prepare ssh:pi@raspberrypi        once: numpy and the runtimes, in ~/.local/share/edgebert there
    edgebert profile model.onnx --on ssh:pi@raspberrypi

The device needs Python 3.9 or later. The runner and the files are copied into a folder that the connection removes when
it ends, however it ends.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebert.errors import EdgebertError, RequestError
from edgebert.measure import runner
from edgebert.measure.targets import DeviceInfo, Job, Log, Outcome, Target, lacking
from edgebert.measure.targets._follow import follow, job_json, outcome
from edgebert.measure.targets._ssh import CONNECT_S, RUN, VENV, Connection, check_address, refusal, ssh_command
from edgebert.runtime.scratch import scratch_folder

PACKAGES = {"onnxruntime": "onnxruntime", "ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}
OLDEST = (3, 9)
LITERT_FROM, TFLITE_UNTIL = (3, 10), (3, 11)  # Pythons that ai-edge-litert and tflite-runtime have wheels for
ON_32_BIT = (
    "On such a system tflite-runtime runs .tflite files of fp32 and int8-weights (Python 3.8 to 3.11); "
    "other int8 files come out wrong there. A 64-bit system on the same board runs everything."
)
PREPARE = (
    'b="$HOME/.local/share/edgebert"; n="$b/venv.new"; mkdir -p "$b" && rm -rf -- "$n" || exit 94; '
    'c() { rm -rf -- "$n"; }; trap c EXIT; '
    'p="$1"; shift; "$p" -m venv "$n" >&2 || exit 96; '
    '"$n/bin/python" -m pip install --disable-pip-version-check --no-input -q "$@" >&2 || exit 95; '
    'rm -rf -- "$b/venv" && mv -- "$n" "$b/venv"'
)
PREPARE_S = 1800.0


def measure(address: str, job: Job, log: Log) -> Outcome:
    """Copies, runs, reads back, and leaves nothing behind.

    Raises:
        RequestError: an address that cannot be; Python or a runtime is missing there, or cannot be had.
        EdgebertError: the host is unreachable, unknown or refuses; or it died before anything was measured.
    """
    with Connection(address) as device:
        probe = ask(device)
        check_runtimes(probe, {file.format for file in job.files}, address)
        paths = [f"file{i}/model{_suffix(file.path)}" for i, file in enumerate(job.files)]
        for file, path in zip(job.files, paths, strict=True):
            log(event="measuring", text=f"copying {file.name} to {address}")
            device.put(file.path, path)
        with scratch_folder("job-") as folder:
            written = folder / "job.json"
            written.write_text(job_json(job, paths, device.python), encoding="utf-8")
            device.put(written, "job.json")
        message = follow(device.command(RUN, device.folder, device.python), job, log)
    return outcome(message, job, f"ssh:{address}")


def _suffix(path: Path) -> str:
    return "" if path.is_dir() else "".join(c for c in path.suffix if c.isalnum() or c == ".")


def ask(device: Connection) -> Mapping[str, Any]:
    """What the device says of itself, see `runner.describe`. Copies the runner there.

    Raises:
        RequestError: there is no Python, or one that is too old.
    """
    if not device.python:
        raise RequestError(
            "the device has no python3", where=device.address, hint="On Debian: sudo apt install python3"
        )
    version = device.ask('"$1" -c "import sys; print(*sys.version_info[:2])"', device.python).split()
    if tuple(map(int, version)) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise RequestError(
            f"its Python is {'.'.join(version)}, and the runner needs {oldest} or later", where=device.address,
            hint="Install a newer python3 there, or a newer system.",
        )  # fmt: skip
    device.put(Path(runner.__file__), "runner.py")
    probe: Mapping[str, Any] = json.loads(device.ask('"$1" "$2/runner.py" --probe', device.python, device.folder))
    return probe


def check_runtimes(probe: Mapping[str, Any], formats: set[str], address: str) -> None:
    """Raises RequestError where a format's runtime, or numpy, is not installed or cannot be."""
    there = probe["runtimes"]
    lacking = [name for name in sorted(formats) if not any(module in there for module in runner.RUNTIMES.get(name, ()))]
    if lacking and probe["bits"] == 32:
        what = f"a 32-bit system ({probe['machine']}): onnxruntime and ai-edge-litert have no wheels for it"
        raise RequestError(what, where=address, hint=ON_32_BIT)
    if lacking or "numpy" not in there:
        modules = [PACKAGES[runner.RUNTIMES[name][0]] for name in lacking if name in runner.RUNTIMES] or ["numpy"]
        raise RequestError(
            f"{' and '.join(modules)} {'is' if len(modules) == 1 else 'are'} not installed there", where=address,
            hint=f"Run: edgebert devices prepare ssh:{address}",
        )  # fmt: skip


def answers(address: str) -> str:
    """Connects, and runs nothing but `true`."""
    try:
        command = [*ssh_command(), "-o", "ConnectTimeout=4", "--", check_address(address), "true"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CONNECT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"the host does not answer within {CONNECT_S} s"
    except RequestError as error:
        return error.what
    description = done.stderr.decode(errors="replace")
    return refusal(address, done.returncode, description).what if done.returncode else ""


def look(address: str, formats: Sequence[str]) -> DeviceInfo:
    """What the board calls itself, and the formats whose runtime is not installed. Raises as `measure` does."""
    with Connection(address) as device:
        probe = ask(device)
    return DeviceInfo(probe["device"], lacking(formats, lambda name: check_runtimes(probe, {name}, address)))


def prepare(address: str, log: Log) -> str:
    """Makes a virtual environment with numpy and the runtimes in a folder of ours; an older one stays until then.

    Raises:
        RequestError: there is no Python or venv.
        EdgebertError: pip fails there.
    """
    with Connection(address) as device:
        python = device.ask("command -v python3 || true").strip()  # not our own, which is to be replaced
        device.python = python or device.python
        packages = wanted(ask(device), address)
        log(event="measuring", text=f"installing {', '.join(packages)} on {address}")
        command = device.command(PREPARE, device.python, *packages)
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PREPARE_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise EdgebertError(f"pip was not done within {PREPARE_S:g} s", where=address) from None
        if done.returncode:
            raise _not_prepared(address, done.returncode, done.stderr.decode(errors="replace"))
        device.python = device.ask(f'echo "$HOME/{VENV}/bin/python"').strip()
        result = ask(device)
    versions = ", ".join(f"{name} {version}" for name, version in result["runtimes"].items())
    return f"{result['device']}: Python {result['python']}, {versions}, in ~/{VENV}"


def wanted(probe: Mapping[str, Any], address: str) -> list[str]:
    """The packages that can run something on this system. Raises RequestError where there are none."""
    python = tuple(int(part) for part in probe["python"].split(".")[:2])
    if probe["bits"] == 64:
        return ["numpy", "onnxruntime", *(["ai-edge-litert"] if python >= LITERT_FROM else [])]
    if python <= TFLITE_UNTIL:
        return ["numpy<2", "tflite-runtime"]
    what = f"a 32-bit system ({probe['machine']}) with Python {probe['python']}: no runtime has wheels for it"
    raise RequestError(what, where=address, hint=ON_32_BIT)


def _not_prepared(address: str, code: int, description: str) -> EdgebertError:
    if code == 255:
        return refusal(address, code, description)
    if code == 96:
        return RequestError("its Python cannot make a virtual environment", where=address,
                            hint="On Debian: sudo apt install python3-venv")  # fmt: skip
    lines = (
        [line for line in description.splitlines() if line.startswith("ERROR")]
        or description.splitlines()
        or ["no message"]
    )
    return EdgebertError(f"pip cannot install there: {lines[-1][:300]}", where=address,
                         hint="The device needs a way to a package index, or its own pip configuration.")  # fmt: skip


TARGET = Target(
    name="ssh",
    title="a Linux board by ssh",
    formats=("onnx", "tflite"),
    example="ssh:pi@raspberrypi",
    measure=measure,
    answers=answers,
    prepare=prepare,
    look=look,
)
