"""One file from one seed: the same model gives the same bytes in every format, whatever the process and the clock."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import edgebert
from edgebert.converters import CONVERTERS
from edgebert.measure.targets import TARGETS, Job, MeasurementRecord, Outcome, here

SCRIPT = """
import json, sys, tempfile
from pathlib import Path
import torch
from edgebert.converters import CONVERTERS
from edgebert.modeling.checkpoint import load_model
from edgebert.modeling.graph import make_source

checkpoint = Path(sys.argv[1])
torch.manual_seed(0)  # of the head
model, _ = load_model(checkpoint, "AutoModelForTokenClassification", ("O", "B-CITY", "I-CITY"))
source = make_source(
    model, lengths=(16,), labels=("O", "B-CITY", "I-CITY"), tokenizer=checkpoint / "tokenizer.json", title="a test"
)
found = {}
for format in sys.argv[2:]:
    converter = CONVERTERS.get(format)
    with tempfile.TemporaryDirectory() as folder:
        exported = converter.export(source, Path(folder))
        for variant in converter.precisions["int8"].variants:
            place = Path(folder) / variant.name
            place.mkdir()
            found[f"{format} {variant.name}"] = converter.reduce(source, exported, "int8", variant, place).sha256
        found[f"{format} fp32"] = exported.sha256
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def written(toy_checkpoint: Path) -> list[dict[str, str]]:
    """sha256 of each file that can be written here, of two processes whose sets have different orders."""
    usable = [name for name in FORMATS if not missing(name)]
    command = [sys.executable, "-c", SCRIPT, str(toy_checkpoint), *usable]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {
            "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1]),
        })
        for seed in ("1", "2")
    ]  # fmt: skip
    ended = [process.communicate(timeout=500) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended[0][1]
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def missing(format: str) -> list[str]:
    return [module for module in CONVERTERS.get(format).needs if find_spec(module) is None]


FORMATS = ("onnx", "tflite", "coreml")


@pytest.mark.parametrize("format", FORMATS)
def test_two_processes_write_the_same_bytes(format: str, written: list[dict[str, str]]) -> None:
    if lacks := missing(format):
        pytest.skip(f"{', '.join(lacks)} is not installed")
    item, other = ({name: sha for name, sha in result.items() if name.startswith(format)} for result in written)
    assert len(item) >= 2 and item == other
    assert len(set(item.values())) == len(item), "variants differ, so that equal sums say something"


def test_noise_in_timings_packages_the_same_file(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two fits from scratch for this machine, which is judged by its times; they lie 20 % apart by chance. Files of two
    precisions score alike, so that a clock would decide between them."""
    noise = random.Random(7)

    def measure(address: str, job: Job, log: Any) -> Outcome:
        results = [
            MeasurementRecord(file.name, "rt", "1", 1.0, 1.0, tuple([noise.uniform(0.91, 1.09)] * 50), 10**7)
            for file in job.files
        ]
        return Outcome("here", "measured", tuple(results), {})

    monkeypatch.setattr(TARGETS, "all", lambda: {"here": replace(here.TARGET, measure=measure)})
    packaged = []
    for run in ("one/run", "two/run"):  # not beside each other: nothing is taken over
        result = edgebert.fit(
            "this-machine", "ner", teacher=str(toy_checkpoint), data=str(toy_data), run=str(tmp_path / run),
            recipe="trim-vocab+drop-layers+kd", teacher_epochs=4, epochs=4, learning_rate=3e-3, max_drop=100, max_latency_ms=1e6, formats=("onnx",),
            params={"trim-vocab.floor": "20", "drop-layers.n_layers": "2"}, precisions=("int8", "fp16"),
        )  # fmt: skip
        assert result.bundle is not None and "2 were within 0.1 points" in result.report.verdict
        manifest = json.loads((result.bundle / "manifest.json").read_text())
        packaged.append((result.report.winner, manifest["files"][manifest["model"]]["sha256"]))
    assert packaged[0] == packaged[1]
