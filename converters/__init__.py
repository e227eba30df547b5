"""File formats: one module each, found by the registry. A converter writes a file and opens it again.

Converters know models and rows, never compression methods. Modules whose name begins with `_` are parts of a converter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgebert.run import sha256_file
from edgebert.types import Artifact

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

CALIBRATION_ROWS = 64  # real rows that static precisions are calibrated on
Shape = Literal["fixed", "enumerated", "ranged"]
Batch = Mapping[str, "np.ndarray"]  # int64 input_ids, attention_mask, token_type_ids, each (batch, seq)


def per_token(name: str, rank: int) -> bool:
    """Whether an output has one entry a token along its second axis: what is cut with the row, and what padding hides."""
    return name.endswith(("start_logits", "end_logits")) or (name.endswith("logits") and rank == 3)


class Runner(Protocol):
    """A model that runs, in whatever runtime."""

    runtime: str
    runtime_version: str

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Float32 outputs by name, for any batch and length up to the model's.

        `logits` (batch, seq, n_labels) or (batch, n_labels); `start_logits` and `end_logits` (batch, seq);
        `sentence_embedding` (batch, width). Inputs that the model does not have are ignored. A file of fixed lengths is
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
        max_length: most tokens that the model's positions allow.
        lengths: ascending; for formats that fix the length of a file or of its signatures.
        calibration: real batches of one row; only static precisions read them.
        shape: how a format that can choose takes lengths; None leaves it to the converter.
        tokenizer: the tokenizer.json that belongs to the model, if there is one.
    """

    graph: nn.Module
    family: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    vocab_size: int
    max_length: int
    pad_id: int = 0
    lengths: tuple[int, ...] = (32, 64, 128)
    labels: tuple[str, ...] = ()
    calibration: Sequence[Batch] = ()
    tokenizer: Path | None = None
    title: str = ""
    shape: Shape | None = None


@dataclass(frozen=True)
class Trial:
    """One recipe of a reduced precision that a converter may try: a name and the options that make it.

    Attributes:
        spare: slower or less portable than the others, and tried only where none of them keeps the predictions.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    spare: bool = False


@dataclass(frozen=True)
class Precision:
    """A reduced precision that a converter writes.

    Attributes:
        trials: what to choose from by the task's metric; of those that score alike the first is taken, so the one that is
            preferred, for its speed or its portability, stands first.
        calibrated: it needs `Source.calibration`.
        kind: row of the tolerance table (`edgebert.verify.tolerances.TOLERANCES`).
        compute: what the matrix products run in: fp32, fp16 or int8.
        bits, embedding_bits: stored bits of a weight of a matrix, and of the word table.
    """

    title: str
    trials: Sequence[Trial] = (Trial("default"),)
    calibrated: bool = False
    kind: str = "int8"
    compute: str = "int8"
    bits: int = 8
    embedding_bits: int = 8


@dataclass(frozen=True)
class Operator:
    """A step of a file's graph.

    Attributes:
        kind: its type with the attributes that decide what it computes; "" for one that a reduced precision may add,
            drop or replace, such as a product or a cast.
        inputs, outputs: names of what it reads and makes; of constants too.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """What a file is made of, so that a reduced one can be held against the float32 one that it was made from.

    Attributes:
        weights: float arrays by their names in the file; those stored in few bits as what these stand for.
        operators: of the whole graph; () where the format's graph is made anew for each precision.
        outputs: names of the graph's results.
    """

    weights: Mapping[str, np.ndarray]
    operators: Sequence[Operator] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Converter:
    """The declaration `CONVERTER` of each module of this package. Declaring imports nothing heavy.

    Attributes:
        extra: the optional dependency that brings its libraries: `pip install "edgebert[EXTRA]"`; "" for none.
        needs: modules that must be importable to write a file.
        runtime: module that runs the file here.
        export: (source, folder) -> Artifact in float32. Raises EdgebertError when the family cannot be expressed.
        precisions: reduced precisions by name.
        reduce: (source, float artifact, precision, trial, folder) -> Artifact.
        open: (path, threads) -> Session; threads 0 means all cores.
        open_otherwise: ways in which devices run a file with other kernels, by what they are called in a message: a file
            must pass parity with each.
        with_tokenizer: (file, tokenizer.json, folder, texts) -> Artifact of a file that reads text, proven on the texts
            to give the tokenizer's ids and offsets; None where the format cannot.
        shapes: what `Source.shape` may ask for; () where the format has one way.
        older_runtimes: runtimes that lag behind ours, each with the precisions that it computes wrongly and why.
        families_without: families that it cannot express with any head, and why, as docs/formats.md found.
        is_timed: whether the time of a run on this machine says anything of a device. Our interpreter's does not.
        contents: weights and operators of a file, for the gate; None where the format cannot be read so.
        leaves_accelerator: what in a file keeps it, or parts of it, off the device's accelerator: finding -> count.
    """

    name: str
    title: str
    extra: str
    needs: tuple[str, ...]
    runtime: str
    export: Callable[[Source, Path], Artifact]
    precisions: Mapping[str, Precision]
    reduce: Callable[[Source, Artifact, str, Trial, Path], Artifact]
    open: Callable[[Path, int], Session]
    leaves_accelerator: Callable[[Path], Mapping[str, int]]
    contents: Callable[[Path], Contents] | None = None
    open_otherwise: Mapping[str, Callable[[Path, int], Session]] = field(default_factory=dict)
    with_tokenizer: Callable[[Path, Path, Path, Sequence[str]], Artifact] | None = None
    shapes: tuple[Shape, ...] = ()
    older_runtimes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    families_without: Mapping[str, str] = field(default_factory=dict)
    is_timed: Callable[[], bool] = lambda: True


def describe(path: Path, format: str, precision: str, options: Mapping[str, Any] | None = None) -> Artifact:
    """The Artifact of a file or folder: its size in bytes, and a sha256 that for a folder covers names and contents."""
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    size = sum(item.stat().st_size for item in files)
    if path.is_file():
        digest = sha256_file(path)
    else:
        listing = "".join(f"{item.relative_to(path).as_posix()}\0{sha256_file(item)}\n" for item in files)
        digest = hashlib.sha256(listing.encode()).hexdigest()
    return Artifact(f"{format}-{precision}", format, precision, path, size, digest, dict(options or {}))
