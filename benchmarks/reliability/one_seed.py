"""One file from one seed: the same small `fit`, eight times from scratch, and the sha256 of what it made in each format.

Every run is a process of its own, with another order of Python's sets, in a folder of its own, so that nothing is taken
over from another run. Every second one runs beside processes that compute. Writes benchmarks/reliability/one_seed.md.

    python -m benchmarks.reliability.one_seed [--runs 8] [--busy 2]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgebert.devices.machine import describe_environment
from tests.conftest import conll, make_checkpoint

PAGE = Path(__file__).with_suffix(".md")
ROOT = Path(__file__).parents[2]
OPTIONS = (
    "--device", "this-machine", "--format", "onnx,tflite,coreml", "--task", "ner", "--seed", "3", "--quiet",
    "--teacher-epochs", "4", "--epochs", "4", "--learning-rate", "3e-3", "--max-drop", "60", "--max-latency-ms", "10000",
    "--set", "trim-vocab.floor=20", "--set", "drop-layers.n_layers=2",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """What one run made: sha256 of the int8 file of each format, and of the packaged one."""

    busy: int  # processes that we let compute beside it
    load: float  # average of the machine over the last minute
    files: dict[str, str]
    packaged: str
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--busy", type=int, default=2, help="processes that compute beside every second run")
    options = parser.parse_args()
    created: list[Made] = []
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder)
        for split, n, seed in (("train", 160, 1), ("dev", 40, 2), ("test", 40, 3)):
            (world / f"{split}.conll").write_text(conll(n, seed), encoding="utf-8")
        (world / "teacher").mkdir()
        make_checkpoint(world / "teacher")
        for k in range(options.runs):
            busy = options.busy if k % 2 else 0
            with computing(busy):
                created.append(run(world, k, busy))
            print(created[-1], flush=True)
    PAGE.write_text(page(created, options.runs), encoding="utf-8")
    return int(any(len(sums) > 1 for sums in by_file(created).values()))


def run(world: Path, k: int, busy: int) -> Made:
    place = world / str(k) / "run"
    command = [
        sys.executable,
        "-m",
        "edgebert",
        "fit",
        "--run",
        str(place),
        "--teacher",
        str(world / "teacher"),
        *OPTIONS,
    ]
    for split in ("train", "dev", "test"):
        command += ["--data", f"{split}={world / f'{split}.conll'}"]
    started = time.monotonic()
    env = os.environ | {"PYTHONHASHSEED": str(k + 1), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"run {k} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    report = json.loads((place / "report" / "report.json").read_text(encoding="utf-8"))
    artifacts = [item["artifact"] for student in report["students"] for item in student["artifacts"]]
    digest = next(artifact["sha256"] for artifact in artifacts if report["winner"].endswith(f"/{artifact['name']}"))
    files = {artifact["name"]: artifact["sha256"] for artifact in artifacts if artifact["precision"] == "int8"}
    seconds = round(time.monotonic() - started, 1)
    return Made(busy, os.getloadavg()[0], files, f"{report['winner']} {digest}", seconds)


@contextmanager
def computing(n: int) -> Iterator[None]:
    """Beside `n` processes that never rest."""
    busy = [multiprocessing.Process(target=compute, daemon=True) for _ in range(n)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def compute() -> None:
    while True:
        sum(range(10**6))


def by_file(made: list[Made]) -> dict[str, set[str]]:
    """The sums that were seen of each file, and of the packaged one."""
    seen: dict[str, set[str]] = {}
    for item in made:
        for name, digest in item.files.items():
            seen.setdefault(name, set()).add(digest)
        seen.setdefault("packaged", set()).add(item.packaged)
    return seen


def page(made: list[Made], n_runs: int) -> str:
    environment = describe_environment()
    versions, hardware = environment["versions"], environment["hardware"]
    lines = [
        "# One file from one seed",
        "",
        f"The same small fit {n_runs} times from scratch, each in a process and a folder of its own with another order of",
        f"Python's sets; every second run beside {max(item.busy for item in made)} processes that we let compute. The machine's"
        f" load average was {min(item.load for item in made):.0f} to {max(item.load for item in made):.0f};",
        f"runs took {min(item.seconds for item in made):.0f} to {max(item.seconds for item in made):.0f} s. The device is this"
        " machine, which is judged by its own times, so that their noise has every chance.",
        "",
        "| file | runs | different files | sha256 |",
        "| --- | --- | --- | --- |",
        *(f"| {name} | {n_runs} | {len(sums)} | {', '.join(sorted(sums))} |" for name, sums in by_file(made).items()),
        "",
        "- command: `python -m benchmarks.reliability.one_seed`",
        f"- date: {datetime.now(timezone.utc).isoformat(timespec='seconds')}",
        f"- machine: {hardware['processor']}, {hardware['cores']} core(s)",
        f"- torch {versions['torch']}, transformers {versions['transformers']}, onnxruntime {versions['onnxruntime']}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
