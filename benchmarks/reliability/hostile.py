"""Gives edgebert checkpoints, data and bundles that were made to do harm, with harmless contents, and says what came of each:
writes hostile.md.

What would be code writes a file called `marker` if it is ever run; what would fill memory or disk says so in a header of a
few bytes. Each is either refused with a message, or inert: read, without the marker, and within the limits of time and of
memory of the process that it is tried in.

    python -m benchmarks.reliability.hostile
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.reliability._hostile_trials import TRIALS, Trial, make_world

PAGE = Path(__file__).with_suffix(".md")
SECONDS = 300  # of a trial, on a machine that others use
MEMORY = 8 << 30  # bytes of address space
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "onnxruntime",
    "ai-edge-litert",
    "coremltools",
    "pyarrow",
)


@dataclass(frozen=True)
class Outcome:
    """What came of a trial: "refused", "inert" or "HARM"."""

    trial: str
    kind: str
    said: str
    seconds: float
    peak_mb: float


def judge(trial: Trial, world: Path, place: Path) -> Outcome:
    """In this process. A marker, and whatever is no message, is harm."""
    from edgebert.errors import EdgebertError, first_line

    began, marker = time.monotonic(), place / "marker"
    kind, said = "inert", ""
    try:
        said = trial.attempt(world, place, marker) or ""
    except EdgebertError as error:
        kind, said = "refused", first_line(str(error)).replace(str(place), "…").replace(str(world), "…")
    except BaseException as error:
        kind, said = "HARM", f"{type(error).__name__}: {first_line(error)}"
    if marker.exists():
        kind, said = "HARM", "code of the file was run"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Outcome(trial.name, kind, said, time.monotonic() - began, peak)


def _child(pipe: Connection, number: int, world: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as place:
        pipe.send(judge(TRIALS[number], world, Path(place)))


def attempt(number: int, world: Path) -> Outcome:
    """In a process of its own, which may end, or not end."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_child, args=(theirs, number, world), daemon=True)
    process.start()
    theirs.close()
    name = TRIALS[number].name
    try:
        if not ours.poll(SECONDS):
            return Outcome(name, "HARM", f"no end within {SECONDS} s", SECONDS, 0)
        outcome: Outcome = ours.recv()
        return outcome
    except EOFError:
        process.join()
        return Outcome(name, "HARM", f"the process ended with {process.exitcode}", 0, 0)
    finally:
        process.kill()
        process.join()


def page(outcomes: Sequence[Outcome]) -> str:
    counts = {kind: sum(item.kind == kind for item in outcomes) for kind in ("refused", "inert", "HARM")}
    lines = [
        "# Hostile checkpoints, data and bundles",
        "",
        f"`python -m benchmarks.reliability.hostile`, {date.today()}, {platform.machine()}, Python "
        f"{platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}.",
        "",
        f"**{len(outcomes)} trials: {counts['refused']} refused, {counts['inert']} inert, {counts['HARM']} that did harm.** Each in a",
        f"process of its own, with {MEMORY >> 30} GB of address space and {SECONDS} s; the slowest took "
        f"{max((item.seconds for item in outcomes), default=0):.1f} s, the",
        f"largest held {max((item.peak_mb for item in outcomes), default=0):,.0f} MB, of which torch and transformers take some hundreds.",
        "",
        "| trial | outcome | what was said, or why it is inert |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {item.trial} | {item.kind} | {item.said[:220].replace('|', '/')} |" for item in outcomes]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="trials whose name holds this; writes no page")
    wanted = parser.parse_args().only
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder))
        for number, trial in enumerate(TRIALS):
            if wanted in trial.name:
                outcomes.append(attempt(number, world))
                print(f"{outcomes[-1].kind:8} {trial.name}: {outcomes[-1].said[:150]}", flush=True)
    if not wanted:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return 1 if any(item.kind == "HARM" for item in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
