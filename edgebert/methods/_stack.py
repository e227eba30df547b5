"""Encoders as a stack of layers of one kind: what the methods that drop, replace or copy whole layers ask of a family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Param

if TYPE_CHECKING:
    from torch import Tensor, nn


def n_layers_param(help: str) -> Param:
    """The depth of the student. The planner tries 0 first: so it leaves the depth to a method that stands before."""
    return Param("n_layers", int, 0, help, minimum=0, search=lambda config: range(config.num_hidden_layers))


def check_stack(config: Any, where: str) -> None:
    """Raises RequestError where the family has no list of layers, or they differ from one another."""
    key = (config.model_type, config.num_hidden_layers, config.hidden_size)
    if key not in _WHY_NOT:
        _WHY_NOT[key] = _why_not(config)
    if _WHY_NOT[key]:
        raise RequestError(_WHY_NOT[key], where=where, hint="Use another method.")


_WHY_NOT: dict[tuple[Any, ...], str] = {}  # a planner asks of many shapes


def _why_not(config: Any) -> str:
    import torch

    from edgebert.modeling.checkpoint import build_model, encoder_layers
    from edgebert.modeling.rebuild import auto_model_of

    with torch.device("meta"):
        model = build_model(config, auto_model_of(config))
    try:
        layers = list(encoder_layers(model))
    except RequestError as error:
        return error.what
    return "" if alike(layers) else f"the layers of {config.model_type} differ, so that none can stand for another"


def alike(layers: Sequence[nn.Module]) -> bool:
    """Whether each could stand in the place of any other, weights aside."""
    from torch import nn

    kinds = {(repr(layer), getattr(layer, "attention_type", None)) for layer in layers}
    return len(kinds) == 1 and not isinstance(layers[0], nn.ModuleList)


def hidden_of(returned: Any) -> Tensor:
    """The hidden states in what a layer returned: they stand first in a tuple or a dictionary."""
    if isinstance(returned, Mapping):
        return next(iter(returned.values()))
    return returned[0] if isinstance(returned, tuple) else returned


def with_hidden(returned: Any, hidden: Tensor) -> Any:
    """What a layer returned, with other hidden states."""
    if isinstance(returned, Mapping):
        return {**returned, next(iter(returned)): hidden}
    return (hidden, *returned[1:]) if isinstance(returned, tuple) else hidden
