"""BERT with a classifier after each of some layers: a text whose label is certain there goes through no further layer.

Liu, Zhou, Wang, Zhao, Deng, Ju (2020), "FastBERT: a Self-distilling BERT with Adaptive Inference Time", arXiv 2004.02178. A
branch has the shape of the model's own classifier, and reads a layer's states as that reads the last one's. The uncertainty of
its answer is the entropy over its greatest value (equation 7); at less than `speed` it is the model's.

`exit_layers` are the layers, from 1, after which there is a branch. With a `speed` of 0 no text stops, and no branch is
computed. Of several texts in a batch each gets the answer that it gets alone; layers are computed until all are certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import ModelOutput

from edgebert.modeling.exits import Exits, uncertainty
from edgebert.modeling.families import Family
from edgebert.modeling.families._bert_layers import BertLayersConfig, BertLayersModel, n_whole
from edgebert.modeling.heads import HEADS, MULTI_TASK, parts_of
from edgebert.modeling.heads._module import head_module

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.operators import Operator


class FastBertConfig(BertLayersConfig):
    """Sizes of a BERT, and where it may stop. `exit_layers` None is after every layer but the last."""

    model_type = "fastbert"

    def __init__(self, exit_layers: Sequence[int] | None = None, speed: float = 0.0, **rest: Any) -> None:
        super().__init__(**rest)
        n_layers = self.num_hidden_layers
        self.exit_layers = list(range(1, n_layers)) if exit_layers is None else list(exit_layers)
        self.speed = speed
        if self.exit_layers != sorted(set(self.exit_layers)) or not set(self.exit_layers) <= set(range(1, n_layers)):
            raise ValueError(f"exit_layers {self.exit_layers} are not layers from 1 to {n_layers - 1}, in order")
        if not 0 <= speed <= 1:
            raise ValueError(f"speed {speed} is not from 0 to 1")


@dataclass
class FastBertOutput(ModelOutput):
    """States (batch, seq, hidden_size) of the last layer that was computed, and what stops before it.

    Where all heads read the first token's state, the model's last layer gives that one alone, (batch, 1, hidden_size).
    """

    last_hidden_state: Tensor | None = None
    token_mask: Tensor | None = None
    exits: Exits | None = None


class FastBertModel(BertLayersModel):
    """(batch, seq) ids, mask and types to the states that heads read, and to what exits answer."""

    config_class = FastBertConfig
    base_model_prefix = "fastbert"

    def __init__(self, config: FastBertConfig) -> None:
        super().__init__(config)
        parts = parts_of(config, HEADS.get(MULTI_TASK).auto_model) if hasattr(config, "edgebert_heads") else ()
        self.branches = nn.ModuleDict(
            {str(layer): head_module(part, config) for part in parts for layer in config.exit_layers}
        )
        self.post_init()

    def after_layers(self, ids: Tensor, real: Tensor, types: Tensor | None) -> Iterator[tuple[str, Tensor]]:
        """The number of each layer and the states after it, computed when they are asked for: (batch, seq, width).

        Where all heads read the first token's state, the last layer computes that one alone, which changes no answer.
        """
        states = self.embeddings(ids, torch.zeros_like(ids) if types is None else types)
        for i, layer in enumerate(cast("Sequence[Any]", self.layers), 1):
            states, _ = layer.attention(states, real, ids.shape[0], first_alone=i > n_whole(self.config))
            states = layer.feed_forward(states)
            yield str(i), states

    def real(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, seq): 1.0 at real tokens."""
        return (torch.ones_like(ids) if mask is None else mask).to(self.dtype)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: object,
    ) -> FastBertOutput:
        real = self.real(input_ids, attention_mask)
        stops = self.config.speed > 0 and not self.training
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # a file gets all layers
        exits: list[tuple[Tensor, Tensor]] = []
        certain = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        for layer, states in self.after_layers(input_ids, real, token_type_ids):
            if stops and layer in self.branches:
                (logits,) = self.branches[layer](states, real)
                exits.append((uncertainty(logits) < self.config.speed, logits))
                if not traced:
                    certain = certain | exits[-1][0]
                    if bool(certain.all()):
                        break
        return FastBertOutput(last_hidden_state=states, token_mask=real[:, : states.shape[1]], exits=tuple(exits))


def layer_operators(config: ModelConfig, seq_len: int) -> list[Operator]:
    """Of all layers and branches: what a text costs that stops nowhere, and the most that one can cost."""
    from edgebert.modeling.operators import ADD, LAYER_NORM, MOVE, Operator, shrinking_layer

    rows, n, whole = seq_len * config.embedding_size, len(config.exit_layers), n_whole(config)
    layers = [seq_len] * whole + [1] * (config.num_hidden_layers - whole)

    def product(name: str, inner: int, outer: int) -> Operator:
        return Operator(name, n, 2 * inner * outer, inner + outer, inner * outer, (1, inner, outer))

    return [
        Operator("embedding gather", 2, MOVE * rows, 2 * rows),
        Operator("embedding sum", 2, ADD * rows, 2 * rows),
        Operator("layer norm", 1, LAYER_NORM * rows, 2 * rows),
        *(item for after in layers for item in shrinking_layer(config, seq_len, after)),
        product("exit dense", config.hidden_size, config.hidden_size),
        product("exit classifier", config.hidden_size, config.num_labels),
    ]


FAMILY = Family("fastbert", FastBertConfig, FastBertModel, layer_operators=layer_operators)
