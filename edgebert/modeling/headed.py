"""One encoder with heads of ours: several tasks at once, or a sentence vector of a width of its own.

Liu, He, Chen, Gao (2019), "Multi-Task Deep Neural Networks for Natural Language Understanding", arXiv 1901.11504: the
encoder is shared, each task has a head, and a training step takes rows of any task. Difference: the paper draws each batch
from one task; here a batch mixes them, so that a step sees every head. A sequence head is the first token's state through
a dense layer and tanh, as BERT's.

`config.edgebert_heads` lists the heads: name ("" for one alone), kind (a name of HEADS), n_labels, problem, pooling,
width (of a sentence vector). It is saved with the config, so a checkpoint says what it is.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from edgebert.modeling.heads import Part, parts_of

WEIGHTS = "model.safetensors"


class HeadedEncoder(nn.Module):
    """Heads over a model of transformers.

    Args:
        encoder: gives `last_hidden_state` (batch, seq, width).
        config: the encoder's, with `edgebert_heads`.
    """

    base_model_prefix = "encoder"

    def __init__(self, encoder: Any, config: Any) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = nn.Identity()  # no head reads it; SqueezeBERT calls it unasked
        config.architectures = [type(self).__name__]
        self.parts = parts_of(config, type(self).__name__)
        self.heads = nn.ModuleDict({_key(part): _head(part, config) for part in self.parts})

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        token_mask: Tensor | None = None,
        **options: Any,
    ) -> SimpleNamespace:
        """Each head's outputs by name, beside what else the encoder gives.

        Args:
            input_ids, token_type_ids: (batch, seq).
            attention_mask: (batch, seq), or what else the encoder takes.
            token_mask: (batch, seq), 1 at real tokens, where `attention_mask` has another form.
        """
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        result = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types, **options)
        mask = attention_mask if token_mask is None else token_mask
        given: dict[str, Tensor] = {}
        for part in self.parts:
            values = self.heads[_key(part)](result.last_hidden_state, mask)
            given.update(zip(part.outputs, values, strict=True))
        return SimpleNamespace(**{**result, **given})

    def get_input_embeddings(self) -> Any:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, table: nn.Module) -> None:
        self.encoder.set_input_embeddings(table)

    def save_pretrained(self, folder: Path) -> None:
        """config.json and the weights, for `load_headed`."""
        from safetensors.torch import save_model

        folder.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(folder)
        save_model(self, str(folder / WEIGHTS), metadata={"format": "pt"})


class _Tokens(nn.Module):
    def __init__(self, width: int, n_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout, self.classifier = nn.Dropout(dropout), nn.Linear(width, n_labels)

    def forward(self, states: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        return (self.classifier(self.dropout(states)),)


class _Sequence(nn.Module):
    def __init__(self, width: int, n_labels: int, dropout: float) -> None:
        super().__init__()
        self.dense, self.dropout, self.classifier = (
            nn.Linear(width, width),
            nn.Dropout(dropout),
            nn.Linear(width, n_labels),
        )

    def forward(self, states: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        return (self.classifier(self.dropout(torch.tanh(self.dense(states[:, 0])))),)


class _Span(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, 2)

    def forward(self, states: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        scores = self.classifier(states)
        return scores[:, :, 0], scores[:, :, 1]


class _Vector(nn.Module):
    """The pooled state through a projection that keeps lengths at first, then unit length."""

    def __init__(self, width: int, own: int, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling
        self.projection: nn.Module = nn.Identity()
        if own:
            linear = nn.Linear(width, own, bias=False)
            nn.init.orthogonal_(linear.weight)
            self.projection = linear

    def forward(self, states: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        return (unit(self.projection(pooled(states, mask, self.pooling))),)


def pooled(states: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """(batch, width) of states (batch, seq, width): the mean over real tokens, or the first one's."""
    if pooling == "cls":
        return states[:, 0]
    if mask is None:
        return states.mean(1)
    weights = mask[:, :, None].float()
    return (states * weights).sum(1) / weights.sum(1)


def unit(vectors: Tensor) -> Tensor:
    """(batch, width), each of length 1."""
    return vectors / torch.sqrt((vectors * vectors).sum(-1, keepdim=True))


def answers(model: nn.Module, result: Any, mask: Tensor | None) -> dict[str, Tensor]:
    """Every output of a model by its name: what its heads gave, or the pooled states of a bare encoder.

    Args:
        result: what the model returned.
        mask: (batch, seq), 1 at real tokens.
    """
    parts = parts_of(model.config, type(model).__name__)
    if not isinstance(model, HeadedEncoder) and parts[0].kind == "sentence-embedding":
        return {parts[0].outputs[0]: unit(pooled(result.last_hidden_state, mask, parts[0].pooling))}
    return {name: getattr(result, name) for part in parts for name in part.outputs}


def _key(part: Part) -> str:
    return part.name or "head"


def _head(part: Part, config: Any) -> nn.Module:
    width, dropout = config.hidden_size, float(getattr(config, "hidden_dropout_prob", 0.1))
    if part.kind == "token-classification":
        return _Tokens(width, part.n_labels, dropout)
    if part.kind == "sequence-classification":
        return _Sequence(width, part.n_labels, dropout)
    if part.kind == "question-answering":
        return _Span(width)
    return _Vector(width, part.width, part.pooling)


def build_headed(config: Any) -> HeadedEncoder:
    """The model of a config, with random weights."""
    from transformers import AutoModel

    return HeadedEncoder(AutoModel.from_config(config, attn_implementation="eager"), config)


def load_headed(folder: Path, config: Any) -> HeadedEncoder:
    """The model as `save_pretrained` wrote it. Raises OSError, RuntimeError or SafetensorError where it cannot be read."""
    from safetensors.torch import load_model

    model = build_headed(config)
    load_model(model, str(folder / WEIGHTS))
    return model.eval()
