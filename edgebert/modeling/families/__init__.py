"""Encoders that transformers does not have: one file a family, found by the registry and made known to transformers.

Heads come from `edgebert.modeling.headed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgebert.registry import Registry, check_call

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.operators import Operator

    Operators = Callable[
        [ModelConfig, int], list[Operator]
    ]  # (config, tokens of a row) -> operators, for the cost model


@dataclass(frozen=True)
class Family:
    """The declaration `FAMILY` of each module of this package.

    Attributes:
        name: the `model_type` of its configs.
        config: a PretrainedConfig with this `model_type`.
        model: a PreTrainedModel that gives `last_hidden_state` (batch, seq, hidden_size), and `hidden_states` where asked.
        layer_operators: the operators of all its layers.
        operators: those of a whole pass, where its heads give one answer a text.
    """

    name: str
    config: type[Any]
    model: type[Any]
    layer_operators: Operators | None = None
    operators: Operators | None = None


def _check(family: Family) -> None:
    """Raises TypeError or ValueError for a declaration that breaks the contract."""
    if family.config.model_type != family.name:
        raise ValueError(f"config.model_type is '{family.config.model_type}', and must be its name")
    for field in ("layer_operators", "operators"):
        if function := getattr(family, field):
            check_call(field, function, "config", "seq_len")


FAMILIES: Registry[Family] = Registry("family", __name__, "FAMILY", Family, where="model_type", check=_check)


def families() -> dict[str, Family]:
    """The families by `model_type`, known to AutoConfig and AutoModel once this returns."""
    from transformers import AutoConfig, AutoModel

    results = FAMILIES.all()
    for name, family in results.items():
        AutoConfig.register(name, family.config, exist_ok=True)
        AutoModel.register(family.config, family.model, exist_ok=True)
    return results
