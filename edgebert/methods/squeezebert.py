"""A student whose products over positions are grouped convolutions: fewer weights and multiplications, the same shape.

Iandola, Shaw, Krishna, Keutzer (2020), "SqueezeBERT: What can computer vision teach NLP about efficient neural
networks?", arXiv 2006.11316, section 3. A product with a weight at each position is a convolution of width 1; with
g = `groups` its input and output channels are cut into g parts, and part i of the output reads part i of the input
alone:

    Y_i = W_i X_i,  W_i of (C_out / g) × (C_in / g),  i = 1 … g

Query, key, value and both feed-forward products have g groups, the product after attention has one.

Differences: the paper pretrains on masked words and sentence order and distils on the task; here the student starts
from the teacher and a training method follows in the recipe. W_i is the i-th block on the diagonal of the teacher's
matrix: that is ours, and what lay off the diagonal is lost until training makes up for it. Tables, norms and heads are
the teacher's. With fewer layers, those kept are spread evenly. Of a teacher whose layers are not BERT's, what differs
starts random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._stack import n_layers_param
from edgebert.methods._teacher_weights import sentence_head, tables_of
from edgebert.modeling.roles import layer_weights, layers_of, sizes_of
from edgebert.training.align import layer_map
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

GROUPED = ("attention.query", "attention.key", "attention.value", "intermediate.conv1d", "output.conv1d")


def diagonal_blocks(weight: Tensor, groups: int) -> Tensor:
    """(n_out, n_in) to (n_out, n_in / groups): the blocks on the diagonal, one under the other."""
    import torch

    return torch.cat([block.chunk(groups, 1)[i] for i, block in enumerate(weight.chunk(groups, 0))])


def grouped_layer(layer: nn.Module, groups: int) -> dict[str, Tensor]:
    """A dense layer's weights as SqueezeBERT has them: matrices are kernels of width 1."""
    results = {}
    for name, value in layer_weights(layer, "squeezebert").items():
        if value.dim() == 2:
            value = diagonal_blocks(value, groups if name.removesuffix(".weight") in GROUPED else 1)[:, :, None]
        results[name] = value
    return results


def apply(student: Student, context: MethodContext, *, groups: int, n_layers: int) -> Student:
    """The SqueezeBERT student, untrained."""
    from edgebert.modeling.rebuild import rebuilt

    model = student.model
    config = reshape(model.config, groups=groups, n_layers=n_layers)
    words, places, types = tables_of(model, config.type_vocab_size)
    tables = {"word_embeddings": words, "position_embeddings": places, "token_type_embeddings": types}
    given = {f"embeddings.{name}.weight": table for name, table in tables.items() if table is not None}
    given |= sentence_head(model)
    old = layers_of(model)
    for new, index in enumerate(kept(config.num_hidden_layers, len(old)) if old else ()):
        given |= {f"encoder.layers.{new}.{name}": value for name, value in grouped_layer(old[index], groups).items()}
    created = rebuilt(student, config, given)
    created.model.get_input_embeddings().weight.requires_grad_(model.get_input_embeddings().weight.requires_grad)
    _leave_unread_pooler(created.model)
    return created


def kept(n_layers: int, n_old: int) -> tuple[int, ...]:
    """Indices from 0 of the teacher's layers that the student's start as."""
    return tuple(layer - 1 for layer in layer_map("uniform", n_layers, n_old, where="squeezebert.n_layers")[1:])


def _leave_unread_pooler(model: PreTrainedModel) -> None:
    """transformers builds this family's pooler under every head; where none reads it, it is not trained."""
    from edgebert.modeling.heads import head_of

    if not head_of(type(model).__name__).labels_texts:
        pooler = getattr(getattr(model, model.base_model_prefix, model), "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(False)


def reshape(config: ModelConfig, *, groups: int, n_layers: int) -> ModelConfig:
    from edgebert.modeling.rebuild import config_like

    sizes = sizes_of(config)
    sizes["num_hidden_layers"] = n_layers or sizes["num_hidden_layers"]
    names = ("q_groups", "k_groups", "v_groups", "intermediate_groups", "output_groups")
    cut = {"post_attention_groups": 1, **dict.fromkeys(names, groups)}
    return config_like(config, "squeezebert", embedding_size=config.hidden_size, **cut, **sizes)


def check(config: ModelConfig, teacher: ModelConfig, *, groups: int, n_layers: int) -> None:
    kept(n_layers or config.num_hidden_layers, config.num_hidden_layers)
    sizes = sizes_of(config)
    for name in ("hidden_size", "intermediate_size"):
        if sizes[name] % groups:
            what = f"{sizes[name]} channels ({name}) cannot be cut into {groups} groups"
            raise RequestError(what, where="squeezebert.groups", hint=f"Choose a divisor of {sizes[name]}.")


METHOD = Method(
    name="squeezebert",
    title="Cut dense products into groups",
    paper=Paper(
        "SqueezeBERT: What can computer vision teach NLP about efficient neural networks?",
        "Iandola, Shaw, Krishna, Keutzer",
        2020,
        "2006.11316",
    ),
    stage="shape",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param("groups", int, 4, "of the products of query, key, value and feed-forward", minimum=1),
        n_layers_param("depth of the student; 0 is its teacher's; left open, the planner chooses"),
    ),
    any_tokenizer=True,
    toy={"groups": 4},
)
