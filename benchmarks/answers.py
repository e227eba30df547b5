"""Which answers of a teacher are worth what they cost: plain, out-of-fold, averaged, on unlabelled and on mixed rows.

Reads ../shared/data where it is present. All rows, those that are scored too, are drawn from the training split; the test
split is never read. Every student makes the same number of steps. Stages resume, so a killed benchmark goes on where it was;
lines that were not run are named.

    python -m benchmarks.answers [--only banking77,snips] [--rows 200,1600] [--lines finetune,kd] [--seeds 2] [--write]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.methods import CORPORA, EVENLY, RESULTS, placed
from edgebert.data.unlabelled import Unlabelled
from edgebert.devices.machine import describe_environment
from edgebert.files import digest, write_atomic
from edgebert.runs.store import Stage
from edgebert.types import Budget, FitRequest
from edgebert.workflows.fit import plan_stage
from edgebert.workflows.recipe import read_recipe
from edgebert.workflows.request import Fit, resolve
from edgebert.workflows.stages import compress_stage, teacher_stage

PAGE, FOUND = Path("benchmarks/answers.md"), RESULTS / "answers.json"
BATCH, DEV, HELD = 32, 300, 700
STEPS = {200: 250, 1600: 300}  # of students, by training rows
TEXTS = 6000  # unlabelled, at most


@dataclass(frozen=True)
class Line:
    """One row of the table: a recipe's last method and its parameters."""

    name: str
    method: str
    params: dict[str, Any]
    texts: bool = False  # learns from unlabelled texts


def _kd(name: str, *, texts: bool = False, hard_label_weight: float = 0.5, **params: Any) -> Line:
    return Line(name, "kd", {"replace": 0, "hard_label_weight": hard_label_weight, **params}, texts)


LINES = (
    Line("finetune", "finetune", {}),
    *(
        _kd(f"plain, labels {hard_label_weight}", hard_label_weight=hard_label_weight)
        for hard_label_weight in (0.1, 0.5, 0.9)
    ),
    _kd("plain, calibrated", calibrate=True),
    _kd("out-of-fold", answers="out-of-fold"),
    _kd("ensemble", answers="ensemble"),
    _kd("dropout", answers="dropout"),
    _kd("mixed rows", mix=2),
    _kd("replaced tokens", replace=0.3),
    _kd("unlabelled", texts=True),
    _kd("unlabelled, ensemble", texts=True, answers="ensemble"),
    _kd("unlabelled, replaced tokens", texts=True, replace=0.3),
    _kd("unlabelled, spread labels", texts=True, answers="spread", temperature=1.0),
)


def open_job(corpus: str, n_rows: int, runs: Path) -> tuple[Fit, tuple[Any, ...]]:
    """A fit on n_rows of the corpus's training split, scored on others of it, and the rest of them without labels."""
    wanted = CORPORA[corpus]
    request = FitRequest(
        device="pixel6", task=wanted["task"], data=tuple(placed(spec) for spec in wanted["data"]),
        recipe="drop-layers+kd", formats=("onnx",), params={"drop-layers.n_layers": 3}, candidates=1,
        run=str(runs / f"answers-{corpus}-{n_rows}"), mixed_precision="bf16", batch_size=BATCH,
    )  # fmt: skip
    job = resolve(request, f"python -m benchmarks.answers --only {corpus}", None)
    job.budget = Budget()
    rows, dev = list(job.dataset.splits["train"]), list(job.dataset.splits["dev"])
    random.Random(0).shuffle(rows)
    random.Random(0).shuffle(dev)
    train, held, rest = rows[:n_rows], rows[n_rows : n_rows + HELD], rows[n_rows + HELD :][:TEXTS]
    splits = {"train": tuple(train), "dev": tuple(dev[:DEV]), "test": tuple(held)}
    sha256 = digest((job.dataset.source.sha256, n_rows, HELD, DEV), 64)
    job.dataset = replace(job.dataset, splits=splits, source=replace(job.dataset.source, sha256=sha256))
    return job, tuple(replace(row, labels=(), tags=(), labelled=False) for row in rest)


def run_line(job: Fit, line: Line, texts: Sequence[Any], seed: int, teacher: Stage) -> dict[str, Any]:
    """The student's score, and the seconds of its training, of storing its answers, and of training their teachers."""
    job.unlabelled = Unlabelled(tuple(texts), digest(len(texts))) if line.texts else Unlabelled()
    job.answers.clear()
    n_rows = len(job.dataset.splits["train"])
    seen = (n_rows + len(job.unlabelled.rows)) * (1 + line.params.get("mix", 0))
    job.request = replace(job.request, seed=seed, epochs=STEPS[n_rows] * BATCH / seen)
    params = {"drop-layers.n_layers": 3, **{f"{line.method}.{name}": value for name, value in line.params.items()}}
    job.recipe, _ = read_recipe(f"drop-layers+{line.method}", params | (EVENLY if job.task.cuts else {}))
    plan = plan_stage(job, teacher)
    before = len(job.run.stages)
    student = compress_stage(
        job, replace(next(candidate for candidate in plan.candidates if candidate.taken), name="student"), teacher
    )
    created = job.run.stages[before:]
    return {
        "score": student.result["test"]["value"],
        "dev": student.result["dev"]["value"],
        "seconds": student.seconds,
        "answers": sum(stage.seconds for stage in created if stage.name == "answers"),
        "teachers": sum(stage.seconds for stage in created if stage.name == "fold-teacher"),
    }


def run(corpus: str, n_rows: int, lines: Sequence[Line], seeds: int, runs: Path) -> None:
    job, texts = open_job(corpus, n_rows, runs)
    try:
        teacher = teacher_stage(job)
        result = results()
        cell = result.setdefault(f"{corpus}, {n_rows} rows", {"lines": {}})
        cell |= {"teacher": teacher.result["test"], "teacher_seconds": teacher.seconds, "texts": len(texts)}
        for seed in range(seeds):
            for line in lines:
                scores = cell["lines"].setdefault(line.name, {})
                scores[str(seed)] = run_line(job, line, texts, seed, teacher)
                print(f"{corpus} {n_rows} {line.name} seed {seed}: {scores[str(seed)]}", flush=True)
                result["environment"], result["date"] = describe_environment(), f"{datetime.now(timezone.utc):%Y-%m-%d}"
                write_atomic(FOUND, json.dumps(result, indent=1))
    finally:
        job.run.close()


def results() -> dict[str, Any]:
    return dict(json.loads(FOUND.read_text())) if FOUND.exists() else {}


# ---------------------------------------------------------------- the table


def _row(name: str, seeds: dict[str, Any], control: float | None) -> str:
    scores = [100 * seed["score"] for seed in seeds.values()]
    mean = statistics.mean(scores)
    spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
    gain = "" if control is None else f"{mean - control:+.2f}"
    costs = [
        str(round(statistics.mean(seed[key] for seed in seeds.values()))) for key in ("seconds", "answers", "teachers")
    ]
    return f"| {name} | {mean:.2f}{spread} | {gain} | {len(scores)} | {' | '.join(costs)} |"


def write() -> None:
    result = results()
    text = [
        "# Which answers of a teacher are worth what they cost",
        "",
        "Written by `python -m benchmarks.answers`. Teacher: all-MiniLM-L6-v2, fine-tuned on the rows that the student has;",
        "student: three of its layers, in torch, trained in bf16 in batches of 32, the same number of steps in each line of a",
        f"table ({', '.join(f'{steps} with {n} rows' for n, steps in STEPS.items())}). All rows are of the training split, drawn with seed 0; the {HELD} that are",
        "scored were learnt from by nobody, and the test split is not read. `plain` lines learn the teacher's own answers, with",
        "the true labels weighing 0.1, 0.5 or 0.9; the lines below them 0.5. `unlabelled` has the other training texts beside",
        f"the labelled rows, at most {TEXTS}; with `spread labels` they have answers by `kd.answers=spread`. Points are over `finetune`, which has no teacher. Seconds: of training the student,",
        "of asking the teachers, of training the teachers of folds; one core, also where other work ran beside it. Seeds are",
        "those of the student: the standard error of a share of 85 % of 700 rows is 1.3 points.",
    ]
    for title, cell in result.items():
        if title in ("environment", "date") or not cell["lines"]:
            continue
        teacher = cell["teacher"]
        text += ["", f"## {title}: {teacher['metric']}, n = {teacher['n']}", ""]
        text += [f"Teacher: {100 * teacher['value']:.2f}, trained in {cell['teacher_seconds']:.0f} s. "
                 f"Unlabelled texts: {cell['texts']}.", ""]  # fmt: skip
        text += [
            "| line | score | points | seeds | s | answers s | teachers s |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        control = cell["lines"].get("finetune")
        mean = 100 * statistics.mean(item["score"] for item in control.values()) if control else None
        text += [_row(line.name, cell["lines"][line.name], mean) for line in LINES if line.name in cell["lines"]]
        if missing := [line.name for line in LINES if line.name not in cell["lines"]]:
            text += ["", f"Not run: {'; '.join(missing)}."]
    environment = result["environment"]
    versions = ", ".join(f"{name} {environment['versions'][name]}" for name in ("edgebert", "torch", "transformers"))
    hardware = environment["hardware"]
    text += ["", f"{result['date']}, {hardware['processor']}, {hardware['cores']} core(s), {versions}"]
    write_atomic(PAGE, "\n".join(text) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="banking77,snips", help="corpora of benchmarks.methods")
    parser.add_argument("--rows", default="200,1600", help="labelled rows to learn from")
    parser.add_argument("--lines", default=";".join(line.name for line in LINES), help="names, with ; between them")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--write", action="store_true", help="write the page from what was measured, and run nothing")
    options = parser.parse_args()
    wanted = options.lines.split(";")
    for n_rows in () if options.write else map(int, options.rows.split(",")):
        for corpus in options.only.split(","):
            run(corpus, n_rows, [line for line in LINES if line.name in wanted], options.seeds, options.runs)
    write()


if __name__ == "__main__":
    main()
