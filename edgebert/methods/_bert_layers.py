"""A student whose layers are BERT's, taken apart by `edgebert.modeling.families._bert_layers`, with the weights that it has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods._teacher_weights import embedding_norm, tables_of
from edgebert.modeling.roles import layer_weights, layers_of, sizes_of
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig


def config_in_parts(config: ModelConfig, family: str, **settings: object) -> ModelConfig:
    """The config of such a family with the sizes of a BERT-like one, and settings of its own."""
    from edgebert.modeling.operators import embedding_width
    from edgebert.modeling.rebuild import config_like

    return config_like(config, family, **{**sizes_of(config), "embedding_size": embedding_width(config), **settings})


def in_parts(student: Student, config: ModelConfig) -> Student:
    """The student with the weights of its encoder and head in a model of this config."""
    from edgebert.methods._narrowing import head_layers
    from edgebert.modeling.rebuild import rebuilt

    model = student.model
    given = encoder_weights(model, config)
    for layer, module in zip(
        ("dense", "classifier"), head_layers(model).get("", ()), strict=False
    ):  # of ours: by their names
        if module is not None:
            given |= {f"heads.head.{layer}.{name}": value for name, value in module.state_dict().items()}
    created = rebuilt(student, config, given)
    created.model.get_input_embeddings().weight.requires_grad_(model.get_input_embeddings().weight.requires_grad)
    return created


def encoder_weights(model: PreTrainedModel, config: ModelConfig) -> dict[str, Tensor]:
    """A BERT-like encoder's weights under the names of `edgebert.modeling.families._bert_layers`."""
    words, places, types = tables_of(model, config.type_vocab_size)
    scale, shift = embedding_norm(model, config.embedding_size)
    given = {
        "words.weight": words,
        "places.weight": places,
        "types.weight": types,
        "norm.weight": scale,
        "norm.bias": shift,
    }
    base = getattr(model, model.base_model_prefix, model)
    if (projection := getattr(base, "embeddings_project", None)) is not None:  # ELECTRA's
        given |= {f"projection.{name}": value for name, value in projection.state_dict().items()}
    results = {f"embeddings.{name}": value for name, value in given.items() if value is not None}
    for i, layer in enumerate(layers_of(model)):
        results |= {f"layers.{i}.{name}": value for name, value in layer_weights(layer, "power-bert").items()}
    return results


def check_layers(
    config: ModelConfig, method: str, families: Collection[str], what_for: str, reads: Sequence[str] = ()
) -> None:
    """Raises RequestError for layers that are not BERT's, or of sizes of their own, and heads that read other states.

    Args:
        what_for: what the method does with BERT's layers, as it ends a sentence.
        reads: how its heads may make a text's state of its tokens' states; () is any way.
    """
    from edgebert.modeling.layers import layer_settings

    if config.model_type not in families:
        what = f"{config.model_type} has layers of another kind than BERT's, {what_for}"
        raise RequestError(what, where=method, hint=f"It serves {', '.join(families)}.")
    if sizes := layer_settings(config):
        what = f"the layers have sizes of their own ({', '.join(sizes)}), and the student's are all alike"
        raise RequestError(what, where=method, hint="Leave out the method before it that gave them these.")
    found = {head.get("reads", "cls") for head in getattr(config, "edgebert_heads", ())}
    if reads and (other := found.difference(reads)):
        what = f"its head reads the {', '.join(sorted(other))} of a text's states, and not the {' or the '.join(reads)}"
        raise RequestError(what, where=method, hint="Leave out the method before it that gave it this head.")
