"""A student of another kind: dilated convolutions over tokens, which learn the teacher's logits.

Strubell, Verga, Belanger, McCallum (2017), "Fast and Accurate Entity Recognition with Iterated Dilated Convolutions",
arXiv 1702.02098: each layer reads a token and its neighbours at a distance δ, which doubles from layer to layer, so that
the last of l layers of kernel 3 has read 2^(l+1) - 1 tokens, all of them at once:

    c_t = relu(W [x_{t-δ}; x_t; x_{t+δ}] + b)                               equation 4, δ = 1, 2, 4 …
    L = hard_label_weight · CE(y, z_S) + (1 - hard_label_weight) · ‖z_T - z_S‖²                       as `bilstm`

A text's label is told from the greatest value of each state over its tokens (Kim 2014, "Convolutional Neural Networks for
Sentence Classification", arXiv 1408.5882), a sentence vector is the mean of the states.

Differences: each layer adds to what it read and has a layer norm after it (x + c), and none shares its weights; the paper
iterates one block and predicts after each turn. The table is the student's word table, narrowed
(`edgebert.modeling.rebuild.narrowed`), with a map to the width of the layers; the paper reads whole words and their shape.
Training and changed samples are those of `bilstm`; the learning rate is the student's own, as nothing of it is as wide as
its teacher.

Formats: all. A convolution is written as one product of neighbouring states, for which every runtime has 8-bit kernels;
an LSTM has no operator in TFLite that torch's export reaches.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS
from edgebert.methods.bilstm import logit_objective, samples
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig


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
    """Convolutions that learnt the teacher's logits."""
    from edgebert.modeling.rebuild import narrowed, rebuilt
    from edgebert.training.run import train_student

    rows = [*context.transfer, *samples(student, context, augment)]
    config = reshape(copy.deepcopy(student.model.config), **sizes)
    table, _ = narrowed(student.model.get_input_embeddings().weight.detach(), config.embedding_size)
    student = rebuilt(student, config, {"embeddings.weight": table})
    train_student(
        logit_objective(student, context, hard_label_weight), student, context, "conv", context.text_epochs(epochs),
        rows=rows, learning_rate=rate,
    )  # fmt: skip
    return student


def reshape(
    config: ModelConfig, *, embedding_width: int, hidden: int, n_layers: int, kernel: int, **_: object
) -> ModelConfig:
    from edgebert.modeling.rebuild import config_like, read_pooled

    sizes = {"embedding_size": embedding_width, "hidden_size": hidden, "num_hidden_layers": n_layers}
    return read_pooled(config_like(config, "conv", kernel_size=kernel, **sizes), "max")


def check(config: ModelConfig, teacher: ModelConfig, *, embedding_width: int, kernel: int, **_: object) -> None:
    from edgebert.modeling.operators import embedding_width as width_of

    if not kernel % 2:
        what = f"a kernel of {kernel} has no token in its middle"
        raise RequestError(what, where="conv.kernel", hint="Give an odd number.")
    if embedding_width > (widest := width_of(config)):
        what = f"a word table of width {widest} has no {embedding_width} numbers a row to give"
        raise RequestError(what, where="conv.embedding_width", hint=f"At most {widest}.")


METHOD = Method(
    name="conv",
    title="Distil into dilated convolutions",
    paper=Paper(
        "Fast and Accurate Entity Recognition with Iterated Dilated Convolutions",
        "Strubell, Verga, Belanger, McCallum",
        2017,
        "1702.02098",
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param("embedding_width", int, 128, "of the word table", minimum=1),
        Param("hidden", int, 256, "width of a layer", minimum=1),
        Param("n_layers", int, 3, "layers; each reads twice as far as the one before", minimum=1, maximum=8),
        Param("kernel", int, 3, "tokens that a layer reads at once, an odd number", minimum=1),
        EPOCHS,
        Param("augment", int, 4, "changed samples of each training row", minimum=0),
        Param("hard_label_weight", float, 0.0, "weight of the true labels, 0 to 1; the teacher's logits have the rest",
              minimum=0, maximum=1),
        Param("rate", float, 1.5e-3, "learning rate, in place of --learning-rate", minimum=1e-6),
    ),
    excludes={
        "drop-layers": "no layer of the teacher is a convolution",
        "round-embedding": "the word table that it rounds is replaced by a narrower one",
    },
    answers=plain_answers,
    any_tokenizer=True,
    reads_text=True,
    toy={"embedding_width": 16, "hidden": 32, "n_layers": 2, "epochs": 1, "augment": 1, "rate": 5e-3},
)  # fmt: skip
