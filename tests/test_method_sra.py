"""sra: its vectors and loss on numbers worked by hand, other widths, families and tokenizers."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgebert.methods import METHODS
from edgebert.methods.sra import encoder_of, inner_objective, vectors
from edgebert.modeling.checkpoint import build_model, copy_student
from edgebert.modeling.rebuild import config_like
from edgebert.tasks import find_task
from edgebert.training.loop import ANSWERED, collate
from edgebert.training.losses import normalised_mse
from edgebert.types import Row, Student
from tests.toy_methods import method_context


def test_the_loss_by_hand() -> None:
    """cos((3, 4), (1, 0)) = 0.6: 2 (1 - 0.6), whatever the lengths; equal directions are 0."""
    ours, theirs = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[9.0, 0.0], [0.0, 0.1]])
    assert math.isclose(normalised_mse(ours, theirs).item(), 0.8 / 2, rel_tol=1e-6)


def batch_of(student: Student, rows: list[Row], labels: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return collate(find_task("ner").encode(rows[:4], student.tokenizer, labels, 32))


def test_a_vector_is_the_mean_of_the_last_states_over_real_tokens(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...]
) -> None:
    batch = batch_of(teacher, toy_rows, toy_labels)
    result = vectors(teacher.model, batch)
    with torch.no_grad():
        states = teacher.model.bert(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    for i, n in enumerate(batch["attention_mask"].sum(1).tolist()):
        mean = states[i, :n].mean(0)
        assert torch.allclose(result[i], mean / mean.norm(), atol=1e-5)


def test_a_bare_encoder_and_a_headed_one_give_the_same_vectors(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...]
) -> None:
    from edgebert.modeling.headed import HeadedEncoder

    batch = batch_of(teacher, toy_rows, toy_labels)
    bare = copy.deepcopy(encoder_of(teacher.model))
    config = copy.deepcopy(bare.config)
    config.edgebert_heads = [{"name": "", "kind": "token-classification", "n_labels": 5}]
    headed = HeadedEncoder(bare, config).eval()
    assert encoder_of(headed) is bare and encoder_of(bare) is bare
    for model in (headed, bare):
        assert torch.allclose(vectors(model, batch), vectors(teacher.model, batch), atol=1e-6)


def test_the_inner_loss_of_a_copy_is_zero_and_given_vectors_come_first(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    batch = batch_of(student, toy_rows, toy_labels)
    objective = inner_objective(student, method_context(teacher, toy_rows, toy_labels, tmp_path)).eval()
    assert objective(**batch)["loss"].item() < 1e-9
    opposite = {ANSWERED + "sentence_embedding": -vectors(student.model, batch).detach()}
    assert math.isclose(objective(**batch, **opposite)["loss"].item(), 4.0, rel_tol=1e-5)


def test_a_narrower_student_learns_through_a_projection(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    narrow = copy.deepcopy(teacher.model.config)
    narrow.hidden_size = 16
    student = Student(build_model(narrow, "AutoModelForTokenClassification"), teacher.tokenizer)
    objective = inner_objective(student, method_context(teacher, toy_rows, toy_labels, tmp_path))
    objective(**batch_of(student, toy_rows, toy_labels))["loss"].backward()
    weight = objective.projection.weight  # type: ignore[union-attr]
    assert weight.shape == (32, 16) and weight.grad.abs().sum() > 0  # type: ignore[union-attr, operator]


def letters() -> Any:
    """A tokenizer that spells every word: none of its tokens is a whole word of the teacher's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + [mark + chr(c) for mark in ("", "##") for c in range(97, 123)]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def test_a_bilstm_with_a_tokenizer_of_its_own_learns_the_vectors_that_the_teacher_gave_beforehand(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgebert.training import loop, run

    kept: list[Any] = []

    def keep(objective: Any, items: Any, *rest: Any, **options: Any) -> None:
        kept.append(items)
        loop.train(objective, items, *rest, **options)

    monkeypatch.setattr(run, "train", keep)
    tokenizer = letters()
    config = config_like(teacher.model.config, "bilstm", embedding_size=8, hidden_size=16, num_hidden_layers=1)
    config.vocab_size = tokenizer.get_vocab_size()
    torch.manual_seed(0)
    student = Student(build_model(config, "HeadedEncoder"), tokenizer, own_tokenizer=True)
    rows = [row for row in toy_rows if len(" ".join(row.words)) < 28]  # one window each
    context = method_context(teacher, rows, toy_labels, tmp_path)
    context = replace(context, teacher_tokenizer=teacher.tokenizer, unlabelled=(Row(("fly", "to", "bton")),))
    method = METHODS.get("sra")
    method.apply(student, context, **method.read_params({"epochs": 1}))
    texts, labelled = kept
    assert len(texts) == len(labelled) + 1  # the unlabelled row
    expected = vectors(
        teacher.model, collate(context.task.encode(context.unlabelled, teacher.tokenizer, toy_labels, 32))
    )
    given = torch.from_numpy(texts[0].targets[ANSWERED + "sentence_embedding"])
    assert torch.allclose(given, expected[0], atol=1e-5)
    assert not labelled[0].targets
