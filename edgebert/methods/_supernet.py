"""A network out of which smaller ones are cut without training; see `edgebert.methods.dynabert`.

Its layers' heads and neurons stand in the order of their importance, so that a narrower layer is the first of them, and
weights of a smaller network are leading parts of the larger one's. The config says that it is one, and how each network
that was scored did.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods.drop_layers import kept_layers
from edgebert.modeling.ragged import LayerWidth, cut_layer, describe_widths, head_width_of, widths_of
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from edgebert.methods._pruning import Importance
    from edgebert.modeling.config import ModelConfig
    from edgebert.training.features import Trace

SUPERNET = "edgebert_supernet"  # in a config: the networks that were scored, and on what
WIDTHS, DEPTHS = (1.0, 0.75, 0.5, 0.25), (1.0, 0.75, 0.5, 0.33)  # of the paper, and a third of the layers


@dataclass(frozen=True)
class Subnetwork:
    """What is left of a network.

    Attributes:
        layers: numbers of those that stay, from 0, increasing.
        widths: share of heads and of neurons that each of them keeps, over 0 and up to 1.
    """

    layers: tuple[int, ...]
    widths: tuple[float, ...]

    @property
    def title(self) -> str:
        widths = sorted(set(self.widths), reverse=True)
        shown = f"{widths[0]:g}" if len(widths) == 1 else " ".join(f"{width:g}" for width in self.widths)
        return f"{len(self.layers)} layers of width {shown}"


def subnetwork(n_layers: int, width: float, depth: float) -> Subnetwork:
    """Of equal widths; layers go evenly and the last one stays."""
    n = max(1, round(depth * n_layers))
    return Subnetwork(kept_layers("uniform", n_layers, n), (width,) * n)


def grid(n_layers: int) -> list[Subnetwork]:
    """Every width with every depth, the largest first; small networks have fewer different depths."""
    return list(dict.fromkeys(subnetwork(n_layers, *shape) for shape in product(WIDTHS, DEPTHS)))


def narrowed(width: LayerWidth, share: float) -> LayerWidth:
    """The first heads and neurons of a layer, one of each at the least."""
    return LayerWidth(width.heads[: max(1, round(share * len(width.heads)))], max(1, round(share * width.n_neurons)))


def cut_widths(config: ModelConfig, cut: Subnetwork) -> list[LayerWidth]:
    """Of each layer that stays."""
    widths = widths_of(config)
    return [narrowed(widths[layer], share) for layer, share in zip(cut.layers, cut.widths, strict=True)]


def cut_config(config: ModelConfig, cut: Subnetwork) -> ModelConfig:
    """The config of the smaller network, in place."""
    from edgebert.modeling.layers import keep_settings

    widths = cut_widths(config, cut)
    keep_settings(config, cut.layers)
    describe_widths(config, widths)
    if hasattr(config, SUPERNET):
        delattr(config, SUPERNET)
    return config


def cut_model(model: PreTrainedModel, cut: Subnetwork) -> None:
    """Leaves the smaller network, in place."""
    from edgebert.modeling.layers import configs_of, encoder_layers, keep_layers

    widths, head_width = cut_widths(model.config, cut), head_width_of(model.config)
    keep_layers(model, cut.layers)
    for layer, width in zip(encoder_layers(model), widths, strict=True):
        cut_layer(layer, range(len(width.heads)), range(width.n_neurons), head_width)
    for config in configs_of(model):
        describe_widths(config, widths)
        if hasattr(config, SUPERNET):
            delattr(config, SUPERNET)


def rewire(student: Student, importance: Sequence[Importance]) -> None:
    """Puts the heads and neurons of each layer in the order of their importance, in place; no answer changes."""
    from edgebert.modeling.layers import configs_of, encoder_layers

    model = student.model
    widths, head_width = widths_of(model.config), head_width_of(model.config)
    for i, (layer, own) in enumerate(zip(encoder_layers(model), importance, strict=True)):
        heads = own.heads.argsort(descending=True, stable=True).tolist()
        cut_layer(layer, heads, own.neurons.argsort(descending=True, stable=True).tolist(), head_width)
        widths[i] = LayerWidth(tuple(widths[i].heads[head] for head in heads), widths[i].n_neurons)
    for config in configs_of(model):
        describe_widths(config, widths)


def asked(
    config: ModelConfig, width: float, depth: float, layers: Sequence[int], widths: Sequence[float]
) -> Subnetwork:
    """The smaller network that was asked for: by shares of all, or layer by layer where layers or widths are given.

    Raises:
        RequestError: layers that are not there, or widths that are not as many as the layers.
    """
    n_layers = config.num_hidden_layers
    if not (layers or widths):
        return subnetwork(n_layers, width, depth)
    layers = tuple(layers) or tuple(range(n_layers))
    if list(layers) != sorted(set(layers)) or not all(0 <= layer < n_layers for layer in layers):
        shown = ", ".join(map(str, layers))
        raise RequestError(f"layers {shown} are not increasing numbers from 0 to {n_layers - 1}", where="cut.layers")
    if wrong := [share for share in widths if not 0 < share <= 1]:
        raise RequestError(f"{wrong[0]:g} is no share", where="cut.widths", hint="Shares are over 0, and 1 keeps all.")
    if len(widths) > 1 and len(widths) != len(layers):
        what = f"{len(widths)} widths are given for {len(layers)} layers"
        raise RequestError(what, where="cut.widths", hint="Give one for each layer that stays, or one for all.")
    return Subnetwork(layers, tuple(widths) if len(widths) > 1 else (*(widths or (1.0,)),) * len(layers))


# ---------------------------------------------------------------- training


class Cuts:
    """Smaller networks that compute with leading parts of a model's own weights, so that gradients reach those."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self._empty = model, copy.deepcopy(model).to("meta")
        self._skeleton = lru_cache(maxsize=32)(self._built)

    def _built(self, cut: Subnetwork) -> tuple[nn.Module, Mapping[str, str]]:
        """The network without weights, and for the name of each of its tensors that of the model's."""
        from torch import nn

        from edgebert.modeling.layers import encoder_layers
        from edgebert.training.features import trace_hidden_states

        class Skeleton(nn.Module):
            def __init__(self, model: nn.Module) -> None:
                super().__init__()
                self.model = model

            def forward(self, batch: dict[str, Tensor]) -> Trace:
                return trace_hidden_states(self.model, batch)

        model = copy.deepcopy(self._empty)
        cut_model(model, cut)
        stack = encoder_layers(model)
        place = next(name for name, module in model.named_modules() if module is stack)
        origins: dict[str, str] = {}
        for name in _tensors(model):
            layer, _, rest = name.removeprefix(f"{place}.").partition(".")
            origins[name] = f"{place}.{cut.layers[int(layer)]}.{rest}" if name.startswith(f"{place}.") else name
        return Skeleton(model), origins

    def trace(self, cut: Subnetwork, batch: dict[str, Tensor]) -> Trace:
        """Outputs and hidden states of the smaller network."""
        from torch.func import functional_call

        skeleton, origins = self._skeleton(cut)
        skeleton.train(self.model.training)
        own, given = _tensors(self.model), {}
        for name, empty in _tensors(skeleton).items():
            whole = own[origins[name.removeprefix("model.")]]
            given[name] = whole[tuple(slice(n) for n in empty.shape)]
        return functional_call(skeleton, given, (batch,))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


# ---------------------------------------------------------------- what a supernet says of itself


def describe(model: PreTrainedModel, scored: Mapping[Subnetwork, float], **facts: object) -> None:
    """Writes into the model's config which smaller networks were scored, and how they did, in place."""
    items = [[list(cut.layers), list(cut.widths), round(score, 6)] for cut, score in scored.items()]
    setattr(model.config, SUPERNET, {"scored": items, **facts})


def scored_of(config: ModelConfig, where: str) -> tuple[dict[Subnetwork, float], dict[str, Any]]:
    """The networks of a supernet that were scored, and on what: metric, n, tokens. Raises RequestError for another model."""
    facts = getattr(config, SUPERNET, None)
    if not isinstance(facts, dict):
        what = "this is not a network out of which others are cut"
        raise RequestError(what, where=where, hint="Train one with: edgebert compress MODEL --recipe dynabert")
    facts = dict(facts)
    try:
        scored = {
            Subnetwork(tuple(layers), tuple(widths)): float(score) for layers, widths, score in facts.pop("scored")
        }
    except (KeyError, TypeError, ValueError):
        raise RequestError(f"{SUPERNET} in config.json cannot be read", where=where, hint="Train it again.") from None
    return scored, facts
