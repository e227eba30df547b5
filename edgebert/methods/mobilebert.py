"""A deep, thin student between linear bottlenecks, taught layer by layer, then by the teacher's answers.

Sun, Yu, Song, Liu, Yang, Zhou (2020), "MobileBERT: a Compact Task-Agnostic BERT for Resource-Limited Devices", arXiv
2004.02984. A layer takes states of the teacher's width N down to `bottleneck`, runs attention and four stacked
feed-forward networks there, and comes back to N; norms are the map γ ∘ h + β; three neighbouring narrow embeddings make
one token's. Layer m of the student learns from layer g(m) of the teacher, over T tokens and A heads:

- L_FMT = 1/(T N) Σ_t Σ_n (H_T[t, n] - H_S[t, n])²          equation 1, feature maps
- L_AT = 1/(T A) Σ_t Σ_a KL(A_T[t, a] ‖ A_S[t, a])          equation 2, attention

`transfer`: progressive takes the layers one after the other, each for an equal share of the epochs, with those below it
frozen; joint takes the sum over all at once. `inner` is the transfer's share of the epochs, on `--unlabelled` and the
texts of the training rows; the rest is the prediction phase's.

Differences: the teacher is the task's own, not a BERT-large with inverted bottlenecks that was made for this, so its
feature maps have its full width. The paper distils in pretraining (masked words, next sentence); here the task's
predictions are distilled. The paper splits L_FMT into normalised maps and their statistics; here it is equation 1, and
the losses have no weights. In practice the paper gives lower layers a small rate; here they are frozen. It copies the
embedding from a teacher that has a narrow one; here the teacher's table is narrowed (`scaled_embedding` of
`edgebert.methods._narrow_embedding`), starts without its neighbours, and learns with layer 1. Heads are copied, layers
start random. The feed-forward networks are 4 times as wide as the bottleneck, as the paper's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._frozen import only
from edgebert.methods._narrow_embedding import check_width, scaled_embedding
from edgebert.methods._phases import INNER
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, learn_predictions
from edgebert.methods._stack import n_layers_param
from edgebert.methods._teacher_weights import sentence_head
from edgebert.modeling.roles import sizes_of
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.align import layer_map
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from edgebert.modeling.config import ModelConfig
    from edgebert.training.features import Trace
    from edgebert.training.loop import Objective


def transfer_loss(ours: Trace, theirs: Trace, mask: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Scalar: Σ L_FMT + L_AT over pairs of a student's and a teacher's layer, from 1.

    Args:
        mask: (batch, seq), true at real tokens.
    """
    import torch

    from edgebert.training.losses import attention_kl, hidden_mse

    return torch.stack(
        [
            hidden_mse(ours.hidden[m], theirs.hidden[g], mask)
            + attention_kl(ours.attentions[m - 1], theirs.attentions[g - 1], mask)
            for m, g in pairs
        ]
    ).sum()


def transfer_objective(student: Student, context: MethodContext, pairs: Sequence[tuple[int, int]]) -> Objective:
    from edgebert.training.loop import DistillationObjective

    class Transfer(DistillationObjective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            theirs = self.trace_teacher(batch, "hidden states", "attentions")
            ours = self.trace(batch, "hidden states", "attentions")
            return transfer_loss(ours, theirs, batch[ATTENTION_MASK].bool(), pairs)

    return Transfer(student.model, context.teacher, student.teacher_ids)


def apply(
    student: Student, context: MethodContext, *, epochs: float, inner: float, transfer: str, temperature: float,
    hard_label_weight: float, replace: float, **shape: object,
) -> Student:  # fmt: skip
    """The MobileBERT student after both phases."""
    created = untrained(student, **shape)
    layers = layer_map("uniform", created.model.config.num_hidden_layers, context.teacher.config.num_hidden_layers)
    _transfer(
        created, context, list(enumerate(layers))[1:], transfer == "progressive", inner * context.text_epochs(epochs)
    )
    learn_predictions(
        created,
        context,
        "mobilebert",
        (1 - inner) * (epochs or context.settings.epochs),
        temperature=temperature,
        hard_label_weight=hard_label_weight,
        replace=replace,
    )
    return created


def untrained(student: Student, **shape: Any) -> Student:
    """The MobileBERT student with the teacher's embedding and heads, and random layers."""
    from edgebert.modeling.rebuild import rebuilt

    config = reshape(student.model.config, **shape)
    return rebuilt(student, config, scaled_embedding(student.model, config) | sentence_head(student.model))


def _transfer(
    student: Student, context: MethodContext, pairs: list[tuple[int, int]], progressive: bool, epochs: float
) -> None:
    from edgebert.modeling.layers import encoder_layers
    from edgebert.training.run import train_student

    if not epochs:
        return
    layers = encoder_layers(student.model)
    base = getattr(student.model, student.model.base_model_prefix, student.model)
    for stage in [[pair] for pair in pairs] if progressive else [pairs]:
        learning = [layers[m - 1] for m, _ in stage] + [base.embeddings] * (stage[0][0] == 1)
        share = epochs * len(stage) / len(pairs)
        with only(student.model, learning):
            objective = transfer_objective(student, context, stage)
            name, rows = f"mobilebert-layer-{stage[0][0]}", context.transfer
            train_student(objective, student, context, name, share, rows=rows, scored=False)


def bottleneck_of(config: ModelConfig, bottleneck: int) -> int:
    """As asked, or a quarter of the width, to the nearest that the heads divide."""
    heads = config.num_attention_heads
    return bottleneck or max(1, round(config.hidden_size / 4 / heads)) * heads


def reshape(config: ModelConfig, *, embedding_width: int, bottleneck: int, n_layers: int, **_: object) -> ModelConfig:
    from edgebert.modeling.rebuild import config_like

    width, sizes = bottleneck_of(config, bottleneck), sizes_of(config)
    notes = {name: sizes[name] for name in ("hidden_size", "num_attention_heads", "type_vocab_size")}
    notes["num_hidden_layers"] = n_layers or sizes["num_hidden_layers"]
    return config_like(
        config, "mobilebert", embedding_size=embedding_width, intra_bottleneck_size=width, intermediate_size=4 * width,
        **notes,
    )  # fmt: skip


def check(
    config: ModelConfig, teacher: ModelConfig, *, embedding_width: int, bottleneck: int, n_layers: int, **_: object
) -> None:
    depth, heads = n_layers or config.num_hidden_layers, config.num_attention_heads
    layer_map("uniform", depth, teacher.num_hidden_layers, where="mobilebert.n_layers")
    for name in ("hidden_size", "num_attention_heads"):
        if getattr(config, name) != getattr(teacher, name):
            what = f"a student of {name} {getattr(config, name)} cannot learn from {getattr(teacher, name)}"
            raise RequestError(what, where="mobilebert", hint="Leave out what narrows the student before it.")
    if bottleneck % heads:
        what = f"{heads} heads do not divide a bottleneck of {bottleneck}"
        raise RequestError(what, where="mobilebert.bottleneck", hint=f"Choose a multiple of {heads}.")
    check_width(embedding_width, config, where="mobilebert.embedding_width")


METHOD = Method(
    name="mobilebert",
    title="Thin layers between bottlenecks, taught layer by layer",
    paper=Paper(
        "MobileBERT: a Compact Task-Agnostic BERT for Resource-Limited Devices",
        "Sun, Yu, Song, Liu, Yang, Zhou",
        2020,
        "2004.02984",
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        EPOCHS,
        INNER,
        Param("transfer", str, "progressive", "layer by layer, or all at once", choices=("progressive", "joint")),
        Param("bottleneck", int, 0, "width inside a layer; 0 is a quarter of the teacher's", minimum=0),
        Param("embedding_width", int, 128, "of the word table", minimum=1),
        n_layers_param("depth of the student; 0 is its teacher's; left open, the planner chooses"),
        TEMPERATURE,
        HARD,
        REPLACE,
    ),
    needs=("hidden states", "attentions"),
    excludes={"round-embedding": "it makes the word table anew"},
    reads_text=True,
    toy={"epochs": 1, "inner": 0.2, "embedding_width": 16},
)
