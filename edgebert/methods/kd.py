"""Distil the teacher's predictions alone: what every method that looks inside the network must beat.

Hinton, Vinyals, Dean (2015), "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2:

    L = (1 - hard) · T² · CE(softmax(z_T / T), softmax(z_S / T)) + hard · CE(y, softmax(z_S))

Differences: at every real piece where the task has a label each; a binary one a label where a row may have several; over
positions for spans; the distance of vectors for sentence embeddings (`edgebert.training.heads`). `replace` is off: with it,
this is TinyBERT's prediction phase.
"""

from __future__ import annotations

from edgebert.methods import Method, Paper, Workshop
from edgebert.methods._prediction import EPOCHS, HARD, TEMPERATURE, learn_predictions
from edgebert.types import Student


def apply(student: Student, workshop: Workshop, *, epochs: float, temperature: float, hard: float) -> Student:
    """The student after training on the teacher's answers."""
    learn_predictions(student, workshop, "kd", epochs or workshop.settings.epochs, temperature=temperature, hard=hard)
    return student


METHOD = Method(
    name="kd",
    title="Distil predictions alone",
    paper=Paper("Distilling the Knowledge in a Neural Network", "Hinton, Vinyals, Dean", 2015, "1503.02531"),
    stage="train",
    apply=apply,
    params=(EPOCHS, TEMPERATURE, HARD),
    any_tokenizer=True,
    toy={"epochs": 1},
)
