"""Train the student on the task's own labels: the control that every distillation must beat.

Devlin, Chang, Lee, Toutanova (2018), "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", arXiv 1810.04805, section 3: cross-entropy of the label at the first piece of each word.
"""

from __future__ import annotations

from edgebert.methods import Method, Paper, Param, Workshop
from edgebert.types import Student


def apply(student: Student, workshop: Workshop, *, epochs: float) -> Student:
    """The student after training on the labelled rows."""
    from edgebert.training.loop import Objective
    from edgebert.training.run import train_student

    weights = workshop.task.class_weights(workshop.train, workshop.labels)
    train_student(Objective(student.model, weights), student, workshop, "finetune", epochs or workshop.settings.epochs)
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
    params=(Param("epochs", float, 0.0, "passes over the rows; 0 takes what --effort gives", minimum=0),),
    any_tokenizer=True,
    toy={"epochs": 1},
)
