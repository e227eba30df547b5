"""A target in one file: ONNX Runtime in this very process, timed in turns."""

from __future__ import annotations

import time
from typing import Any

from edgebert.measure.targets import DeviceInfo, Job, Log, MeasurementRecord, Outcome, Target


def measure(address: str, job: Job, log: Log) -> Outcome:
    import numpy as np
    import onnxruntime as ort

    results = []
    for file in job.files:
        begun = time.perf_counter()
        session = ort.InferenceSession(str(file.path), providers=["CPUExecutionProvider"])
        loaded = time.perf_counter()
        names = [item.name for item in session.get_inputs()]
        rows = [{name: np.array(row[name], np.int64) for name in names} for row in file.inputs or job.inputs]
        outputs, times = [], []
        for i in range(job.min_runs + 1):
            start = time.perf_counter()
            given = session.run(None, rows[i % len(rows)])
            times.append(1e3 * (time.perf_counter() - start))
            if len(outputs) < min(job.n_outputs, len(rows)):
                outputs.append({item.name: a.tolist() for item, a in zip(session.get_outputs(), given, strict=True)})
        result: dict[str, Any] = {"load_ms": 1e3 * (loaded - begun), "first_run_ms": times[0]}
        results.append(
            MeasurementRecord(
                file.name, "onnxruntime", ort.__version__, times_ms=tuple(times[1:]), outputs=tuple(outputs), **result
            )
        )
    return Outcome("a toy device", "measured", tuple(results))


def answers(address: str) -> str:
    return f"there is no toy device at {address}" if address else ""


def look(address: str, formats: Any) -> DeviceInfo:
    return DeviceInfo("a toy device")


TARGET = Target(
    name="toy-target",
    title="a toy device",
    formats=("onnx",),
    example="toy-target",
    measure=measure,
    answers=answers,
    look=look,
)
