"""A method with layers of its own, in one file: a family of encoders, and the student of it that keeps the word table.

Each layer adds to a token's state what a dense layer makes of it and of the state before it.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from edgebert.methods import Method, Param
from edgebert.modeling.families import Family
from edgebert.modeling.operators import ADD, Operator
from edgebert.training.context import MethodContext
from edgebert.types import Student


class ToyConfig(PretrainedConfig):
    model_type = "toy"

    def __init__(
        self, vocab_size: int = 100, hidden_size: int = 32, num_hidden_layers: int = 2,
        max_position_embeddings: int = 64, pad_token_id: int = 0, **rest: Any,
    ) -> None:  # fmt: skip
        super().__init__(pad_token_id=pad_token_id, **rest)
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.max_position_embeddings = max_position_embeddings


class ToyModel(PreTrainedModel):
    """(batch, seq) ids to states (batch, seq, hidden_size)."""

    config_class = ToyConfig
    base_model_prefix = "toy"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.embeddings: nn.Module = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.layers = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(config.num_hidden_layers))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings = value

    def forward(self, input_ids: Tensor, output_hidden_states: bool = False, **_: object) -> BaseModelOutput:
        results: list[Tensor] = [self.embeddings(input_ids)]
        for layer in self.layers:
            states = results[-1]
            before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)
            results.append(states + torch.tanh(layer(torch.cat([states, before], -1))))
        return BaseModelOutput(
            last_hidden_state=results[-1], hidden_states=tuple(results) if output_hidden_states else None
        )


def layer_operators(config: Any, seq_len: int) -> list[Operator]:
    width, n = config.hidden_size, config.num_hidden_layers
    moved, weights = 3 * seq_len * width, 2 * width * width
    dense = Operator("dense", n, 2 * seq_len * weights, moved, weights, (seq_len, 2 * width, width))
    return [dense, Operator("residual", n, ADD * seq_len * width, moved)]


def apply(student: Student, context: MethodContext, *, n_layers: int) -> Student:
    from edgebert.modeling.rebuild import rebuilt

    table = student.model.get_input_embeddings().weight.detach()
    config = reshape(copy.deepcopy(student.model.config), n_layers=n_layers)
    return rebuilt(student, config, {"embeddings.weight": table})


def reshape(config: Any, *, n_layers: int) -> Any:
    from edgebert.modeling.rebuild import config_like

    return config_like(config, "toy", hidden_size=config.hidden_size, num_hidden_layers=n_layers)


FAMILY = Family("toy", ToyConfig, ToyModel, layer_operators=layer_operators)
METHOD = Method(
    name="toy-method",
    title="Layers that look back by a token",
    paper=None,
    stage="shape",
    apply=apply,
    reshape=reshape,
    params=(Param("n_layers", int, 2, "depth of the student", minimum=1),),
    toy={"n_layers": 3},
)
