"""The parts of an encoder's layer by role, and its sizes, whatever its family calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

ROLES = ("query", "key", "value", "attended", "attention norm", "inner", "outer", "norm")  # of a layer, in its order
_END = ("intermediate.dense", "output.dense", "output.LayerNorm")
LAYERS: Mapping[str, tuple[str, ...]] = {  # of each family the names in the order of ROLES; many families use BERT's
    "bert": ("attention.self.query", "attention.self.key", "attention.self.value",
             "attention.output.dense", "attention.output.LayerNorm", *_END),
    "deberta-v2": ("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj",
                   "attention.output.dense", "attention.output.LayerNorm", *_END),
    "mpnet": ("attention.attn.q", "attention.attn.k", "attention.attn.v",
              "attention.attn.o", "attention.LayerNorm", *_END),
    "distilbert": ("attention.q_lin", "attention.k_lin", "attention.v_lin",
                   "attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
    "albert": ("attention.query", "attention.key", "attention.value",
               "attention.dense", "attention.LayerNorm", "ffn", "ffn_output", "full_layer_layer_norm"),
    "squeezebert": ("attention.query", "attention.key", "attention.value",
                    "post_attention.conv1d", "post_attention.layernorm",
                    "intermediate.conv1d", "output.conv1d", "output.layernorm"),
    "power-bert": ("attention.query", "attention.key", "attention.value", "attention.dense", "attention.norm",
                   "feed_forward.inner", "feed_forward.outer", "feed_forward.norm"),
}  # fmt: skip
SIZES = {  # what a config calls each size, BERT's name first
    "hidden_size": ("hidden_size",),
    "num_hidden_layers": ("num_hidden_layers",),
    "num_attention_heads": ("num_attention_heads",),
    "intermediate_size": ("intermediate_size", "hidden_dim"),
    "hidden_act": ("hidden_act", "activation", "hidden_activation"),
    "hidden_dropout_prob": ("hidden_dropout_prob", "dropout"),
    "attention_probs_dropout_prob": ("attention_probs_dropout_prob", "attention_dropout"),
    "layer_norm_eps": ("layer_norm_eps", "norm_eps", "rms_norm_eps"),
}


def sizes_of(config: ModelConfig) -> dict[str, Any]:
    """The sizes of an encoder under BERT's names, without those that its config does not say; two types at least."""
    results = {
        name: next((getattr(config, other) for other in others if hasattr(config, other)), None)
        for name, others in SIZES.items()
    }
    results["type_vocab_size"] = max(2, getattr(config, "type_vocab_size", 2))
    return {name: value for name, value in results.items() if value is not None}


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of an encoder; none where its family keeps no list of them."""
    from edgebert.modeling.layers import encoder_layers

    try:
        return list(encoder_layers(model))
    except RequestError:
        return []


def layer_modules(layer: nn.Module) -> dict[str, nn.Module]:
    """The parts of a layer by role."""
    modules = dict(layer.named_modules())
    return {
        role: modules[name] for role, name in zip(ROLES, _names_in(layer.state_dict()), strict=True) if name in modules
    }


def _names_in(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    return max(LAYERS.values(), key=lambda names: sum(f"{name}.weight" in state for name in names))


def layer_weights(layer: nn.Module, family: str) -> dict[str, Tensor]:
    """A layer's weights under the names of `family`."""
    state = layer.state_dict()
    names = _names_in(state)
    return {
        f"{new}.{kind}": state[f"{old}.{kind}"]
        for old, new in zip(names, LAYERS[family], strict=True)
        for kind in ("weight", "bias")
        if f"{old}.{kind}" in state
    }
