"""A narrow BERT whose weights come from the wide model by projection, then learn its hidden states.

Ashkboos, Croci, do Nascimento, Hoefler, Hensman (2024), "SliceGPT: Compress Large Language Models by Deleting Rows and
Columns", arXiv 2401.15024: the principal components of the states over some text, the weights between states turned into
that basis, the least components cut off. Heads by what they matter, as in Michel, Levy, Neubig (2019), "Are Sixteen Heads
Really Better than One?", arXiv 1905.10650.

Of states h of H numbers `width` = k stay, h̃ = A h, and h ≈ E h̃ + e (`edgebert.methods._projection`). Then, over states of
training rows:

    tables Ã = T Aᵀ      query, key, value, first feed-forward W E h̃ + (W e + b)      their outputs A W and A b
    norms γ̃ ∘ LN(h̃) + β̃, each number the least squares fit of the wide state's

- `n_layers` spread evenly are kept; 0 keeps all, so drop-layers may stand before.
- k / d heads of d numbers stay, d between 32 (or the wide model's, if less) and the wide model's; those that add most
  variance to the states. A head that must become narrower keeps the best factors of its products of query and key, and of
  value and output.
- `inner` neurons of each feed-forward, 4 k by default: those that add most variance. Means of what went stay in the biases.
- Each layer's two outputs are then fitted by least squares to the wide model's, in order, from what the student itself gives
  them; so are the heads' last layers.
- `align` times the recipe's epochs then minimise Σ_m |h̃_m - A h_g(m)|² / |A h_g(m)|², m from the embedding on, over
  --unlabelled and the texts of the training rows; `replace` as in kd.

Differences: SliceGPT has a basis a block, for which it puts a matrix on each residual connection, and turns layer norms into
RMS norms. Our students are plain BERTs, so there is one basis for all blocks, and a layer norm stays one: A keeps means and
lengths, the norm's scale is fitted. SliceGPT trains nothing. Michel et al. rank heads by the gradient at a gate on each, we
by the variance that they add. No option here was tuned on real rows yet.
Without dropout, since the student is much smaller than the data asks for. A family that adds something by the distance of
two tokens to their attention (MPNet) loses that; a note says so.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._stack import n_layers_param
from edgebert.methods.drop_layers import kept_layers
from edgebert.modeling.roles import layer_weights, layers_of, sizes_of
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.methods._narrowing import ActivationStatistics
    from edgebert.methods._projection import Projection
    from edgebert.modeling.config import ModelConfig
    from edgebert.training.loop import Objective

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "mpnet", "data2vec-text")
BY_DISTANCE = ("mpnet",)  # add to the attention of two tokens something by their distance
WIDTHS = (128, 192, 256)
HEAD_WIDTH = 32
TOKENS = 8_192  # of training rows, over which states are looked at
BATCH = 32
STORED_BYTES = 1_000_000_000  # at most, of the wide model's states that an alignment keeps from one epoch to the next


def head_shape(width: int, n_heads: int, head_width: int) -> tuple[int, int]:
    """Number of heads and their width: as many as there may be, none narrower than 32 or wider than the wide model's.

    Raises RequestError where there is no such number.
    """
    least = min(HEAD_WIDTH, head_width)
    for n in range(min(n_heads, width // least), 0, -1):
        if width % n == 0 and width // n <= head_width:
            return n, width // n
    what = f"a width of {width} cannot be cut into at most {n_heads} heads of {least} to {head_width} numbers"
    raise RequestError(what, where="narrow.width", hint=f"Choose a multiple of {least}.")


def check(config: ModelConfig, teacher: ModelConfig, *, width: int, n_layers: int, **_: object) -> None:
    """Raises RequestError for a family of another kind, and for a student that would be larger than what it comes from."""
    from edgebert.modeling.operators import embedding_width

    if config.model_type not in FAMILIES:
        what = f"{config.model_type} has layers of another kind than BERT's, whose weights a narrow BERT could take"
        raise RequestError(what, where="narrow", hint=f"It serves {', '.join(FAMILIES)}; well-read serves any family.")
    wide = sizes_of(config)["hidden_size"]
    if embedding_width(config) != wide:
        what = f"its word table has a width of {embedding_width(config)} and its layers one of {wide}"
        raise RequestError(
            what, where="narrow", hint="Use a method that does not project the states, such as well-read."
        )
    if width > wide:
        raise RequestError(f"{width} is wider than the {wide} of what it comes from", where="narrow.width")
    if n_layers > config.num_hidden_layers:
        what = f"{n_layers} layers cannot be kept of {config.num_hidden_layers}"
        raise RequestError(what, where="narrow.n_layers")
    _heads(config, width)


def _heads(config: ModelConfig, width: int) -> tuple[int, int]:
    sizes = sizes_of(config)
    n_heads = sizes["num_attention_heads"]
    return head_shape(width, n_heads, sizes["hidden_size"] // n_heads)


def reshape(config: ModelConfig, *, width: int, n_layers: int, inner: int, **_: object) -> ModelConfig:
    from edgebert.modeling.rebuild import config_like

    sizes = sizes_of(config)
    return config_like(
        config, "bert", hidden_size=width, num_hidden_layers=n_layers or sizes["num_hidden_layers"],
        num_attention_heads=_heads(config, width)[0],
        intermediate_size=min(inner or 4 * width, sizes["intermediate_size"]), hidden_act=sizes["hidden_act"],
        type_vocab_size=sizes["type_vocab_size"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        layer_norm_eps=sizes.get("layer_norm_eps", 1e-12) * sizes["hidden_size"] / width,  # a narrow vector is as long
    )  # fmt: skip


# ---------------------------------------------------------------- the student


def layers_kept(config: ModelConfig, n_layers: int) -> tuple[int, ...]:
    """Indices from 0 of the wide model's layers that the student's are made of, and whose states it learns."""
    return kept_layers("uniform", config.num_hidden_layers, n_layers or config.num_hidden_layers)


def batches_of(student: Student, context: MethodContext) -> list[dict[str, Tensor]]:
    """Training rows, spread evenly, of about TOKENS tokens at most, in batches."""
    from edgebert.training.loop import collate
    from edgebert.training.run import pad_id

    rows = context.train[:: 1 + len(context.train) // TOKENS]
    features = context.task.encode(rows, student.tokenizer, context.labels, context.settings.max_length)
    features = features[:: 1 + sum(len(item.input_ids) for item in features) // TOKENS]
    features = sorted(features, key=lambda feature: len(feature.input_ids))
    return [collate(features[i : i + BATCH], pad_id(student)) for i in range(0, len(features), BATCH)]


def untrained(
    student: Student, context: MethodContext, width: int, n_layers: int, inner: int
) -> tuple[Student, Projection]:
    """The narrow student before it is aligned, and the map from the wide model's states to its own."""
    from edgebert.methods import _narrowing as narrowing
    from edgebert.methods._projection import projection_of
    from edgebert.modeling.rebuild import rebuilt

    wide, kept = student.model.eval(), layers_kept(student.model.config, n_layers)
    config = reshape(wide.config, width=width, n_layers=n_layers, inner=inner)
    batches, sites = batches_of(student, context), narrowing.sites_of(wide, kept)
    seen = narrowing.look(wide, batches, sites)
    to = projection_of(seen.states, seen.scale, width)
    given = narrowing.project_tables(wide, config, to) | narrowing.head_weights(wide, seen, to)
    for i, index in enumerate(kept):
        weights = layer_weights(layers_of(wide)[index], "bert")
        created = narrowing.project_layer(weights, seen, i, to, config, sizes_of(wide.config)["num_attention_heads"])
        given |= {f"encoder.layer.{i}.{name}": value for name, value in created.items()}
    narrow = rebuilt(student, config, given)
    narrowing.fit_sites(narrow.model, narrowing.sites_of(narrow.model, range(len(kept))), wide, sites, batches, to)
    narrowing.fit_heads(narrow.model, seen, batches)
    return dataclasses.replace(narrow, notes=(*narrow.notes, _note(wide.config, config, kept, seen, to))), to


def _note(
    wide: ModelConfig, config: ModelConfig, kept: tuple[int, ...], seen: ActivationStatistics, to: Projection
) -> str:
    """What stays and what goes."""
    sizes = sizes_of(wide)
    covariance = seen.states.covariance
    share = float((to.encode @ covariance @ to.encode.T).trace() / covariance.trace())
    note = (
        f"states of width {sizes['hidden_size']} to {config.hidden_size} keep {100 * share:.1f} % of their variance; layers "
        f"{', '.join(str(i + 1) for i in kept)} of {sizes['num_hidden_layers']}, {config.num_attention_heads} of "
        f"{sizes['num_attention_heads']} heads, {config.intermediate_size} of {sizes['intermediate_size']} neurons"
    )
    if wide.model_type in BY_DISTANCE:
        note += f"; what {wide.model_type} adds to attention by the distance of two tokens is left out"
    return note


def alignment_objective(
    student: Student, wide: PreTrainedModel, goals: tuple[int, ...], to: Projection, replace: float
) -> Objective:
    """Σ_m |h̃_m - A h_g(m)|² / |A h_g(m)|², each a mean over real tokens. Rows as they are, the wide model reads once."""
    import torch

    from edgebert.methods._prediction import replace_tokens
    from edgebert.training.loop import DistillationObjective
    from edgebert.training.losses import hidden_mse
    from edgebert.training.mlm import special_ids

    special, n_vocab = special_ids(student.tokenizer), student.tokenizer.get_vocab_size()

    class Alignment(DistillationObjective):
        def __init__(self) -> None:
            super().__init__(student.model, wide, None)
            self.known: dict[bytes, Tensor] = {}  # of a row's tokens, (states, tokens, k) in half precision
            self.room = STORED_BYTES

        def wide_states(self, batch: dict[str, Tensor]) -> Tensor:
            """(states, batch, seq, k)"""
            hidden = self.trace_teacher(batch).hidden
            encode = to.encode.T.to(hidden[0].device)
            return torch.stack([hidden[goal].float() @ encode for goal in goals])

        def stored_states(self, batch: dict[str, Tensor]) -> Tensor:
            """As `wide_states`, 0 at padding; what no earlier batch held is stored while there is room."""
            keys = _row_keys(batch)
            lengths = batch[ATTENTION_MASK].sum(1).tolist()
            if new := [i for i, key in enumerate(keys) if key not in self.known]:
                asked = self.wide_states({name: value[new] for name, value in batch.items()})
                results = {i: asked[:, at, : lengths[i]].half() for at, i in enumerate(new)}
            else:
                results = {}
            wanted = torch.zeros(len(goals), *batch[INPUT_IDS].shape, len(to.encode), device=batch[INPUT_IDS].device)
            for i, key in enumerate(keys):
                states = results[i] if i in results else self.known[key]
                wanted[:, i, : lengths[i]] = states
                if i in results and self.room > 0:
                    self.known[key] = states.clone()
                    self.room -= 2 * states.numel()
            return wanted

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            mask = batch[ATTENTION_MASK].bool()
            if replace:
                ids = batch[INPUT_IDS]
                ids = replace_tokens(ids, mask, special.to(ids.device), replace, n_vocab)[0]
                batch = {**batch, INPUT_IDS: ids}
            wanted = self.wide_states(batch) if replace else self.stored_states(batch)
            losses = [
                hidden_mse(state, goal, mask) / goal[mask].square().mean()
                for state, goal in zip(self.trace(batch).hidden, wanted, strict=True)
            ]
            return torch.stack(losses).sum()

    return Alignment()


def _row_keys(batch: dict[str, Tensor]) -> list[bytes]:
    """Each row's real tokens and their types."""
    read = [batch[name] for name in (INPUT_IDS, TOKEN_TYPE_IDS) if name in batch]
    lengths = batch[ATTENTION_MASK].sum(1).tolist()
    return [b"".join(item[i, :n].cpu().numpy().tobytes() for item in read) for i, n in enumerate(lengths)]


def apply(
    student: Student, context: MethodContext, *, width: int, n_layers: int, inner: int, align: float, replace: float, rate: float,
) -> Student:  # fmt: skip
    """The narrow student, aligned with what it was made of."""
    from edgebert.training.run import train_student

    wide = student.model
    goals = (0, *(index + 1 for index in layers_kept(wide.config, n_layers)))
    narrow, to = untrained(student, context, width, n_layers, inner)
    if align:
        objective = alignment_objective(narrow, wide, goals, to, replace)
        epochs, peak = align * context.text_epochs(0.0), rate * context.settings.learning_rate
        train_student(
            objective,
            narrow,
            context,
            "narrow-align",
            epochs,
            rows=context.transfer,
            learning_rate=peak,
            scored=False,
        )
    return narrow


METHOD = Method(
    name="narrow",
    title="A narrow BERT by projection of the wide one",
    paper=Paper(
        "SliceGPT: Compress Large Language Models by Deleting Rows and Columns",
        "Ashkboos, Croci, do Nascimento, Hoefler, Hensman",
        2024,
        "2401.15024",
    ),
    stage="shape",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param("width", int, 128, "of the student's states; left open, the planner chooses", minimum=8,
              search=lambda config: tuple(width for width in WIDTHS if width <= config.hidden_size) or (config.hidden_size,)),
        n_layers_param("layers to keep, spread evenly; 0 keeps all; left open, the planner chooses"),
        Param("inner", int, 0, "neurons of a feed-forward; 0 is four times the width", minimum=0),
        Param("align", float, 1.0, "times the recipe's epochs, that the student learns the wide states; 0 leaves it out", minimum=0),
        Param("replace", float, 0.3, "share of tokens replaced in half of the rows meanwhile, 0 to 1", minimum=0, maximum=1),
        Param("rate", float, 1.0, "times the recipe's learning rate meanwhile", minimum=0.01),
    ),
    excludes={"round-embedding": "a narrowed word table leaves the grid that it was rounded to"},
    any_tokenizer=True,
    reads_text=True,
    toy={"width": 16, "n_layers": 2},
)  # fmt: skip
