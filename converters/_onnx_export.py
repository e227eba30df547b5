"""A graph of torch as float32 ONNX, proven on shapes that the exporter did not see.

torch has two exporters and neither does every family. The older one is quicker and its graphs are the ones ONNX Runtime
knows how to fuse, so it goes first; the newer one is tried where the older fails or writes a graph that is only right
for the example it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from edgebert.converters._onnx_file import EXTERNAL_FROM, NAME, first_line, load, scratch, write
from edgebert.converters._onnx_pointwise import pointwise_as_products
from edgebert.errors import EdgebertError
from edgebert.faults import raise_if_fault
from edgebert.runtime.quiet import quiet
from edgebert.runtime.scratch import scratch_folder
from edgebert.runtime.session import Batch, Runner, Source
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS
from edgebert.types import Artifact

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

OPSET = {"torchscript": 17, "dynamo": 18}  # LayerNormalization is one operator from 17 on; the newer one begins at 18
SAME = 1e-4  # largest difference of an output from torch's, times the largest output where that is over 1
TRACED = (2, 8)  # batch and length of the example
LONGEST = 512  # tokens of the longest check; beyond it attention alone takes gigabytes


def export(source: Source, folder: Path, *, external_from: int = EXTERNAL_FROM) -> Artifact:
    """float32, dynamic batch and length, int64 inputs, outputs by the names of `source.outputs`.

    The artifact's options say which exporter wrote it: {"exporter": "torchscript" or "dynamo"}.

    Raises:
        EdgebertError: neither exporter writes a file that computes what the graph computes; both reasons are given.
    """
    from edgebert.converters.onnx import OnnxSession

    reasons = []
    for exporter in ("torchscript", "dynamo"):
        with scratch(folder) as work:
            try:
                with quiet(capture=True), pointwise_as_products():
                    _EXPORTERS[exporter](source, work / NAME)
                check(source, OnnxSession(work / NAME, 1))
            except Exception as error:
                raise_if_fault(error, folder)
                reasons.append(f"by {exporter} {error.what if isinstance(error, EdgebertError) else first_line(error)}")
                continue
            options = {"exporter": exporter, "opset": OPSET[exporter]}
            model = load(work / NAME)
            untie(model)
            forget_sources(model)
            return write(model, source, "fp32", folder, options, external_from=external_from)
    raise EdgebertError(
        f"{source.family} cannot be written as ONNX: {', '.join(reasons)}",
        where=source.title or None,
        hint="Use another teacher: bert, roberta, electra and distilbert convert to every format.",
    )


def untie(model: ModelProto) -> None:
    """Lets nodes read shared weights themselves, instead of copies by Identity that quantizers do not see through."""
    weights = {item.name for item in model.graph.initializer}
    results = {item.name for item in model.graph.output}
    copies = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in weights and node.output[0] not in results
    }
    kept = [node for node in model.graph.node if node.op_type != "Identity" or node.output[0] not in copies]
    for node in kept:
        node.input[:] = [copies.get(name, name) for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def forget_sources(model: ModelProto) -> None:
    """Removes what the exporters note of each node for their own debugging: lines and folders of the machine that exported
    it, which are nobody's business, and which would make the file another one elsewhere."""
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, *model.functions):
        item.doc_string = ""
        del item.metadata_props[:]
    for node in (node for function in model.functions for node in function.node):
        node.doc_string = ""
        del node.metadata_props[:]


def check(source: Source, session: Runner) -> float:
    """Largest difference between a file and its graph over batches of other sizes and lengths, padded rows among them.

    Returns:
        The largest absolute difference of an output at a position that is not padding.

    Raises:
        EdgebertError: the file differs by more than `SAME`, or does not run.
    """
    worst = 0.0
    for batch in _batches(source):
        shape = "x".join(str(n) for n in batch[INPUT_IDS].shape)
        results, expected = session.run(batch), reference(source, batch)
        mask = batch[ATTENTION_MASK].astype(bool)
        for spec in source.output_specs:
            name = spec.name
            ours, torchs = results[name], expected[name]
            if ours.shape != torchs.shape:
                raise EdgebertError(f"{name} has shape {ours.shape} for a batch of {shape}, torch's has {torchs.shape}")
            if spec.per_token:
                ours, torchs = ours[mask], torchs[mask]
            difference = float(np.abs(ours - torchs).max())
            if not difference <= SAME * max(1.0, float(np.abs(torchs).max())):  # written so that NaN fails too
                raise EdgebertError(f"{name} differs from torch by {difference:.2g} for a batch of {shape}")
            worst = max(worst, difference)
    return worst


def sample(source: Source) -> list[Batch]:
    """Rows to look inside a model with: real ones where there are some."""
    return list(source.calibration[:8]) or [random_rows(source, *TRACED, seed=4)]


def check_finite(source: Source, session: Runner) -> None:
    """Runs a file on one padded batch. Raises EdgebertError when it does not run, or gives NaN or infinity."""
    for name, output in session.run(sample(source)[0]).items():
        if not np.isfinite(output).all():
            raise EdgebertError(f"{name} of the file is not finite", hint="Choose another precision.")


def reference(source: Source, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the graph computes in torch, by output name."""
    import torch

    with torch.inference_mode():
        outputs = source.graph(*(torch.from_numpy(batch[name]) for name in source.inputs))
    return {name: output.float().numpy() for name, output in zip(source.outputs, outputs, strict=True)}


def values(model: ModelProto, tensors: Sequence[str], rows: Iterable[Batch]) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors inside a model, by name, for each row."""
    import onnx
    import onnxruntime as ort

    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:]
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    with scratch_folder("onnx-") as folder:
        path = folder / "seen.onnx"
        onnx.save(seen, str(path), save_as_external_data=True)
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    for row in rows:
        yield from zip(tensors, session.run(list(tensors), {name: row[name] for name in names}), strict=True)


def _torchscript(source: Source, path: Path) -> None:
    import torch

    unheard = mock.patch.object(torch._C, "_jit_onnx_log", lambda *_: None)  # prints the whole graph when it fails
    with torch.inference_mode(), unheard:
        torch.onnx.export(
            source.graph,
            _example(source),
            str(path),
            input_names=list(source.inputs),
            output_names=list(source.outputs),
            dynamic_axes=_axes(source),
            opset_version=OPSET["torchscript"],
            dynamo=False,
        )


def _dynamo(source: Source, path: Path) -> None:
    import torch

    batch, seq = torch.export.Dim("batch", max=4096), torch.export.Dim("seq", min=2, max=source.max_length)
    torch.onnx.export(
        source.graph,
        _example(source),
        str(path),
        input_names=list(source.inputs),
        output_names=list(source.outputs),
        dynamic_shapes=(tuple({0: batch, 1: seq} for _ in source.inputs),),  # forward takes *tensors: one tuple
        opset_version=OPSET["dynamo"],
        dynamo=True,
        external_data=True,
        verbose=False,
    )


_EXPORTERS: dict[str, Callable[[Source, Path], None]] = {"torchscript": _torchscript, "dynamo": _dynamo}


def _axes(source: Source) -> dict[str, dict[int, str]]:
    """Names of the dynamic dimensions."""
    axes = {name: {0: "batch", 1: "seq"} for name in source.inputs}
    return axes | {
        spec.name: {0: "batch", 1: "seq"} if spec.per_token else {0: "batch"} for spec in source.output_specs
    }


def _example(source: Source) -> tuple[Tensor, ...]:
    import torch

    batch = random_rows(source, *TRACED, seed=0)
    return tuple(torch.from_numpy(batch[name]) for name in source.inputs)


def _batches(source: Source) -> Iterator[dict[str, np.ndarray]]:
    """Sizes and lengths unlike the example's: a row of the greatest length, three padded rows, one token alone."""
    longest = min(source.max_length, LONGEST)
    yield random_rows(source, 3, min(21, longest), seed=1)
    yield random_rows(source, 1, longest, seed=2)
    yield random_rows(source, 1, min(3, longest), seed=3)


def random_rows(source: Source, n: int, length: int, seed: int) -> dict[str, np.ndarray]:
    """Random ids; every row but the first is padded, each one further."""
    ids = np.random.default_rng(seed).integers(0, source.vocab_size, (n, length))
    mask = np.ones_like(ids)
    for row in range(1, n):
        mask[row, max(1, length - 3 * row - 2) :] = 0
    ids[mask == 0] = source.pad_id
    return {INPUT_IDS: ids, ATTENTION_MASK: mask, TOKEN_TYPE_IDS: np.zeros_like(ids)}
