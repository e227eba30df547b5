"""A network out of which others are cut: leading parts against cut copies, the order of heads, what a step minimises."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods._pruning import Importance, importances
from edgebert.methods._supernet import (
    SUPERNET,
    Cuts,
    Subnetwork,
    cut_config,
    cut_model,
    describe,
    grid,
    narrowed,
    rewire,
    scored_of,
    subnetwork,
)
from edgebert.methods.dynabert import dynamic_objective
from edgebert.modeling.checkpoint import (
    build_model,
    copy_student,
    load_model,
    load_student,
    n_parameters,
    save_checkpoint,
)
from edgebert.modeling.layers import encoder_layers
from edgebert.modeling.ragged import LayerWidth, widths_of
from edgebert.modeling.roles import layer_modules
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.loop import collate
from edgebert.types import Row, Student
from tests.test_method_prune import FAMILIES, config_of
from tests.toy_methods import applied, method_context

IDS, MASK = torch.arange(5, 21).reshape(2, 8), torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
BATCH = {"input_ids": IDS, ATTENTION_MASK: MASK, "token_type_ids": torch.zeros_like(IDS)}


def test_layers_and_widths_that_stay() -> None:
    assert subnetwork(12, 0.5, 0.5) == Subnetwork((1, 3, 5, 7, 9, 11), (0.5,) * 6)  # as the paper's rule leaves them
    assert subnetwork(6, 0.25, 0.33).layers == (2, 5)
    assert subnetwork(2, 1, 0.1).layers == (1,)
    assert narrowed(LayerWidth((3, 0, 2, 1), 10), 0.5) == LayerWidth((3, 0), 5)
    assert narrowed(LayerWidth((1,), 2), 0.1) == LayerWidth((1,), 1)
    assert len(grid(6)) == 16 and grid(6)[0] == Subnetwork(tuple(range(6)), (1.0,) * 6)
    assert len(grid(2)) == 8  # of 2, 2, 1 and 1 layers


@pytest.mark.parametrize("family", FAMILIES)
def test_smaller_networks_compute_with_leading_parts_of_the_weights(family: str) -> None:
    torch.manual_seed(0)
    config = config_of(family)
    model = build_model(config, "AutoModelForTokenClassification").eval()
    rewire(Student(model, None), [some_importance() for _ in range(2)])  # type: ignore[arg-type]
    for cut in (Subnetwork((0, 1), (0.5, 1.0)), Subnetwork((1,), (0.25,))):
        own = copy.deepcopy(model)
        cut_model(own, cut)
        given = {
            name: value for name, value in BATCH.items() if name != "token_type_ids" or "token_type_ids" in forward(own)
        }
        with torch.no_grad():
            expected = own(**given).logits
            trace = Cuts(model).trace(cut, BATCH)
        assert torch.equal(trace.outputs["logits"], expected)
        assert len(trace.hidden) == len(cut.layers) + 1
        described = cut_config(copy.deepcopy(model.config), cut)
        assert widths_of(described) == widths_of(own.config)
        assert count_parameters(described, "AutoModelForTokenClassification") == n_parameters(own)


def forward(model: Any) -> Any:
    import inspect

    return inspect.signature(model.forward).parameters


def some_importance() -> Importance:
    return Importance(
        torch.tensor([0.1, 0.4, 0.2, 0.3]), torch.rand(24), torch.rand(4), torch.zeros(32), torch.zeros(24)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_rewiring_changes_no_answer_and_a_checkpoint_keeps_it(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(config_of(family), "AutoModelForTokenClassification").eval()
    first = copy.deepcopy(model)
    rewire(Student(model, None), [some_importance() for _ in range(2)])  # type: ignore[arg-type]
    model.save_pretrained(tmp_path)
    again, _ = load_model(tmp_path, "AutoModelForTokenClassification")
    with torch.no_grad():
        expected, result, loaded = (m(input_ids=IDS, attention_mask=MASK).logits for m in (first, model, again))
    assert (expected - result).abs().max() < 1e-5 and torch.equal(result, loaded)
    assert not torch.equal(*(layer_modules(encoder_layers(m)[0])["query"].weight for m in (first, model)))


def test_the_most_important_heads_and_neurons_stand_first(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(student, toy_rows[:8], toy_labels, tmp_path)
    first = importances(student, context)
    rewire(student, first)
    for before, after, width in zip(first, importances(student, context), widths_of(student.model.config), strict=True):
        assert torch.allclose(after.heads, before.heads.sort(descending=True).values, atol=1e-6)
        assert torch.allclose(after.neurons, before.neurons.sort(descending=True).values, atol=1e-6)
        assert list(width.heads) == before.heads.argsort(descending=True).tolist()


def test_a_step_minimises_the_mean_over_networks(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    context = method_context(teacher, toy_rows[:4], toy_labels, tmp_path)
    plain = {"temperature": 2.0, "hard_label_weight": 0.0, "replace": 0.0}
    objective = dynamic_objective(student, context, (1.0, 0.5), 0, 0.5, **plain).eval()
    batch = collate(context.task.encode(toy_rows[:4], student.tokenizer, toy_labels, 32))
    result = objective.loss(batch)
    result.backward()

    smallest = copy.deepcopy(student.model)
    cut_model(smallest, subnetwork(4, 0.25, 0.5))
    real = batch[ATTENTION_MASK].bool()
    given = {"input_ids": batch["input_ids"], ATTENTION_MASK: batch[ATTENTION_MASK], "output_hidden_states": True}
    with torch.no_grad():
        theirs, whole, small = (m(**given) for m in (teacher.model, student.model, smallest))

    def soft(ours: Any) -> torch.Tensor:
        p, q = (theirs.logits / 2).softmax(-1), (ours.logits / 2).log_softmax(-1)
        return -4 * (p * q).sum(-1)[real].mean()

    far = sum(
        (small.hidden_states[i + 1] - whole.hidden_states[layer + 1])[real].pow(2).mean()
        for i, layer in ((0, 1), (1, 3))
    )
    assert float(result) == pytest.approx(float((soft(whole) + soft(small) + 0.5 * far) / 2), abs=1e-5)
    query = layer_modules(encoder_layers(student.model)[1])["query"].weight
    assert query.grad is not None and query.grad[:8].abs().sum() > query.grad[8:16].abs().sum() > 0


def test_a_trained_network_says_how_smaller_ones_did(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], toy_checkpoint: Path, tmp_path: Path
) -> None:
    student = applied("dynabert", teacher, toy_rows, toy_labels, tmp_path / "work")
    scored, facts = scored_of(student.model.config, "here")
    assert list(scored) == grid(4) and facts["n"] == len(toy_rows[64:]) and facts["metric"] == "strict entity F1"
    save_checkpoint(tmp_path / "out", student, toy_checkpoint)
    again = load_student(tmp_path / "out")
    assert scored_of(again.model.config, "here") == (scored, facts)
    cut = Subnetwork((1, 3), (0.5, 0.25))
    cut_model(again.model, cut)
    assert not hasattr(again.model.config, SUPERNET)
    trace = Cuts(student.model).trace(cut, {name: value[:, :8] for name, value in BATCH.items()})
    with torch.no_grad():
        assert torch.allclose(
            again.model(input_ids=IDS, attention_mask=MASK).logits, trace.outputs["logits"], atol=1e-6
        )


def test_a_network_is_cut_as_planned(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    method = METHODS.get("cut")
    planned = teacher.model.config
    for given, title in (
        ({"width": 0.5, "depth": 0.5}, "2 layers of width 0.5"),
        ({"layers": "0,2", "widths": "0.5, 0.25"}, "2 layers of width 0.5 0.25"),
        ({"layers": (3,)}, "1 layers of width 1"),
        ({"widths": "0.25"}, "4 layers of width 0.25"),
    ):
        student = copy_student(teacher.model, teacher.tokenizer)
        describe(student.model, {})
        params = method.read_params(given)
        method.check(planned, teacher.model.config, **params)
        student = method.apply(student, method_context(teacher, toy_rows, toy_labels, tmp_path), **params)
        shape = method.reshape(copy.deepcopy(planned), **params)
        assert n_parameters(student.model) == count_parameters(shape, "AutoModelForTokenClassification")
        assert student.notes == (f"cut to {title}",) and not hasattr(shape, SUPERNET)


def test_of_another_network_the_most_important_heads_stay(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(student, toy_rows, toy_labels, tmp_path)
    first = [own.heads.argmax().item() for own in importances(student, context)]
    method = METHODS.get("cut")
    student = method.apply(student, context, **method.read_params({"width": 0.25}))
    assert [width.heads for width in widths_of(student.model.config)] == [(head,) for head in first]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"layers": (2, 1)}, "layers 2, 1 are not increasing numbers from 0 to 3"),
        ({"layers": (4,)}, "layers 4 are not"),
        ({"layers": (0, 1), "widths": (0.5, 0.5, 0.5)}, "3 widths are given for 2 layers"),
        ({"widths": (0.5, 1.5, 1.0, 1.0)}, "1.5 is no share"),
        ({"widths": "wide"}, "cannot be read as a number, or several"),
        ({"layers": "1.5"}, "cannot be read as a whole number, or several"),
    ],
)
def test_shapes_that_cannot_be_are_refused(teacher: Student, given: dict[str, Any], what: str) -> None:
    method = METHODS.get("cut")
    planned = teacher.model.config
    with pytest.raises(RequestError, match=what):
        method.check(planned, teacher.model.config, **method.read_params(given))


def test_other_models_are_refused(teacher: Student) -> None:
    with pytest.raises(RequestError, match="not a network out of which others are cut"):
        scored_of(teacher.model.config, "some/folder")
    model = copy.deepcopy(teacher.model)
    describe(model, {}, metric="accuracy")
    setattr(model.config, SUPERNET, {"scored": [[1]]})
    with pytest.raises(RequestError, match="cannot be read"):
        scored_of(model.config, "some/folder")
