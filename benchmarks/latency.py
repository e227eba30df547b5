"""How near predicted latencies come once a device is calibrated: writes benchmarks/latency.md.

Calibrates each target (`edgebert calibrate`, 1 thread), then draws 48 architectures by a fixed seed, none of them a probe,
exports each in fp32 and int8 with random weights, measures it at one length, and compares. Beside that: whether two
runs of `edgebert profile`, with its defaults, agree; what the runner itself costs; and how many published points the
uncalibrated model's interval holds. Seeds 0 to 3 were looked at while the model was made, 4 was not: after a change that its
times led to, the benchmark has to draw with another.

    python -m benchmarks.latency [--on here,browser] [--runs runs/latency] [--limit 48]

Nothing else should run meanwhile. Each target takes about half an hour, and the first time writing the files 10 minutes
more. Files are kept in the user's cache (about 5 GB), times and fits in --runs: a killed run goes on where it was.
Remove --runs to measure anew. What was found is kept in benchmarks/results, a file a target and day.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.cost.analytic import SPREAD
from edgebert.cost.calibration import Calibration, read_calibrations
from edgebert.cost.published import coverage
from edgebert.measure.measure import Request as ProfileRequest
from edgebert.measure.measure import measure as profile
from edgebert.measure.probes import PROBES, SIZES, Shape, files_of, shape
from edgebert.measure.runner import Turn, describe, read_count, take_turns
from edgebert.measure.targets import TARGETS, parse_address
from edgebert.workflows.calibrate import Request, calibrate, time_shapes

SEED = 4
ON = "here,browser"
WIDTHS = (128, 160, 192, 224, 256, 288, 312, 320, 352, 384, 448, 512, 576, 640, 704, 768)
COUNTS = {"bert": 20, "albert": 7, "squeezebert": 7, "mobilebert": 7, "bilstm": 7}
GROUP = 4  # architectures at one length
PRECISIONS = ("int8", "fp32")
BLOCKS, MAX_SECONDS = 4, 3.0  # of each file
BUSY_MS = 5.0
AGREE_ON = (0, 4, 8)  # lengths, of which two architectures are profiled twice
OUTPUT, RESULTS = Path(__file__).with_name("latency.md"), Path(__file__).with_name("results")


@dataclass(frozen=True)
class Case:
    shape: Shape
    length: int


@dataclass(frozen=True)
class Result:
    """One file: what was measured, and what was said before."""

    name: str
    family: str
    length: int
    precision: str
    measured_ms: float
    predicted_ms: float
    inside: bool

    @property
    def ratio(self) -> float:
        return self.predicted_ms / self.measured_ms


@dataclass(frozen=True)
class Record:
    """Of one target on a day, kept beside the page: what is measured anew leaves the others as they were."""

    on: str
    day: str
    seed: int
    made: str
    said: list[str]  # by its calibrations
    results: list[Result]
    twice: dict[str, list[float]]  # p50 of a file in two runs


# ---------------------------------------------------------------- what is held out


def held_out(seed: int = SEED) -> list[Case]:
    """The architectures, none of them a probe, each at a length from 16 to 256: four at the same."""
    rng = np.random.default_rng(seed)
    probes = {probe.name for probe in PROBES}
    results: list[Shape] = []
    for family, count in COUNTS.items():
        while sum(entry.family == family for entry in results) < count:
            item = _drawn(family, rng)
            if item.name not in probes and item not in results:
                results.append(item)
    order = rng.permutation(len(results))
    lengths = np.exp(rng.uniform(np.log(17), np.log(256), len(results) // GROUP - 2)).astype(int)
    lengths = [16, *sorted(map(int, lengths)), 256]
    return [Case(results[i], lengths[k // GROUP]) for k, i in enumerate(order)]


def _drawn(family: str, rng: np.random.Generator) -> Shape:
    width, layers = int(rng.choice(WIDTHS)), int(rng.integers(1, 13))
    if family == "bilstm":
        return shape(family, int(rng.integers(1, 4)), width, int(rng.choice((64, 128, 200, 256))))
    if family == "mobilebert":
        heads = int(rng.choice([n for n in (2, 4, 8, 12) if (width // 4) % n == 0]))
        return shape(family, layers, width, heads, width // 4, int(rng.choice((1, 2, 4))), 128)
    heads = int(rng.choice([n for n in (2, 3, 4, 6, 8, 10, 12, 16) if width % n == 0 and 16 <= width // n <= 96]))
    inner = 4 * int(width * rng.choice((1, 2, 3, 4)) // 4)
    more = {"bert": (), "albert": (128,), "squeezebert": (int(rng.choice((2, 4))),)}[family]
    return shape(family, layers, width, heads, inner, *more)


# ---------------------------------------------------------------- measuring


def calibrated(on: str, runs: Path) -> tuple[Calibration, ...]:
    path = runs / f"{_safe(on)}-calibration.json"
    if not path.exists():
        calibrate(Request(on, threads=(1,), output=str(path)), _tell)
    return read_calibrations(path)


def measured(on: str, cases: Sequence[Case], path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Times of every case in both precisions, by name and precision; each is written down as it comes."""
    results = {(entry["name"], entry["precision"]): entry for entry in _lines(path)}
    kind, address = parse_address(on)
    left = [
        (case.shape, precision, (case.length,))
        for case in cases
        for precision in PRECISIONS
        if (case.shape.name, precision) not in results
    ]
    timed = time_shapes(
        TARGETS.get(kind), address, left, lambda **event: _tell(event), blocks=BLOCKS, max_seconds=MAX_SECONDS
    )
    with path.open("a", encoding="utf-8") as stream:
        for item in timed:
            line = {"name": item.shape.name, "precision": item.precision, "length": item.lengths[0], "p50_ms": item.p50_ms[0],
                    "times_ms": [round(took, 4) for took in item.times_ms]}  # fmt: skip
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            results[item.shape.name, item.precision] = line
    return results


def compared(on: str, cases: Sequence[Case], runs: Path) -> tuple[tuple[Calibration, ...], list[Result]]:
    fits = calibrated(on, runs)
    by_precision = {item.precision: item for item in fits}
    result = measured(on, cases, runs / f"{_safe(on)}-times.jsonl")
    results = []
    for case in cases:
        for precision in PRECISIONS:
            fit, ms = by_precision[precision], result[case.shape.name, precision]["p50_ms"]
            description = fit.predict_ms(case.shape.config(), case.length)
            inside = fit.low * description <= ms <= fit.high * description
            results.append(Result(case.shape.name, case.shape.family, case.length, precision, ms, description, inside))
    return fits, results


def profiled_twice(on: str, cases: Sequence[Case], path: Path) -> dict[str, list[float]]:
    """p50 of files in two runs of `edgebert profile`; the second begins when the first is through with all."""
    results = {(line["run"], line["length"]): line["p50_ms"] for line in _lines(path)}
    chosen = [cases[GROUP * at : GROUP * at + 2] for at in AGREE_ON]
    with path.open("a", encoding="utf-8") as stream:
        for run in (1, 2):
            for pair in filter(None, chosen):
                length = pair[0].length
                if (run, length) in results:
                    continue
                files = [file for case in pair for file in files_of(case.shape, "onnx", PRECISIONS)]
                print(f"{time.strftime('%T')}  {on}: profile, run {run}, {length} tokens", flush=True)
                took = profile(ProfileRequest(tuple(str(file.path) for file in files), (on,), length=length))
                p50 = {file.name: result.p50_ms for file, result in zip(files, took.results, strict=True)}
                stream.write(json.dumps({"run": run, "length": length, "p50_ms": p50}) + "\n")
                stream.flush()
                results[run, length] = p50
    twice: dict[str, list[float]] = {}
    for (_, length), p50 in sorted(results.items()):
        for name, ms in p50.items():
            twice.setdefault(f"{name}, {length} tokens", []).append(ms)
    return twice


def overhead() -> tuple[float, float]:
    """Of the runner's loop with a run that computes for BUSY_MS: the time between runs, as a share of the runs, and how
    far the p50 that it tells is from what the runs took by their own clock."""
    took: list[float] = []

    def busy(_: int) -> None:
        started = time.perf_counter()
        while time.perf_counter() - started < BUSY_MS / 1e3:
            pass
        took.append(time.perf_counter() - started)

    turn = Turn(busy, 1)
    started = time.perf_counter()
    take_turns([turn], min_runs=400, max_seconds=2.0)
    wall = time.perf_counter() - started
    return wall / sum(took) - 1, float(np.median(turn.times_ms)) / (1e3 * float(np.median(took))) - 1


def counters() -> str:
    """Whether instructions can be counted here."""
    if not shutil.which("perf"):
        return "there is no `perf` here"
    command = ["perf", "stat", "-x", ",", "--log-fd", "1", "-e", "instructions:u", "--", "true"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    n = read_count(ran.stdout)
    return f"`perf` counts them ({n:,} for `true`)" if n else "`perf` is there, but this machine counts none (virtual)"


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def _safe(on: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in on)


def _tell(event: dict[str, Any]) -> None:
    if event["event"] in ("begin", "note"):
        print(f"{time.strftime('%T')}  {event.get('stage') or event.get('text')}", flush=True)


# ---------------------------------------------------------------- the report


def ordered(results: Sequence[Result], *, same_length: bool = False) -> tuple[float, int]:
    """Share of pairs that differ by more than 10 % as measured and are predicted in the right order, and their number."""
    right = [
        (a.measured_ms < b.measured_ms) == (a.predicted_ms < b.predicted_ms)
        for a, b in combinations(results, 2)
        if max(a.measured_ms, b.measured_ms) > 1.1 * min(a.measured_ms, b.measured_ms)
        and (a.length == b.length or not same_length)
    ]
    return sum(right) / max(1, len(right)), len(right)


def within(results: Sequence[Result], share: float) -> float:
    return sum(abs(result.ratio - 1) <= share for result in results) / len(results)


def summary(found: Record) -> list[str]:
    results, twice = found.results, found.twice
    all_pairs, n_pairs = ordered(results)
    same, n_same = ordered(results, same_length=True)
    apart = {name: max(pair) / min(pair) - 1 for name, pair in twice.items()}
    agree = sum(item <= 0.05 for item in apart.values()) / len(apart)
    worst = max(results, key=lambda result: abs(result.ratio - 1))
    n = len({item.name for item in results})
    rows = [
        ("held-out architectures (times)", "at least 40", f"{n} ({len(results)})"),
        ("p50 within 10 %", "90 %", f"{100 * within(results, 0.1):.1f} %"),
        ("p50 within 20 %", "100 %", f"{100 * within(results, 0.2):.1f} %"),
        ("largest error", "", f"{100 * (worst.ratio - 1):+.0f} % ({worst.name} {worst.precision}, {worst.length} tokens)"),
        ("order of two that differ by more than 10 %", "97 %", f"{100 * all_pairs:.2f} % of {n_pairs:,} pairs"),
        ("the same, both of one length", "", f"{100 * same:.2f} % of {n_same:,} pairs"),
        ("measured p50 inside the stated interval", "", f"{100 * sum(item.inside for item in results) / len(results):.1f} %"),
        ("two runs of `edgebert profile` within 5 % at p50", "100 %", f"{100 * agree:.1f} % of {len(apart)} files (worst {100 * max(apart.values()):.1f} %)"),
    ]  # fmt: skip
    for name in PRECISIONS:
        its = [item for item in results if item.precision == name]
        rows.append(
            (f"{name}: within 10 %, 20 %", "", f"{100 * within(its, 0.1):.1f} %, {100 * within(its, 0.2):.1f} %")
        )
    for name in COUNTS:
        if its := [item for item in results if item.family == name]:
            rows.append(
                (f"{name}: within 10 %, 20 %", "", f"{100 * within(its, 0.1):.1f} %, {100 * within(its, 0.2):.1f} %")
            )
    return [
        f"## --on {found.on}, {found.day}",
        "",
        f"{found.made}; architectures of seed {found.seed}.",
        "",
        "| | asked | found |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


NOTES = """
## What was seen

- 2026-11-29, AMD EPYC: seed 4 had not been looked at before: neither its times nor its predictions, on either target.
  Nothing else ran meanwhile. Calibrating took 5 minutes here and 10 in Chromium.
- 2026-11-28, Intel: a noisier machine. Architectures that were left out of the fit are 4 to 7 % off at the median (2 to
  3 % on the other machine), and spells of a minute slowed whole groups of files by a third (17 tokens in the calibration,
  215 and 23 among the held-out). Two runs of `edgebert profile` differ by up to 13 %, all files in the same direction;
  while the first ran, a table was written and code was checked on the other core for about half a minute. So what this day
  says of the model is little. It was not run with --on here.
- int8 BiLSTMs with directions of a multiple of 128 (256, 512 and 768 wide) take a quarter longer in Chromium than their
  weights explain, on both machines. They have a price of their own since terms of version 3: before, they were said up
  to 6 % too fast and the others 17 to 21 % too slow (2026-11-25, AMD EPYC, seed 2: 78.6 % of the BiLSTMs' times in
  Chromium within 10 %). The rule (powers of two were tried before it) was chosen when seed 3's held-out times had been
  seen, which gain nothing from it: 72.9 and 94.8 % of all with it, 74.0 and 94.8 % before. Seed 4's were not.
"""


def page(found: Sequence[Record]) -> str:
    loop, message = overhead()
    lines = [
        "# Predicted against measured latency",
        "",
        "Architectures that the fit has not seen: layers 1 to 12, widths 128 to 768, random weights, exported by edgebert's",
        "converter; batch 1, 1 thread. Seed 3 was looked at before the model's last change, seed 4 was not (below).",
        "p50 is that of the quietest blocks, as everywhere (edgebert.measure.runner).",
        "",
    ]
    for item in found:
        lines += summary(item)
    about = describe()
    lines += [
        "## Beside",
        "",
        f"On {date.today().isoformat()}, {about['processor']}.",
        "",
        "| | asked | found |",
        "|---|---|---|",
        f"| published points inside the uncalibrated interval (×/÷ {SPREAD:g}) | 80 % | "
        f"{100 * coverage(how=('published',)):.0f} % of the published, {100 * coverage():.0f} % with ours |",
        f"| the runner between runs of {BUSY_MS:g} ms | under 1 % | {100 * loop:.2f} % of their time |",
        f"| p50 that it tells against the run's own clock | | {100 * message:+.2f} % |",
        f"| instructions | | {counters()} |",
        "",
    ]
    lines += [NOTES.strip(), ""]
    for item in found:
        lines += [f"## Every time, --on {item.on}, {item.day}", ""]
        lines += [f"- {description}" for description in item.said]
        lines += [
            "",
            "| architecture | tokens | precision | measured ms | predicted ms | ratio |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {case.name} | {case.length} | {case.precision} | {case.measured_ms:.3f} | {case.predicted_ms:.3f} | "
            f"{case.ratio:.2f} |"
            for case in item.results
        ]
        lines += ["", "| profiled twice | first p50 ms | second | |", "|---|---|---|---|"]
        lines += [f"| {name} | {a:.3f} | {b:.3f} | {100 * (b / a - 1):+.1f} % |" for name, (a, b) in item.twice.items()]
        lines.append("")
    if left := [on for on in ON.split(",") if on not in {item.on for item in found}]:
        lines += [f"Not run: {', '.join(f'--on {on}' for on in left)}.", ""]
    names = ", ".join(f"{family}: {', '.join(sizes)}" for family, sizes in SIZES.items())
    return "\n".join([*lines, f"Sizes in the names are, for {names}.", ""])


def _made(on: str, day: str) -> str:
    """When, on what and by what: a line below a target's figures."""
    about = describe()
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "torch", "transformers", "onnx"))
    return (
        f"`python -m benchmarks.latency --on {on}`, {day}; {about['processor']}, {about['cores']} cores, "
        f"{platform.platform()}; python {platform.python_version()}, {packages}; {len(PROBES)} probes"
    )


def read_found(path: Path) -> Record:
    stored = json.loads(path.read_text(encoding="utf-8"))
    return Record(**{**stored, "results": [Result(**item) for item in stored["results"]]})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", default=ON)
    parser.add_argument("--runs", type=Path, default=Path("runs/latency"))
    parser.add_argument("--limit", type=int, default=sum(COUNTS.values()), help="architectures, to try it out")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    cases = held_out()[: options.limit]
    print(f"{time.strftime('%T')}  writing {len(cases)} architectures", flush=True)
    for case in cases:
        files_of(case.shape, "onnx", PRECISIONS)
    whole = options.limit >= sum(COUNTS.values())
    kept, output = (RESULTS, OUTPUT) if whole else (options.runs, options.runs / OUTPUT.name)
    for on in options.on.split(","):
        twice = profiled_twice(on, cases, options.runs / f"{_safe(on)}-twice.jsonl")
        fits, results = compared(on, cases, options.runs)
        day = fits[0].created[:10]  # not that of a page written again
        result = Record(on, day, SEED, _made(on, day), [fit.description for fit in fits], results, twice)
        kept.mkdir(exist_ok=True)
        (kept / f"latency-{_safe(on)}-{day}.json").write_text(
            json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8"
        )
    every = [read_found(path) for path in kept.glob("latency-*.json")]
    output.write_text(page(sorted(every, key=lambda item: (item.day, item.on), reverse=True)), encoding="utf-8")
    print(output)


if __name__ == "__main__":
    main()
