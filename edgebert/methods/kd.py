"""Distil the teacher's predictions alone: what every method that looks inside the network must beat.

Hinton, Vinyals, Dean (2015), "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2:

    L = (1 - hard) · T² · CE(softmax(z_T / T), softmax(z_S / T)) + hard · CE(y, softmax(z_S))

Differences: at every real piece where the task has a label each; a binary one a label where a row may have several; over
positions for spans; the distance of vectors for sentence embeddings (`edgebert.training.heads`).

In each batch, half of the rows get a share `replace` of their pieces replaced, by pieces as frequent as in the batch and by
any piece of the vocabulary in equal parts; the teacher reads the same changed rows, so its answer is right for them. It has
learnt the training rows by heart; on changed rows it shows what it knows. Ours, after TinyBERT's augmentation; 0 is the
paper's. On WNUT-17 it was worth 4.6 points of the development score (one seed); it is on by default.
"""

from __future__ import annotations

from edgebert.methods import Method, Paper, Workshop
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, learn_predictions
from edgebert.types import Student


def apply(
    student: Student, workshop: Workshop, *, epochs: float, temperature: float, hard: float, replace: float
) -> Student:
    """The student after training on the teacher's answers."""
    epochs = epochs or workshop.settings.epochs
    learn_predictions(student, workshop, "kd", epochs, temperature=temperature, hard=hard, replace=replace)
    return student


METHOD = Method(
    name="kd",
    title="Distil predictions alone",
    paper=Paper("Distilling the Knowledge in a Neural Network", "Hinton, Vinyals, Dean", 2015, "1503.02531"),
    stage="train",
    apply=apply,
    params=(EPOCHS, TEMPERATURE, HARD, REPLACE),
    any_tokenizer=True,
    toy={"epochs": 1},
)
