"""Every search strategy keeps the contract; what breaks it is refused by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from edgebert.errors import PluginError, RequestError
from edgebert.search.strategies import DEFAULT, STRATEGIES, Shape, Strategy, choose
from edgebert.types import Budget, Candidate, Latency, Recipe
from tests.test_plan import plan_of, taken


def shapes(seed: int, n: int = 40) -> list[Shape]:
    """Made-up students of two starts, some of them over the budget."""
    drawn = random.Random(seed)
    results = []
    for i in range(n):
        layers, vocabulary = drawn.randint(1, 12), drawn.choice((1000, 5000, 30000))
        start, fits = drawn.choice(("teacher", "other")), drawn.random() < 0.6
        latency = Latency("predicted", "pixel6", "rt", "", 1, 16, 1, layers * drawn.uniform(0.9, 1.1))
        size = layers * 2_000_000 + vocabulary * 400
        results.append(Shape(
            Candidate(f"S{i}", Recipe(()), layers, vocabulary, size, size, latency, fits, False,
                      "" if fits else "3 MB over --max-size-mb", start=start),
            (("drop.n_layers", layers),), layers * 2_000_000, 12 - layers,
        ))  # fmt: skip
    return results


@pytest.mark.parametrize("name", STRATEGIES.all())
@pytest.mark.parametrize("n", [1, 3, 100])
def test_the_contract(name: str, n: int) -> None:
    """See `edgebert.search.strategies.Choose`."""
    strategy = STRATEGIES.get(name)
    assert strategy.title
    for seed in range(5):
        given = shapes(seed)
        before = {shape.candidate.name: shape.candidate for shape in given}
        answer = choose(strategy, given, n)
        assert {item.name for item in answer} == set(before)
        chosen = [item for item in answer if item.taken]
        assert 1 <= len(chosen) <= n and all(before[item.name].fits for item in chosen)
        for item in answer:
            old = before[item.name]
            assert item == (replace(old, taken=item.taken, reason=item.reason) if old.fits else old)
            assert item.reason
        assert choose(strategy, shapes(seed), n) == answer, "equal shapes give an equal answer"
    none = [replace(shape, candidate=replace(shape.candidate, fits=False, reason="over")) for shape in shapes(0)]
    assert not any(item.taken for item in choose(strategy, none, n))


def test_the_one_that_fit_uses() -> None:
    assert STRATEGIES.get(DEFAULT).name == "largest-fitting"
    assert taken(plan_of(Budget(), n=2)) == taken(plan_of(Budget(), n=2, strategy="largest-fitting"))
    with pytest.raises(RequestError, match="unknown search strategy 'largest-fiting'\n  Did you mean largest-fitting"):
        plan_of(Budget(), strategy="largest-fiting")


def all_of(given: Sequence[Shape], n: int) -> list[Candidate]:
    return [replace(shape.candidate, taken=True, reason="taken") for shape in given]


def one_too_few(given: Sequence[Shape], n: int) -> list[Candidate]:
    return [replace(shape.candidate, reason="not taken") for shape in given[1:]]


def none_at_all(given: Sequence[Shape], n: int) -> list[Candidate]:
    return [replace(shape.candidate, reason="not taken") for shape in given]


def one_over_the_budget(given: Sequence[Shape], n: int) -> list[Candidate]:
    first = next(shape.candidate.name for shape in given if not shape.candidate.fits)
    return [replace(shape.candidate, taken=shape.candidate.name == first, reason="so") for shape in given]


def without_a_reason(given: Sequence[Shape], n: int) -> list[Candidate]:
    first = next(shape.candidate.name for shape in given if shape.candidate.fits)
    return [replace(shape.candidate, taken=shape.candidate.name == first, reason="") for shape in given]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (all_of, "takes 40 shapes of at most 3"),
        (one_too_few, "answers for other shapes than it was given"),
        (none_at_all, "takes none of those that fit"),
        (one_over_the_budget, "takes a shape that is over the budget"),
        (without_a_reason, "gives a shape no reason"),
    ],
)
def test_a_strategy_that_breaks_the_contract_is_refused(
    broken: Callable[[Sequence[Shape], int], list[Candidate]], told: str
) -> None:
    with pytest.raises(PluginError, match=f"the search strategy 'broken' breaks its contract: it {told}"):
        choose(Strategy("broken", "breaks", broken), shapes(0), 3)
