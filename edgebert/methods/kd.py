"""Distil the teacher's predictions alone: what every method that looks inside the network must beat.

Hinton, Vinyals, Dean (2015), "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2:

    L = (1 - hard_label_weight) · T² · CE(softmax(z_T / T), softmax(z_S / T)) + hard_label_weight · CE(y, softmax(z_S))

Differences: at every real token where the task has a label each; a binary one a label where a row may have several; over
positions for spans; the distance of vectors for sentence embeddings (`edgebert.training.heads`).

Texts of --unlabelled are learnt from too, by the teacher's answers alone. A pass is one over all rows; by default there are
as many passes as --effort gives for that number of rows. `mix` adds rows made of the beginning of one and the end of
another (`edgebert.data.augment.by_mixing`), for which the teacher answers too. `answers` says whose answers z_T are: `edgebert.teachers.answers`.

In each batch, half of the rows get a share `replace` of their tokens replaced, by tokens as frequent as in the batch and by
any token of the vocabulary in equal parts; the teacher reads the same changed rows, so its answer is right for them. It has
learnt the training rows by heart; on changed rows it shows what it knows. Ours, after TinyBERT's augmentation; 0 is the
paper's. On WNUT-17 it was worth 4.6 points of the development score (one seed); it is on by default.
"""

from __future__ import annotations

from typing import Any

from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import (
    ANSWER_PARAMS,
    EPOCHS,
    HARD,
    REPLACE,
    TEMPERATURE,
    answer_kind,
    check_answers,
    learn_predictions,
)
from edgebert.training.context import MethodContext
from edgebert.types import Student


def apply(
    student: Student,
    context: MethodContext,
    *,
    epochs: float,
    temperature: float,
    hard_label_weight: float,
    replace: float,
    mix: float,
    **answers: Any,
) -> Student:
    """The student after training on the teacher's answers."""
    from edgebert.data.augment import by_mixing

    check_answers(context, answer_kind(**answers), "kd")
    rows = context.transfer
    mixed = by_mixing(rows, round(mix * len(rows)), seed=context.settings.seed)
    learn_predictions(
        student, context, "kd", context.text_epochs(epochs),
        rows=(*rows, *mixed), temperature=temperature, hard_label_weight=hard_label_weight, replace=replace,
    )  # fmt: skip
    return student


METHOD = Method(
    name="kd",
    title="Distil predictions alone",
    paper=Paper("Distilling the Knowledge in a Neural Network", "Hinton, Vinyals, Dean", 2015, "1503.02531"),
    stage="train",
    apply=apply,
    params=(
        EPOCHS,
        TEMPERATURE,
        HARD,
        REPLACE,
        Param("mix", float, 0.0, "rows made of two others, for each row", minimum=0, maximum=100),
        *ANSWER_PARAMS,
    ),
    answers=answer_kind,
    any_tokenizer=True,
    reads_text=True,
    trials=(
        {"hard_label_weight": 0.9, "replace": 0.0},
        {"hard_label_weight": 0.5, "replace": 0.3},
        {"hard_label_weight": 0.1, "replace": 0.3},
        {"hard_label_weight": 0.5, "temperature": 1.0, "replace": 0.0, "answers": "spread"},
    ),
    toy={"epochs": 1},
)
