"""ExecuTorch: PyTorch's own edge format (.pte), lowered to XNNPACK and run by the runtime of its package.

A file takes one row of any length up to the model's; the rows of a batch are run in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgebert.converters import Contents, Converter, Precision, QuantizationVariant, describe
from edgebert.converters._executorch_contents import FORWARD, contents, portable_operators
from edgebert.converters._facts import FACTS, facts_of, read_facts
from edgebert.converters._onnx_export import check, check_finite
from edgebert.converters._onnx_file import first_line
from edgebert.devices.machine import usable_cores
from edgebert.errors import EdgebertError, name_list, shown, unknown
from edgebert.faults import raise_if_fault
from edgebert.runtime.quiet import quiet
from edgebert.runtime.scratch import scratch_folder
from edgebert.runtime.session import AGAIN, Batch, Source, stated_count
from edgebert.runtime.specs import INPUT_IDS, OutputSpec, file_outputs
from edgebert.types import Artifact

T = TypeVar("T")
NAME = "model.pte"
TABLE_BITS = {"int8": 8, "int4-embedding": 4}
# Operators that only hand numbers on, or that every graph has: lookups.
MOVED = ("view", "expand", "permute", "slice", "select", "unsqueeze", "squeeze", "clone", "cat", "copy", "sym_size",
         "embedding")  # fmt: skip


def export(source: Source, folder: Path) -> Artifact:
    """float32, one row of any length, int64 inputs.

    Raises:
        EdgebertError: torch cannot export the graph, XNNPACK leaves a product, or the file computes something else.
    """
    return _write(source, "fp32", {}, folder)


def reduce(source: Source, artifact: Artifact, precision: str, variant: QuantizationVariant, folder: Path) -> Artifact:
    """The file of a precision, from the graph in torch.

    Raises:
        RequestError: an unknown precision.
        EdgebertError: as `export`.
    """
    if precision not in PRECISIONS:
        raise unknown("ExecuTorch precision", precision, PRECISIONS)
    return _write(source, precision, variant.options, folder)


def _write(source: Source, precision: str, options: Mapping[str, Any], folder: Path) -> Artifact:
    """Writes under a name of its own, proves, and moves into place."""
    try:
        with quiet(capture=True):
            from edgebert.converters import _executorch_lower as lower

            program = lower.traced(source, source.graph)
            if precision in TABLE_BITS:
                from edgebert.converters._executorch_int8 import quantized

                program = quantized(source, program, TABLE_BITS[precision])
            data = lower.lowered(program, {FACTS: facts_of(source, precision, max_length=source.max_length)})
    except EdgebertError:
        raise
    except Exception as error:
        raise_if_fault(error, folder)
        what = f"{source.family} cannot be written as ExecuTorch {precision}: {first_line(error)}"
        raise EdgebertError(what, where=source.title or None) from error
    with scratch_folder(".executorch-", str(folder)) as beside:
        created = beside / NAME
        created.write_bytes(data)
        (check if precision == "fp32" else check_finite)(source, ExecutorchSession(created, 1))
        created.replace(folder / NAME)
    return describe(folder / NAME, "executorch", precision, options)


class Pool:
    """The runtime's threads, which are the process's: XNNPACK keeps those that it found when a file was loaded, so a file is
    loaded anew after their number has changed."""

    threads = 0
    changes = 0

    @classmethod
    def resize(cls, threads: int) -> int:
        """The number of changes so far, this one included."""
        from executorch.extension.pybindings import portable_lib

        if threads != cls.threads:
            portable_lib._unsafe_reset_threadpool(threads)
            cls.threads, cls.changes = threads, cls.changes + 1
        return cls.changes


class ExecutorchSession:
    """A file in ExecuTorch on the CPU, row by row. threads 0 means all cores."""

    runtime: str = "executorch"

    def __init__(self, path: Path, threads: int) -> None:
        from importlib.metadata import version

        self._path, self._threads, where = path, threads or usable_cores(), str(path)
        self.runtime_version = version("executorch")
        self._load()
        facts = read_facts(self._stated(), where)
        self.labels, self._inputs = facts.labels, facts.inputs
        self._max_length = stated_count(facts.more.get("max_length"), "max_length", where)
        self.metadata: Mapping[str, object] = {
            "precision": facts.precision,
            "pad_id": facts.pad_id,
            "max_length": self._max_length,
        }
        self._outputs = self._shapes(facts.outputs)

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Float32 outputs by name; see `edgebert.runtime.session.Runner`.

        Raises:
            EdgebertError: more tokens than the model takes, or ExecuTorch fails.
        """
        import torch

        length = batch[INPUT_IDS].shape[1]
        if length > self._max_length:
            what = f"the batch has {length} tokens, the model takes {self._max_length}"
            raise EdgebertError(what, where=str(self._path))
        if Pool.resize(self._threads) != self._loaded:
            self._load()
        rows = []
        for i in range(len(batch[INPUT_IDS])):
            fed = [torch.from_numpy(np.ascontiguousarray(batch[name][i : i + 1])) for name in self._inputs]
            try:
                rows.append([output.numpy() for output in self._method.execute(fed)])
            except Exception as error:
                what = f"the file does not run on a row of {length} tokens: {first_line(error)[:160]}"
                raise EdgebertError(what, where=str(self._path)) from None
        return {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(self._outputs)}

    @cached_property
    def output_specs(self) -> tuple[OutputSpec, ...]:
        return file_outputs(*self.signature())

    def signature(self) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """Inputs and outputs as {name, type, shape}; a text in a shape is a dynamic dimension."""
        inputs: list[dict[str, object]] = [
            {"name": name, "type": "int64", "shape": [1, "seq"]} for name in self._inputs
        ]
        return inputs, [{"name": name, "type": "float32", "shape": shape} for name, shape in self._outputs.items()]

    def _load(self) -> None:
        """Raises EdgebertError where the file is missing, damaged or none of ExecuTorch's."""
        if not self._path.is_file():
            raise EdgebertError("there is no such file", where=str(self._path))
        try:
            with quiet(capture=True):  # it tells of the processor
                import executorch.kernels.quantized  # noqa: F401 - the lookups in few bits
                from executorch.runtime import Runtime

                self._loaded = Pool.resize(self._threads)
                self._program = Runtime.get().load_program(self._path)
                self._method = self._program.load_method(FORWARD)
        except Exception as error:
            raise_if_fault(error, self._path)
            why = _missing(self._path) or first_line(error)
            raise EdgebertError(f"ExecuTorch refuses the file: {why}", where=str(self._path)) from None

    def _stated(self) -> object:
        """The text in which the file says what it is; None where it says nothing."""
        try:
            with quiet(capture=True):
                return self._program.load_method(FACTS).execute([])[0]
        except Exception:
            return None

    def _shapes(self, stated: Mapping[str, bool]) -> dict[str, list[object]]:
        """Of each output by its name. Raises EdgebertError where the file says other than its method has."""
        about = self._method.metadata
        given = [about.output_tensor_meta(i) for i in range(about.num_outputs())]
        if about.num_inputs() != len(self._inputs) or len(given) != len(stated):
            what = "it does not name each of its inputs and outputs"
            raise EdgebertError(what, where=str(self._path), hint=AGAIN)
        results = {}
        for (name, per_token), tensor in zip(stated.items(), given, strict=True):
            sizes: list[object] = list(tensor.sizes())
            if per_token and sizes[1:2] != [self._max_length]:
                what = f"it says that {shown(name)} has an entry a token, of {self._max_length}; its sizes are {sizes}"
                raise EdgebertError(what, where=str(self._path), hint=AGAIN)
            results[name] = [1, "seq", *sizes[2:]] if per_token else sizes
        return results


def _missing(path: Path) -> str:
    """Names the operators of a file that the runtime here does not have; "" where that is not why it refuses."""
    try:
        from executorch.runtime import Runtime

        missing = sorted(set(portable_operators(path)) - Runtime.get().operator_registry.operator_names)
    except Exception:  # no file of ExecuTorch's at all
        return ""
    return f"it has no kernel for {name_list(missing)}" if missing else ""


def accelerator_fallbacks(path: Path) -> dict[str, int]:
    """Operators that XNNPACK leaves to the portable kernels, but for lookups and those that only hand numbers on."""
    left = Counter(name.partition("::")[2].partition(".")[0] for name in _read(portable_operators, path))
    return {name: n for name, n in left.items() if not any(word in name for word in MOVED)}


def read_contents(path: Path) -> Contents:
    """Weights as the floats that they stand for, and operators. Raises EdgebertError where the file cannot be read."""
    return _read(contents, path)


def _read(read: Callable[[Path], T], path: Path) -> T:
    try:
        with quiet(capture=True):
            return read(path)
    except Exception as error:
        raise_if_fault(error, path)
        raise EdgebertError(f"ExecuTorch cannot read the file: {first_line(error)}", where=str(path)) from None


PRECISIONS = {
    "int8": Precision("8-bit weights, activations scaled at run time by the token"),
    "int4-embedding": Precision("the same with the word table in 4 bits", embedding_bits=4),
}

CONVERTER = Converter(
    name="executorch",
    title="ExecuTorch",
    suffix=".pte",
    extra="executorch",
    needs=("executorch", "torchao", "torch"),
    runtime="executorch",
    families_without={
        "deberta": "its attention reads a place that torch.export does not know",
        "funnel": "it cannot read a row of one token",
        "xlnet": "torch.export does not take rows of any length of it",
    },
    export=export,
    precisions=PRECISIONS,
    reduce=reduce,
    open=ExecutorchSession,
    contents=read_contents,
    accelerator_fallbacks=accelerator_fallbacks,
    runtime_on_device=False,  # here it comes with torch, on a device it does not
)
