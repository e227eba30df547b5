"""Label tokens as the teacher does on unlabelled text, in all languages at once.

Tsai, Riesa, Johnson, Arivazhagan, Li, Archer (2019), "Small and Practical BERT Models for Sequence Labeling", arXiv
1909.00100. One small model learns each token's distribution over labels, softened by T = 3, without true labels:

    L = T² · CE(softmax(z_T / T), softmax(z_S / T)), the mean over real tokens

on `--unlabelled` and the texts of the training rows, whatever their languages. `labels` gives a last share of the epochs
to the true labels.

Differences: the paper's student is a BERT of three layers that was pre-trained first; here it is the student that the
recipe has made so far. T² keeps the gradient's size and stands in no equation of the paper that we know. Every real token
counts, also those that continue a word, which have no label of their own. The paper's text was not at hand when this was
written, only its abstract and what others say of it: whether it ends with a phase on labels could not be checked, so
`labels` is 0.
"""

from __future__ import annotations

from dataclasses import replace

from edgebert.methods import Method, Paper, Param
from edgebert.methods._phases import learn_labels
from edgebert.methods._prediction import EPOCHS, TEMPERATURE, learn_predictions
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student


def apply(student: Student, context: MethodContext, *, epochs: float, temperature: float, labels: float) -> Student:
    """The student after the teacher's answers on all text, and the labels where they have a share."""
    learn_predictions(
        student, context, "mini-seq", (1 - labels) * context.text_epochs(epochs),
        rows=context.transfer, temperature=temperature, hard_label_weight=0.0,
    )  # fmt: skip
    if labels:
        learn_labels(student, context, "mini-seq", labels * (epochs or context.settings.epochs))
    return student


METHOD = Method(
    name="mini-seq",
    title="Distil each token's answer on unlabelled text",
    paper=Paper(
        "Small and Practical BERT Models for Sequence Labeling",
        "Tsai, Riesa, Johnson, Arivazhagan, Li, Archer",
        2019,
        "1909.00100",
    ),
    stage="train",
    apply=apply,
    params=(
        EPOCHS,
        replace(TEMPERATURE, default=3.0),
        Param("labels", float, 0.0, "share of the epochs for the true labels, at the end", minimum=0, maximum=0.9),
    ),
    heads=("token-classification",),
    answers=plain_answers,
    reads_text=True,
    toy={"epochs": 1},
)
