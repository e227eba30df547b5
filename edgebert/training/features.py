"""What the inside of a model says: embeddings, hidden states, attention and values, for any encoder of transformers.

Values are caught by hooks on each layer's value projection, which families name in a few ways (`VALUE`, `FUSED`); the rest
is what transformers returns. A model that shares its layers calls one projection several times, in the order of its depth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgebert.modeling.checkpoint import accepted
from edgebert.modeling.headed import answers

Feature = Literal["hidden states", "attentions", "values"]
FEATURES: tuple[Feature, ...] = ("hidden states", "attentions", "values")
VALUE = ("value", "v_lin", "v", "v_proj", "value_proj")  # a projection of the values alone
FUSED = ("Wqkv", "in_proj")  # query, key and value in one: side by side, or side by side in each head


@dataclass(frozen=True)
class Inside:
    """What one forward pass gave.

    Attributes:
        outputs: of the heads, by name.
        hidden: embedding output, then each layer's: n_layers + 1 of (batch, seq, width).
        attentions: probabilities of each layer, (batch, heads, seq, seq); () unless asked for.
        values: of each layer, (batch, heads, seq, head_width); () unless asked for.
    """

    outputs: dict[str, Tensor]
    hidden: tuple[Tensor, ...]
    attentions: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()


def read_inside(
    model: nn.Module, batch: Mapping[str, Tensor], wanted: Iterable[Feature] = ("hidden states",)
) -> Inside:
    """One forward pass with what was asked for.

    Args:
        batch: int tensors (batch, seq); what the model does not take is left out.

    Raises:
        LookupError: the family gives no attention probabilities, or has no projection of values that can be told.
    """
    wanted = set(wanted)
    attentive = bool(wanted & {"attentions", "values"})
    with _values_of(model) if "values" in wanted else _nothing() as caught:
        options: dict[str, Any] = {"output_attentions": True} if attentive else {}
        result = model(**accepted(model, batch), output_hidden_states=True, **options)
    hidden = tuple(getattr(result, "hidden_states", None) or ())
    attentions = tuple(getattr(result, "attentions", None) or ()) if attentive else ()
    if not hidden:
        raise LookupError(f"{_family(model)} gives no hidden states")
    if attentive and (not attentions or any(one is None for one in attentions)):
        raise LookupError(f"{_family(model)} gives no attention probabilities")
    n_heads = attentions[0].shape[1] if attentions else 1
    values = tuple(_split(name, value, n_heads) for name, value in caught)
    if "values" in wanted and len(values) != len(attentions):
        raise LookupError(f"{_family(model)} has no value projection that can be told from its other layers")
    return Inside(answers(model, result, batch["attention_mask"]), hidden, attentions, values)


def missing_features(config: Any, wanted: Iterable[Feature]) -> str:
    """Why a model of this config cannot give what is wanted, "" where it can: told by running a tiny one of its family."""
    wanted = tuple(wanted)
    if not wanted:
        return ""
    small = copy.deepcopy(config)
    small.vocab_size = max(16, (small.pad_token_id or 0) + 1)
    small.num_hidden_layers = 1
    try:
        from edgebert.modeling.checkpoint import build_model

        model = build_model(small, "AutoModel").eval()
        ids = torch.arange(4)[None] % small.vocab_size
        with torch.inference_mode():
            read_inside(model, {name: ids if name == "input_ids" else torch.ones_like(ids) * (name == "attention_mask")
                                for name in ("input_ids", "attention_mask", "token_type_ids")}, wanted)  # fmt: skip
    except LookupError as error:
        return str(error)
    return ""


@contextmanager
def _nothing() -> Iterator[list[tuple[str, Tensor]]]:
    yield []


@contextmanager
def _values_of(model: nn.Module) -> Iterator[list[tuple[str, Tensor]]]:
    """A list that fills with (name, output) of each value projection as it runs."""
    caught: list[tuple[str, Tensor]] = []
    hooks = []
    for path, module in model.named_modules():
        name = path.rpartition(".")[2]
        if name in VALUE + FUSED and isinstance(module, nn.Linear | nn.Conv1d):
            kept = lambda _module, _inputs, output, name=name, module=module: caught.append(  # noqa: E731
                (name, output.transpose(1, 2) if isinstance(module, nn.Conv1d) else output)
            )
            hooks.append(module.register_forward_hook(kept))
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()


def _split(name: str, projected: Tensor, n_heads: int) -> Tensor:
    """(batch, seq, width) of a projection as the values of each head, (batch, heads, seq, head_width)."""
    batch, seq, width = projected.shape
    if name == "Wqkv":
        projected, width = projected.chunk(3, -1)[2], width // 3
    heads = projected.view(batch, seq, n_heads, width // n_heads)
    if name == "in_proj":
        heads = heads.chunk(3, -1)[2]
    return heads.transpose(1, 2)


def _family(model: Any) -> str:
    return f"the family {model.config.model_type}"
