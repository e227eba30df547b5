"""The program of the target `here`, whose ONNX Runtime takes longer for one file: a slowness whose size is known.

`slowed` tells the measurements within it, by the environment, which file takes how many times as long; see `Slowness`. What
is added is computing on the thread that runs the file, in proportion to the pass that was just made.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgebert.measure.runner import OPENERS, Onnx, Opener, main
from edgebert.measure.targets import here

SETTING, MODULE = "EDGEBERT_BENCHMARK_SLOWED", "benchmarks.reliability.slowed_runtime"


@dataclass(frozen=True)
class Slowness:
    """A file's passes take `factor` times as long; on all threads, or on `threads` alone."""

    path: str
    factor: float
    threads: int = 0


class Slowed(Onnx):
    """A file in ONNX Runtime, each pass of which is followed by computing of our own."""

    def __init__(self, path: str, threads: int) -> None:
        super().__init__(path, threads)
        slowness = Slowness(**json.loads(os.environ[SETTING]))
        is_it = Path(path).resolve() == Path(slowness.path).resolve() and slowness.threads in (0, threads)
        self._more = slowness.factor - 1 if is_it else 0.0

    def run(self, feed: Any) -> Any:
        began = time.perf_counter()
        result = super().run(feed)
        ran = time.perf_counter()
        while time.perf_counter() - ran < self._more * (ran - began):
            pass
        return result


@contextmanager
def slowed(slowness: Slowness) -> Iterator[None]:
    """What is measured `here` within takes longer."""
    module, here.MODULE = here.MODULE, MODULE
    os.environ[SETTING] = json.dumps(asdict(slowness))
    try:
        yield
    finally:
        here.MODULE = module
        del os.environ[SETTING]


if __name__ == "__main__":
    opener = OPENERS["onnx"]
    main(sys.argv[1:], {**OPENERS, "onnx": Opener(opener.load, Slowed)}, ("-m", MODULE))
