"""What the kinds of faults share: a row of the table, the run that meets no fault, and a command that meets one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.reliability.small_fit import (
    TRACEBACK,
    Command,
    World,
    events_of,
    left_over,
    made_twice,
    package_of,
    wait_for,
)

ROOT = Path(__file__).parents[2]
GOOD, NOT_TRIED = "as it has to be", "not tried"
LIMIT_S = 400.0  # of one command: only what hangs takes as long
WRITTEN = ("bundle", "report", "manifest.json")  # after the last stage


class NotHere(Exception):
    """What a kind of fault needs is not on this machine: what, and how it is had."""


@dataclass(frozen=True)
class Row:
    """One fault at one place, or the run that came after all of them."""

    fault: str
    place: str  # a stage, a command, or what was asked of the whole run
    code: int | None
    message: str
    outcome: str  # GOOD, NOT_TRIED, or what is wrong


@dataclass
class Reference:
    """The run that meets no fault: its packaged files, and in their order the places where one can be met."""

    package: Mapping[str, str]
    bytes_at: Mapping[str, int] = field(default_factory=dict)  # by place: what is written there


@dataclass
class Bench:
    """Where everything is tried. `disk` is a folder of the machine's own disk."""

    folder: Path
    world: World
    temporary: Path

    @cached_property
    def reference(self) -> Reference:
        run = self.folder / "alone" / "run"
        command = self.fit(run)
        if command.code:
            raise SystemExit(f"the run that meets no fault ended with {command.code}:\n{command.output()[-3000:]}")
        places = {"request": 4096}
        for event in events_of(run):
            if event["event"] == "begin":
                places[event["stage"]] = size_of(next(run.glob(f"stages/*-{event['stage']}-{event['key']}")))
        return Reference(package_of(run), places | {name.partition(".")[0]: size_of(run / name) for name in WRITTEN})

    def fit(
        self,
        run: Path,
        *more: str,
        before: Callable[[], object] | None = None,
        environ: Mapping[str, str | None] | None = None,
    ) -> Command:
        """`edgebert fit` in a fork, to its end. `before` is called in the fork."""
        run.parent.mkdir(parents=True, exist_ok=True)
        given = {"TMPDIR": str(self.temporary), **(environ or {})}
        arguments = self.world.arguments(run, *more)
        command = Command.start(arguments, self.folder / "command.log", before=before, environ=given)
        try:
            wait_for(command, command.ended, LIMIT_S)
        except TimeoutError:
            command.send(9)
        command.wait()
        return command

    def plain(self, text: str) -> str:
        """A message without the folders of this machine."""
        for folder, name in ((self.folder, "…"), (ROOT, "."), (Path(sys.prefix), "…")):
            text = text.replace(str(folder), name)
        return text

    def refused(self, fault: str, place: str, command: Command, *, says: str = "", code: int = 2) -> Row:
        """The row of a command that has to end with one error and that exit code."""
        return Row(fault, place, command.code, self.plain(command.message()), wrong_with(command, says, code) or GOOD)

    def last(self, fault: str, run: Path, *, beside: Sequence[str] = ()) -> Row:
        """The row of the command that comes after all faults.

        Args:
            beside: what may stand beside the run folder.
        """
        self.reference  # noqa: B018 - made first
        command = self.fit(run)
        faults = [f"exit code {command.code}"] if command.code else []
        faults += ["a traceback"] if TRACEBACK in command.output() else []
        faults += [f"made again: {stage}" for stage in made_twice(events_of(run))]
        faults += [] if package_of(run) == self.reference.package else ["another package than without faults"]
        faults += [f"left over: {name}" for name in left_over(run, self.temporary) if name not in beside]
        message = (
            self.plain(command.message())
            if command.code
            else "the package is byte for byte that of a run without faults"
        )
        return Row(fault, "afterwards", command.code, message, "; ".join(faults) or GOOD)


def wrong_with(command: Command, says: str, code: int) -> str:
    """What is not as an error has to be; "" where all is."""
    output, faults = command.output(), []
    if command.code != code:
        faults.append(f"exit code {command.code}, not {code}")
    if TRACEBACK in output:
        faults.append("a traceback")
    if code and (n := sum(line.startswith("error:") for line in output.splitlines())) != 1:
        faults.append(f"{n} lines that begin with error:")
    if says and says not in output:
        faults.append(f"it does not say: {says}")
    return "; ".join(faults)


def at(place: str, act: Callable[[], object]) -> Callable[[], None]:
    """What a fork calls first, so that `act` is called in it as the stage of this full name begins."""

    def before() -> None:
        from edgebert.runs.store import Run

        log = Run.log

        def logged(self: Run, **event: object) -> None:
            log(self, **event)
            if event["event"] in ("begin", "write") and event["stage"] == place:
                act()

        if place == "request":
            act()
        Run.log = logged  # type: ignore[method-assign]

    return before


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sum(item.stat().st_size for item in files)


def system(*command: str | Path) -> str:
    """Runs a program of the system. Raises NotHere where it is not there or refuses."""
    if shutil.which(str(command[0])) is None:
        raise NotHere(f"{command[0]} is not installed")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"{' '.join(map(str, command[:4]))} …: {done.stderr.strip() or done.returncode}")
    return done.stdout


def edgebert(
    bench: Bench,
    *arguments: str | Path,
    environ: Mapping[str, str | None] | None = None,
    prefix: Sequence[str] = (),
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, behind `prefix`."""
    given = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name, value in {"TMPDIR": str(bench.temporary), **(environ or {})}.items():
        given.pop(name, None)
        if value is not None:
            given[name] = value
    command = [*prefix, sys.executable, "-m", "edgebert", *map(str, arguments)]
    return subprocess.run(
        command, env=given, cwd=cwd or bench.folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def row_of(
    bench: Bench, fault: str, place: str, done: subprocess.CompletedProcess[str], *, code: int = 0, says: str = ""
) -> Row:
    """The row of a command in a process of its own."""
    lines = done.stderr.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith(("error:", "internal error:"))), -1)
    message = " ".join(line.strip() for line in lines[first:]) if done.returncode else "it ends as it should"
    faults = [] if done.returncode == code else [f"exit code {done.returncode}, not {code}"]
    faults += ["a traceback"] if TRACEBACK in done.stderr else []
    faults += [f"it does not say: {says}"] if says not in done.stderr else []
    return Row(fault, place, done.returncode, bench.plain(message), "; ".join(faults) or GOOD)
