"""ONNX: float32 by torch's exporter, int8 by ONNX Runtime's dynamic quantization, run by ONNX Runtime.

Dynamic int8: weights are stored in 8 bits, activations are scaled at run time by the range of each tensor. The embedding
tables are quantized too: they are most of a small model's file. Which variant is best (signed or unsigned weights, one
scale a tensor or a channel, reduced range against overflow on x86 without VNNI, which layers stay float) depends on the
model, so each is a trial and the caller chooses by the task's metric and the measured time.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.converters import Converter, Trial
from edgebert.errors import EdgebertError
from edgebert.run import sha256_file
from edgebert.types import Artifact

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 17  # LayerNormalization is one operator from here on; ONNX Runtime >= 1.13 runs it
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export(model: nn.Module, folder: Path) -> Artifact:
    """model.onnx: float32, dynamic batch and length, inputs int64, output `logits` (batch, seq, n_labels)."""
    import torch

    from edgebert.modeling.checkpoint import accepted, quiet

    sample = {name: torch.ones(2, 8, dtype=torch.int64) for name in INPUTS}
    names = list(accepted(model, sample))
    path = folder / "model.onnx"
    try:
        with quiet(), torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of branches that a fixed architecture never takes
            torch.onnx.export(
                _logits_only(model, names),
                tuple(sample[name] for name in names),
                str(path),
                input_names=names,
                output_names=["logits"],
                dynamic_axes={name: {0: "batch", 1: "seq"} for name in [*names, "logits"]},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:
        path.unlink(missing_ok=True)
        raise EdgebertError(
            f"{type(model).__name__} cannot be written as ONNX: {str(error).splitlines()[0]}"
        ) from error
    return _artifact(path, "fp32", {})


def reduce(artifact: Artifact, precision: str, trial: Trial, folder: Path) -> Artifact:
    """The int8 file of a trial. `artifact` is the float32 file of `export`."""
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = dict(trial.options)
    path = folder / "model.onnx"
    logging.getLogger().addFilter(_no_preprocess_hint)
    try:
        quantize_dynamic(
            str(artifact.path),
            str(path),
            weight_type=QuantType.QUInt8 if options["unsigned"] else QuantType.QInt8,
            per_channel=options["per_channel"],
            reduce_range=options["reduce_range"],
            nodes_to_exclude=_head_nodes(artifact.path) if options["float_head"] else [],
        )
    finally:
        logging.getLogger().removeFilter(_no_preprocess_hint)
    return _artifact(path, precision, options)


def open_session(path: Path, threads: int) -> OnnxSession:
    return OnnxSession(path, threads)


class OnnxSession:
    """A file in ONNX Runtime on the CPU. threads 0 means all cores."""

    runtime: str = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may be timed beside it
        self.runtime_version = ort.__version__
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EdgebertError(
                f"ONNX Runtime refuses the file: {str(error).splitlines()[0]}", where=str(path)
            ) from None
        self._names = [item.name for item in self._session.get_inputs()]

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, seq, n_labels), float32."""
        return self._session.run(None, {name: batch[name] for name in self._names})[0]


def _logits_only(model: nn.Module, names: list[str]) -> nn.Module:
    """A module of positional inputs that returns the logits alone, as exporters like it."""
    from torch import nn

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Tensor) -> Tensor:
            return self.model(**dict(zip(names, inputs, strict=True))).logits

    return Logits().eval()  # of the wrapper too: else the reference runs with dropout


def _head_nodes(path: Path) -> list[str]:
    """The matrix product that makes the logits: the last one of the graph."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    return [node.name for node in graph.node if node.op_type in ("MatMul", "Gemm")][-1:]


def _no_preprocess_hint(record: Any) -> bool:
    return "pre-process" not in record.getMessage()


def _artifact(path: Path, precision: str, options: Mapping[str, Any]) -> Artifact:
    return Artifact(f"onnx-{precision}", "onnx", precision, path, path.stat().st_size, sha256_file(path), options)


def _trial(unsigned: bool, per_channel: bool, reduce_range: bool, float_head: bool = False) -> Trial:
    options = {"per_channel": per_channel, "reduce_range": reduce_range, "float_head": float_head}
    name = "u8" if unsigned else "s8"
    name += "".join(f"-{key.replace('_', '-')}" for key, on in options.items() if on)
    return Trial(name, {"unsigned": unsigned, **options})


GRID = (
    *(_trial(*choice) for choice in product((False, True), repeat=3)),
    _trial(False, True, False, float_head=True),
    _trial(True, True, True, float_head=True),
)

CONVERTER = Converter(
    name="onnx",
    title="ONNX, run by ONNX Runtime",
    export=export,
    precisions={"int8": GRID},
    reduce=reduce,
    runtime="onnxruntime",
    open=open_session,
)
