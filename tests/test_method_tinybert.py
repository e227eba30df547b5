"""TinyBERT: its loss on numbers worked by hand, its phases, its sizes, and what its check refuses."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.tinybert import inner_objective, samples
from edgebert.modeling.checkpoint import copy_student
from edgebert.types import Row, Student
from tests.toy_methods import method_context

METHOD = METHODS.get("tinybert")


class _Fixed(nn.Module):
    """A model that always gives the same states and attention."""

    def __init__(self, states: list[float], odds: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.config = SimpleNamespace(hidden_size=1, num_labels=2, model_type="fixed")
        p = odds / (1 + odds)
        self.result = SimpleNamespace(
            logits=torch.zeros(1, 2, 2),
            hidden_states=tuple(torch.full((1, 2, 1), value) for value in states),
            attentions=(torch.tensor([[[[p, 1 - p], [0.5, 0.5]]]]),) * (len(states) - 1),
        )

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        return self.result


class FixedForTokenClassification(_Fixed):
    pass


def test_the_inner_loss_by_hand() -> None:
    """A student of one layer and a teacher of two, whose layer 2 it learns from: (1-0)² + (5-3)², and attention.

    Scores before softmax, up to a constant: the student's first row is ±log(4)/2, the teacher's 0. So its MSE is
    (2 · (log 2)² + 2 · 0) / 4.
    """
    student, teacher = FixedForTokenClassification([1.0, 5.0], 4.0), FixedForTokenClassification([0.0, 7.0, 3.0], 1.0)
    context: Any = SimpleNamespace(teacher=teacher)
    batch = {"input_ids": torch.zeros(1, 2, dtype=torch.long), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    with_attention = inner_objective(Student(student, None), context, (0, 2))  # type: ignore[arg-type]
    assert with_attention(**batch)["loss"].item() == pytest.approx(1 + 4 + math.log(2) ** 2 / 2)
    without = inner_objective(Student(student, None), context, (0, 2), attention=False)  # type: ignore[arg-type]
    assert without(**batch)["loss"].item() == pytest.approx(5)


def test_tinybert4_has_the_papers_size() -> None:
    """Table 1 of the paper: 14.5 M for 4 layers, width 312, inner width 1200, 12 heads."""
    from transformers import BertConfig

    config = BertConfig(
        vocab_size=30522, num_hidden_layers=4, hidden_size=312, intermediate_size=1200, num_attention_heads=12
    )
    assert count_parameters(config, "AutoModel") == 14_350_248
    assert count_parameters(config, "AutoModel") == pytest.approx(14.5e6, rel=0.02)


def _phases(student: Student, context: Any, **params: Any) -> list[tuple[str, float]]:
    """Name and epochs of each training, by what it logs."""
    events: list[dict[str, Any]] = []
    context = replace(context, log=lambda **event: events.append(event))
    METHOD.apply(student, context, **METHOD.read_params(params))
    ended = {event["training"]: event for event in events if event["event"] == "epoch"}
    return [(name.removeprefix("tinybert-"), event["step"]) for name, event in ended.items()]


def test_the_phases_share_the_epochs(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """64 rows in batches of 16 are 4 steps an epoch; 32 texts more are 6 steps."""
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    given = {"epochs": 10, "inner": 0.4, "general": 0.5}
    student = copy_student(teacher.model, teacher.tokenizer)
    assert _phases(student, replace(context, work=tmp_path / "1"), **given) == [("inner", 16), ("prediction", 24)]
    unlabelled = tuple(Row(row.words) for row in toy_rows[:32])
    with_text = replace(context, unlabelled=unlabelled, work=tmp_path / "2")
    assert _phases(student, with_text, **given) == [("general", 30), ("inner", 16), ("prediction", 4)]
    assert _phases(student, replace(context, work=tmp_path / "3"), epochs=1, inner=0) == [("prediction", 4)]


def test_a_narrower_student_of_other_heads_learns_without_attention(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    from transformers import AutoModelForTokenClassification

    config = copy.deepcopy(teacher.model.config)
    config.hidden_size, config.num_hidden_layers, config.num_attention_heads = 16, 2, 2
    params = METHOD.read_params({"epochs": 1, "inner": 0.5, "attention": "false", "layers": "1,4", "augment": 1})
    METHOD.check(config, teacher.model.config, **params)
    with pytest.raises(RequestError, match="attention of 2 heads cannot learn from 4"):
        METHOD.check(config, teacher.model.config, **params | {"attention": True})
    METHOD.check(config, teacher.model.config, **params | {"attention": True, "inner": 0.0, "general": 0.0})
    model = AutoModelForTokenClassification.from_config(config, attn_implementation="eager")
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    created = METHOD.apply(Student(model, teacher.tokenizer), context, **params)
    assert created.model.config.hidden_size == 16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"general": 0.5, "inner": 0.5}, "leave no epochs for the predictions"),
        ({"layers": "1,2"}, "2 teacher layers for a student of 4"),
        ({"layers": "1,2,3,5"}, "not increasing numbers from 1 to 4"),
    ],
)
def test_what_cannot_be_is_refused_before_training(given: dict[str, Any], message: str, teacher: Student) -> None:
    config = teacher.model.config
    with pytest.raises(RequestError, match=message):
        METHOD.check(config, config, **METHOD.read_params(given))


def test_a_deeper_student_is_refused(teacher: Student) -> None:
    config = copy.deepcopy(teacher.model.config)
    config.num_hidden_layers = 6
    with pytest.raises(RequestError, match="a student of 6 layers cannot learn from 4"):
        METHOD.check(config, teacher.model.config, **METHOD.read_params({}))


def test_samples_hold_words_of_the_students_pieces(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    known = {token for token in teacher.tokenizer.get_vocab() if not token.startswith(("##", "["))}
    result = samples(teacher, context, 2)
    assert 64 < len(result) <= 128
    assert {word for row in result for word in row.words} <= known
    assert samples(teacher, context, 0) == []
    half = replace(teacher, teacher_ids=tuple(reversed(range(teacher.tokenizer.get_vocab_size()))))
    assert samples(half, context, 2) != result  # the teacher's row of each of the student's tokens
