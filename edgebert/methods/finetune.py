"""Train the student on the task's own labels: the control that every distillation must beat.

Devlin, Chang, Lee, Toutanova (2018), "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", arXiv 1810.04805, section 3: cross-entropy of the label at the first token of each word.
"""

from __future__ import annotations

from edgebert.methods import Method, Paper
from edgebert.methods._phases import learn_labels
from edgebert.methods._prediction import EPOCHS
from edgebert.training.context import MethodContext
from edgebert.types import Student


def apply(student: Student, context: MethodContext, *, epochs: float) -> Student:
    """The student after training on the labelled rows."""
    learn_labels(student, context, "finetune", epochs or context.settings.epochs)
    return student


METHOD = Method(
    name="finetune",
    title="Fine-tune on the labels, without a teacher",
    paper=Paper(
        "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
        "Devlin, Chang, Lee, Toutanova",
        2018,
        "1810.04805",
    ),
    stage="train",
    apply=apply,
    params=(EPOCHS,),
    any_tokenizer=True,
    trials=({},),
    toy={"epochs": 1},
)
