"""A bidirectional LSTM over tokens, with the interface of an encoder of transformers.

The backward direction reads each row from its last real token: rows are turned round within their length, read forwards,
and turned back. So padding is always behind what is read, a row gives the same states whatever it is padded to, and the
graph holds two plain LSTMs that every exporter knows.

At the first token only the backward half of a state has read the row. Heads of whole texts read that token, so in the last
layer its forward half is taken from the last real token: then both halves have read all.
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


class BiLstmConfig(PretrainedConfig):
    """Sizes of a BiLSTM. `hidden_size` is that of both directions together."""

    model_type = "bilstm"

    def __init__(
        self,
        vocab_size: int = 30522,
        embedding_size: int = 128,
        hidden_size: int = 256,
        num_hidden_layers: int = 1,
        max_position_embeddings: int = 512,
        hidden_dropout_prob: float = 0.1,
        pad_token_id: int = 0,
        **rest: object,
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, **rest)
        self.vocab_size, self.embedding_size, self.hidden_size = vocab_size, embedding_size, hidden_size
        self.num_hidden_layers, self.max_position_embeddings = num_hidden_layers, max_position_embeddings
        self.hidden_dropout_prob = hidden_dropout_prob


def turned(states: Tensor, mask: Tensor) -> Tensor:
    """Each row with its real tokens in reverse, padding where it was.

    Args:
        states: (batch, seq, width).
        mask: (batch, seq), 1 at real tokens, which come first.
    """
    places = torch.arange(states.shape[1], device=states.device)[None, :]
    length = mask.long().sum(1, keepdim=True)
    source = torch.where(places < length, length - 1 - places, places)
    return states.gather(1, source[:, :, None].expand(-1, -1, states.shape[2]))


def gathered(states: Tensor, mask: Tensor) -> Tensor:
    """The states with the first token's forward half taken from the row's last real token.

    Args:
        states: (batch, seq, width), forward half first.
        mask: (batch, seq), 1 at real tokens, which come first.
    """
    half = states.shape[2] // 2
    ahead = turned(states[:, :, :half], mask)[:, :1]
    return torch.cat([torch.cat([ahead, states[:, :1, half:]], -1), states[:, 1:]], 1)


class _Layer(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(width, hidden // 2, batch_first=True)
        self.backwards = nn.LSTM(width, hidden // 2, batch_first=True)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        ahead, _ = self.forwards(states)
        back, _ = self.backwards(turned(states, mask))
        return torch.cat([ahead, turned(back, mask)], -1)


class BiLstmModel(PreTrainedModel):
    """(batch, seq) ids and mask to states (batch, seq, hidden_size)."""

    config_class = BiLstmConfig
    base_model_prefix = "bilstm"

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__(config)
        self.embeddings: nn.Module = nn.Embedding(
            config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id
        )
        widths = [config.embedding_size, *[config.hidden_size] * (config.num_hidden_layers - 1)]
        self.layers = nn.ModuleList(_Layer(width, config.hidden_size) for width in widths)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)

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
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states = self.embeddings(input_ids)
        results = [states]
        for layer in self.layers:
            states = layer(self.dropout(states), mask)
            results.append(states)
        states = results[-1] = gathered(states, mask)
        return BaseModelOutput(last_hidden_state=states, hidden_states=tuple(results) if output_hidden_states else None)


def layer_operators(config: ModelConfig, seq_len: int) -> list[Operator]:
    """Of each layer: what the tokens bring to the gates at once, then a step a token, in two directions."""
    from edgebert.modeling.operators import Operator

    half, width, results = config.hidden_size // 2, config.embedding_size, []
    for _ in range(config.num_hidden_layers):
        into = Operator("lstm input", 2, 2 * seq_len * width * 4 * half, seq_len * (width + 4 * half), 4 * half * width,
                        (seq_len, width, 4 * half))  # fmt: skip
        step = Operator("lstm step", 2, 2 * seq_len * half * 4 * half, seq_len * 6 * half, 4 * half * half)
        results += [into, step]
        width = config.hidden_size
    return results


FAMILY = Family("bilstm", BiLstmConfig, BiLstmModel, layer_operators=layer_operators)
