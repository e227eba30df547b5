"""The layers of BERT-of-Theseus: groups of old layers in whose place a new one may run, and how often it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgebert.methods._stack import LayerOutput, hidden_of

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

Kind = tuple[object, ...]  # of a layer, see `edgebert.modeling.layers.kinds_of`
Given = tuple[tuple[object, ...], Mapping[str, object]]  # what a layer is called with beside the hidden states
_NOTHING: Mapping[Kind, Given] = MappingProxyType({})


def replacing_rate(schedule: str, rate: float, step: int, steps: int) -> float:
    """p at a step counted from 0: equation 6, with k = (1 - rate) / (steps - 1)."""
    return rate if schedule == "constant" else min(1.0, rate + (1 - rate) * step / max(1, steps - 1))


def group_module(
    old: Sequence[nn.Module], new: nn.Module, kinds: Sequence[Kind], heard: Mapping[Kind, Given]
) -> object:
    """A layer that is `new` with probability `rate`, else those of `old` in turn; in eval mode it is `new`.

    Args:
        kinds: of each of `old`.
        heard: what the model gives to layers of each kind, where that differs.
    """
    import torch
    from torch import nn

    class Group(nn.Module):
        rate = 1.0

        def __init__(self) -> None:
            super().__init__()
            self.predecessor, self.successor = nn.ModuleList(old), new

        @property
        def attention_type(self) -> str:  # by which ModernBERT gives a layer its mask and rotary base
            return str(self.successor.attention_type)

        def forward(self, hidden: Tensor, *args: object, **kwargs: object) -> LayerOutput:
            if not self.training or float(torch.rand(())) < self.rate:
                return self.successor(hidden, *args, **kwargs)
            for layer, kind in zip(self.predecessor, kinds, strict=True):
                own_args, own_kwargs = heard.get(kind, (args, kwargs))
                returned = layer(hidden, *own_args, **own_kwargs)
                hidden = hidden_of(returned)
            return returned

    return Group()


def listener(kind: Kind, attention_type: str, heard: dict[Kind, Given]) -> nn.Module:
    """A layer that changes nothing, and keeps what the model gives to layers of its kind: their mask, their rotary base."""
    from torch import nn

    class Listener(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention_type = attention_type

        def forward(self, hidden: Tensor, *args: object, **kwargs: object) -> Tensor:
            heard[kind] = args, kwargs
            return hidden

    return Listener()


def groups_of(
    old: Sequence[nn.Module],
    new: Sequence[nn.Module],
    kinds: Sequence[Kind] = (),
    heard: Mapping[Kind, Given] = _NOTHING,
) -> list[Any]:
    """A group for each new layer, over the old ones from round((i-1)·N/M) to round(i·N/M)."""
    from edgebert.training.align import layer_map

    ends = layer_map("uniform", len(new), len(old))
    kinds = kinds or [()] * len(old)
    parts = [slice(ends[i], ends[i + 1]) for i in range(len(new))]
    return [group_module(old[part], layer, kinds[part], heard) for part, layer in zip(parts, new, strict=True)]


def put_groups(
    model: PreTrainedModel, old: Sequence[nn.Module], new: Sequence[nn.Module], kinds: Sequence[Kind]
) -> list[Any]:
    """Groups in the place of the model's layers, which the first of `new` are described as. In place.

    Where the layers are of several kinds, a listener for each stands before the groups.

    Args:
        kinds: of each of `old`; the model's own config has them all.
    """
    from torch import nn

    from edgebert.modeling.layers import encoder_layers, kinds_of, replace_layers

    known, layers = kinds_of(model.config), encoder_layers(model)
    heard: dict[Kind, Given] = {}
    origins = [known.index(kind) for kind in sorted(set(kinds))] if len(set(known)) > 1 else []
    groups = groups_of(old, new, kinds, heard)
    listeners = [listener(known[i], getattr(layers[i], "attention_type", ""), heard) for i in origins]
    replace_layers(model, nn.ModuleList([*listeners, *groups]), [*origins, *range(len(new))])
    return groups
