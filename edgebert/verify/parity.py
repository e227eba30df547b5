"""Parity: a file and the model in torch that it was made from read the same rows, and must give the same answers.

Real rows say whether the answers hold: by the answers themselves, and by how far the outputs lie apart in units of their
own deviation over the rows. Edge rows (one token, full length, padding, hidden text, unknown words, emoji) say whether
masks, positions and vocabulary do. In float32 any mistake in the graph shows as a difference far above 1e-4. A reduced
file differs by its rounding, so each figure has a limit of its own for each kind of precision, and what rounding would
hide is looked for in the file itself (`edgebert.verify.contents`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.converters import Converter
from edgebert.runtime.session import Batch, Session
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.tasks._vectors import spearman
from edgebert.types import Artifact, Feature, OutputComparison, Outputs, Parity, Row
from edgebert.verify.answers import Answer
from edgebert.verify.edges import PADDED
from edgebert.verify.measures import FAR, Distance, distance, neighbour_cosines, units
from edgebert.verify.reference import Reference, finite
from edgebert.verify.tolerances import TOLERANCES, USUAL_OUTPUT, Tolerance

if TYPE_CHECKING:
    from edgebert.tasks import Task

N_NEIGHBOURS = 300  # rows whose vectors are compared with one another
ROWS_IN_ORDER = 20  # fewer say nothing by their order: two neighbours that change places are much of it
N_OTHERWISE = 100  # rows on which other kernels are tried, and a trained quantization
VECTOR_ROOM = 2.0  # the farthest of a vector's hundreds of columns is farther than that of a few labels
TYPICAL = (
    1e-3  # of the median row, by trained scales: most differ by the order of sums alone, see TOLERANCES["trained"]
)
ENDLESS = 1e9  # stands for a difference that is no number, which a report could not hold


@dataclass(frozen=True)
class _Output:
    """One output of a file beside the model's."""

    name: str
    columns: Sequence[str]  # names of labels; () where they have none
    distance: Distance
    order: float | None  # rank correlation, of scores and vectors
    edges: Mapping[str, float]  # root mean square difference on edge rows, in units


def compare(
    session: Session, reference: Reference, kind: str, *, step: Callable[[int], None] | None = None
) -> tuple[OutputComparison, list[Outputs]]:
    """Runs the file on the reference's rows, one at a time, and says where it differs.

    Args:
        kind: row of TOLERANCES.
        step: told of each row.

    Returns:
        The comparison with its failures, and the file's outputs on the real rows.
    """
    results: list[Outputs] = []
    for batch in reference.batches:
        results.append(session.run(batch))
        if step:
            step(1)
    edges = {name: [session.run(batch) for batch in _each(batches)] for name, batches in reference.edges.items()}
    outputs = [
        _compared(name, answer, reference, results, edges)
        for answer in reference.known_answers()
        for name in answer.outputs
    ]
    agreements = _agreements(reference, results, kind)
    same = [agree for agree, _ in agreements]
    orders = [output.order for output in outputs if output.order is not None]
    comparison = OutputComparison(
        n_rows=len(results),
        max_logit_difference=_largest(results, reference.outputs, reference.batches, reference.known_answers()),
        nrmse=min(ENDLESS, max(output.distance.nrmse for output in outputs)),
        rank_correlation=min(orders) if orders else None,
        equal_predictions=_share(same),
        edges={
            name: _largest(
                ours, _each(reference.edge_outputs[name]), _each(reference.edges[name]), reference.known_answers()
            )
            for name, ours in edges.items()
        },
        edge_nrmse={name: min(ENDLESS, max(output.edges[name] for output in outputs)) for name in edges},
    )
    failures = [
        *_valid(session, reference, results, edges),
        *_beyond(comparison, outputs, reference, kind),
        *_unequal([agree for agree, decided in agreements if decided], kind),
    ]
    return replace(comparison, failures=tuple(failures)), results


def failures_otherwise(converter: Converter, artifact: Artifact, reference: Reference, kind: str) -> list[str]:
    """What `compare` finds with each other set of kernels that devices run the file with, on some of the rows."""
    some = _some(reference)
    return [
        f"{name}: {failure}"
        for name, open_file in converter.open_otherwise.items()
        for failure in compare(open_file(artifact.path, 0), some, kind)[0].failures
    ]


def failures_trained(session: Session, reference: Reference, kind: str) -> list[str]:
    """What `compare` finds between a file that takes the scales which a model was trained with and the model that computes
    with them in torch, on the beginnings of some of the rows."""
    if reference.quantized is None:
        return []
    some = _some(reference.quantized)
    comparison, outputs = compare(session, some, kind)
    failures = list(comparison.failures)
    if kind == "trained" and (typical := _typical(outputs, some)) > TYPICAL:
        failures.append(f"half of the rows differ by {typical:.2g} of their deviation or more, {TYPICAL:g} is allowed")
    return [f"beside the model that computes with its scales, {failure}" for failure in failures]


def _typical(results: Sequence[Outputs], reference: Reference) -> float:
    """Root mean square difference of the median row, in units, of the output that is farthest."""
    worst = 0.0
    for answer in reference.known_answers():
        for name in (name for name in answer.outputs if _alike(name, results, reference.outputs)):
            unit = units(_values(name, answer, reference.outputs, reference.batches))
            rows = [
                (answer.values(name, ours[name], batch) - answer.values(name, theirs[name], batch)) / unit
                for ours, theirs, batch in zip(results, reference.outputs, reference.batches, strict=True)
            ]
            worst = max(worst, float(np.median([np.sqrt(np.mean(np.square(row))) for row in rows])))
    return worst


def _some(reference: Reference) -> Reference:
    return replace(reference, batches=reference.batches[:N_OTHERWISE], outputs=reference.outputs[:N_OTHERWISE])


def compare_task(
    session: Session,
    reference: Reference,
    kind: str,
    task: Task,
    rows: Sequence[Row],
    features: Sequence[Feature],
    split: str,
) -> tuple[Parity, list[Any]]:
    """`compare`, with the task's own answers and metric, and the predictions; `reference.batches` are the features, one
    each."""
    reference = for_task(reference, task)
    comparison, outputs = compare(session, reference, kind)
    labels = reference.labels
    predicted = task.decode(rows, features, unbatched(outputs), labels)
    expected = task.decode(rows, features, unbatched(reference.outputs), labels)
    same = [agree for a, b in zip(predicted, expected, strict=True) for agree in task.same(a, b)]
    score, aim = task.score(rows, predicted, split), task.score(rows, expected, split)
    allowed, failures = TOLERANCES[kind], list(comparison.failures)
    undecided = sum(not agree for agree, decided in _agreements(reference, outputs, kind) if not decided)
    changed = same.count(False) - undecided  # at least: each may have changed one answer of the task
    failures += _unequal([True] * (len(same) - max(0, changed)) + [False] * max(0, changed), kind)
    drop = 100 * (aim.value - score.value)
    if not drop <= allowed.drop_points:
        failures.append(f"{score.metric} falls by {drop:.2f} points, {allowed.drop_points:g} are allowed")
    facts = {**vars(comparison), "n_rows": len(rows), "equal_predictions": _share(same), "failures": tuple(failures)}
    return Parity(**facts, score=score, reference_score=aim), predicted


def for_task(reference: Reference, task: Task) -> Reference:
    """The reference with answers as the task gives them, such as labels from its threshold on."""
    return replace(reference, answers=[_by_task(answer, task) for answer in reference.known_answers()])


def share_decided(reference: Reference, results: Sequence[Outputs], kind: str) -> float:
    """The share of the answers that the model was decided on which a file's outputs give too, 0 to 1; 1 without any."""
    return _share([agree for agree, decided in _agreements(reference, results, kind) if decided])


def unbatched(outputs: Sequence[Outputs]) -> list[Outputs]:
    """Of batches of one row each, without padding, the rows."""
    return [{name: array[0] for name, array in output.items()} for output in outputs]


# ---------------------------------------------------------------- figures


def _compared(
    name: str,
    answer: Answer,
    reference: Reference,
    results: Sequence[Outputs],
    edges: Mapping[str, Sequence[Outputs]],
) -> _Output:
    theirs = _values(name, answer, reference.outputs, reference.batches)
    unit = units(theirs)
    ours = _values(name, answer, results, reference.batches) if _alike(name, results, reference.outputs) else None
    apart = distance(ours, theirs, unit) if ours is not None else FAR
    on_edges = {}
    for kind, outputs in edges.items():
        expected, batches = _each(reference.edge_outputs[kind]), _each(reference.edges[kind])
        if _alike(name, outputs, expected):
            mine, aim = (_values(name, answer, side, batches) for side in (outputs, expected))
            on_edges[kind] = distance(mine, aim, unit).nrmse
        else:
            on_edges[kind] = FAR.nrmse
    width = theirs.shape[1]
    columns = reference.labels if answer.kind != "vector" and len(reference.labels) == width else ()
    return _Output(name, columns, apart, _order(ours, theirs, answer.kind), on_edges)


def _order(ours: np.ndarray | None, theirs: np.ndarray, kind: str) -> float | None:
    """The least rank correlation of a score's columns, or that of the cosines of each two vectors; 1 of equal scores.

    None where the head's answer has no order, or the rows are too few for it to say something.
    """
    if kind not in ("scores", "vector") or len(theirs) < ROWS_IN_ORDER:
        return None
    if ours is None or not np.isfinite(ours).all():
        return -1.0
    if kind == "vector":
        pairs = [[neighbour_cosines(side[:N_NEIGHBOURS]) for side in (ours, theirs)]]
    else:
        pairs = [[ours[:, i], theirs[:, i]] for i in range(theirs.shape[1])]
    return min((spearman(a.tolist(), b.tolist()) for a, b in pairs if np.ptp(b) > 0), default=1.0)


def _values(name: str, answer: Answer, outputs: Sequence[Outputs], batches: Sequence[Batch]) -> np.ndarray:
    """(n, columns) of all rows."""
    rows = [answer.values(name, output[name], batch) for output, batch in zip(outputs, batches, strict=True)]
    return np.concatenate(rows).astype(np.float64)


def _alike(name: str, ours: Sequence[Outputs], theirs: Sequence[Outputs]) -> bool:
    return all(name in a and a[name].shape == b[name].shape for a, b in zip(ours, theirs, strict=True))


def _agreements(reference: Reference, results: Sequence[Outputs], kind: str) -> list[tuple[bool, bool]]:
    """Of each answer whether it is the model's, and whether the model was decided: it preferred its answer to the next
    by more than the precision may change of an output."""
    agreements = []
    for answer in reference.known_answers():
        theirs = _values(answer.outputs[0], answer, reference.outputs, reference.batches)
        enough = TOLERANCES[kind].nrmse * float(np.sqrt(np.mean(np.square(units(theirs)))))
        for batch, ours, own in zip(reference.batches, results, reference.outputs, strict=True):
            if not all(_alike(name, [ours], [own]) for name in answer.outputs):
                agreements.append((False, True))
                continue
            decided = [margin > enough for margin in answer.margins(own, batch)]
            agreements += zip(answer.same(ours, own, batch), decided, strict=True)
    return agreements


def _by_task(answer: Answer, task: Task) -> Answer:
    """The answer with the threshold that the task gives labels by."""
    item = getattr(task, "by_name", {}).get(answer.outputs[0].removesuffix("logits").rstrip("_"), task)
    threshold = getattr(item, "threshold", None)
    return answer if threshold is None or answer.kind != "labels" else replace(answer, threshold=threshold)


def _largest(
    ours: Sequence[Outputs], theirs: Sequence[Outputs], batches: Sequence[Batch], answers: Sequence[Answer]
) -> float:
    """The largest absolute difference of any output, padding aside."""
    worst = 0.0
    for name, per_token in ((name, answer.per_token) for answer in answers for name in answer.outputs):
        if not _alike(name, ours, theirs):
            return ENDLESS
        for a, b, batch in zip(ours, theirs, batches, strict=True):
            difference = np.abs(a[name].astype(np.float64) - b[name])
            if per_token:
                difference = difference[batch[ATTENTION_MASK].astype(bool)]
            worst = max(worst, float(np.nan_to_num(difference, nan=ENDLESS, posinf=ENDLESS).max(initial=0.0)))
    return min(worst, ENDLESS)


def _magnitude(reference: Reference) -> float:
    """The largest absolute output of the model on the real rows, padding aside."""
    nothing = [{name: np.zeros_like(array) for name, array in output.items()} for output in reference.outputs]
    return _largest(nothing, reference.outputs, reference.batches, reference.known_answers())


def _share(same: Sequence[bool]) -> float:
    return sum(same) / len(same) if same else 1.0


def _each(value: Any) -> Sequence[Any]:
    """One thing, or several, as several."""
    return [value] if isinstance(value, Mapping) else value


# ---------------------------------------------------------------- what is wrong


def _valid(
    session: Session,
    reference: Reference,
    results: Sequence[Outputs],
    edges: Mapping[str, Sequence[Outputs]],
) -> list[str]:
    """What is wrong whatever the precision: NaN, an output that never changes, labels in another order."""
    failures = []
    if not all(finite(outputs) for outputs in results):
        failures.append("some outputs are NaN or infinite")
    failures += [
        f"an output is NaN or infinite on {name}"
        for name, kind in edges.items()
        if not all(finite(outputs) for outputs in kind)
    ]
    for name in reference.outputs[0]:
        if not _alike(name, results, reference.outputs):
            failures.append(f"{name} has another shape than the model's")
            continue
        ours, theirs = ([_head(item[name]) for item in side] for side in (results, reference.outputs))
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


def _head(output: np.ndarray) -> np.ndarray:
    """The part of a row's output that every row has: its first token's, or all of a row's one vector."""
    return output[0, 0] if output.ndim == 3 else output[0, :1] if output.ndim == 2 else output[0]


def _beyond(comparison: OutputComparison, outputs: Sequence[_Output], reference: Reference, kind: str) -> list[str]:
    allowed, failures = TOLERANCES[kind], []
    if allowed.difference is not None:
        limit = allowed.difference * max(1.0, _magnitude(reference) / USUAL_OUTPUT)
        worst = {"a real row": comparison.max_logit_difference, **comparison.edges}
        failures += [
            f"an output differs by {value:.2g} on {name}, {limit:.2g} is allowed in {kind}"
            for name, value in worst.items()
            if not value <= limit
        ]
    for output in outputs:
        failures += [f"{output.name} {what} in {kind}" for what in _output_beyond(output, allowed)]
    return failures


def _output_beyond(item: _Output, allowed: Tolerance) -> list[str]:
    """What is wrong with an output's figures, without its name."""
    apart, failures = item.distance, []
    deviation = "of its deviation over the rows"
    if apart is FAR:
        return []  # said by `_valid`
    room = VECTOR_ROOM if item.name.endswith("sentence_embedding") else 1.0
    if apart.nrmse > allowed.nrmse:
        failures.append(f"differs by {apart.nrmse:.2g} {deviation}, {allowed.nrmse:g} is allowed")
    elif apart.column > room * allowed.column:
        column = f"label {item.columns[apart.farthest]}" if item.columns else f"column {apart.farthest}"
        failures.append(f"differs in {column} by {apart.column:.2g} {deviation}, {room * allowed.column:g} is allowed")
    if apart.entry > allowed.entry:
        failures.append(f"differs on one row by {apart.entry:.2g} {deviation}, {allowed.entry:g} is allowed")
    if abs(apart.slope - 1) > allowed.scale:
        failures.append(f"has {apart.slope:.3f} times the model's scale, {allowed.scale:g} more or less is allowed")
    if apart.shift > room * allowed.shift:
        failures.append(f"is shifted by {apart.shift:.2g} {deviation}, {room * allowed.shift:g} is allowed")
    if item.order is not None and item.order < allowed.order:
        failures.append(f"orders rows otherwise: rank correlation {item.order:.4f}, {allowed.order:g} is needed")
    for name, value in item.edges.items():
        limit = min(allowed.edge, 3 * apart.nrmse + allowed.padding) if name in PADDED else allowed.edge
        if limit < value < float("inf"):
            failures.append(f"differs by {value:.2g} {deviation} on {name}, {limit:.2g} is allowed")
    return failures


def _unequal(same: Sequence[bool], kind: str) -> list[str]:
    """Of few answers one may change where rounding may change any."""
    allowed, share, changed = TOLERANCES[kind], _share(same), same.count(False)
    if changed <= (1 - allowed.equal_predictions) * len(same) or (changed == 1 and allowed.difference is None):
        return []
    return [
        f"{100 * share:.2f} % of the answers that the model was decided on are equal, "
        f"{100 * allowed.equal_predictions:g} % are needed in {kind}"
    ]
