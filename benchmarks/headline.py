"""What `fit` makes of a BERT-base teacher: all-mpnet-base-v2 fine-tuned on a corpus, within a fortieth or less of its size.

Of each corpus the teacher is fine-tuned once (fit's own teacher stage), then `fit` runs with that checkpoint as --teacher:
with a limit of size alone, so that starts, layers and trainings are chosen by the development rows. Test scores and sizes
are read from fit's report; the teacher's ONNX files and the student's are then timed in turns, those too that parity
rejected. Reads ../shared/data; runs resume; results lie beside the page.

    python -m benchmarks.headline [--only banking77,clinc150] [--kinds small,tiny] [--seeds 1] [--runs runs]
"""

from __future__ import annotations

import argparse
import json
import statistics
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.methods import RESULTS, placed
from benchmarks.mpnet import NAME, all_mpnet_base
from edgebert.devices.machine import describe_environment
from edgebert.files import write_atomic
from edgebert.measure.figures import as_latency, measured
from edgebert.measure.inputs import own_lengths_of
from edgebert.measure.targets import TARGETS, File
from edgebert.measure.targets import Job as MeasuringJob
from edgebert.modeling.checkpoint import load_tokenizer
from edgebert.types import FitRequest
from edgebert.workflows.fit import fit
from edgebert.workflows.request import Fit, resolve
from edgebert.workflows.stages import teacher_stage

PAGE = Path("benchmarks/headline.md")
CORPORA: dict[str, tuple[str, tuple[str, ...], float, float]] = {  # name -> task, data, passes and rate of the teacher
    "banking77": ("classify", ("banking77",), 1.5, 3e-5),
    "clinc150": ("classify", ("clinc150",), 1.0, 3e-5),
    "snips": ("ner", ("train=snips/train.conll", "test=snips/validate.conll"), 1.0, 8e-5),
}
KINDS: dict[str, dict[str, Any]] = {
    "small": {"max_size_mb": 10.9},
    "tiny": {"max_size_mb": 2.92, "precisions": ("int4-embedding",)},
}


def request_of(corpus: str, **more: Any) -> FitRequest:
    task, data, *_ = CORPORA[corpus]
    return FitRequest(device="pixel6", task=task, data=tuple(map(placed, data)), formats=("onnx",), **more)


def teacher_of(corpus: str, runs: Path) -> Path:
    """The fine-tuned teacher's checkpoint."""
    *_, passes, rate = CORPORA[corpus]
    request = request_of(
        corpus, teacher=str(all_mpnet_base(runs)), run=str(runs / f"headline-{corpus}-teacher"), teacher_epochs=passes,
        learning_rate=rate, student="teacher",
    )  # fmt: skip
    job = resolve(request, f"python -m benchmarks.headline --only {corpus}", None)
    try:
        return teacher_stage(job).path
    finally:
        job.run.close()


def read(report: dict[str, Any]) -> dict[str, Any]:
    """The student's reduced file, also where parity rejected it, and the teacher's files: scores and bytes."""
    (student,) = report["students"]
    files = {item["artifact"]["precision"]: item for item in report["teacher"]["artifacts"]}
    own = next(item for item in student["artifacts"] if item["artifact"]["precision"] != "fp32")
    return {
        "metric": report["teacher"]["test"]["metric"],
        "n": report["teacher"]["test"]["n"],
        "teacher": report["teacher"]["test"]["value"],
        "student": own["parity"]["score"]["value"],
        "bytes": {"teacher": files["fp32"]["artifact"]["size_bytes"], "student": own["artifact"]["size_bytes"]},
        "name": student["name"],
        "rejected": {"teacher": files["int8"]["parity"]["failures"], "student": own["parity"]["failures"]},
        "recipe": report["environment"]["recipe"],
        "seconds": round(sum(report["environment"]["seconds"].values())),
    }


def in_turns(job: Fit) -> dict[str, float]:
    """p50 in ms of the teacher's files and the student's: one thread, ten of the test rows, by fit's own target."""
    stages, target = job.run.folder / "stages", TARGETS.get("here")
    files, inputs = [], []
    for name, model, path in (
        ("fp32", "[0-9][0-9]-teacher-*", "*-convert-teacher-*/onnx/fp32/model.onnx"),
        ("int8", "[0-9][0-9]-teacher-*", "*-convert-teacher-*/onnx/int8/model.onnx"),
        ("student", "*-compress-*", "*-convert-[!t]*/onnx/int*/model.onnx"),
    ):
        (folder,), (file,) = (list(stages.glob(pattern)) for pattern in (model, path))
        rows = job.dataset.splits["test"]
        features = job.task.encode(rows, load_tokenizer(folder), job.dataset.labels, job.max_length)
        inputs.append(own_lengths_of(features, "the test rows"))
        files.append(File(name, "onnx", file, inputs[-1].rows, 1, True))
    asked = MeasuringJob(files=tuple(files), inputs=(), min_runs=200, max_seconds=10.0, n_outputs=0, instructions=False)
    outcome = target.measure("", asked, lambda **event: None)
    return {
        file.name: as_latency(measured(file, result, outcome, "here", asked, own), "here").p50_ms
        for file, result, own in zip(files, outcome.records, inputs, strict=True)
    }


def write_page(results: dict[str, Any]) -> None:
    lines = [
        "# Small students of a BERT-base teacher", "",
        f"{NAME} (MPNet, 12 layers of width 768) fine-tuned on the corpus, and what `fit` makes of it, by",
        "`python -m benchmarks.headline`: defaults with --max-size-mb 10.9 (small), and with",
        "--max-size-mb 2.92 --precision int4-embedding (tiny: 8-bit weights, word table in 4 bits).",
        "Scores on the test rows: of the teacher in torch, of the student's reduced ONNX file. Times: ONNX Runtime, one thread,",
        "batch 1, ten test rows of their own lengths, in turns, p50 of the quietest tenth of blocks; the ratios are of the",
        "teacher's float32 file and of its int8 file to the student's. Means over seeds.", "",
        "| corpus | student | metric, n | teacher | student | kept | MB | of the size | faster than fp32 | than int8 | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    notes: list[str] = []
    for name, seeds in results["cells"].items():
        cells = list(seeds.values())
        if not cells:
            continue
        first = cells[0]
        theirs, ours = (statistics.mean(100 * cell[key] for cell in cells) for key in ("teacher", "student"))
        fp32, int8 = (
            statistics.mean(cell["p50_ms"][key] / cell["p50_ms"]["student"] for cell in cells)
            for key in ("fp32", "int8")
        )
        size = first["bytes"]
        lines.append(
            f"| {name} | {first['name']}: `{first['recipe']}` | {first['metric']}, {first['n']} | {theirs:.2f} | {ours:.2f} "
            f"| {100 * ours / theirs:.1f} % | {size['student'] / 1e6:.2f} | 1/{size['teacher'] / size['student']:.0f} "
            f"| {fp32:.1f}x | {int8:.1f}x | {len(cells)} |"
        )
        notes += [
            f"{name}, seed {seed}: the int8 file of the {whose} was rejected: {failures[0]}."
            for seed, item in seeds.items()
            for whose, failures in item["rejected"].items()
            if failures
        ]
    lines += ["", *notes]
    environment = results["environment"]
    versions = ", ".join(
        f"{item} {environment['versions'][item]}" for item in ("edgebert", "torch", "transformers", "onnxruntime")
    )
    lines += ["", f"{results['date']}, {environment['hardware']['processor']}, {versions}"]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CORPORA), help="corpora, by comma")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    place = RESULTS / "headline.json"
    results = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {"cells": {}}
    for corpus in options.only.split(","):
        teacher = teacher_of(corpus, options.runs)
        for kind in options.kinds.split(","):
            cell = results["cells"].setdefault(f"{corpus}, {kind}", {})
            for seed in range(options.seeds):
                if str(seed) in cell:
                    continue
                run = options.runs / f"headline-{corpus}-{kind}-{seed}"
                request = request_of(
                    corpus, teacher=str(teacher), run=str(run), seed=seed, max_drop=100.0, **KINDS[kind]
                )
                fit(request, command=f"python -m benchmarks.headline --only {corpus} --kinds {kind}", on_event=None)
                report = json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))
                cell[str(seed)] = read(report)
                job = resolve(request, "", None)
                try:
                    cell[str(seed)]["p50_ms"] = in_turns(job)
                finally:
                    job.run.close()
                print(corpus, kind, seed, cell[str(seed)], flush=True)
                results["environment"], results["date"] = (
                    describe_environment(),
                    f"{datetime.now(timezone.utc):%Y-%m-%d}",
                )
                write_atomic(place, json.dumps(results, indent=1))
                write_page(results)


if __name__ == "__main__":
    main()
