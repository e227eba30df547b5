"""What a file is made of a model by, and what runs it: a source, a session, a batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgebert.errors import EdgebertError, control_in, shown
from edgebert.runtime.specs import INPUT_NAMES, InputSpec, OutputSpec
from edgebert.types import Shape

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgebert.quantization import QuantSpec

Batch = Mapping[str, "np.ndarray"]  # int64, each (batch, seq), by the names of `edgebert.runtime.specs.INPUTS`


class Runner(Protocol):
    """A model that runs, in whatever runtime."""

    runtime: str
    runtime_version: str

    @property
    def output_specs(self) -> Sequence[OutputSpec]:
        """Its outputs: as the model's heads declare them, or of a file, `edgebert.runtime.specs.file_outputs`."""

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Float32 outputs by name, for any batch and length up to the model's.

        Each has the axes that `output_specs` says. Inputs that the model does not have are ignored. A file of fixed lengths is
        run at the smallest that fits, padded, and its outputs are cut back to the batch's own length.

        Raises:
            EdgebertError: the batch is longer than the file takes.
        """


class Session(Runner, Protocol):
    """A loaded file, ready to run: what verification and profiling see of every runtime.

    Attributes:
        labels: the output labels that the file itself carries, in order; () where it carries none.
        metadata: what else the file says of itself, as far as it does: precision, pad_id, max_length, tokenizer_sha256.
    """

    labels: tuple[str, ...]
    metadata: Mapping[str, Any]

    def signature(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Inputs and outputs as {name, type, shape}, read from the file; a text in a shape is a dynamic dimension."""


@dataclass(frozen=True)
class Source:
    """A model as a converter takes it.

    Attributes:
        graph: eval-mode module of positional int inputs (batch, seq) in the order of `inputs`; returns a tuple of
            tensors in the order of `outputs`. Masks inside are clamped to -1e4, so float16 stays finite.
        family: transformers' model_type.
        input_specs, output_specs: what the graph takes and gives, in order.
        max_length: most tokens that the model's positions allow.
        lengths: ascending; for formats that fix the length of a file or of its signatures.
        calibration: real batches of one row; only static precisions read them.
        shape: how a format that can choose takes lengths; None leaves it to the converter.
        tokenizer: the tokenizer.json that belongs to the model, if there is one.
        quantization: scales that the model was trained with, and that a file in few bits takes (`Precision.stored`).
    """

    graph: nn.Module
    family: str
    input_specs: tuple[InputSpec, ...]
    output_specs: tuple[OutputSpec, ...]
    vocab_size: int
    max_length: int
    pad_id: int = 0
    lengths: tuple[int, ...] = (32, 64, 128)
    labels: tuple[str, ...] = ()
    calibration: Sequence[Batch] = ()
    tokenizer: Path | None = None
    title: str = ""
    shape: Shape | None = None
    quantization: QuantSpec | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(spec.name for spec in self.input_specs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(spec.name for spec in self.output_specs)


# ---------------------------------------------------------------- what a file says of itself


AGAIN = "Only what edgebert wrote is read so: convert the checkpoint again."


def stated_labels(text: str, where: str) -> tuple[str, ...]:
    """The labels in a file's metadata. Raises EdgebertError where they are no JSON list of texts."""
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError):
        labels = None
    return check_labels(stated_texts(labels, "labels", where, text), where)


def stated_texts(value: object, name: str, where: str, written: str = "") -> list[str]:
    """A list of texts in a file's metadata. Raises EdgebertError for anything else, as it was `written`."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        told = shown(written or repr(value))
        raise EdgebertError(f"the {name} in its metadata are no list of texts: {told}", where=where, hint=AGAIN)
    return value


def check_labels(labels: Sequence[str], where: str) -> tuple[str, ...]:
    """The labels of a file. Raises EdgebertError for one that a terminal would obey."""
    if label := control_in(labels):
        raise EdgebertError(f"the label '{label}' of the file holds a control character", where=where, hint=AGAIN)
    return tuple(labels)


def stated_count(value: object, name: str, where: str) -> int:
    """A whole number of at least 0 in a file's metadata, as one or as its text. Raises EdgebertError for anything else."""
    text = str(value)
    if isinstance(value, bool | float) or not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise EdgebertError(f"the {name} in its metadata is {shown(repr(value))}", where=where, hint=AGAIN)
    return int(text)


def check_inputs(names: Iterable[str], where: str) -> None:
    """Raises EdgebertError where a file takes nothing, or something that a `Batch` does not hold."""
    names = list(names)
    if strange := [name for name in names if name not in INPUT_NAMES] or ([] if names else ["nothing"]):
        what = f"it takes {shown(str(strange[0]))}; the inputs of a text are {', '.join(INPUT_NAMES)}"
        raise EdgebertError(what, where=where, hint=AGAIN)
