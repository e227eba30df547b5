"""Parity: a file and the model in torch that it was made from read the same rows, and must give the same answers.

Real rows say whether the answers hold. Edge rows (one token, full length, padding, unknown words, emoji) say whether
masks, positions and vocabulary do: in float32 any mistake in the graph shows there as a difference far above 1e-4, and
every reduced file is made from a float32 file that passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.converters import Batch, Runner, Session, per_token
from edgebert.errors import EdgebertError, first_line
from edgebert.infer import one_row, pad_batch
from edgebert.types import Feature, Likeness, Outputs, Parity, Row

if TYPE_CHECKING:
    from edgebert.tasks import Task

VECTOR = "sentence_embedding"  # ends the name of an output that has no best entry: its cosine decides


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change.

    Attributes:
        difference: largest absolute difference of an output, on real and edge rows; None where only answers count.
        cosine: least cosine between a real row's outputs and the model's.
        equal_predictions: smallest share of equal predictions, 0 to 1.
        drop_points: largest loss of the metric against the model in float, 1 point = 0.01.
    """

    difference: float | None
    cosine: float
    equal_predictions: float
    drop_points: float


# One row a kind of precision (`edgebert.converters.Precision.kind`). float32 differs by the order of sums only; float16
# has 11 bits of mantissa, so its logits move in the third digit. Below, answers decide; the cosine catches a file that
# is broken but has few labels to be wrong about.
TOLERANCES = {
    "fp32": Tolerance(1e-4, 0.99999, 0.9999, 0.05),
    "fp16": Tolerance(None, 0.999, 0.995, 0.25),
    "int8": Tolerance(None, 0.95, 0.97, 1.0),
    "int8-static": Tolerance(None, 0.90, 0.95, 2.0),
    "int6": Tolerance(None, 0.95, 0.97, 1.0),
    "int4": Tolerance(None, 0.90, 0.95, 2.0),
}


@dataclass(frozen=True)
class Reference:
    """The model in torch on the rows: what every file is held against.

    Attributes:
        batches: real rows, one each.
        edges: edge rows by name.
        labels: what the outputs mean, in order; () where they are no labels.
    """

    batches: Sequence[Batch]
    outputs: Sequence[Outputs]
    edges: Mapping[str, Batch]
    edge_outputs: Mapping[str, Outputs]
    labels: Sequence[str]


def make_reference(
    model: Runner, batches: Sequence[Batch], edges: Mapping[str, Batch], labels: Sequence[str]
) -> Reference:
    """Runs the model on all rows, one at a time as a device does. Raises EdgebertError when it gives NaN or infinity,
    or cannot read a row."""
    outputs = [model.run(batch) for batch in batches]
    if not all(_finite(one) for one in outputs):
        raise EdgebertError("the model itself gives NaN or infinity", hint="Its weights are damaged: train it again.")
    edge_outputs = {}
    for name, batch in edges.items():
        try:
            edge_outputs[name] = model.run(batch)
        except (IndexError, RuntimeError, ValueError) as error:
            raise EdgebertError(f"the model itself cannot read the edge row '{name}': {first_line(error)}") from None
    return Reference(batches, outputs, edges, edge_outputs, labels)


def row_batches(features: Sequence[Feature], pad_id: int = 0) -> list[Batch]:
    """One batch a feature, unpadded."""
    return [pad_batch([feature], pad_id) for feature in features]


def compare(
    session: Session, reference: Reference, kind: str, *, step: Callable[[int], None] | None = None
) -> tuple[Likeness, list[Outputs]]:
    """Runs the file on the reference's rows, one at a time, and says where it differs.

    Args:
        kind: row of TOLERANCES.
        step: told of each row.

    Returns:
        The likeness with its failures, and the file's outputs on the real rows.
    """
    found: list[Outputs] = []
    for batch in reference.batches:
        found.append(session.run(batch))
        if step:
            step(1)
    edges = {name: session.run(batch) for name, batch in reference.edges.items()}
    pairs = [
        (name, (ours[name], theirs[name], batch))
        for batch, ours, theirs in zip(reference.batches, found, reference.outputs, strict=True)
        for name in theirs
    ]
    likeness = Likeness(
        n_rows=len(found),
        max_logit_difference=max(_difference(name, *pair) for name, pair in pairs),
        min_cosine=min(_cosine(name, *pair) for name, pair in pairs),
        equal_predictions=_share(
            [same for name, pair in pairs if not name.endswith(VECTOR) for same in _equal(name, *pair)]
        ),
        edges={
            name: max(
                _difference(key, edges[name][key], value, batch) for key, value in reference.edge_outputs[name].items()
            )
            for name, batch in reference.edges.items()
        },
    )
    failures = [*_sound(session, reference, found, edges), *_beyond(likeness, TOLERANCES[kind], kind)]
    return replace(likeness, failures=tuple(failures)), found


def compare_task(
    session: Session,
    reference: Reference,
    kind: str,
    task: Task,
    rows: Sequence[Row],
    features: Sequence[Feature],
    split: str,
) -> Parity:
    """`compare`, with the task's own answers and metric; `reference.batches` are the features, one each."""
    likeness, outputs = compare(session, reference, kind)
    labels = reference.labels
    predicted = task.decode(rows, features, unbatched(outputs, features), labels)
    expected = task.decode(rows, features, unbatched(reference.outputs, features), labels)
    equal = share_equal(task, predicted, expected)
    score, aim = task.score(rows, predicted, split), task.score(rows, expected, split)
    allowed, failures = TOLERANCES[kind], list(likeness.failures)
    drop = 100 * (aim.value - score.value)
    if drop > allowed.drop_points:
        failures.append(f"{score.metric} falls by {drop:.2f} points, {allowed.drop_points:g} are allowed")
    facts = {**vars(likeness), "n_rows": len(rows), "equal_predictions": equal, "failures": tuple(failures)}
    return Parity(**facts, score=score, reference_score=aim)


def share_equal(task: Task, ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The share of answers of two lists of predictions of the same rows that are equal, 0 to 1; 1 without any."""
    return _share([agree for a, b in zip(ours, theirs, strict=True) for agree in task.same(a, b)])


def unbatched(outputs: Sequence[Outputs], features: Sequence[Feature]) -> list[Outputs]:
    """Of batches of one row each, the rows."""
    return [
        {name: one_row(name, array, 0, len(feature.input_ids)) for name, array in one.items()}
        for one, feature in zip(outputs, features, strict=True)
    ]


def _sound(session: Session, reference: Reference, found: Sequence[Outputs], edges: Mapping[str, Outputs]) -> list[str]:
    """What is wrong whatever the precision: NaN, an output that never changes, labels in another order."""
    failures = []
    if not all(_finite(outputs) for outputs in found):
        failures.append("some outputs are NaN or infinite")
    failures += [f"an output is NaN or infinite on {name}" for name, outputs in edges.items() if not _finite(outputs)]
    for name in reference.outputs[0]:
        ours, theirs = ([_head(one[name]) for one in side] for side in (found, reference.outputs))
        if len(ours) > 1 and np.ptp(ours, axis=0).max() < 1e-6 < np.ptp(theirs, axis=0).max():
            failures.append(f"{name} is the same for every row")
    if tuple(session.labels) != tuple(reference.labels):
        wrong = next(
            (i for i, (a, b) in enumerate(zip(session.labels, reference.labels, strict=False)) if a != b),
            min(len(session.labels), len(reference.labels)),
        )
        failures.append(
            f"the labels in the file are not the model's: {len(session.labels)} against {len(reference.labels)}, "
            f"the first that differs is number {wrong}"
        )
    return failures


def _finite(outputs: Outputs) -> bool:
    return all(bool(np.isfinite(array).all()) for array in outputs.values())


def _head(output: np.ndarray) -> np.ndarray:
    """The part of a row's output that every row has: its first token's, or all of a row's one vector."""
    return output[0, 0] if output.ndim == 3 else output[0, :1] if output.ndim == 2 else output[0]


def _beyond(likeness: Likeness, allowed: Tolerance, kind: str) -> list[str]:
    failures = []
    limit = allowed.difference
    if limit is not None:
        worst = {"a real row": likeness.max_logit_difference, **likeness.edges}
        failures += [
            f"an output differs by {value:.2g} on {name}, {limit:g} is allowed in {kind}"
            for name, value in worst.items()
            if not value <= limit
        ]
    if not likeness.min_cosine >= allowed.cosine:
        failures.append(
            f"a row's outputs have cosine {likeness.min_cosine:.4f}, {allowed.cosine:g} is needed in {kind}"
        )
    if likeness.equal_predictions < allowed.equal_predictions:
        failures.append(
            f"{100 * likeness.equal_predictions:.2f} % of predictions are equal, "
            f"{100 * allowed.equal_predictions:g} % are needed in {kind}"
        )
    return failures


def _real(name: str, output: np.ndarray, batch: Batch) -> np.ndarray:
    """The output at real tokens: what stands at padding is nobody's answer."""
    return output[batch["attention_mask"].astype(bool)] if per_token(name, output.ndim) else output


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray, batch: Batch) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(_real(name, ours, batch) - _real(name, theirs, batch)).max())


def _cosine(name: str, ours: np.ndarray, theirs: np.ndarray, batch: Batch) -> float:
    if ours.shape != theirs.shape:
        return -1.0
    a, b = (_real(name, side, batch).astype(np.float64).ravel() for side in (ours, theirs))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else float(np.array_equal(a, b))


def _equal(name: str, ours: np.ndarray, theirs: np.ndarray, batch: Batch) -> list[bool]:
    """Whether the best label, or the best position of a span, is the same."""
    if ours.shape != theirs.shape:
        return [False]
    if ours.ndim == 3:
        return list((_real(name, ours, batch).argmax(-1) == _real(name, theirs, batch).argmax(-1)).tolist())
    a, b = _real(name, ours, batch), _real(name, theirs, batch)
    return [bool(a.argmax() == b.argmax())]


def _share(same: Sequence[bool]) -> float:
    return sum(same) / len(same) if same else 1.0
