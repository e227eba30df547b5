"""Networks cut out of one that dynabert trained, against networks of the same shapes, each trained alone for as many steps.

Of each corpus the teacher is `benchmarks.pruning`'s (all-MiniLM-L6-v2 fine-tuned on 1,600 rows). Alone, the same layers, heads
and neurons are cut out of the teacher, and the student learns as the supernet's networks do: the teacher's answers and labels. Scores are of torch in float32 over the test rows. How long a step takes is measured in turns: of the
supernet's training (half its steps in width alone, half in both) and of the largest network alone. Reads ../shared/data;
stages resume; results lie beside the page.

    python -m benchmarks.supernet [--only snips,banking77] [--runs runs] [--write]
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.default_recipe import open_job
from benchmarks.methods import RESULTS, Line, run_line
from benchmarks.pruning import LEARN, ROWS
from edgebert.devices.machine import describe_environment
from edgebert.files import write_atomic
from edgebert.methods._prediction import prediction_objective
from edgebert.methods._pruning import importances
from edgebert.methods._supernet import DEPTHS, cut_model, rewire, scored_of, subnetwork
from edgebert.methods.dynabert import dynamic_objective
from edgebert.modeling.checkpoint import copy_student, load_student
from edgebert.runs.store import Stage
from edgebert.training.context import MethodContext
from edgebert.training.loop import Objective, collate
from edgebert.training.run import answered, evaluate, pad_id
from edgebert.types import Student
from edgebert.workflows.request import Fit, train_settings

PAGE, KEPT = Path("benchmarks/supernet.md"), RESULTS / "supernet.json"
CORPORA = ("snips", "banking77")
EPOCHS = 12
SHAPES = ((1.0, 0.5), (0.5, 1.0), (0.75, 0.75), (0.5, 0.5), (0.25, 0.33))  # width, depth
TIMED_STEPS = 12


def lines_of(n_layers: int) -> list[Line]:
    learn = {**LEARN, "epochs": EPOCHS}
    results = [Line("supernet", "dynabert", {f"dynabert.{name}": value for name, value in learn.items()})]
    for width, depth in SHAPES:
        shape = {"cut.width": width, "cut.depth": depth}
        params = {**shape, **{f"kd.{name}": value for name, value in learn.items()}}
        results.append(Line(subnetwork(n_layers, width, depth).title, "cut+kd", params))
    return results


def run_corpus(corpus: str, runs: Path, results: dict[str, Any]) -> None:
    job, teacher = open_job(corpus, ROWS, runs)
    try:
        rows = job.dataset.splits["test"]

        def score(student: Student) -> float:
            return evaluate(student, job.task, job.dataset.labels, rows, "test", job.max_length).value

        first = load_student(teacher.path)
        metric = evaluate(first, job.task, job.dataset.labels, rows, "test", job.max_length)
        n_layers = first.model.config.num_hidden_layers
        results |= {"metric": metric.metric, "n": metric.n, "teacher": metric.value, "shapes": {}}
        whole, *alone = lines_of(n_layers)
        supernet, *_ = run_line(job, whole, 0, teacher)
        trained = load_student(supernet.path)
        scored, _ = scored_of(trained.model.config, corpus)
        results |= {"supernet": score(trained), "seconds": round(supernet.seconds)}
        for shape, line in zip((subnetwork(n_layers, *item) for item in SHAPES), alone, strict=True):
            student, *_ = run_line(job, line, 0, teacher)
            cut = copy.deepcopy(trained)
            cut_model(cut.model, shape)
            results["shapes"][line.name] = {
                "cut": score(cut), "cut, dev": scored[shape], "alone": score(load_student(student.path)),
                "seconds": round(student.seconds),
            }  # fmt: skip
            print(corpus, line.name, results["shapes"][line.name], flush=True)
        results["ms a step"] = step_times(job, teacher)
    finally:
        job.run.close()


def step_times(job: Fit, teacher: Stage) -> dict[str, float]:
    """Median ms of a step of 32 rows, in turns: the whole network alone, and the supernet's two phases."""
    source, splits = load_student(teacher.path), job.dataset.splits
    settings = train_settings(job, epochs=1, width=int(source.model.config.hidden_size))
    student = copy_student(source.model, source.tokenizer)
    context = MethodContext(
        source.model, job.task, job.dataset.labels, splits["train"][:512], splits["dev"], settings, Path(),
        teacher_tokenizer=source.tokenizer,
    )  # fmt: skip
    rewire(student, importances(student, context))
    windows = job.task.encode(context.train, student.tokenizer, job.dataset.labels, settings.max_length)
    windows = answered(windows, context.train, student, context)
    batches = [collate(windows[i : i + 32], pad_id(student)) for i in range(0, 32 * TIMED_STEPS, 32)]
    objectives: dict[str, Objective] = {"alone": prediction_objective(student, context, **LEARN)}
    for name, depths in (("width", (1.0,)), ("depth", DEPTHS)):
        objectives[name] = dynamic_objective(student, context, depths, 1, 0.1, temperature=2.0, **LEARN)
    times: dict[str, list[float]] = {name: [] for name in objectives}
    for batch in batches:
        for name, objective in objectives.items():
            begun = time.perf_counter()
            objective.train().loss(batch).backward()
            times[name].append(1000 * (time.perf_counter() - begun))
            student.model.zero_grad()
    return {name: statistics.median(values) for name, values in times.items()}


def write_page(results: dict[str, Any]) -> None:
    lines = [
        "# Networks cut out of one, or trained alone", "",
        "Written by `python -m benchmarks.supernet`. The teacher is all-MiniLM-L6-v2 fine-tuned on 1,600 rows; from it `dynabert`",
        f"trains one network for {EPOCHS} passes over the rows, out of which the smaller ones are cut, and students of the same",
        "numbers of layers, heads and neurons are trained alone, each for as many steps, on the same mixture of labels (0.9) and",
        "the teacher's answers (0.1). Scores are of torch, float32, over the test rows; one seed. A step's time is the median of",
        f"{TIMED_STEPS} steps of 32 rows, forward and back, in turns, one thread.",
    ]  # fmt: skip
    for corpus, cell in results["corpora"].items():
        step = cell["ms a step"]
        both = (step["width"] + step["depth"]) / 2
        lines += [
            "", f"## {corpus}: {cell['metric']}, n = {cell['n']}; teacher {100 * cell['teacher']:.2f}, "
            f"supernet whole {100 * cell['supernet']:.2f}", "",
            "| layers and width | cut out | trained alone | difference |", "|---|---|---|---|",
            *(f"| {name} | {100 * item['cut']:.2f} | {100 * item['alone']:.2f} | {100 * (item['cut'] - item['alone']):+.2f} |"
              for name, item in cell["shapes"].items()), "",
            f"A step of the supernet takes {both:.0f} ms ({step['width']:.0f} with widths alone, {step['depth']:.0f} with both), "
            f"{both / step['alone']:.2f} times as long as one of the whole network alone ({step['alone']:.0f} ms).",
        ]  # fmt: skip
    about = results["environment"]
    lines += ["", f"{results['date']}, {about['hardware']['processor']}; " + ", ".join(
        f"{name} {about['versions'][name]}" for name in ("edgebert", "torch", "transformers"))]  # fmt: skip
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CORPORA), help="corpora, by comma")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--write", action="store_true", help="only write the page of what is done")
    options = parser.parse_args()
    results = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"corpora": {}}
    for corpus in [] if options.write else options.only.split(","):
        run_corpus(corpus, options.runs, results["corpora"].setdefault(corpus, {}))
        results["environment"], results["date"] = describe_environment(), f"{datetime.now(timezone.utc):%Y-%m-%d}"
        write_atomic(KEPT, json.dumps(results, indent=1))
        write_page(results)


if __name__ == "__main__":
    main()
