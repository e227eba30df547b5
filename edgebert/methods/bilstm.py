"""A student of another kind: a bidirectional LSTM that learns the teacher's logits, on the rows and on changed ones.

Tang, Lu, Liu, Mou, Vechtomova, Lin (2019), "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks",
arXiv 1903.12136:

    L = hard_label_weight · CE(y, z_S) + (1 - hard_label_weight) · ‖z_B - z_S‖²        equation 3; their alpha is `hard_label_weight`, and 0 with changed rows

z_B are the logits of the teacher, z_S those of the student. `augment` samples of each training row are added
(`edgebert.data.augment.by_noise`, their section 2.3); their labels are unknown.

Differences: the student reads the tokens of its tokenizer, as narrow rows of the table that it had
(`edgebert.modeling.rebuild.narrowed`); the paper's reads words, as two tables of word2vec, one of them fixed, 600 numbers
together. Where words are tagged, the loss is the mean over every real token; spans and sentence vectors have no logits of
labels, so their loss is that of the other methods (`edgebert.training.heads`). Texts of --unlabelled are learnt from too. A
pair is read as one text, the paper has a siamese network. A head of whole texts is a layer of the BiLSTM's width with tanh,
in place of 200 or 400 rectified units. AdamW with a falling rate in place of AdaDelta; `rate` is that of --learning-rate
several times over, as all but the word table starts at random. The paper draws 20 samples of a row in small data sets, 10
in large ones; `augment` defaults to 4 for time. The teacher reads every row once, before the training. On 1600 rows of
banking77 (one seed, 4 epochs), `rate` 10 and `augment` 4 came to 72.7 % of the test rows right, 80.0 % in 8 epochs.

Formats: ONNX has an operator for an LSTM, and 8 bits for it. Core ML has the operator and keeps its weights in 16 bits in
every reduced precision. TFLite has none that torch's export reaches: the steps are written out one by one for each length,
so that the file of a small student is mostly graph, and its conversion takes minutes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS
from edgebert.modeling.heads import HEADS
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Row, Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig
    from edgebert.training.loop import Objective

TAKES_LAYERS = "no layer of the teacher is in a BiLSTM"


def logit_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """‖z_B - z_S‖², the mean over positions, of logits (n, n_labels); 0 where there is none."""
    each = (teacher - student).square().sum(-1)
    return each.mean() if len(each) else each.sum()


def logit_objective(student: Student, context: MethodContext, hard_label_weight: float) -> Objective:
    """Equation 3 for each head that has logits of labels, `soft_loss` for others."""
    import torch

    from edgebert.modeling.heads import parts_of
    from edgebert.modeling.losses import answered_tokens
    from edgebert.training.heads import hard_loss, rows_with_answers, soft_loss
    from edgebert.training.loop import DistillationObjective

    parts = parts_of(student.model.config, type(student.model).__name__)
    labelled = [part for part in parts if part.head.has_labels]
    tagging, sorting = ([p.outputs[0] for p in labelled if p.head.per_token is by_token] for by_token in (True, False))
    others = [part for part in parts if not part.head.has_labels]

    class Logits(DistillationObjective):
        asks_once = True

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            theirs, ours = self.ask_teacher(batch), self.answer(batch)
            real, known = batch[ATTENTION_MASK].bool(), rows_with_answers(theirs)
            losses = [soft_loss(self.student, ours, theirs, batch, 1.0, others)] if others else []
            for name in tagging:
                note = answered_tokens(theirs[name], real) & known[:, None]
                losses.append(logit_distance(ours[name][note], theirs[name][note]))
            losses += [logit_distance(ours[name][known], theirs[name][known]) for name in sorting]
            soft = torch.stack(losses).sum()
            return (1 - hard_label_weight) * soft + hard_label_weight * hard_loss(
                self.student, ours, batch, self.weights
            )

    weights = context.task.class_weights(context.train, context.labels)
    return Logits(student.model, context.teacher, student.teacher_ids, weights)


def samples(student: Student, context: MethodContext, n: int) -> list[Row]:
    """At most n changed rows for each training row."""
    from edgebert.data.augment import by_noise, mask_word, words_of
    from edgebert.data.neighbours import word_classes

    if not n:
        return []
    readers = (student.tokenizer, context.teacher_tokenizer) if student.own_tokenizer else (student.tokenizer,)
    return by_noise(
        context.train,
        n,
        mask=mask_word(*readers),
        classes=word_classes(words_of(context.train, tagged=False), seed=context.settings.seed),
        seed=context.settings.seed,
        second=not HEADS.get(context.task.head).finds_places,
    )


def apply(
    student: Student,
    context: MethodContext,
    *,
    epochs: float,
    augment: int,
    hard_label_weight: float,
    rate: float,
    **sizes: int,
) -> Student:
    """A BiLSTM that learnt the teacher's logits."""
    from edgebert.modeling.rebuild import narrowed, rebuilt
    from edgebert.training.run import train_student

    rows = [*context.transfer, *samples(student, context, augment)]
    config = reshape(copy.deepcopy(student.model.config), **sizes)
    table, _ = narrowed(student.model.get_input_embeddings().weight.detach(), config.embedding_size)
    student = rebuilt(student, config, {"embeddings.weight": table})
    train_student(
        logit_objective(student, context, hard_label_weight), student, context, "bilstm", context.text_epochs(epochs),
        rows=rows, learning_rate=rate * context.settings.learning_rate,
    )  # fmt: skip
    return student


def reshape(config: ModelConfig, *, embedding_width: int, hidden: int, n_layers: int, **_: object) -> ModelConfig:
    from edgebert.modeling.rebuild import config_like

    sizes = {"embedding_size": embedding_width, "hidden_size": hidden, "num_hidden_layers": n_layers}
    return config_like(config, "bilstm", **sizes)


def check(config: ModelConfig, teacher: ModelConfig, *, embedding_width: int, hidden: int, **_: object) -> None:
    from edgebert.modeling.operators import embedding_width as width_of

    if hidden % 2:
        what = f"{hidden} cannot be halved between the two directions"
        raise RequestError(what, where="bilstm.hidden", hint="Give an even number.")
    if embedding_width > (widest := width_of(config)):
        what = f"a word table of width {widest} has no {embedding_width} numbers a row to give"
        raise RequestError(what, where="bilstm.embedding_width", hint=f"At most {widest}.")


METHOD = Method(
    name="bilstm",
    title="Distil into a bidirectional LSTM",
    paper=Paper(
        "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks",
        "Tang, Lu, Liu, Mou, Vechtomova, Lin",
        2019,
        "1903.12136",
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param("embedding_width", int, 128, "of the word table", minimum=1),
        Param("hidden", int, 256, "width of a state, both directions together", minimum=2),
        Param("n_layers", int, 1, "LSTMs on top of each other, a pair each", minimum=1),
        EPOCHS,
        Param("augment", int, 4, "changed samples of each training row", minimum=0),
        Param("hard_label_weight", float, 0.0, "weight of the true labels, 0 to 1; the teacher's logits have the rest",
              minimum=0, maximum=1),
        Param("rate", float, 10.0, "times --learning-rate", minimum=0.01),
    ),
    excludes={
        "drop-layers": TAKES_LAYERS,
        "round-embedding": "the word table that it rounds is replaced by a narrower one",
    },
    answers=plain_answers,
    any_tokenizer=True,
    reads_text=True,
    toy={"embedding_width": 16, "hidden": 32, "epochs": 1, "augment": 1, "rate": 10.0},
)  # fmt: skip
