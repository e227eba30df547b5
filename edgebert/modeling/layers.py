"""An encoder's stack of layers, and what its config says of each layer by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The model's stack of layers: its one ModuleList with config.num_hidden_layers items.

    Raises:
        RequestError: the family has no such list (ALBERT shares its layers, for one).
    """
    from torch import nn

    depth = model.config.num_hidden_layers
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    if not stacks:
        raise RequestError(
            f"{type(model).__name__} has no list of {depth} layers to choose from", hint="Use another method."
        )
    return stacks[0]


def configs_of(model: PreTrainedModel) -> list[ModelConfig]:
    """Each config that a part of the model holds: an encoder under our heads has its own."""
    return list({id(module.config): module.config for module in model.modules() if hasattr(module, "config")}.values())


def replace_layers(model: PreTrainedModel, layers: nn.ModuleList, origins: Sequence[int], like: Any = None) -> None:
    """Puts other layers where `encoder_layers` stand, and tells the config. In place.

    Args:
        origins: for each of `layers` the layer, from 0, of the config `like` as which it is described.
        like: a config of as many layers or more; by default the model's own.
    """
    stack, depth = encoder_layers(model), model.config.num_hidden_layers
    settings = layer_settings(like or model.config)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if child is stack:
                setattr(module, name, layers)
    for config in configs_of(model):
        if config.num_hidden_layers == depth:
            _describe(config, settings, origins)


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Leaves the layers with these numbers, from 0, in the model and in its config. In place."""
    from torch import nn

    stack = encoder_layers(model)
    replace_layers(model, nn.ModuleList(stack[i] for i in kept), kept)


def keep_settings(config: ModelConfig, kept: Sequence[int]) -> None:
    """The config of a model of which only the layers with these numbers, from 0, are kept. In place."""
    _describe(config, layer_settings(config), kept)


def layer_settings(config: ModelConfig) -> dict[str, list[object]]:
    """The fields of a config that hold one item a layer, such as ModernBERT's `layer_types`.

    They are told by name and length: DeBERTa's `pos_att_type` has two items whatever the depth.
    """
    return {
        name: list(value)
        for name, value in vars(config).items()
        if isinstance(value, list | tuple) and len(value) == config.num_hidden_layers and _of_each_layer(name)
    }


def kinds_of(config: ModelConfig) -> list[tuple[object, ...]]:
    """For each layer what its family gives to it alone, as its config says: () where all are alike."""
    settings = {name: each for name, each in layer_settings(config).items() if not name.startswith("edgebert_")}
    return list(zip(*settings.values(), strict=True)) if settings else [()] * config.num_hidden_layers


def _of_each_layer(name: str) -> bool:
    return name.endswith(("layer_types", "_layers")) or name.startswith("attention_window")


def _describe(config: ModelConfig, settings: dict[str, list[object]], origins: Sequence[int]) -> None:
    for name, values in settings.items():
        setattr(config, name, [values[i] for i in origins])
    config.num_hidden_layers = len(origins)
    if hasattr(config, "global_attn_every_n_layers"):
        _describe_period(config)


def _describe_period(config: ModelConfig) -> None:
    """ModernBERT's older way to say its `layer_types`, which transformers 4 reads alone: true again, or left out."""
    is_global = [kind == "full_attention" for kind in config.layer_types]
    periods = range(1, len(is_global) + 1)
    period = next((n for n in periods if is_global == [i % n == 0 for i in range(len(is_global))]), None)
    if period is None:
        del config.global_attn_every_n_layers
    else:
        config.global_attn_every_n_layers = period
