"""One encoder with heads of ours: several tasks at once, or a sentence vector of a width of its own.

Liu, He, Chen, Gao (2019), "Multi-Task Deep Neural Networks for Natural Language Understanding", arXiv 1901.11504: the
encoder is shared, each task has a head, and a training step takes rows of any task. Difference: the paper draws each batch
from one task; here a batch mixes them, so that a step sees every head. A sequence head is the first token's state through
a dense layer and tanh, as BERT's; of encoders whose first state has not read the text it is the pooled state (`reads`).

`config.edgebert_heads` lists the heads: name ("" for one alone), kind (a head's name), n_labels, problem, pooling,
width (of a sentence vector), steps (the modules that sentence-transformers puts after pooling), reads (of a sequence
head). It is saved with the config, so a checkpoint says what it is; it names no class in `architectures`, where others look for
one of transformers.
"""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from edgebert.modeling.exits import answer_with
from edgebert.modeling.heads import Part, head_of, parts_of
from edgebert.modeling.heads._module import head_module
from edgebert.modeling.ragged import from_config
from edgebert.runtime.specs import TOKEN_TYPE_IDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

WEIGHTS = "model.safetensors"


class HeadedEncoder(nn.Module):
    """Heads over a model of transformers.

    Args:
        encoder: gives `last_hidden_state` (batch, seq, width).
        config: the encoder's, with `edgebert_heads`.
    """

    base_model_prefix = "encoder"

    def __init__(self, encoder: PreTrainedModel, config: ModelConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = nn.Identity()  # no head reads it; SqueezeBERT calls it unasked
        config.architectures = [type(self).__name__]
        self.parts = parts_of(config, type(self).__name__)
        self.heads = nn.ModuleDict({_key(part): head_module(part, config) for part in self.parts})

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        token_mask: Tensor | None = None,
        **options: object,
    ) -> SimpleNamespace:
        """Each head's outputs by name, beside what else the encoder gives.

        Args:
            input_ids, token_type_ids: (batch, seq).
            attention_mask: (batch, seq), or what else the encoder takes.
            token_mask: (batch, seq), 1 at real tokens, where `attention_mask` has another form.
        """
        types = {} if token_type_ids is None else {TOKEN_TYPE_IDS: token_type_ids}
        result = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types, **options)
        mask = attention_mask if token_mask is None else token_mask
        mask = getattr(result, "token_mask", mask)  # of an encoder that passes on fewer states than it was given
        given: dict[str, Tensor] = {}
        for part in self.parts:
            values = self.heads[_key(part)](result.last_hidden_state, mask)
            if exits := getattr(result, "exits", None):  # of an encoder that labels some texts before its last layer
                values = (answer_with(exits, *values),)
            given.update(zip(part.outputs, values, strict=True))
        return SimpleNamespace(**{**result, **given})

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, table: nn.Module) -> None:
        self.encoder.set_input_embeddings(table)

    def save_pretrained(self, folder: Path) -> None:
        """config.json and the weights, for `load_headed`."""
        from safetensors.torch import save_model

        folder.mkdir(parents=True, exist_ok=True)
        saved: Any = copy.deepcopy(self.config)
        saved.architectures = None  # transformers and optimum would look for the class among their own
        saved.save_pretrained(folder)
        save_model(self, str(folder / WEIGHTS), metadata={"format": "pt"})


def answers(model: nn.Module, result: Any, mask: Tensor | None) -> dict[str, Tensor]:
    """Every output of a model by its name: what its heads gave, or the pooled states of a bare encoder.

    Args:
        result: what the model returned.
        mask: (batch, seq), 1 at real tokens.
    """
    parts = parts_of(model.config, type(model).__name__)
    of_states = None if isinstance(model, HeadedEncoder) else parts[0].head.of_states
    if of_states is not None:
        return dict(zip(parts[0].outputs, of_states(result.last_hidden_state, mask, parts[0]), strict=True))
    return {name: getattr(result, name) for part in parts for name in part.outputs}


def outlets(model: PreTrainedModel) -> list[nn.Linear]:
    """The last linear layer of each head, whose outputs are the model's; none for vectors without a head."""
    if isinstance(model, HeadedEncoder):
        heads = list(model.heads.values())
    elif head_of(type(model).__name__).of_states is not None:
        return []
    else:
        heads = [nn.ModuleList(child for name, child in model.named_children() if name != model.base_model_prefix)]
    linear = [[module for module in head.modules() if isinstance(module, nn.Linear)] for head in heads]
    return [result[-1] for result in linear if result]


def _key(part: Part) -> str:
    return part.name or "head"


def build_headed(config: ModelConfig) -> HeadedEncoder:
    """The model of a config, with random weights."""
    return HeadedEncoder(from_config("AutoModel", config), config)


def load_headed(folder: Path, config: ModelConfig) -> HeadedEncoder:
    """The model as `save_pretrained` wrote it. Raises OSError, RuntimeError or SafetensorError where it cannot be read."""
    from safetensors.torch import load_model

    model = build_headed(config)
    load_model(model, str(folder / WEIGHTS))
    return model.eval()
