"""Targets that die while they measure: a board behind a real sshd, a phone that speaks adb's protocol, a real browser.

The fit ends with the file that it would have chosen and says what is missing; the same command measures again.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from benchmarks.reliability.fault_rows import GOOD, Bench, NotHere, Row
from benchmarks.reliability.small_fit import TRACEBACK, events_of, left_over, made_twice, package_of

STAGE = "profile-on"


def targets(bench: Bench) -> Iterator[Row]:
    for kind in (_board, _phone, _browser):
        try:
            yield from kind(bench)
        except NotHere as missing:
            yield Row(f"a target dies ({kind.__name__.strip('_')})", STAGE, None, str(missing), "not tried")


def _board(bench: Bench) -> Iterator[Row]:
    from tests.sshd import PROGRAM, board

    if PROGRAM is None or shutil.which("ssh") is None:
        raise NotHere("OpenSSH's client and server are not installed")
    folder = bench.folder / "board"
    folder.mkdir()
    with board(folder) as far:
        environ = {"EDGEBERT_SSH_CONFIG": str(far.config)}
        yield from _dies(bench, "a board loses its power", "ssh:board", during(far.cut), environ)
        if left := far.left_behind():
            yield Row("a board loses its power", "on the board", None, ", ".join(left), "left over")


def _phone(bench: Bench) -> Iterator[Row]:
    from edgebert.measure.targets import _adb_tools as tools
    from tests import adb_programs
    from tests.adb_device import Device

    if shutil.which("adb") is None:
        raise NotHere("adb is not installed")
    folder = bench.folder / "phone"
    (folder / "home").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {"ANDROID_ADB_SERVER_PORT": str(port), "ADB_LOCAL_TRANSPORT_MAX_PORT": "0", "HOME": str(folder / "home")}
    for tool in (tools.LITERT, tools.ONNX):
        path = folder / tool.name
        path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, 183) + bytes(5000))
        environ[tool.variable] = str(path)
    device = Device(
        folder / "device", programs={tools.LITERT.name: adb_programs.LITERT, tools.ONNX.name: adb_programs.ONNX}
    )
    try:
        with _adb_of(environ) as adb:
            adb("connect", device.serial)
            device.dies_at = "inputs/1/times.csv"

            def again() -> None:
                device.dies_at, end = "", time.monotonic() + 30
                device.listen(device.port)
                while time.monotonic() < end and f"{device.serial}\tdevice" not in adb("devices").stdout:
                    adb("disconnect")
                    adb("connect", device.serial)
                    time.sleep(0.5)

            yield from _dies(bench, "a phone goes away", f"adb:{device.serial}", None, environ, again)
    finally:
        device.close()


@contextmanager
def _adb_of(environ: Mapping[str, str]) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    def adb(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["adb", *words], env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
        )

    try:
        yield adb
    finally:
        adb("kill-server")


def _browser(bench: Bench) -> Iterator[Row]:
    from edgebert.measure.targets import TARGETS

    if why := TARGETS.get("browser").answers(""):
        raise NotHere(why)

    def kill() -> None:
        import psutil

        for child in psutil.Process().children(recursive=True):
            if any("--user-data-dir" in word for word in child.cmdline()):
                child.kill()

    yield from _dies(bench, "a browser is killed", "browser", during(kill), {})


# ---------------------------------------------------------------- what they share


def during(act: Callable[[], object]) -> Callable[[], None]:
    """What a fork calls first, so that `act` is called in it once files are timed on the target."""

    def before() -> None:
        from edgebert.runs.store import Run

        log, inside = Run.log, [False, False]

        def logged(self: Run, **event: object) -> None:
            log(self, **event)
            inside[0] = inside[0] or (event["event"] == "begin" and event["stage"] == STAGE)
            if inside == [True, False] and event["event"] == "measuring" and "runs " in str(event["text"]):
                inside[1] = True
                act()

        Run.log = logged  # type: ignore[method-assign]

    return before


def _dies(
    bench: Bench, fault: str, on: str, before: Callable[[], None] | None, environ: Mapping[str, str],
    again: Callable[[], None] = lambda: None,
) -> Iterator[Row]:  # fmt: skip
    run = bench.folder / f"target-{on.partition(':')[0]}" / "run"
    command = bench.fit(run, "--on", on, before=before, environ=environ)
    notes = [str(event["text"]) for event in events_of(run) if event["event"] == "note"]
    told = next((note for note in notes if "the same command measures again" in note), "")
    why = next((note for note in reversed(notes) if f"{on}:" in note and note != told), "")
    wrong = [] if command.code == 0 else [f"exit code {command.code}: {command.message()}"]
    wrong += ["no note says that something is missing"] if not told else []
    wrong += ["a traceback"] if TRACEBACK in command.output() else []
    wrong += [] if package_of(run) == bench.reference.package else ["another package than without a target"]
    yield Row(fault, STAGE, command.code, bench.plain(f"{why}; {told}"), "; ".join(wrong) or GOOD)
    again()
    command = bench.fit(run, "--on", on, environ=environ)
    events = events_of(run)
    wrong = [] if command.code == 0 else [f"exit code {command.code}: {command.message()}"]
    done = any(event["event"] == "done" and event["stage"] == STAGE for event in events)
    wrong += [] if done else ["it was not measured again"]
    wrong += [f"made again: {stage}" for stage in made_twice(events)]
    wrong += [] if package_of(run) == bench.reference.package else ["another package than without a target"]
    wrong += [f"left over: {name}" for name in left_over(run, bench.temporary)]
    yield Row(fault, "the same command", command.code, "it is measured now" if done else "", "; ".join(wrong) or GOOD)
