"""Conversion of fine-tuned models: sizes, parity and F1 of every file, seconds and peak memory. Writes conversion.md.

The models are the teachers of the runs that benchmarks/ner.py leaves (all-MiniLM-L6-v2 fine-tuned on ATIS and BTC), and
all-mpnet-base-v2 where its folder is given. Each format is converted by `edgebert convert` in a process of its own,
so that memory and seconds are of that format alone.

    python benchmarks/conversion.py [--runs runs] [--mpnet FOLDER]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

DATA = Path("../shared/data/btc")
CORPORA = {
    "atis": ("atis",),
    "btc": (*(f"train={DATA}/{s}.conll" for s in "abeg"), f"dev={DATA}/h.conll", f"test={DATA}/f.conll"),
}
ROWS = 1000  # of the test split, the first ones
PRECISIONS = {
    "onnx": "fp32,fp16,int8,int8-static,int4,int4-embedding",
    "tflite": "fp32,fp16,int8,int8-weights,int8-static,int4-embedding",
    "coreml": "fp32,fp16,int8,int8-static,int6,int4",
}
PACKAGES = ("torch", "onnxruntime", "litert-torch", "ai-edge-litert", "ai-edge-quantizer", "coremltools")


def convert(model: Path, format: str, arguments: list[str]) -> tuple[dict[str, Any], float, float]:
    """What the command printed as JSON, its seconds, and the peak memory of its process in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edgebert", "convert", str(model), "--format", format, "--json", "--quiet"]
        started = time.monotonic()
        done = subprocess.run([*command, "-o", folder, *arguments], capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
    if done.returncode not in (0, 1):
        raise SystemExit(f"{format} of {model} failed: {done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    peak = max(item["peak_memory_bytes"] for item in result["conversions"])
    return result, seconds, peak


def rows_of(name: str, format: str, found: dict[str, Any]) -> list[str]:
    created = [entry for entry in found["conversions"] if entry["artifact"]]
    lines = []
    for item in created:
        like = item["comparison"]
        worst = max([like["max_logit_difference"], *like["edges"].values()])
        score, aim = like.get("score"), like.get("reference_score")
        lines.append(
            "| "
            + " | ".join(
                (
                    name, format, item["precision"], item["variant"],
                    f"{item['artifact']['size_bytes'] / 1e6:.2f}", f"{100 * item['size_share']:.1f} %",
                    f"{worst:.1e}", f"{like['nrmse']:.4f}", f"{100 * like['equal_predictions']:.2f} %",
                    f"{100 * score['value']:.2f}" if score else "", f"{100 * (score['value'] - aim['value']):+.2f}" if score else "",
                    f"{item['seconds']:.1f}", "rejected: " + like["failures"][0] if like["failures"] else "passed",
                )
            )
            + " |"
        )  # fmt: skip
    return lines


def teacher_of(run: Path) -> Path:
    (folder,) = [path for path in run.glob("stages/*-teacher-*") if path.name.split("-")[1] == "teacher"]
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--mpnet", type=Path, help="folder of all-mpnet-base-v2")
    options = parser.parse_args()
    models: list[tuple[str, Path, list[str]]] = []
    for name, data in CORPORA.items():
        run = options.runs / f"bench-{name}"
        if not run.exists() or (name == "btc" and not DATA.exists()):
            print(f"skipped {name}: run benchmarks/ner.py --only {name} first")
            continue
        specs = [argument for spec in data for argument in ("--data", spec)]
        models.append((name, teacher_of(run), ["--task", "ner", *specs, "--rows", str(ROWS)]))
    if options.mpnet:
        models.append(("mpnet-base", options.mpnet, ["--head", "sentence-embedding", "--length", "128"]))
    table, costs, n = [], [], {}
    for name, model, arguments in models:
        for format, precisions in PRECISIONS.items():
            wanted = precisions if name == "atis" else "fp32,int8"
            result, seconds, peak = convert(model, format, [*arguments, "--precision", wanted])
            table += rows_of(name, format, result)
            n[name] = result["n_rows"]
            costs.append(f"| {name} | {format} | {seconds:.0f} | {peak / 1e9:.2f} |")
            print(name, format, f"{seconds:.0f} s, {peak / 1e9:.2f} GB", flush=True)
            write(table, costs, n)  # after each: a killed benchmark keeps what it has


def write(table: list[str], costs: list[str], n: dict[str, int]) -> None:
    lines = [
        "# Conversion: what each file keeps",
        "",
        "all-MiniLM-L6-v2 (BERT, 6 layers, width 384) fine-tuned on each corpus, converted by `edgebert convert`; files of",
        "fixed lengths hold 32, 64 and 128. Each file is run by its format's runtime (Core ML by edgebert's interpreter, no",
        "Mac was at hand) and compared with torch: worst absolute difference of a logit over test rows and edge rows, root",
        "mean square difference over the deviation of the logits (nrmse), equal predictions, strict F1 on test in % and its change in points. `s` is of writing",
        "the file, choosing among variants included. Rows: " + ", ".join(f"{k} {v}" for k, v in n.items()) + ".",
        "",
        "| model | format | precision | variant | MB | of fp32 | worst | nrmse | equal | F1 | change | s | parity |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *table,
        "",
        "## What it took",
        "",
        "The whole command, one format: all precisions, comparisons included; peak resident memory of its process.",
        "",
        "| model | format | seconds | GB |",
        "|---|---|---|---|",
        *costs,
        "",
        f"- command: `python benchmarks/conversion.py --mpnet FOLDER`; date: {date.today()}; {platform.platform()}",
        "- versions: " + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    ]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
