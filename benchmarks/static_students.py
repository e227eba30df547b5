"""Our static student against model2vec's distillation and classifier: score, size and speed on three intent corpora.

Reads ../shared/data where it is present and writes benchmarks/static_students.md and, beside it, what the table is made
of: benchmarks/results/static-CORPUS.json. Stages resume, so a killed benchmark goes on where it was. Needs the extra
`bench`.

    python -m benchmarks.static_students [--only banking77,snips] [--seeds 3] [--runs runs] [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks._model2vec import Classifier, distilled
from benchmarks.methods import DATA, RESULTS, placed
from edgebert.converters import CONVERTERS
from edgebert.devices.machine import describe_environment
from edgebert.files import write_atomic
from edgebert.measure.protocol import MIN_RUNS, spread_by_length
from edgebert.measure.runner import Turn, take_turns
from edgebert.modeling.checkpoint import load_tokenizer
from edgebert.runs.store import Stage
from edgebert.runtime.batching import pad_batch
from edgebert.types import Budget, FitRequest
from edgebert.workflows.fit import plan_stage
from edgebert.workflows.records import artifacts_of
from edgebert.workflows.request import Fit, resolve
from edgebert.workflows.stages import compress_stage, convert_stage, teacher_stage, verify_stage

CORPORA = {
    "banking77": ("banking77",),
    "snips": ("train=snips/train.jsonl", "test=snips/validate.jsonl"),
    "clinc150": ("clinc150",),
}
VOCABULARY, WIDTH = 8000, 256
RAW, TUNED = "all-MiniLM-L6-v2", "its fine-tuned form"


def open_job(corpus: str, runs: Path) -> tuple[Fit, Stage]:
    """The corpus's rows in scope, and all-MiniLM-L6-v2 fine-tuned on those to train on, as `fit` does it."""
    request = FitRequest(
        device="pixel6", task="classify", data=tuple(map(placed, CORPORA[corpus])), recipe="trim-vocab+static",
        params={"trim-vocab.size": VOCABULARY, "static.width": WIDTH}, formats=("onnx",),
        run=str(runs / f"static-{corpus}"), candidates=1, mixed_precision="bf16",
    )  # fmt: skip
    job = resolve(request, f"python -m benchmarks.static_students --only {corpus}", None)
    job.budget = Budget()
    known = set(job.dataset.labels)
    splits = {split: tuple(row for row in rows if row.labels[0] in known) for split, rows in job.dataset.splits.items()}
    job.dataset = replace(job.dataset, splits=splits)
    return job, teacher_stage(job)


def ours(job: Fit, teacher: Stage, seed: int) -> tuple[dict[str, Any], Path, Path]:
    """The student's figures, its folder, and its int8 file."""
    job.request = replace(job.request, seed=seed)
    candidate = replace(next(item for item in plan_stage(job, teacher).candidates if item.taken), name=f"static-{seed}")
    student = compress_stage(job, candidate, teacher)
    converted = convert_stage(job, candidate.name, student)
    verified = verify_stage(job, candidate.name, student, converted)
    artifact = next(item for item in artifacts_of(converted) if item.precision == "int8")
    result = verified.result[artifact.name]
    facts = {
        "dev": result["dev"]["value"], "test": result["parity"]["score"]["value"], "failures": result["parity"]["failures"],
        "bytes": artifact.size_bytes, "seconds": round(student.seconds), "tokens": load_tokenizer(student.path).get_vocab_size(),
        "float": student.result["test"]["value"],
    }  # fmt: skip
    return facts, student.path, artifact.path


def theirs(job: Fit, student: Path, teacher: Path, seed: int) -> tuple[dict[str, Any], Classifier]:
    """model2vec's int8 classifier over the same tokens, of the form of the teacher that development rows favour."""
    rows = job.dataset.splits
    tried = {}
    for name, folder in ((RAW, job.source.folder), (TUNED, teacher)):
        started = time.monotonic()
        model = Classifier.fitted(distilled(folder, student, WIDTH), rows["train"], rows["dev"], seed)
        tried[name] = model, model.accuracy(rows["dev"]), round(time.monotonic() - started)
    name = max(tried, key=lambda item: tried[item][1])
    model, dev, seconds = tried[name]
    facts = {
        "dev": dev, "test": model.accuracy(rows["test"]), "bytes": model.size_bytes, "seconds": seconds, "of": name,
        "tokens": model.n_tokens, "dev of each": {entry: tried[entry][1] for entry in tried},
    }  # fmt: skip
    return facts, model


def timed(job: Fit, student: Path, file: Path, other: Classifier) -> dict[str, float]:
    """p50 in ms, in turns: both files on token ids, and both from a text to its label."""
    tokenizer, labels = load_tokenizer(student), job.dataset.labels
    rows = job.dataset.splits["test"]
    features = job.task.encode(rows, tokenizer, labels, job.max_length)
    chosen = spread_by_length(features)
    session = CONVERTERS.get("onnx").open(file, 1)
    batches = [pad_batch([features[i]]) for i in chosen]
    texts = [rows[i].text or "" for i in chosen]
    plain, inputs = other.session(), [other.batch(text) for text in texts]

    def label(index: int) -> Any:
        encoding = tokenizer.encode(texts[index])
        n = len(encoding.ids)
        batch = pad_batch([replace(features[0], input_ids=tuple(encoding.ids), type_ids=(0,) * n)])
        return labels[int(session.run(batch)["logits"][0].argmax())]

    runs: dict[str, Callable[[int], Any]] = {
        "ours": lambda i: session.run(batches[i]),
        "model2vec": lambda i: plain(inputs[i]),
        "ours, text": label,
        "model2vec, text": lambda i: other.label(texts[i]),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    take_turns([Turn(run, len(chosen), times[name]) for name, run in runs.items()], min_runs=4 * MIN_RUNS)
    return {name: round(statistics.median(result), 4) for name, result in times.items()}


def corpus_results(corpus: str, seeds: int, runs: Path) -> None:
    """Runs a corpus and writes what came out beside the page."""
    import torch

    torch.set_num_threads(1)
    job, teacher = open_job(corpus, runs)
    try:
        results: dict[str, Any] = {"ours": {}, "model2vec": {}}
        for seed in range(seeds):
            facts, student, file = ours(job, teacher, seed)
            other, model = theirs(job, student, teacher.path, seed)
            results["ours"][seed], results["model2vec"][seed] = facts, other
            print(f"{corpus} seed {seed}: {facts} {other}", flush=True)
            if seed == 0:
                results["p50_ms"] = timed(job, student, file, model)
        results |= {
            "teacher": teacher.result["test"], "n": {split: len(rows) for split, rows in job.dataset.splits.items()},
            "labels": len(job.dataset.labels), "environment": describe_environment(),
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d}", "epochs": job.level.epochs(job.level.visits, len(job.dataset.splits["train"])),
        }  # fmt: skip
        write_atomic(RESULTS / f"static-{corpus}.json", json.dumps(results, indent=1))
    finally:
        job.run.close()


# ---------------------------------------------------------------- the page

HEAD = """# Static students, beside model2vec's

Written by `python -m benchmarks.static_students --write`. One teacher a corpus: all-MiniLM-L6-v2 fine-tuned on the rows to
train on, as `fit` does it. Ours is `trim-vocab+static`, all else by default. model2vec {version} distils a
table out of the teacher's encoder and trains its classifier by its defaults (a hidden layer of 512, stopped by the
development rows); it is given the raw all-MiniLM-L6-v2 and the fine-tuned one, and the form that development rows favour
stands here. Both have the same rows, the same {tokens} tokens (model2vec drops those that no text can hold) and vectors of
{width} numbers. Test rows are looked at once, by the command.

Score: accuracy over the test rows in scope, of the int8 file run one row at a time; of model2vec its own pipeline with
vectors in int8, whose head it keeps in float32. MB: of the ONNX file; of model2vec the files of weights that it saves.
"""


def page(results: dict[str, dict[str, Any]]) -> str:
    """The page of what stands in benchmarks/results."""
    lines = [HEAD.format(version=version("model2vec"), tokens=f"{VOCABULARY:,}", width=WIDTH)]
    lines += ["| corpus | n | labels | teacher | ours | model2vec | ahead by | ours, MB | model2vec, MB | model2vec's teacher |",
              "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for corpus, result in results.items():
        mine, other = ([item["test"] for item in result[side].values()] for side in ("ours", "model2vec"))
        first = {side: result[side]["0"] for side in ("ours", "model2vec")}
        kinds = ", ".join(sorted({item["of"] for item in result["model2vec"].values()}))
        cells = (
            corpus, f"{result['teacher']['n']:,}", result["labels"], f"{100 * result['teacher']['value']:.2f}",
            _mean(mine), _mean(other), f"{100 * (statistics.mean(mine) - statistics.mean(other)):+.2f}",
            f"{first['ours']['bytes'] / 1e6:.2f}", f"{first['model2vec']['bytes'] / 1e6:.2f}", kinds,
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "Mean over seeds ± their standard deviation; one seed where none is told. p50 in microseconds, 1 thread, batch 1, the test rows' own lengths, all in",
              "turns in one process:", "", "| corpus | our file | model2vec's own ONNX export | ours, text to label | model2vec, text to label |",
              "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for corpus, result in results.items():
        times = result["p50_ms"]
        order = ("ours", "model2vec", "ours, text", "model2vec, text")
        lines.append(f"| {corpus} | {' | '.join(f'{1000 * times[name]:.0f}' for name in order)} |")
    lines += ["", "Its export stores the vectors in half precision. From a text to its label: tokenizer, file, greatest logit, in Python;",
              "of model2vec `StaticModelPipeline.predict`.", ""]  # fmt: skip
    for corpus, result in results.items():
        environment, n = result["environment"], result["n"]
        named = ("edgebert", "torch", "transformers", "onnxruntime")
        versions = ", ".join(f"{name} {environment['versions'][name]}" for name in named)
        failed = [why for item in result["ours"].values() for why in item["failures"]]
        note = f"- {corpus}, {result['date']}: {n['train']:,} rows to train on, {n['dev']:,} for development, {result['epochs']:g} epochs"
        lines.append(
            f"{note}; {environment['hardware']['processor']}, {versions}"
            + (f"; rejected by the parity gate: {failed}" if failed else "")
        )
    return "\n".join(lines) + "\n"


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CORPORA))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--write", action="store_true", help="the page alone, of results that are there")
    wanted = parser.parse_args()
    if not wanted.write:
        if not DATA.is_dir():
            raise SystemExit(f"{DATA} is not here: nothing to measure")
        for corpus in wanted.only.split(","):
            corpus_results(corpus, wanted.seeds, wanted.runs)
    places = {corpus: RESULTS / f"static-{corpus}.json" for corpus in CORPORA}
    results = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in places.items() if path.exists()}
    write_atomic(Path("benchmarks/static_students.md"), page(results))


if __name__ == "__main__":
    main()
