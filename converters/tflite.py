"""TFLite: float32 by litert-torch, reduced by ai-edge-quantizer, run by LiteRT.

A file has a signature a sequence length (`seq32`, `seq64`, …; batch 1), which share their weights, and carries the
labels and the vocabulary. Inputs int32, named as the model's; outputs float32.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import READ_PADDING, Converter, QuantizationVariant, describe
from edgebert.converters import _tflite_file as file
from edgebert.converters import _tflite_names as names
from edgebert.converters import _tflite_positions as positions
from edgebert.converters._tflite_contents import contents
from edgebert.converters._tflite_delegates import findings
from edgebert.converters._tflite_recipes import PRECISIONS, quantize
from edgebert.converters._tflite_session import TfliteSession, delegated
from edgebert.errors import EdgebertError
from edgebert.faults import raise_if_fault
from edgebert.runtime.quiet import quiet
from edgebert.runtime.session import Source
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, padding_of
from edgebert.types import Artifact

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT
    from torch import Tensor, nn

NAME = "model.tflite"
UNCHANGED = 1e-4  # of an answer, when padding comes behind the row


def export(source: Source, folder: Path) -> Artifact:
    """model.tflite in float32.

    Raises:
        EdgebertError: no length fits the model, or the family cannot be expressed.
    """
    lengths = tuple(length for length in sorted(set(source.lengths)) if 0 < length <= source.max_length)
    if not lengths:
        asked = ", ".join(str(length) for length in source.lengths) or "none"
        raise EdgebertError(
            f"the model reads at most {source.max_length} tokens, the lengths asked for: {asked}",
            hint="Ask for a shorter length.",
        )
    _check_padding(source, lengths[-1])
    model = _converted(source, lengths)
    if custom := file.custom_operators(model):
        raise _refusal(source.family, f"it would need operators that LiteRT has no kernels for: {', '.join(custom)}")
    names.shorten(model)
    positions.share(model, {item.subgraphIndex: int(item.signatureKey[3:]) for item in model.signatureDefs})
    info: file.Info = {
        "family": source.family,
        "precision": "fp32",
        "lengths": lengths,
        "pad_id": source.pad_id,
        "inputs": source.inputs,
        "outputs": source.outputs,
        "title": source.title,
    }
    path = folder / NAME
    file.write(path, model, file.associated_files(info, source.labels, source.tokenizer))
    _prove(path, source.family)
    return describe(path, "tflite", "fp32", {"lengths": list(lengths)})


def _check_padding(source: Source, length: int) -> None:
    """A file of fixed lengths pads its rows, which must not change their answers.

    Raises:
        EdgebertError: it does, as in families that mix neighbours by convolution, pooling or Fourier transform.
    """
    import torch

    n = max(1, length // 2)
    row = {INPUT_IDS: torch.arange(n) * 7 % source.vocab_size, ATTENTION_MASK: torch.ones(n, dtype=torch.int64)}
    inputs = [row.get(name, torch.zeros(n, dtype=torch.int64)) for name in source.inputs]
    tails = [torch.full((length - n,), padding_of(name, source.pad_id)) for name in source.inputs]
    with torch.inference_mode():
        alone = source.graph(*(row[None] for row in inputs))
        padded = source.graph(*(torch.cat(pair)[None] for pair in zip(inputs, tails, strict=True)))
    for spec, item, other in zip(source.output_specs, alone, padded, strict=True):
        own = other[:, :n] if spec.per_token else other
        change = float((own - item).abs().max())
        if not change <= UNCHANGED * max(1.0, float(item.abs().max())):
            raise _refusal(
                source.family,
                f"padding changes its answers (by {change:.2g}), and a file of fixed lengths pads its rows",
            )


def _prove(path: Path, family: str) -> None:
    """Runs each signature once. A file that does not run, or gives NaN, is removed.

    Raises:
        EdgebertError: LiteRT has no kernel for something in it.
    """
    try:
        session = TfliteSession(path, 1)
        for length in session.lengths:
            results = session.run({name: np.ones((1, length), np.int64) for name in session.info["inputs"]})
            if not all(np.isfinite(result).all() for result in results.values()):
                raise EdgebertError("the file gives NaN or infinity")
    except EdgebertError as error:
        path.unlink(missing_ok=True)
        raise _refusal(family, error.what) from None


def _converted(source: Source, lengths: tuple[int, ...]) -> ModelT:
    """The flatbuffer object that litert-torch makes, one trace a length."""
    import torch

    with quiet(capture=True) as description:
        import litert_torch
        from litert_torch._config import config

        shown, config.show_progress = config.show_progress, False
        converter = litert_torch.Converter()
        module = _named(source)
        for length in lengths:
            sample = {name: torch.ones(1, length, dtype=torch.int32) for name in source.inputs}
            converter.add_signature(f"seq{length}", module, None, sample)
        error = None
        try:
            with torch.no_grad():
                content = converter.convert().model_content()
        except Exception as raised:  # torch's tracer, jax's lowering and MLIR raise whatever they like
            raise_if_fault(raised)
            error = raised
        finally:
            config.show_progress = shown
    if error is not None:
        raise _refusal(source.family, _reason(error, description.text)) from None
    return file.parse(content)


def _named(source: Source) -> nn.Module:
    """The graph with named inputs and outputs, which become the signature's."""
    from torch import nn

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = source.graph

        def forward(self, **tensors: Tensor) -> dict[str, Tensor]:
            results = self.core(*(tensors[name] for name in source.inputs))
            return dict(zip(source.outputs, results, strict=True))

    return Named().eval()


def _reason(error: Exception, description: str) -> str:
    """The operator that could not be lowered where the libraries name one, else the first line of what they raised."""
    text = f"{error}\n{description}"
    for pattern in (r"[Ll]owering not found: (\S+)", r"failed to legalize operation '([^']+)'", r"'(\w+\.\w+)' op"):
        if result := re.search(pattern, text):
            return f"LiteRT has no form of its operator {result[1]}"
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"litert-torch gives up: {first[:200]}"


def _refusal(family: str, reason: str) -> EdgebertError:
    return EdgebertError(
        f"a {family} model cannot be written as TFLite: {reason}",
        hint="Take ONNX for this family (--format onnx), or distil it into a family that TFLite takes, such as bert.",
    )


def reduce(source: Source, artifact: Artifact, precision: str, variant: QuantizationVariant, folder: Path) -> Artifact:
    """model.tflite in a reduced precision, with the metadata of the float file `artifact`.

    Raises:
        EdgebertError: a calibrated precision without calibration rows, or nothing to reduce.
    """
    files = file.read_files(artifact.path)
    info = file.read_info(artifact.path)
    model = file.read_model(artifact.path)
    places = names.find_places(model)
    names.mark(model)
    try:
        with quiet(capture=True):
            content = quantize(bytes(file.pack(model)), places, precision, variant, source.calibration, info)
    except EdgebertError:
        raise
    except Exception as error:  # the quantizer raises whatever its steps do
        raise_if_fault(error, folder)
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise _refusal(info["family"], f"ai-edge-quantizer gives up on {precision}: {first[:200]}") from None
    model = file.parse(content)
    names.unmark(model)
    _scale_inputs_as_xnnpack(model)
    path = folder / NAME
    fresh = file.associated_files({**info, "precision": precision}, (), None)
    file.write(path, model, files | fresh)
    _prove(path, source.family)
    return describe(path, "tflite", precision, dict(variant.options))


def _scale_inputs_as_xnnpack(model: ModelT) -> None:
    """Lets built-in kernels take an input's whole range for its 256 steps, as XNNPACK always does.

    The quantizer leaves the flag off: without XNNPACK a step would be that of the larger side twice over, and outputs
    would differ between devices by some percent.
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            if hasattr(operator.builtinOptions, "asymmetricQuantizeInputs"):
                operator.builtinOptions.asymmetricQuantizeInputs = True


def open_session(path: Path, threads: int) -> TfliteSession:
    return TfliteSession(path, threads)


def open_without_xnnpack(path: Path, threads: int) -> TfliteSession:
    return TfliteSession(path, threads, delegate=False)


def accelerator_fallbacks(path: Path) -> Mapping[str, int]:
    """Operators outside XNNPACK by name, counted in one signature, as LiteRT's delegate itself decides on this machine;
    and what keeps it off an NPU or a GPU, see `edgebert.converters._tflite_delegates`."""
    left: Counter[str] = delegated(path)[1]
    return dict(sorted(left.items())) | findings(path)


_ONE_SCALE = "it knows one scale a weight tensor, and silently gives nonsense for one a channel; take int8-tensor"
OLDER_RUNTIMES = {
    # 2.14.0 of 2023, the last of that name and the only one for 32-bit ARM. fp32, fp16, int8-weights and int8-tensor were
    # compared with ai-edge-litert's results there (tests/test_tflite.py).
    "tflite-runtime": {
        "int8": _ONE_SCALE,
        "int8-static": _ONE_SCALE,
        "int4-embedding": "it has no lookup in a 4-bit table; take int8-tensor",
    }
}

CONVERTER = Converter(
    name="tflite",
    families_without={
        "funnel": "it cannot read a row of one token",
        "xlnet": "LiteRT has no form of an operator of it",
        **dict.fromkeys(READ_PADDING, "padding changes its answers, and a file of fixed lengths pads its rows"),
    },
    title="TFLite, run by LiteRT",
    suffix=".tflite",
    extra="tflite",
    needs=("litert_torch", "ai_edge_quantizer", "ai_edge_litert"),
    runtime="ai_edge_litert",
    export=export,
    precisions=PRECISIONS,
    reduce=reduce,
    open=open_session,
    open_otherwise={"without XNNPACK": open_without_xnnpack},
    accelerator_fallbacks=accelerator_fallbacks,
    contents=contents,
    older_runtimes=OLDER_RUNTIMES,
)
