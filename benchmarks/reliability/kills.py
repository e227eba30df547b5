"""SIGKILL at random moments of `fit`, over all stages; SIGTERM and Ctrl-C; and two commands on one run folder.

Each run folder is killed about fifty times, in every stage at least once: the moment is drawn from the time that the stage
took in a run that nobody killed. The same command is given after each kill. At last it ends by itself, and then: no stage
was made again that had been done, the packaged files are byte for byte those of the run that nobody killed, and nothing lies
about in the run folder, beside it, or in the folder of temporary files; no process is left.

Commands run in forks of this process; those that are sent SIGTERM or SIGINT, and the two on one folder, are processes of
their own. Writes benchmarks/reliability/kills.md.

    python -m benchmarks.reliability.kills [--kills 300] [--format onnx]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.reliability.small_fit import (
    STAGES,
    TRACEBACK,
    Command,
    World,
    events_of,
    left_over,
    made_twice,
    package_of,
    short,
    stage_now,
    wait_for,
    warm,
)
from edgebert.devices.machine import describe_environment

PAGE = Path(__file__).with_suffix(".md")
ROOT = Path(__file__).parents[2]
SIGNALS = (("SIGTERM", 143), ("SIGINT", 130))
# Stages, and seconds after their begin: the first comes in the midst of imports, of which much is collected as garbage.
WAITS_S = {"teacher": 0.5, "recipe": 0.3, "convert": 0.3, "profile": 0.3}
DEAR = "profile"  # it begins anew after a kill, with a process that loads torch: killed once in each run folder
MORE = 40  # further kills of a run folder
LIMIT_S = 600.0  # of one command: only what hangs takes as long
GONE_S = 20.0  # in which what a killed command started has to end by itself


@dataclass
class Reference:
    """The run that nobody killed."""

    package: dict[str, str]
    seconds: dict[str, float]  # from a stage's begin to the next one's: of those of one name, all together


@dataclass
class Ended:
    """What a run folder was like when it was done, and the kills that it took."""

    kills: Counter[str] = field(default_factory=Counter)  # by the stage of the newest event
    missed: int = 0  # the command had ended before the signal came
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--format", default="onnx", help="formats that the runs write")
    parser.add_argument("--seed", type=int, default=7, help="of the moments")
    parser.add_argument("--no-signals", dest="signals", action="store_false", help="SIGKILL alone")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    if not hasattr(os, "fork"):
        parser.error("this system cannot fork")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        world = World.make(Path(folder), options.format)
        os.environ["TMPDIR"] = str(temporary := Path(folder) / "tmp")
        temporary.mkdir()
        tempfile.tempdir = None
        warm(options.format)
        found: list[Ended] = []
        for item in kill(world, temporary, options.kills, random.Random(options.seed)):
            found.append(item)  # the page grows, so that what was stopped early tells what it saw
            options.output.write_text(page(found, [], options.format, options.kills), encoding="utf-8")
        signals = []
        for line in (*stops(world), *two_at_once(world)) if options.signals else ():
            print(line, flush=True)
            signals.append(line)
            options.output.write_text(page(found, signals, options.format, options.kills), encoding="utf-8")
    return int(any(item.faults for item in found) or any("FAULT" in line for line in signals))


# ---------------------------------------------------------------- SIGKILL


def kill(world: World, temporary: Path, n_kills: int, rng: random.Random) -> Iterator[Ended]:
    """One run folder after the other, until so many kills came."""
    reference = undisturbed(world)
    print("alone:", {name: round(took, 2) for name, took in reference.seconds.items()}, flush=True)
    done = 0
    while done < n_kills:
        run = world.folder / "killed" / "run"
        item = killed_run(world, run, temporary, reference, rng, n_kills - done)
        done += sum(item.kills.values())
        print(done, dict(item.kills), f"{item.seconds:.0f} s", item.faults, flush=True)
        if item.faults:
            kept = world.folder.parent / f"kills-fault-{os.getpid()}-{done}"
            shutil.copytree(run.parent, kept, symlinks=True)
            print(f"kept: {kept}", flush=True)
        for folder in (run.parent, temporary):
            shutil.rmtree(folder)
        temporary.mkdir()
        yield item


def undisturbed(world: World) -> Reference:
    run = world.folder / "alone" / "run"
    run.parent.mkdir()
    command = Command.start(world.arguments(run), world.folder / "alone.log")
    seconds = dict.fromkeys(STAGES, 0.0)
    before = time.monotonic()
    while not command.ended():  # a stage lasts until the next one begins
        time.sleep(0.001)
        now = time.monotonic()
        seconds[stage_now(events_of(run))] += now - before
        before = now
    if command.code:
        raise SystemExit(f"the run that nobody kills ended with {command.code}:\n{command.output()[-3000:]}")
    return Reference(package_of(run), seconds)


def killed_run(world: World, run: Path, temporary: Path, reference: Reference, rng: random.Random, most: int) -> Ended:
    """A run folder that is killed in every stage, in some several times, and then left to end."""
    result, started = Ended(), time.monotonic()
    run.parent.mkdir()
    again = rng.choices([stage for stage in STAGES if stage != DEAR], k=MORE)
    targets = sorted([*STAGES, *again], key=STAGES.index)
    children: list[int] = []
    for target in targets:
        if sum(result.kills.values()) >= most:
            break
        command = Command.start(world.arguments(run), world.folder / "killed.log")
        children.append(command.pid)
        if not killed_at(command, run, target, reference, rng):
            result.missed += 1
            if command.code:
                result.faults.append(f"exit code {command.code} before the kill: {command.message()}")
            continue
        result.kills[stage_now(events_of(run))] += 1
    command = Command.start(world.arguments(run), world.folder / "killed.log")
    children.append(command.pid)
    if command.wait():
        result.faults.append(f"exit code {command.code} after {sum(result.kills.values())} kills: {command.message()}")
    result.faults += faults_of(run, temporary, reference, children)
    result.seconds = time.monotonic() - started
    return result


def killed_at(command: Command, run: Path, target: str, reference: Reference, rng: random.Random) -> bool:
    """Kills it at some moment of the stage; False where it ended before that."""
    known = len(events_of(run))

    def begun() -> bool:
        new = [event for event in events_of(run)[known:] if event["event"] in ("begin", "write")]
        return any(STAGES.index(short(event["stage"])) >= STAGES.index(target) for event in new)

    if target != "request" and not wait_for(command, begun, LIMIT_S):
        return False
    # More often early: on a machine that others use, the stage may take less time than it took then.
    deadline = time.monotonic() + reference.seconds[target] * rng.random() ** 2
    while time.monotonic() < deadline and not command.ended():
        time.sleep(0.001)
    command.send(signal.SIGKILL)
    return command.wait() == -signal.SIGKILL


def faults_of(run: Path, temporary: Path, reference: Reference, sessions: Sequence[int]) -> list[str]:
    """What is not as it has to be; [] where all is."""
    events, package = events_of(run), package_of(run)
    faults = [f"made again: {stage}" for stage in made_twice(events)]
    faults += [
        f"other than without kills: {name}"
        for name in sorted({*package, *reference.package})
        if package.get(name) != reference.package.get(name)
    ]
    faults += [f"{name} is missing" for name in ("report/report.json", "manifest.json") if not (run / name).exists()]
    deadline = time.monotonic() + GONE_S
    while (left := processes_of(run)) and time.monotonic() < deadline:
        time.sleep(0.5)
    faults += [f"process left: {line}" for line in left]
    return faults + [f"left over: {name}" for name in left_over(run, temporary)]


def processes_of(run: Path) -> list[str]:
    """Command lines of processes that work on what a killed command gave them."""
    import psutil

    results = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, own = process.info["cmdline"] or [], process.info["environ"] or {}
        if "edgebert.measure.targets.here" in words and str(run.parent.parent) in own.get("TMPDIR", ""):
            results.append(" ".join(words)[:120])
    return results


# ---------------------------------------------------------------- SIGTERM, Ctrl-C, and two commands


def process(world: World, run: Path) -> subprocess.Popen[str]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "edgebert", *world.arguments(run)], env=environ, text=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: [signal.signal(getattr(signal, name), signal.SIG_DFL) for name, _ in SIGNALS],
    )  # fmt: skip


def at_stage(item: subprocess.Popen[str], run: Path, stage: str) -> None:
    """Waits for it to begin in this command."""
    deadline, known = time.monotonic() + LIMIT_S, len(events_of(run))
    while not any(event["event"] == "begin" and short(event["stage"]) == stage for event in events_of(run)[known:]):
        if item.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{stage} did not begin: {item.communicate()[1][-2000:]}")
        time.sleep(0.01)


def stops(world: World) -> Iterator[str]:
    """Rows of the page: a signal at a stage, the exit code and the sentence. The same run folder goes on each time."""
    for name, expected in SIGNALS:
        run = world.folder / name / "run"
        run.parent.mkdir()
        for stage in WAITS_S:
            item = process(world, run)
            at_stage(item, run, stage)
            time.sleep(WAITS_S[stage])
            os.killpg(item.pid, getattr(signal, name))
            message = item.communicate(timeout=LIMIT_S)[1]
            last = message.splitlines()[-1]
            at = f"stopped by {name} at stage {stage}"
            good = item.returncode == expected and last.startswith(at) and TRACEBACK not in message
            last = last.replace(str(world.folder), "…")
            yield (f"| {name} | {stage} | {item.returncode} | {last} | {verdict(good)} |")
        shutil.rmtree(run.parent)


def two_at_once(world: World) -> Iterator[str]:
    """Rows of the page: the second command on a folder, and what became of the first."""
    run = world.folder / "two" / "run"
    run.parent.mkdir()
    first = process(world, run)
    at_stage(first, run, "recipe")
    second = process(world, run)
    message = second.communicate(timeout=LIMIT_S)[1]
    told = next((line for line in message.splitlines() if line.startswith("error:")), message[-200:])
    hint = " ".join(line.strip() for line in message.splitlines()[message.splitlines().index(told) + 1 :])
    good = second.returncode == 2 and "another edgebert is at work in this run" in told and TRACEBACK not in message
    told = f"{told} {hint}".replace(str(world.folder), "…")
    yield (f"| a second command | recipe | {second.returncode} | {told} | {verdict(good)} |")
    rest = first.communicate(timeout=LIMIT_S)[1]
    again = made_twice(events_of(run))
    good = first.returncode == 0 and not again and TRACEBACK not in rest
    yield (f"| the first command | its end | {first.returncode} | {rest.splitlines()[-1]} | {verdict(good)} |")
    shutil.rmtree(run.parent)


def verdict(good: bool) -> str:
    return "as it has to be" if good else "FAULT"


# ---------------------------------------------------------------- the page

HEARD = (
    "Signals that can be heard, to processes of their own (SIGINT, as Ctrl-C does, to the whole group), and a second",
    "command on a run folder:",
    "",
    "| what | at stage | exit code | it says | |",
    "| --- | --- | --- | --- | --- |",
)


def page(found: Sequence[Ended], signals: Sequence[str], formats: str, wanted: int) -> str:
    environment: dict[str, Any] = dict(describe_environment())
    versions, hardware = environment["versions"], environment["hardware"]
    kills = Counter[str]()
    for item in found:
        kills += item.kills
    n, faults = sum(kills.values()), [fault for item in found for fault in item.faults]
    lines = [
        "# Kills",
        "",
        f"`fit` of a tiny teacher (4 layers of width 32; files: {formats}) was sent SIGKILL {n} times at random moments, in",
        f"{len(found)} run folders; after each kill the same command was given again. A stage is that of the newest line of",
        "events.jsonl when the kill came; `request` is before the first stage. The moments are drawn so that every stage has",
        f"its share. {sum(item.missed for item in found)} further commands ended before their signal came.",
        *(["", f"Not finished: {wanted} kills were asked for."] if n < wanted else []),
        "",
        "| stage | kills |",
        "| --- | --- |",
        *(f"| {stage} | {kills[stage]} |" for stage in STAGES),
        f"| all | {n} |",
        "",
        f"Of the {len(found)} run folders, after all their kills and one command that was left to end:",
        "",
        "| what has to be | run folders where it is not |",
        "| --- | --- |",
        *(f"| {what} | {sum(any(word in fault for fault in item.faults) for item in found)} |" for what, word in (
            ("every command goes on, and the last ends with 0", "exit code"),
            ("no stage that was done is made again", "made again"),
            ("the package's model, tokenizer, labels and golden vectors are byte for byte those of a run without kills",
             "other than"),
            ("report and manifest are there", "is missing"),
            ("no hidden file but the lock, nothing beside the run folder, nothing in the folder of temporary files",
             "left over"),
            ("no process is left", "process left"),
        )),
        "",
        *(f"FAULT: {fault}" for fault in dict.fromkeys(faults)),
        *([""] if faults else []),
        *(HEARD if signals else ()),
        *signals,
        *([""] if signals else []),
        "- command: `python -m benchmarks.reliability.kills`",
        f"- date: {datetime.now(timezone.utc).isoformat(timespec='seconds')}; {sum(item.seconds for item in found):.0f} s",
        f"- machine: {hardware['processor']}, {hardware['cores']} core(s)",
        f"- Python {sys.version.split()[0]}, torch {versions['torch']}, transformers {versions['transformers']}, onnxruntime"
        f" {versions['onnxruntime']}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
