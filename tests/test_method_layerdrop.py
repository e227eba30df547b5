"""LayerDrop: which layers stay, and what a layer that is left out gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.layerdrop import droppable, every_other
from edgebert.modeling.checkpoint import copy_student
from edgebert.modeling.layers import encoder_layers
from edgebert.types import Row, Student
from tests.families import tiny
from tests.toy_methods import method_context


@pytest.mark.parametrize(
    ("n_old", "n_new"), [(12, 6), (12, 8), (12, 9), (12, 10), (12, 11), (6, 3), (6, 4), (24, 12), (16, 8)]
)
def test_every_other_is_the_papers_rule_where_that_leaves_so_many(n_old: int, n_new: int) -> None:
    """Pruning at rate q cuts the layers at depth d ≡ 0 mod ⌊1/q⌋."""
    period = n_old // (n_old - n_new)
    rule = tuple(d - 1 for d in range(1, n_old + 1) if d % period)
    assert len(rule) == n_new and every_other(n_old, n_new) == rule


def test_every_other_where_it_does_not() -> None:
    assert every_other(12, 4) == (0, 3, 6, 9)
    assert every_other(12, 5) == (0, 2, 4, 7, 9)
    assert every_other(4, 4) == (0, 1, 2, 3)
    assert every_other(4, 1) == (0,)


class Pair(nn.Module):
    def forward(self, hidden: torch.Tensor, add: float) -> tuple[torch.Tensor, str]:
        return hidden + add, "rest"


def test_a_layer_left_out_gives_what_it_was_given() -> None:
    layer, zero = droppable(Pair(), 1.0), torch.zeros(1)
    assert layer(zero, 2.0) == (zero, "rest")
    assert layer.eval()(zero, 2.0) == (torch.tensor([2.0]), "rest")


def test_layers_are_left_out_as_often_as_the_rate_says() -> None:
    torch.manual_seed(0)
    layer = droppable(Pair(), 0.2)
    assert sum(layer(torch.zeros(1), 1.0)[0].item() for _ in range(2000)) / 2000 == pytest.approx(0.8, abs=0.03)


def test_the_student_keeps_those_layers(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    method, context = METHODS.get("layerdrop"), method_context(teacher, toy_rows, toy_labels, tmp_path)
    student = copy_student(teacher.model, teacher.tokenizer)
    layers = list(encoder_layers(student.model))
    after = method.apply(student, context, **method.read_params({"n_layers": 2, "epochs": 1, "inner": 1.0}))
    assert all(a is b for a, b in zip(encoder_layers(after.model), (layers[0], layers[2]), strict=True))
    assert after.notes == ("kept layers 1, 3 of 4",)


def test_what_cannot_be_is_refused(teacher: Student) -> None:
    check, config = METHODS.get("layerdrop").check, teacher.model.config
    with pytest.raises(RequestError, match="5 layers cannot be kept of 4"):
        check(config, config, n_layers=5)
    albert = tiny("albert").config
    albert.architectures = ["AlbertForTokenClassification"]
    with pytest.raises(RequestError, match="no list of layers"):
        check(albert, config, n_layers=1)
