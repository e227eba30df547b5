"""One file from one seed: the same model gives the same bytes in every format, whatever the process and the clock, and
the same bundle around them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from functools import cache
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
from edgebert.bundle import write_bundle
from edgebert.files import sha256_file
from edgebert.modeling.graph import make_source
from edgebert.tasks import find_task
from edgebert.types import Row
from tests.families import tiny

checkpoint = Path(sys.argv[1])
FACTS = {"created": "2026-01-01T00:00:00+00:00", "teacher": {"name": "a/teacher", "origin": "hub", "licence": "mit"}}
torch.manual_seed(0)  # of the head
model, _ = load_model(checkpoint, "AutoModelForTokenClassification", ("O", "B-CITY", "I-CITY"))
source = make_source(
    model, lengths=(16,), labels=("O", "B-CITY", "I-CITY"), tokenizer=checkpoint / "tokenizer.json", title="a test"
)
found = {}


def add_bundle(artifact):
    # Every file of a bundle of the artifact.
    with tempfile.TemporaryDirectory() as folder:
        written = write_bundle(
            Path(folder) / "bundle", artifact=artifact, student=checkpoint, task=find_task("ner"), labels=source.labels,
            golden=[Row(("fly", "to", "boston"), ("O",) * 3)], max_length=16, facts=FACTS,
        )
        for path in written.rglob("*"):
            if path.is_file():
                found[f"{artifact.format} bundle {artifact.precision} {path.relative_to(written)}"] = sha256_file(path)


for format in sys.argv[2:]:
    converter = CONVERTERS.get(format)
    with tempfile.TemporaryDirectory() as folder:
        exported = converter.export(source, Path(folder))
        for variant in converter.precisions["int8"].variants[:2]:
            place = Path(folder) / variant.name
            place.mkdir()
            reduced = converter.reduce(source, exported, "int8", variant, place)
            found[f"{format} {variant.name}"] = reduced.sha256
        found[f"{format} fp32"] = exported.sha256
        for artifact in (exported, reduced):
            add_bundle(artifact)
if "onnx" in sys.argv[2:]:  # a family whose layers are of several kinds, which transformers keeps in a set
    torch.manual_seed(0)
    source = make_source(tiny("modernbert"), lengths=(16,), labels=tuple("abcde"), title="a test")
    with tempfile.TemporaryDirectory() as folder:
        found["modernbert"] = CONVERTERS.get("onnx").export(source, Path(folder)).sha256
print(json.dumps(found))
"""


@cache
def written(toy_checkpoint: Path, formats: tuple[str, ...]) -> list[dict[str, str]]:
    """sha256 of each file that can be written here, of two processes whose sets have different orders."""
    usable = [name for name in formats if not missing(name)]
    command = [sys.executable, "-c", SCRIPT, str(toy_checkpoint), *usable]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {
            "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1]),
        })
        for seed in ("1", "3")  # of which a set of ModernBERT's two kinds of layers has two orders
    ]  # fmt: skip
    ended = [process.communicate(timeout=500) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended[0][1]
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def missing(format: str) -> list[str]:
    return [module for module in CONVERTERS.get(format).needs if find_spec(module) is None]


SLOW = ("executorch", "coreai")  # each takes as long as all others
QUICK = tuple(name for name in CONVERTERS.all() if name not in SLOW)


@pytest.mark.parametrize("format", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_two_processes_write_the_same_bytes(format: str, toy_checkpoint: Path) -> None:
    if lacks := missing(format):
        pytest.skip(f"{', '.join(lacks)} is not installed")
    results = written(toy_checkpoint, QUICK if format in QUICK else (SLOW,))
    item, other = ({name: sha for name, sha in result.items() if name.startswith(format)} for result in results)
    assert len(item) >= 2 and item == other
    files = {name: sha for name, sha in item.items() if " bundle " not in name}
    assert len(set(files.values())) == len(files), "variants differ, so that equal sums say something"
    for precision in ("fp32", "int8"):
        names = {name.rpartition(" ")[2] for name in item if f" bundle {precision} " in name}
        assert {"MODEL_CARD.md", "README.md", "golden.jsonl", "manifest.json", "sbom.cdx.json"} <= names


def test_two_processes_trace_a_modernbert_alike(toy_checkpoint: Path) -> None:
    item, other = (result["modernbert"] for result in written(toy_checkpoint, QUICK))
    assert item == other


MEASURED = ("created", "latencies", "footprint", "padding", "measured_on")


def unmeasured(bundle: Path) -> dict[str, Any]:
    """What each file of a bundle says, without times and what is made of them."""
    results: dict[str, Any] = {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()}
    manifest = json.loads(results["manifest.json"])
    manifest["facts"] = {key: value for key, value in manifest["facts"].items() if key not in MEASURED}
    pages = ("README.md", "MODEL_CARD.md", "sbom.cdx.json")
    manifest["files"] = {name: facts for name, facts in manifest["files"].items() if name not in pages}
    bill = json.loads(results["sbom.cdx.json"])
    del bill["metadata"]["timestamp"], bill["serialNumber"]
    figures = bill["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]
    figures["performanceMetrics"] = [item for item in figures["performanceMetrics"] if "latency" not in item["type"]]
    results |= {"manifest.json": manifest, "sbom.cdx.json": bill}
    for page in ("README.md", "MODEL_CARD.md"):
        lines = results[page].decode().splitlines()
        results[page] = [line for line in lines if " ms" not in line and not line.startswith("Digest of")]
    return results


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
    packaged: list[tuple[str | None, str]] = []
    bundles: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for run in ("one/run", "two/run"):  # not beside each other: nothing is taken over
        result = edgebert.fit(
            "this-machine", "ner", teacher=str(toy_checkpoint), data=str(toy_data), run=str(tmp_path / run),
            recipe="trim-vocab+drop-layers+kd", teacher_epochs=4, epochs=4, learning_rate=3e-3, max_drop=100, max_latency_ms=1e6, formats=("onnx",),
            params={"trim-vocab.floor": "20", "drop-layers.n_layers": "2"}, precisions=("int8", "fp16"),
        )  # fmt: skip
        assert result.bundle is not None and "2 were within 0.1 points" in result.report.verdict
        manifest = json.loads((result.bundle / "manifest.json").read_text())
        packaged.append((result.report.winner, manifest["files"][manifest["model"]]["sha256"]))
        bundles.append(unmeasured(result.bundle))
        raw.append((result.bundle / "sbom.cdx.json").read_bytes())
    assert packaged[0] == packaged[1]
    assert bundles[0] == bundles[1]
    assert raw[0] != raw[1], "times differ, so that what is left says something"
