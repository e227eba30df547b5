"""BERT whose layers pass on fewer word vectors each: those that received most attention.

Goyal, Choudhury, Raje, Chakaravarthy, Sabharwal, Verma (2020), "PoWER-BERT: Accelerating BERT Inference via Progressive
Word-vector Elimination", arXiv 2001.08950. Between a layer's attention and its feed-forward network stand the word vectors'
significance scores, and those with the highest go on: the first one of a text always, padding never before a real token.

`kept_layers` says for each layer what share of a text's tokens leaves it, in steps of 1 / `GRID`, none more than the layer
before; `least_kept` says how many stay at the least, where there are as many. Of a text of n tokens that is padded to N, the
tensors hold ⌈share · N⌉ vectors and ⌈share · n⌉ of them take part: so shapes depend on N alone, and answers on the text alone.

Heads read the first token's state or the mean of those that are left. Where all read the first one, the last layer computes
that one alone, which changes no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import ModelOutput

from edgebert.modeling.families import Family
from edgebert.modeling.families._bert_layers import MASKED, BertLayersConfig, BertLayersModel, n_whole

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.operators import Operator

# (layer, significance scores (batch, seq), 1.0 at real tokens (batch, seq)) -> a factor for each word vector, (batch, seq)
Retention = Callable[[int, Tensor, Tensor], Tensor]
GRID = 128  # steps of a share: exact in every float type, and single tokens of a text of 128


class PowerBertConfig(BertLayersConfig):
    """Sizes of a BERT. `kept_layers` is the share of the tokens that leaves each layer; None keeps all."""

    model_type = "power-bert"

    def __init__(self, kept_layers: Sequence[float] | None = None, least_kept: int = 1, **rest: Any) -> None:
        super().__init__(**rest)
        self.least_kept = least_kept
        self.kept_layers = [1.0] * self.num_hidden_layers if kept_layers is None else list(kept_layers)
        if len(grid_steps(self.kept_layers)) != self.num_hidden_layers:
            raise ValueError(f"kept_layers has {len(self.kept_layers)} shares for {self.num_hidden_layers} layers")


def grid_steps(shares: Sequence[float]) -> list[int]:
    """The shares in steps of 1 / GRID. Raises ValueError where one is no such step, or greater than the one before."""
    steps = [round(share * GRID) for share in shares]
    if any(n / GRID != share for n, share in zip(steps, shares, strict=True)):
        raise ValueError(f"kept_layers {list(shares)} are not multiples of 1/{GRID}")
    if steps != sorted(steps, reverse=True) or not all(0 < n <= GRID for n in steps):
        raise ValueError(f"kept_layers {list(shares)} are not shares from 1 to over 0, of which none grows")
    return steps


def kept_of(n_tokens: int, step: int, least: int = 1) -> int:
    """Of n tokens ⌈step / GRID · n⌉, but `least` at the least where there are as many.

    Written without a comparison, so that an exporter that follows the number of tokens writes it for any number.
    """
    share, floor = (n_tokens * step + GRID - 1) // GRID, (n_tokens + least - abs(n_tokens - least)) // 2
    return (share + floor + abs(share - floor)) // 2


def significance(attention: Tensor, real: Tensor) -> Tensor:
    """The attention that each word vector receives, summed over heads and over the real tokens that give it.

    Args:
        attention: (batch, heads, seq, seq), a row for each token that gives it.
        real: (batch, seq), 1.0 at real tokens.

    Returns:
        (batch, seq).
    """
    return (real[:, None, None, :] @ attention).sum((1, 2))


def ranked(scores: Tensor, real: Tensor) -> Tensor:
    """Scores by which the first token comes first and padding last, (batch, seq)."""
    first = torch.arange(scores.shape[1], device=scores.device) == 0
    return torch.where(first, -MASKED, scores * real + (real - 1.0))


def gathered(states: Tensor, chosen: Tensor, n_texts: int) -> Tensor:
    """The states (n_texts, kept, width) of those (n_texts, seq, width) at `chosen` (n_texts, kept).

    They are looked up as rows of a table: every runtime has a fast kernel for that.
    """
    starts = torch.arange(n_texts, device=states.device)[:, None] * states.shape[1]
    return nn.functional.embedding(chosen + starts, states.reshape(-1, states.shape[2]))


@dataclass
class PowerBertOutput(ModelOutput):
    """States (batch, kept, hidden_size), the first token's first, and what each counts in their mean, (batch, kept)."""

    last_hidden_state: Tensor | None = None
    token_mask: Tensor | None = None


class PowerBertModel(BertLayersModel):
    """(batch, seq) ids, mask and types to the states of the word vectors that are left.

    Attributes:
        retention: in place of extraction, factors of the word vectors that pass each layer: what learns `kept_layers`.
    """

    config_class = PowerBertConfig
    base_model_prefix = "power_bert"
    retention: Retention | None = None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: object,
    ) -> PowerBertOutput:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        states = self.embeddings(input_ids, types)
        real, n_real = mask.to(states.dtype), mask.sum(1, keepdim=True)
        n_texts, n_tokens = input_ids.shape
        before, free, least = GRID, n_whole(self.config), self.config.least_kept
        counts, layers = real, cast("Sequence[Any]", self.layers)
        for i, (layer, step) in enumerate(zip(layers, grid_steps(self.config.kept_layers), strict=True)):
            states, attention = layer.attention(states, real, n_texts, first_alone=i == free)
            if i == free:
                counts = counts[:, :1]
            elif self.retention is not None:
                counts = self.retention(i, significance(attention, real), real)
                states = states * counts[:, :, None]
            elif step < before:
                kept = kept_of(n_tokens, step, least)
                chosen = ranked(significance(attention, real), real).topk(kept, dim=1).indices
                states = gathered(states, chosen, n_texts)
                places = torch.arange(kept, device=states.device)[None, :]  # by score, so that padding is behind
                limit = torch.maximum(n_real * step, n_real.clamp(max=least) * GRID)
                counts = real = (places * GRID < limit).to(states.dtype)
            states, before = layer.feed_forward(states), step
        return PowerBertOutput(last_hidden_state=states, token_mask=counts)


def layer_operators(config: ModelConfig, seq_len: int) -> list[Operator]:
    """Of each layer: attention over the word vectors that reach it, their scores, and the rest over those that leave it."""
    from edgebert.modeling.operators import ADD, LAYER_NORM, MOVE, Operator, shrinking_layer

    steps = grid_steps(config.kept_layers)[: n_whole(config)]
    lengths = [seq_len, *(kept_of(seq_len, step, config.least_kept) for step in steps), 1]
    lengths = lengths[: config.num_hidden_layers + 1]
    rows = seq_len * config.embedding_size
    embedding = [
        Operator("embedding gather", 2, MOVE * rows, 2 * rows),
        Operator("embedding sum", 2, ADD * rows, 2 * rows),
        Operator("layer norm", 1, LAYER_NORM * rows, 2 * rows),
    ]
    return [
        *embedding,
        *(item for before, after in pairwise(lengths) for item in shrinking_layer(config, before, after)),
    ]


FAMILY = Family("power-bert", PowerBertConfig, PowerBertModel, layer_operators=layer_operators)
