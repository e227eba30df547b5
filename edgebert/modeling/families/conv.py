"""Convolutions over tokens, with the interface of an encoder of transformers.

A layer reads each token and its neighbours at a distance, twice as far as the layer before. It is computed as one product
of the neighbours' states side by side: that is the same sum, and every runtime has fast 8-bit kernels for products.
Padding is set to zero before each layer, as is what lies beyond the row's ends, so a row gives the same states whatever
it is padded to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from edgebert.modeling.families import Family

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.operators import Operator


class ConvConfig(PretrainedConfig):
    """Sizes of a stack of convolutions."""

    model_type = "conv"

    def __init__(
        self,
        vocab_size: int = 30522,
        embedding_size: int = 128,
        hidden_size: int = 256,
        num_hidden_layers: int = 3,
        kernel_size: int = 3,
        max_position_embeddings: int = 512,
        hidden_dropout_prob: float = 0.1,
        pad_token_id: int = 0,
        **rest: object,
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, **rest)
        self.vocab_size, self.embedding_size, self.hidden_size = vocab_size, embedding_size, hidden_size
        self.num_hidden_layers, self.kernel_size = num_hidden_layers, kernel_size
        self.max_position_embeddings = max_position_embeddings  # what a window may hold; no table has a row for each
        self.hidden_dropout_prob = hidden_dropout_prob


def neighbours(states: Tensor, kernel: int, step: int) -> Tensor:
    """Each state with those of its neighbours, side by side in the order of the text; zeros beyond the ends.

    Args:
        states: (batch, seq, width).
        kernel: an odd number of neighbours, the state itself in their middle.
        step: from one neighbour to the next, in tokens.

    Returns:
        (batch, seq, kernel · width).
    """
    reach = step * (kernel - 1) // 2
    wide = F.pad(states, (0, 0, reach, reach))
    ends = [2 * reach - i * step for i in range(kernel)]  # what is left behind the slice
    return torch.cat([wide[:, 2 * reach - end : -end or None] for end in ends], -1)


class _Layer(nn.Module):
    """LN(x + dropout(relu(W [x_-d … x_+d] + b)))."""

    def __init__(self, width: int, kernel: int, step: int, dropout: float) -> None:
        super().__init__()
        self.kernel, self.step = kernel, step
        self.product = nn.Linear(kernel * width, width)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        read = neighbours(states * mask, self.kernel, self.step)
        return torch.as_tensor(self.norm(states + self.dropout(torch.relu(self.product(read)))))


class ConvModel(PreTrainedModel):
    """(batch, seq) ids and mask to states (batch, seq, hidden_size)."""

    config_class = ConvConfig
    base_model_prefix = "conv"

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        self.embeddings: nn.Module = nn.Embedding(
            config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id
        )
        width, dropout = config.hidden_size, config.hidden_dropout_prob
        self.projection, self.norm = nn.Linear(config.embedding_size, width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            _Layer(width, config.kernel_size, 2**i, dropout) for i in range(config.num_hidden_layers)
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

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
        real = mask[:, :, None].to(self.projection.weight.dtype)
        states = self.norm(self.projection(self.dropout(self.embeddings(input_ids))))
        results = [states]
        for layer in self.layers:
            states = layer(states, real)
            results.append(states)
        return BaseModelOutput(last_hidden_state=states, hidden_states=tuple(results) if output_hidden_states else None)


def layer_operators(config: ModelConfig, seq_len: int) -> list[Operator]:
    """The map to the layers' width and its norm, then of each layer a mask, the neighbours, a product, a sum, a norm."""
    from edgebert.modeling.operators import ADD, LAYER_NORM, MOVE, Operator

    width, n, kernel = config.hidden_size, config.num_hidden_layers, config.kernel_size
    states = seq_len * width

    def each(name: str, count: int, flops: int, times: int = 1) -> Operator:
        return Operator(name, count, flops * states, 2 * times * states)

    def product(name: str, count: int, into: int) -> Operator:
        moved = seq_len * (into + width)
        return Operator(name, count, 2 * seq_len * into * width, moved, into * width, (seq_len, into, width))

    return [
        product("embedding projection", 1, config.embedding_size),
        each("layer norm", n + 1, LAYER_NORM),
        each("scale and mask", n, ADD),
        each("neighbours", n, MOVE, kernel),
        product("convolution", n, kernel * width),
        each("relu", n, ADD),
        each("residual", n, ADD),
    ]


FAMILY = Family("conv", ConvConfig, ConvModel, layer_operators=layer_operators)
