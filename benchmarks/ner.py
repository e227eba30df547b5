"""The main job on four corpora: what a small int8 student keeps of its teacher, how small and how fast it is.

Reads ../shared/data where it is present, fits each corpus with the default recipe, and writes benchmarks/ner.md. Every
fit resumes, so a killed benchmark goes on where it was.

    python benchmarks/ner.py [--only atis,wnut17] [--runs runs]
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import edgebert
from edgebert.results import ArtifactResult, ModelResult, Report
from edgebert.types import Latency

DATA = Path("../shared/data")
CORPORA: dict[str, dict[str, Any]] = {
    "atis": {"data": (), "candidates": 2},
    "snips": {"data": ("train=snips/train.conll", "test=snips/validate.conll")},
    "btc": {
        "data": (*(f"train=btc/{section}.conll" for section in "abeg"), "dev=btc/h.conll", "test=btc/f.conll"),
        "teacher_epochs": 5,
    },
    "wnut17": {
        "data": (
            "train=wnut17/wnut17train.conll",
            "dev=wnut17/emerging.dev.conll",
            "test=wnut17/emerging.test.annotated",
        ),
        "teacher_epochs": 5,
        "precisions": ("int4-embedding",),
        "max_size_mb": 10.8,
    },
}
COLUMNS = (
    "corpus", "model", "layers", "vocabulary", "F1 float", "F1 int8", "int8 costs", "kept of teacher", "int8 MB",
    "of teacher's int8", "of teacher's fp32", "p50 ms", "x torch teacher", "x teacher's int8",
)  # fmt: skip


def fit(name: str, root: Path) -> Report:
    """One corpus with the default recipe; only ATIS also gets a student of two layers."""
    wanted = dict(CORPORA[name])
    specs = tuple(f"{split}={DATA / path}" for split, path in (spec.split("=") for spec in wanted.pop("data")))
    params = {} if name == "atis" else {"drop-layers.n_layers": 3}
    result = edgebert.fit(
        "pixel6",
        "ner",
        data=specs,
        run=str(root / f"bench-{name}"),
        params=params,
        max_drop=20,
        on_event=_show,
        command="python benchmarks/ner.py",
        **({"candidates": 1, "formats": ("onnx",)} | wanted),
    )
    return result.report


def _show(event: dict[str, Any]) -> None:
    if event["event"] in ("epoch", "done", "candidate", "note"):
        print({key: value for key, value in event.items() if key != "time"}, flush=True)


def at_data_length(latencies: tuple[Latency, ...]) -> Latency:
    """One thread, the corpus's own lengths: p50 is the latency at its median length."""
    return next(x for x in latencies if x.how == "measured" and x.threads == 1 and x.lengths == "data")


def int8(model: ModelResult) -> ArtifactResult:
    """The file of the precision that was planned for."""
    return next(result for result in model.artifacts if result.artifact.precision != "fp32")


def rows(name: str, report: Report) -> list[tuple[str, ...]]:
    """A row for the teacher in torch, one for its int8 file, one a student."""
    teacher = report.teacher
    torch, own = at_data_length(teacher.torch_latencies), int8(teacher)
    own_ms, fp32_bytes = at_data_length(own.latencies).p50_ms, teacher.artifacts[0].artifact.size_bytes
    table = [_teacher_torch(name, teacher, torch)]
    for model in (teacher, *report.students):
        file = int8(model)
        ms = at_data_length(file.latencies).p50_ms if not file.parity.failures else float("nan")  # never timed
        table.append(
            (
                name if model is teacher else "",
                "teacher, int8" if model is teacher else model.name,
                str(model.n_layers),
                f"{model.vocab_size:,}",
                f"{100 * model.test.value:.2f}",
                f"{100 * file.parity.score.value:.2f}",
                f"{100 * (model.test.value - file.parity.score.value):+.2f}",
                f"{100 * file.parity.score.value / teacher.test.value:.1f} %",
                f"{file.artifact.size_bytes / 1e6:.2f}",
                f"{100 * file.artifact.size_bytes / own.artifact.size_bytes:.1f} %",
                f"{100 * file.artifact.size_bytes / fp32_bytes:.1f} %",
                f"{ms:.2f}",
                f"{torch.p50_ms / ms:.1f}",
                f"{own_ms / ms:.2f}",
            )
        )
    return table


def _teacher_torch(name: str, teacher: ModelResult, torch: Latency) -> tuple[str, ...]:
    score = f"{100 * teacher.test.value:.2f}"
    facts = (name, "teacher, torch", str(teacher.n_layers), f"{teacher.vocab_size:,}", score)
    return (*facts, *("",) * 6, f"{torch.p50_ms:.2f}", "1.0", "")


def write(reports: dict[str, Report], path: Path, seconds: float) -> None:
    """The table as Markdown, with everything that a reader needs to judge it."""
    lines = [
        "# NER: teacher all-MiniLM-L6-v2 against its int8 students",
        "",
        "Strict entity F1 (seqeval) on test, %. `F1 int8` and the size are of the ONNX file itself, run by ONNX Runtime,",
        "one row at a time. `kept of teacher` is the int8 file's F1 over that of the teacher in torch (float). Latency is",
        "measured on this machine, all models of a corpus in turns in one process: p50 of 50 runs, 1 thread, batch 1,",
        "rows of the test split evenly spread over its lengths. 1 MB = 10^6 bytes.",
        "",
        "|" + "|".join(COLUMNS) + "|",
        "|" + "---|" * len(COLUMNS),
    ]
    for name, report in reports.items():
        lines += ["|" + "|".join(row) + "|" for row in rows(name, report)]
    first = next(iter(reports.values()))
    hardware, versions = first.environment["hardware"], first.environment["versions"]
    lines += ["", "## How", "", "- command: `python benchmarks/ner.py`", f"- date: {first.created}"]
    lines += [
        f"- machine: {hardware['processor']}, {hardware['cores']} cores, {', '.join(hardware['instructions'])}",
        f"- versions: {', '.join(f'{k} {v}' for k, v in versions.items())}; {platform.platform()}",
        f"- recipe: `{first.environment['recipe']}`, effort {first.environment['effort']}, one seed (0)",
        "- teacher epochs: what --effort gives, but 5 for btc and wnut17",
        f"- took {seconds / 60:.0f} minutes in this call; finished stages were kept from earlier calls",
        "",
        "| corpus | train | dev | test | median tokens of the timed rows | int8 variant of each model |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_facts(name, report) for name, report in reports.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _facts(name: str, report: Report) -> str:
    tokens = at_data_length(report.teacher.torch_latencies).seq_len
    variants = "; ".join(
        f"{m.name}: {', '.join(k for k, on in int8(m).artifact.options.items() if on) or 'signed, one scale a tensor'}"
        for m in (report.teacher, *report.students)
    )
    counts = " | ".join(str(report.n_rows[split]) for split in ("train", "dev", "test"))
    return f"| {name} | {counts} | {tokens} | {variants} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CORPORA), help="corpora, by comma")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are kept")
    options = parser.parse_args()
    started = time.monotonic()
    names = [name for name in options.only.split(",") if name == "atis" or DATA.exists()]
    for name in set(options.only.split(",")) - set(names):
        print(f"skipped {name}: {DATA} is not there")
    reports: dict[str, Report] = {}
    for name in names:  # written after each corpus: a killed benchmark keeps what it has
        reports[name] = fit(name, options.runs)
        write(reports, Path(__file__).with_suffix(".md"), time.monotonic() - started)


if __name__ == "__main__":
    main()
