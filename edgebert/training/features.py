"""What the inside of a model says: embeddings, hidden states, attention and values, for any encoder of transformers.

Values are caught by hooks on each layer's value projection, which families name in a few ways (`VALUE`, `FUSED`); the rest
is what transformers returns. A model that shares its layers calls one projection several times, in the order of its depth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from edgebert.modeling.checkpoint import accepted
from edgebert.modeling.headed import answers
from edgebert.modeling.layers import keep_settings
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, INPUT_NAMES
from edgebert.training.context import TracedPart

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

VALUE = ("value", "v_lin", "v", "v_proj", "value_proj")  # a projection of the values alone
FUSED = ("Wqkv", "in_proj")  # query, key and value in one: side by side, or side by side in each head

_Caught = tuple[str, Tensor, Tensor | None]


@dataclass(frozen=True)
class Trace:
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


def trace_hidden_states(
    model: PreTrainedModel, batch: Mapping[str, Tensor], wanted: Iterable[TracedPart] = ("hidden states",)
) -> Trace:
    """One forward pass with what was asked for; without dropout where that is attention or values.

    Args:
        batch: int tensors (batch, seq); what the model does not take is left out.

    Raises:
        LookupError: the family gives no attention probabilities, or has no projection of values that can be told.
    """
    wanted = set(wanted)
    attentive = bool(wanted & {"attentions", "values"})
    options: dict[str, bool] = {"output_attentions": True} if attentive else {}
    with ExitStack() as stack:
        caught = stack.enter_context(_values_of(model)) if "values" in wanted else []
        if attentive:
            stack.enter_context(_without_dropout(model))
        result = model(**accepted(model, batch), output_hidden_states=True, **options)
    hidden = tuple(getattr(result, "hidden_states", None) or ())
    attentions: tuple[Tensor, ...] = tuple(getattr(result, "attentions", None) or ()) if attentive else ()
    if not hidden:
        raise LookupError(f"{_family(model)} gives no hidden states")
    if attentive and (not attentions or any(attention is None for attention in attentions)):
        raise LookupError(f"{_family(model)} gives no attention probabilities")
    attentions = tuple(_probabilities(attention) for attention in attentions)
    if "values" in wanted and len(caught) != len(attentions):
        raise LookupError(f"{_family(model)} has no value projection that can be told from its other layers")
    n_heads = [attention.shape[1] for attention in attentions]
    own = getattr(model.config, "num_key_value_heads", None)  # heads with values of their own, where several share them
    values = tuple(_split(*item, n, n // (own or n)) for item, n in zip(caught, n_heads, strict=False))
    return Trace(answers(model, result, batch[ATTENTION_MASK]), hidden, attentions, values)


def missing_features(config: ModelConfig, wanted: Iterable[TracedPart]) -> str:
    """Why a model of this config cannot give what is wanted, "" where it can: told by running a tiny one of its family."""
    wanted = tuple(wanted)
    key = (config.model_type, config.hidden_size, getattr(config, "num_attention_heads", 0), wanted)
    if key not in _MISSING:
        _MISSING[key] = _tried(config, wanted)
    return _MISSING[key]


_MISSING: dict[tuple[object, ...], str] = {}


def _tried(config: ModelConfig, wanted: tuple[TracedPart, ...]) -> str:
    from transformers import AutoModel

    small = copy.deepcopy(config)
    small.vocab_size = max(16, (small.pad_token_id or 0) + 1)
    with suppress(NotImplementedError):  # Funnel has blocks
        keep_settings(small, (0,))
    try:
        model = AutoModel.from_config(small, attn_implementation="eager").eval()
        ids = torch.arange(4)[None] % small.vocab_size
        with torch.inference_mode():
            trace_hidden_states(model, {name: ids if name == INPUT_IDS else torch.ones_like(ids) * (name == ATTENTION_MASK)
                                for name in INPUT_NAMES}, wanted)  # fmt: skip
    except LookupError as error:
        return str(error)
    return ""


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Families drop attention probabilities before they return them, and what is left is no distribution."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _probabilities(attention: Tensor) -> Tensor:
    """SqueezeBERT gives scores before softmax, with the mask in them."""
    return attention.softmax(-1) if bool((attention < 0).any()) else attention


@contextmanager
def _values_of(model: nn.Module) -> Iterator[list[_Caught]]:
    """A list that fills with (name, output, bias added later) of each value projection as it runs."""
    caught: list[_Caught] = []
    hooks = []
    for path, module in model.named_modules():
        above, _, name = path.rpartition(".")
        if name in VALUE + FUSED and isinstance(module, nn.Linear | nn.Conv1d):
            later = getattr(model.get_submodule(above), "v_bias", None)  # DeBERTa's, beside its fused projection
            hooks.append(module.register_forward_hook(_catcher(caught, name, later)))
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()


def _catcher(
    caught: list[_Caught], name: str, later: Tensor | None
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        caught.append((name, output.transpose(1, 2) if isinstance(module, nn.Conv1d) else output, later))

    return hook


def _split(name: str, projected: Tensor, later: Tensor | None, n_heads: int, shared: int) -> Tensor:
    """(batch, seq, width) of a projection as the values of each head, (batch, heads, seq, head_width).

    Of neighbouring heads, `shared` have the same values: grouped-query attention, as EuroBERT's larger models have it.
    """
    batch, seq, _ = projected.shape
    if name == "Wqkv":
        projected = projected.chunk(3, -1)[2]
    heads = projected.view(batch, seq, n_heads // shared, -1)
    if name == "in_proj":
        heads = heads.chunk(3, -1)[2]
    if later is not None:
        heads = heads + later.view(n_heads, -1)
    return heads.transpose(1, 2).repeat_interleave(shared, 1)


def _family(model: PreTrainedModel) -> str:
    return f"the family {model.config.model_type}"
