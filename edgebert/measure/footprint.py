"""Load time, first run and peak memory of one file, in a process of its own.

Run as a program (`python -m edgebert.measure.footprint FORMAT PATH TOKENS`) it prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from edgebert.converters import Runner
from edgebert.errors import EdgebertError
from edgebert.measure import runner
from edgebert.types import Footprint


def measure_footprint(format: str, path: Path, n_tokens: int, *, timeout_s: float = 300) -> Footprint:
    """What a fresh process pays for the file.

    Args:
        format: a converter's name, or "torch" for a checkpoint folder.
        path: the file or folder.
        n_tokens: length of the run.
        timeout_s: after which the process is stopped.

    Raises:
        EdgebertError: the process failed or ran out of time.
    """
    command = [sys.executable, "-m", "edgebert.measure.footprint", format, str(path), str(n_tokens)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=True)
    except subprocess.TimeoutExpired:
        raise EdgebertError(f"measuring its memory took over {timeout_s:g} s", where=str(path)) from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise EdgebertError(f"measuring its memory failed: {last}", where=str(path)) from None
    return Footprint(**json.loads(done.stdout))


def _measure(format: str, path: Path, n_tokens: int) -> Footprint:
    import numpy as np

    _import_runtime(format)
    baseline = peak_bytes()
    started = time.perf_counter()
    if format == "torch":
        from edgebert.modeling.checkpoint import load_model
        from edgebert.modeling.graph import TorchSession

        auto_model = json.loads((path / "config.json").read_text())["architectures"][0]
        session: Runner = TorchSession(load_model(path, auto_model)[0], 1)
    else:
        from edgebert import registry

        session = registry.converter(format).open(path, 1)
    loaded = time.perf_counter()
    ids = np.ones((1, n_tokens), np.int64)
    session.run({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0})
    ran = time.perf_counter()
    return Footprint(
        load_ms=round((loaded - started) * 1e3, 2),
        first_run_ms=round((ran - loaded) * 1e3, 2),
        peak_memory_bytes=peak_bytes() - baseline,
        runtime=session.runtime,
        runtime_version=session.runtime_version,
    )


def _import_runtime(format: str) -> None:
    """Imports what the format needs, so that the libraries' own memory is not counted as the model's."""
    import importlib

    from edgebert import registry

    importlib.import_module("edgebert.modeling.graph" if format == "torch" else "edgebert.infer")
    importlib.import_module("transformers" if format == "torch" else registry.converter(format).runtime)


def peak_bytes() -> int:
    """`runner.peak_bytes`. Raises EdgebertError where the system does not tell."""
    found = runner.peak_bytes()
    if found is None:
        raise EdgebertError("this system does not tell a process its peak memory")
    return found


if __name__ == "__main__":
    from dataclasses import asdict

    print(json.dumps(asdict(_measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))))
