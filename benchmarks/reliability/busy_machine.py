"""A training beside other work: steps of the ATIS teacher's epoch, alone and with other processes that compute.

The same steps in turns, so that a machine that changes changes for all: alone on half of the usable cores; on all cores
with threads that sleep while they wait (edgebert's way) and with threads that spin (OpenMP's own way, edgebert's before),
each alone and beside processes that multiply matrices on one thread each. Aim: beside two of them at most 2.2 times the time
alone on half of the cores. Writes benchmarks/reliability/busy_machine.md. Let nothing else run.

    python -m benchmarks.reliability.busy_machine [--turns 9] [--steps 10] [--others 2]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgebert.devices.machine import PASSIVE_WAITING, UseMeter, describe_environment, usable_cores

PAGE = Path(__file__).with_suffix(".md")
AIM = 2.2
BATCH_SIZE = 32
OTHER = (
    "import numpy as np\na = np.random.rand(400, 400).astype('f4')\nwhile True:\n    a = a @ a\n    a /= abs(a).max()\n"
)
COLUMNS = {  # subject and whether others compute -> its name
    ("half", False): "alone, half of the cores",
    ("sleep", False): "alone, all cores",
    ("sleep", True): "beside others",
    ("spin", False): "alone, threads spin",
    ("spin", True): "beside others, threads spin",
}


# ---------------------------------------------------------------- a process that trains


def work(cores: list[int]) -> None:
    """Answers each line of standard input, a number of steps, with the seconds they took; then with the weights' sha256."""
    os.sched_setaffinity(0, cores)
    import torch

    torch.set_num_threads(len(cores))
    objective, batches = teacher(torch)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-4, fused=True)
    torch.manual_seed(0)
    step(torch, objective, optimizer, batches[0])  # what the first costs more is not counted
    print(json.dumps({"steps_of_epoch": len(batches)}), flush=True)
    for line in sys.stdin:
        chosen = batches[:: max(1, len(batches) // int(line))][: int(line)]
        started = time.perf_counter()
        for batch in chosen:
            step(torch, objective, optimizer, batch)
        print(json.dumps({"seconds": (time.perf_counter() - started) / len(chosen)}), flush=True)
    weights = b"".join(p.detach().numpy().tobytes() for p in objective.parameters())
    print(json.dumps({"sha256": hashlib.sha256(weights).hexdigest()}), flush=True)


def teacher(torch: Any) -> tuple[Any, list[Any]]:
    """The default teacher with a new head, and the batches of an epoch by length, as the training loop groups them."""
    from edgebert import data
    from edgebert.modeling.checkpoint import load_model, load_tokenizer
    from edgebert.modeling.heads import HEADS
    from edgebert.modeling.source import find_teacher
    from edgebert.tasks import find_task
    from edgebert.training.loop import Objective, collate

    task, folder = find_task("ner"), find_teacher().folder
    dataset = data.load((), task)
    torch.manual_seed(0)
    model, _ = load_model(folder, HEADS.get(task.head).auto_model, dataset.labels)
    features = task.encode(dataset.splits["train"], load_tokenizer(folder), dataset.labels, 128)
    features = sorted(features, key=lambda feature: len(feature.input_ids))
    batches = [collate(features[i : i + BATCH_SIZE]) for i in range(0, len(features), BATCH_SIZE)]
    return Objective(model).train(), batches


def step(torch: Any, objective: Any, optimizer: Any, batch: Any) -> None:
    objective(**batch)["loss"].backward()
    torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


# ---------------------------------------------------------------- turns


def start(cores: list[int], passive: bool) -> subprocess.Popen[str]:
    free = {name: value for name, value in os.environ.items() if name not in (*PASSIVE_WAITING, "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.reliability.busy_machine", "--worker", ",".join(map(str, cores))]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**free, **(PASSIVE_WAITING if passive else {})}, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def answer(process: subprocess.Popen[str], line: str = "") -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    results: dict[str, Any] = json.loads(process.stdout.readline())
    return results


@contextmanager
def others(n: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that compute; they are stopped at first."""
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    created = [subprocess.Popen([sys.executable, "-c", OTHER], env=one_thread) for _ in range(n)]
    try:
        send(created, signal.SIGSTOP)
        yield created
    finally:
        for process in created:
            process.kill()
            process.wait()


def send(processes: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        process.send_signal(number)


def measure(turns: int, steps: int, n_others: int) -> dict[str, Any]:
    """Seconds a step of each column and turn, what else ran meanwhile, and the weights' sha256 of each subject."""
    cores = sorted(os.sched_getaffinity(0))
    subjects = {
        "half": start(cores[: max(1, len(cores) // 2)], passive=True),
        "sleep": start(cores, passive=True),
        "spin": start(cores, passive=False),
    }
    try:
        ready = [answer(process) for process in subjects.values()]
        times: dict[tuple[str, bool], list[float]] = {column: [] for column in COLUMNS}
        meter = UseMeter()
        with others(n_others) as busy:
            for turn in range(turns):
                for (name, beside), column in times.items():
                    send(busy, signal.SIGCONT if beside else signal.SIGSTOP)
                    time.sleep(0.2)
                    column.append(answer(subjects[name], str(steps))["seconds"])
                print(turn + 1, {COLUMNS[key]: round(column[-1], 3) for key, column in times.items()}, flush=True)
        use = meter.use()
        sha256 = {}
        for name, process in subjects.items():
            assert process.stdin is not None
            process.stdin.close()
            sha256[name] = answer(process)["sha256"]
    finally:
        for process in subjects.values():
            process.kill()
            process.wait()
    return {"times": times, "steps_of_epoch": ready[0]["steps_of_epoch"], "use": use, "sha256": sha256}


# ---------------------------------------------------------------- the page


def page(found: dict[str, Any], turns: int, steps: int, n_others: int) -> str:
    medians = {column: statistics.median(times) for column, times in found["times"].items()}
    half, n = medians["half", False], found["steps_of_epoch"]
    rows = [
        f"| {COLUMNS[column]} | {1000 * median:.0f} | {n * median:.0f} | {median / half:.2f} | "
        f"{min(found['times'][column]) / half:.2f} to {max(found['times'][column]) / half:.2f} |"
        for column, median in medians.items()
    ]
    ratio = medians["sleep", True] / half
    hardware = describe_environment()["hardware"]
    equal = "the same" if found["sha256"]["sleep"] == found["sha256"]["spin"] else "NOT THE SAME"
    strangers = (
        "nothing else computed" if not found["use"].is_shared else f"meanwhile {found['use']}: NOT A CALM MACHINE"
    )
    return f"""# A training on a busy machine

Steps of an epoch of the ATIS teacher (all-MiniLM-L6-v2, {BATCH_SIZE} rows a step, {n} steps an epoch) beside {n_others} processes
that multiply matrices. Medians of {turns} turns of {steps} steps; in each turn every line once. `python -m
benchmarks.reliability.busy_machine` on {datetime.now(timezone.utc):%Y-%m-%d}, {hardware["processor"]}, {usable_cores()} cores;
{strangers}.

| | ms a step | s an epoch | times alone on half of the cores | least to most |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}

Beside others {ratio:.2f} times the time alone on half of the cores; at most {AIM} is the aim: {"reached" if ratio <= AIM else "MISSED"}.
Weights after all turns, threads that sleep against threads that spin: {equal}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--turns", 9), ("--steps", 10), ("--others", 2)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work([int(core) for core in options.worker.split(",")])
        return
    text = page(measure(options.turns, options.steps, options.others), options.turns, options.steps, options.others)
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
