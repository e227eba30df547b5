"""A vector of a text: the pooled states, through the modules of its teacher or a projection to a width of its own.

A projection is orthogonal at first, so that it keeps lengths. An encoder of transformers has no layers for it: its states
are pooled as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edgebert.modeling.heads import Form, Head, Layers, Part
from edgebert.runtime.specs import BATCH, OutputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def layers(width: int, part: Part, dropout: float) -> dict[str, nn.Module]:
    """`projection`, and `steps` as `edgebert.modeling.sentence` has them."""
    from torch import nn

    from edgebert.modeling.heads._module import HeadModule

    width *= len(part.pooling.split("+"))
    projection: nn.Module = nn.Identity()
    if part.width:
        linear = nn.Linear(width, part.width, bias=False)
        nn.init.orthogonal_(linear.weight)
        projection = linear
    steps = nn.ModuleList()
    for step in part.steps:
        steps.append(HeadModule(_step_layers(width, step), partial(_step, step=step)))
        width = step.get("width", width)
    return {"projection": projection, "steps": steps}


def _step_layers(width: int, step: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Of Dense, LayerNorm or Normalize of sentence-transformers; the weights have the names that they have there."""
    from torch import nn

    results: dict[str, nn.Module] = {}
    if step["step"] == "layer-norm":
        results["norm"] = nn.LayerNorm(width)
    if step["step"] == "dense":
        results["linear"] = nn.Linear(width, step["width"], bias=step["bias"])
        results["activation"] = getattr(nn, step["activation"])()
        if step.get("residual") and width != step["width"]:
            results["residual"] = nn.Linear(width, step["width"], bias=False)
    return results


def _step(layers: Layers, vectors: Tensor, *, step: Mapping[str, Any]) -> Tensor:
    """(batch, width) through one of the modules."""
    import torch

    from edgebert.modeling.pooling import unit

    if step["step"] == "normalize":
        return unit(vectors)
    if step["step"] == "layer-norm":
        return torch.as_tensor(layers["norm"](vectors))  # a Cast in files, which are to stay the same byte by byte
    created = layers["activation"](layers["linear"](vectors))
    if step.get("residual"):
        created = created + (layers["residual"](vectors) if "residual" in layers else vectors)
    return torch.as_tensor(created)


def forward(layers: Layers, states: Tensor, mask: Tensor | None, *, part: Part) -> tuple[Tensor, ...]:
    from edgebert.modeling.pooling import pooled, unit

    vectors = layers["projection"](pooled(states, mask, part.pooling))
    steps: Any = layers["steps"]
    for step in steps:
        vectors = step(vectors)
    return (unit(vectors) if part.normalize and not part.steps else vectors,)


def of_states(states: Tensor, mask: Tensor | None, part: Part) -> tuple[Tensor, ...]:
    from edgebert.modeling.pooling import pooled, unit

    vectors = pooled(states, mask, part.pooling)
    return (unit(vectors) if part.normalize else vectors,)


def hard_loss(
    own: Sequence[Tensor], targets: Mapping[str, Tensor], part: Part, weights: Sequence[float]
) -> Tensor | float:
    """MSE(cos(a, b), score) of neighbouring rows: Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084.

    `score` (batch,), the same for the two rows of a pair.
    """
    import torch
    from torch.nn import functional as F

    from edgebert.modeling.pooling import unit

    if "score" not in targets:
        return 0.0
    vectors = unit(own[0])
    cosine = (vectors[0::2] * vectors[1::2]).sum(-1)
    score = targets["score"][0::2]
    known = ~torch.isnan(score)
    return F.mse_loss(cosine[known], score[known]) if known.any() else 0.0


def soft_loss(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, temperature: float, part: Part) -> Tensor:
    """1 - cos with the teacher's vector where the widths agree, and the batch's matrix of similarities in any case.

    Similarities: Tung and Mori 2019, "Similarity-Preserving Knowledge Distillation", arXiv 1907.09682, on unit vectors.
    """
    from torch.nn import functional as F

    from edgebert.modeling.pooling import unit

    ours, other = unit(own[0]), unit(theirs[0])
    loss = F.mse_loss(ours @ ours.T, other @ other.T)
    return loss + (1 - (ours * other).sum(-1)).mean() if ours.shape == other.shape else loss


def answer(part: Part) -> Form:
    return "vector"


HEAD = Head(
    name="sentence-embedding",
    mark="Model",
    auto_model="AutoModel",
    outputs=(OutputSpec("sentence_embedding", axes=(BATCH, "width")),),
    layers=layers,
    forward=forward,
    of_states=of_states,
    hard_loss=hard_loss,
    soft_loss=soft_loss,
    answer=answer,
    mean="vectors",
)
