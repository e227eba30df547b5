"""Parity: a file and the student in torch read the same real rows, and must give the same answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import Session
from edgebert.infer import run_features
from edgebert.types import Feature, Parity, Row

if TYPE_CHECKING:
    from edgebert.tasks import Task


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change.

    Attributes:
        logit_difference: largest absolute difference of a logit; None where only the answers count.
        equal_predictions: smallest share of equal predictions, 0 to 1.
        drop_points: largest loss of the metric against the student in float, 1 point = 0.01.
    """

    logit_difference: float | None
    equal_predictions: float
    drop_points: float


TOLERANCES = {
    "fp32": Tolerance(logit_difference=1e-4, equal_predictions=0.9999, drop_points=0.05),
    "int8": Tolerance(logit_difference=None, equal_predictions=0.97, drop_points=1.0),
}


@dataclass(frozen=True)
class Reference:
    """The student in torch on the rows: what every file is held against."""

    rows: Sequence[Row]
    features: Sequence[Feature]
    logits: Sequence[np.ndarray]
    labels: Sequence[str]
    split: str


def compare(
    session: Session,
    reference: Reference,
    task: Task,
    precision: str,
    *,
    pad_id: int = 0,
    step: Callable[[int], None] | None = None,
) -> Parity:
    """Runs the file on the reference's rows, one at a time, and says where it differs."""
    logits = run_features(session, reference.features, pad_id=pad_id, step=step)
    rows, features, labels = reference.rows, reference.features, reference.labels
    predicted = task.decode(rows, features, logits, labels)
    expected = task.decode(rows, features, reference.logits, labels)
    pairs = [pair for ours, theirs in zip(predicted, expected, strict=True) for pair in zip(ours, theirs, strict=True)]
    finite = all(bool(np.isfinite(array).all()) for array in logits)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(logits, reference.logits, strict=True))
    parity = Parity(
        n_rows=len(rows),
        max_logit_difference=difference,
        equal_predictions=sum(a == b for a, b in pairs) / len(pairs),
        score=task.score(rows, predicted, reference.split),
        reference_score=task.score(rows, expected, reference.split),
    )
    return Parity(**{**vars(parity), "failures": tuple(_failures(parity, TOLERANCES[precision], finite))})


def _failures(parity: Parity, allowed: Tolerance, finite: bool) -> list[str]:
    failures = []
    if not finite:
        failures.append("some logits are NaN or infinite")
    limit = allowed.logit_difference
    if limit is not None and not parity.max_logit_difference <= limit:
        failures.append(f"a logit differs by {parity.max_logit_difference:.2g}, {limit:g} is allowed")
    if parity.equal_predictions < allowed.equal_predictions:
        failures.append(
            f"{100 * parity.equal_predictions:.2f} % of predictions are equal, "
            f"{100 * allowed.equal_predictions:g} % are needed"
        )
    drop = 100 * (parity.reference_score.value - parity.score.value)
    if drop > allowed.drop_points:
        failures.append(f"{parity.score.metric} falls by {drop:.2f} points, {allowed.drop_points:g} are allowed")
    return failures
