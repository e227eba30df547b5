"""The methods that learn from text alone: stacking, whole words, full windows, ELECTRA."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.dynamic_masking import full_windows
from edgebert.methods.electra import drawn, electra_objective, generator_of, replaced_loss
from edgebert.methods.stacking import depths
from edgebert.modeling.checkpoint import copy_student
from edgebert.modeling.layers import encoder_layers
from edgebert.tasks import find_task
from edgebert.training.context import MethodContext
from edgebert.training.loop import collate
from edgebert.types import Row, Student
from tests.families import FAMILIES, tiny
from tests.toy_methods import method_context

NAMES = ("stacking", "whole-word", "dynamic-masking", "electra")


@pytest.fixture
def context(teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path) -> MethodContext:
    return method_context(teacher, toy_rows, toy_labels, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_the_head_stays_as_it_came_and_labels_are_not_read(name: str, teacher: Student, context: MethodContext) -> None:
    method = METHODS.get(name)
    assert method.stage == "pretrain" and method.reads_text
    context = replace(
        context,
        unlabelled=tuple(replace(row, tags=()) for row in context.dev),
        train=[replace(row, tags=("O",) * len(row.tags)) for row in context.train],
    )
    student = method.apply(copy_student(teacher.model, teacher.tokenizer), context, **method.read_params(method.toy))
    old, new = teacher.model.state_dict(), student.model.state_dict()
    changed = {key for key in old if not torch.equal(old[key], new[key])}
    assert changed and not any(key.startswith("classifier") for key in changed)
    assert "bert.embeddings.word_embeddings.weight" in changed


@pytest.mark.parametrize("name", NAMES)
def test_a_vocabulary_without_a_mask_is_refused(name: str, teacher: Student, context: MethodContext) -> None:
    from tokenizers import Tokenizer

    bare = Tokenizer.from_str(teacher.tokenizer.to_str().replace("[MASK]", "[M]"))
    method = METHODS.get(name)
    with pytest.raises(RequestError, match="no mask token") as caught:
        method.apply(copy_student(teacher.model, bare), context, **method.read_params(method.toy))
    assert caught.value.where == name


# ---------------------------------------------------------------- stacking


def test_depths_double() -> None:
    assert depths(12, 0) == (3, 6, 12)  # the paper's
    assert depths(6, 0) == (3, 6)
    assert depths(4, 0) == (1, 2, 4)
    assert depths(8, 3) == (1, 2, 4, 8)
    with pytest.raises(RequestError, match="5 layers cannot be halved 1 time"):
        depths(5, 0)
    with pytest.raises(RequestError, match="6 layers cannot be halved 2 times"):
        depths(6, 2)


def test_the_stack_is_copied_onto_itself(teacher: Student, context: MethodContext) -> None:
    """With all passes before the last training, layers 3 and 4 are those of 1 and 2, which were trained."""
    method = METHODS.get("stacking")
    student = copy_student(teacher.model, teacher.tokenizer)
    params = {"epochs": 1, "early": 1.0, "doublings": 1}
    layers = encoder_layers(method.apply(student, context, **method.read_params(params)).model)
    states = [layer.state_dict() for layer in layers]
    assert student.model.config.num_hidden_layers == len(layers) == 4
    for lower, upper in ((0, 2), (1, 3)):
        assert all(torch.equal(states[lower][key], states[upper][key]) for key in states[lower])
        assert layers[lower] is not layers[upper]
    before = encoder_layers(teacher.model)[0].state_dict()
    assert any(not torch.equal(states[0][key], before[key]) for key in before)
    assert any(not torch.equal(states[0][key], states[1][key]) for key in before)
    assert student.notes == ("stacked from 2 to 4 layers",)


def test_a_layer_is_stacked_on_one_of_its_own_kind_alone() -> None:
    """Of ModernBERT every second layer is global here: 2 of 4 can be copied upwards, 1 of 2 cannot."""
    config = tiny("modernbert", num_hidden_layers=4).config
    check = METHODS.get("stacking").check
    check(config, config, doublings=1)
    with pytest.raises(
        RequestError, match="layer 2 cannot be a copy of layer 1: the layer_types of modernbert are sliding"
    ):
        check(config, config, doublings=2)


# ---------------------------------------------------------------- dynamic-masking


def test_windows_are_full_and_hold_all_text(teacher: Student) -> None:
    texts = ["fly from aville", "show trains", "zebra", "leave aville on monday", "is dham far"]
    windows = full_windows(texts, teacher.tokenizer, 8)
    assert [len(window.input_ids) for window in windows] == [8, 8, 3]
    tokens = [teacher.tokenizer.id_to_token(i) for window in windows for i in window.input_ids[1:-1]]
    assert tokens == " ".join(texts).split()
    assert {(w.input_ids[0], w.input_ids[-1]) for w in windows} == {(2, 3)}
    assert [window.row for window in windows] == [0, 1, 2]


# ---------------------------------------------------------------- electra


def test_the_discriminators_loss_by_hand() -> None:
    """Of two real tokens one is replaced, D = 1 - sigmoid(z): -(log 0.8 + log 0.6) / 2, with padding left out."""
    logits = torch.logit(torch.tensor([[0.2, 0.6, 0.9]]))
    replaced, mask = torch.tensor([[False, True, True]]), torch.tensor([[True, True, False]])
    expected = -(torch.tensor(0.8).log() + torch.tensor(0.6).log()) / 2
    assert torch.isclose(replaced_loss(logits, replaced, mask), expected)


def test_pieces_are_drawn_from_the_softmax_where_they_are_hidden() -> None:
    torch.manual_seed(0)
    ids = torch.zeros(2000, 3, dtype=torch.long)
    chosen = torch.tensor([[False, True, True]] * 2000)
    scores = torch.tensor([[0.2, 0.7, 0.1], [1e-9, 1e-9, 1.0]]).log().repeat(2000, 1).requires_grad_(True)
    result = drawn(ids, chosen, scores)
    assert not result[:, 0].any() and (result[:, 2] == 2).all()
    assert (result[:, 1].bincount() / 2000).tolist() == pytest.approx([0.2, 0.7, 0.1], abs=0.03)
    assert torch.equal(drawn(ids, chosen & False, scores[:0]), ids)


def test_the_generator_is_small_and_reads_the_students_table(teacher: Student, context: MethodContext) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    generator = generator_of(student, 0.25)
    assert generator.config.num_hidden_layers == len(encoder_layers(generator)) == 1
    assert student.model.config.num_hidden_layers == 4
    table = student.model.get_input_embeddings().weight
    assert generator.get_input_embeddings().weight is table
    assert not any(parameter is table for parameter in generator.parameters())
    with torch.no_grad():
        table[7].fill_(3.0)
    assert (generator.get_input_embeddings()(torch.tensor([7])) == 3.0).all()
    ours, theirs = encoder_layers(student.model)[0], encoder_layers(generator)[0]
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_both_losses_reach_what_they_should(
    teacher: Student, context: MethodContext, toy_rows: list[Row], toy_labels: tuple[str, ...]
) -> None:
    """The generator learns from L_MLM alone: its gradient is the same whatever the discriminator's weight is."""
    student = copy_student(teacher.model, teacher.tokenizer)
    batch = collate(find_task("ner").encode(toy_rows[:16], student.tokenizer, toy_labels, 32))
    gradients = []
    for weight in (0.0, 50.0):
        torch.manual_seed(1)
        objective = electra_objective(student, 0.25, 0.3, weight).eval()
        student.model.zero_grad()
        objective(**batch)["loss"].backward()
        gradients.append(encoder_layers(objective.guesser.student)[0].output.dense.weight.grad.clone())  # type: ignore[union-attr]
    assert torch.equal(gradients[0], gradients[1]) and gradients[0].any()
    assert student.model.bert.encoder.layer[3].output.dense.weight.grad.any()


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"funnel"}))
def test_every_family_can_be_judged(family: str, teacher: Student) -> None:
    model = tiny(family)
    model.config.architectures = [type(model).__name__]
    torch.manual_seed(0)
    ids = torch.randint(5, 90, (2, 9))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    objective = electra_objective(Student(model, teacher.tokenizer), 0.5, 0.5, 50.0)
    objective(**batch)["loss"].backward()
    assert model.get_input_embeddings().weight.grad.any()
