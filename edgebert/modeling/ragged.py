"""Encoders whose layers differ in width: of each layer some heads and some feed-forward neurons are left, as pruning leaves them.

transformers has no config for it. A config of the family with two lists more says it, one item a layer: the heads that are
left, by their numbers in the unpruned layer, and how many neurons are. A model of such a config is built by the family's
class and cut before any weight is read, so that checkpoints load as others do; transformers itself cannot load them.

The queries and keys of a head are rows of their layers, what it writes are columns of the layer behind; a neuron is a row
of the first feed-forward layer and a column of the second (Michel, Levy, Neubig 2019, arXiv 1905.10650, section 2).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgebert.modeling.roles import SIZES, layer_modules, sizes_of

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

# The lists in a config, which keep_layers knows by the end of their names.
HEADS, NEURONS = "edgebert_head_layers", "edgebert_inner_layers"


@dataclass(frozen=True)
class LayerWidth:
    """What is left of a layer.

    Attributes:
        heads: their numbers in the unpruned layer, from 0, in the order in which they stand.
        n_neurons: of the feed-forward.
    """

    heads: tuple[int, ...]
    n_neurons: int


def is_ragged(config: ModelConfig) -> bool:
    return hasattr(config, HEADS)


def widths_of(config: ModelConfig) -> list[LayerWidth]:
    """What is left of each layer: all of it, where the config says nothing else."""
    sizes = sizes_of(config)
    heads = getattr(config, HEADS, None) or [range(sizes["num_attention_heads"])] * sizes["num_hidden_layers"]
    neurons = getattr(config, NEURONS, None) or [sizes["intermediate_size"]] * sizes["num_hidden_layers"]
    return [LayerWidth(tuple(kept), n) for kept, n in zip(heads, neurons, strict=True)]


def why_heads_differ(config: ModelConfig, teacher: ModelConfig) -> str:
    """Why attention of the one cannot learn from the other's, "" where all layers of both have as many heads."""
    ours, theirs = _head_counts(config), _head_counts(teacher)
    if ours == theirs and len(ours) == 1:
        return ""
    return f"attention of {' or '.join(map(str, ours))} heads cannot learn from {' or '.join(map(str, theirs))}"


def _head_counts(config: ModelConfig) -> list[int]:
    """The different numbers of heads that layers have."""
    alike = int(getattr(config, "num_attention_heads", 0))
    return sorted({len(width.heads) for width in widths_of(config)}) if is_ragged(config) else [alike]


def describe_widths(config: ModelConfig, widths: Sequence[LayerWidth]) -> None:
    """Writes the widths into the config, in place."""
    setattr(config, HEADS, [list(width.heads) for width in widths])
    setattr(config, NEURONS, [width.n_neurons for width in widths])


def layer_configs(config: ModelConfig) -> list[ModelConfig]:
    """For each layer a config whose number of heads and neurons, and width of a head, are those of that layer."""
    sizes, results = sizes_of(config), []
    for width in widths_of(config):
        own: Any = copy.copy(config)
        own.attention_head_size = sizes["hidden_size"] // sizes["num_attention_heads"]
        own.num_attention_heads = len(width.heads)
        setattr(own, next(name for name in SIZES["intermediate_size"] if hasattr(config, name)), width.n_neurons)
        results.append(own)
    return results


# ---------------------------------------------------------------- models


def ragged_class(created: type[PreTrainedModel], config: ModelConfig) -> type[PreTrainedModel]:
    """The class whose models have the config's widths: `created` itself where it says none."""
    if not is_ragged(config):
        return created

    def build(self: PreTrainedModel, config: ModelConfig, *args: object, **options: object) -> None:
        created.__init__(self, config, *args, **options)
        cut_layers(self, config)

    return type(created.__name__, (created,), {"__init__": build, "__module__": created.__module__})


def from_config(auto_model: str, config: ModelConfig) -> PreTrainedModel:
    """A model of one of transformers' Auto classes by name, with random weights in float32 and eager attention."""
    import torch
    import transformers
    from transformers.models.auto.auto_factory import _get_model_class

    auto: Any = getattr(transformers, auto_model)
    options: dict[str, Any] = {"attn_implementation": "eager", "dtype": torch.float32}
    if not is_ragged(config):
        return auto.from_config(config, **options)
    return ragged_class(_get_model_class(config, auto._model_mapping), config)._from_config(config, **options)


def cut_layers(model: PreTrainedModel, config: ModelConfig) -> None:
    """Cuts the layers of an unpruned model to the config's widths, in place: of neurons the first are kept."""
    from edgebert.modeling.layers import encoder_layers

    for layer, width in zip(encoder_layers(model), widths_of(config), strict=True):
        cut_layer(layer, width.heads, range(width.n_neurons), head_width_of(config))


def head_width_of(config: ModelConfig) -> int:
    sizes = sizes_of(config)
    return int(sizes["hidden_size"]) // int(sizes["num_attention_heads"])


def cut_layer(layer: nn.Module, heads: Sequence[int], neurons: Sequence[int], head_width: int) -> None:
    """Leaves these heads and neurons, by their numbers in the layer as it is, from 0, in place.

    Args:
        head_width: numbers of a head's query.
    """
    import torch
    from torch import nn

    parts = layer_modules(layer)
    inside = next(module for module in layer.modules() if any(child is parts["query"] for child in module.children()))
    kept = torch.tensor([head * head_width + i for head in heads for i in range(head_width)])
    width = parts["query"].out_features
    for child in inside.children():
        if isinstance(child, nn.Linear) and child is not parts["attended"] and child.out_features == width:
            _keep(child, kept, axis=0)
    _keep(parts["attended"], kept, axis=1)
    counts = {"num_attention_heads": len(heads), "n_heads": len(heads), "all_head_size": len(kept)}
    for name in counts.keys() & vars(inside).keys():
        setattr(inside, name, counts[name])
    _keep_bias_by_distance(inside, heads)
    rows = torch.tensor(list(neurons))
    _keep(parts["inner"], rows, axis=0)
    _keep(parts["outer"], rows, axis=1)


def _keep(linear: Any, kept: torch.Tensor, axis: int) -> None:
    """Leaves some outputs (axis 0) or inputs (axis 1) of a linear layer, in place."""
    from torch import nn

    linear.weight = nn.Parameter(linear.weight.detach().index_select(axis, kept.to(linear.weight.device)))
    linear.out_features, linear.in_features = linear.weight.shape
    if axis == 0 and linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.detach().index_select(0, kept.to(linear.bias.device)))


def _keep_bias_by_distance(attention: Any, heads: Sequence[int]) -> None:
    """MPNet computes for all layers what a head adds by the distance of two tokens: a cut layer takes that of its heads."""
    import inspect

    if "position_bias" not in inspect.signature(attention.forward).parameters:
        return
    place = list(inspect.signature(attention.forward).parameters).index("position_bias")
    before = getattr(attention, "kept_heads", None)
    attention.kept_heads = [before[head] for head in heads] if before else list(heads)
    if before is None:
        attention.register_forward_pre_hook(_chosen_bias(place))


def _chosen_bias(place: int) -> Any:
    def hook(attention: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        bias = inputs[place]
        return inputs if bias is None else (*inputs[:place], bias[:, attention.kept_heads], *inputs[place + 1 :])

    return hook
