"""Drop whole layers of the teacher and keep the rest as the student's first weights.

Sajjad, Dalvi, Durrani, Nakov (2020), "Poor Man's BERT: On the Effect of Dropping Layers of Pre-trained Transformer
Models", arXiv 2004.03844. With L layers numbered from 1 and K of them dropped:

- top: drop the last K.
- bottom: drop the first K.
- symmetric: keep the same number from both ends, drop the middle.
- alternate-even, alternate-odd: drop every other layer, from the top, those with even (odd) numbers.
- contribution: drop the K layers whose output is most like their input, by the mean cosine over tokens of the text.
- uniform: keep layers spread evenly, L·1/M, L·2/M, … L: DistilBERT's and TinyBERT's choice; not in the paper.

Differences: where K exceeds the even (odd) layers, the paper stops and we go on with the topmost layers left. Our
contribution drops a fixed number, the paper all above a threshold, so that the planner can choose the size. The paper
fine-tunes the rest on the task; a recipe does it with the training method that follows. ModernBERT's first layer is
built otherwise than the others (`edgebert.methods._stack.first_lacks`), so there it stays: uniform spreads the rest
behind it, contribution chooses among the others, and strategies that drop it are refused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._stack import check_stack, first_lacks
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

STRATEGIES = ("uniform", "top", "bottom", "symmetric", "alternate-even", "alternate-odd", "contribution")
CONTRIBUTION_ROWS = 256  # rows of text over which the cosines are averaged


def kept_layers(strategy: str, n_old: int, n_new: int, *, first: bool = False) -> tuple[int, ...]:
    """Indices from 0 of the layers that a strategy keeps; contribution needs the text, see `similarities`.

    With `first`, uniform keeps layer 0 and spreads the others behind it.
    """
    if strategy == "uniform" and first:
        return (0, *(1 + i for i in kept_layers("uniform", n_old - 1, n_new - 1)))
    if strategy == "top":
        return tuple(range(n_new))
    if strategy == "bottom":
        return tuple(range(n_old - n_new, n_old))
    if strategy == "symmetric":
        low = (n_new + 1) // 2
        return (*range(low), *range(n_old - (n_new - low), n_old))
    if strategy == "uniform":
        return tuple(round((i + 1) * n_old / n_new) - 1 for i in range(n_new))
    parity = {"alternate-even": 0, "alternate-odd": 1}[strategy]
    every_other = [i for i in reversed(range(n_old)) if (i + 1) % 2 == parity]
    others = [i for i in reversed(range(n_old)) if (i + 1) % 2 != parity]
    dropped = (every_other + others)[: n_old - n_new]
    return tuple(i for i in range(n_old) if i not in dropped)


def least_similar(similarity: list[float], n_new: int, *, first: bool = False) -> tuple[int, ...]:
    """The n_new layers whose output differs most from their input, in their old order; with `first`, layer 0 anyway."""
    ranked = sorted(range(len(similarity)), key=lambda i: (not first or i > 0, similarity[i]))
    return tuple(sorted(ranked[:n_new]))


def similarities(student: Student, context: MethodContext) -> list[float]:
    """Mean cosine between each layer's input and output over the tokens of training rows, (n_layers,)."""
    import torch

    from edgebert.modeling.checkpoint import accepted
    from edgebert.training.loop import collate

    rows = context.train[:CONTRIBUTION_ROWS]
    features = context.task.encode(rows, student.tokenizer, context.labels, context.settings.max_length)
    sums = torch.zeros(student.model.config.num_hidden_layers)
    n_tokens = 0
    with torch.inference_mode():
        for start in range(0, len(features), 32):
            batch = collate(features[start : start + 32])
            mask = batch[ATTENTION_MASK].bool()
            states = student.model(**accepted(student.model, batch), output_hidden_states=True).hidden_states
            cosines = [torch.cosine_similarity(a[mask], b[mask], dim=-1).sum() for a, b in pairwise(states)]
            sums += torch.stack(cosines)
            n_tokens += int(mask.sum())
    return (sums / n_tokens).tolist()


def check(config: ModelConfig, teacher: ModelConfig, *, n_layers: int, strategy: str, layers: tuple[int, ...]) -> None:
    """Raises RequestError for layers that are not there, and for a first one that cannot be first."""
    n_old = config.num_hidden_layers
    if list(layers) != sorted(set(layers)) or not all(0 <= i < n_old for i in layers):
        what = f"layers {layers} are not increasing numbers from 0 to {n_old - 1}"
        raise RequestError(what, where="drop-layers.layers")
    if n_layers > n_old:
        raise RequestError(f"{n_layers} layers cannot be kept of {n_old}", where="drop-layers.n_layers")
    check_stack(config, "drop-layers")
    kept = planned_layers(config, n_layers, strategy, layers)
    if (0 not in kept or (strategy == "bottom" and not layers)) and (lost := first_lacks(config)):
        option = "layers" if layers else "strategy"
        what = (
            f"{layers or strategy} drops the first layer of {config.model_type}, and no other can be first: transformers "
            f"builds that one without {lost}, so that these weights of another would be lost"
        )
        hint = "Keep layer 0." if layers else "Use the strategy top, uniform, symmetric or contribution."
        raise RequestError(what, where=f"drop-layers.{option}", hint=hint)


def planned_layers(config: ModelConfig, n_layers: int, strategy: str, layers: tuple[int, ...]) -> tuple[int, ...]:
    """Indices from 0 of the layers that stay; for contribution as many, since the text says which."""
    n_old = config.num_hidden_layers
    if layers:
        return layers
    if strategy == "contribution":
        strategy = "top"
    return kept_layers(strategy, n_old, n_layers or n_old, first=bool(first_lacks(config)))


def choose(
    student: Student, context: MethodContext, n_layers: int, strategy: str, layers: tuple[int, ...]
) -> tuple[int, ...]:
    config = student.model.config
    check(config, config, n_layers=n_layers, strategy=strategy, layers=layers)
    if strategy == "contribution" and not layers:
        return least_similar(similarities(student, context), n_layers, first=bool(first_lacks(config)))
    return planned_layers(config, n_layers, strategy, layers)


def apply(
    student: Student, context: MethodContext, *, n_layers: int, strategy: str, layers: tuple[int, ...]
) -> Student:
    """The student with the chosen layers only, weights unchanged."""
    from edgebert.modeling.layers import keep_layers

    n_old = student.model.config.num_hidden_layers
    keep = choose(student, context, n_layers or n_old, strategy, layers)
    keep_layers(student.model, keep)
    student.notes += (f"kept layers {', '.join(str(i + 1) for i in keep)} of {n_old}",)
    return student


def reshape(config: ModelConfig, *, n_layers: int, strategy: str, layers: tuple[int, ...]) -> ModelConfig:
    from edgebert.modeling.layers import keep_settings

    keep_settings(config, planned_layers(config, n_layers, strategy, layers))
    return config


METHOD = Method(
    name="drop-layers",
    title="Drop layers of the teacher",
    paper=Paper(
        "Poor Man's BERT: On the Effect of Dropping Layers of Pre-trained Transformer Models",
        "Sajjad, Dalvi, Durrani, Nakov",
        2020,
        "2004.03844",
    ),
    stage="shape",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param(
            "n_layers",
            int,
            0,
            "layers to keep; left open, the planner chooses",
            minimum=1,
            search=lambda config: range(1, config.num_hidden_layers + 1),
        ),
        Param("strategy", str, "top", "which layers to drop or how to spread those that stay", choices=STRATEGIES),
        Param("layers", tuple, (), "exactly these layers, counted from 0, in place of a strategy"),
    ),
    any_tokenizer=True,
    trials=({"strategy": "top"}, {"strategy": "uniform"}),
    toy={"n_layers": 2},
)
