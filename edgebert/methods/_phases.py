"""What methods of several phases share: how the epochs are divided, and a phase on the true labels."""

from __future__ import annotations

from collections.abc import Sequence

from edgebert.methods import Param
from edgebert.training.context import MethodContext
from edgebert.types import Row, Student

INNER = Param(
    "inner",
    float,
    0.4,
    "share of the epochs for the first phase, inside the network; the rest trains the head too",
    minimum=0,
    maximum=0.9,
)


def learn_labels(student: Student, context: MethodContext, name: str, epochs: float) -> None:
    """Trains the student, in place, on the labelled rows; a task without labels gives it nothing to learn."""
    from edgebert.training.loop import Objective
    from edgebert.training.run import train_student

    weights = context.task.class_weights(context.train, context.labels)
    train_student(Objective(student.model, weights), student, context, f"{name}-labels", epochs)


def n_steps(student: Student, context: MethodContext, epochs: float, rows: Sequence[Row] | None = None) -> int:
    """Of a training over the rows; by default the labelled ones."""
    from edgebert.distributed import world_size

    settings = context.settings
    rows = context.train if rows is None else rows
    windows = context.task.encode(rows, student.tokenizer, context.labels, settings.max_length)
    drawn = len({feature.row for feature in windows}) if context.task.paired else len(windows)
    return max(1, round(-(-drawn // (settings.batch_size * world_size())) * epochs))
