"""Measurements of a run's packaged file repeated, each in a process of its own as `fit` makes it, beside other work or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.gate_workbench import ALL, USUAL, Figures, Workbench
from benchmarks.reliability.slowed_runtime import Slowness, slowed
from edgebert.files import from_plain, plain

OTHER = (
    "import numpy as np\na = np.random.rand(400, 400).astype('f4')\nwhile True:\n    a = a @ a\n    a /= abs(a).max()\n"
)


@dataclass(frozen=True)
class Repeat:
    """One measurement.

    Attributes:
        busy: processes of ours that computed beside it.
        load: of the machine over the last minute, when it began.
        factor: by which the file was slowed.
    """

    busy: int
    load: float
    seconds: float
    factor: float
    figures: Figures


def repeats(
    bench: Workbench, n: int, kept: Path, factor: float = 1.0, threads: tuple[int, ...] = (1, 2)
) -> list[Repeat]:
    """`n` measurements of the packaged file, of which those in `kept` are not made again. Every third is made beside one
    of our processes that compute, or beside two; every tenth of the unchanged file is made under all conditions, the others at own lengths on one thread."""
    results = [from_plain(Repeat, json.loads(line)) for line in kept.read_text().splitlines()] if kept.exists() else []
    for k in range(len(results), n):
        busy = 0 if k % 3 else 1 + (k // 3) % 2
        began, load = time.monotonic(), os.getloadavg()[0]
        with ExitStack() as stack:
            stack.enter_context(others(busy))
            if factor != 1.0:
                stack.enter_context(slowed(Slowness(str(bench.packaged), factor)))
            figures = bench.measure(bench.packaged, ALL if factor == 1.0 and k % 10 == 0 else USUAL)
        results.append(Repeat(busy, round(load, 1), round(time.monotonic() - began, 1), factor, figures))
        with kept.open("a") as stream:
            stream.write(json.dumps(plain(results[-1])) + "\n")
    return results[:n]


@contextmanager
def others(n: int) -> Iterator[None]:
    """Processes of ours that multiply matrices, one thread each."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, "-c", OTHER], env=env) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
