"""Feeds damaged files to every reader of edgebert, in two ways, and counts what is not a message.

Each reader of `_fuzz_targets` is fed by libFuzzer (atheris), guided by the branches that its inputs reach, and by a
generator whose inputs follow from the seed and their number. A process feeds one reader within limits of memory and time:
a traceback (an exception that is not an EdgebertError, or a message without a place), a reader that does not end and a
process that dies are counted, and their inputs kept in --work, with the counts: a killed run goes on. Writes benchmarks/reliability/fuzz_readers.md.

    pip install "edgebert[bench]"
    python -m benchmarks.reliability.fuzz_readers
    python -m benchmarks.reliability.fuzz_readers --again FILE --readers CSV     # one input again, with its traceback
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.reliability._fuzz_child import Job, outcome
from benchmarks.reliability._fuzz_fixtures import make_fixtures
from benchmarks.reliability._fuzz_targets import readers

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).with_suffix(".md")
SECONDS = 20.0  # for one input
READY = 180.0  # for a process to load its libraries
STEP = 0.2  # between two looks at a process
DEATHS = 25  # of processes of one reader and way, after which it is left
WAYS = ("guided", "generated")


@dataclass
class Count:
    """What became of the inputs of one reader, fed in one way."""

    reader: str
    way: str
    n: int = 0
    results: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    hangs: int = 0
    deaths: int = 0
    slowest: float = 0.0
    grown_mb: float = 0.0  # of a process, by its inputs
    seconds: float = 0.0


# ---------------------------------------------------------------- one reader


def fuzz(reader: str, way: str, n: int, seed: int, fixtures: Path, work: Path, most_seconds: float) -> Count:
    """Feeds `n` inputs, or as many as the time allows. Whatever ends a process is counted, and the next goes on."""
    count, begun = Count(reader, way), time.monotonic()
    name = "".join(c if c.isalnum() else "-" for c in reader)
    kept = work / "faults" / f"{name}-{way}"
    corpus = work / "corpus" / name
    while count.n < n and count.deaths + count.hangs < DEATHS:
        place = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        job = Job(reader, way, n - count.n, count.n, seed, str(fixtures), str(place), str(corpus))
        try:
            ended = _watch(job, place, count, begun + most_seconds)
            _keep(place, kept, count)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        if ended:
            break
    count.seconds = time.monotonic() - begun
    return count


def _watch(job: Job, place: Path, count: Count, until: float) -> bool:
    """Starts a process and waits for it. True where all is fed, or the time is over."""
    command = [sys.executable, "-m", "benchmarks.reliability._fuzz_child", json.dumps(asdict(job))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    fed, since, what = -1, time.monotonic() + READY, ""
    while process.poll() is None and not what:
        time.sleep(STEP)
        now, status = time.monotonic(), _status(place)
        if status and status["n"] != fed:
            fed, since = status["n"], now
        if now - since > SECONDS:
            what = "hang"
        elif now > until:
            what = "time"
    if what:
        process.kill()
    code = process.wait()
    status = _status(place)
    if status is None and not what:
        raise SystemExit(f"{job.reader}, {job.way}: {(place / 'log').read_text(errors='replace')[-2000:]}")
    _add(count, status or {})
    if what == "hang":
        count.hangs += 1
    elif not what and code != 0:
        count.deaths += 1
        tail = (place / "log").read_text(errors="replace")[-6000:]
        count.faults.setdefault(f"the process ended with {code}", tail)
    elif not what:
        return True
    return what == "time"


def _status(place: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((place / "status.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _add(count: Count, status: dict[str, Any]) -> None:
    count.n += status.get("n", 0)
    count.results.update(status.get("results", {}))
    count.faults |= status.get("faults", {})
    count.slowest = max(count.slowest, status.get("slowest", 0.0))
    count.grown_mb = max(count.grown_mb, status.get("peak_mb", 0.0) - status.get("start_mb", 0.0))


def _keep(place: Path, kept: Path, count: Count) -> None:
    """Inputs of faults, and the last one before a process ended."""
    found = sorted(place.glob("fault-*"))
    if count.hangs or count.deaths:
        found += [path for path in (place / "last-input",) if path.exists()]
    for path in found:
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept / f"{path.name}-{count.n}")
    if found:
        (kept / "tracebacks.txt").write_text(
            "\n\n".join(f"{k}\n{v}" for k, v in count.faults.items()), encoding="utf-8"
        )


# ---------------------------------------------------------------- the page


def page(counts: Sequence[Count], command: str, seed: int) -> str:
    total = sum(count.n for count in counts)
    faults = sum(count.results["fault"] for count in counts)
    hangs, deaths = (sum(getattr(count, name) for count in counts) for name in ("hangs", "deaths"))
    lines = [
        "# Damaged files and the readers",
        "",
        "Files of every format that edgebert reads, most of them damaged, through the functions that its commands call. A file",
        "is either read or refused with a message that names its place. `guided` inputs are drawn by libFuzzer from those that",
        "reached new branches of edgebert; `generated` ones are damaged copies of sound files.",
        "",
        f"**{total:,} inputs: {faults} tracebacks, {hangs} hangs, {deaths} dead processes.** The slowest input took "
        f"{max((count.slowest for count in counts), default=0):.1f} s; no process grew by more than "
        f"{max((count.grown_mb for count in counts), default=0):,.0f} MB over what its libraries take.",
        "",
        "| reader | way | inputs | read | refused | tracebacks | hangs | dead | inputs/s | slowest, s | grown by, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for item in counts:
        results = (item.results["read"], item.results["refused"], item.results["fault"], item.hangs, item.deaths)
        cells = [item.reader, item.way, f"{item.n:,}", *(f"{value:,}" for value in results)]
        speed = item.n / item.seconds if item.seconds else 0
        lines.append(f"| {' | '.join(cells)} | {speed:,.0f} | {item.slowest:.2f} | {item.grown_mb:,.0f} |")
    found = [f"- {count.reader}, {count.way}: `{place[:200]}`" for count in counts for place in count.faults]
    if found:
        lines += ["", "Faults:", "", *found[:60]]
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    lines += [
        "",
        f"- command: `{command}`",
        f"- date: {datetime.now(timezone.utc).isoformat(timespec='seconds')}; seed {seed}; "
        f"{sum(count.seconds for count in counts):,.0f} s of one process at a time",
        f"- Python {sys.version.split()[0]}, {versions}",
        "",
    ]
    return "\n".join(lines)


PACKAGES = (
    "atheris",
    "tokenizers",
    "transformers",
    "pyarrow",
    "safetensors",
    "onnxruntime",
    "ai-edge-litert",
    "coremltools",
    "protobuf",
)


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


# ---------------------------------------------------------------- command line


def again(path: Path, reader: str, fixtures: Path) -> None:
    """One input once more, in this process."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-again-"))
    item = readers()[reader]
    item.ready(fixtures, place)
    try:
        print(outcome(item, place, path.read_bytes()))
    finally:
        shutil.rmtree(place)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--guided", type=int, default=3_900, help="inputs of each reader, times its share, that libFuzzer draws"
    )
    parser.add_argument("--generated", type=int, default=3_900, help="those that the generator makes")
    parser.add_argument("--readers", help="some of them, with commas between")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="most for one reader and way")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "fuzz", help="corpus, inputs of faults, counts")
    parser.add_argument("--again", type=Path, help="an input to read in this process")
    parser.add_argument("--no-page", action="store_true", help="print the page, write nothing")
    given = parser.parse_args()
    wanted = given.readers.split(",") if given.readers else list(readers())
    if unknown := [name for name in wanted if name not in readers()]:
        parser.error(f"no reader {unknown[0]!r}: there are {', '.join(readers())}")
    fixtures = given.work / "fixtures"
    if not (fixtures / "small.onnx").exists():
        shutil.rmtree(fixtures, ignore_errors=True)
        make_fixtures(fixtures)
    if given.again is not None:
        again(given.again, wanted[0], fixtures)
        return 0
    log = given.work / "counts.jsonl"
    done = [Count(**json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    known = {(item.reader, item.way): replace(item, results=Counter(item.results)) for item in done}
    for reader in wanted:
        for way in WAYS:
            n = getattr(given, way) * readers()[reader].share
            if n and (reader, way) not in known:
                item = fuzz(reader, way, n, given.seed, fixtures, given.work, given.seconds)
                known[reader, way] = item
                with log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(vars(item)) + "\n")
                print(f"{reader}, {way}: {item.n:,} in {item.seconds:.0f} s, {dict(item.results)}, {item.hangs} hangs, "
                      f"{item.deaths} dead, {len(item.faults)} kinds of fault", flush=True)  # fmt: skip
    counts = [known[reader, way] for reader in wanted for way in WAYS if (reader, way) in known]
    changed = [
        f"--{name} {getattr(given, name)}"
        for name in (*WAYS, "seed")
        if getattr(given, name) != parser.get_default(name)
    ]
    command = " ".join(["python -m benchmarks.reliability.fuzz_readers", *changed])
    text = page(counts, command, given.seed)
    print(text)
    if not given.no_page:
        PAGE.write_text(text, encoding="utf-8")
    return 1 if any(item.results["fault"] or item.hangs or item.deaths for item in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
