"""What methods of several phases share: how the epochs are divided, and a phase on the true labels."""

from __future__ import annotations

from edgebert.methods import Param
from edgebert.training.context import Workshop
from edgebert.types import Student

INNER = Param(
    "inner",
    float,
    0.4,
    "share of the epochs for the first phase, inside the network; the rest trains the head too",
    minimum=0,
    maximum=0.9,
)


def learn_labels(student: Student, workshop: Workshop, name: str, epochs: float) -> None:
    """Trains the student, in place, on the labelled rows; a task without labels gives it nothing to learn."""
    from edgebert.training.loop import Objective
    from edgebert.training.run import train_student

    weights = workshop.task.class_weights(workshop.train, workshop.labels)
    train_student(Objective(student.model, weights), student, workshop, f"{name}-labels", epochs)
