"""One encoder with heads of ours: several tasks at once, or a sentence vector of a width of its own.

Liu, He, Chen, Gao (2019), "Multi-Task Deep Neural Networks for Natural Language Understanding", arXiv 1901.11504: the
encoder is shared, each task has a head, and a training step takes rows of any task. Difference: the paper draws each batch
from one task; here a batch mixes them, so that a step sees every head. A sequence head is the first token's state through
a dense layer and tanh, as BERT's; of encoders whose first state has not read the text it is the pooled state (`reads`).

`config.edgebert_heads` lists the heads: name ("" for one alone), kind (a name of HEADS), n_labels, problem, pooling,
width (of a sentence vector), steps (the modules that sentence-transformers puts after pooling), reads (of a sequence
head). It is saved with the config, so a checkpoint says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgebert.modeling.heads import Part, head_of, parts_of

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

WEIGHTS = "model.safetensors"


class HeadedEncoder(nn.Module):
    """Heads over a model of transformers.

    Args:
        encoder: gives `last_hidden_state` (batch, seq, width).
        config: the encoder's, with `edgebert_heads`.
    """

    base_model_prefix = "encoder"

    def __init__(self, encoder: Any, config: ModelConfig) -> None:
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
    def __init__(self, width: int, part: Part, dropout: float) -> None:
        super().__init__()
        self.reads = part.reads
        self.dense, self.dropout, self.classifier = (
            nn.Linear(width * len(part.reads.split("+")), width),
            nn.Dropout(dropout),
            nn.Linear(width, part.n_labels),
        )

    def forward(self, states: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        return (self.classifier(self.dropout(torch.tanh(self.dense(pooled(states, mask, self.reads))))),)


class _Span(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, 2)

    def forward(self, states: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        scores = self.classifier(states)
        return scores[:, :, 0], scores[:, :, 1]


class _Vector(nn.Module):
    """The pooled state, through the modules of its teacher or a projection that keeps lengths at first, then unit length.

    Args:
        width: of the states.
        part: `width` of the vector asked for, `steps` as `edgebert.modeling.sentence` has them, or neither.
    """

    def __init__(self, width: int, part: Part) -> None:
        super().__init__()
        self.pooling, self.normalize = part.pooling, part.normalize and not part.steps
        width *= len(part.pooling.split("+"))
        self.projection: nn.Module = nn.Identity()
        if part.width:
            linear = nn.Linear(width, part.width, bias=False)
            nn.init.orthogonal_(linear.weight)
            self.projection = linear
        self.steps = nn.ModuleList()
        for step in part.steps:
            self.steps.append(_Step(width, step))
            width = step.get("width", width)

    def forward(self, states: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        vectors = self.projection(pooled(states, mask, self.pooling))
        for step in self.steps:
            vectors = step(vectors)
        return (unit(vectors) if self.normalize else vectors,)


class _Step(nn.Module):
    """Dense, LayerNorm or Normalize of sentence-transformers; the weights have the names that they have there."""

    def __init__(self, width: int, step: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind, self.is_residual = step["step"], bool(step.get("residual"))
        if self.kind == "layer-norm":
            self.norm = nn.LayerNorm(width)
        if self.kind == "dense":
            self.linear = nn.Linear(width, step["width"], bias=step["bias"])
            self.activation = getattr(nn, step["activation"])()
            if self.is_residual and width != step["width"]:
                self.residual = nn.Linear(width, step["width"], bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        if self.kind == "normalize":
            return unit(vectors)
        if self.kind == "layer-norm":
            return torch.as_tensor(self.norm(vectors))
        created = self.activation(self.linear(vectors))
        if self.is_residual:
            created = created + (self.residual(vectors) if hasattr(self, "residual") else vectors)
        return torch.as_tensor(created)


def pooled(states: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """(batch, width) of states (batch, seq, width), padded at the right: a mode of sentence-transformers, or several
    joined by +, whose vectors are joined."""
    if mask is None:
        mask = torch.ones(states.shape[:2], dtype=torch.int64, device=states.device)
    parts = [_pooled(states, mask, mode) for mode in pooling.split("+")]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def _pooled(states: Tensor, mask: Tensor, mode: str) -> Tensor:
    if mode == "cls":
        return states[:, 0]
    weights = mask[:, :, None].float()
    if mode == "max":
        return (states * weights + (weights - 1) * 1e4).max(1).values  # finite in float16 too
    if mode == "lasttoken":
        after = torch.cat([weights[:, 1:], torch.zeros_like(weights[:, :1])], 1)
        return (states * (weights - after)).sum(1)
    if mode == "weightedmean":
        weights = weights * torch.arange(1, states.shape[1] + 1, device=states.device)[None, :, None]
    total = weights.sum(1)
    return (states * weights).sum(1) / (torch.sqrt(total) if mode == "mean_sqrt_len_tokens" else total)


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
        vectors = pooled(result.last_hidden_state, mask, parts[0].pooling)
        return {parts[0].outputs[0]: unit(vectors) if parts[0].normalize else vectors}
    return {name: getattr(result, name) for part in parts for name in part.outputs}


def outlets(model: Any) -> list[nn.Linear]:
    """The last linear layer of each head, whose outputs are the model's; none for vectors without a head."""
    if isinstance(model, HeadedEncoder):
        heads = list(model.heads.values())
    elif head_of(type(model).__name__).name == "sentence-embedding":
        return []
    else:
        heads = [nn.ModuleList(child for name, child in model.named_children() if name != model.base_model_prefix)]
    linear = [[module for module in head.modules() if isinstance(module, nn.Linear)] for head in heads]
    return [result[-1] for result in linear if result]


def _key(part: Part) -> str:
    return part.name or "head"


def _head(part: Part, config: ModelConfig) -> nn.Module:
    width, dropout = config.hidden_size, float(getattr(config, "hidden_dropout_prob", 0.1))
    if part.kind == "token-classification":
        return _Tokens(width, part.n_labels, dropout)
    if part.kind == "sequence-classification":
        return _Sequence(width, part, dropout)
    if part.kind == "question-answering":
        return _Span(width)
    return _Vector(width, part)


def build_headed(config: ModelConfig) -> HeadedEncoder:
    """The model of a config, with random weights."""
    from transformers import AutoModel

    encoder = AutoModel.from_config(
        config, attn_implementation="eager", dtype=torch.float32
    )  # whatever the config says
    return HeadedEncoder(encoder, config)


def load_headed(folder: Path, config: ModelConfig) -> HeadedEncoder:
    """The model as `save_pretrained` wrote it. Raises OSError, RuntimeError or SafetensorError where it cannot be read."""
    from safetensors.torch import load_model

    model = build_headed(config)
    load_model(model, str(folder / WEIGHTS))
    return model.eval()
