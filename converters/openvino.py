"""OpenVINO: the graph that our ONNX export proved, read by OpenVINO, reduced by NNCF, run by OpenVINO on the CPU.

By way of ONNX the names of inputs, outputs and weights and the dynamic shape stay, which `openvino.convert_model` drops of a
program of torch. A model is a folder of a graph (.xml) and its weights (.bin), under the names that optimum-intel uses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.converters import Contents, Converter, Precision, QuantizationVariant, describe
from edgebert.converters._onnx_export import check, check_finite
from edgebert.converters._onnx_export import export as export_onnx
from edgebert.converters._onnx_file import first_line, graph_file
from edgebert.converters._openvino_contents import contents
from edgebert.converters._openvino_nncf import VARIANTS, compress, quantize
from edgebert.devices.accelerators import DYNAMIC_SHAPE
from edgebert.errors import EdgebertError, unknown
from edgebert.faults import raise_if_fault
from edgebert.runtime.quiet import quiet
from edgebert.runtime.scratch import scratch_folder
from edgebert.runtime.session import Batch, Source, check_inputs, stated_count, stated_labels
from edgebert.runtime.specs import INPUT_IDS, OutputSpec, file_outputs
from edgebert.types import Artifact

if TYPE_CHECKING:
    import openvino as ov

NAME = "model.openvino"
GRAPH, WEIGHTS = "openvino_model.xml", "openvino_model.bin"
NUMBERED = re.compile(r"[A-Za-z]+(_\d+)+")  # the name of a node that nobody named
OURS = "edgebert"  # the section of a model's runtime info that says what the file is
GROUP_HINT = "DYNAMIC_QUANTIZATION_GROUP_SIZE"  # of activations that share a scale; 0 leaves them in float


def export(source: Source, folder: Path) -> Artifact:
    """float32, dynamic batch and length, int64 inputs.

    Raises:
        EdgebertError: the graph cannot be written as ONNX, OpenVINO cannot read that, or computes something else.
    """
    import openvino as ov

    with scratch_folder("openvino-") as work:
        exported = export_onnx(source, work)
        try:
            with quiet(capture=True):
                model = ov.Core().read_model(graph_file(exported.path))  # convert_model would report its use to Intel
        except Exception as error:
            raise_if_fault(error, folder)
            what = f"{source.family} cannot be written as OpenVINO: {first_line(error)}"
            raise EdgebertError(what, where=source.title or None) from error
        return _save(model, source, "fp32", folder, {})


def reduce(source: Source, artifact: Artifact, precision: str, variant: QuantizationVariant, folder: Path) -> Artifact:
    """The file of a variant. `artifact` is the float32 one of `export`.

    Raises:
        RequestError: an unknown precision, or one that needs calibration rows and has none.
        EdgebertError: NNCF gives up.
    """
    if precision not in PRECISIONS:
        raise unknown("OpenVINO precision", precision, PRECISIONS)
    model, options = _read(artifact.path), variant.options
    try:
        with quiet(capture=True), without_reports():
            if precision == "int8-static":
                model = quantize(model, source, bool(options.get("accuracy_control")))
            elif precision != "fp16":
                model = compress(model, str(options["mode"]))
    except EdgebertError:
        raise
    except Exception as error:
        raise_if_fault(error, folder)
        what = f"{source.family} cannot be written as OpenVINO {precision} ({variant.name}): {first_line(error)}"
        raise EdgebertError(what, where=str(artifact.path)) from error
    return _save(model, source, precision, folder, options)


@contextmanager
def without_reports() -> Iterator[None]:
    """NNCF reports its use to Google Analytics, and asks nobody, unless this is set while it is imported."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before


def _save(model: ov.Model, source: Source, precision: str, folder: Path, options: Mapping[str, Any]) -> Artifact:
    """Writes beside, proves, and moves into place, so that no half file is left under the name."""
    import openvino as ov

    for name, value in _facts(source, precision, options).items():
        model.set_rt_info(value, [OURS, name])
    for i, node in enumerate(model.get_ordered_ops()):  # see findings/openvino-ir-depends-on-history.sh
        if NUMBERED.fullmatch(node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}.{i}")
    with scratch_folder(".openvino-", str(folder)) as beside:
        created = beside / NAME
        created.mkdir()
        try:
            with quiet(capture=True):
                ov.save_model(model, str(created / GRAPH), compress_to_fp16=precision == "fp16")
        except Exception as error:
            raise_if_fault(error, folder)
            raise EdgebertError(f"the file cannot be written: {first_line(error)}", where=str(folder)) from error
        prove = check if precision == "fp32" else check_finite
        prove(source, OpenVinoSession(created, 1))
        path = folder / NAME
        if path.exists():
            shutil.rmtree(path)
        created.replace(path)
    return describe(path, "openvino", precision, options)


def _facts(source: Source, precision: str, options: Mapping[str, Any]) -> dict[str, str]:
    return {
        "labels": json.dumps(list(source.labels), ensure_ascii=False),
        "family": source.family,
        "precision": precision,
        "pad_id": str(source.pad_id),
        "max_length": str(source.max_length),
        "group": str(options.get("group", 0)),
        "producer": "edgebert",
    }


def _read(path: Path) -> ov.Model:
    """Raises EdgebertError where the file is missing, damaged or none of OpenVINO's."""
    import openvino as ov

    if not (path / GRAPH).is_file() or not (path / WEIGHTS).is_file():
        raise EdgebertError(f"it is no folder of {GRAPH} and {WEIGHTS}", where=str(path))
    try:
        return ov.Core().read_model(path / GRAPH, path / WEIGHTS)
    except Exception as error:
        raise_if_fault(error, path)
        raise EdgebertError(f"OpenVINO refuses the file: {first_line(error)}", where=str(path)) from None


class OpenVinoSession:
    """A file in OpenVINO on the CPU, in float32 where it is not quantized: by itself OpenVINO takes bfloat16 on processors
    that have it, which changes an output by up to a hundredth. threads 0 means all cores."""

    runtime: str = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        import openvino as ov

        self._path = path
        self.runtime_version = str(ov.__version__).partition("-")[0]
        model = _read(path)
        try:
            stated = _stated(model)
            self._inputs = [item.get_any_name() for item in model.inputs]
            self._outputs = [item.get_any_name() for item in model.outputs]
            self._ports = [_port(item) for item in model.inputs], [_port(item) for item in model.outputs]
        except Exception as error:
            raise EdgebertError(f"OpenVINO refuses the file: {first_line(error)}", where=str(path)) from None
        self.labels = stated_labels(stated.get("labels", "[]"), str(path))
        counts = {name: stated_count(stated[name], name, str(path)) for name in COUNTS if name in stated}
        self._max_length = counts.get("max_length", 0)
        self.metadata: Mapping[str, object] = {
            **({"precision": stated["precision"]} if "precision" in stated else {}),
            **{name: value for name, value in counts.items() if name != "group"},
        }
        check_inputs(self._inputs, str(path))
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            GROUP_HINT: counts.get("group", 0),
        }
        try:
            self._compiled = ov.Core().compile_model(model, "CPU", config)
            self._request = self._compiled.create_infer_request()
        except Exception as error:
            raise_if_fault(error, path)
            raise EdgebertError(f"OpenVINO refuses the file: {first_line(error)}", where=str(path)) from None

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Float32 outputs by name; see `edgebert.runtime.session.Runner`.

        Raises:
            EdgebertError: more tokens than the model takes, or OpenVINO fails.
        """
        length = batch[INPUT_IDS].shape[1]
        if self._max_length and length > self._max_length:
            what = f"the batch has {length} tokens, the model takes {self._max_length}"
            raise EdgebertError(what, where=str(self._path))
        try:
            results = self._request.infer({name: batch[name] for name in self._inputs})
        except Exception as error:
            shape = "x".join(str(n) for n in batch[INPUT_IDS].shape)
            what = f"the file does not run on a batch of {shape}: {first_line(error)[:160]}"
            raise EdgebertError(what, where=str(self._path)) from None
        # Copies, for the next call writes into the same buffers.
        return {name: results[i].astype(np.float32) for i, name in enumerate(self._outputs)}

    @cached_property
    def output_specs(self) -> tuple[OutputSpec, ...]:
        return file_outputs(*self.signature())

    def signature(self) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """Inputs and outputs as {name, type, shape}; a text in a shape is a dynamic dimension."""
        return self._ports


def _stated(model: ov.Model) -> dict[str, str]:
    """What the file says of itself, as far as it does."""
    names = [name for name in (*STATED, *COUNTS) if model.has_rt_info([OURS, name])]
    return {name: str(model.get_rt_info([OURS, name]).value) for name in names}


def _port(item: Any) -> dict[str, object]:
    kind = {"f32": "float32", "i64": "int64", "i32": "int32"}.get(item.get_element_type().get_type_name(), "other")
    sizes = [
        axis if size.is_dynamic else size.get_length()
        for axis, size in zip(AXES, item.get_partial_shape(), strict=False)
    ]
    return {"name": item.get_any_name(), "type": kind, "shape": sizes}


def accelerator_fallbacks(path: Path) -> dict[str, int]:
    """What keeps a file off Intel's NPU, which takes no dynamic shapes (OpenVINO 2026, NPU device: limitations)."""
    dynamic = sum(item.get_partial_shape().is_dynamic for item in _read(path).inputs)
    return {DYNAMIC_SHAPE.finding: dynamic} if dynamic else {}


def read_contents(path: Path) -> Contents:
    """Weights as the floats that they stand for, and operators. Raises EdgebertError where the file cannot be read."""
    return contents(_read(path))


STATED = ("labels", "precision")
COUNTS = ("pad_id", "max_length", "group")
AXES = ("batch", "seq", "width")
PRECISIONS = {
    "fp16": Precision(
        "weights in half precision, float32 arithmetic", kind="fp16", bits=16, embedding_bits=16, compute="fp32"
    ),
    "int8": Precision("8-bit weights; activations scaled at run time or in float", VARIANTS["int8"]),
    "int8-static": Precision(
        "8-bit weights, activations scaled by calibration", VARIANTS["int8-static"], True, kind="int8-static"
    ),
    "int4": Precision("4-bit weights in blocks, 8-bit embedding", VARIANTS["int4"], kind="int4", bits=4),
}

CONVERTER = Converter(
    name="openvino",
    title="OpenVINO",
    suffix=".openvino",
    extra="openvino",
    needs=("openvino", "nncf", "onnx", "onnxruntime"),
    runtime="openvino",
    families_without={"funnel": "it cannot read a row of one token"},
    export=export,
    precisions=PRECISIONS,
    reduce=reduce,
    open=OpenVinoSession,
    contents=read_contents,
    accelerator_fallbacks=accelerator_fallbacks,
)
