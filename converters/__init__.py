"""File formats: one module each, found by the registry. A converter writes a file and opens it again.

Converters know models and rows, never compression methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgebert.types import Artifact

if TYPE_CHECKING:
    import numpy as np


class Session(Protocol):
    """A loaded file, ready to run: what verification and profiling see of every runtime."""

    runtime: str
    runtime_version: str

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, seq, n_labels) of int64 `input_ids`, `attention_mask`, `token_type_ids`, each (batch, seq).

        Inputs that the model does not have are ignored.
        """


@dataclass(frozen=True)
class Trial:
    """One recipe of a reduced precision that a converter may try: a name and the options that make it."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Converter:
    """The declaration `CONVERTER` of each module of this package.

    Attributes:
        export: (model, folder) -> Artifact in float32. Raises EdgebertError when the family cannot be expressed.
        precisions: reduced precisions by name, each with the trials to choose from.
        reduce: (float artifact, precision, trial, folder) -> Artifact.
        runtime: module that runs the file.
        open: (path, threads) -> Session; threads 0 means all cores.
    """

    name: str
    title: str
    export: Callable[[Any, Path], Artifact]
    precisions: Mapping[str, Sequence[Trial]]
    reduce: Callable[[Artifact, str, Trial, Path], Artifact]
    runtime: str
    open: Callable[[Path, int], Session]
