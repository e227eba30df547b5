"""What most distillations end with: the student learns the teacher's answers, on the rows and on changed ones.

L_pred = CE(softmax(z_T / t), log softmax(z_S / t)) (Hinton, Vinyals, Dean 2015, arXiv 1503.02531), of the task's own head.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Param
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS
from edgebert.training.context import KINDS_OF_ANSWERS, AnswerKind, MethodContext
from edgebert.types import Row, Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.training.loop import Objective

Tensors = dict[str, "Tensor"]  # by name
TEMPERATURE = Param("temperature", float, 2.0, "softens both predictions", minimum=0.1)
HARD = Param(
    "hard_label_weight",
    float,
    0.1,
    "weight of the true labels, 0 to 1; the teacher's answers have the rest",
    minimum=0,
    maximum=1,
)
REPLACE = Param("replace", float, 0.3, "share of tokens replaced in half of the rows, 0 to 1", minimum=0, maximum=1)
ANSWER_PARAMS = (
    Param(
        "answers", str, "plain", "whose answers: the teacher's own, of teachers that have not seen the row, the mean of "
        "several, or of passes with dropout; or the labels, spread to unlabelled texts of like states",
        choices=KINDS_OF_ANSWERS,
    ),
    Param("folds", int, 3, "teachers that are trained for out-of-fold and ensemble", minimum=2, maximum=20),
    Param("passes", int, 8, "of the teacher for dropout", minimum=1, maximum=100),
    Param("calibrate", bool, False, "divide the teacher's logits by a temperature fitted on the development rows"),
)  # fmt: skip
EPOCHS = Param("epochs", float, 0.0, "passes over the rows; 0 takes what --effort gives", minimum=0)


def answer_kind(*, answers: str, folds: int, passes: int, calibrate: bool, **_: object) -> AnswerKind:
    """The kind of answers that ANSWER_PARAMS name."""
    return AnswerKind(answers, folds, passes, calibrate)


def check_answers(context: MethodContext, kind: AnswerKind, where: str) -> None:
    """Raises RequestError where answers that only the stage can make are asked for and not there."""
    if context.answers is None and (kind.name != "plain" or kind.calibrated):
        what = (
            f"{'calibrated' if kind.calibrated else kind.name} answers are made by fit and compress, and none are given"
        )
        raise RequestError(what, where=f"{where}.answers", hint="Give MethodContext.answers, or learn plain answers.")


def replace_tokens(ids: Tensor, mask: Tensor, special: Tensor, share: float, n_vocab: int) -> tuple[Tensor, Tensor]:
    """Random tokens in place of a share of those of half the rows.

    Args:
        ids: (batch, seq) token ids.
        mask: (batch, seq), true at real tokens.
        special: (n_special,) ids that are neither replaced nor put in.
        share: of the tokens of a chosen row, 0 to 1.
        n_vocab: ids to draw from.

    Returns:
        New ids, and which rows were chosen, (batch, 1); their labels no longer hold.
    """
    import torch

    rows = torch.rand(ids.shape[0], 1, device=ids.device) < 0.5
    chosen = (torch.rand(ids.shape, device=ids.device) < share) & rows & mask & ~torch.isin(ids, special)
    seen = ids[mask & ~torch.isin(ids, special)]
    if not len(seen):
        return ids, rows & False
    frequent = seen[torch.randint(len(seen), ids.shape, device=ids.device)]
    anything = torch.randint(n_vocab, ids.shape, device=ids.device)
    anything = torch.where(torch.isin(anything, special), frequent, anything)
    drawn = torch.where(torch.rand(ids.shape, device=ids.device) < 0.5, frequent, anything)
    return torch.where(chosen, drawn, ids), rows


def changed_rows(
    batch: dict[str, Tensor], special: Tensor, share: float, n_vocab: int
) -> tuple[dict[str, Tensor], Tensor]:
    """The batch with `share` of the tokens of half the rows replaced, whose labels are forgotten, and which rows: (batch,)."""
    from edgebert.training.heads import forget

    ids = batch[INPUT_IDS]
    if not share:
        return batch, ids.new_zeros(len(ids)).bool()
    ids, rows = replace_tokens(ids, batch[ATTENTION_MASK].bool(), special.to(ids.device), share, n_vocab)
    return {**forget(batch, rows), INPUT_IDS: ids}, rows[:, 0]


def prediction_objective(
    student: Student,
    context: MethodContext,
    temperature: float = 2.0,
    hard_label_weight: float = 0.1,
    replace: float = 0.0,
) -> Objective:
    """The mean over rows of (1 - hard_label_weight) · L_pred + hard_label_weight · cross-entropy with the true labels.

    Of a row without labels it is L_pred alone, of one whose answers are not finite the cross-entropy alone. Where some
    tokens are replaced, the teacher is asked about the changed rows in each step; the others' answers may be had before.
    A student with a tokenizer of its own reads no changed rows: its teacher has answered each row beforehand.
    """
    import torch

    from edgebert.training.heads import ANSWERED, forget, hard_loss, rows_with_answers, rows_with_labels, soft_loss
    from edgebert.training.loop import DistillationObjective
    from edgebert.training.mlm import special_ids

    special, n_vocab = special_ids(student.tokenizer), student.tokenizer.get_vocab_size()
    replace = 0.0 if student.own_tokenizer else replace

    class Prediction(DistillationObjective):
        asks_once = True
        changed = staticmethod(partial(changed_rows, special=special, share=replace, n_vocab=n_vocab))

        def loss(self, batch: Tensors) -> Tensor:
            labelled = rows_with_labels(batch)
            batch, changed = self.changed(batch)
            return self.of_answers(self.answer(batch), self.answers_to(batch, changed), batch, labelled)

        def of_answers(self, ours: Tensors, theirs: Tensors, batch: Tensors, labelled: Tensor) -> Tensor:
            answered = rows_with_answers(theirs)
            terms = ((labelled & answered, hard_label_weight), (~labelled & answered, 0.0), (labelled & ~answered, 1.0))
            n_rows = (labelled | answered).sum().clamp(min=1)
            parts = [
                rows.sum() / n_rows * self.of_rows(rows, weight, ours, theirs, batch)
                for rows, weight in terms
                if rows.any()
            ]
            return torch.stack(parts or [soft_loss(self.student, ours, theirs, batch, temperature)]).sum()

        def of_rows(self, rows: Tensor, weight: float, ours: Tensors, theirs: Tensors, batch: Tensors) -> Tensor:
            true = hard_loss(self.student, ours, forget(batch, ~rows[:, None]), self.weights) if weight else 0.0
            soft = soft_loss(self.student, ours, theirs, batch, temperature, rows=rows) if weight < 1 else 0.0
            return torch.as_tensor((1 - weight) * soft + weight * true)

        def answers_to(self, batch: Tensors, changed: Tensor) -> Tensors:
            """The teacher's answers: those given, where there are any, but for the rows that were changed."""
            given = self.ask_teacher(batch)
            if not changed.any() or not any(name.startswith(ANSWERED) for name in batch):
                return given
            new = self.ask_teacher({name: batch[name][changed] for name in batch if not name.startswith(ANSWERED)})
            answers = {name: value.clone() for name, value in given.items()}
            for name, value in answers.items():
                value[changed] = new[name].to(value.dtype)
            return answers

    weights = context.task.class_weights(context.train, context.labels)
    return Prediction(student.model, context.teacher, student.teacher_ids, weights)


def learn_predictions(
    student: Student,
    context: MethodContext,
    name: str,
    epochs: float,
    *,
    rows: Sequence[Row] | None = None,
    temperature: float = 2.0,
    hard_label_weight: float = 0.1,
    replace: float = 0.0,
    learning_rate: float | None = None,
) -> None:
    """Trains the student, in place, on the teacher's answers; rows and learning rate are the context's unless given."""
    from edgebert.training.run import train_student

    objective = prediction_objective(student, context, temperature, hard_label_weight, replace)
    train_student(objective, student, context, f"{name}-prediction", epochs, rows=rows, learning_rate=learning_rate)
