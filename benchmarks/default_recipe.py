"""The default recipe of fit against plain fine-tuning of the same student, on real rows.

Of each corpus, with a number of training rows (and a quarter as many for development, at most) and a seed: the teacher is
fine-tuned on the rows, fit's trials choose a recipe on the development rows, the student is trained by it. Beside it stand
two controls of the same shape and vocabulary, trained on the labels alone for as many steps: `plain` keeps the layers that
drop-layers keeps by itself (the lowest), which is what somebody without trials gets; `same layers` keeps those that the
trials chose. All become int8 ONNX files, whose scores on the test rows are compared. Nothing is chosen by test rows. Reads
../shared/data; stages resume, so a killed benchmark goes on; results lie beside the page.

    python -m benchmarks.default_recipe [--only banking77,snips] [--rows 1600,all] [--seeds 3] [--write]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.methods import RESULTS, placed
from edgebert.converters import CONVERTERS
from edgebert.devices.machine import describe_environment
from edgebert.files import write_atomic
from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import load_student
from edgebert.runs.store import Stage
from edgebert.runtime.batching import run_features
from edgebert.teachers.fitting import with_teacher_labels
from edgebert.training.run import evaluate, pad_id
from edgebert.types import Budget, Candidate, FitRequest, MethodCall, Recipe
from edgebert.workflows.fit import plan_stage
from edgebert.workflows.recipe import TRAINING_ADDED, recipe_text
from edgebert.workflows.recipe_trials import choose_recipe, with_choice
from edgebert.workflows.records import artifacts_of
from edgebert.workflows.request import Fit, resolve
from edgebert.workflows.stages import compress_stage, convert_stage, teacher_stage, tuned_task

PAGE = Path("benchmarks/default_recipe.md")
LAYERS = 3  # of the six of all-MiniLM-L6-v2
CORPORA: dict[str, tuple[str, tuple[str, ...]]] = {  # name -> task, data
    "banking77": ("classify", ("banking77",)),
    "snips": ("ner", ("train=snips/train.conll", "test=snips/validate.conll")),
    "btc": ("ner", (*(f"train=btc/{part}.conll" for part in "abeg"), "dev=btc/h.conll", "test=btc/f.conll")),
    "stsb": ("similarity", ("stsb",)),
    "clinc150": ("classify", ("clinc150",)),
    "ud_en_ewt": ("tag", ("ud_en_ewt",)),
}


def open_job(corpus: str, rows: str, runs: Path) -> tuple[Fit, Stage]:
    """The corpus with so many training rows, drawn with seed 0, and its teacher, which learnt from them."""
    task, data = CORPORA[corpus]
    request = FitRequest(
        device="pixel6", task=task, data=tuple(map(placed, data)), formats=("onnx",), run=str(runs / f"default-{corpus}-{rows}"),
        params={"drop-layers.n_layers": LAYERS}, candidates=1,
    )  # fmt: skip
    job = resolve(request, f"python -m benchmarks.default_recipe --only {corpus}", None)
    job.budget = Budget()
    splits = dict(job.dataset.splits)
    if rows != "all":
        for split, n in (("train", int(rows)), ("dev", int(rows) // 4)):
            splits[split] = tuple(random.Random(0).sample(list(splits[split]), min(n, len(splits[split]))))
    job.dataset = replace(job.dataset, splits=splits)
    teacher = teacher_stage(job)
    job.dataset = with_teacher_labels(load_student(teacher.path), job.task, job.dataset, job.max_length)
    return job, teacher


def int8_score(job: Fit, name: str, student: Stage) -> float:
    """Of the int8 file on the test rows."""
    artifact = next(item for item in artifacts_of(convert_stage(job, name, student)) if item.precision == "int8")
    model, task, rows = load_student(student.path), tuned_task(job, student), job.dataset.splits["test"]
    features = task.encode(rows, model.tokenizer, job.dataset.labels, job.max_length)
    session = CONVERTERS.get("onnx").open(artifact.path, 0)
    outputs = run_features(session, features, pad_id=pad_id(model))
    return task.score(rows, task.decode(rows, features, outputs, job.dataset.labels), "test").value


def controls_of(candidate: Candidate) -> dict[str, Candidate]:
    """The same shape trained on the labels alone: from the layers kept without a choice, and from those that were chosen."""
    shape = [call for call in candidate.recipe.calls if METHODS.get(call.method).stage != "train"]
    sizes = [replace(call, params={name: call.params[name] for name in sized(call)}) for call in shape]
    return {
        name: replace(candidate, name=f"{candidate.name}-{name}", recipe=Recipe((*calls, MethodCall(TRAINING_ADDED))))
        for name, calls in (("plain", sizes), ("same-layers", shape))
    }


def sized(call: MethodCall) -> list[str]:
    """Of the parameters that are set, those that the planner sets."""
    return [param.name for param in METHODS.get(call.method).params if param.search and param.name in call.params]


def trained(job: Fit, students: dict[str, Candidate], teacher: Stage) -> dict[str, Stage]:
    """Each student, one that is trained as another once."""
    stages: dict[str, Stage] = {}
    by_recipe: dict[str, Stage] = {}
    for name, student in students.items():
        calls = [(call.method, METHODS.get(call.method).read_params(call.params)) for call in student.recipe.calls]
        key = json.dumps(calls)
        stages[name] = by_recipe[key] = by_recipe.get(key) or compress_stage(job, student, teacher)
    return stages


def run_cell(corpus: str, rows: str, seeds: int, runs: Path, found: dict[str, Any]) -> None:
    """The seeds of one corpus and number of rows that are not known yet."""
    if all(str(seed) in found.get("seeds", {}) for seed in range(seeds)):
        return
    job, teacher = open_job(corpus, rows, runs)
    try:
        test = job.dataset.splits["test"]
        found["n"] = {split: len(item) for split, item in job.dataset.splits.items()}
        model = load_student(teacher.path)
        score = evaluate(model, job.task, job.dataset.labels, test, "test", job.max_length)
        found["metric"] = score.metric
        for seed in range(seeds):
            if str(seed) in found.setdefault("seeds", {}):
                continue
            job.request, started = replace(job.request, seed=seed), time.monotonic()
            plan = plan_stage(job, teacher)
            choice = choose_recipe(job, plan, teacher)
            trials_s = round(time.monotonic() - started)
            (candidate,) = (c for c in with_choice(plan, choice, n_candidates=1).candidates if c.taken)
            students = {"default": candidate, **controls_of(candidate)}
            stages = trained(job, students, teacher)
            one_of = {stage.key: name for name, stage in stages.items()}
            scores = {key: int8_score(job, students[name].name, stages[name]) for key, name in one_of.items()}
            found["seeds"][str(seed)] = {
                "recipe": recipe_text(candidate.recipe),
                "teacher": score.value,
                "processor": describe_environment()["hardware"]["processor"],
                **{name: scores[stage.key] for name, stage in stages.items()},
                "seconds": {"trials": trials_s, **{name: round(stage.seconds) for name, stage in stages.items()}},
            }
            print(corpus, rows, seed, found["seeds"][str(seed)], flush=True)
    finally:
        job.run.close()


def write_page(results: dict[str, Any]) -> None:
    lines = [
        "# The default recipe against plain fine-tuning", "",
        f"Students of {LAYERS} layers of all-MiniLM-L6-v2, `python -m benchmarks.default_recipe`. The controls are students of",
        "the same shape, trained on the labels alone for as many steps: `plain` from the lowest layers, `same layers` from",
        "those that the trials of the default chose. Scores are of int8 ONNX files on the test rows; the recipe was chosen on",
        "the development rows. Mean over seeds of the student, one teacher a cell and processor.", "",
        "| corpus, training rows | metric, n | teacher, torch | plain | same layers | default | gain over plain "
        "| over same layers | seeds | recipes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    gains: dict[str, list[tuple[float, float]]] = {}
    for name, cell in results["cells"].items():
        seeds = list(cell.get("seeds", {}).values())
        if not seeds:
            continue
        plain, same, ours = (
            100 * statistics.mean(seed[key] for seed in seeds) for key in ("plain", "same-layers", "default")
        )
        gains.setdefault("all" if name.endswith(" all") else "1,600", []).append((ours - plain, ours - same))
        teacher = 100 * statistics.mean(seed["teacher"] for seed in seeds)
        recipes = ", ".join(dict.fromkeys(f"`{seed['recipe'].partition('drop-layers')[2]}`" for seed in seeds))
        lines.append(
            f"| {name} | {cell['metric']}, {cell['n']['test']} | {teacher:.2f} | {plain:.2f} | {same:.2f} "
            f"| {ours:.2f} | {ours - plain:+.2f} | {ours - same:+.2f} | {len(seeds)} | {recipes} |"
        )
    for rows, values in gains.items():
        plain, same = (statistics.mean(value[k] for value in values) for k in (0, 1))
        lines += ["", f"Mean gain with {rows} rows, {len(values)} corpora: {plain:+.2f} points over plain, {same:+.2f} over "
                  "the same layers."]  # fmt: skip
    versions = results["environment"]["versions"]
    processors = sorted(
        {seed["processor"] for cell in results["cells"].values() for seed in cell.get("seeds", {}).values()}
    )
    lines += ["", f"{results['date']}, {' and '.join(processors)}, " + ", ".join(
        f"{name} {versions[name]}" for name in ("edgebert", "torch", "transformers", "onnxruntime"))]  # fmt: skip
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CORPORA), help="corpora, by comma")
    parser.add_argument("--rows", default="1600,all", help="numbers of training rows, by comma")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--write", action="store_true", help="only write the page of what is done")
    options = parser.parse_args()
    place = RESULTS / "default-recipe.json"
    results = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {"cells": {}}
    for rows in options.rows.split(","):
        for corpus in options.only.split(","):
            if options.write:
                break
            cell = results["cells"].setdefault(f"{corpus} {rows}", {})
            run_cell(corpus, rows, options.seeds, options.runs, cell)
            results["environment"], results["date"] = describe_environment(), f"{datetime.now(timezone.utc):%Y-%m-%d}"
            write_atomic(place, json.dumps(results, indent=1))
    write_page(results)


if __name__ == "__main__":
    main()
