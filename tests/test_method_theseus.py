"""BERT-of-Theseus: the schedule, the groups, and that any family's layers serve."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods._phases import n_steps
from edgebert.methods._replacing import groups_of, put_groups, replacing_rate
from edgebert.methods._stack import check_stack
from edgebert.modeling.checkpoint import accepted, copy_student
from edgebert.modeling.layers import encoder_layers, keep_layers, kinds_of
from edgebert.types import Row, Student
from tests.families import FAMILIES, tiny
from tests.toy_methods import method_context

REFUSED = {"albert", "funnel"}


def test_the_rate_grows_in_a_line_to_one() -> None:
    assert [replacing_rate("linear", 0.5, step, 5) for step in (0, 1, 2, 4, 9)] == [0.5, 0.625, 0.75, 1.0, 1.0]
    assert replacing_rate("linear", 0.5, 0, 1) == 0.5
    assert replacing_rate("constant", 0.3, 100, 5) == 0.3


class Add(nn.Module):
    """A layer of a tuple, as some families have it."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, hidden: torch.Tensor, twice: bool, *, more: float = 0.0) -> tuple[torch.Tensor, str]:
        return hidden + self.value * (2 if twice else 1) + more, "rest"


def test_groups_by_hand() -> None:
    """Six layers in three groups of two: 1+2, 3+4, 5+6; five in two: the first ends at round(2.5) = 2."""
    old = [Add(i) for i in range(1, 7)]
    groups = groups_of(old, [Add(100), Add(200), Add(300)])
    for group in groups:
        group.train()
        group.rate = 0.0
    zero = torch.zeros(1)
    assert [group(zero, False)[0].item() for group in groups] == [3.0, 7.0, 11.0]
    assert groups[0](zero, True, more=0.5) == (torch.tensor([7.0]), "rest")
    groups[1].rate = 1.0
    assert groups[1](zero, False)[0].item() == 200.0
    groups[0].eval()
    assert groups[0](zero, False)[0].item() == 100.0
    assert [len(group.predecessor) for group in groups_of(old[:5], [Add(0), Add(0)])] == [2, 3]


def test_a_group_is_replaced_as_often_as_its_rate_says() -> None:
    torch.manual_seed(0)
    (group,) = groups_of([Add(0)], [Add(1)])
    group.train()
    group.rate = 0.3
    assert sum(group(torch.zeros(1), False)[0].item() for _ in range(2000)) / 2000 == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - REFUSED))
def test_every_family_of_equal_layers_runs_in_groups(family: str) -> None:
    model = tiny(family)
    ids = torch.randint(3, 90, (2, 9))
    batch = accepted(
        model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    )
    old = list(encoder_layers(model))
    short = copy.deepcopy(model)
    keep_layers(short, (0,))
    with torch.no_grad():
        whole, item = model(**batch).logits, short(**batch).logits
        groups = put_groups(model, old, copy.deepcopy(old[:1]), kinds_of(model.config))
        assert torch.equal(model(**batch).logits, item)
        groups[0].training, groups[0].rate = True, 0.0  # the group alone, so that no dropout is drawn
        assert torch.equal(model(**batch).logits, whole)


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_families_without_equal_layers_are_refused(family: str) -> None:
    config = tiny(family).config
    config.architectures = ["SomeForTokenClassification"]
    with pytest.raises(RequestError, match=r"has no list of layers|has blocks of layers"):
        check_stack(config, "theseus")


def test_what_cannot_be_is_refused_before_training(teacher: Student) -> None:
    check, config = METHODS.get("theseus").check, teacher.model.config
    check(config, config, n_layers=2)
    with pytest.raises(RequestError, match="4 layers cannot be replaced by 4"):
        check(config, config, n_layers=0)
    with pytest.raises(RequestError, match="4 layers cannot be replaced by 5"):
        check(config, config, n_layers=5)
    narrow = copy.deepcopy(config)
    narrow.hidden_size, narrow.num_hidden_layers = 16, 2
    with pytest.raises(RequestError, match="layers of bert, 16 wide"):
        check(narrow, config, n_layers=0)


@pytest.fixture
def toy(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> Callable[..., tuple[Student, Student]]:
    """The student before and after the method, behind drop-layers where asked."""

    def made(drop: bool, **params: object) -> tuple[Student, Student]:
        method, context = METHODS.get("theseus"), method_context(teacher, toy_rows, toy_labels, tmp_path)
        student = copy_student(teacher.model, teacher.tokenizer)
        if drop:
            METHODS.get("drop-layers").apply(student, context, n_layers=2, strategy="top", layers=())
        before = copy.deepcopy(student)
        return before, method.apply(student, context, **method.read_params({"epochs": 1, **params}))

    return made


@pytest.mark.parametrize(("drop", "n_layers"), [(False, 2), (True, 0)])
def test_while_replacing_only_the_successors_are_trained(toy: Callable, drop: bool, n_layers: int) -> None:
    before, after = toy(drop, n_layers=n_layers, inner=1.0)
    assert after.model.config.num_hidden_layers == len(encoder_layers(after.model)) == 2
    assert after.notes[-1] == "4 layers replaced by 2"
    old, new = before.model.state_dict(), after.model.state_dict()
    changed = {name for name in new if not torch.equal(old[name], new[name])}
    assert changed and all(name.startswith("bert.encoder.layer.") for name in changed)
    assert all(parameter.requires_grad for parameter in after.model.parameters())


def test_a_step_in_which_nothing_is_replaced_can_be_taken(toy: Callable) -> None:
    before, after = toy(False, n_layers=1, inner=1.0, rate=0.0, schedule="constant")
    names = [name for name in after.model.state_dict() if not name.startswith("bert.encoder")]
    assert all(torch.equal(before.model.state_dict()[name], after.model.state_dict()[name]) for name in names)


def test_steps_are_counted_over_windows(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    assert n_steps(teacher, method_context(teacher, toy_rows, toy_labels, tmp_path), 3) == 12  # 64 rows, batches of 16
