"""One process of the fuzzer: feeds inputs to one reader until it has fed as many as it was told, and says what became of them.

    python -m benchmarks.reliability._fuzz_child '{"reader": "CSV", "way": "guided", …}'

`guided`: libFuzzer (atheris) draws each input, from those before it that reached new branches of edgebert's own code;
half of the steps are ours (`damage`), as bytes alone seldom stay JSON. `generated`: each follows from the seed and its
number. The status file tells the supervisor how far it came; the last input lies beside it if the process ends.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reliability import _fuzz_inputs as inputs
from benchmarks.reliability._fuzz_targets import Reader, readers

MEMORY = 6 * 2**30  # bytes of address space
TELL = 0.25  # s between two writings of the status
LARGEST = 100_000  # bytes of an input
SUPERVISED = 10**6  # s: the supervisor watches the time; 0, no limit to libFuzzer, ends atheris after a second
KEPT = 40  # inputs of faults, each with another traceback
Damage = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Job:
    """What a process is told.

    Attributes:
        n: inputs to feed.
        first: number of the first one, for `generated`; added to the seed of `guided`.
        fixtures, place: what readers need, and a folder of this process alone.
        corpus: of `guided`: what reached new branches stays there.
    """

    reader: str
    way: str
    n: int
    first: int
    seed: int
    fixtures: str
    place: str
    corpus: str


@dataclass
class Status:
    """What became of the inputs so far."""

    n: int = 0
    results: Counter[str] = field(default_factory=Counter)  # "read", "refused", "fault"
    faults: dict[str, str] = field(default_factory=dict)  # where in the code -> its traceback
    slowest: float = 0.0
    start_mb: float = 0.0  # of the process once it is ready
    peak_mb: float = 0.0


# ---------------------------------------------------------------- damage


def damage_json(rng: random.Random, content: bytes) -> bytes:
    """Values moved, doubled, removed and replaced; now and then bytes."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return inputs.mutate_bytes(rng, content)
    if rng.random() < 0.15:
        return inputs.mutate_bytes(rng, content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = inputs.mutate_value(rng, value)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def damage_lines(rng: random.Random, content: bytes) -> bytes:
    """Of JSON lines, one or two."""
    lines = content.split(b"\n")
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines))
        lines[at] = damage_json(rng, lines[at])
    return b"\n".join(lines)


def damage_toml(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.2:
        return inputs.mutate_bytes(rng, content)
    return inputs.mutate_toml(rng, content.decode("utf-8", "replace")).encode()


DAMAGE: dict[str, Damage] = {
    "json": damage_json, "jsonl": damage_lines, "toml": damage_toml, "bytes": inputs.mutate_bytes
}  # fmt: skip


# ---------------------------------------------------------------- one input


def outcome(reader: Reader, place: Path, content: bytes) -> str:
    """ "read" or "refused". Raises whatever is no message, and AssertionError for a message that is none worth reading."""
    from edgebert.errors import LONGEST, EdgebertError

    try:
        reader.read(place, content)
    except EdgebertError as error:
        if not error.where or "\n" in error.what or len(error.what) > LONGEST:
            raise AssertionError(f"a message without a place, or too long: {str(error)[:300]!r}") from None
        return "refused"
    return "read"


class Feeder:
    """Counts what becomes of each input, and ends the process after the last."""

    def __init__(self, job: Job, reader: Reader) -> None:
        self.job, self.reader, self.status = job, reader, Status()
        self.place = Path(job.place)
        self.last, self.told = self.place / "last-input", 0.0
        self.status.start_mb = self.status.peak_mb = _peak_mb()

    def feed(self, content: bytes) -> None:
        begun, status = time.monotonic(), self.status
        self.last.write_bytes(content)
        try:
            result = outcome(self.reader, self.place, content)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            result = "fault"
            self._keep(content)
        status.n += 1
        status.results[result] += 1
        now = time.monotonic()
        status.slowest = max(status.slowest, now - begun)
        if now - self.told > TELL or status.n >= self.job.n:
            self.tell(now)
        if status.n >= self.job.n:
            os._exit(0)  # libFuzzer's own end takes long, and says nothing more

    def tell(self, now: float) -> None:
        self.told, self.status.peak_mb = now, _peak_mb()
        beside = self.place / "status.new"
        beside.write_text(json.dumps(vars(self.status)), encoding="utf-8")
        beside.replace(self.place / "status.json")

    def _keep(self, content: bytes) -> None:
        """The input of a fault, one for each place in the code."""
        text = traceback.format_exc()
        frames = [line.strip() for line in text.splitlines() if line.strip().startswith("File ")]
        at = " < ".join(line.split("site-packages/")[-1] for line in frames[-1:-3:-1])
        place = f"{sys.exc_info()[0].__name__} {at}"  # type: ignore[union-attr]
        if place not in self.status.faults and len(self.status.faults) < KEPT:
            self.status.faults[place] = text[-3000:]
            (self.place / f"fault-{len(self.status.faults)}").write_bytes(content)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ---------------------------------------------------------------- the two ways


def generate(feeder: Feeder, seeds: Sequence[bytes], job: Job) -> None:
    damage = DAMAGE[feeder.reader.kind]
    for number in range(job.first, job.first + job.n):
        feeder.feed(generated(feeder.reader, seeds, damage, job.seed, number))


def generated(reader: Reader, seeds: Sequence[bytes], damage: Damage, seed: int, number: int) -> bytes:
    """Input `number`: a sound file, most often damaged."""
    rng = random.Random(f"{seed} {reader.name} {number}")
    content = rng.choice(seeds)
    return damage(rng, content)[:LARGEST] if rng.random() < 0.97 else content


def guide(feeder: Feeder, seeds: Sequence[bytes], job: Job) -> None:
    import atheris

    corpus = Path(job.corpus)
    corpus.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(seeds):
        (corpus / f"seed-{i}").write_bytes(content)
    damage = DAMAGE[feeder.reader.kind]

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(content, most))
        return damage(rng, content)[:most]

    options = [f"-seed={job.seed + job.first}", f"-max_len={LARGEST}", "-rss_limit_mb=0", "-malloc_limit_mb=0", f"-timeout={SUPERVISED}",
               "-handle_segv=0", "-handle_int=0", "-verbosity=0", "-detect_leaks=0", f"-artifact_prefix={job.place}/", str(corpus)]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], feeder.feed, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    place, fixtures = Path(job.place), Path(job.fixtures)
    if job.way == "guided":
        import atheris

        with atheris.instrument_imports(include=["edgebert"], enable_loader_override=False):
            reader, seeds = _ready(job.reader, fixtures, place)
    else:
        reader, seeds = _ready(job.reader, fixtures, place)
    gc.collect()
    feeder = Feeder(job, reader)
    run: Any = guide if job.way == "guided" else generate
    run(feeder, seeds, job)


def _ready(name: str, fixtures: Path, place: Path) -> tuple[Reader, Sequence[bytes]]:
    """The reader and its seeds, after one was read, so that every module is loaded."""
    reader = readers()[name]
    seeds = reader.seeds(fixtures)
    reader.ready(fixtures, place)
    results = {outcome(reader, place, content) for content in seeds}
    if "read" not in results:
        raise SystemExit(f"{name} refuses every sound file: the fuzzer would find nothing")
    return reader, seeds


if __name__ == "__main__":
    main()
