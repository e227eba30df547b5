"""Every task on real rows: what a 3-layer int8 student keeps of its teacher, all-MiniLM-L6-v2.

Reads ../shared/data where it is present and writes benchmarks/tasks.md. Every fit resumes, so a killed benchmark goes on
where it was; `--only` fits some. The table is made of every run that is done; where a corpus has no run here, what the
table said of it before stays.

    python -m benchmarks.tasks [--only banking77,stsb] [--runs runs]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import edgebert
from benchmarks.methods import DATA, placed
from edgebert.report import read_report
from edgebert.results import ArtifactResult, Report
from edgebert.types import Score

COMMON: dict[str, Any] = {
    "candidates": 1, "formats": ("onnx",), "max_drop": 30, "max_size_mb": 60, "mixed_precision": "bf16",
}  # fmt: skip
LAYERS = {"drop-layers.n_layers": 3}
SQUAD_SAYS = (
    "squad: in dynamic int8, with one range for a tensor's activations, 91.3 % of 300 development answers were those of the float",
    "file, where parity asks for 97: in a hundred and eighty tokens many spans score nearly alike, and rounding tips them. So",
    "`s8-blocks` was written too, which scales every 128 activations: 97.0 %, in 1.6 times the time, and it was chosen; on test",
    "97.6 % of answers are equal. With 3 passes instead of 6 the student kept 91.0 % in float.",
)
SNIPS = {"teacher_epochs": 1, "epochs": 2}
SQUAD_TRAIN, SQUAD_OTHER = 7995, 800  # questions: of the articles to train on, all
CORPORA: dict[str, dict[str, Any]] = {
    "banking77": {"task": "classify", "data": ("banking77",), "teacher_epochs": 4, "epochs": 5},
    "stsb": {"task": "similarity", "data": ("stsb",), "epochs": 4, "params": {"kd.hard_label_weight": 0.5}},  # people's scores count too
    "clinc150": {"task": "classify", "data": ("clinc150",), "teacher_epochs": 2, "epochs": 3},
    "ud_en_ewt": {"task": "tag", "data": ("ud_en_ewt",), "teacher_epochs": 1, "epochs": 2},
    "snips-slots": {"task": "ner", "data": ("train=snips/train.conll", "test=snips/validate.conll"), **SNIPS},
    "snips-intents": {"task": "classify", "data": ("train=snips/train.jsonl", "test=snips/validate.jsonl"), **SNIPS},
    "snips-both": {
        "task": "slots=ner,intent=classify",
        "data": (
            "slots=train=snips/train.conll", "slots=test=snips/validate.conll",
            "intent=train=snips/train.jsonl", "intent=test=snips/validate.jsonl",
        ),
        **SNIPS,
    },
    "squad": {
        "task": "qa", "data": ("squad",), "max_length": 192, "teacher_epochs": 2, "epochs": 6,
        "recipe": "trim-vocab+drop-layers+tinybert",  # its states first: spans alone teach few positions of a window
        "params": {"drop-layers.strategy": "uniform", "tinybert.attention": False, "tinybert.inner": 0.5, "tinybert.replace": 0},
    },
}  # fmt: skip


def fit(name: str, runs: Path) -> Report:
    wanted = COMMON | CORPORA[name]
    specs = wanted.pop("data")
    data = _some_of_squad(runs) if name == "squad" else tuple(placed(spec) for spec in specs)
    task = wanted.pop("task")
    wanted["params"] = LAYERS | wanted.get("params", {})
    run = str(runs / f"tasks-{name}")
    return edgebert.fit("pixel6", task, data=data, run=run, on_event=_show, command=_command(name), **wanted).report


def _command(name: str) -> str:
    return f"python -m benchmarks.tasks --only {name}"


def _some_of_squad(runs: Path) -> tuple[str, ...]:
    """Questions drawn from three disjoint sets of articles, as files that edgebert reads."""
    articles = json.loads((DATA / "squad" / "dev-v1.1.json").read_text(encoding="utf-8"))["data"]
    random.Random(0).shuffle(articles)
    folder = runs / "squad"
    folder.mkdir(parents=True, exist_ok=True)
    cuts = {"train": articles[:36], "dev": articles[36:42], "test": articles[42:]}
    for split, own in cuts.items():
        results = [
            {"question": qa["question"], "context": part["context"], "answers": qa["answers"], "title": item["title"]}
            for item in own
            for part in item["paragraphs"]
            for qa in part["qas"]
        ]
        random.Random(0).shuffle(results)
        lines = [json.dumps(row) for row in results[: SQUAD_TRAIN if split == "train" else SQUAD_OTHER]]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tuple(f"{split}={folder / split}.jsonl" for split in cuts)


def _show(event: dict[str, Any]) -> None:
    if event["event"] in ("epoch", "done", "candidate", "note", "parity", "finish"):
        print({key: value for key, value in event.items() if key != "time"}, flush=True)


def int8(report: Report) -> ArtifactResult:
    return next(result for result in report.students[0].artifacts if result.artifact.precision == "int8")


def lines_of(name: str, report: Report) -> list[str]:
    """The corpus's lines of the table: its metric, then the others of the same rows, then each head's."""
    result = int8(report)
    teacher, own = report.teacher.test, result.parity.score
    rows = [_line(name, teacher.metric, teacher, own, teacher.value, own.value, report)]
    rows += [
        _line(name, metric, teacher, own, value, own.more[metric], report) for metric, value in teacher.more.items()
    ]
    for head, part in teacher.parts.items():
        mine = own.parts[head]
        rows.append(_line(f"{name}, {head}", part.metric, part, mine, part.value, mine.value, report))
    return rows


def _line(name: str, metric: str, teacher: Score, own: Score, theirs: float, ours: float, report: Report) -> str:
    share = f"{100 * ours / theirs:.1f} %" if theirs else "-"
    size = int8(report).artifact.size_bytes / 1e6
    files = report.teacher.artifacts
    whole = next(file.artifact.size_bytes for file in files if file.artifact.precision == "fp32") / 1e6
    verdict = "rejected" if int8(report).parity.failures else "passed"
    cells = (
        name,
        metric,
        teacher.n,
        f"{100 * theirs:.2f}",
        f"{100 * ours:.2f}",
        share,
        f"{size:.2f}",
        f"{whole:.1f}",
        verdict,
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def kept(path: Path) -> dict[str, list[list[str]]]:
    """Lines of both tables that are there already, by corpus."""
    tables: list[dict[str, list[str]]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        if line.startswith("| corpus "):
            tables.append({})
        elif line.startswith("| ") and not line.startswith("| ---") and tables:
            tables[-1].setdefault(line[2:].partition(" ")[0].rstrip(","), []).append(line)
    return {name: [table.get(name, []) for table in tables] for name in CORPORA}


def _made(name: str, report: Report) -> str:
    seconds = sum(report.environment["seconds"].values())
    epochs = f"{CORPORA[name].get('teacher_epochs', '-')}, {CORPORA[name]['epochs']}"
    return f"| {name} | {epochs} | {seconds:.0f} | {report.created} |"


def write(reports: dict[str, Report], path: Path) -> None:
    versions = next(iter(reports.values())).environment["versions"]
    before = kept(path)
    known = [name for name in CORPORA if name in reports or any(before[name])]
    text = [
        "# Every task on real rows",
        "",
        "Written by `python -m benchmarks.tasks`. The teacher is all-MiniLM-L6-v2 with the task's head, in torch; the student",
        "has 3 of its 6 layers, distilled by the default recipe (squad by tinybert), and its int8 ONNX file is what is scored. One seed, so",
        "differences below a point say little; trained in bf16. Test rows; development rows chose the variant of int8 and any threshold.",
        "",
        "| corpus | metric | n | teacher | int8 student | kept | MB | teacher fp32 MB | parity |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    text += [line for name in known for line in (lines_of(name, reports[name]) if name in reports else before[name][0])]
    text += [
        "",
        f"squad: all {SQUAD_TRAIN} questions of 36 articles to train on, {SQUAD_OTHER} of 6 others for dev and of 6 others for test;",
        "windows of 192 tokens. similarity: the teacher is taken as published; the student learns its vectors and, in equal parts,",
        "the scores that people gave the training pairs, which the teacher has not seen.",
        "",
        *SQUAD_SAYS,
        "",
        "| corpus | epochs: teacher, student | seconds of training, converting, proving and timing | made |",
        "| --- | --- | --- | --- |",
    ]
    text += [line for name in known for line in ([_made(name, reports[name])] if name in reports else before[name][1])]
    names = ("python", "edgebert", "torch", "transformers", "onnxruntime", "tokenizers")
    listed = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    missing = [name for name in CORPORA if name not in known]
    text += ["", f"Not run yet: {', '.join(missing)}."] if missing else []
    text += ["", f"- {datetime.now(timezone.utc):%Y-%m-%d}; {platform.platform()}; 2 cores; {listed}", ""]
    path.write_text("\n".join(text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CORPORA))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    for name in options.only.split(","):
        fit(name, options.runs)
    done = {name: options.runs / f"tasks-{name}" / "report" / "report.json" for name in CORPORA}
    reports = {name: read_report(path) for name, path in done.items() if path.exists()}
    write(reports, Path("benchmarks/tasks.md"))


if __name__ == "__main__":
    main()
