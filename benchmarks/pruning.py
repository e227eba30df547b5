"""Students with fewer heads and neurons against students with fewer layers, at equal time.

Of each corpus a teacher is fine-tuned on 1,600 rows (all-MiniLM-L6-v2: 6 layers of width 384, 12 heads, 1,536 neurons);
every student is trained on the same rows for as many epochs, on the same mixture of labels and the teacher's answers. All
become int8 ONNX files, timed in turns. What fewer layers score at a pruned student's time is read off the line between the
two depths on either side. Development rows chose nothing but the variant of int8; test rows nothing. Reads ../shared/data;
stages resume; results lie beside the page.

    python -m benchmarks.pruning [--only banking77,snips,btc] [--seeds 1] [--runs runs] [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.default_recipe import int8_score, open_job
from benchmarks.methods import RESULTS, Line, int8_of, run_line
from edgebert.converters import CONVERTERS
from edgebert.devices.machine import describe_environment
from edgebert.files import write_atomic
from edgebert.measure.protocol import Entry, fixed_length, interleave, spread_by_length
from edgebert.modeling.checkpoint import load_student
from edgebert.runs.store import Stage
from edgebert.runtime.batching import pad_batch
from edgebert.training.run import evaluate
from edgebert.workflows.request import Fit
from edgebert.workflows.stages import convert_stage

PAGE, KEPT = Path("benchmarks/pruning.md"), RESULTS / "pruning.json"
ROWS, RUNS, LENGTH = "1600", 200, 128
LAYERS = {"banking77": "uniform", "snips": "top", "btc": "top"}  # which layers stay, by `benchmarks/methods.md`
LEARN = {"hard_label_weight": 0.9, "replace": 0.0}
DEPTHS, SHARES = (4, 3, 2), (0.25, 0.5)


def lines_of(corpus: str) -> list[Line]:
    """The students: fewer layers, fewer heads and neurons."""
    kd = {f"kd.{name}": value for name, value in LEARN.items()}
    prune = {f"prune.{name}": value for name, value in LEARN.items()}
    results = [
        Line(f"{n} layers", "drop-layers+kd", {"drop-layers.n_layers": n, "drop-layers.strategy": LAYERS[corpus], **kd})
        for n in DEPTHS
    ]
    for share in SHARES:
        results.append(Line(f"{share:.0%} pruned", "prune", {"prune.share": share, **prune}))
    results.append(Line("50% pruned, by latency", "prune", {"prune.share": 0.5, "prune.by": "latency", **prune}))
    return results


def run_corpus(corpus: str, seeds: int, runs: Path, results: dict[str, Any]) -> None:
    """Trains what is not trained yet, then times all files of the corpus in turns."""
    job, teacher = open_job(corpus, ROWS, runs)
    try:
        model, test = load_student(teacher.path), job.dataset.splits["test"]
        score = evaluate(model, job.task, job.dataset.labels, test, "test", job.max_length)
        results |= {"teacher": score.value, "metric": score.metric, "n": score.n}
        files = {"teacher": int8_of(convert_stage(job, "teacher", teacher)).path}
        for seed in range(seeds):
            for line in lines_of(corpus):
                student, converted, verified = run_line(job, line, seed, teacher)
                found = results.setdefault("students", {}).setdefault(line.name, {"seeds": {}})
                found |= {"bytes": int8_of(converted).size_bytes, "notes": student.result["notes"]}
                found["seeds"][str(seed)] = {
                    "score": int8_score(job, line.name, student),
                    "failures": verified.result[int8_of(converted).name]["parity"]["failures"],
                    "seconds": round(student.seconds),
                }
                files.setdefault(line.name, int8_of(converted).path)
                print(corpus, line.name, seed, found["seeds"][str(seed)], flush=True)
        results["ms"] = in_turns(job, teacher, files)
    finally:
        job.run.close()


def in_turns(job: Fit, teacher: Stage, files: dict[str, Path]) -> dict[str, dict[str, float]]:
    """p50 in ms of each file, one thread, batch 1: over test rows of their own lengths, and one of 128 tokens."""
    features = job.task.encode(
        job.dataset.splits["test"], load_student(teacher.path).tokenizer, job.dataset.labels, job.max_length
    )
    inputs = {
        "own": [pad_batch([features[i]]) for i in spread_by_length(features)],
        str(LENGTH): [fixed_length(features, LENGTH)],
    }
    sessions = {name: CONVERTERS.get("onnx").open(path, 1) for name, path in files.items()}
    results: dict[str, dict[str, float]] = {name: {} for name in files}
    for kind, batches in inputs.items():
        entries = [Entry(name, session, batches) for name, session in sessions.items()]
        interleave(entries, RUNS)
        for entry in entries:
            results[entry.name][kind] = float(np.median(entry.times_ms))
    return results


def by_depth(scores: dict[str, float], ms: dict[str, float], at: float) -> float | None:
    """What fewer layers score in the time `at`, between the depths on either side; None outside of them."""
    points = sorted((ms[name], scores[name]) for name in scores if name.endswith(" layers"))
    times, values = zip(*points, strict=True)
    return float(np.interp(at, times, values)) if times[0] <= at <= times[-1] else None


def rows_of(cell: dict[str, Any]) -> Iterable[str]:
    scores = {
        name: 100 * statistics.mean(seed["score"] for seed in item["seeds"].values())
        for name, item in cell["students"].items()
    }
    for name, item in cell["students"].items():
        times, whole = cell["ms"][name], cell["ms"]["teacher"]
        parts = [f"{scores[name]:.2f}", f"{scores[name] / cell['teacher']:.1f} %", f"{item['bytes'] / 1e6:.2f}"]
        parts += [f"{times[kind]:.2f} ({whole[kind] / times[kind]:.2f}x)" for kind in ("own", str(LENGTH))]
        for kind in ("own", str(LENGTH)):
            other = by_depth(scores, {key: value[kind] for key, value in cell["ms"].items()}, times[kind])
            parts.append("" if other is None or name.endswith(" layers") else f"{scores[name] - other:+.2f}")
        rejected = any(seed["failures"] for seed in item["seeds"].values())
        yield f"| {name}{', rejected by parity' if rejected else ''} | {' | '.join(parts)} | {len(item['seeds'])} |"


def write_page(results: dict[str, Any]) -> None:
    lines = [
        "# Fewer heads and neurons, or fewer layers", "",
        "Written by `python -m benchmarks.pruning`. All-MiniLM-L6-v2 (6 layers of width 384, 12 heads and 1,536 neurons each)",
        "fine-tuned on 1,600 rows is the teacher of each corpus; students learn from the same rows with labels weighing 0.9 and",
        "the teacher's answers 0.1, as long as fit's default. Scores are of int8 ONNX files over the test rows. Times: ONNX",
        "Runtime, one thread, batch 1, in turns, p50; the test rows' own lengths, and 128 tokens; in brackets how many times as",
        "fast as the teacher's own int8 file. The last two columns: points over fewer layers at the same time, between depths.",
    ]  # fmt: skip
    for corpus, cell in results["corpora"].items():
        if "ms" in cell:
            lines += [
                "", f"## {corpus}: {cell['metric']}, n = {cell['n']}; teacher in torch {100 * cell['teacher']:.2f}", "",
                "| student | score | kept | MB | ms, own lengths | ms, 128 tokens | over fewer layers, own | 128 | seeds |",
                "|---|---|---|---|---|---|---|---|---|",
                *rows_of(cell), "",
                *(f"- {name}: {note}." for name, item in cell["students"].items() for note in item["notes"]
                  if note.startswith("heads left")),
            ]  # fmt: skip
    about = results["environment"]
    lines += ["", f"{results['date']}, {about['hardware']['processor']}; " + ", ".join(
        f"{name} {about['versions'][name]}" for name in ("edgebert", "torch", "transformers", "onnxruntime"))]  # fmt: skip
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(LAYERS), help="corpora, by comma")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--write", action="store_true", help="only write the page of what is done")
    options = parser.parse_args()
    results = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"corpora": {}}
    for corpus in [] if options.write else options.only.split(","):
        run_corpus(corpus, options.seeds, options.runs, results["corpora"].setdefault(corpus, {}))
        results["environment"], results["date"] = describe_environment(), f"{datetime.now(timezone.utc):%Y-%m-%d}"
        write_atomic(KEPT, json.dumps(results, indent=1))
    write_page(results)


if __name__ == "__main__":
    main()
