"""A student that shares one layer's weights among all its layers, with a factorised word table.

Lan, Chen, Goodman, Gimpel, Sharma, Soricut (2019), "ALBERT: A Lite BERT for Self-supervised Learning of Language
Representations", arXiv 1909.11942, section 3.1. With V tokens, H the width and E = `embedding_width`:

- the word table of V·H weights becomes two of V·E + E·H
- all layers have one set of weights, or the layers of each of `groups` groups have

So the size does not grow with the depth; the time does.

Differences: the paper trains from scratch, on masked words and the order of sentences; here the student starts from
the teacher, and a training method follows in the recipe.

- Tables. BERT's embedding is layer norm(x) of a sum x of H numbers; ALBERT's is W · layer norm(x') + b with x' of E
  numbers. Tables and W start so that the student's embedding is the teacher's, up to what the best factors of rank
  E - 1 lose (`edgebert.methods._narrow_embedding.factorised`).
- Layers. Each group starts as the middle one of the layers that it replaces, or as one of `layers`. Their mean would
  not do: neurons of one layer have nothing to do with those of the same number in another. Which layer is best was not
  measured.
- An embedding that is narrow already (ELECTRA) is taken as it is, where its width is E; else it starts random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._narrow_embedding import check_width, normed_embedding
from edgebert.methods._stack import n_layers_param
from edgebert.methods._teacher_weights import sentence_head
from edgebert.modeling.roles import layer_weights, layers_of, sizes_of
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig


def first_layers(n_layers: int, groups: int) -> tuple[int, ...]:
    """For each group, the middle one of the teacher's layers that it replaces, counted from 0."""
    return tuple((2 * group + 1) * n_layers // (2 * groups) for group in range(groups))


def apply(student: Student, context: MethodContext, *, layers: tuple[int, ...], **shape: Any) -> Student:
    """The ALBERT student, untrained."""
    from edgebert.modeling.rebuild import rebuilt

    model = student.model
    config = reshape(model.config, **shape)
    given = normed_embedding(model, config) | sentence_head(model, pooler="pooler")
    old = layers_of(model)
    for group, index in enumerate(layers or first_layers(len(old), config.num_hidden_groups)):
        place = f"encoder.albert_layer_groups.{group}.albert_layers.0"
        result = layer_weights(old[index], "albert") if old else {}
        given |= {f"{place}.{name}": value for name, value in result.items()}
    return rebuilt(student, config, given)


def reshape(config: ModelConfig, *, embedding_width: int, groups: int, n_layers: int, **_: object) -> ModelConfig:
    from edgebert.modeling.rebuild import config_like

    sizes = sizes_of(config)
    sizes["num_hidden_layers"] = n_layers or sizes["num_hidden_layers"]
    return config_like(config, "albert", embedding_size=embedding_width, num_hidden_groups=groups, **sizes)


def check(
    config: ModelConfig,
    teacher: ModelConfig,
    *,
    embedding_width: int,
    groups: int,
    n_layers: int,
    layers: tuple[int, ...],
) -> None:
    depth = n_layers or config.num_hidden_layers
    if depth > config.num_hidden_layers:
        what = f"a student of {depth} layers is deeper than its teacher of {config.num_hidden_layers}"
        raise RequestError(what, where="albert.n_layers")
    check_width(embedding_width, config, where="albert.embedding_width")
    if groups > depth:
        raise RequestError(f"{groups} groups for {depth} layers", where="albert.groups", hint=f"At most {depth}.")
    if layers and (len(layers) != groups or not all(0 <= layer < config.num_hidden_layers for layer in layers)):
        what = f"layers {layers} are not {groups} numbers from 0 to {config.num_hidden_layers - 1}"
        raise RequestError(what, where="albert.layers", hint="Name one layer of the teacher for each group.")


METHOD = Method(
    name="albert",
    title="Share one layer's weights, factorise the word table",
    paper=Paper(
        "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations",
        "Lan, Chen, Goodman, Gimpel, Sharma, Soricut",
        2019,
        "1909.11942",
    ),
    stage="shape",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param("embedding_width", int, 128, "of the word table", minimum=2),
        Param("groups", int, 1, "of layers that share their weights", minimum=1),
        n_layers_param("depth of the student; 0 is its teacher's; left open, the planner chooses"),
        Param("layers", tuple, (), "of the teacher, from 0, that the groups start as; by default the middle ones"),
    ),
    excludes={"round-embedding": "it makes the word table anew"},
    any_tokenizer=True,
    toy={"embedding_width": 16},
)
