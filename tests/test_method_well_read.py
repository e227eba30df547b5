"""well-read: the paper's sizes, how the tables are narrowed, its phases, and what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.well_read import built, narrowed_tables, reshape
from edgebert.modeling.checkpoint import n_parameters
from edgebert.modeling.graph import position_limit
from edgebert.modeling.rebuild import auto_model_of
from edgebert.types import Row, Student
from tests.families import tiny
from tests.toy_methods import method_context


def bert_base() -> Any:
    from transformers import BertConfig

    return BertConfig(architectures=["BertForTokenClassification"], num_labels=9)


@pytest.mark.parametrize(
    ("size", "n_layers", "width", "n_heads", "millions"),
    [("tiny", 2, 128, 2, 4.4), ("mini", 4, 256, 4, 11.3), ("small", 4, 512, 8, 29.1), ("medium", 8, 512, 8, 41.7)],
)
def test_the_sizes_of_the_paper(size: str, n_layers: int, width: int, n_heads: int, millions: float) -> None:
    """Its counts are of the model as it is pre-trained: with BERT's pooler and its head for hidden tokens."""
    created = reshape(bert_base(), size=size, n_layers=0, width=0)
    assert (created.num_hidden_layers, created.hidden_size, created.num_attention_heads) == (n_layers, width, n_heads)
    assert created.intermediate_size == 4 * width and created.vocab_size == 30522
    assert round(count_parameters(created, "AutoModelForPreTraining") / 1e6, 1) == millions
    of_head = 9 * width + 9 - (width * width + width)  # the task's head in place of the pooler
    assert count_parameters(created, auto_model_of(created)) == count_parameters(created, "AutoModel") + of_head


def test_layers_and_width_stand_in_for_the_sizes() -> None:
    created = reshape(bert_base(), size="mini", n_layers=3, width=192)
    assert (created.num_hidden_layers, created.hidden_size, created.num_attention_heads) == (3, 192, 3)
    assert reshape(bert_base(), size="mini", n_layers=0, width=32).num_attention_heads == 1


@pytest.mark.parametrize(
    ("params", "where", "message"),
    [
        ({"width": 100}, "well-read.width", "100 is not a multiple of 64"),
        ({"width": 1024}, "well-read.width", "width 768 cannot be narrowed to 1024"),
        ({"pretrain": 0.6, "distil": 0.5}, "well-read.distil", "more than all epochs"),
        ({"size": "large"}, "well-read.size", "unknown value 'large'"),
    ],
)
def test_what_cannot_be_is_refused(params: Any, where: str, message: str) -> None:
    method = METHODS.get("well-read")
    with pytest.raises(RequestError, match=message) as caught:
        method.check(bert_base(), bert_base(), **method.read_params(params))
    assert caught.value.where == where


def test_a_wider_student_may_start_random() -> None:
    method = METHODS.get("well-read")
    method.check(bert_base(), bert_base(), **method.read_params({"width": 1024, "init": "random"}))


class Tables(nn.Module):
    """What `narrowed_tables` reads of a model."""

    def __init__(self, words: torch.Tensor, places: torch.Tensor) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(words)
        self.position_embeddings = nn.Embedding.from_pretrained(places)
        self.config = SimpleNamespace(model_type="bert", max_position_embeddings=len(places), pad_token_id=0)

    def get_input_embeddings(self) -> nn.Module:
        return self.words


def test_a_table_of_low_rank_loses_nothing_and_positions_follow_its_basis() -> None:
    """Words in the plane of (0, 3/5, 4/5, 0) and (1, 0, 0, 0): what lies across it, here of a position, is lost."""
    words = torch.tensor([[0.0, 3.0, 4.0, 0.0], [2.0, 0.0, 0.0, 0.0], [1.0, 0.6, 0.8, 0.0]])
    places = torch.tensor([[1.0, 0.6, 0.8, 0.0], [0.0, 0.0, 0.0, 7.0]])
    ours, their = narrowed_tables(Tables(words, places), 2)
    assert their is not None and ours.shape == (3, 2) and their.shape == (2, 2)
    assert torch.allclose(ours @ ours.T, words @ words.T, atol=1e-4)
    assert torch.allclose(their @ ours.T, places @ words.T, atol=1e-4)
    assert their[1].abs().max() < 1e-5


def test_at_the_tables_own_width_both_are_taken_whole() -> None:
    words, places = torch.randn(5, 4), torch.randn(3, 4)
    ours, their = narrowed_tables(Tables(words, places), 4)
    assert their is not None and torch.equal(ours, words) and torch.equal(their, places)


def test_positions_of_another_width_than_the_words_are_left_random() -> None:
    assert narrowed_tables(Tables(torch.randn(5, 4), torch.randn(3, 6)), 2)[1] is None


@pytest.mark.parametrize("init", ["teacher", "random"])
def test_the_student_starts_as_it_was_told(teacher: Student, init: str) -> None:
    config = reshape(copy.deepcopy(teacher.model.config), size="mini", n_layers=2, width=16)
    torch.manual_seed(0)
    student = built(teacher, config, init)
    ours, theirs = (item.model.get_input_embeddings().weight.detach() for item in (student, teacher))
    near = torch.dist(ours @ ours.T, theirs @ theirs.T) / (theirs @ theirs.T).norm()
    assert (near < 0.5) == (init == "teacher")
    expected = "from the teacher's tables" if init == "teacher" else "all random"
    places = narrowed_tables(teacher.model, 16)[1]
    assert places is not None and torch.equal(student.model.bert.embeddings.position_embeddings.weight, places) == (
        init == "teacher"
    )
    assert expected in student.notes[-1] and f"{n_parameters(student.model):,}" in student.notes[-1]


@pytest.mark.parametrize("head", ["token-classification", "sequence-classification", "sentence-embedding"])
def test_a_bert_learns_from_a_teacher_of_another_family(
    head: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    model = tiny("mpnet", head)
    model.config.architectures = [type(model).__name__]
    config = reshape(copy.deepcopy(model.config), size="mini", n_layers=2, width=16)
    assert (config.model_type, config.max_position_embeddings) == ("bert", position_limit(model.config))
    student = built(Student(model, teacher.tokenizer), config, "teacher")
    assert n_parameters(student.model) == count_parameters(config, auto_model_of(config))
    assert student.model.get_input_embeddings().weight.shape == (100, 16)
    if head != "token-classification":
        return
    context = method_context(Student(model, teacher.tokenizer), toy_rows, toy_labels, tmp_path)
    method = METHODS.get("well-read")
    params = method.read_params({"n_layers": 2, "width": 16, "epochs": 0.5})
    created = method.apply(Student(copy.deepcopy(model), teacher.tokenizer), context, **params)
    assert created.model.config.model_type == "bert" and model.config.model_type == "mpnet"


def test_the_phases_share_the_epochs(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float, int]] = []

    def note(objective: Any, student: Student, context: Any, name: str, epochs: float, **options: Any) -> None:
        rows = options.get("rows")
        seen.append((name, round(epochs, 6), len(context.train if rows is None else rows)))

    monkeypatch.setattr("edgebert.training.run.train_student", note)
    from dataclasses import replace

    context = replace(method_context(teacher, toy_rows, toy_labels, tmp_path), unlabelled=(Row(("bton",)),) * 3)
    method = METHODS.get("well-read")
    phases = [("well-read-pretrain", 3.0, 67), ("well-read-prediction", 5.0, 67), ("well-read-labels", 2.0, 64)]
    for shares, left in (({}, phases), ({"pretrain": 0, "distil": 1}, [("well-read-prediction", 10.0, 67)])):
        seen.clear()
        params = method.read_params({"n_layers": 1, "width": 16, "epochs": 10, **shares})
        method.apply(Student(copy.deepcopy(teacher.model), teacher.tokenizer), context, **params)
        assert seen == left


def test_it_stands_in_no_recipe_with_methods_whose_work_it_undoes() -> None:
    assert set(METHODS.get("well-read").excludes) == {"drop-layers", "round-embedding"}
