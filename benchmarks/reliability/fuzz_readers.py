"""Feeds damaged files to every reader, as `--data`, `--device` and `--recipe` would, and counts what is not a message.

Each file follows from the seed and its number. A worker process loads it within limits of time and memory; a traceback
(an exception that is not an EdgebertError), a file that takes too long and a worker that dies are kept with their number.
Writes benchmarks/reliability/fuzz_readers.md.

    python -m benchmarks.reliability.fuzz_readers --files 100000 --tomls 20000
    python -m benchmarks.reliability.fuzz_readers --again 4711      # one file again, with its traceback
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import shlex
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.reliability import _fuzz_inputs as inputs
from edgebert.errors import LONGEST, EdgebertError

PAGE = Path(__file__).with_suffix(".md")
SECONDS = 20.0  # for one file
MEMORY = 6 * 2**30  # bytes of address space that a worker may take
BATCH = 50  # files a worker gets at once

Item = tuple[str, int]  # "data" or "toml", number


@dataclass
class Count:
    """What became of the files so far."""

    outcomes: Counter[str] = field(default_factory=Counter)  # "csv: read", "csv: refused"
    faults: list[tuple[Item, str]] = field(default_factory=list)
    slowest: float = 0.0
    peak_mb: float = 0.0
    seconds: float = 0.0


def rng_of(item: Item, seed: int) -> random.Random:
    return random.Random(f"{seed} {item[0]} {item[1]}")


# ---------------------------------------------------------------- one file


def attempt(item: Item, seed: int, folder: Path) -> str:
    """Makes the file and loads it: its format and "read" or "refused". Any other exception is a fault."""
    rng = rng_of(item, seed)
    return _toml(rng, folder) if item[0] == "toml" else _data(rng, folder)


def _data(rng: random.Random, folder: Path) -> str:
    from edgebert.data import load
    from edgebert.tasks import find_task
    from edgebert.workflows.inspect import inspect

    path, task, kind = inputs.data_file(rng, folder)
    options = {"multi_label": True} if task == "classify" and rng.random() < 0.3 else {}
    result = "read"
    try:
        if rng.random() < 0.3:
            inspect([str(path)], rng.choice((None, task)))
        load([str(path)], find_task(task).configured(options))
    except EdgebertError as error:
        result = "refused"
        if not error.where or "\n" in error.what or len(error.what) > LONGEST:
            raise AssertionError(f"a message without a place, or too long: {str(error)[:300]!r}") from None
    return f"{kind}: {result}"


def _toml(rng: random.Random, folder: Path) -> str:
    from edgebert.data.packaged import read_entry
    from edgebert.devices.profiles import load_device
    from edgebert.workflows.recipe import read_recipe

    kind = rng.choice(("device", "recipe", "catalogue"))
    text = inputs.mutate_toml(rng, rng.choice(_originals()[kind])) if rng.random() < 0.97 else ""
    content = text.encode()
    if rng.random() < 0.2:
        content = inputs.mutate_bytes(rng, content)
    path = folder / "a.toml"
    path.write_bytes(content)
    read = {"device": lambda: load_device(str(path)), "recipe": lambda: read_recipe(str(path))}
    try:
        read.get(kind, lambda: read_entry(path))()
    except EdgebertError as error:
        if not error.where or "\n" in error.what or len(error.what) > LONGEST:
            raise AssertionError(f"a message without a place, or too long: {str(error)[:300]!r}") from None
        return f"{kind}: refused"
    return f"{kind}: read"


def _originals() -> dict[str, list[str]]:
    """TOMLs that are right: the built-in profiles, the catalogue, and a recipe with every parameter of every method."""
    import edgebert.data
    from edgebert.methods import METHODS

    root = Path(__file__).parents[2]
    entries = (Path(edgebert.data.__file__).parent / "catalogue").glob("*.toml")
    tables = [
        "\n".join([f'[[method]]\nname = "{method.name}"', *(f"{p.name} = {_value(p.default)}" for p in method.params)])
        for method in METHODS.all().values()
    ]
    return {
        "device": [path.read_text("utf-8") for path in sorted((root / "device_profiles").glob("*.toml"))],
        "catalogue": [path.read_text("utf-8") for path in sorted(entries)],
        "recipe": tables,
    }


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f'"{value}"' if isinstance(value, str) or value is None else str(value)


# ---------------------------------------------------------------- workers


def work(pipe: Connection, seed: int) -> None:
    """Answers each item with (item, outcome, fault, seconds, peak MB) until it is sent None."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.setswitchinterval(1)
    root = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        while (batch := pipe.recv()) is not None:
            for item in batch:
                folder = root / "rows"
                folder.mkdir()
                begun = time.monotonic()
                outcome, fault = "", ""
                try:
                    outcome = attempt(item, seed, folder)
                except BaseException:  # whatever it is, it is not a message
                    fault = traceback.format_exc()
                taken = time.monotonic() - begun
                shutil.rmtree(folder)
                pipe.send((item, outcome, fault, taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    finally:
        shutil.rmtree(root, ignore_errors=True)


class Worker:
    """A process with what it still has to answer."""

    def __init__(self, seed: int) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, seed), daemon=True)
        self.process.start()
        theirs.close()
        self.left: list[Item] = []
        self.since = time.monotonic() + 60  # imports take their time

    def give(self, batch: list[Item]) -> None:
        self.left = batch
        self.pipe.send(batch)
        self.since = max(self.since, time.monotonic())

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def fuzz(items: Iterator[Item], seed: int, n_workers: int, until: float, log: Any = None) -> Count:
    """Runs all items, or until the clock says `until`."""
    count, begun = Count(), time.monotonic()
    workers = [Worker(seed) for _ in range(n_workers)]
    try:
        while workers:
            for worker in list(workers):
                if not worker.left:
                    batch = [item for _, item in zip(range(BATCH), items, strict=False)]
                    if not batch or time.monotonic() > until:
                        worker.stop()
                        workers.remove(worker)
                        continue
                    worker.give(batch)
                if not _listen(worker, count, log):
                    rest = worker.left[1:]
                    worker.stop()
                    workers[workers.index(worker)] = fresh = Worker(seed)
                    if rest:
                        fresh.give(rest)
                count.seconds = time.monotonic() - begun
    finally:
        for worker in workers:
            worker.stop()
    return count


def _listen(worker: Worker, count: Count, log: Any) -> bool:
    """Takes what the worker has answered; False where it hangs or has died."""
    what = ""
    try:
        while worker.left and worker.pipe.poll(0.05):
            item, outcome, fault, taken, peak = worker.pipe.recv()
            worker.left.remove(item)
            worker.since = time.monotonic()
            count.slowest, count.peak_mb = max(count.slowest, taken), max(count.peak_mb, peak)
            count.outcomes[outcome or "fault"] += 1
            if fault:
                count.faults.append((item, fault))
                print(item, fault.splitlines()[-1][:300], file=log, flush=True)
            if sum(count.outcomes.values()) % 5000 == 0:
                print(f"{sum(count.outcomes.values())} files, {len(count.faults)} faults", file=log, flush=True)
    except EOFError:
        what = "the process died"
    if worker.left and time.monotonic() - worker.since > SECONDS:
        what = f"no end within {SECONDS:g} s"
    if what:
        count.faults.append((worker.left[0], what))
        count.outcomes["fault"] += 1
        print(worker.left[0], what, file=log, flush=True)
    return not what


# ---------------------------------------------------------------- the page


def page(count: Count, command: str, seed: int) -> str:
    from edgebert.devices.machine import describe_environment

    by_kind: dict[str, Counter[str]] = {}
    for outcome, n in count.outcomes.items():
        kind, _, result = outcome.partition(": ")
        by_kind.setdefault(kind, Counter())[result] += n
    fault = count.outcomes["fault"]
    tracebacks = sum(what.startswith("Traceback") for _, what in count.faults)
    rows = [f"| {kind} | {c['read']:,} | {c['refused']:,} |" for kind, c in sorted(by_kind.items()) if kind != "fault"]
    listed = [f"- {item[0]} {item[1]}: `{what.strip().splitlines()[-1][:200]}`" for item, what in count.faults[:50]]
    return "\n".join(
        [
            "# Damaged files and the readers",
            "",
            "Files of every format that edgebert reads, most of them damaged, through the functions that `--data`,",
            "`--device` and `--recipe` call. A file is either read or refused with a message that names its place.",
            "",
            f"**{sum(count.outcomes.values()):,} files: {tracebacks} tracebacks, {fault - tracebacks} hangs or dead processes.**",
            f"The slowest file took {count.slowest:.1f} s; the largest worker grew to {count.peak_mb:,.0f} MB, of which an",
            "idle one that has loaded the libraries takes most.",
            "",
            "| format | read | refused with a message |",
            "|---|---|---|",
            *rows,
            *(["", "Faults:", "", *listed] if listed else []),
            "",
            f"- command: `{command}`",
            f"- date: {datetime.now(timezone.utc).isoformat(timespec='seconds')}; seed {seed}; {count.seconds:,.0f} s",
            f"- {describe_environment_line(describe_environment())}",
            "",
        ]
    )


def describe_environment_line(environment: Any) -> str:
    versions = {**getattr(environment, "versions", {})}
    return ", ".join([f"python {sys.version.split()[0]}", *(f"{k} {v}" for k, v in versions.items())])


def again(number: int, kind: str, seed: int) -> None:
    """One file once more, in this process; it stays in a folder that is printed."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-again-"))
    print(folder)
    print(attempt((kind, number), seed, folder))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--tomls", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file, to go on where a run ended")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--again", type=int, help="the number of one file, with --kind, to load in this process")
    parser.add_argument("--kind", choices=("data", "toml"), default="data")
    parser.add_argument("--no-page", action="store_true", help="print the page, write nothing")
    given = parser.parse_args()
    if given.again is not None:
        again(given.again, given.kind, given.seed)
        return 0
    numbers = range(given.first, given.first + max(given.files, given.tomls))
    items = (
        (kind, n)
        for n in numbers
        for kind, most in (("data", given.files), ("toml", given.tomls))
        if n - given.first < most
    )
    count = fuzz(items, given.seed, given.workers, time.monotonic() + given.seconds, sys.stderr)
    command = shlex.join(["python", "-m", "benchmarks.reliability.fuzz_readers", *sys.argv[1:]])
    text = page(count, command, given.seed)
    print(text)
    if not given.no_page:
        PAGE.write_text(text, encoding="utf-8")
    return 1 if count.faults else 0


if __name__ == "__main__":
    sys.exit(main())
