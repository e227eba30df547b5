"""The model in torch on real rows and edge rows: what every file is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from edgebert.errors import EdgebertError, first_line
from edgebert.quantization import QuantSpec
from edgebert.runtime.batching import pad_batch
from edgebert.runtime.session import Batch, Runner
from edgebert.runtime.specs import INPUT_IDS
from edgebert.types import Feature, Outputs
from edgebert.verify.answers import Answer, answers_of, guess_answers
from edgebert.verify.edges import edges_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


BEGINNING = 16  # tokens: the fewer, the rarer is a number midway between two steps, see TOLERANCES["trained"]


@dataclass(frozen=True)
class Reference:
    """The model in torch on the rows: what every file is held against.

    Attributes:
        batches: real rows, one each.
        edges: edge rows of a kind by its name; one batch, or several of one row each.
        labels: what the outputs mean, in order; () where they are no labels.
        answers: what the heads answer; told from the outputs' names and shapes where it is empty.
        tables: the model's embedding tables by name, the words' first; see `edgebert.verify.contents`.
        quantization: what the model was trained with, if anything.
        quantized: the beginnings of these rows, and the edge rows, by the model that computes with it.
    """

    batches: Sequence[Batch]
    outputs: Sequence[Outputs]
    edges: Mapping[str, Batch | Sequence[Batch]]
    edge_outputs: Mapping[str, Outputs | Sequence[Outputs]]
    labels: Sequence[str]
    answers: Sequence[Answer] = ()
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    quantization: QuantSpec | None = None
    quantized: Reference | None = None

    def known_answers(self) -> Sequence[Answer]:
        """The answers, guessed where nobody said them."""
        return self.answers or guess_answers(self.outputs[0])


def make_reference(
    model: Runner, batches: Sequence[Batch], edges: Mapping[str, Batch], labels: Sequence[str]
) -> Reference:
    """Runs the model on all rows, one at a time as a device does, and on edge rows made of them.

    Args:
        edges: those that need no real rows, see `edge_batches`; the longest says how long the others may be.

    Raises:
        EdgebertError: the model gives NaN or infinity, or cannot read a row.
    """
    outputs = [model.run(batch) for batch in batches]
    if not all(finite(output) for output in outputs):
        raise EdgebertError("the model itself gives NaN or infinity", hint="Its weights are damaged: train it again.")
    longest = max((batch[INPUT_IDS].shape[1] for batch in edges.values()), default=0)
    more = edges_of(batches, getattr(model, "vocab_size", 0), longest, getattr(model, "pad_id", 0)) if longest else {}
    every: dict[str, list[Batch]] = {name: [batch] for name, batch in edges.items()} | more
    edge_outputs: dict[str, Sequence[Outputs]] = {}
    for name, kind in every.items():
        try:
            edge_outputs[name] = [model.run(batch) for batch in kind]
        except (IndexError, RuntimeError, ValueError) as error:
            raise EdgebertError(f"the model itself cannot read the edge row '{name}': {first_line(error)}") from None
    tables = model.tables() if hasattr(model, "tables") else {}
    return Reference(batches, outputs, every, edge_outputs, labels, answers_of(getattr(model, "parts", ())), tables)


def with_quantization(reference: Reference, model: PreTrainedModel, spec: QuantSpec | None) -> Reference:
    """The reference with that of the model which computes with the scales that it was trained with, where it was.

    Raises:
        TeacherError: the spec is not this model's.
    """
    from edgebert.modeling.graph import TorchSession

    if spec is None or not spec.activations:
        return reference
    from edgebert.quantization.fake import fake_quantized

    session = TorchSession(fake_quantized(model, spec))
    batches = [{name: array[:, :BEGINNING] for name, array in batch.items()} for batch in reference.batches]
    outputs = [session.run(batch) for batch in batches]
    edges = {
        name: [session.run(batch) for batch in ([kind] if isinstance(kind, Mapping) else kind)]
        for name, kind in reference.edges.items()
    }
    return replace(
        reference, quantization=spec, quantized=replace(reference, batches=batches, outputs=outputs, edge_outputs=edges)
    )


def row_batches(features: Sequence[Feature], pad_id: int = 0) -> list[Batch]:
    """One batch a feature, unpadded."""
    return [pad_batch([feature], pad_id) for feature in features]


def finite(outputs: Outputs) -> bool:
    return all(bool(np.isfinite(array).all()) for array in outputs.values())
