"""The planner on the default teacher's shape, with methods of its own so that no real one is needed."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from edgebert.converters import Precision, find_precision
from edgebert.cost.analytic import count_parameters, predict_bytes
from edgebert.devices.profiles import load_device
from edgebert.errors import BudgetError, RequestError
from edgebert.methods import Method, Param, Stage
from edgebert.search.plan import make_plan, percentile
from edgebert.search.starts import Start
from edgebert.types import Budget, Candidate, MethodCall, Plan, Recipe

TOKENS = "AutoModelForTokenClassification"
SIZES = (6000, 8000, 10000, 12000, 30522)
PIXEL6 = load_device("pixel6")


def set_layers(config: Any, *, n_layers: int, strategy: str) -> Any:
    assert strategy == "top", "parameters that are not searched come with their defaults"
    config.num_hidden_layers = n_layers
    return config


def set_vocabulary(config: Any, *, size: int) -> Any:
    config.vocab_size = size
    return config


def set_width(config: Any, *, share: float) -> Any:
    config.intermediate_size = int(config.intermediate_size * share)
    return config


def method(name: str, stage: Stage, reshape: Any, *params: Param) -> Method:
    return Method(name, name, None, stage, lambda student, context: student, params, reshape=reshape)


def layer_counts(config: Any) -> Sequence[int]:
    return range(1, config.num_hidden_layers + 1)


LAYERS = Param("n_layers", int, 3, "layers kept", search=layer_counts)
METHODS = {
    "drop": method("drop", "shape", set_layers, LAYERS, Param("strategy", str, "top", "which layers")),
    "trim": method("trim", "vocabulary", set_vocabulary, Param("size", int, 8000, "tokens", search=lambda c: SIZES)),
    "narrow": method("narrow", "shape", set_width, Param("share", float, 1.0, "width", search=lambda c: (0.5, 1.0))),
    "teach": method("teach", "train", lambda config: config),
}


def config_of(layers: int = 6, **changes: Any) -> Any:
    sizes = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522}
    heads = ["BertForTokenClassification"]
    return transformers.BertConfig(
        num_hidden_layers=layers, num_labels=130, architectures=heads, **{**sizes, **changes}
    )


def recipe_of(*calls: str, **params: Any) -> Recipe:
    """A recipe of the calls; `params` go to those methods that have them."""
    known = {name: {param.name for param in METHODS[name].params} for name in calls}
    return Recipe(tuple(MethodCall(c, {k: v for k, v in params.items() if k in known[c]}) for c in calls))


def plan_of(budget: Budget, *, n: int = 3, recipe: Recipe | None = None, config: Any = None, **given: Any) -> Plan:
    recipe = recipe or recipe_of("trim", "drop", "teach")
    lengths = given.pop("lengths", [12] * 100)
    return make_plan(
        [Start("teacher", config or config_of())],
        recipe,
        PIXEL6,
        budget,
        lengths,
        n_candidates=n,
        methods=METHODS,
        **given,
    )


def by_name(plan: Plan) -> dict[str, Candidate]:
    return {candidate.name: candidate for candidate in plan.candidates}


def taken(plan: Plan) -> list[str]:
    return [candidate.name for candidate in plan.candidates if candidate.taken]


def test_every_shape_is_listed_once_with_a_reason() -> None:
    plan = plan_of(Budget())
    assert len(plan.candidates) == len(by_name(plan)) == 6 * len(SIZES)
    assert all(candidate.reason for candidate in plan.candidates)


def test_a_loose_budget_takes_the_largest_of_each_depth() -> None:
    plan = plan_of(Budget(), n=2)
    assert taken(plan) == ["L6-v30.5k", "L5-v30.5k"], "the teacher's own shape is a candidate too"
    assert by_name(plan)["L4-v30.5k"].reason == "fits; not trained, because --candidates is 2"
    assert by_name(plan)["L4-v12k"].reason == "fits, but a vocabulary of 30,522 also fits"


def test_pixel6_takes_three_layers_with_ten_thousand_pieces() -> None:
    plan = plan_of(PIXEL6.budget, n=2)
    assert taken(plan) == ["L4-v6k", "L3-v10k"]
    result = by_name(plan)
    assert result["L4-v10k"].reason == "11.5 MB over the budget of 10 MB"
    assert result["L3-v12k"].reason == "10.4 MB over the budget of 10 MB"
    assert result["L3-v8k"].reason == "fits, but a vocabulary of 10,000 also fits"
    assert result["L3-v10k"].reason.startswith("taken: 9.7 MB, predicted ")
    assert result["L2-v12k"].reason == "fits; not trained, because --candidates is 2"
    assert [(c.fits, c.taken) for c in (result["L4-v10k"], result["L3-v8k"], result["L3-v10k"])] == [
        (False, False),
        (True, False),
        (True, True),
    ]


def test_predictions_of_a_candidate() -> None:
    candidate = by_name(plan_of(Budget()))["L3-v10k"]
    config = config_of(3, vocab_size=10000)
    assert (candidate.n_layers, candidate.vocab_size) == (3, 10000)
    assert candidate.n_parameters == count_parameters(config, TOKENS)
    assert candidate.size_bytes == predict_bytes(config, TOKENS, Precision("int8"))
    assert candidate.recipe.calls == (
        MethodCall("trim", {"size": 10000}),
        MethodCall("drop", {"n_layers": 3}),
        MethodCall("teach", {}),
    )


def test_a_tight_latency_refuses_by_the_predicted_median() -> None:
    times = {name: c.latency.p50_ms for name, c in by_name(plan_of(Budget())).items()}
    between = (times["L2-v6k"] + times["L3-v6k"]) / 2
    plan = plan_of(Budget(latency_ms=between), n=1)
    assert taken(plan) == ["L2-v30.5k"]
    refused = by_name(plan)["L3-v6k"]
    assert refused.latency.low_ms is not None
    assert refused.latency.low_ms < between < refused.latency.p50_ms
    assert refused.reason.startswith(f"predicted {refused.latency.p50_ms:.1f} ms [")
    assert refused.reason.endswith(f"] over the budget of {between:g} ms")


def test_limits_are_inclusive_and_close_misses_are_told_apart() -> None:
    size = by_name(plan_of(Budget()))["L1-v6k"].size_bytes
    assert taken(plan_of(Budget(size_mb=size / 1e6))) == ["L1-v6k"]
    # Two decimals would read 23.14 MB over 23.14 MB.
    refused = by_name(plan_of(Budget(size_mb=23.14)))["L6-v30.5k"]
    assert refused.reason == "23.142 MB over the budget of 23.14 MB"


def test_memory_is_estimated_and_says_so() -> None:
    plan = plan_of(Budget(memory_mb=45), n=1)
    candidate = by_name(plan)["L6-v6k"]
    assert candidate.reason == "predicted 54.8 MB of memory over the budget of 45 MB"  # 33 MB and 1.6 times 13.7 MB
    assert any("Memory is estimated" in note for note in plan.notes)
    assert not any("Memory" in note for note in plan_of(Budget()).notes)


def test_both_limits_are_named() -> None:
    plan = plan_of(Budget(size_mb=5, latency_ms=1), n=1)
    reason = by_name(plan)["L6-v30.5k"].reason
    assert reason.startswith("predicted ")
    assert reason.endswith("over the budget of 1 ms; 23.1 MB over the budget of 5 MB")


def test_nothing_fits_names_the_nearest_and_what_would_give() -> None:
    with pytest.raises(BudgetError) as caught:
        plan_of(Budget(size_mb=2))
    error = caught.value
    assert error.exit_code == 1
    assert error.where == "--device pixel6"
    assert error.what == (
        "none of 30 student shapes fits the budget; the nearest, L1-v6k, is 4.4 MB over the budget of 2 MB, by 2.4"
    )
    assert error.hint == "--max-size-mb 4.5 would admit L1-v6k."


def test_smaller_vocabularies_are_planned_where_nothing_else_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = Param("size", int, 8000, "tokens", search=lambda c: SIZES, last=lambda c: (1000, 3000))
    monkeypatch.setitem(METHODS, "trim", method("trim", "vocabulary", set_vocabulary, sizes))
    roomy, tight = plan_of(Budget(size_mb=4.5)), plan_of(Budget(size_mb=3.5))
    assert min(candidate.vocab_size for candidate in roomy.candidates) == 6000 and not any(
        "usual" in note for note in roomy.notes
    )
    assert taken(tight) == ["L1-v3k"]
    assert tight.notes[-1].startswith("None of the 30 usual shapes fits: students this small know few words")
    with pytest.raises(BudgetError, match=r"none of 42 student shapes fits the budget; the nearest, L1-v1k"):
        plan_of(Budget(size_mb=1))


def test_the_default_recipe_comes_below_three_megabytes() -> None:
    """MiniLM's width: one layer of it, with a few of its tokens in 4 bits."""
    recipe = Recipe((MethodCall("trim-vocab"), MethodCall("drop-layers"), MethodCall("kd")))
    start = Start("teacher", config_of())
    packed = find_precision("onnx", "int4-embedding")
    plan = make_plan([start], recipe, PIXEL6, Budget(size_mb=2.9), [12], n_candidates=1, precision=packed)
    assert taken(plan) == ["L1-v3k"]


@pytest.mark.parametrize("budget", [Budget(size_mb=2, latency_ms=0.1), Budget(size_mb=0.1), Budget(latency_ms=0.01)])
def test_what_would_give_does_give(budget: Budget) -> None:
    with pytest.raises(BudgetError) as caught:
        plan_of(budget)
    words = str(caught.value.hint).replace(".\n", "").split()
    offered = {words[i]: float(words[i + 1]) for i, word in enumerate(words) if word.startswith("--")}
    names = {"--max-size-mb": "size_mb", "--max-latency-ms": "latency_ms"}
    eased = replace(budget, **{names[option]: value for option, value in offered.items()})
    assert by_name(plan_of(eased))["L1-v6k"].fits


def test_what_the_user_set_is_not_searched() -> None:
    plan = plan_of(Budget(), recipe=recipe_of("trim", "drop", n_layers=2), n=3)
    assert [c.name for c in plan.candidates] == ["L2-v30.5k", "L2-v12k", "L2-v10k", "L2-v8k", "L2-v6k"]
    assert taken(plan) == ["L2-v30.5k"]
    fixed = plan_of(Budget(), recipe=recipe_of("trim", "drop", n_layers=2, size=8000))
    assert [(c.name, c.taken) for c in fixed.candidates] == [("L2-v8k", True)]


def test_shapes_compose_and_equal_names_are_told_apart() -> None:
    plan = plan_of(Budget(), recipe=recipe_of("trim", "drop", "narrow", size=6000, n_layers=2), n=1)
    assert [c.name for c in plan.candidates] == ["L2-v6k-share=1.0", "L2-v6k-share=0.5"]
    wide, narrow = plan.candidates
    # Two layers, each without half of two matrices of 384 x 1536 and half of a bias.
    assert wide.n_parameters - narrow.n_parameters == 2 * (2 * 384 * 768 + 768)
    assert taken(plan) == ["L2-v6k-share=1.0"]


def test_vocabularies_that_round_to_one_name_are_numbered() -> None:
    close = method("trim", "vocabulary", set_vocabulary, Param("size", int, 1, "", search=lambda c: (10001, 10002)))
    plan = make_plan(
        [Start("teacher", config_of(1))], recipe_of("trim"), PIXEL6, Budget(), [1], n_candidates=1,
        methods={"trim": close},
    )  # fmt: skip
    assert [c.name for c in plan.candidates] == ["L1-v10k-2", "L1-v10k-1"]


def test_shared_layers_are_ordered_by_time() -> None:
    albert = transformers.AlbertConfig(
        architectures=["AlbertForTokenClassification"],
        hidden_size=64,
        num_attention_heads=4,
        intermediate_size=128,
        num_hidden_layers=3,
        embedding_size=32,
    )
    plan = plan_of(Budget(), recipe=recipe_of("drop"), config=albert, n=1)
    assert [c.n_layers for c in plan.candidates] == [3, 2, 1]
    assert len({c.n_parameters for c in plan.candidates}) == 1


def test_lengths_set_the_prediction() -> None:
    plan = plan_of(Budget(), lengths=[5] * 50 + [9] * 45 + [40] * 5)
    assert (plan.length_p50, plan.length_p95) == (5, 9)
    assert {candidate.latency.seq_len for candidate in plan.candidates} == {9}
    assert plan_of(Budget(), lengths=[0]).length_p95 == 1


def test_config_is_left_alone() -> None:
    config = config_of()
    before = copy.deepcopy(config.to_dict())
    plan_of(Budget(), config=config)
    assert config.to_dict() == before


def test_bad_requests() -> None:
    with pytest.raises(RequestError, match="cannot plan 0 candidates"):
        plan_of(Budget(), n=0)
    with pytest.raises(ValueError, match="no lengths"):
        plan_of(Budget(), lengths=[])
    with pytest.raises(RequestError, match="Did you mean drop"):
        plan_of(Budget(), recipe=Recipe((MethodCall("dorp"),)))
    with pytest.raises(RequestError, match="unknown parameter of drop 'layers'"):
        plan_of(Budget(), recipe=Recipe((MethodCall("drop", {"layers": 2}),)))


def test_a_hundred_shapes_are_quick() -> None:
    plan_of(Budget())  # imports
    many = replace(METHODS["trim"], params=(Param("size", int, 1, "", search=lambda c: range(5001, 5018)),))
    begin = time.process_time()
    plan = make_plan(
        [Start("teacher", config_of())], recipe_of("trim", "drop"), PIXEL6, Budget(), [12], n_candidates=1,
        methods={**METHODS, "trim": many},
    )  # fmt: skip
    assert len(plan.candidates) == 102
    assert time.process_time() - begin < 10, "seen: 1.5 s"


def test_percentile_is_nearest_rank() -> None:
    assert [percentile([15, 20, 35, 40, 50], share) for share in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    assert percentile(range(1, 101), 95) == 95


@given(st.lists(st.integers(0, 512), min_size=1, max_size=60), st.integers(1, 100))
def test_percentile_is_the_smallest_that_covers(lengths: list[int], share: int) -> None:
    result = percentile(lengths, share)
    assert result in lengths
    assert 100 * sum(n <= result for n in lengths) >= share * len(lengths)
    assert 100 * sum(n < result for n in lengths) < share * len(lengths)
