"""A format in one file: the graph as torch pickles it, and the same with weights rounded to half precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.converters import Converter, Precision, QuantizationVariant, describe
from edgebert.runtime.session import Batch, Source
from edgebert.runtime.specs import OutputSpec
from edgebert.types import Artifact


def export(source: Source, folder: Path) -> Artifact:
    return _write(source, source.graph, folder, "fp32")


def reduce(source: Source, artifact: Artifact, precision: str, variant: QuantizationVariant, folder: Path) -> Artifact:
    graph = ToySession(artifact.path, 1).graph
    return _write(source, graph.half().float(), folder, precision)


def _write(source: Source, graph: Any, folder: Path, precision: str) -> Artifact:
    import torch

    path = folder / "model.toy"
    content = {"graph": graph, "inputs": source.inputs, "outputs": source.output_specs, "labels": source.labels}
    torch.save(content, path)
    return describe(path, "toy-format", precision)


class ToySession:
    """A pickled graph in torch. The thread count is torch's own."""

    runtime: str = "torch"

    def __init__(self, path: Path, threads: int) -> None:
        import torch

        content = torch.load(path, weights_only=False)
        self.graph, self.inputs = content["graph"].eval(), content["inputs"]
        self.output_specs: tuple[OutputSpec, ...] = content["outputs"]
        self.labels: tuple[str, ...] = content["labels"]
        self.metadata: Mapping[str, Any] = {}
        self.runtime_version = str(torch.__version__)

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        import torch

        with torch.inference_mode():
            results = self.graph(*(torch.from_numpy(batch[name]) for name in self.inputs))
        return {spec.name: a.float().numpy() for spec, a in zip(self.output_specs, results, strict=True)}

    def signature(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        inputs = [{"name": name, "type": "int64", "shape": ["batch", "sequence"]} for name in self.inputs]
        outputs = [{"name": spec.name, "type": spec.dtype, "shape": list(spec.axes)} for spec in self.output_specs]
        return inputs, outputs


def accelerator_fallbacks(path: Path) -> dict[str, int]:
    return {}


CONVERTER = Converter(
    name="toy-format",
    title="a pickle, run by torch",
    suffix=".pickle",
    extra="",
    needs=("torch",),
    runtime="torch",
    export=export,
    precisions={"fp16": Precision("weights rounded to half precision", kind="fp16", compute="fp32", bits=16)},
    reduce=reduce,
    open=ToySession,
    accelerator_fallbacks=accelerator_fallbacks,
)
