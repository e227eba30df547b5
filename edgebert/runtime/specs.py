"""What goes into a model and what comes out of it: names, types and axes. The names of the inputs are written here alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Axis = str  # "batch", "sequence", "labels", "width" and what else a head names
BATCH: Axis = "batch"
SEQUENCE: Axis = "sequence"
INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
TOKEN_TYPE_IDS = "token_type_ids"


@dataclass(frozen=True)
class InputSpec:
    """One input of an encoder.

    Attributes:
        padding: what stands at padding: the padding token's id, or 0.
    """

    name: str
    dtype: str = "int64"
    axes: tuple[Axis, ...] = (BATCH, SEQUENCE)
    padding: Literal["pad_id", "zero"] = "zero"


@dataclass(frozen=True)
class OutputSpec:
    """One output of a head, or of a model.

    Attributes:
        axes: the batch first; a second axis `sequence` says that the output has one entry a token.
    """

    name: str
    dtype: str = "float32"
    axes: tuple[Axis, ...] = (BATCH, "labels")

    @property
    def per_token(self) -> bool:
        """Whether it has one entry a token along its second axis: what is cut with the row, and what padding hides."""
        return self.axes[1:2] == (SEQUENCE,)


INPUTS = (InputSpec(INPUT_IDS, padding="pad_id"), InputSpec(ATTENTION_MASK), InputSpec(TOKEN_TYPE_IDS))
INPUT_NAMES = tuple(spec.name for spec in INPUTS)  # in the order in which a model takes them
_BY_NAME = {spec.name: spec for spec in INPUTS}


def input_specs(names: Iterable[str]) -> tuple[InputSpec, ...]:
    """The inputs of these names; one that is not ours is a plain int64 input of the usual axes."""
    return tuple(_BY_NAME.get(name, InputSpec(name)) for name in names)


def padding_of(name: str, pad_id: int) -> int:
    """What an input has at padding."""
    spec = _BY_NAME.get(name)
    return pad_id if spec is not None and spec.padding == "pad_id" else 0


def specs_by_name(outputs: Mapping[str, np.ndarray], declared: Sequence[OutputSpec] = ()) -> dict[str, OutputSpec]:
    """A spec for each output of a run: the declared one, or what its name and rank say where nothing is declared."""
    known = {spec.name: spec for spec in declared}
    return {name: known.get(name) or guessed_output(name, array.ndim) for name, array in outputs.items()}


def file_outputs(inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> tuple[OutputSpec, ...]:
    """The outputs of a file by its own signature, as `edgebert.runtime.session.Session.signature` gives it.

    A file whose lengths vary says which axes are the sequence's: their size reads as the second one of its inputs does. A
    file of one fixed length does not say so, and the outputs' names do.
    """
    length = next((item["shape"][1] for item in inputs if len(item["shape"]) > 1), None)
    results = []
    for item in outputs:
        shape, spec = item["shape"], guessed_output(item["name"], len(item["shape"]), str(item["type"]))
        if isinstance(length, str):
            second = SEQUENCE if shape[1:2] == [length] else "axis 1"
            spec = replace(spec, axes=(BATCH, *(second, *spec.axes[2:])[: len(shape) - 1]))
        results.append(spec)
    return tuple(results)


def guessed_output(name: str, rank: int, dtype: str = "float32") -> OutputSpec:
    """What an output is by its name and rank alone. Only for a bare file that is opened without the model's heads and does
    not say it itself: logits of three axes, and where a span starts and ends, have one entry a token."""
    per_token = name.endswith(("start_logits", "end_logits")) or (name.endswith("logits") and rank == 3)
    rest = tuple(f"axis {i}" for i in range(1, rank))
    return OutputSpec(name, dtype, (BATCH, SEQUENCE, *rest[1:]) if per_token else (BATCH, *rest))
