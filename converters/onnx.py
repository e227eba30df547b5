"""ONNX: float32 by torch's exporters, reduced by ONNX Runtime's tools, run by ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import Converter, Precision, QuantizationVariant
from edgebert.converters._onnx_contents import contents
from edgebert.converters._onnx_exits import every_node, graphs
from edgebert.converters._onnx_export import check_finite, export
from edgebert.converters._onnx_file import first_line, graph_file, load, write
from edgebert.converters._onnx_half import INT4, INT4_STORED, fp16, int4, int4_all
from edgebert.converters._onnx_int8 import GRID, dynamic, packed
from edgebert.converters._onnx_static import STATIC, static
from edgebert.converters._onnx_trained import PORTABLE, TRAINED, trained
from edgebert.devices.accelerators import DYNAMIC_SHAPE, LARGE_TABLE, LARGEST_DIMENSION
from edgebert.errors import EdgebertError, unknown
from edgebert.faults import raise_if_fault
from edgebert.runtime.session import Batch, Source, stated_count, stated_labels
from edgebert.runtime.specs import INPUT_IDS, OutputSpec, file_outputs
from edgebert.types import Artifact

if TYPE_CHECKING:
    from onnx import TensorProto
    from onnxruntime import NodeArg

PRECISIONS = {
    "int8": Precision("8-bit weights, activations scaled at run time", GRID, kind="int8", stored=TRAINED),
    "int8-static": Precision(
        "8-bit weights, activations scaled by calibration", STATIC, True, kind="int8-static", stored=PORTABLE
    ),
    "int4-embedding": Precision("8-bit weights, 4-bit word table", GRID, kind="int8", embedding_bits=4),
    "fp16": Precision(
        "weights and computation in half precision", kind="fp16", compute="fp16", bits=16, embedding_bits=16
    ),
    "int4": Precision("4-bit weights in blocks, 8-bit embedding", INT4, kind="int4", bits=4, stored=INT4_STORED),
    "int4-all": Precision(
        "4-bit weights in blocks, 4-bit word table",
        INT4,
        kind="int4",
        bits=4,
        embedding_bits=4,
        stored=INT4_STORED,
    ),
}
_NNAPI = """
Abs Add AveragePool Cast Clip Concat Conv DepthToSpace DequantizeLinear Div Elu Exp Flatten Floor Gather Gemm
GlobalAveragePool GlobalMaxPool Identity Log MatMul MaxPool Max Min Mul Neg Pad Pow PRelu QLinearConv QLinearMatMul
QuantizeLinear Relu Reshape Resize Sigmoid Sin Slice Softmax Sqrt Squeeze Sub Tanh Transpose Unsqueeze
"""
NNAPI = frozenset(_NNAPI.split())
_MAKERS = {
    "int8": dynamic,
    "int4-embedding": packed,
    "int8-static": static,
    "fp16": fp16,
    "int4": int4,
    "int4-all": int4_all,
}


def reduce(source: Source, artifact: Artifact, precision: str, variant: QuantizationVariant, folder: Path) -> Artifact:
    """The file of a variant. `artifact` is the float32 one of `export`.

    Raises:
        RequestError: an unknown precision, or one that needs calibration rows and has none.
        EdgebertError: the file cannot be quantized, or the recipe gave something else than it promises.
    """
    if precision not in _MAKERS:
        raise unknown("ONNX precision", precision, _MAKERS)
    try:
        model = load(artifact.path)
        created = (trained if variant.options.get("scales") == "trained" else _MAKERS[precision])(
            source, model, variant
        )
    except EdgebertError:
        raise
    except Exception as error:
        raise_if_fault(error, folder)
        raise EdgebertError(
            f"{source.family} cannot be written as ONNX {precision} ({variant.name}): {first_line(error)}",
            where=str(artifact.path),
        ) from error

    def prove(path: Path) -> None:
        check_finite(source, OnnxSession(path, 1))

    return write(created, source, precision, folder, variant.options, prove=prove)


class OnnxSession:
    """A file in ONNX Runtime on the CPU. threads 0 means all cores.

    Args:
        path: the .onnx file, or the folder that holds it beside its weights.
    """

    runtime: str = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may be timed beside it
        self.runtime_version = str(ort.__version__)
        self._path = path
        try:
            self._session = ort.InferenceSession(str(graph_file(path)), options, providers=["CPUExecutionProvider"])
            # These raise for names and notes that are no UTF-8.
            meta = self._session.get_modelmeta().custom_metadata_map
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            self._inputs, self._outputs = [item.name for item in inputs], [item.name for item in outputs]
            self._ports = [_port(item) for item in inputs], [_port(item) for item in outputs]
        except Exception as error:
            raise_if_fault(error, path)
            raise EdgebertError(f"ONNX Runtime refuses the file: {first_line(error)}", where=str(path)) from None
        self.labels = stated_labels(meta.get("labels", "[]"), str(path))
        counts = {name: stated_count(meta[name], name, str(path)) for name in ("pad_id", "max_length") if name in meta}
        self._max_length = counts.get("max_length", 0)
        stated = {"precision": meta["precision"]} if "precision" in meta else {}
        self.metadata: Mapping[str, object] = {**stated, **counts}

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Float32 outputs by name; see `edgebert.converters.Runner`.

        Raises:
            EdgebertError: more tokens than the model takes, or ONNX Runtime fails.
        """
        length = batch[INPUT_IDS].shape[1]
        if self._max_length and length > self._max_length:
            raise EdgebertError(
                f"the batch has {length} tokens, the model takes {self._max_length}", where=str(self._path)
            )
        try:
            results = self._session.run(None, {name: batch[name] for name in self._inputs})
        except Exception as error:
            shape = "x".join(str(n) for n in batch[INPUT_IDS].shape)
            raise EdgebertError(
                f"the file does not run on a batch of {shape}: {first_line(error)[:160]}", where=str(self._path)
            ) from None
        return {
            name: result.astype(np.float32, copy=False) for name, result in zip(self._outputs, results, strict=True)
        }

    @cached_property
    def output_specs(self) -> tuple[OutputSpec, ...]:
        return file_outputs(*self.signature())

    def signature(self) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """Inputs and outputs as {name, type, shape}; a text in a shape is a dynamic dimension."""
        return self._ports


def accelerator_fallbacks(path: Path) -> dict[str, int]:
    """What ONNX Runtime does not hand to a phone's accelerator: operators that NNAPI does not take, by name, inputs of dynamic
    length, and weights that the CoreML provider refuses.

    By ONNX Runtime's own list of what NNAPI takes (tools/ci_build/github/android/nnapi_supported_ops.md), where every
    shape must be fixed, and by rules of `edgebert.devices.accelerators`. Names with a domain, such as
    com.microsoft:MatMulNBits, are no operators of ONNX either: other runtimes, and builds of ONNX Runtime that were reduced,
    lack them.
    """
    import onnx

    graph = onnx.load(str(graph_file(path)), load_external_data=False).graph
    nodes = [node for node in every_node(graph) if node.op_type != "Constant"]
    kinds = Counter(f"{node.domain}:{node.op_type}".lstrip(":") for node in nodes)
    results = {f"operator {kind}": count for kind, count in sorted(kinds.items()) if kind not in NNAPI}
    dynamic = sum(any(size.dim_param for size in item.type.tensor_type.shape.dim) for item in graph.input)
    weights = [item for part in graphs(graph) for item in part.initializer]
    large = sum(max(item.dims, default=0) > LARGEST_DIMENSION for item in weights)
    found = {DYNAMIC_SHAPE.finding: dynamic, LARGE_TABLE.finding: large}
    return results | {name: count for name, count in found.items() if count}


def _port(item: NodeArg) -> dict[str, TensorProto]:
    kind = item.type.removeprefix("tensor(").removesuffix(")")
    return {"name": item.name, "type": {"float": "float32"}.get(kind, kind), "shape": list(item.shape)}


def tokenizer_inside(path: Path, tokenizer_json: Path, folder: Path, texts: Sequence[str]) -> Artifact:
    """One graph from text to outputs; see `edgebert.converters._onnx_tokenizer.with_tokenizer`."""
    from edgebert.converters._onnx_tokenizer import with_tokenizer

    return with_tokenizer(path, tokenizer_json, folder, golden=texts)


CONVERTER = Converter(
    name="onnx",
    families_without={"funnel": "it cannot read a row of one token"},
    title="ONNX, run by ONNX Runtime",
    suffix=".onnx",
    extra="fit",
    needs=("onnx", "onnxruntime"),
    runtime="onnxruntime",
    with_tokenizer=tokenizer_inside,
    export=export,
    precisions=PRECISIONS,
    reduce=reduce,
    open=OnnxSession,
    contents=contents,
    accelerator_fallbacks=accelerator_fallbacks,
)
