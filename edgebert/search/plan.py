"""Which students to train: every shape a recipe can make, its predicted cost, and a verdict with a reason for each.

A shape over the budget is refused here; among those that fit a strategy chooses (`edgebert.search.strategies`).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import ceil
from typing import TYPE_CHECKING

from edgebert.budget.limits import Excess, broken, of_candidate, worst
from edgebert.converters import Precision
from edgebert.cost.analytic import basis, count_parameters, predict_bytes, predict_latency
from edgebert.devices.accelerators import LARGE_TABLE, LARGEST_DIMENSION
from edgebert.errors import BudgetError, RequestError, unknown
from edgebert.methods import METHODS, unchanged
from edgebert.modeling.operators import embedding_width
from edgebert.modeling.rebuild import auto_model_of, check_head
from edgebert.search.starts import Start
from edgebert.search.strategies import DEFAULT, STRATEGIES, Group, Shape, choose
from edgebert.types import Budget, Candidate, DeviceProfile, MethodCall, Plan, Recipe

if TYPE_CHECKING:
    from edgebert.methods import Method, ParamValue
    from edgebert.modeling.config import ModelConfig

INT8 = Precision("int8")
CORE_ML = "Core ML"  # among a profile's runtimes


def make_plan(
    starts: Sequence[Start],
    recipe: Recipe,
    device: DeviceProfile,
    budget: Budget,
    lengths: Sequence[int],
    *,
    n_candidates: int,
    methods: Mapping[str, Method] | None = None,
    precision: Precision = INT8,
    runtime: str | None = None,
    format: str | None = None,
    teacher: ModelConfig | None = None,
    strategy: str = DEFAULT,
) -> Plan:
    """Every shape of the recipe with its verdict; at most `n_candidates` are taken.

    Args:
        starts: what students may start from. Their configs name the task's head, and are not changed.
        recipe: of its parameters, those left open that have a `Param.search` are enumerated.
        lengths: tokens of each training row; the latency is predicted at their 95th percentile, batch 1.
        methods: by name; by default the registry's.
        precision: what is shipped, so what is planned for; by default int8.
        runtime: label of the predictions; by default the device's first.
        format: of the file; by default the device's first.
        teacher: the teacher's config; by default the first start's.
        strategy: that chooses among the shapes that fit, see `edgebert.search.strategies`.

    Raises:
        BudgetError: no shape fits; the message names the nearest and what would admit it.
        RequestError: an unknown method or parameter, none of its values can be, or fewer than one candidate asked for.
        ValueError: no lengths.
    """
    if n_candidates < 1:
        raise RequestError(f"cannot plan {n_candidates} candidates", where="--candidates", hint="Ask for at least 1.")
    methods = METHODS.all() if methods is None else methods
    middle, long = percentile(lengths, 50), max(1, percentile(lengths, 95))

    def judged(last: bool) -> tuple[Candidate, ...]:
        shapes: dict[tuple[str, str], Shape] = {}
        for start in starts:
            given = possible_shapes(start.config, recipe, methods, teacher or starts[0].config, last=last)
            for full, group, shape in given:
                key = start.name, shape.to_json_string()  # what the user fixed may leave an open one without effect
                if key not in shapes:
                    shapes[key] = shape_of(start, full, group, shape, device, long, precision, runtime, format)
        every = [_judged(shape, budget) for shape in _named(list(shapes.values()))]
        return choose(STRATEGIES.get(strategy), every, n_candidates)

    candidates, notes = judged(last=False), _notes(budget, device, long, precision, format)
    if not any(candidate.fits for candidate in candidates):
        usual, candidates = len(candidates), judged(last=True)
        if not any(candidate.fits for candidate in candidates):
            raise nothing_fits(candidates, budget, device)
        notes += (f"None of the {usual} usual shapes fits: students this small know few words besides those of the "
                  "training rows, and lose on other text.",)  # fmt: skip
    return Plan(candidates, budget, middle, long, notes + _table_notes(candidates, device))


def percentile(lengths: Sequence[int], share: int) -> int:
    """Nearest-rank percentile: the smallest length that at least `share` percent of the rows do not exceed."""
    if not lengths:
        raise ValueError("no lengths: a plan needs the token count of the training rows")
    return sorted(lengths)[max(1, ceil(share * len(lengths) / 100)) - 1]


# ---------------------------------------------------------------- shapes


def _recipes(
    config: ModelConfig, recipe: Recipe, methods: Mapping[str, Method], *, last: bool
) -> Iterator[tuple[Recipe, Group]]:
    """Every full recipe, with its group; `last` adds those of `Param.last`."""
    choices: list[list[tuple[int, str, ParamValue]]] = []  # of each open parameter: (index of its call, name, value)
    for i, call in enumerate(recipe.calls):
        if call.method not in methods:
            raise unknown("method", call.method, methods, where="--recipe")
        for param in methods[call.method].params:
            if param.search is not None and param.name not in call.params:
                values = [*param.search(config), *(param.last(config) if last else ())]
                choices.append([(i, param.name, value) for value in values])
    for chosen in product(*choices):
        calls = tuple(
            MethodCall(call.method, {**call.params, **{name: value for at, name, value in chosen if at == i}})
            for i, call in enumerate(recipe.calls)
        )
        group = tuple(
            (f"{calls[i].method}.{name}", value)
            for i, name, value in chosen
            if methods[calls[i].method].stage != "vocabulary"
        )
        yield Recipe(calls), group


def possible_shapes(
    config: ModelConfig, recipe: Recipe, methods: Mapping[str, Method], teacher: ModelConfig, *, last: bool = False
) -> list[tuple[Recipe, Group, ModelConfig]]:
    """Every full recipe whose methods can do what they are asked to, with its group and the student's config.

    Raises RequestError, of the first that cannot, where none can.
    """
    results, refusals = [], []
    for full, group in _recipes(config, recipe, methods, last=last):
        try:
            results.append((full, group, reshaped(config, full, methods, teacher)))
        except RequestError as error:
            refusals.append(error)
    if not results:
        raise refusals[0]
    return results


def check_shapes(config: ModelConfig, recipe: Recipe, teacher: ModelConfig, max_length: int = 0) -> set[str]:
    """Refuses, before anything is trained, what no shape of the recipe can do.

    Args:
        max_length: tokens of a window that the student shall read.

    Returns:
        The families that students may be of.

    Raises:
        RequestError: a family without such a head, a method that cannot do what it is asked to, students that are all
            larger than their teacher, or that read fewer tokens.
    """
    from edgebert.modeling.graph import position_limit

    for entry, where in ((teacher, "--teacher"), (config, "--student")):
        check_head(entry, where)
    shapes = possible_shapes(config, recipe, METHODS.all(), teacher)
    most = count_parameters(teacher, auto_model_of(teacher))
    smallest = min(shapes, key=lambda item: (item[2].vocab_size, item[2].num_hidden_layers))[2]
    n = count_parameters(smallest, auto_model_of(smallest))
    if n > most and not any(METHODS.get(call.method).adds_weights for call in recipe.calls):
        what = f"a student of {n:,} parameters is larger than its teacher of {most:,}"
        raise RequestError(what, where="--recipe", hint="Choose fewer layers, a smaller width or another --student.")
    if max_length > (limit := position_limit(smallest)):
        family = f"a student of the family {smallest.model_type}"
        what = f"{family} reads {limit} tokens at most, and windows of {max_length} are asked for"
        raise RequestError(what, where="--max-length", hint=f"Ask for at most {limit}, or use another method.")
    return {shape.model_type for _, _, shape in shapes}


def reshaped(config: ModelConfig, recipe: Recipe, methods: Mapping[str, Method], teacher: ModelConfig) -> ModelConfig:
    """The student's config: each call's `reshape` in turn, over a copy. Raises RequestError for what cannot be."""
    config = copy.deepcopy(config)
    for call in recipe.calls:
        method = methods[call.method]
        params = method.read_params(call.params)
        _require(method, "teacher", teacher)
        if method.reshape is unchanged:
            _require(method, "student", config)
        method.check(config, teacher, **params)
        config = method.reshape(config, **params)
        _require(method, "student", config)
    return config


def _require(method: Method, whose: str, config: ModelConfig) -> None:
    """Raises RequestError where a model of this config does not give what the method reads of it."""
    if not method.needs:
        return
    from edgebert.training.features import missing_features

    if why := missing_features(config, method.needs):
        what = f"the method reads the {whose}'s {' and '.join(method.needs)}, and {why}"
        raise RequestError(what, where=method.name, hint="Use kd, which reads predictions alone.")


def shape_of(
    start: Start,
    recipe: Recipe,
    group: Group,
    config: ModelConfig,
    device: DeviceProfile,
    seq_len: int,
    precision: Precision,
    runtime: str | None,
    format: str | None,
) -> Shape:
    """The shape of a full recipe, whose student has this config, without a verdict."""
    auto_model = auto_model_of(config)
    prefix = f"{start.prefix}-" if start.prefix else ""
    candidate = Candidate(
        name=f"{prefix}L{config.num_hidden_layers}-v{_thousands(config.vocab_size)}",
        recipe=recipe,
        n_layers=config.num_hidden_layers,
        vocab_size=config.vocab_size,
        n_parameters=count_parameters(config, auto_model),
        size_bytes=predict_bytes(config, auto_model, precision),
        latency=predict_latency(
            config, device, precision=precision.compute, seq_len=seq_len, runtime=runtime, format=format
        ),
        fits=False,
        taken=False,
        reason="",
        start=start.name,
    )
    n_encoder = candidate.n_parameters - config.vocab_size * embedding_width(config)
    n_dropped = start.config.num_hidden_layers - config.num_hidden_layers
    return Shape(candidate, group, n_encoder, n_dropped, _reservation(config.vocab_size, device))


def _reservation(vocab_size: int, device: DeviceProfile) -> str:
    """Of a phone whose accelerator Core ML reaches, and on which a file of ONNX Runtime may run as well."""
    if CORE_ML not in device.runtimes or vocab_size <= LARGEST_DIMENSION:
        return ""
    return f"a word table of more than {LARGEST_DIMENSION:,} rows may leave the accelerator ({LARGE_TABLE.cited})"


def _table_notes(candidates: Sequence[Candidate], device: DeviceProfile) -> tuple[str, ...]:
    """Told wherever the preference for a smaller table may have decided something."""
    if not any(candidate.fits and _reservation(candidate.vocab_size, device) for candidate in candidates):
        return ()
    return (
        f"On this device word tables of at most {LARGEST_DIMENSION:,} rows are preferred. {LARGE_TABLE.why} "
        f"({LARGE_TABLE.cited}.) A Core ML file with a larger one was reported to stay on the accelerator (#25421): "
        "--set trim-vocab.size=N keeps as many tokens as you ask for.",
    )


def _thousands(n: int) -> str:
    return f"{n / 1000:.3g}k" if n >= 1000 else str(n)


def _named(shapes: Sequence[Shape]) -> list[Shape]:
    """Shapes with unique names: where two are equal, their group's values are added, then a number."""
    short = [shape.candidate.name for shape in shapes]
    values = ["".join(f"-{key.split('.')[-1]}={value}" for key, value in shape.group) for shape in shapes]
    longer = _where_equal(short, lambda i: short[i] + values[i])
    unique = _where_equal(longer, lambda i: f"{longer[i]}-{i + 1}")
    return [
        replace(shape, candidate=replace(shape.candidate, name=name))
        for shape, name in zip(shapes, unique, strict=True)
    ]


def _where_equal(names: Sequence[str], other: Callable[[int], str]) -> list[str]:
    times = Counter(names)
    return [other(i) if times[name] > 1 else name for i, name in enumerate(names)]


# ---------------------------------------------------------------- the budget


def _judged(shape: Shape, budget: Budget) -> Shape:
    """The shape, whose candidate says whether it is within the budget, or what it exceeds."""
    excess = _excess(budget, shape.candidate)
    reason = "; ".join(f"{item.amount} {item.over}" for item in excess)
    return replace(shape, candidate=replace(shape.candidate, fits=not excess, reason=reason))


def _excess(budget: Budget, candidate: Candidate) -> list[Excess]:
    return broken(budget, of_candidate(candidate))


def nothing_fits(candidates: Sequence[Candidate], budget: Budget, device: DeviceProfile) -> BudgetError:
    """The error that names the nearest of students that are all over the budget, and what would admit it."""
    nearest = min(candidates, key=lambda candidate: (worst(_excess(budget, candidate)), candidate.size_bytes))
    excess = _excess(budget, nearest)
    misses = "; ".join(item.miss for item in excess)
    give = " and ".join(item.admits for item in excess)
    return BudgetError(
        f"none of {len(candidates)} student shapes fits the budget; the nearest, {nearest.name}, is {misses}",
        where=f"--device {device.name}",
        hint=f"{give} would admit {nearest.name}.",
    )


def _notes(
    budget: Budget, device: DeviceProfile, seq_len: int, precision: Precision, format: str | None
) -> tuple[str, ...]:
    notes = [
        f"Sizes and times are predicted for {precision.title}, times at {seq_len} tokens and {device.threads} threads; a "
        "shape is refused by its predicted p50, whatever its interval.",
        basis(device, precision=precision.compute, format=format),
    ]
    if budget.memory_mb is not None:
        notes.append(
            "Memory is estimated here from the file's size alone (edgebert.cost.analytic.predict_memory_bytes); a finished "
            "file is judged by the peak that was measured."
        )
    if budget.drop_points is not None:
        notes.append(f"The drop of at most {budget.drop_points:g} points is measured after training, not predicted.")
    return tuple(notes)
