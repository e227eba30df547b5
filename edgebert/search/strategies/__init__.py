"""Which of the shapes that fit are trained: one strategy a module, found by the registry.

The planner lists every shape that a recipe can make, predicts its cost and refuses what is over the budget; a strategy says
of the others which are worth a training, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from edgebert.errors import PluginError
from edgebert.registry import Registry, check_call
from edgebert.types import Candidate

if TYPE_CHECKING:
    from edgebert.methods import ParamValue

DEFAULT = "largest-fitting"
Group: TypeAlias = (
    "tuple[tuple[str, ParamValue], ...]"  # "method.param" and its value, of the choices outside the vocabulary
)


@dataclass(frozen=True)
class Shape:
    """A student that can be made, with what it is predicted to cost.

    Attributes:
        candidate: whose `fits` says whether it is within the budget. Of one that is not, `reason` says what it exceeds.
        group: shapes of one start and one group differ in the vocabulary alone.
        encoder_parameters: all but the word table.
        n_dropped: layers that its start has and it has not.
        reservation: why another shape of its group that fits is preferred; "" where nothing speaks against it.
    """

    candidate: Candidate
    group: Group
    encoder_parameters: int
    n_dropped: int
    reservation: str = ""


class Choose(Protocol):
    """Chooses what is trained."""

    def __call__(self, shapes: Sequence[Shape], n: int) -> Sequence[Candidate]:
        """Args:
            shapes: every one of the plan, in the order in which the starts and the values of the methods' parameters are
                listed, the preferred ones first; their candidates have names of their own.
            n: most that are taken, at least 1.

        Returns:
            The candidate of every shape, in the order in which the plan lists and trains them. Those that do not fit are as
            they were given; of each that fits, `taken` says whether it is trained, and `reason` why or why not, as a user
            reads it. Equal shapes give an equal answer, in whatever process.
        """


@dataclass(frozen=True)
class Strategy:
    """The declaration `STRATEGY` of each module of this package.

    Attributes:
        title: what it does, in a few words.
        choose: see `Choose`.
    """

    name: str
    title: str
    choose: Choose


def _check(strategy: Strategy) -> None:
    """Raises TypeError for a declaration that breaks the contract."""
    check_call("choose", strategy.choose, "shapes", "n")


STRATEGIES: Registry[Strategy] = Registry(
    "search strategy", __name__, "STRATEGY", Strategy, where="strategy", check=_check
)


def choose(strategy: Strategy, shapes: Sequence[Shape], n: int) -> tuple[Candidate, ...]:
    """What a strategy answers, held against its contract. Raises PluginError that names what is broken."""
    answer = tuple(strategy.choose(shapes, n))
    given = {shape.candidate.name: shape.candidate for shape in shapes}
    names = [candidate.name for candidate in answer]
    taken = [candidate for candidate in answer if candidate.taken]
    mistakes = {
        "it answers for other shapes than it was given": sorted(names) != sorted(given),
        f"it takes {len(taken)} shapes of at most {n}": len(taken) > n,
        "it takes a shape that is over the budget": any(
            not given[item.name].fits for item in taken if item.name in given
        ),
        "it takes none of those that fit": not taken and any(candidate.fits for candidate in given.values()),
        "it gives a shape no reason": any(not candidate.reason for candidate in answer),
    }
    if wrong := next((what for what, holds in mistakes.items() if holds), ""):
        raise PluginError(f"the search strategy '{strategy.name}' breaks its contract: {wrong}", where=strategy.name)
    return answer
