"""Learn the teacher's sentence vectors on text without labels, then the task's labels.

Wu, Zhang, Li, Wang, Feng, Huang, Wang (2020), "Towards Non-task-specific Distillation of BERT via Sentence Representation
Approximation", arXiv 2004.03097. With v the vector of a text, and W a projection where the widths differ:

    L = ‖W v_S / ‖W v_S‖ - v_T / ‖v_T‖‖²  =  2 (1 - cos(W v_S, v_T))

for the share `inner` of the epochs, on `--unlabelled` and the texts of the training rows; then the labels alone.

A student of any shape serves, and one whose tokenizer is its own: then the teacher has read each text beforehand.

Differences: the paper's text was not at hand when this was written, only its abstract, so which distance it takes could
not be checked; of unit vectors the squared distance and the cosine are the same up to a factor. The vector here is the
mean of the last states over real tokens, or the first token's where the checkpoint's pooling says so; the paper speaks of
BERT's sentence representation. The paper's student is an LSTM without the task in sight and its teacher is pre-trained;
here the teacher is fine-tuned. A task without labels (`embed`) learns nothing in the second phase: give `inner` 0.9 there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgebert.methods import Method, Paper
from edgebert.methods._phases import INNER, learn_labels
from edgebert.methods._prediction import EPOCHS
from edgebert.modeling.heads import HEADS
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.training.loop import Objective

VECTOR = HEADS.get("sentence-embedding").outputs[0].name


def encoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The model without its heads."""
    return getattr(model, model.base_model_prefix, model)


def vectors(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """(batch, width), each of length 1: the pooled states of the model's encoder."""
    from edgebert.modeling.checkpoint import accepted
    from edgebert.modeling.headed import answers

    encoder = encoder_of(model)
    return answers(encoder, encoder(**accepted(encoder, batch)), batch[ATTENTION_MASK])[VECTOR]


def inner_objective(student: Student, context: MethodContext) -> Objective:
    """L, with a projection where the widths differ."""
    import torch

    from edgebert.training.align import projection
    from edgebert.training.loop import ANSWERED, DistillationObjective
    from edgebert.training.losses import normalised_mse

    class Sentences(DistillationObjective):
        def __init__(self) -> None:
            super().__init__(student.model, context.teacher, student.teacher_ids)
            self.projection = projection(student.model.config.hidden_size, context.teacher.config.hidden_size)

        def wanted(self, batch: dict[str, Tensor]) -> Tensor:
            if (given := batch.get(ANSWERED + VECTOR)) is not None:
                return given
            (teacher,) = self._teacher
            with torch.no_grad():
                return vectors(teacher, self.as_teacher_reads(batch))

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            return normalised_mse(self.projection(vectors(self.student, batch)), self.wanted(batch))

    return Sentences()


def apply(student: Student, context: MethodContext, *, epochs: float, inner: float) -> Student:
    """The student after both phases."""
    from edgebert.training.run import train_student

    text_epochs, epochs = context.text_epochs(epochs), epochs or context.settings.epochs
    if inner:
        objective = inner_objective(student, context)
        answering = replace(context, teacher=encoder_of(context.teacher))  # beforehand, it is asked for vectors
        train_student(
            objective, student, answering, "sra-inner", inner * text_epochs, rows=context.transfer, scored=False
        )
    learn_labels(student, context, "sra", (1 - inner) * epochs)
    return student


METHOD = Method(
    name="sra",
    title="Learn the teacher's sentence vectors from text, then the labels",
    paper=Paper(
        "Towards Non-task-specific Distillation of BERT via Sentence Representation Approximation",
        "Wu, Zhang, Li, Wang, Feng, Huang, Wang",
        2020,
        "2004.03097",
    ),
    stage="train",
    apply=apply,
    params=(EPOCHS, INNER),
    any_tokenizer=True,
    reads_text=True,
    toy={"inner": 0.2, "epochs": 1},
)
