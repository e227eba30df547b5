"""Remove attention heads and feed-forward neurons for real, layers differing in width, with distillation between steps.

Michel, Levy, Neubig (2019), "Are Sixteen Heads Really Better than One?", arXiv 1905.10650: a gate ξ on what a head gives,
and by the first-order expansion of Molchanov et al. (2017, arXiv 1611.06440) its importance is the loss that closing the
gate would change, over rows x (their equation 2):

    I_h = E_x |∂L(x) / ∂ξ_h|,  and of a neuron with a gate of its own likewise

(Hou et al. 2020, DynaBERT, arXiv 2004.04037, section 2.1 ranks neurons so.) Least important first, `share` of all heads and
`share` of all neurons go, in `steps` equal parts; neurons in groups of `group` neighbours in rank, whose importances add up.
A head and a group stay in each layer. What went gave on average stays in the biases. After each step, and after the last for
the rest of the epochs, the student learns the teacher's answers as in kd: (1 - hard_label_weight) · T² · CE with the teacher's
predictions + hard_label_weight · CE with the true labels, on rows of which `replace` of the tokens are changed in half.

With `by=latency` heads, neurons and layers compete: what goes next is what changes the loss least for the time that it takes,

    argmin I_u / (t(shape) - t(shape without u)),  until t is that of the same shares of each layer removed

where I of a head is a sum over gates on each of its numbers, as that of a group of neurons is: a gate on all of a head at once
sees changes that cancel each other, and would make heads look cheap (half removed on SNIPS, one seed: one or two heads a layer
were left, and strict F1 of the int8 file over 700 test rows was 83.6; with sums it is 87.6).

t(shape) is the predicted time of a pass on the device of `fit`; without a device it is the number of multiply-adds, and a
note says so.

Differences: Michel et al. divide importances by their norm in a layer; ours stay as they are, so that layers, and with
by=latency heads and neurons, are compared by the loss that they change. They and DynaBERT read the gradient of the loss on
labels; a head without labels (sentence vectors) gives that of a random projection of its answers, ±1 each. Michel et al. do
not train between steps. The encoder's width stays: `narrow` changes that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, learn_predictions
from edgebert.modeling.ragged import LayerWidth, describe_widths, widths_of
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

SHARES = (0.25, 0.5, 0.75)


def check(config: ModelConfig, teacher: ModelConfig, *, share: float, group: int, **_: object) -> None:
    """Raises RequestError for a family of other layers, for a model without room, and for all of it."""
    from edgebert.methods._pruning import why_not

    if why := why_not(config):
        raise RequestError(why, where="prune", hint="drop-layers serves it, where it keeps a list of layers.")
    if share >= 1:
        what = f"a share of {share:g} would leave no head and no neuron"
        raise RequestError(what, where="prune.share", hint="Choose a share below 1.")
    least = min(width.n_neurons for width in widths_of(config))
    if group > least:
        what = f"groups of {group} neurons cannot be removed of {least}"
        raise RequestError(what, where="prune.group", hint=f"Choose at most {least}.")


def even(total: int, n: int) -> list[int]:
    """`total` as n whole numbers that differ by one at most, the larger first."""
    return [total // n + (i < total % n) for i in range(n)]


def n_left(present: int, share: float, n_layers: int) -> int:
    """How many of all heads, or of all groups of neurons, stay: one a layer at least."""
    return max(n_layers, present - round(share * present))


def reshape(config: ModelConfig, *, share: float, group: int, **_: object) -> ModelConfig:
    """The same shares of each layer removed. Which layers they go from the rows will tell: as many parameters stay."""
    widths, n_layers = widths_of(config), config.num_hidden_layers
    heads = even(n_left(sum(len(width.heads) for width in widths), share, n_layers), n_layers)
    groups = even(n_left(sum(width.n_neurons // group for width in widths), share, n_layers), n_layers)
    describe_widths(config, [LayerWidth(tuple(range(n)), group * m) for n, m in zip(heads, groups, strict=True)])
    return config


def apply(
    student: Student, context: MethodContext, *, share: float, steps: int, by: str, group: int, epochs: float, inner: float,
    temperature: float, hard_label_weight: float, replace: float,
) -> Student:  # fmt: skip
    """The student with fewer heads and neurons, trained."""
    from edgebert.methods._pruning import Pruning

    config = student.model.config
    check(config, context.teacher.config, share=share, group=group)
    pruning = Pruning(student, context, share=share, group=group, by=by)
    whole = epochs or context.settings.epochs
    for step in range(steps):
        pruning.remove((step + 1) / steps)
        last = step + 1 == steps
        passes = whole * (inner / steps + (1 - inner if last else 0))
        if passes:
            learn_predictions(
                student, context, f"prune-{step + 1}", passes, temperature=temperature,
                hard_label_weight=hard_label_weight, replace=replace,
            )  # fmt: skip
    student.notes += pruning.notes()
    return student


METHOD = Method(
    name="prune",
    title="Remove heads and neurons of the feed-forward, by importance",
    paper=Paper("Are Sixteen Heads Really Better than One?", "Michel, Levy, Neubig", 2019, "1905.10650"),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param(
            "share", float, 0.5, "share of all heads and of all neurons to remove; left open, the planner chooses",
            minimum=0, search=lambda config: SHARES,
        ),
        Param("steps", int, 3, "in how many steps they go, with training after each", minimum=1, maximum=50),
        Param(
            "by", str, "count", "what goes first: the least important of its kind, or what is least important for its time",
            choices=("count", "latency"),
        ),
        Param("group", int, 16, "neurons that go together, so that runtimes' blocks stay full", minimum=1),
        EPOCHS,
        Param("inner", float, 0.5, "share of the epochs between the steps; the rest follows the last", minimum=0, maximum=1),
        TEMPERATURE,
        HARD,
        REPLACE,
    ),
    answers=plain_answers,
    reads_cost=lambda *, by, **_: by == "latency",
    any_tokenizer=True,
    toy={"share": 0.5, "steps": 2, "group": 8, "epochs": 1},
)  # fmt: skip
