"""A whole `edgebert fit` of a tiny teacher in seconds, which the benchmarks of kills and of faults run again and again.

The command line runs in forks of one process, so that imports are paid once. A fork is what a process of its own would be:
it has its own signals, environment and exit code, and ends by os._exit.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgebert.bundle.manifest import PAGES, README
from edgebert.files import sha256_file
from tests.conftest import conll, make_checkpoint

# In the order of a run; what stands before the first hyphen of a stage's name, or what is written after the last stage.
STAGES = (
    "request", "teacher", "answers", "recipe", "compress", "convert", "verify", "profile", "bundle", "report", "manifest",
)  # fmt: skip
SPLITS = (("train", 160, 1), ("dev", 60, 2), ("test", 40, 3))  # name, rows, seed
SECONDS_HERE = 0.02  # of timed runs of a file: no row of these tables is about how long this machine is measured
TRIALS = 0.1  # of the rows that the trials of recipes see
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class World:
    """A teacher of two thousand parameters a layer, and made-up sentences."""

    folder: Path
    formats: str = "onnx,tflite"

    @classmethod
    def make(cls, folder: Path, formats: str) -> World:
        for split, n, seed in SPLITS:
            (folder / f"{split}.conll").write_text(conll(n, seed), encoding="utf-8")
        (folder / "teacher").mkdir()
        make_checkpoint(folder / "teacher")
        return cls(folder, formats)

    def arguments(self, run: Path, *more: str) -> list[str]:
        """The command line: a teacher that is fine-tuned, trials of recipes, a student, files of every format."""
        result = [
            "fit", "--device", "pixel6", "--task", "ner", "--teacher", str(self.folder / "teacher"), "--student", "teacher",
            "--run", str(run), "--teacher-epochs", "6", "--epochs", "6", "--learning-rate", "3e-3", "--max-drop", "99",
            "--format", self.formats, "--on", "none", "--seed", "3",
        ]  # fmt: skip
        for split, _, _ in SPLITS:
            result += ["--data", f"{split}={self.folder / f'{split}.conll'}"]
        return [*result, *more]


def warm(formats: str) -> None:
    """Imports what the forks need. Nothing here starts a thread, which no fork would have."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    modules = ["edgebert.api", "edgebert.workflows.fit", "edgebert.report.figure", "edgebert.report.html", "psutil"]
    modules += ["edgebert.report.terminal", "edgebert.cli.fit", "edgebert.cli._progress", "onnxruntime", "onnxscript"]
    modules += ["litert_torch", "ai_edge_quantizer"] if "tflite" in formats else []
    modules += ["coremltools"] if "coreml" in formats else []
    for name in modules:
        importlib.import_module(name)
    import torch

    from edgebert.workflows import profiling, request

    torch.set_num_threads(1)
    profiling.SECONDS_HERE = SECONDS_HERE
    standard = request.EFFORTS["standard"]
    rungs = tuple(replace(rung, effort=rung.effort * TRIALS) for rung in standard.trials)
    request.EFFORTS["standard"] = replace(standard, trials=rungs)
    if hasattr(os, "sched_setaffinity"):  # threads that wait for each other take far longer on a busy machine
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


# ---------------------------------------------------------------- a command in a fork


@dataclass
class Command:
    """`edgebert` with some arguments, at work in a fork or ended."""

    pid: int
    log: Path
    code: int | None = None

    @classmethod
    def start(
        cls,
        arguments: Sequence[str],
        log: Path,
        *,
        environ: Mapping[str, str | None] | None = None,
        before: Callable[[], object] | None = None,
    ) -> Command:
        """Args:
        log: takes what it prints.
        environ: variables that are set, or taken away where they are None.
        before: called in the fork first: what is to be different there.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return cls(pid, log)
        code: object = 70
        try:
            os.setsid()  # a Ctrl-C of the terminal, or a signal to this group, is the benchmark's
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            for name, value in (environ or {}).items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            if before:
                before()
            from edgebert.cli import main

            sys.argv = ["edgebert", *arguments]
            main(list(arguments))
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError):
                    stream.flush()
            os._exit(code if isinstance(code, int) else 0)

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def send(self, number: int) -> None:
        """A signal, unless it has ended."""
        if not self.ended():
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code; the negative number of the signal that killed it."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def message(self) -> str:
        """The error that it ended with, or its last line."""
        lines = self.output().splitlines()
        first = next((i for i, line in enumerate(lines) if line.startswith(("error:", "internal error:"))), -1)
        return " ".join(line.strip() for line in lines[first:])


# ---------------------------------------------------------------- what a run tells of itself


def events_of(run: Path) -> list[dict[str, Any]]:
    """The whole lines of events.jsonl."""
    try:
        text = (run / "events.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    results = []
    for line in text.splitlines(True):
        if line.endswith("\n") and line.strip():
            try:
                results.append(json.loads(line))
            except ValueError:  # what a kill or a full disk cut short
                continue
    return results


def stage_now(events: Sequence[Mapping[str, Any]]) -> str:
    """The stage that the newest event belongs to; between two stages it is the earlier one."""
    for event in reversed(events):
        if event["event"] == "start":
            break
        if event["event"] in ("begin", "write"):
            return short(event["stage"])
        if event["event"] in ("done", "kept", "linked"):
            return short(event["stage"])
    return "request"


def short(stage: str) -> str:
    return stage.partition("-")[0]


def made_twice(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Stages that were begun again after they had been done, and those that were found damaged."""
    done, again = set(), []
    for event in events:
        key = (event.get("stage"), event.get("key"))
        if event["event"] == "begin" and key in done and event.get("key"):  # a group of measurements has none
            again.append(str(event["stage"]))
        if event["event"] == "damaged":
            again.append(f"{event['stage']} damaged")
        if event["event"] == "done":
            done.add(key)
    return again


def package_of(run: Path) -> dict[str, str]:
    """sha256 of each file of the bundle that says nothing of the time at which it was made."""
    bundle = run / "bundle"
    files = (path for path in sorted(bundle.rglob("*")) if path.is_file())
    sums = {path.relative_to(bundle).as_posix(): sha256_file(path) for path in files}
    return {name: digest for name, digest in sums.items() if name not in ("manifest.json", README, *PAGES)}


def left_over(run: Path, *others: Path) -> list[str]:
    """What nobody will ask for again: hidden files of the run but its lock, beside the run, and all in other folders."""
    names = [path.relative_to(run.parent).as_posix() for path in run.rglob(".*") if path != run / ".lock"]
    names += [path.name for path in run.parent.iterdir() if path != run]
    return names + [path.name for folder in others if folder.exists() for path in folder.iterdir()]


def wait_for(command: Command, ready: Callable[[], bool], limit_s: float) -> bool:
    """Whether it came to that before it ended. Raises TimeoutError where neither happens."""
    deadline = time.monotonic() + limit_s
    while not ready():
        if command.ended():
            return ready()
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {command.pid} hangs: {command.log}")
        time.sleep(0.002)
    return True
