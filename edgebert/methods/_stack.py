"""Encoders as a stack of layers of one kind: what the methods that drop, replace or copy whole layers ask of a family."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from edgebert.errors import RequestError
from edgebert.methods import Param

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig

TRIED = 5  # layers of the model that a family is tried on; no family has as many of anything else


def n_layers_param(help: str) -> Param:
    """The depth of the student. The planner tries 0 first: so it leaves the depth to a method that stands before."""
    return Param("n_layers", int, 0, help, minimum=0, search=lambda config: range(config.num_hidden_layers))


def check_stack(config: ModelConfig, where: str) -> None:
    """Raises RequestError where the family has no list of layers."""
    if why := _stack_of(config)[0]:
        raise RequestError(why, where=where, hint="Use another method.")


def first_lacks(config: ModelConfig) -> str:
    """Names of the weights that layers of this family have and its first one has not; "" where all are built alike.

    ModernBERT's first layer has no norm before attention: a checkpoint in which another stands there loses its norm.
    """
    return _stack_of(config)[1]


LayerOutput: TypeAlias = "Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]"  # hidden states stand first
_STACKS: dict[tuple[object, ...], tuple[str, str]] = {}  # a planner asks of many shapes


def _stack_of(config: ModelConfig) -> tuple[str, str]:
    """Why the family has no list of layers, "" where it has; and `first_lacks`."""
    key = (config.model_type, config.hidden_size)
    if key not in _STACKS:
        _STACKS[key] = _tried(config)
    return _STACKS[key]


def _tried(config: ModelConfig) -> tuple[str, str]:
    import torch
    from torch import nn
    from transformers import AutoModel

    from edgebert.modeling.families import families
    from edgebert.modeling.layers import encoder_layers, keep_settings

    families()
    few = copy.deepcopy(config)
    try:
        keep_settings(few, [min(i, config.num_hidden_layers - 1) for i in range(TRIED)])
        with torch.device("meta"):
            first, *others = encoder_layers(AutoModel.from_config(few, attn_implementation="eager"))
    except (RequestError, NotImplementedError):
        return f"{config.model_type} has no list of layers of which some could be taken out", ""
    if isinstance(first, nn.ModuleList):
        return f"{config.model_type} has blocks of layers, and none can be taken out by itself", ""
    own = dict(first.named_parameters())
    return "", ", ".join(name for name in dict(others[0].named_parameters()) if name not in own)


def hidden_of(returned: LayerOutput) -> Tensor:
    """The hidden states in what a layer returned: they stand first in a tuple or a dictionary."""
    if isinstance(returned, Mapping):
        return next(iter(returned.values()))
    return returned[0] if isinstance(returned, tuple) else returned


def with_hidden(returned: LayerOutput, hidden: Tensor) -> LayerOutput:
    """What a layer returned, with other hidden states."""
    if isinstance(returned, Mapping):
        return {**returned, next(iter(returned)): hidden}
    return (hidden, *returned[1:]) if isinstance(returned, tuple) else hidden
