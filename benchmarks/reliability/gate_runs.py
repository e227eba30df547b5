"""`edgebert gate` on runs that are worse in one way each, and on the good one measured again and again.

The good run is a fit of ATIS, made here or given. Its budget is what `edgebert gate --suggest` writes, with limits at 128
tokens and on two threads, of each label and of the time to load beside it; the baseline is the good run itself. Each of
the cases of `gate_doctors` must fail, by its own limits and by no others; each repeated measurement must pass. Writes
gate_runs.md beside this and results/gate-runs.json.

    python -m benchmarks.reliability.gate_runs [--run FOLDER] [--work FOLDER] [--repeats 50] [--only NAME,NAME]

With --work, what a stopped call has done is not done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tomllib

from benchmarks.reliability import gate_statistics
from benchmarks.reliability.gate_doctors import LOOSE, TIGHT, Case, cases
from benchmarks.reliability.gate_repeats import Repeat, repeats
from benchmarks.reliability.gate_workbench import REPORT, Copy, Workbench
from edgebert.budget.findings import FIGURES, GateResult
from edgebert.budget.limits import HERE, LIMITS
from edgebert.budget.settings import Setting
from edgebert.budget.suggest import bound, own
from edgebert.report.serial import dump_report
from edgebert.workflows.gate import gate, suggested

PAGE = Path(__file__).with_suffix(".md")
RESULTS = Path(__file__).parents[1] / "results" / "gate-runs.json"
FACTORS = (1.1, 1.2, 1.3, 1.5, 2.0)
OF_EACH = 3  # measurements of a slowed file
FIT = ("fit", "--device", "pixel6", "--task", "ner", "--effort", "quick", "--candidates", "1", "--format", "onnx")


@dataclass(frozen=True)
class Outcome:
    """What the gate said of a doctored run.

    Attributes:
        reasons: of each limit that failed.
        right: it failed, by all that had to and by none that may not.
    """

    name: str
    what: str
    must: tuple[str, ...]
    exit_code: int
    reasons: dict[str, str]
    right: bool
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="a finished fit with an ONNX winner")
    parser.add_argument("--work", type=Path, help="keeps what was done")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--only", default="", help="names of cases: they are tried, and no page is written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        run = options.run or _fitted(work / "run")
        bench = Workbench(run)
        budgets = _budgets(bench, work)
        chosen = [case for case in cases() if not options.only or case.name in options.only.split(",")]
        outcomes = doctored(bench, budgets, chosen, work)
        if options.only:
            return int(not all(outcome.right for outcome in outcomes))
        good = repeats(bench, options.repeats, work / "repeats.jsonl")
        verdicts = judged(bench, budgets[TIGHT], good, work)
        slow = {f: repeats(bench, OF_EACH, work / f"slowed-{f:g}.jsonl", f) for f in FACTORS}
        facts = gate_statistics.facts(bench, good, slow)
    _write(bench, outcomes, good, verdicts, facts, budgets)
    return int(not all(item.right for item in outcomes) or any(v["exit_code"] for v in verdicts))


def _fitted(run: Path) -> Path:
    subprocess.run([sys.executable, "-m", "edgebert", *FIT, "--run", str(run)], check=True)
    return run


# ---------------------------------------------------------------- budgets


def _budgets(bench: Workbench, work: Path) -> dict[str, Path]:
    """The budget that `--suggest` writes, with more limits; and one with the same growth whose limits are far."""
    budget = tomllib.loads(suggested(bench.run))
    limits, growth = budget["limits"], budget["growth"]
    limits["latency_ms"] = [
        limits["latency_ms"],
        _room(bench, "latency_ms", tokens=128),
        _room(bench, "latency_ms", threads=2),
    ]
    growth |= {"label_points": 5, "load_percent": {"max": 50, "on": HERE}}
    files = {}
    for name, table in ((TIGHT, limits), (LOOSE, {"size_mb": 1000, "score": 2})):
        files[name] = work / f"{name}.toml"
        text = [f"[{head}]\n{_lines(values)}" for head, values in (("limits", table), ("growth", growth))]
        files[name].write_text("\n".join(text))
    return files


def _room(bench: Workbench, name: str, **conditions: Any) -> dict[str, Any]:
    """A limit under other conditions, with the room that `--suggest` leaves."""
    limit = next(limit for limit in LIMITS if limit.name == name)
    value = FIGURES[name](bench.subject, Setting(limit, 0.0, HERE, **conditions))
    return {"max": bound(limit, own(value), value.spread), "on": HERE, **conditions}


def _lines(values: dict[str, Any]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


# ---------------------------------------------------------------- runs that are worse


def doctored(bench: Workbench, budgets: dict[str, Path], chosen: Sequence[Case], work: Path) -> list[Outcome]:
    """Each case's verdict; those kept in `work` are not made again."""
    kept = work / "cases.jsonl"
    known = {item["name"]: item for item in map(json.loads, kept.read_text().splitlines())} if kept.exists() else {}
    results = []
    for case in chosen:
        if case.name not in known:
            known[case.name] = asdict(_tried(bench, budgets, case))
            with kept.open("a") as stream:
                stream.write(json.dumps(known[case.name]) + "\n")
        outcome = replace(Outcome(**known[case.name]), what=case.what, must=case.must)
        outcome = replace(outcome, right=_is_right(case, outcome))
        results.append(outcome)
        print(
            f"{'right' if outcome.right else 'WRONG'}  {case.name}: exit {outcome.exit_code}, {', '.join(outcome.reasons)}",
            flush=True,
        )
    return results


def _tried(bench: Workbench, budgets: dict[str, Path], case: Case) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=bench.run.parent) as scratch:  # on the run's file system, for its hard links
        copy = Copy.make(bench, Path(scratch) / "run")
        case.doctor(copy, Path(scratch) / "work")
        result = gate(copy.folder, budgets[case.budget], bench.run)
    seconds = round(time.monotonic() - began, 1)
    return Outcome(case.name, case.what, case.must, result.exit_code, failed(result), False, seconds)


def _is_right(case: Case, outcome: Outcome) -> bool:
    names = set(outcome.reasons)
    return outcome.exit_code == 1 and set(case.must) <= names <= {*case.must, *case.may}


def failed(result: GateResult) -> dict[str, str]:
    return {item.limit: item.reason for item in result.findings if item.outcome == "failed"}


# ---------------------------------------------------------------- the good run again


def judged(bench: Workbench, budget: Path, good: Sequence[Repeat], work: Path) -> list[dict[str, Any]]:
    """What the gate says of the report of each repeated measurement against the good run's. The package is the same."""
    of_report = work / "report.toml"
    lines = budget.read_text(encoding="utf-8").splitlines(keepends=True)
    of_report.write_text("".join(line for line in lines if not line.startswith("tokenizer_")), encoding="utf-8")
    results = []
    for item in good:
        path = work / "repeat.json"
        path.write_text(dump_report(bench.with_figures(bench.report, item.figures)), encoding="utf-8")
        result = gate(path, of_report, bench.run / REPORT)
        told = {f.limit: f.value for f in result.findings if f.value is not None}
        results.append({"exit_code": result.exit_code, "failed": failed(result), "figures": told})
    return results


# ---------------------------------------------------------------- the page


def _write(
    bench: Workbench,
    outcomes: Sequence[Outcome],
    good: Sequence[Repeat],
    verdicts: Sequence[dict[str, Any]],
    facts: dict[str, Any],
    budgets: dict[str, Path],
) -> None:
    from benchmarks.reliability.gate_page import page

    PAGE.write_text(page(bench, outcomes, good, verdicts, facts, budgets[TIGHT].read_text()), encoding="utf-8")
    raw = {
        "cases": [asdict(item) for item in outcomes],
        "repeats": [
            {"busy": item.busy, "load": item.load, "seconds": item.seconds} | verdict
            for item, verdict in zip(good, verdicts, strict=True)
        ],
        "facts": facts,
    }
    RESULTS.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
