"""The model in ONNX Runtime, on the processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from .errors import ModelError
from .files import per_token_outputs


class OnnxSession:
    """An open file. ONNX Runtime lets threads run it at once.

    Args:
        path: the file, or the folder that holds it beside its weights.
        settings: edgebert.json.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], threads: int) -> None:
        self._pad_id = settings["pad_id"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the processor to others
        file = next(path.glob("*.onnx")) if path.is_dir() else path
        try:
            self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"ONNX Runtime {ort.__version__} refuses {path.name}: {error}") from None
        self._inputs = [item.name for item in self._session.get_inputs()]
        self._per_token = per_token_outputs(settings)

    def run(self, ids: Sequence[int], types: Sequence[int], length: int = 0) -> dict[str, np.ndarray]:
        """Float32 outputs by name, without batch axis. `length`: to which the row is padded, its outputs cut back."""
        n = len(ids)
        more = [0] * max(0, length - n)
        inputs = {
            "input_ids": [*ids, *(self._pad_id for _ in more)],
            "attention_mask": [*([1] * n), *more],
            "token_type_ids": [*types, *more],
        }
        results = self._session.run(
            list(self._per_token), {name: np.array([inputs[name]], np.int64) for name in self._inputs}
        )
        return {
            name: (array[0][:n] if per_token else array[0]).astype(np.float32, copy=False)
            for (name, per_token), array in zip(self._per_token.items(), results, strict=True)
        }
