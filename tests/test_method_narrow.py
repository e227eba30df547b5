"""A narrow BERT by projection: exact where the projection loses nothing, and its parts on numbers worked by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError
from edgebert.methods import METHODS, narrow
from edgebert.methods._narrowing import split
from edgebert.methods._projection import (
    Moments,
    correction,
    head_energies,
    heads_of,
    narrowed_heads,
    norm_fit,
    projection_of,
)
from edgebert.modeling.checkpoint import copy_student, n_parameters
from edgebert.modeling.headed import HeadedEncoder
from edgebert.modeling.layers import encoder_layers
from edgebert.modeling.rebuild import auto_model_of
from edgebert.search.plan import possible_shapes
from edgebert.tasks import find_task
from edgebert.training.features import trace_hidden_states
from edgebert.training.loop import collate
from edgebert.types import MethodCall, Recipe, Row, Student
from tests.conftest import make_tokenizer
from tests.families import HEADS, tiny
from tests.test_method_families import read, real
from tests.toy_methods import method_context

OTHERS = ("roberta", "distilbert", "electra", "mpnet")
MULTI_TASK = [
    {"name": "tags", "kind": "token-classification", "n_labels": 5},
    {"name": "topic", "kind": "sequence-classification", "n_labels": 3},
    {"name": "vector", "kind": "sentence-embedding", "width": 8},
]


def teacher_of(family: str, head: str = "token-classification", **changes: Any) -> Student:
    """Random weights that are large enough to show, norms that are not 1, and no attention by distance."""
    changes = {
        "vocab_size": make_tokenizer().get_vocab_size(),
        "embedding_size": changes.get("hidden_size", 32),
    } | changes
    model = tiny(family, "sentence-embedding" if head == "several" else head, **changes)
    model.config.architectures = [type(model).__name__]
    if head == "several":
        model.config.edgebert_heads = MULTI_TASK
        model = HeadedEncoder(model, model.config).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "relative_attention_bias" in name:
                parameter.zero_()
            elif parameter.dim() >= 2:
                parameter.mul_(4.0)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return Student(model, make_tokenizer())


def made(teacher: Student, rows: list[Row], labels: tuple[str, ...], work: Path, **shape: int) -> Student:
    """The student before it is aligned; what is looked at are rows of tags, whatever the head."""
    context = method_context(teacher, rows, labels, work)
    return narrow.untrained(teacher, context, **{"width": 16, "n_layers": 0, "inner": 0} | shape)[0]


def compare(student: Student, teacher: Student, atol: float = 1e-5) -> None:
    ours, theirs = read(student.model), read(teacher.model)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert value.std() > 0.01
        assert torch.allclose(real(key, ours[key]), real(key, value), atol=atol), key


# ---------------------------------------------------------------- exact where nothing is lost


@pytest.mark.parametrize(
    ("family", "head"),
    [("bert", "question-answering"), ("bert", "several"), *((family, "token-classification") for family in OTHERS)],
)
def test_at_the_full_width_the_student_is_its_teacher(
    family: str, head: str, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = teacher_of(family, head)
    compare(made(teacher, toy_rows, toy_labels, tmp_path, width=32), teacher)


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_a_head_over_the_first_token_is_kept_too(
    family: str, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = teacher_of(family, "sequence-classification")
    compare(made(teacher, toy_rows, toy_labels, tmp_path, width=32), teacher)


def in_a_subspace(teacher: Student, width: int) -> Student:
    """The teacher with states in `width` - 1 dimensions, of sum 0 up to a constant; half of its heads add nothing."""
    model, n = teacher.model, 32
    start = torch.randn(n, width, generator=torch.Generator().manual_seed(5))
    start[:, 0] = 1.0
    basis = torch.linalg.qr(start).Q[:, 1:]
    onto = basis @ basis.T
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.fill_(0.8)
            elif name.endswith("LayerNorm.bias"):
                parameter.copy_(onto @ parameter + 0.3)
            elif name.endswith(("output.dense.weight", "output.dense.bias")):
                parameter.copy_(onto @ parameter)
            elif name.endswith("_embeddings.weight"):
                parameter.copy_(parameter @ onto)
        for layer, silent in zip(encoder_layers(model), ((0, 3), (1, 2)), strict=True):
            for head in silent:
                layer.attention.output.dense.weight[:, 8 * head : 8 * head + 8] = 0.0
    return teacher


@pytest.mark.parametrize("head", ["token-classification", "question-answering"])
def test_states_in_a_subspace_lose_nothing(
    head: str, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Width 16 holds 15 dimensions and the mean. The two heads of each layer that add something are the ones kept."""
    teacher = in_a_subspace(teacher_of("bert", head), 16)
    student = made(teacher, toy_rows, toy_labels, tmp_path)
    config = student.model.config
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (16, 2, 64)
    compare(student, teacher)
    narrower = made(teacher, toy_rows, toy_labels, tmp_path, width=8)
    name, wide = next(iter(read(teacher.model).items()))
    assert (real(name, read(narrower.model)[name]) - real(name, wide)).abs().max() > 0.01


# ---------------------------------------------------------------- formulas by hand


def test_a_projection_keeps_lengths_and_means() -> None:
    """States (a, -a, b, -b) + 2 with E a² = 9, E b² = 1: of width 3, two dimensions hold all. (3, -3, 1, -1) has the
    length √20. Of width 2, one dimension is left, the one of a."""
    a, b = torch.tensor([1.0, -1, 0, 0]), torch.tensor([0.0, 0, 1, -1])
    states = torch.stack([s * 3 * a + t * b + 2 for s in (1, -1) for t in (1, -1)])
    seen = Moments(states.mean(0), states.T @ states / 4)
    to = projection_of(seen, torch.ones(4), 3)
    narrow_states = states @ to.encode.T
    assert torch.allclose(narrow_states.sum(1), torch.zeros(4), atol=1e-5)
    assert torch.allclose(narrow_states.norm(dim=1), torch.full((4,), 20**0.5), atol=1e-5)
    assert torch.allclose(narrow_states @ to.decode.T + to.offset, states, atol=1e-2)  # but for the ridge of the fit
    item = projection_of(seen, torch.ones(4), 2)
    assert torch.allclose((states @ item.encode.T).norm(dim=1), torch.full((4,), 18**0.5), atol=1e-5)


def test_a_projection_turns_so_that_the_norms_scale_is_diagonal() -> None:
    """Rows of sum 0 are no axes: Q tilts the diagonal, but the turned basis itself has none beside it."""
    torch.manual_seed(0)
    scale, states = torch.rand(12) + 0.5, torch.randn(200, 12)
    to = projection_of(Moments(states.mean(0), states.T @ states / 200), scale, 6)
    from edgebert.methods._narrow_embedding import summing_to_zero

    basis = summing_to_zero(6) @ to.encode  # Vᵀ
    product = basis @ torch.diag(scale) @ basis.T
    assert torch.allclose(product, torch.diag(product.diagonal()), atol=1e-5)
    assert torch.allclose(to.encode @ torch.ones(12), torch.zeros(6), atol=1e-5)


def test_reading_and_writing_by_hand() -> None:
    """h = (x, x + 1): A takes the first number, E = (1, 1), e = (0, 1). W = (2, 3) reads 2x + 3(x + 1) = 5x + 3."""
    from edgebert.methods._projection import Projection

    to = Projection(torch.tensor([[1.0, 0]]), torch.tensor([[1.0], [1]]), torch.tensor([0.0, 1]))
    weight, bias = to.reading(torch.tensor([[2.0, 3]]), torch.tensor([10.0]))
    assert (weight.tolist(), bias.tolist()) == ([[5.0]], [13.0])
    weight, bias = to.writing(torch.tensor([[2.0], [3]]), torch.tensor([4.0, 5]))
    assert (weight.tolist(), bias.tolist()) == ([[2.0]], [4.0])


def test_a_correction_is_the_least_squares_fit() -> None:
    """What is missing is 2x + 1 of x in 0, 1, 2, up to a ridge of a thousandth; where nothing is missing, nothing changes."""
    x = torch.tensor([[0.0], [1], [2]])
    weight, bias = correction(x, 2 * x + 1)
    assert weight.item() == pytest.approx(2 / 1.001) and bias.item() == pytest.approx(3 - 2 / 1.001)
    weight, bias = correction(x, 0 * x)
    assert (weight.item(), bias.item()) == (0.0, 0.0)


def test_a_norms_fit_by_hand() -> None:
    """The first number is wanted as 3x + 2; the second does not vary and keeps its scale: 5 - 7 · 0.5."""
    normed = torch.tensor([[-1.0, 0.5], [1, 0.5]])
    wanted = torch.tensor([[-1.0, 5], [5, 5]])
    scale, shift = norm_fit(normed, wanted, torch.tensor([9.0, 7]))
    assert scale.tolist() == pytest.approx([3.0, 7.0]) and shift.tolist() == pytest.approx([2.0, 1.5])


def test_the_heads_and_neurons_that_add_most_variance() -> None:
    """Two heads of two numbers. The first's values vary by 4 in its first number, which it adds twice: 2² · 4 = 16, and by
    1 in the second, added once to each of two states: 2. The second's are large but constant: 0."""
    output = torch.tensor([[[2.0, 1], [0, 1]], [[5.0, 5], [5, 5]]])
    mean = torch.tensor([0.0, 0, 100, 100])
    covariance = torch.diag(torch.tensor([4.0, 1, 0, 0]))
    contexts = Moments(mean, covariance + mean[:, None] * mean)
    assert head_energies(output, contexts).tolist() == [18.0, 0.0]
    kept, lost = split(torch.tensor([1.0, 9, 3, 7]), 2)
    assert (kept.tolist(), lost.tolist()) == ([1, 3], [0, 2])


def weights_of(heads: int, width: int, n: int, rank: int) -> dict[str, torch.Tensor]:
    """Attention of `heads` heads of `width` numbers over n, whose products have a rank."""
    torch.manual_seed(3)
    down = torch.zeros(heads * width, n)
    for i in range(heads):
        down[i * width : i * width + rank] = torch.randn(rank, n)
    turn = torch.block_diag(*[torch.linalg.qr(torch.randn(width, width)).Q for _ in range(heads)])
    results = {}
    for name in ("query", "key", "value"):
        results[f"attention.self.{name}.weight"] = turn @ (down + 0.0) * {"query": 1.0, "key": 0.7, "value": 1.3}[name]
        results[f"attention.self.{name}.bias"] = turn @ (torch.randn(heads * width) * (down.abs().sum(1) > 0))
    results["attention.output.dense.weight"] = torch.randn(n, heads * width)
    results["attention.output.dense.bias"] = torch.randn(n)
    return results


def attend(heads: Any, states: torch.Tensor) -> torch.Tensor:
    """(seq, n) of states (seq, n)."""
    query, key, value = (
        states @ getattr(heads, name).transpose(1, 2) + getattr(heads, f"{name}_bias")[:, None]
        for name in ("query", "key", "value")
    )
    share = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(-1)
    return (share @ value @ heads.output.transpose(1, 2)).sum(0) + heads.bias


def test_a_head_of_low_rank_is_cut_without_loss() -> None:
    """Heads of 6 numbers whose products of query and key, and of value and output, have rank 2 or 3 fit into 3 numbers."""
    states = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
    seen = Moments(states.mean(0), states.T @ states / 200)
    whole = heads_of(weights_of(2, 6, 8, 2), 2)
    contexts = Moments(torch.zeros(12), torch.eye(12))
    cut = narrowed_heads(whole, contexts, seen, projection_of(seen, torch.ones(8), 8), 2, 3)
    assert cut.query.shape == cut.key.shape == cut.value.shape == (2, 3, 8)
    assert torch.allclose(attend(cut, states[:20]), attend(whole, states[:20]), atol=1e-4)
    assert attend(whole, states[:20]).std() > 0.5


def test_a_head_that_goes_leaves_its_mean() -> None:
    """The second head gives the constant (1, 1) of its values: the bias takes it over."""
    states = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    seen = Moments(states.mean(0), states.T @ states / 50)
    weights = weights_of(2, 2, 4, 2)
    weights["attention.self.value.weight"][2:] = 0.0
    weights["attention.self.value.bias"][2:] = 1.0
    whole = heads_of(weights, 2)
    mean = torch.tensor([0.0, 0, 1, 1])
    contexts = Moments(mean, torch.diag(torch.tensor([1.0, 1, 0, 0])) + mean[:, None] * mean)
    kept = narrowed_heads(whole, contexts, seen, projection_of(seen, torch.ones(4), 4), 1, 2)
    assert torch.equal(kept.query[0], whole.query[0])
    assert torch.allclose(attend(kept, states[:9]), attend(whole, states[:9]), atol=1e-5)


@pytest.mark.parametrize(
    ("width", "n_heads", "head_width", "expected"),
    [
        (128, 12, 32, (4, 32)), (192, 12, 32, (6, 32)), (256, 12, 32, (8, 32)), (384, 12, 32, (12, 32)),
        (128, 12, 64, (4, 32)), (256, 12, 64, (8, 32)), (512, 12, 64, (8, 64)), (768, 12, 64, (12, 64)),
        (16, 4, 8, (2, 8)), (120, 12, 64, (3, 40)),
    ],
)  # fmt: skip
def test_as_many_heads_as_there_may_be(width: int, n_heads: int, head_width: int, expected: tuple[int, int]) -> None:
    assert narrow.head_shape(width, n_heads, head_width) == expected


# ---------------------------------------------------------------- the student


@pytest.mark.parametrize(
    ("family", "head"),
    [*(("bert", head) for head in (*HEADS, "several")), *((family, "sequence-classification") for family in OTHERS)],
)
def test_every_teacher_and_head_gives_the_predicted_student(
    family: str, head: str, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = teacher_of(family, head)
    before = copy.deepcopy(teacher.model.config.to_dict())
    shape = {"width": 16, "n_layers": 1, "inner": 24}
    narrow.check(teacher.model.config, teacher.model.config, **shape)
    predicted = narrow.reshape(copy.deepcopy(teacher.model.config), **shape)
    student = made(teacher, toy_rows, toy_labels, tmp_path, **shape)
    assert student.model.config.model_type == "bert"
    assert n_parameters(student.model) == count_parameters(predicted, auto_model_of(predicted))
    share = 94 if head == "sentence-embedding" and family != "distilbert" else 100  # a pooler that no vector reads
    assert f" {share} % of them from the teacher" in student.notes[0] or head == "sentence-embedding"
    ours, theirs = read(student.model), read(teacher.model)
    widths = {"sentence_embedding": 16}
    for key, value in theirs.items():
        assert ours[key].shape == (*value.shape[:-1], widths.get(key, value.shape[-1]))
        assert torch.isfinite(ours[key]).all()
    assert teacher.model.config.to_dict() == before


def test_what_is_lost_of_mpnet_is_told(toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path) -> None:
    notes = [made(teacher_of(f), toy_rows, toy_labels, tmp_path).notes[-1] for f in ("mpnet", "bert")]
    assert "mpnet adds to attention by the distance of two tokens is left out" in notes[0]
    assert "distance" not in notes[1] and "2 of 4 heads" in notes[1] and "64 of 64 neurons" in notes[1]


def test_an_alignment_comes_nearer_to_the_wide_states(
    toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Of four layers two, at half the width: |h̃ - A h|² / |A h|², summed over states."""
    teacher = teacher_of("bert", num_hidden_layers=4)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    student, to = narrow.untrained(copy_student(teacher.model, teacher.tokenizer), context, 16, 2, 0)
    goals = (0, 2, 4)
    rows = collate(find_task("ner").encode(toy_rows[:8], teacher.tokenizer, toy_labels, 32))
    mask = rows["attention_mask"].bool()

    def gap(one: Student) -> float:
        theirs, ours = trace_hidden_states(teacher.model, rows).hidden, trace_hidden_states(one.model, rows).hidden
        wanted = [(theirs[goal] @ to.encode.T)[mask] for goal in goals]
        return sum(
            ((own[mask] - wide).square().sum() / wide.square().sum()).item()
            for own, wide in zip(ours, wanted, strict=True)
        )

    objective = narrow.alignment_objective(student, teacher.model, goals, to, replace=0.0)
    assert objective.eval()(**rows)["loss"].item() == pytest.approx(gap(student), rel=1e-2)  # stored in half precision
    method = METHODS.get("narrow")
    params = method.read_params({"width": 16, "n_layers": 2, "align": 20.0, "replace": 0.0})
    aligned = method.apply(copy_student(teacher.model, teacher.tokenizer), context, **params)
    assert gap(student) > 0.01
    assert gap(aligned) < gap(student)


def test_it_stands_between_trimming_dropping_and_training(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    calls = (
        ("trim-vocab", {"size": 80, "floor": 10}), ("drop-layers", {"n_layers": 3}), ("narrow", {"width": 16}),
        ("kd", {"epochs": 1}),
    )  # fmt: skip
    recipe = Recipe(tuple(MethodCall(name, {"n_layers": 0, **p} if name == "narrow" else p) for name, p in calls))
    ((_, _, predicted),) = possible_shapes(teacher.model.config, recipe, METHODS.all(), teacher.model.config)
    for name, params in calls:
        method = METHODS.get(name)
        student = method.apply(student, context, **method.read_params(params))
    assert n_parameters(student.model) == count_parameters(predicted, auto_model_of(predicted))
    config = student.model.config
    assert (config.vocab_size, config.num_hidden_layers, config.hidden_size) == (80, 3, 16)
    assert student.teacher_ids is not None and len(student.teacher_ids) == 80


def test_the_planner_tries_widths_and_depths() -> None:
    config = teacher_of("bert", hidden_size=192, num_attention_heads=6).model.config
    recipe = Recipe((MethodCall("narrow"), MethodCall("kd")))
    shapes = possible_shapes(config, recipe, METHODS.all(), config)
    assert {(shape.hidden_size, shape.num_hidden_layers) for _, _, shape in shapes} == {
        (width, depth) for width in (128, 192) for depth in (1, 2)
    }
    small = teacher_of("bert").model.config
    assert {shape.hidden_size for _, _, shape in possible_shapes(small, recipe, METHODS.all(), small)} == {32}


@pytest.mark.parametrize(
    ("calls", "width"),
    [
        ((MethodCall("narrow", {"width": 16}), MethodCall("kd")), 16),
        ((MethodCall("trim-vocab"), MethodCall("drop-layers", {"n_layers": 1}), MethodCall("kd")), 32),
        ((MethodCall("well-read", {"width": 16}),), 32),  # which narrows while it trains
    ],
)
def test_the_learning_rate_is_for_the_width_that_is_trained(calls: tuple[MethodCall, ...], width: int) -> None:
    from edgebert.workflows.stages import trained_config

    config = teacher_of("bert").model.config
    assert trained_config(config, Recipe(calls)).hidden_size == width
    assert (config.hidden_size, config.num_hidden_layers) == (32, 2)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("bert", {"width": 64}, "64 is wider than the 32 of what it comes from"),
        ("bert", {"width": 20}, "a width of 20 cannot be cut into at most 4 heads of 8 to 8 numbers"),
        ("bert", {"n_layers": 3}, "3 layers cannot be kept of 2"),
        ("modernbert", {}, "modernbert has layers of another kind than BERT's"),
        ("electra", {}, "its word table has a width of 16 and its layers one of 32"),
    ],
)
def test_what_cannot_be_is_refused(family: str, changes: dict[str, Any], message: str) -> None:
    config = tiny(family, "token-classification").config
    with pytest.raises(RequestError, match=message):
        narrow.check(config, config, **{"width": 16, "n_layers": 0} | changes)
