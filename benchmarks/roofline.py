"""How near a pass of the int8 ONNX file comes to what the processor can do: writes benchmarks/roofline.md.

Products and bytes of a pass are counted from the shapes that ONNX Runtime's own profile tells of each node. The peak is that
of a plain product of 8-bit integers (MatMulInteger) and of float32 (MatMul); the bandwidth that of a copy beyond the caches.
The file as it is, the same with attention in parts (as it was before), and the TFLite file take turns. Parts of a pass are
then timed alone, each beside other ways to write it. One thread; times are of the processor, which other work on the machine
hardly moves.

    python -m benchmarks.roofline [--checkpoint runs/NAME/stages/04-compress-KEY] [--title "ATIS student, 3 layers"] [--write]

Each checkpoint's figures are kept in benchmarks/results/roofline.json, so that several stand in one page.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from benchmarks import _roofline_parts as parts
from edgebert.converters import CONVERTERS, _onnx_int8
from edgebert.converters.onnx import OnnxSession
from edgebert.files import write_atomic
from edgebert.measure.runner import Turn, take_turns
from edgebert.modeling.operators import operators
from edgebert.runtime.session import Batch, Runner

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

PAGE, KEPT = Path("benchmarks/roofline.md"), Path("benchmarks/results/roofline.json")
LENGTHS = (12, 32, 128)
RUNS, PROFILED = 200, 100
NOW, BEFORE, OTHER = "ONNX int8", "ONNX int8, attention in parts", "TFLite int8"
GROUPS = {
    "int8 products": ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger"),
    "attention": ("Attention",),
    "attention's products": ("MatMul", "FusedMatMul"),
    "softmax": ("Softmax",),
    "GELU": ("Gelu", "BiasGelu"),
    "layer norm": ("LayerNormalization",),
    "sums": ("Add",),
    "quantizing for several products": ("DynamicQuantizeLinear",),
    "transposes": ("Transpose",),
}
REST = "embeddings, masks, shapes"
SIZES = {"float": 4, "int32": 4, "int64": 8, "uint8": 1, "int8": 1, "bool": 1}


def files(checkpoint: Path, folder: Path) -> tuple[dict[str, tuple[str, Path]], ModelConfig]:
    """(format, path) of each file, by its name here."""
    from edgebert.modeling.checkpoint import load_student
    from edgebert.modeling.graph import make_source

    model = load_student(checkpoint).model
    source = make_source(model, lengths=LENGTHS)
    results = {}
    in_parts = mock.patch.object(_onnx_int8, "with_attention", lambda model: model)
    contexts: dict[str, tuple[str, AbstractContextManager[object]]] = {
        NOW: ("onnx", nullcontext()), BEFORE: ("onnx", in_parts), OTHER: ("tflite", nullcontext()),
    }  # fmt: skip
    for name, (kind, context) in contexts.items():
        converter, place = CONVERTERS.get(kind), folder / name
        (place / "int8").mkdir(parents=True)
        variant = converter.precisions["int8"].variants[0]
        with context:
            exported = converter.export(source, place)
            results[name] = kind, converter.reduce(source, exported, "int8", variant, place / "int8").path
    return results, model.config


def row(config: ModelConfig, tokens: int) -> Batch:
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (1, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


# ---------------------------------------------------------------- a pass, node by node


def profile(path: Path, batch: Batch, folder: Path) -> list[dict[str, Any]]:
    """Of each node of a pass: its group, median seconds, multiply-adds, and bytes read and written."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {item.name: batch[item.name] for item in session.get_inputs()}
    for _ in range(PROFILED):
        session.run(None, inputs)
    events = json.loads(Path(session.end_profiling()).read_text())
    seen = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            seen[event["name"]].append(event)
    return [_node(nodes[0]["args"], float(np.median([item["dur"] for item in nodes])) / 1e6) for nodes in seen.values()]


def _node(told: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    kind = told["op_name"]
    reads, gives = _shapes(told["input_type_shape"]), _shapes(told["output_type_shape"])
    products, moved = 0, sum(size * int(np.prod(shape)) for size, shape in (*reads, *gives))
    if kind in GROUPS["int8 products"] or kind in GROUPS["attention's products"]:
        products = int(np.prod(gives[0][1])) * reads[0][1][-1]
        if kind in GROUPS["int8 products"]:  # the weights were packed when the file was loaded, and are not told
            moved += gives[0][1][-1] * reads[0][1][-1]
    elif kind in ("Gather", "Slice", "Shape"):  # which read what they give of a table, and not the table
        moved = 2 * sum(size * int(np.prod(shape)) for size, shape in gives)
    elif kind == "Attention":
        products = 2 * int(np.prod(reads[0][1])) * reads[1][1][1]
    group = next((name for name, kinds in GROUPS.items() if kind in kinds), REST)
    return {"group": group, "s": seconds, "products": products, "bytes": moved}


def _shapes(told: list[dict[str, list[int]]]) -> list[tuple[int, list[int]]]:
    """(bytes of an element, shape) of each."""
    return [(SIZES[name], shape) for item in told for name, shape in item.items()]


def groups(nodes: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    results: dict[str, dict[str, float]] = {}
    for name in (*GROUPS, REST):
        mine = [node for node in nodes if node["group"] == name]
        if mine:
            results[name] = {key: sum(node[key] for node in mine) for key in ("s", "products", "bytes")}
    return results


def counted(config: ModelConfig, tokens: int) -> dict[str, int]:
    """Multiply-adds that the model's shapes ask for, with weights and without."""
    items = [item for item in operators(config, tokens) if item.shape]
    return {kind: sum(item.count * item.flops // 2 for item in items if bool(item.weights) == (kind == "int8"))
            for kind in ("int8", "f32")}  # fmt: skip


# ---------------------------------------------------------------- what the processor can do


def peaks(config: ModelConfig) -> dict[str, dict[str, float]]:
    """10^9 multiply-adds a second, by shape and kind: of a large square and of the file's own shapes."""
    width, inner, most = config.hidden_size, config.intermediate_size, LENGTHS[-1]
    results = {}
    for m, k, n in ((1024, 1024, 1024), (most, width, width), (most, width, inner), (most, inner, width)):
        made = {kind: parts.product(kind, m, k, n) for kind in ("u8s8", "s8s8", "f32")}
        times = parts.in_turns(made, 4 if m > most else 20)
        results[f"{m} × {k} × {n}"] = {kind: m * k * n / float(np.median(each)) / 1e9 for kind, each in times.items()}
    return results


def alternatives(config: ModelConfig) -> dict[str, dict[str, float]]:
    """Microseconds of parts of a layer at the greatest length."""
    most, width, inner = LENGTHS[-1], config.hidden_size, config.intermediate_size
    made = {
        "attention": parts.attentions(most, width, config.num_attention_heads),
        "attention's scores": parts.scores(most, width, config.num_attention_heads),
        "query, key and value": parts.three_projections(most, width),
        "activation": parts.activations(most, inner),
        "norm": parts.norms(most, width),
        "product": parts.projections(most, width, inner),
    }
    return {group: {name: 1e6 * float(np.median(each)) for name, each in parts.in_turns(group_parts).items()}
            for group, group_parts in made.items()}  # fmt: skip


def _run(session: Runner, batch: Batch, _: int) -> None:
    session.run(batch)


def measure(checkpoint: Path) -> dict[str, Any]:
    from edgebert.devices.machine import describe_environment

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, config = files(checkpoint, folder)
        sessions = {title: CONVERTERS.get(kind).open(path, 1) for title, (kind, path) in made.items()}
        one, other = (OnnxSession(made[title][1], 1).run(row(config, 32)) for title in (NOW, BEFORE))
        lengths = {}
        for tokens in LENGTHS:
            batch = row(config, tokens)
            turns = {title: Turn(partial(_run, session, batch), 1) for title, session in sessions.items()}
            take_turns(list(turns.values()), min_runs=RUNS)
            lengths[tokens] = {
                "ms": {title: float(np.median(turn.cpu_ms)) for title, turn in turns.items()},
                "counted": counted(config, tokens),
                "nodes": {title: groups(profile(made[title][1], batch, folder)) for title in (NOW, BEFORE)},
            }
    return {
        "lengths": lengths,
        "largest difference": max(float(np.abs(one[key] - other[key]).max()) for key in one),
        "peaks": peaks(config),
        "bandwidth": parts.bandwidth(),
        "alternatives": alternatives(config),
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "processor": describe_environment()["hardware"]["processor"],  # type: ignore[index]
        "versions": {name: version(name) for name in ("edgebert", "onnxruntime", "ai-edge-litert")},
    }


# ---------------------------------------------------------------- the page


def page(results: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "# How near the int8 ONNX file comes to the processor's limit",
        "",
        "Written by `python -m benchmarks.roofline`. One thread, batch 1, a row without padding; medians of processor time, the files in",
        f"turns, {RUNS} runs each. Multiply-adds and bytes are counted from the shapes of each node; bytes are what a node reads and",
        "writes, most of it in caches: more than 100 % of the memory's bandwidth is what those give. The peak is of a plain product of",
        "unsigned by signed 8-bit integers in ONNX Runtime, the largest of the shapes below, and for attention of float32; the bandwidth",
        "is of a copy of 256 MB. The floor is the time of all multiply-adds at these peaks, and nothing else.",
    )
    for title, entry in results["checkpoints"].items():
        yield from ("", f"## {title}", "")
        yield from _peaks(entry)
        yield from _whole(entry)
        for tokens in LENGTHS:
            yield from _nodes(entry, tokens)
        yield from _alternatives(entry)
        yield from _other(entry)
        yield from ("", f"{entry['date']}, {entry['processor']}; "
                    + ", ".join(f"{name} {number}" for name, number in entry["versions"].items()))  # fmt: skip


def _peak(entry: Mapping[str, Any], kind: str) -> float:
    """Multiply-adds a second."""
    return 1e9 * max(float(item[kind]) for item in entry["peaks"].values())


def floor_ms(entry: Mapping[str, Any], tokens: int) -> float:
    told = entry["lengths"][str(tokens)]["counted"]
    return 1e3 * sum(told[kind] / _peak(entry, peak) for kind, peak in (("int8", "u8s8"), ("f32", "f32")))


def _peaks(entry: Mapping[str, Any]) -> Iterator[str]:
    yield from ("10⁹ multiply-adds a second:", "", "| product | u8 × s8 | s8 × s8 | float32 |", "|---|---|---|---|")
    for shape, told in entry["peaks"].items():
        yield f"| {shape} | {told['u8s8']:.0f} | {told['s8s8']:.0f} | {told['f32']:.0f} |"
    told = entry["bandwidth"]
    yield from (
        "",
        f"Memory: {told['copy']:.0f} GB/s copied (read and written bytes together), {told['read']:.0f} GB/s read.",
        "",
    )


def _whole(entry: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "| tokens | 10⁶ multiply-adds, int8 | float32 | floor, ms | "
        + " | ".join(f"{name}, ms | of the floor" for name in (NOW, BEFORE, OTHER))
        + f" | {BEFORE} / {NOW} |"
    )
    yield "|---" * 11 + "|"
    for tokens in LENGTHS:
        told, floor = entry["lengths"][str(tokens)], floor_ms(entry, tokens)
        cells = " | ".join(
            f"{told['ms'][name]:.2f} | {100 * floor / told['ms'][name]:.0f} %" for name in (NOW, BEFORE, OTHER)
        )
        yield (f"| {tokens} | {told['counted']['int8'] / 1e6:.1f} | {told['counted']['f32'] / 1e6:.1f} | {floor:.2f} | {cells} "
               f"| {told['ms'][BEFORE] / told['ms'][NOW]:.2f} |")  # fmt: skip
    yield from ("", f"Largest difference of an output between the two ONNX files: {entry['largest difference']:.2g}.")


def _nodes(entry: Mapping[str, Any], tokens: int) -> Iterator[str]:
    nodes = entry["lengths"][str(tokens)]["nodes"]
    total = sum(item["s"] for item in nodes[NOW].values())
    yield from ("", f"{tokens} tokens, by ONNX Runtime's own profile of {PROFILED} runs:", "")
    yield "| operators | before, ms | ms | of the pass | 10⁶ multiply-adds | of the peak | MB | of the bandwidth |"
    yield "|---" * 8 + "|"
    for name in (*GROUPS, REST):
        now, before = nodes[NOW].get(name), nodes[BEFORE].get(name)
        old = f"{1e3 * before['s']:.3f}" if before else ""
        if now is None:
            if before is not None:
                yield f"| {name} | {old} | | | | | | |"
            continue
        peak = _peak(entry, "u8s8" if name == "int8 products" else "f32")
        share = f"{100 * now['products'] / now['s'] / peak:.0f} %" if now["products"] else ""
        yield (f"| {name} | {old} | {1e3 * now['s']:.3f} | {100 * now['s'] / total:.1f} % | {now['products'] / 1e6:.1f} | {share} "
               f"| {now['bytes'] / 1e6:.2f} | {100 * now['bytes'] / now['s'] / 1e9 / entry['bandwidth']['copy']:.0f} % |")  # fmt: skip
    whole = sum(item["s"] for item in nodes[BEFORE].values())
    yield f"| all | {1e3 * whole:.3f} | {1e3 * total:.3f} | | | | {sum(item['bytes'] for item in nodes[NOW].values()) / 1e6:.2f} | |"


def _alternatives(entry: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "",
        f"Parts of a layer alone at {LENGTHS[-1]} tokens, in turns, µs:",
        "",
        "| part | written as | µs |",
        "|---|---|---|",
    )
    for group, told in entry["alternatives"].items():
        yield from (f"| {group} | {name} | {number:.0f} |" for name, number in told.items())


def _other(entry: Mapping[str, Any]) -> Iterator[str]:
    """What limits the file, and what stands between the fastest of our formats and 1.3 times its speed."""
    most = LENGTHS[-1]
    told, floor = entry["lengths"][str(most)], floor_ms(entry, most)
    nodes, ms = told["nodes"][NOW], told["ms"]
    lite, ours, before = ms[OTHER], ms[NOW], ms[BEFORE]
    products, attention = nodes["int8 products"], nodes.get("attention")
    lost = 1e3 * products["s"] - told["counted"]["int8"] / _peak(entry, "u8s8") * 1e3
    rest = 1e3 * sum(item["s"] for item in nodes.values() if not item["products"])
    wanted = before / 1.25
    yield from (
        "",
        f"What limits it at {most} tokens. The multiply-adds alone take {floor:.2f} ms at the peak, the file {ours:.2f}, with attention in parts",
        f"{before:.2f}. The int8 products lose {lost:.2f} ms beside their peak, to quantizing their input and scaling their sums inside ONNX",
        "Runtime's own operator, which no writing of the file changes;"
        + (
            f" attention loses {1e3 * attention['s'] - told['counted']['f32'] / _peak(entry, 'f32') * 1e3:.2f}, most of it softmax;"
            if attention
            else ""
        ),
        f"what multiplies no matrices takes {rest:.2f}, at the speed of its kernels. 1.25 times as fast as in parts would be {wanted:.2f} ms, {100 * floor / wanted:.0f} %",
        "of the peak over the whole pass. Memory is no limit: a pass reads "
        f"{sum(item['bytes'] for item in nodes.values()) / 1e6:.0f} MB in all, most of them from caches.",
        "",
        "The same of all formats. The TFLite file's operators are those of an expert's file by XNNPACK, the fastest of the experts'",
        f"([formats_speed.md](formats_speed.md)): {lite:.2f} ms, {100 * floor / lite:.0f} % of the peak over the whole pass. 1.3 times as fast would be {lite / 1.3:.2f} ms or",
        f"{100 * floor / (lite / 1.3):.0f} % of the peak, and leave {max(0.0, lite / 1.3 - floor):.2f} ms for softmax, GELU, layer norms, sums, quantizing and what products lose, on which",
        f"LiteRT spends {lite - floor:.2f} and ONNX Runtime {ours - floor:.2f}: by the peak that ONNX Runtime's product reached, kernels alone do not give that, and fewer multiply-adds would.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a BERT token classifier that fit left; default: make fit's")
    parser.add_argument("--title")
    parser.add_argument("--write", action="store_true", help="only write the page of what is done")
    options = parser.parse_args()
    results = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"checkpoints": {}}
    if not options.write:
        checkpoint = options.checkpoint or next(Path("runs/ner-atis-pixel6/stages").glob("*-compress-*"), None)
        if checkpoint is None:
            sys.exit("run `make fit` first, or pass --checkpoint")
        results["checkpoints"][options.title or checkpoint.name] = measure(checkpoint)
        write_atomic(KEPT, json.dumps(results, indent=1))
        results = json.loads(KEPT.read_text(encoding="utf-8"))
    PAGE.write_text("\n".join(page(results)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
