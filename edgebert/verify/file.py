"""One file held against the model that it was made from: its answers, its weights, and the other kernels of its runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgebert.converters import CONVERTERS, find_precision
from edgebert.runtime.session import Session
from edgebert.types import Artifact, Feature, OutputComparison, Row
from edgebert.verify.contents import file_failures
from edgebert.verify.parity import compare, compare_task, failures_otherwise, failures_trained
from edgebert.verify.reference import Reference

if TYPE_CHECKING:
    from edgebert.tasks import Task


@dataclass(frozen=True)
class FileCheck:
    """A file held against its model, the opened file, and its predictions on the task's rows, if there is a task."""

    comparison: OutputComparison
    session: Session
    predictions: list[Any]


def check_file(
    artifact: Artifact,
    origin: Artifact,
    reference: Reference,
    task: Task | None = None,
    rows: Sequence[Row] = (),
    features: Sequence[Feature] = (),
) -> FileCheck:
    """What differs between a file and the model, with every failure.

    Args:
        origin: the float32 file of the format, perhaps the file itself.
        task: judges by its metric and its answers, which makes the comparison a Parity; None compares outputs alone.
        rows, features: of the task, that the reference holds.
    """
    converter = CONVERTERS.get(artifact.format)
    session = converter.open(artifact.path, 0)
    precision = find_precision(artifact.format, artifact.precision)
    kind, spec = precision.kind, reference.quantization if precision.takes(reference.quantization) else None
    comparison: OutputComparison
    predictions: list[Any] = []
    if task is not None:
        comparison, predictions = compare_task(session, reference, kind, task, rows, features, "test")
    else:
        comparison, _ = compare(session, reference, kind)
    failures = (
        *comparison.failures,
        *failures_otherwise(converter, artifact, reference, kind),
        *(failures_trained(session, reference, "trained" if precision.rest_bits == 32 else kind) if spec else ()),
        *file_failures(converter, artifact, origin, reference.tables, spec),
    )
    return FileCheck(replace(comparison, failures=failures), session, predictions)
