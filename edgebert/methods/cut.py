"""Cut a smaller network out of a larger one, narrower or with fewer layers; nothing is trained.

Hou, Huang, Shang, Jiang, Chen, Liu (2020), "DynaBERT: Dynamic BERT with Adaptive Width and Depth", arXiv 2004.04037: with
width m each layer keeps its first m · H heads and m · F neurons, which rewiring has put in the order of their importance;
with depth m, m · L layers spread evenly stay, the last one among them.

`layers` and `widths` say it layer by layer instead. It is meant for networks that `dynabert` trained, behind that method as in
dynabert+cut+kd or as --student: all students of a fit share one such network, and the planner chooses width and depth where
they are left open. Of another network heads and neurons are first put in the order of their importance over the training
rows (`edgebert.methods.prune`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig


def check(
    config: ModelConfig,
    teacher: ModelConfig,
    *,
    width: float,
    depth: float,
    layers: tuple[int, ...],
    widths: tuple[float, ...],
) -> None:
    """Raises RequestError for a family whose layers cannot be cut, and for a shape that the network has not."""
    from edgebert.methods._pruning import why_not
    from edgebert.methods._supernet import asked

    if why := why_not(config):
        raise RequestError(why, where="cut", hint="drop-layers serves it, where it keeps a list of layers.")
    asked(config, width, depth, layers, widths)


def apply(
    student: Student,
    context: MethodContext,
    *,
    width: float,
    depth: float,
    layers: tuple[int, ...],
    widths: tuple[float, ...],
) -> Student:
    """The smaller network."""
    from edgebert.methods._pruning import importances
    from edgebert.methods._supernet import SUPERNET, asked, cut_model, rewire

    config = student.model.config
    check(config, config, width=width, depth=depth, layers=layers, widths=widths)
    if not hasattr(config, SUPERNET):
        rewire(student, importances(student, context))
    cut = asked(config, width, depth, layers, widths)
    cut_model(student.model, cut)
    student.notes += (f"cut to {cut.title}",)
    return student


def reshape(
    config: ModelConfig, *, width: float, depth: float, layers: tuple[int, ...], widths: tuple[float, ...]
) -> ModelConfig:
    from edgebert.methods._supernet import asked, cut_config

    return cut_config(config, asked(config, width, depth, layers, widths))


def _depths(config: ModelConfig) -> tuple[float, ...]:
    from edgebert.methods._supernet import DEPTHS

    return DEPTHS


def _widths(config: ModelConfig) -> tuple[float, ...]:
    from edgebert.methods._supernet import WIDTHS

    return WIDTHS


METHOD = Method(
    name="cut",
    title="Keep some layers, and of each its most important heads and neurons",
    paper=Paper(
        "DynaBERT: Dynamic BERT with Adaptive Width and Depth",
        "Hou, Huang, Shang, Jiang, Chen, Liu",
        2020,
        "2004.04037",
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param(
            "width",
            float,
            1.0,
            "share of each layer's heads and neurons to keep",
            minimum=0.05,
            maximum=1,
            search=_widths,
        ),
        Param("depth", float, 1.0, "share of the layers to keep", minimum=0.05, maximum=1, search=_depths),
        Param("layers", tuple, (), "numbers of the layers to keep, from 0, in place of depth"),
        Param("widths", tuple, (), "a share for each layer that stays, or one for all, in place of width", item=float),
    ),
    any_tokenizer=True,
    toy={"width": 0.5, "depth": 0.5},
)
