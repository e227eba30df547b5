"""BERT's embeddings and layers in parts, for families that do something between them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN

MASKED = -1e4  # added to hidden scores: exp underflows to 0 in float32 and float16 alike


class BertLayersConfig(PretrainedConfig):
    """Sizes of a BERT."""

    def __init__(
        self,
        vocab_size: int = 30522,
        embedding_size: int = 768,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int = 0,
        **rest: object,
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, **rest)
        self.vocab_size, self.embedding_size, self.hidden_size = vocab_size, embedding_size, hidden_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.intermediate_size, self.hidden_act, self.layer_norm_eps = intermediate_size, hidden_act, layer_norm_eps
        self.max_position_embeddings, self.type_vocab_size = max_position_embeddings, type_vocab_size
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob


def n_whole(config: Any) -> int:
    """Layers that compute the states of all tokens: not the last one where all heads read the first token's state."""
    heads = getattr(config, "edgebert_heads", ())
    return int(config.num_hidden_layers) - all(head.get("reads", "cls") == "cls" for head in heads)


class Attention(nn.Module):
    """LN(x + dropout(W softmax(Q Kᵀ / √d) V)), of the first state alone where asked; and the probabilities."""

    def __init__(self, config: BertLayersConfig) -> None:
        super().__init__()
        width, self.n_heads = config.hidden_size, config.num_attention_heads
        self.head_width = width // self.n_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.dropout_of_probabilities = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, states: Tensor, real: Tensor, n_texts: int, *, first_alone: bool) -> tuple[Tensor, Tensor]:
        read = states[:, :1] if first_alone else states
        query, key, value = (
            product(given).view(n_texts, -1, self.n_heads, self.head_width).transpose(1, 2)
            for product, given in ((self.query, read), (self.key, states), (self.value, states))
        )
        bias = (1.0 - real)[:, None, None, :] * MASKED
        probabilities = (query @ key.transpose(2, 3) * self.head_width**-0.5 + bias).softmax(-1)
        attended = (self.dropout_of_probabilities(probabilities) @ value).transpose(1, 2)
        attended = attended.reshape(n_texts, -1, self.n_heads * self.head_width)
        return self.norm(read + self.dropout(self.dense(attended))), probabilities


class FeedForward(nn.Module):
    """LN(x + dropout(W₂ f(W₁ x)))."""

    def __init__(self, config: BertLayersConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.hidden_size, config.intermediate_size)
        self.outer = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.activation, self.dropout = ACT2FN[config.hidden_act], nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor) -> Tensor:
        return torch.as_tensor(self.norm(states + self.dropout(self.outer(self.activation(self.inner(states))))))


class Layer(nn.Module):
    def __init__(self, config: BertLayersConfig) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(config), FeedForward(config)


class Embeddings(nn.Module):
    """The sum of a word's, its place's and its type's vector, normed; and a map to the width of the layers where needed."""

    def __init__(self, config: BertLayersConfig) -> None:
        super().__init__()
        width = config.embedding_size
        self.words: nn.Module = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.places = nn.Embedding(config.max_position_embeddings, width)
        self.types = nn.Embedding(config.type_vocab_size, width)
        self.norm, self.dropout = nn.LayerNorm(width, eps=config.layer_norm_eps), nn.Dropout(config.hidden_dropout_prob)
        self.projection = None if width == config.hidden_size else nn.Linear(width, config.hidden_size)

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        places = self.places(torch.arange(ids.shape[1], device=ids.device))
        states = self.dropout(self.norm(self.words(ids) + self.types(types) + places))
        return torch.as_tensor(states if self.projection is None else self.projection(states))


class BertLayersModel(PreTrainedModel):
    """Embeddings and layers; a subclass says how states go through them."""

    def __init__(self, config: BertLayersConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.words

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings.words = value
