"""Pruning of heads and neurons: importances against differences, cut layers against zeroed ones, who goes by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods._pruning import Importance, Unit, cheapest, importances, least, multiply_adds, units_of, why_not
from edgebert.methods.prune import even, reshape
from edgebert.modeling.checkpoint import build_model, copy_student, load_student, n_parameters, save_checkpoint
from edgebert.modeling.layers import encoder_layers, keep_layers
from edgebert.modeling.operators import operators
from edgebert.modeling.ragged import LayerWidth, cut_layer, describe_widths, layer_configs, widths_of
from edgebert.modeling.roles import layer_modules
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.search.plan import check_shapes
from edgebert.training.loop import Objective, collate
from edgebert.types import Row, Student
from edgebert.workflows.recipe import check_methods, read_recipe
from tests.toy_methods import applied, logits, method_context, toy_params

SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 60,
    "max_position_embeddings": 40,
}  # fmt: skip
FAMILIES = {
    "bert": {}, "roberta": {}, "electra": {"embedding_size": 32}, "mpnet": {}, "roformer": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 24},
    "deberta-v2": {"relative_attention": True, "position_buckets": 4, "pos_att_type": ["c2p", "p2c"]},
}  # fmt: skip


def config_of(family: str) -> Any:
    sizes = {} if family == "distilbert" else SIZES
    config = AutoConfig.for_model(
        family, **{**sizes, "vocab_size": 60, "max_position_embeddings": 40, **FAMILIES[family]}
    )
    config.architectures = ["SomeForTokenClassification"]
    return config


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_layer_is_one_whose_other_units_give_zero(family: str) -> None:
    torch.manual_seed(0)
    config = config_of(family)
    model = build_model(config, "AutoModelForTokenClassification").eval()
    widths = [LayerWidth((0, 2, 3), 16), LayerWidth((1,), 5)]
    cut = copy.deepcopy(model)
    for whole, part, width in zip(encoder_layers(model), encoder_layers(cut), widths, strict=True):
        parts = layer_modules(whole)
        gone = [head * 8 + i for head in range(4) if head not in width.heads for i in range(8)]
        with torch.no_grad():
            parts["attended"].weight[:, gone] = 0
            parts["outer"].weight[:, width.n_neurons :] = 0
        if len(width.heads) == 3:  # in two steps: numbers are those of the layer as it is
            cut_layer(part, (0, 2, 3), range(20), 8)
            cut_layer(part, (0, 1, 2), range(width.n_neurons), 8)
        else:
            cut_layer(part, width.heads, range(width.n_neurons), 8)
    ids, mask = torch.arange(5, 21).reshape(2, 8), torch.ones(2, 8, dtype=torch.int64)
    mask[1, 5:] = 0
    with torch.inference_mode():
        expected, result = (m(input_ids=ids, attention_mask=mask).logits for m in (model, cut))
    assert (expected - result)[mask.bool()].abs().max() < 1e-5
    described = copy.deepcopy(config)
    describe_widths(described, widths)
    assert count_parameters(described, "AutoModelForTokenClassification") == n_parameters(cut)


@pytest.mark.parametrize("family", ["fnet", "albert", "squeezebert", "convbert"])
def test_families_of_other_layers_are_refused_before_any_training(family: str) -> None:
    config = AutoConfig.for_model(family, **SIZES, embedding_size=32)
    method = METHODS.get("prune")
    with pytest.raises(RequestError, match=family):
        method.check(config, config, **method.read_params({}))


def test_bad_parameters_are_refused(teacher: Student) -> None:
    method, config = METHODS.get("prune"), teacher.model.config
    for given, what in (({"share": 1.0}, "no head and no neuron"), ({"group": 65}, "groups of 65 neurons")):
        with pytest.raises(RequestError, match=what):
            method.check(config, config, **method.read_params(given))
    with pytest.raises(RequestError, match="below 0"):
        method.read_params({"share": -0.1})


def test_importance_is_what_the_loss_changes_by_when_a_gate_closes_a_little(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    with torch.no_grad():  # near 0 no gate changes much
        for parameter in student.model.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    context = method_context(student, toy_rows[:6], toy_labels, tmp_path)
    result = importances(student, context)
    features = context.task.encode(toy_rows[:6], student.tokenizer, toy_labels, 32)
    batches = [collate([feature]) for feature in features]
    n_tokens = torch.tensor([float(batch["labels"].ne(-100).sum()) for batch in batches])
    exact = copy.deepcopy(student.model).double()
    parts, step = layer_modules(encoder_layers(exact)[1]), 0.02

    def change(linear: Any, columns: slice) -> float:
        """Central difference of each row's loss by the inputs of these columns. A batch's loss is a mean over tokens."""
        losses = []
        for factor in (1 + step, (1 - step) / (1 + step), 1 / (1 - step)):
            linear.weight.data[:, columns] *= factor
            with torch.no_grad():
                losses.append(torch.tensor([float(Objective(exact).loss(batch)) for batch in batches]))
        return float(((losses[0] - losses[1]).abs() / (2 * step) * n_tokens).sum() / n_tokens.sum())

    heads = torch.tensor([change(parts["attended"], slice(8 * h, 8 * h + 8)) for h in range(4)])
    assert torch.allclose(result[1].heads, heads, rtol=0.01, atol=1e-5)
    each = torch.tensor([change(parts["attended"], slice(i, i + 1)) for i in range(8)])
    assert torch.allclose(result[1].head_parts[0], each.sum(), rtol=0.01, atol=1e-5)
    neurons = torch.tensor([change(parts["outer"], slice(n, n + 1)) for n in range(3)])
    assert torch.allclose(result[1].neurons[:3], neurons, rtol=0.01, atol=1e-5)


def test_means_are_over_real_tokens(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(student, toy_rows[:5], toy_labels, tmp_path)
    seen: list[torch.Tensor] = []
    outer = layer_modules(encoder_layers(student.model)[2])["outer"]
    hook = outer.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    batch = collate(context.task.encode(toy_rows[:5], student.tokenizer, toy_labels, 32))
    with torch.no_grad():
        student.model(input_ids=batch["input_ids"], attention_mask=batch[ATTENTION_MASK])
    hook.remove()
    expected = seen[0][batch[ATTENTION_MASK].bool()].mean(0)
    assert torch.allclose(importances(student, context)[2].mean_neurons, expected, atol=1e-6)


# ---------------------------------------------------------------- who goes


def importance(heads: list[float], neurons: list[float]) -> Importance:
    parts = 2 * torch.tensor(heads).flip(0)
    return Importance(torch.tensor(heads), torch.tensor(neurons), parts, torch.zeros(1), torch.zeros(1))


def test_groups_are_neighbours_in_rank_and_the_best_one_stays() -> None:
    heads, neurons = units_of([importance([0.3, 0.1, 0.2], [5.0, 1.0, 4.0, 2.0, 3.0])], 2)
    assert [unit.members for unit in heads] == [(1,), (2,)]
    assert [(unit.members, unit.importance) for unit in neurons] == [((1,), -1.0), ((3, 4), 5.0)]
    heads, _ = units_of([importance([0.3, 0.1, 0.2], [1.0])], 1, together=True)
    assert [(unit.members, unit.importance) for unit in heads] == [
        ((1,), pytest.approx(0.2)),
        ((0,), pytest.approx(0.4)),
    ]


def test_the_least_important_go_whichever_layer_they_are_in() -> None:
    queues = units_of([importance([1.0, 2.0, 9.0], [1.0, 1.0, 8.0]), importance([3.0, 4.0, 5.0], [2.0, 3.0, 8.0])], 1)
    gone = least(queues, {"heads": 3, "neurons": 2})
    assert [(unit.layer, unit.kind, unit.members) for unit in gone] == [
        (0, "heads", (0,)), (0, "heads", (1,)), (1, "heads", (0,)), (0, "neurons", (0,)), (0, "neurons", (1,)),
    ]  # fmt: skip


def test_by_latency_what_costs_most_for_its_importance_goes_first(teacher: Student) -> None:
    """A head takes 10, a group of 8 neurons 1: 4 heads and 8 groups a layer make 48."""
    config = copy.deepcopy(teacher.model.config)  # 4 layers of 4 heads and 64 neurons

    def cost(shape: Any) -> float:
        return sum(10.0 * len(width.heads) + width.n_neurons / 8 for width in widths_of(shape))

    queues = [
        [Unit(0, "heads", (2,), 5.0), Unit(0, "heads", (1,), 30.0)],  # 0.5 and 3 a unit of time
        [Unit(1, "neurons", tuple(range(8)), 1.0), Unit(1, "neurons", tuple(range(8, 16)), 2.0)],  # 1 and 2
    ]
    assert [unit.importance for unit in cheapest(queues, config, cost, 4 * 48 - 11)] == [5.0, 1.0]
    assert [unit.importance for unit in cheapest(queues, config, cost, 0)] == [5.0, 1.0, 2.0, 30.0]


def test_shares_are_of_the_whole_and_a_unit_stays_a_layer(teacher: Student) -> None:
    assert even(7, 3) == [3, 2, 2]
    widths = widths_of(reshape(copy.deepcopy(teacher.model.config), share=0.4, group=8))
    assert [len(width.heads) for width in widths] == [3, 3, 2, 2]  # 16 - round(6.4)
    assert [width.n_neurons for width in widths] == [40, 40, 40, 32]  # 32 - round(12.8) groups
    widths = widths_of(reshape(copy.deepcopy(teacher.model.config), share=0.99, group=8))
    assert [(len(width.heads), width.n_neurons) for width in widths] == [(1, 8)] * 4


# ---------------------------------------------------------------- the student


def test_a_student_is_ragged_loads_again_and_can_lose_layers(
    teacher: Student, toy_checkpoint: Path, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = applied("prune", teacher, toy_rows, toy_labels, tmp_path / "work")
    widths = widths_of(student.model.config)
    assert sum(len(width.heads) for width in widths) == 8
    assert sum(width.n_neurons for width in widths) == 128
    assert len({(len(width.heads), width.n_neurons) for width in widths}) > 1
    assert student.notes[-1].startswith("heads left a layer: ")
    keep_layers(student.model, (1, 3))
    assert widths_of(student.model.config) == [widths[1], widths[3]]
    save_checkpoint(tmp_path, student, toy_checkpoint)
    loaded = load_student(tmp_path)
    for ours, theirs in zip(logits(student, toy_rows, toy_labels), logits(loaded, toy_rows, toy_labels), strict=True):
        assert abs(ours - theirs).max() < 1e-6


def test_by_latency_reaches_the_cost_of_even_shares_and_says_by_what(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    method = METHODS.get("prune")
    student = copy_student(teacher.model, teacher.tokenizer)
    params = method.read_params({**method.toy, "by": "latency", "steps": 1})
    assert method.reads_cost(**params)
    student = method.apply(student, method_context(teacher, toy_rows, toy_labels, tmp_path), **params)
    aim = multiply_adds(reshape(copy.deepcopy(teacher.model.config), share=0.5, group=8))
    least_unit = multiply_adds(teacher.model.config) / 100
    assert aim - 8 * least_unit < multiply_adds(student.model.config) <= aim
    assert "multiply-adds instead of latency" in student.notes[-1]


def test_the_cost_model_reads_each_layers_own_width(teacher: Student) -> None:
    config = copy.deepcopy(teacher.model.config)
    describe_widths(
        config, [LayerWidth((0, 1, 2, 3), 64), LayerWidth((3,), 8), LayerWidth((0, 2), 16), LayerWidth((1,), 64)]
    )
    assert [item.num_attention_heads for item in layer_configs(config)] == [4, 1, 2, 1]
    weights = sum(operator.count * operator.weights for operator in operators(config, 7))
    assert weights == 32 * config.num_labels + sum(
        4 * 32 * 8 * heads + 2 * 32 * n for heads, n in ((4, 64), (1, 8), (2, 16), (1, 64))
    )
    scores = [operator for operator in operators(config, 7) if operator.name == "attention scores"]
    assert [operator.flops for operator in scores] == [2 * heads * 7 * 8 * 7 for heads in (4, 1, 2, 1)]


def test_a_family_is_tried_without_data() -> None:
    assert why_not(config_of("mpnet")) == ""
    assert "another kind" in why_not(AutoConfig.for_model("fnet", **SIZES))


# ---------------------------------------------------------------- in recipes


def check_recipe(name: str, teacher: Student, share: float = 0.5) -> None:
    """Raises RequestError where `prune` cannot stand before the method of this name."""
    settings = {f"{name}.{key}": value for key, value in toy_params(name).items() if key in METHODS.get(name).toy}
    recipe, _ = read_recipe(f"prune+{name}", {"prune.share": share, "prune.group": 8, **settings})
    check_methods(recipe, "token-classification")
    check_shapes(copy.deepcopy(teacher.model.config), recipe, teacher.model.config)


@pytest.mark.parametrize("name", ["minilm", "tinybert"])
def test_attention_of_fewer_heads_cannot_learn_from_the_teachers(name: str, teacher: Student) -> None:
    with pytest.raises(RequestError, match="attention of 2 heads cannot learn from 4"):
        check_recipe(name, teacher)
    check_recipe(name, teacher, share=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, method in METHODS.all().items() if method.stage == "train"])
def test_methods_train_a_pruned_student_or_refuse_it(
    name: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    if name == "prune":
        pytest.skip("twice in a recipe")
    try:
        check_recipe(name, teacher)
    except RequestError:
        return
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    student = applied("prune", teacher, toy_rows, toy_labels, tmp_path / "prune")
    result = METHODS.get(name).apply(student, context, **toy_params(name))
    assert all(bool(parameter.isfinite().all()) for parameter in result.model.parameters())
