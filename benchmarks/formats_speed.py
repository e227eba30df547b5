"""Our int8 files against those that an expert makes by hand of the same checkpoint, at 12, 32 and 128 tokens.

All run in one process with one thread, in turns; scores are over test rows, which choose nothing. What a load takes, and the
memory of a load and the first run over that of the imported runtime, are of a process of each file's own. optimum-onnx needs
another transformers than edgebert, so it gets an environment of its own, as far as it installs. Writes
benchmarks/formats_speed.md; each checkpoint's figures are kept beside the other results, so that several stand in one page.

    python -m benchmarks.formats_speed [--checkpoint runs/NAME/stages/01-teacher-KEY] [--title "ATIS, 6 layers"]
        [--task ner] [--data train=a.conll --data test=b.conll] [--env /tmp/optimum-env] [--write]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import formats_by_hand as hand
from edgebert.types import Score

PAGE, KEPT = Path("benchmarks/formats_speed.md"), Path("benchmarks/results/formats-speed.json")
LENGTHS = (12, 32, 128)
RUNS = 200
OURS = (("onnx", "int8"), ("openvino", "int8"), ("openvino", "int8-static"), ("executorch", "int8"), ("tflite", "int8"))
DEV, TEST = 300, 1000  # rows that choose variants, and that are scored
PACKAGES = ("edgebert", "torch", "transformers", "onnxruntime", "openvino", "nncf", "executorch", "ai-edge-litert",
            "litert-torch")  # fmt: skip


class World:
    """The checkpoint, its rows, and a score for anything that runs."""

    def __init__(self, checkpoint: Path, task: str, places: tuple[str, ...]) -> None:
        from edgebert import data
        from edgebert.modeling.checkpoint import load_student
        from edgebert.tasks import find_task

        self.task, self.student = find_task(task), load_student(checkpoint)
        self.dataset = data.load(places, self.task)
        self.rows = {"dev": self.dataset.splits["dev"][:DEV], "test": self.dataset.splits["test"][:TEST]}
        self.features = {
            name: self.task.encode(rows, self.student.tokenizer, self.dataset.labels, LENGTHS[-1])
            for name, rows in self.rows.items()
        }

    def predictions(self, session: Any, split: str) -> list[Any]:
        from edgebert.runtime.batching import run_features

        features = self.features[split]
        return self.task.decode(self.rows[split], features, run_features(session, features), self.dataset.labels)

    def score(self, session: Any) -> Score:
        return self.task.score(self.rows["test"], self.predictions(session, "test"), "test")


def ours(world: World, work: Path) -> Iterator[tuple[str, str, Path, float]]:
    """Each of our formats: the float32 file, which is not timed, and 8 bits by the variant that the development rows choose."""
    from edgebert.converters import CONVERTERS
    from edgebert.measure.protocol import fixed_length
    from edgebert.modeling.graph import make_source
    from edgebert.runtime.session import Batch
    from edgebert.workflows.variants import VariantEvaluator, choose_variant

    task, rows = world.task, world.rows["dev"]
    rows_of: list[Batch] = [fixed_length([feature], len(feature.input_ids)) for feature in world.features["dev"][:64]]
    evaluator: VariantEvaluator[list[Any]] = VariantEvaluator(
        predict=lambda session: world.predictions(session, "dev"),
        score=lambda predicted: task.score(rows, predicted, "dev").value,
        same=lambda a, b: float(np.mean([agree for x, y in zip(a, b, strict=True) for agree in task.same(x, y)])),
    )
    source = make_source(world.student.model, labels=world.dataset.labels, lengths=LENGTHS, calibration=rows_of)
    for name, precision in OURS:
        converter, folder, started = CONVERTERS.get(name), work / f"{name}-{precision}", time.perf_counter()
        folder.mkdir()
        exported = converter.export(source, folder)
        chosen, _ = choose_variant(
            converter, source, exported, precision, folder, evaluator=evaluator, log=lambda **_: None
        )
        yield name, f"{converter.title.partition(',')[0]} {precision}", chosen.path, time.perf_counter() - started
        print(
            f"{name} {precision}: fp32 {exported.size_bytes / 1e6:.2f} MB, reduced {chosen.size_bytes / 1e6:.2f} MB",
            flush=True,
        )


def opened(kind: str, path: Path) -> Any:
    """A file of ours by its converter, or of an expert's by the runtime's own interface."""
    from edgebert.converters import CONVERTERS

    return hand.OPENERS[kind](path) if kind in hand.OPENERS else CONVERTERS.get(kind).open(path, 1)


def alone(kind: str, path: Path) -> dict[str, float]:
    """What a load takes, and the memory of it and of the first run, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.formats_speed", "--alone", kind, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure_alone(kind: str, path: Path) -> None:
    """Prints it. What is imported before, the runtime and the modules of edgebert, does not count."""
    from edgebert.converters import CONVERTERS
    from edgebert.runtime.quiet import quiet

    CONVERTERS.all()
    with quiet(capture=True):
        for module in hand.IMPORTS[kind]:
            __import__(module)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, started = resident("VmRSS"), time.perf_counter()
        session = opened(kind, path)
        seconds = time.perf_counter() - started
        row = {name: np.ones((1, 32), np.int64) for name in ("input_ids", "attention_mask")}
        session.run({**row, "token_type_ids": np.zeros((1, 32), np.int64)})
    print(json.dumps({"load_ms": 1e3 * seconds, "memory_mb": resident("VmHWM") - before}))


def resident(name: str) -> float:
    """MB, as Linux tells it of this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1.024e-3


def measure(world: World, env: Path) -> dict[str, Any]:
    """Every file's size, score, times, load and memory; and why there is none."""
    from edgebert.measure.protocol import Entry, fixed_length, interleave
    from edgebert.runtime.quiet import quiet

    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, tuple[str, Path, float]] = {}
        for name, title, path, seconds in ours(world, Path(folder)):
            files[f"edgebert: {title}"] = name, path, seconds
        by_hand = hand.Hand(world.student.model, world.features["dev"], Path(folder) / "hand", env, LENGTHS)
        for name, (kind, make) in by_hand.recipes().items():
            started = time.perf_counter()
            try:
                with quiet(capture=True):
                    path = make()
                files[name] = kind, path, time.perf_counter() - started
            except Exception as error:  # whatever a recipe's libraries raise
                lines = str(error).strip().splitlines() or [type(error).__name__]
                results[name] = {"failure": lines[0][:200]}
            print(name, results.get(name, "made"), flush=True)
        sessions = {name: opened(kind, path) for name, (kind, path, _) in files.items()}
        entries: dict[tuple[str, int], Entry] = {}
        for length in LENGTHS:
            batch = fixed_length(world.features["test"], length)
            group = [Entry(name, session, [batch]) for name, session in sessions.items()]
            interleave(group, RUNS)
            entries |= {(entry.name, length): entry for entry in group}
        for name, (kind, path, seconds) in files.items():
            parts = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
            score = world.score(sessions[name])
            results[name] = {
                "mb": sum(item.stat().st_size for item in parts) / 1e6,
                "score": score.value,
                "metric": score.metric,
                "ms": {length: float(np.median(entries[name, length].times_ms)) for length in LENGTHS},
                "made_s": seconds,
                **alone(kind, path),
            }
            print(name, results[name], flush=True)
    return results


def write_page(results: Mapping[str, Any]) -> None:
    lines = [
        "# int8 files against an expert's",
        "",
        "Written by `python -m benchmarks.formats_speed`. Each file is made of the same checkpoint and run with one thread, batch",
        f"1; p50 of {RUNS} runs in turns in one process, of one row of 12, 32 and 128 tokens without padding. Score over the test",
        "rows, which chose nothing. Load, and memory over that of the imported runtime after the first run: a process of its own.",
        "The model has eager attention, as edgebert loads it; the recipes by hand are given it so.",
        "Seconds: of making it, of ours with the float32 file, its proof and every variant. The ratio is of the fastest file of an",
        "expert whose score is within 0.3 points of the best of theirs to the fastest of ours whose is: above 1, ours is faster.",
    ]
    for title, entry in results["checkpoints"].items():
        done = {name: item for name, item in entry["files"].items() if "ms" in item}
        metric = next(iter(done.values()))["metric"]
        lines += ["", f"## {title}", "", f"Score: {metric} over {entry['n']} test rows.", ""]
        lines += [
            "| file | MB | score | 12 tokens, ms | 32 | 128 | load, ms | memory, MB | made in, s |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, item in done.items():
            times = " | ".join(f"{item['ms'][str(length)]:.2f}" for length in LENGTHS)
            lines.append(f"| {name} | {item['mb']:.2f} | {100 * item['score']:.2f} | {times} | {item['load_ms']:.0f} "
                         f"| {item['memory_mb']:.0f} | {item['made_s']:.0f} |")  # fmt: skip
        lines += ["", "| | 12 tokens | 32 | 128 |", "|---|---|---|---|"]
        best: dict[bool, dict[str, Any]] = {}
        for own in (True, False):
            group = {name: item for name, item in done.items() if name.startswith("edgebert") == own}
            most = max(item["score"] for item in group.values())
            best[own] = {name: item for name, item in group.items() if item["score"] >= most - 0.003}
        cells = []
        for length in LENGTHS:
            mine, theirs = (
                min(best[own].items(), key=lambda pair: pair[1]["ms"][str(length)]) for own in (True, False)
            )
            cells.append(f"{theirs[1]['ms'][str(length)] / mine[1]['ms'][str(length)]:.2f} ({mine[0].partition(': ')[2]} "
                         f"to {theirs[0]})")  # fmt: skip
        lines.append(f"| best of theirs / best of ours | {' | '.join(cells)} |")
        lines += [f"\n{name}: {item['failure']}" for name, item in entry["files"].items() if "failure" in item]
        lines += [
            "",
            f"{entry['date']}, {entry['processor']}; " + ", ".join(f"{k} {v}" for k, v in entry["versions"].items()),
        ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a BERT token classifier that fit left; default: make fit's")
    parser.add_argument("--title")
    parser.add_argument("--task", default="ner")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--env", type=Path, default=Path(tempfile.gettempdir()) / "optimum-env")
    parser.add_argument("--write", action="store_true", help="only write the page of what is done")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        return measure_alone(options.alone[0], Path(options.alone[1]))
    results = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"checkpoints": {}}
    if not options.write:
        import torch

        from edgebert.devices.machine import describe_environment
        from edgebert.files import write_atomic

        torch.set_num_threads(1)
        checkpoint = options.checkpoint or next(Path("runs/ner-atis-pixel6/stages").glob("*-compress-*"), None)
        if checkpoint is None:
            sys.exit("run `make fit` first, or pass --checkpoint")
        world = World(checkpoint, options.task, tuple(options.data))
        files = measure(world, options.env)
        environment = describe_environment()
        results["checkpoints"][options.title or checkpoint.name] = {
            "files": files,
            "n": len(world.rows["test"]),
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
            "processor": environment["hardware"]["processor"],
            "versions": {name: version(name) for name in PACKAGES},
        }
        write_atomic(KEPT, json.dumps(results, indent=1))
        results = json.loads(KEPT.read_text(encoding="utf-8"))
    return write_page(results)


if __name__ == "__main__":
    main()
