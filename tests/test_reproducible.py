"""One file from one seed: the same model gives the same bytes in every format, whatever the process and the clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgebert import registry

SCRIPT = """
import json, sys, tempfile
from pathlib import Path
import torch
from edgebert import registry
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
    converter = registry.converter(format)
    with tempfile.TemporaryDirectory() as folder:
        exported = converter.export(source, Path(folder))
        for trial in converter.precisions["int8"].trials:
            place = Path(folder) / trial.name
            place.mkdir()
            found[f"{format} {trial.name}"] = converter.reduce(source, exported, "int8", trial, place).sha256
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
    return [module for module in registry.converter(format).needs if find_spec(module) is None]


FORMATS = ("onnx", "tflite", "coreml")


@pytest.mark.parametrize("format", FORMATS)
def test_two_processes_write_the_same_bytes(format: str, written: list[dict[str, str]]) -> None:
    if lacks := missing(format):
        pytest.skip(f"{', '.join(lacks)} is not installed")
    one, other = ({name: sha for name, sha in found.items() if name.startswith(format)} for found in written)
    assert len(one) >= 2 and one == other
    assert len(set(one.values())) == len(one), "variants differ, so that equal sums say something"
