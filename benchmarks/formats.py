"""Which family converts to which format in which precision, measured: writes docs/formats.md.

Each model is tiny and of random weights (tests/families.py). Each file is run by its format's runtime and compared with
torch on random rows and on the edge rows of the parity gate. Each head and format has processes of its own, so that a
library that dies takes one cell with it; finished cells are kept in --cache, and a killed run goes on.

    python -m benchmarks.formats [--only bert,albert] [--formats onnx,openvino] [--cache runs/formats.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.families import FAMILIES, HEADS, WITHOUT_SPANS, tiny

LENGTHS = (16, 32)
N_ROWS, N_CALIBRATION = 8, 8
MINUTES = 5  # of one cell, before its process is stopped
MARK = "cell: "
DATE = "date of "  # and a format, in the cache: its last cell's
THIN = "fewer predictions are equal than the gate wants of a trained model; random weights leave thin margins"
LABELS = tuple(f"L{i}" for i in range(5))
PACKAGES = (
    "torch", "transformers", "onnx", "onnxruntime", "litert-torch", "ai-edge-litert", "ai-edge-quantizer", "coremltools",
    "openvino", "nncf", "executorch", "torchao", "coreai-core", "coreai-torch", "coreai-opt",
)  # fmt: skip


def measure(family: str, head: str, format: str, precisions: list[str]) -> dict[str, Any]:
    """Each precision's worst difference on real and edge rows, also over the outputs' deviation, and its failures; or why
    there is none."""
    import numpy as np
    import torch

    from edgebert.converters import find_precision, usable_converter
    from edgebert.errors import EdgebertError
    from edgebert.modeling.graph import TorchSession, make_source
    from edgebert.verify.edges import batch_of, edge_batches
    from edgebert.verify.parity import compare
    from edgebert.verify.reference import make_reference

    if head == "question-answering" and family in WITHOUT_SPANS:
        return {"fp32": {"reason": "transformers has no question-answering head for this family"}}
    torch.set_num_threads(1)
    model = tiny(family, head)
    drawn = np.random.default_rng(0)
    rows = [batch_of(drawn.integers(5, 100, n).tolist()) for n in drawn.integers(3, 31, N_ROWS + N_CALIBRATION)]
    labels = LABELS if head.endswith("classification") else ()
    source = make_source(model, lengths=LENGTHS, labels=labels, calibration=rows[N_ROWS:])
    try:
        edges = edge_batches(100, 32, source.pad_id, None)
        reference = make_reference(TorchSession(model), rows[:N_ROWS], edges, labels)
    except EdgebertError as error:
        return {"fp32": {"reason": error.what}}
    converter = usable_converter(format)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        artifact = None
        for precision in precisions:
            place = Path(folder) / precision
            place.mkdir()
            started = time.monotonic()
            try:
                if precision == "fp32":
                    created = artifact = converter.export(source, place)
                else:
                    assert artifact is not None
                    variant = converter.precisions[precision].variants[0]
                    created = converter.reduce(source, artifact, precision, variant, place)
                seconds = time.monotonic() - started
                kind = find_precision(format, precision).kind
                compared, _ = compare(converter.open(created.path, 1), reference, kind)
                results[precision] = {
                    "difference": max([compared.max_logit_difference, *compared.edges.values()]),
                    "nrmse": compared.nrmse,
                    "failures": compared.failures,
                    "seconds": seconds,
                }
            except EdgebertError as error:
                results[precision] = {"reason": error.what}
            if precision == "fp32" and ("reason" in results["fp32"] or results["fp32"]["failures"]):
                break
    return results


def in_processes(families: list[str], head: str, format: str, precisions: list[str]) -> Iterator[tuple[str, Any]]:
    """Each family's cell. One process does them in turn; where it dies or hangs, its family is said to have crashed and
    another process goes on with the rest."""
    todo = list(families)
    while todo:
        command = [sys.executable, "-m", "benchmarks.formats", "--measure", ",".join(todo), head, format]
        with tempfile.TemporaryFile("w+") as errors:
            child = subprocess.Popen([*command, ",".join(precisions)], stdout=subprocess.PIPE, stderr=errors, text=True)
            timer = threading.Timer(MINUTES * 60 * len(todo), child.kill)
            timer.start()
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith(MARK):
                    yield todo.pop(0), json.loads(line.removeprefix(MARK))
            timer.cancel()
            if child.wait() and todo:
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["no message"])[-1][:200]
                yield todo.pop(0), {"fp32": {"crash": f"exit {child.returncode}: {last}"}}


def cell(found: dict[str, Any] | None, notes: dict[str, str]) -> str:
    """A measured difference, or a mark that a note explains."""
    if found is None:
        return ""
    if "difference" in found:
        value = f"{found['difference']:.1e}"
        if not found["failures"]:
            return value
        if all("predictions are equal" in failure for failure in found["failures"]):
            return f"{value} {_note(THIN, notes)}"
        return f"**rejected** {_note(f'{value}: ' + found['failures'][0], notes)}"
    return f"no {_note(found.get('reason') or 'crashed: ' + found['crash'], notes)}"


def _note(text: str, notes: dict[str, str]) -> str:
    notes.setdefault(text, f"[{len(notes) + 1}]")
    return notes[text]


def write(cells: dict[str, Any], path: Path) -> None:
    from edgebert.converters import CONVERTERS

    notes: dict[str, str] = {}
    lines = [
        "# Formats: which family converts to what",
        "",
        "Generated by `python -m benchmarks.formats`; do not edit. Each figure is the worst absolute difference of an output",
        "from torch's, over random rows and the edge rows of the parity gate (one token, full length, half padding, all",
        "padding but one), of a tiny model of that family with random weights: 2 layers, width 32, 5 labels, lengths 16 and",
        "32. ONNX is run by ONNX Runtime, TFLite by LiteRT, OpenVINO by OpenVINO, ExecuTorch by ExecuTorch, Core AI by Apple's",
        "runtime for Linux, Core ML by edgebert's interpreter of the saved ML program (no Mac was at hand). **rejected** means that",
        "a file was written and the parity gate refused it; no means that the converter refused the model; an empty cell was",
        "not tried, because float32 failed or the cell was not run. A figure of a reduced precision says little about a trained",
        "model, whose weights and margins are others: `edgebert convert` measures yours.",
    ]
    formats = list(CONVERTERS.all())
    for format, converter in CONVERTERS.all().items():
        precisions = ["fp32", *converter.precisions]
        lines += ["", f"## {converter.title}: token classification", "", _row(["family", *precisions])]
        lines.append(_row(["---"] * (len(precisions) + 1)))
        for family in FAMILIES:
            results = cells.get(f"{family}/token-classification/{format}", {})
            first = results.get("fp32")
            lines.append(_row([family, *(cell(results.get(p), notes) if first else "" for p in precisions)]))
    lines += ["", "## The other heads, in float32", ""]
    others = [head for head in HEADS if head != "token-classification"]
    lines.append(_row(["family", *(f"{head}, {format}" for head in others for format in formats)]))
    lines.append(_row(["---"] * (1 + len(others) * len(formats))))
    for family in FAMILIES:
        results = [cells.get(f"{family}/{head}/{format}", {}).get("fp32") for head in others for format in formats]
        lines.append(_row([family, *(cell(item, notes) for item in results)]))
    lines += ["", "## Notes", ""]
    lines += [f"- {mark} {text}" for text, mark in notes.items()]
    dates = ", ".join(f"{format} {cells.get(DATE + format, date.today())}" for format in formats)
    lines += ["", "## How", "", f"- dates: {dates}; {platform.platform()}"]
    lines.append("- versions: " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(values: list[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"


def main() -> None:
    from edgebert.converters import CONVERTERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FAMILIES), help="families, by comma")
    parser.add_argument("--formats", default=",".join(CONVERTERS.all()), help="formats, by comma")
    parser.add_argument("--cache", type=Path, default=Path("runs/formats.json"))
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        families, head, format, precisions = options.measure
        for family in families.split(","):
            print(MARK + json.dumps(measure(family, head, format, precisions.split(","))), flush=True)
        return
    cells = json.loads(options.cache.read_text()) if options.cache.exists() else {}
    options.cache.parent.mkdir(parents=True, exist_ok=True)
    for head in HEADS:
        for format in options.formats.split(","):
            wanted = ["fp32", *CONVERTERS.get(format).precisions] if head == "token-classification" else ["fp32"]
            families = [name for name in options.only.split(",") if f"{name}/{head}/{format}" not in cells]
            for family, process in in_processes(families, head, format, wanted):
                cells[f"{family}/{head}/{format}"], cells[DATE + format] = process, str(date.today())
                options.cache.write_text(json.dumps(cells, indent=1))
                print(family, head, format, {p: c.get("difference", c) for p, c in process.items()}, flush=True)
    write(cells, Path("docs/formats.md"))


if __name__ == "__main__":
    main()
