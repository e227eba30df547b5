"""The model in LiteRT, on the processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from .errors import ModelError
from .files import per_token_outputs


class TfliteSession:
    """An open file, which has a signature a length (seq16, seq32, …): a row runs padded in the smallest that takes it, and
    its outputs are cut back. Threads take turns.

    Args:
        settings: edgebert.json.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], threads: int) -> None:
        self._pad_id = settings["pad_id"]
        self._lock = Lock()
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            self._lengths = sorted(int(name[3:]) for name in self._interpreter.get_signature_list())
            self._runners = {self._lengths[0]: self._runner(self._lengths[0])}
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModelError(f"LiteRT refuses {path.name}: {error}") from None
        self._inputs = [item["name"] for item in settings["model"]["inputs"]]
        self._per_token = per_token_outputs(settings)

    def run(self, ids: Sequence[int], types: Sequence[int], length: int = 0) -> dict[str, np.ndarray]:
        """Float32 outputs by name, without batch axis. `length`: to which the row is padded at least."""
        n = len(ids)
        size = next((known for known in self._lengths if known >= max(n, length)), 0)
        if not size:
            raise ModelError(f"{n} tokens are more than the model's {self._lengths[-1]}")
        values = {"input_ids": (ids, self._pad_id), "attention_mask": ([1] * n, 0), "token_type_ids": (types, 0)}
        fed = {}
        for name in self._inputs:
            row, padding = values[name]
            fed[name] = np.full((1, size), padding, np.int32)
            fed[name][0, :n] = row
        with self._lock:
            if size not in self._runners:
                self._runners[size] = self._runner(size)
            results = self._runners[size](**fed)
        return {
            name: np.array(results[name][0][:n] if per_token else results[name][0], np.float32)
            for name, per_token in self._per_token.items()
        }

    def _runner(self, length: int) -> Any:
        return self._interpreter.get_signature_runner(f"seq{length}")
