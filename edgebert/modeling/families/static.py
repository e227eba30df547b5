"""One vector a token and nothing else, with the interface of an encoder of transformers.

A token's state does not depend on its neighbours, so heads of whole texts read the mean over real tokens (a head's
`reads`, and `edgebert_pooling`). How much a token counts in that mean is the length of its vector. While it is trained, a
share of the tokens is left out (Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text
Classification", section 3.2), and what is left is scaled up for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from edgebert.modeling.families import Family

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.operators import Operator


class StaticConfig(PretrainedConfig):
    """Sizes of a table of vectors. It has no layers."""

    model_type = "static"

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 256,
        num_hidden_layers: int = 0,
        max_position_embeddings: int = 512,
        hidden_dropout_prob: float = 0.1,
        token_dropout_prob: float = 0.0,
        pad_token_id: int = 0,
        **rest: object,
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, **rest)
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.max_position_embeddings = max_position_embeddings  # what a window may hold; no table has a row for each
        self.hidden_dropout_prob, self.token_dropout_prob = hidden_dropout_prob, token_dropout_prob


class StaticModel(PreTrainedModel):
    """(batch, seq) ids to states (batch, seq, hidden_size)."""

    config_class = StaticConfig
    base_model_prefix = "static"

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.embeddings: nn.Module = nn.Embedding(
            config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id
        )
        self.token_dropout = nn.Dropout1d(config.token_dropout_prob)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: object,
    ) -> BaseModelOutput:
        states: Tensor = self.embeddings(input_ids)
        if self.training:
            states = self.token_dropout(states)
        return BaseModelOutput(
            last_hidden_state=torch.as_tensor(states), hidden_states=(states,) if output_hidden_states else None
        )


def operators(config: ModelConfig, seq_len: int) -> list[Operator]:
    """All of a pass with one answer a text: the rows, their mean, a dense layer, the labels."""
    from edgebert.modeling.operators import ADD, MOVE, Operator

    width, labels = config.hidden_size, config.num_labels
    rows = seq_len * width
    return [
        Operator("embedding gather", 1, MOVE * rows, 2 * rows),
        Operator("mean", 2, ADD * rows, 2 * rows),  # padding left out, then the sum
        Operator("pooled dense", 1, 2 * width * width, 2 * width, width * width, (1, width, width)),
        Operator("tanh", 1, 10 * width, 2 * width),
        Operator("head", 1, 2 * width * labels, width + labels, width * labels, (1, width, labels)),
    ]


FAMILY = Family("static", StaticConfig, StaticModel, operators=operators)
