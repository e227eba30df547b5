"""The page of `gate_runs`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from benchmarks.reliability.gate_doctors import cases
from edgebert.devices.machine import describe_environment

WANTED = 50  # repeats

if TYPE_CHECKING:
    from benchmarks.reliability.gate_repeats import Repeat
    from benchmarks.reliability.gate_runs import Outcome
    from benchmarks.reliability.gate_workbench import Workbench


def page(
    bench: Workbench,
    outcomes: Sequence[Outcome],
    good: Sequence[Repeat],
    verdicts: Sequence[dict[str, Any]],
    facts: dict[str, Any],
    budget: str,
) -> str:
    parts = [*_head(bench, outcomes, good, verdicts), *_cases(outcomes), *_repeats(good, verdicts, facts)]
    parts += [
        *_detection(facts, len(good)),
        "",
        "## The budget",
        "",
        *(f"    {line}".rstrip() for line in budget.splitlines()),
    ]
    return "\n".join(parts) + "\n"


def _head(
    bench: Workbench, outcomes: Sequence[Outcome], good: Sequence[Repeat], verdicts: Sequence[dict[str, Any]]
) -> Iterator[str]:
    environment: Any = describe_environment()
    versions = ", ".join(
        f"{name} {environment['versions'][name]}" for name in ("onnxruntime", "torch", "tokenizers", "numpy")
    )
    right, passed = sum(item.right for item in outcomes), sum(not item["exit_code"] for item in verdicts)
    hardware = environment["hardware"]
    yield "# Worse runs at the gate, and noisy repeats of a good one"
    yield ""
    yield f"{right} of {len(outcomes)} runs that are worse in one way fail by the limits of that way and by no others;"
    yield f"{passed} of {len(good)} repeated measurements of the good run pass."
    if (total := len(list(cases()))) > len(outcomes) or len(good) < WANTED:
        yield ""
        yield f"So far {len(outcomes)} of {total} cases were tried and {len(good)} of {WANTED} repeats made: the call was stopped."
    yield ""
    yield f"`python -m benchmarks.reliability.gate_runs` on {datetime.now(timezone.utc):%Y-%m-%d}, {hardware['processor']}, "
    yield f"{hardware['cores']} cores. {versions}. The good run: `{_command(bench)}` on ATIS,"
    yield f"{bench.report.winner}, {bench.subject.file.artifact.size_bytes / 1e6:.2f} MB."
    yield ""


def _command(bench: Workbench) -> str:
    words = bench.report.command.split()
    return " ".join(word for i, word in enumerate(words) if word != "--run" and words[i - 1] != "--run")


def _cases(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "## Worse in one way"
    yield ""
    yield "Each is a copy of the good run in which the file, the model or the package was made worse, then converted, proved,"
    yield "measured and packaged again by edgebert's own functions. In bold the limits that had to fail; the others follow from"
    yield "them. `gate` then ended with exit code 1."
    yield ""
    yield "| run | what was done | limits that failed | the first reason | |"
    yield "| --- | --- | --- | --- | --- |"
    for item in outcomes:
        names = ", ".join(f"**{name}**" if name in item.must else name for name in item.reasons)
        reason = next((text for name, text in item.reasons.items() if name in item.must), "")
        cells = (
            item.name,
            item.what,
            names,
            reason.replace("|", "\\|")[:160],
            "" if item.right else f"WRONG, exit {item.exit_code}",
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _repeats(good: Sequence[Repeat], verdicts: Sequence[dict[str, Any]], facts: dict[str, Any]) -> Iterator[str]:
    loads = sorted(item.load for item in good)
    yield "## The good run again"
    yield ""
    busy = Counter(item.busy for item in good)
    yield f"{len(good)} measurements of the same two files, each in processes of its own as `fit` makes them; {busy[1]} beside a"
    yield f"process of ours that computes, {busy[2]} beside two. The machine had a load of {loads[0]:g} to {loads[-1]:g} (median"
    yield f"{loads[len(loads) // 2]:g}) when they began. Every tenth was made under all conditions, the others at own lengths on a thread."
    yield ""
    fails = [f"{name}: {reason}" for item in verdicts for name, reason in item["failed"].items()]
    yield "None failed a limit." if not fails else f"Failed: {'; '.join(fails)}."
    yield ""
    yield "Of each limit, the figures over all repeats:"
    yield ""
    yield "| limit | least | median | most |"
    yield "| --- | --- | --- | --- |"
    for name in (
        "latency_ms (here)",
        "latency_p90_ms",
        "load_ms",
        "memory_mb",
        "latency_percent",
        "load_percent",
        "memory_percent",
    ):
        values = sorted(item["figures"][name] for item in verdicts if name in item["figures"])
        if values:
            yield f"| {name} | {values[0]:.3g} | {values[len(values) // 2]:.3g} | {values[-1]:.3g} |"
    yield ""
    yield "Each repeat against each other one, as run and baseline. The deviation is that of the ratio's logarithm, as a factor;"
    yield "the gate fails a pair where the ratio is over 1.1 by more than its noise (1.5 for loading, 1.2 for memory)."
    yield ""
    yield "| ratio of | read by | deviation | 95 % within | largest | pairs that fail |"
    yield "| --- | --- | --- | --- | --- | --- |"
    read = {f"latency, {name}": readings for name, readings in facts["ratios"].items()} | {
        "time to load": facts["load"]
    }
    for name, readings in read.items():
        for reading, row in readings.items():
            yield f"| {name} | {reading} | {_row(row)} |"
    yield f"| peak memory | | {_row(facts['memory'])} |"
    yield ""


def _row(row: dict[str, Any]) -> str:
    return f"{row['deviation']:.3f} | {row['p95']:.2f} | {row['largest']:.2f} | {row['failed']} of {row['pairs']:,}"


def _detection(facts: dict[str, Any], n: int) -> Iterator[str]:
    yield "## How much slower it must be"
    yield ""
    yield "The packaged file with every pass made so many times as long by computing on its thread, measured alike beside the same"
    yield f"other work, against each of the {n} repeats as baseline; the limit is 10 %."
    yield ""
    yield "| slower by | ratio that was read (median) | pairs that fail |"
    yield "| --- | --- | --- |"
    for factor, row in facts["detected"].items():
        yield f"| {factor} | {row['median_ratio']:.2f} | {row['failed']} of {row['pairs']} |"
