"""What zeros in the weights are worth: size as stored, size in a zip, and time, in each runtime.

A BERT of 3 layers of width 384 with random weights, of whose encoder matrices the smallest are set to zero by the masks of
the method `magnitude`; neither time nor size asks what the weights have learnt. Then one float32 TFLite file has its matrices stored sparse, and runs in LiteRT with XNNPACK
and in LiteRT's own kernels. Writes benchmarks/sparsity.md and benchmarks/results/sparsity.json.

    python -m benchmarks.sparsity [--formats onnx,tflite] [--write]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks._sparse_tflite import write_sparse
from edgebert.converters import describe, usable_converter
from edgebert.converters._tflite_session import TfliteSession
from edgebert.devices.machine import describe_environment
from edgebert.files import deflated_bytes, write_atomic
from edgebert.measure.probes import Shape, shape
from edgebert.measure.protocol import Entry, interleave, latency
from edgebert.methods.magnitude import matrices, pruned
from edgebert.modeling.checkpoint import build_model
from edgebert.modeling.graph import make_source
from edgebert.runtime.batching import pad_batch
from edgebert.runtime.session import Runner
from edgebert.types import Feature

PAGE, KEPT = Path("benchmarks/sparsity.md"), Path("benchmarks/results/sparsity.json")
MODEL: Shape = shape("bert", 3, 384, 12, 1536)
ZEROS = {"dense": (0.0, "global"), "2:4": (0.5, "2:4"), "50 %": (0.5, "global"), "80 %": (0.8, "global")}
LENGTH, RUNS, OPENED = 32, 200, 5
SPARSE = {  # of the 80 % file: how it is stored -> the options of write_sparse
    "CSR": {"block": 1},
    "CSR of blocks of 1 × 4": {"block": 4},
    "CSR, unpacked by DENSIFY": {"block": 1, "densify": True},
}


def sparse_model(zeros: str) -> Any:
    import torch

    torch.manual_seed(0)
    config = MODEL.config()
    config.architectures = ["BertForTokenClassification"]
    model = build_model(config, "AutoModelForTokenClassification").eval()
    weights = matrices(model, False)
    share, pattern = ZEROS[zeros]
    with torch.no_grad():
        for name, kept in pruned(weights, share, pattern).items():
            weights[name].masked_fill_(~kept, 0.0)
    return model


def files(formats: list[str], work: Path) -> Iterator[tuple[str, str, str, Path]]:
    """Format, precision, zeros and file of each; int8 by the format's first variant."""
    for zeros in ZEROS:
        source = make_source(sparse_model(zeros), lengths=(LENGTH,), labels=tuple("abcdefghi"))
        for name in formats:
            converter, folder = usable_converter(name), work / zeros / name
            for precision in ("fp32", "int8"):
                (folder / precision).mkdir(parents=True)
            exported = converter.export(source, folder / "fp32")
            yield name, "fp32", zeros, exported.path
            variant = converter.precisions["int8"].variants[0]
            yield name, "int8", zeros, converter.reduce(source, exported, "int8", variant, folder / "int8").path
            print(f"{zeros} {name}", flush=True)


def timed(openers: dict[str, Callable[[], Runner]]) -> dict[str, dict[str, Any]]:
    """The median p50 of each over OPENED sessions, all in turns, on the same tokens; and the least and the most p50.

    Where the system puts a file's weights in memory changes the time of a session, whatever the weights are.
    """
    ids = tuple(int(i) for i in np.random.default_rng(0).integers(5, 2000, LENGTH))
    batch = pad_batch([Feature(0, ids, (0,) * LENGTH, (-1,) * LENGTH)])
    entries = [Entry(name, opened(), [batch]) for _ in range(OPENED) for name, opened in openers.items()]
    interleave(entries, RUNS)
    results = {}
    for name in openers:
        own = [entry for entry in entries if entry.name == name]
        times = [latency(entry, device="this-machine", threads=1, lengths="fixed") for entry in own]
        ms = sorted(time.p50_ms for time in times)
        results[name] = {
            "p50_ms": median(ms), "least_ms": ms[0], "most_ms": ms[-1],
            "runtime": f"{times[0].runtime} {times[0].runtime_version}",
            "finite": all(np.isfinite(array).all() for array in own[0].session.run(batch).values()),
        }  # fmt: skip
    return results


def measure(formats: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        work, found = Path(place), {}
        made = {(name, precision, zeros): path for name, precision, zeros, path in files(formats, work)}
        for kind in dict.fromkeys(key[:2] for key in made):
            own = {zeros: path for (*of, zeros), path in made.items() if tuple(of) == kind}
            times = timed({zeros: partial(usable_converter(kind[0]).open, path, 1) for zeros, path in own.items()})
            found[" ".join(kind)] = {zeros: sizes(path) | times[zeros] for zeros, path in own.items()}
            print(f"timed {kind}", flush=True)
        results: dict[str, Any] = {"files": found}
        if "tflite" in formats:
            paths = {"dense": made["tflite", "fp32", "80 %"]}
            for i, (name, options) in enumerate(SPARSE.items()):
                paths[name] = write_sparse(paths["dense"], work / f"sparse{i}.tflite", **options)  # type: ignore[arg-type]
            results["stored sparse"] = stored_sparse(paths)
    results["environment"], results["date"] = describe_environment(), f"{datetime.now(timezone.utc):%Y-%m-%d}"
    return results


def sizes(path: Path) -> dict[str, int]:
    return {"bytes": describe(path, "", "").size_bytes, "zip_bytes": deflated_bytes(path)}


def stored_sparse(paths: dict[str, Path]) -> dict[str, Any]:
    """Each file in LiteRT with its delegate and without."""
    kinds = {"XNNPACK": True, "built-in kernels": False}
    times = timed(
        {
            f"{name}, {kind}": partial(TfliteSession, path, 1, delegate=delegate)
            for name, path in paths.items()
            for kind, delegate in kinds.items()
        }
    )
    return {name: sizes(path) | {kind: times[f"{name}, {kind}"] for kind in kinds} for name, path in paths.items()}


# ---------------------------------------------------------------- the page

FOUND = """\
## What came of it

- Size as stored does not change, and no runtime is faster: every difference of time lies within the spread of one file's
  own sessions.
- In a zip, 80 % zeros leave 37 % of a float32 file and 47 % of an int8 one; 50 % leave 64 % and 76 %. 2:4 is no better than
  50 % anywhere: on a CPU its order is worth nothing, and it leaves the choice of weights less free.
- In a zip, the int8 file with 80 % zeros is 12 % of the dense float32 file.
- LiteRT has kernels for sparse fully connected operators, but not behind XNNPACK, which takes those operators and reads
  the packed numbers as if they were the whole matrix: no error is raised, the outputs are NaN. LiteRT's own kernels read them
  rightly and take 1.4 to 1.7 times as long as on the dense matrix, and 4.7 to 5.8 times as long as XNNPACK on it.
- XNNPACK's sparse inference is for convolutional networks: by its delegate's README the part of a graph that runs sparse
  must begin with a 3x3 convolution of stride 2 over 3 channels, and go on with 1x1 convolutions
  (tensorflow/lite/delegates/xnnpack/README.md, Sparse Inference). A BERT has none: with DENSIFY, as it asks for, the
  matrices are unpacked when the file is loaded, and run dense.
- With DENSIFY a float32 file of 80 % zeros is 48 % as large as stored and as fast as before; its zip is no smaller. So
  edgebert does not write it: what is downloaded is packed anyway.
"""


def write(results: dict[str, Any]) -> None:
    text = [
        "# What zeros in the weights are worth",
        "",
        "Written by `python -m benchmarks.sparsity`. A BERT of 3 layers, width 384, vocabulary 2,000, random weights; of its",
        "encoder's matrices the smallest weights are zero (`edgebert methods show magnitude`), the word table is whole. `zip` is",
        f"deflate, level 6, of the whole file. Time: 1 thread, batch 1, {LENGTH} tokens; each file is opened {OPENED} times, all of a",
        f"format and precision run in turns in one process, {RUNS} runs each; `ms` is the median of the {OPENED} p50, with the least and",
        "the most. Where a difference lies within those, it is none.",
        "",
        "| file | zeros | MB | zip MB | zip of dense | ms | least to most |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, own in sorted(results["files"].items()):
        text += [
            f"| {name} | {zeros} | {line['bytes'] / 1e6:.2f} | {line['zip_bytes'] / 1e6:.2f} | "
            f"{100 * line['zip_bytes'] / own['dense']['zip_bytes']:.0f} % | {line['p50_ms']:.2f} | "
            f"{line['least_ms']:.2f} to {line['most_ms']:.2f} |"
            for zeros, line in own.items()
        ]
    if sparse := results.get("stored sparse"):
        text += ["", *_sparse_table(sparse)]
    runtimes = ", ".join(sorted({line["runtime"] for own in results["files"].values() for line in own.values()}))
    text += [
        "",
        f"{results['date']}; {results['environment']['hardware']['processor']}; {runtimes}.",
        "",
        FOUND.rstrip(),
        "",
    ]
    PAGE.write_text("\n".join(text), encoding="utf-8")


def _sparse_table(sparse: dict[str, Any]) -> list[str]:
    lines = [
        "## Matrices stored sparse, in LiteRT",
        "",
        "The float32 TFLite file with 80 % zeros, its 18 pruned matrices stored as the TFLite schema has it",
        "(`benchmarks/_sparse_tflite.py`).",
        "",
        "| stored | MB | zip MB | XNNPACK, ms | built-in kernels, ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, line in sparse.items():
        cells = [
            f"{line[kind]['p50_ms']:.2f}" + ("" if line[kind]["finite"] else ", **wrong: NaN**")
            for kind in ("XNNPACK", "built-in kernels")
        ]
        lines.append(f"| {name} | {line['bytes'] / 1e6:.2f} | {line['zip_bytes'] / 1e6:.2f} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", default="onnx,tflite,openvino,executorch", help="by comma")
    parser.add_argument("--write", action="store_true", help="only write the page of what was measured")
    options = parser.parse_args()
    if not options.write:
        write_atomic(KEPT, json.dumps(measure(options.formats.split(",")), indent=1) + "\n")
    write(json.loads(KEPT.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
