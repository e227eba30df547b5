"""One vector a token, their weighted mean, a small head: the fastest student of texts.

Bommasani, Davis, Cardie (2020), "Interpreting Pretrained Contextualized Representations via Reductions to Static
Embeddings", ACL 2020: a token's static vector is the mean of its states over many contexts, which beats its state alone.
The student is a deep averaging network of one layer (Iyyer, Manjunatha, Boyd-Graber, Daumé III 2015, "Deep Unordered
Composition Rivals Syntactic Methods for Text Classification", ACL 2015):

    m = Σ_t w_t u_t / n                                 over the n real tokens of a text
    z = W_2 tanh(W_1 m + b_1) + b_2                     of a head of labels; a sentence vector is m / ‖m‖

with w_t u_t as `edgebert.methods._static_table` has them. Then all of it is trained on the teacher's answers for the rows,
for --unlabelled, and for `augment` changed samples of each row (`edgebert.data.augment.by_noise`), and on the true labels:

    L = hard_label_weight · CE(y, z_S) + (1 - hard_label_weight) · T² CE(softmax(z_T / T), softmax(z_S / T))

Weights are not kept beside the vectors: the length of a row is its weight, and training moves both.

Differences: Bommasani et al. compare words, over a large corpus; here it is tokens, over the task's text, with the state
alone as a prior. Weights are those of Arora et al. 2017, not learnt by themselves. Words left out while training are
Iyyer et al.'s (`token_dropout`); their vectors start at GloVe's. The teacher reads every row once, before the training.
The learning rate is one for a table that starts near its end and a head that starts at random; it does not follow the width
of the teacher, as --learning-rate does, for nothing of the student is as wide.
A student whose tokens the teacher cannot read starts from its own word table. Tasks that tag words or find spans want a
state that has read its neighbours: `conv`, `bilstm`.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS, HARD, TEMPERATURE, prediction_objective
from edgebert.methods.bilstm import samples
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

NO_LAYERS = "a static student has no layers"
PASSES = 4  # over the rows, for each that --effort gives: one costs next to nothing


def apply(
    student: Student, context: MethodContext, *, width: int, token_dropout: float, epochs: float, augment: int,
    temperature: float, hard_label_weight: float, rate: float,
) -> Student:  # fmt: skip
    """A static student that learnt the teacher's answers and the labels."""
    from edgebert.methods._static_table import token_table
    from edgebert.modeling.rebuild import rebuilt
    from edgebert.training.run import train_student

    config = reshape(copy.deepcopy(student.model.config), width=width, token_dropout=token_dropout)
    table, note = token_table(student, context, context.transfer, width)
    student = rebuilt(student, config, {"embeddings.weight": table})
    student = replace(student, notes=(*student.notes, f"vectors: {note}"))
    objective = prediction_objective(student, context, temperature, hard_label_weight)
    train_student(
        objective, student, context, "static", epochs or PASSES * context.text_epochs(epochs),
        rows=[*context.transfer, *samples(student, context, augment)],
        learning_rate=rate,
    )  # fmt: skip
    return student


def reshape(config: ModelConfig, *, width: int, token_dropout: float, **_: object) -> ModelConfig:
    from edgebert.modeling.rebuild import config_like, read_pooled

    created = config_like(config, "static", hidden_size=width, token_dropout_prob=token_dropout)
    return read_pooled(created, "mean")


def check(config: ModelConfig, teacher: ModelConfig, *, width: int, **_: object) -> None:
    if width > (widest := teacher.hidden_size):
        what = f"a vector of {width} numbers cannot be made of a teacher's {widest}"
        raise RequestError(what, where="static.width", hint=f"At most {widest}.")


METHOD = Method(
    name="static",
    title="One vector a token, and a small head",
    paper=Paper(
        "Interpreting Pretrained Contextualized Representations via Reductions to Static Embeddings",
        "Bommasani, Davis, Cardie",
        2020,
        url="https://aclanthology.org/2020.acl-main.431",
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param("width", int, 256, "numbers of a token's vector", minimum=1),
        Param("token_dropout", float, 0.2, "share of the tokens left out in training, 0 to 1", minimum=0, maximum=0.9),
        replace(EPOCHS, help=f"passes over the rows; 0 takes {PASSES} times what --effort gives"),
        Param("augment", int, 4, "changed samples of each training row", minimum=0),
        TEMPERATURE,
        replace(HARD, default=0.5),
        Param("rate", float, 3e-3, "learning rate, in place of --learning-rate", minimum=1e-6),
    ),
    heads=("sequence-classification", "sentence-embedding"),
    needs=("hidden states",),
    excludes={"drop-layers": NO_LAYERS, "round-embedding": "the word table that it rounds is replaced by another"},
    answers=plain_answers,
    any_tokenizer=True,
    reads_text=True,
    toy={"width": 16, "epochs": 1, "augment": 1, "rate": 0.01},
)
