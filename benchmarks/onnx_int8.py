"""Our int8 ONNX against optimum's (export, then its AVX2 quantization) and against torch: length 128, 1 thread.

optimum-onnx needs another transformers than edgebert, so it gets an environment of its own. All files are then timed in
one process by the same ONNX Runtime, in turns; ratios are taken round by round. Writes benchmarks/onnx_int8.md.

    python benchmarks/onnx_int8.py --checkpoint runs/NAME/stages/01-teacher-KEY --env /tmp/optimum-env
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgebert import data
from edgebert.converters import CONVERTERS
from edgebert.converters.onnx import OnnxSession
from edgebert.devices.machine import describe_environment
from edgebert.measure.protocol import Entry, fixed_length, interleave
from edgebert.modeling.checkpoint import load_student
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.runtime.batching import run_features
from edgebert.runtime.session import Runner
from edgebert.tasks import find_task
from edgebert.workflows.variants import Judge, choose_variant

HERE = Path(__file__).parent
DEFAULT = HERE.parent / "runs" / "ner-atis-pixel6" / "stages"
PACKAGES = ("optimum-onnx[onnxruntime]==0.1.0", "transformers<4.58", "torch>=2.6,<2.14")
ROWS, ROUNDS, BLOCK = 300, 40, 5
OURS, THEIRS, TORCH, FLOAT = "edgebert int8", "optimum int8 (AVX2)", "torch", "edgebert fp32"


def optimum(env: Path, checkpoint: Path, work: Path) -> tuple[Path, str]:
    """The int8 file that optimum-cli makes, and its versions. The environment is made where it is absent."""
    if not (env / "bin" / "optimum-cli").exists():
        print(f"installing optimum-onnx into {env}")
        run([sys.executable, "-m", "venv", str(env)])
        run([str(env / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", *PACKAGES])
    cli, exported, quantized = str(env / "bin" / "optimum-cli"), work / "export", work / "int8"
    run([cli, "export", "onnx", "--model", str(checkpoint), "--task", "token-classification", str(exported)])
    run([cli, "onnxruntime", "quantize", "--avx2", "--onnx_model", str(exported), "-o", str(quantized)])
    listed = subprocess.run(
        [str(env / "bin" / "pip"), "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = ("optimum", "optimum-onnx", "transformers", "torch", "onnxruntime")
    versions = ", ".join(line.replace("==", " ") for line in listed if line.split("==")[0] in names)
    return quantized / "model_quantized.onnx", versions


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{done.stderr[-2000:]}")


class World:
    """The checkpoint, its data, and a score for anything that runs."""

    def __init__(self, checkpoint: Path) -> None:
        self.task = find_task("ner")
        self.student = load_student(checkpoint)
        self.dataset = data.load((), self.task)
        self.rows = self.dataset.splits["dev"][:ROWS]
        self.features = self.task.encode(self.rows, self.student.tokenizer, self.dataset.labels, 128)

    def predict(self, session: Runner) -> list[Any]:
        outputs = run_features(session, self.features)
        return self.task.decode(self.rows, self.features, outputs, self.dataset.labels)

    def score_of(self, predicted: list[Any]) -> float:
        return self.task.score(self.rows, predicted, "dev").value

    def share_equal(self, ours: list[Any], theirs: list[Any]) -> float:
        same = [agree for a, b in zip(ours, theirs, strict=True) for agree in self.task.same(a, b)]
        return sum(same) / len(same)

    def score(self, session: Runner) -> float:
        return self.score_of(self.predict(session))


def convert(world: World, work: Path) -> tuple[Path, Path, str, dict[str, float]]:
    """Our float32 and int8 files, the trial that was chosen, and what the float32 one took."""
    converter = CONVERTERS.all()["onnx"]
    source = make_source(world.student.model, labels=world.dataset.labels)
    started = time.perf_counter()
    exported = converter.export(source, work)
    seconds = time.perf_counter() - started
    judge = Judge(predict=world.predict, score=world.score_of, same=world.share_equal)
    chosen, table = choose_variant(converter, source, exported, "int8", work, judge=judge, log=lambda **_: None)
    trial = next(row["variant"] for row in table if row["chosen"])
    return exported.path, chosen.path, trial, {"seconds": seconds}


def ratio(slow: Entry, fast: Entry) -> tuple[float, float, float]:
    """Median, least and greatest of one entry's time over another's, by rounds of BLOCK runs."""
    rounds = [np.median(np.reshape(entry.times_ms, (-1, BLOCK)), axis=1) for entry in (slow, fast)]
    result = rounds[0] / rounds[1]
    return float(np.median(result)), float(result.min()), float(result.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="a BERT token classifier; default: the teacher of make fit")
    parser.add_argument("--env", type=Path, default=Path(tempfile.gettempdir()) / "optimum-env")
    options = parser.parse_args()
    checkpoint = options.checkpoint or next(iter(sorted(DEFAULT.glob("*-teacher-*/config.json"))), DEFAULT).parent
    if not (checkpoint / "config.json").exists():
        sys.exit(f"no checkpoint in {checkpoint}: run `make fit` first, or pass --checkpoint")
    torch.set_num_threads(1)
    world = World(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        theirs, versions = optimum(options.env, checkpoint, work)
        (work / "ours").mkdir()
        floats, ours, trial, took = convert(world, work / "ours")
        paths = {OURS: ours, THEIRS: theirs, FLOAT: floats}
        sessions: dict[str, Any] = {name: OnnxSession(path, 1) for name, path in paths.items()}
        sessions[TORCH] = TorchSession(world.student.model, 1)
        entries = {name: Entry(name, session, [fixed_length(world.features)]) for name, session in sessions.items()}
        interleave(list(entries.values()), ROUNDS * BLOCK)
        sizes = {name: path.stat().st_size / 1e6 for name, path in paths.items()}
        scores = {name: world.score(session) for name, session in sessions.items()}
    write(entries, sizes, scores, trial, took, versions)


def write(
    entries: dict[str, Entry],
    sizes: dict[str, float],
    scores: dict[str, float],
    trial: str,
    took: dict[str, float],
    versions: str,
) -> None:
    result = describe_environment()
    hardware, own = result["hardware"], result["versions"]
    table = [
        f"| {name} | {np.median(entry.times_ms):.2f} | {np.percentile(entry.times_ms, 90):.2f} "
        f"| {f'{sizes[name]:.1f}' if name in sizes else ''} | {scores[name]:.4f} |"
        for name, entry in entries.items()
    ]
    ratios = [
        f"| {slow} / {OURS} | {median:.3f} | {least:.3f} | {most:.3f} |"
        for slow in (THEIRS, TORCH, FLOAT)
        for median, least, most in [ratio(entries[slow], entries[OURS])]
    ]
    lines = [
        "# int8 ONNX against optimum and torch",
        "",
        f"The ATIS teacher (BERT, 6 layers, width 384), 128 tokens, batch 1, 1 thread; {ROUNDS} rounds of {BLOCK} runs in",
        f"turns. Ours is the variant that the trials chose, `{trial}`; float32 export took {took['seconds']:.1f} s.",
        "",
        f"| | median ms | p90 ms | MB | strict F1 of {ROWS} development rows |",
        "|---|---|---|---|---|",
        *table,
        "",
        "Above 1, ours is faster:",
        "",
        "| ratio, round by round | median | min | max |",
        "|---|---|---|---|",
        *ratios,
        "",
        "- command: `python benchmarks/onnx_int8.py`",
        f"- date: {datetime.now(timezone.utc).isoformat(timespec='seconds')}",
        f"- machine: {hardware['processor']}, {hardware['cores']} cores, {', '.join(hardware['instructions'])}",
        f"- timed by onnxruntime {own['onnxruntime']} and torch {own['torch']}; ours made with transformers "
        f"{own['transformers']}",
        f"- optimum's environment: {versions}",
    ]
    (HERE / "onnx_int8.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
