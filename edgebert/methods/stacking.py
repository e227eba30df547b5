"""Learn from text with few layers first, then copy the stack onto itself and learn on, until the student is as deep as asked.

Gong, He, Li, Qin, Wang, Liu (2019), "Efficient Training of BERT by Progressively Stacking", ICML, PMLR 97, algorithm 1. For a
student of L layers and k doublings:

    M_0 = train(the L / 2^k lowest layers)
    M_i = train(stack(M_{i-1}))   for i = 1 … k,   where layer j + n of stack(M) is layer j of M, of n layers

Each training guesses hidden tokens (masked words). Embeddings, and the head that guesses, go on from one to the next.

Differences: the first layers begin with the weights that the student comes with, a copy of the teacher's, where the paper's
begin at random; a recipe that makes a student of random weights before this gives the paper's. `early` of all passes over
the text is shared equally by the trainings before the last; the paper sets steps of its own. Learning rate and optimiser
begin anew with each. There is no next-sentence loss. Where the first layer lacks a norm that the others have (ModernBERT),
its copy keeps its own.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._stack import check_stack
from edgebert.methods._text import EPOCHS, SHARE, learn_text
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

MOST = 2  # doublings where none are asked for; the paper's 3, 6 and 12 layers


def depths(n_layers: int, doublings: int) -> tuple[int, ...]:
    """Layers of each training, the last being all. With 0 doublings, as many as the depth allows, two at most.

    Raises:
        RequestError: a depth that cannot be halved so often.
    """
    k = doublings or next((i for i in (MOST, 1) if n_layers % 2**i == 0), 1)
    if n_layers % 2**k:
        what = f"{n_layers} layers cannot be halved {k} time{'s' if k > 1 else ''}"
        raise RequestError(what, where="stacking.doublings", hint=f"Choose a depth that {2**k} divides.")
    return tuple(n_layers // 2 ** (k - i) for i in range(k + 1))


def check(config: ModelConfig, teacher: ModelConfig, *, doublings: int, **_: object) -> None:
    from edgebert.modeling.layers import layer_settings

    check_stack(config, "stacking")
    for size in depths(config.num_hidden_layers, doublings)[1:]:
        for name, kinds in layer_settings(config).items():
            for lower, upper in enumerate(range(size // 2, size)):
                if kinds[lower] != kinds[upper]:
                    what = (
                        f"layer {upper + 1} cannot be a copy of layer {lower + 1}: the {name} of {config.model_type} are "
                        f"{kinds[upper]} for the one and {kinds[lower]} for the other"
                    )
                    hint = "Choose a depth at which the upper half has the kinds of the lower one, or fewer doublings."
                    raise RequestError(what, where="stacking.doublings", hint=hint)


def apply(
    student: Student, context: MethodContext, *, epochs: float, early: float, doublings: int, share: float
) -> Student:
    """The student after all trainings, as deep as it came."""
    from torch import nn

    from edgebert.modeling.layers import encoder_layers, replace_layers
    from edgebert.training.mlm import MaskedLm

    check(student.model.config, context.teacher.config, doublings=doublings)
    layers, whole_config = list(encoder_layers(student.model)), copy.deepcopy(student.model.config)
    sizes = depths(len(layers), doublings)
    whole = context.text_epochs(epochs)
    objective = MaskedLm(student.model, student.tokenizer, share=share, where="stacking")
    for i, size in enumerate(sizes):
        if i:
            for lower, upper in zip(layers[: size // 2], layers[size // 2 : size], strict=True):
                upper.load_state_dict({**upper.state_dict(), **lower.state_dict()})
        replace_layers(student.model, nn.ModuleList(layers[:size]), range(size), whole_config)
        passes = whole * (early / (len(sizes) - 1) if size < len(layers) else 1 - early)
        if passes:
            learn_text(objective, student, context, f"stacking-{size}", passes)
    student.notes += (f"stacked from {sizes[0]} to {sizes[-1]} layers",)
    return student


METHOD = Method(
    name="stacking",
    title="Learn from text with few layers, then stack them",
    paper=Paper(
        "Efficient Training of BERT by Progressively Stacking",
        "Gong, He, Li, Qin, Wang, Liu",
        2019,
        url="https://proceedings.mlr.press/v97/gong19a.html",
    ),
    stage="pretrain",
    apply=apply,
    check=check,
    params=(
        EPOCHS,
        Param("early", float, 0.3, "share of the passes before the student has all layers", minimum=0, maximum=1),
        Param("doublings", int, 0, "of the stack; 0 takes as many as the depth allows, two at most", minimum=0),
        SHARE,
    ),
    any_tokenizer=True,
    hides_tokens=lambda **_: True,
    reads_text=True,
    toy={"epochs": 1},
)
