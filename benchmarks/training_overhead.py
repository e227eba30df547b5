"""What the training loop costs over a bare torch loop that does the same steps, on the same batches.

Both train all-MiniLM-L6-v2 cut to three layers on the same 139 batches of ATIS, one epoch, in turns; the ratio is taken pair by pair.
Writes benchmarks/training_overhead.md.

    python benchmarks/training_overhead.py
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from edgebert import data
from edgebert.devices.machine import describe_environment
from edgebert.modeling.checkpoint import load_model, load_tokenizer
from edgebert.modeling.heads import HEADS
from edgebert.modeling.layers import encoder_layers
from edgebert.modeling.source import find_teacher
from edgebert.tasks import find_task
from edgebert.training.loop import Objective, collate, train
from edgebert.types import Feature, TrainSettings

BATCHES, PAIRS, BATCH_SIZE = 139, 3, 32
SETTINGS = TrainSettings(epochs=1, batch_size=BATCH_SIZE, learning_rate=3e-4)


def bare_loop(model: Any, features: list[Feature]) -> None:
    """Forward, backward, clip, AdamW, schedule: nothing else."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=SETTINGS.learning_rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, BATCHES)
    objective = Objective(model).train()
    for start in range(0, len(features), BATCH_SIZE):
        objective(**collate(features[start : start + BATCH_SIZE]))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def our_loop(model: Any, features: list[Feature]) -> None:
    with tempfile.TemporaryDirectory() as work:
        train(Objective(model), features, SETTINGS, Path(work))


def timed(loop: Any, model: Any, features: list[Feature]) -> float:
    model = copy.deepcopy(model)
    started = time.perf_counter()
    loop(model, features)
    return time.perf_counter() - started


def main() -> None:
    task = find_task("ner")
    dataset, folder = data.load((), task), find_teacher().folder
    model, _ = load_model(folder, HEADS.get(task.head).auto_model, dataset.labels)
    stack = encoder_layers(model)
    del stack[3:]
    model.config.num_hidden_layers = 3
    features = task.encode(dataset.splits["train"], load_tokenizer(folder), dataset.labels, 128)
    same = [feature for feature in features if len(feature.input_ids) == 14]  # no padding: any order costs the same
    features = (same * (BATCHES * BATCH_SIZE // len(same) + 1))[: BATCHES * BATCH_SIZE]
    timed(our_loop, model, features), timed(bare_loop, model, features)  # warm-up
    pairs = [(timed(our_loop, model, features), timed(bare_loop, model, features)) for _ in range(PAIRS)]
    ratios = [ours / bare for ours, bare in pairs]
    environment = describe_environment()
    hardware, versions = environment["hardware"], environment["versions"]
    text = f"""# The training loop against a bare torch loop

{BATCHES} steps of batch {BATCH_SIZE} and 14 tokens, three layers of width 384, {PAIRS} pairs in turns after a warm-up. Ours
includes setting up the Trainer and writing one checkpoint (weights, optimizer, state).

| | median s | min | max |
|---|---|---|---|
| ours | {statistics.median(a for a, _ in pairs):.2f} | {min(a for a, _ in pairs):.2f} | {max(a for a, _ in pairs):.2f} |
| bare | {statistics.median(b for _, b in pairs):.2f} | {min(b for _, b in pairs):.2f} | {max(b for _, b in pairs):.2f} |
| ratio, pair by pair | {statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f} |

- command: `python benchmarks/training_overhead.py`
- date: {datetime.now(timezone.utc).isoformat(timespec="seconds")}
- machine: {hardware["processor"]}, {hardware["cores"]} cores; torch {versions["torch"]}, transformers {versions["transformers"]}, accelerate {versions["accelerate"]}
"""
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
