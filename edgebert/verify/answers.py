"""What each kind of head answers with: the numbers of it that are compared, and when two answers are the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgebert.runtime.session import Batch
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.types import Outputs

if TYPE_CHECKING:
    from edgebert.modeling.heads import Part

Kind = Literal["label", "labels", "scores", "tags", "span", "vector"]


@dataclass(frozen=True)
class Answer:
    """One head's answer.

    Attributes:
        kind: `label` is the best of several, `labels` all whose probability reaches a threshold, `scores` numbers (a
            regression's, a cross-encoder's one), `tags` the best label of each token, `span` the best first and last
            token, `vector` a sentence's.
        outputs: names of the model's outputs that hold it; a span's are where it begins and where it ends.
        threshold: probability from which one of several `labels` is given.
    """

    kind: Kind
    outputs: tuple[str, ...]
    threshold: float = 0.5

    def values(self, name: str, output: np.ndarray, batch: Batch) -> np.ndarray:
        """What an output (1, ...) says of the batch's row, as (n, columns): n is 1, or the row's real tokens.

        What stands at padding is nobody's answer. A span's scores are told from their mean, which the choice among
        tokens does not know.
        """
        if self.kind == "tags":
            return output[_real(batch)]
        if self.kind == "span":
            scores = output[_real(batch)]
            return (scores - scores.mean())[:, None]
        return output

    def same(self, ours: Outputs, theirs: Outputs, batch: Batch) -> list[bool]:
        """Whether the answers agree, one by one; [] where there is none to agree on: scores and vectors."""
        if self.kind == "span":
            return [int(_spans(self, ours, batch).argmax()) == int(_spans(self, theirs, batch).argmax())]
        a, b = (self.values(self.outputs[0], side[self.outputs[0]], batch) for side in (ours, theirs))
        if self.kind == "labels":
            return list(((a >= self._limit) == (b >= self._limit)).all(-1).tolist())
        if self.kind in ("label", "tags"):
            return list((a.argmax(-1) == b.argmax(-1)).tolist())
        return []

    def margins(self, theirs: Outputs, batch: Batch) -> list[float]:
        """By how much the model prefers each answer to the next best one, in its outputs' own numbers."""
        if self.kind == "span":
            return [_lead(_spans(self, theirs, batch).ravel()[None])[0]]
        values = self.values(self.outputs[0], theirs[self.outputs[0]], batch)
        if self.kind == "labels":
            return list(np.abs(values - self._limit).min(-1).tolist())
        return _lead(values) if self.kind in ("label", "tags") else []

    @property
    def per_token(self) -> bool:
        """Whether its outputs have one entry a token, of which padding's are nobody's."""
        return self.kind in ("tags", "span")

    @property
    def _limit(self) -> float:
        """The logit of the threshold."""
        least = 1e-12
        threshold = min(max(self.threshold, least), 1 - least)
        return float(np.log(threshold / (1 - threshold)))


def answers_of(parts: Iterable[Part]) -> tuple[Answer, ...]:
    """The answer of each head of a model."""
    results = []
    for part in parts:
        assert part.head.answer is not None
        results.append(Answer(part.head.answer(part), part.outputs))
    return tuple(results)


def guess_answers(outputs: Outputs) -> tuple[Answer, ...]:
    """Told from names and shapes alone, where nothing says what the heads are for."""
    results = []
    for name, output in outputs.items():
        if name.endswith("end_logits"):
            continue
        if name.endswith("start_logits"):
            results.append(Answer("span", (name, f"{name.removesuffix('start_logits')}end_logits")))
        elif name.endswith("logits"):
            results.append(
                Answer("tags" if output.ndim == 3 else "scores" if output.shape[-1] == 1 else "label", (name,))
            )
        else:
            results.append(Answer("vector", (name,)))
    return tuple(results)


def _real(batch: Batch) -> np.ndarray:
    mask: np.ndarray = batch[ATTENTION_MASK].astype(bool)
    return mask


def _spans(answer: Answer, outputs: Mapping[str, np.ndarray], batch: Batch) -> np.ndarray:
    """(n, n) sums for first and last token; minus infinity where the last would stand before the first."""
    first, last = (outputs[name][_real(batch)] for name in answer.outputs)
    sums: np.ndarray = np.where(np.tri(len(first), dtype=bool).T, first[:, None] + last[None, :], -np.inf)
    return sums


def _lead(values: np.ndarray) -> list[float]:
    """Of (n, columns), each row's largest less its second largest; infinite where there is one column."""
    if values.shape[-1] < 2:
        return [float("inf")] * len(values)
    top = np.partition(values, -2, axis=-1)
    return list((top[:, -1] - top[:, -2]).tolist())
