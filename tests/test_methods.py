"""The contract that every registered method keeps, and each method's own rules on small cases."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError
from edgebert.methods import METHODS, STAGES, trim_vocab
from edgebert.methods._prediction import replace_tokens
from edgebert.methods.drop_layers import kept_layers, least_similar
from edgebert.methods.round_embedding import round_rows
from edgebert.methods.tinybert import inner_objective
from edgebert.methods.trim_vocab import trim
from edgebert.modeling.checkpoint import (
    copy_student,
    load_student,
    n_parameters,
    save_checkpoint,
)
from edgebert.modeling.heads import HEADS, head_of
from edgebert.modeling.layers import encoder_layers
from edgebert.modeling.rebuild import auto_model_of
from edgebert.tasks import find_task
from edgebert.training.align import layer_map
from edgebert.training.loop import Objective, collate
from edgebert.types import Row, Student
from tests.toy_methods import applied, encoded, logits, method_context, served, toy_params, wrong

NAMES = sorted(METHODS.all())


@pytest.mark.parametrize("name", NAMES)
def test_declaration(name: str) -> None:
    method = METHODS.get(name)
    assert method.stage in STAGES
    assert method.paper is None or method.paper.place
    assert set(method.heads) <= set(HEADS.all())
    for param in method.params:
        assert param.help
        assert param.search is not None or param.read(param.default, name) == param.default or param.default == 0


@pytest.mark.parametrize("name", NAMES)
def test_real_parameters_equal_the_predicted_ones(
    name: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    method, teacher = METHODS.get(name), served(name, teacher)
    params = toy_params(name)
    predicted = method.reshape(copy.deepcopy(teacher.model.config), **params)
    student = applied(name, teacher, toy_rows, toy_labels, tmp_path)
    assert n_parameters(student.model) == count_parameters(predicted, auto_model_of(predicted))


@pytest.mark.parametrize("name", NAMES)
def test_the_teacher_is_not_touched(
    name: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = served(name, teacher)
    before = {key: value.clone() for key, value in teacher.model.state_dict().items()}
    applied(name, teacher, toy_rows, toy_labels, tmp_path)
    after = teacher.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert teacher.model.config.num_hidden_layers == 4


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights(
    name: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    item = applied(name, teacher, toy_rows, toy_labels, tmp_path / "1").model.state_dict()
    two = applied(name, teacher, toy_rows, toy_labels, tmp_path / "2").model.state_dict()
    assert all(torch.equal(item[key], two[key]) for key in item)


@pytest.mark.parametrize("name", NAMES)
def test_save_and_load_give_the_same_outputs(
    name: str,
    teacher: Student,
    toy_checkpoint: Path,
    toy_rows: list[Row],
    toy_labels: tuple[str, ...],
    tmp_path: Path,
) -> None:
    student = applied(name, teacher, toy_rows, toy_labels, tmp_path / "work")
    save_checkpoint(tmp_path, student, toy_checkpoint)
    loaded = load_student(tmp_path)
    assert loaded.teacher_ids == student.teacher_ids
    for before, after in zip(logits(student, toy_rows, toy_labels), logits(loaded, toy_rows, toy_labels), strict=True):
        assert np.abs(before - after).max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_every_trainable_parameter_gets_a_gradient(
    name: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = applied(name, teacher, toy_rows, toy_labels, tmp_path)
    batch = collate(encoded(student, toy_rows[:8], toy_labels))
    Objective(student.model.train()).loss(batch).backward()
    without = [key for key, value in student.model.named_parameters() if value.requires_grad and value.grad is None]
    assert without == []


TRAINING = [name for name in NAMES if "epochs" in {param.name for param in METHODS.get(name).params}]


@pytest.mark.parametrize("name", [name for name in TRAINING if METHODS.get(name).stage == "train"])
def test_training_lowers_the_error(
    name: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = served(name, teacher)
    epochs = 12 if head_of(type(teacher.model).__name__).per_token else 30
    trained = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(trained, toy_rows, toy_labels, tmp_path / "t")
    finetune = METHODS.get("finetune").apply(trained, context, epochs=epochs)
    student = copy_student(teacher.model, teacher.tokenizer)  # untrained, learns from the trained one
    context = method_context(finetune, toy_rows, toy_labels, tmp_path / "s")
    method = METHODS.get(name)
    params = method.read_params({**method.toy, "epochs": epochs})
    before = wrong(student, toy_rows[64:], toy_labels)
    assert wrong(method.apply(student, context, **params), toy_rows[64:], toy_labels) < before / 4


# ---------------------------------------------------------------- drop-layers


@pytest.mark.parametrize(
    ("strategy", "n_new", "kept"),
    [
        ("top", 8, (0, 1, 2, 3, 4, 5, 6, 7)),
        ("bottom", 8, (4, 5, 6, 7, 8, 9, 10, 11)),
        ("symmetric", 8, (0, 1, 2, 3, 8, 9, 10, 11)),
        ("symmetric", 3, (0, 1, 11)),
        ("alternate-even", 8, (0, 1, 2, 3, 4, 6, 8, 10)),  # layers 12, 10, 8, 6 go
        ("alternate-odd", 8, (0, 1, 2, 3, 5, 7, 9, 11)),  # layers 11, 9, 7, 5 go
        ("alternate-even", 6, (0, 2, 4, 6, 8, 10)),
        ("uniform", 6, (1, 3, 5, 7, 9, 11)),
        ("uniform", 4, (2, 5, 8, 11)),
        ("uniform", 12, tuple(range(12))),
    ],
)
def test_strategies_as_the_paper_draws_them_for_twelve_layers(strategy: str, n_new: int, kept: tuple[int, ...]) -> None:
    assert kept_layers(strategy, 12, n_new) == kept


@pytest.mark.parametrize("strategy", ["uniform", "top", "bottom", "symmetric", "alternate-even", "alternate-odd"])
@pytest.mark.parametrize("n_new", range(1, 7))
def test_strategies_keep_that_many_in_order(strategy: str, n_new: int) -> None:
    kept = kept_layers(strategy, 6, n_new)
    assert len(kept) == n_new
    assert list(kept) == sorted(set(kept))


def test_contribution_drops_the_layers_that_change_least() -> None:
    assert least_similar([0.5, 0.99, 0.9, 0.7], 2) == (0, 3)


def test_contribution_measures_real_layers(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    lazy = encoder_layers(student.model)[2]  # make one layer nearly the identity
    for parameter in (lazy.attention.output.dense.weight, lazy.output.dense.weight):
        torch.nn.init.zeros_(parameter)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    dropped = METHODS.get("drop-layers").apply(student, context, n_layers=3, strategy="contribution", layers=())
    assert dropped.notes == ("kept layers 1, 2, 4 of 4",)


def test_dropped_layers_carry_the_teachers_weights(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    METHODS.get("drop-layers").apply(student, context, n_layers=0, strategy="uniform", layers=(0, 3))
    ours, theirs = encoder_layers(student.model), encoder_layers(teacher.model)
    assert len(ours) == 2
    for mine, index in zip(ours, (0, 3), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs[index].parameters(), strict=True))


@pytest.mark.parametrize("layers", [(0, 4), (1, 1), (2, 1)])
def test_layers_out_of_range_are_refused(
    layers: tuple[int, ...], teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    student = copy_student(teacher.model, teacher.tokenizer)
    with pytest.raises(RequestError, match="not increasing numbers from 0 to 3"):
        METHODS.get("drop-layers").apply(student, context, n_layers=0, strategy="uniform", layers=layers)


# ---------------------------------------------------------------- tinybert


@pytest.mark.parametrize(
    ("strategy", "n_student", "n_teacher", "expected"),
    [
        ("uniform", 4, 12, (0, 3, 6, 9, 12)),  # the paper's g(m) = 3m
        ("uniform", 6, 12, (0, 2, 4, 6, 8, 10, 12)),
        ("uniform", 3, 6, (0, 2, 4, 6)),
        ("top", 4, 12, (0, 9, 10, 11, 12)),
        ("bottom", 4, 12, (0, 1, 2, 3, 4)),
    ],
)
def test_layer_map(strategy: str, n_student: int, n_teacher: int, expected: tuple[int, ...]) -> None:
    assert layer_map(strategy, n_student, n_teacher) == expected


def test_replaced_pieces_are_of_chosen_rows_and_never_special() -> None:
    torch.manual_seed(0)
    ids = torch.tensor([[2, 7, 8, 9, 3, 0]] * 400)
    mask = ids != 0
    special = torch.tensor([0, 1, 2, 3])
    new, rows = replace_tokens(ids, mask, special, 0.3, 50)
    assert torch.equal(new[~rows[:, 0]], ids[~rows[:, 0]])
    assert torch.equal(new[:, [0, 4, 5]], ids[:, [0, 4, 5]])
    assert not torch.isin(new[:, 1:4], special).any()
    assert 0.4 < rows.float().mean() < 0.6
    changed = (new != ids)[rows[:, 0], 1:4].float().mean().item()
    assert 0.2 < changed < 0.3  # 0.3, less what happens to be drawn again


def test_a_student_deeper_than_its_teacher_is_refused() -> None:
    with pytest.raises(RequestError, match="cannot learn from 2"):
        layer_map("uniform", 3, 2)


def test_the_inner_loss_of_a_copy_is_zero(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    objective = inner_objective(
        student, method_context(teacher, toy_rows, toy_labels, tmp_path), layer_map("uniform", 4, 4)
    )
    batch = collate(find_task("ner").encode(toy_rows[:4], student.tokenizer, toy_labels, 32))
    assert objective.eval()(**batch)["loss"].item() < 1e-9


def test_a_narrower_student_learns_through_projections(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    from transformers import AutoModelForTokenClassification

    config = copy.deepcopy(teacher.model.config)
    config.hidden_size, config.num_hidden_layers = 16, 2
    torch.manual_seed(0)
    student = Student(
        AutoModelForTokenClassification.from_config(config, attn_implementation="eager"), teacher.tokenizer
    )
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    objective = inner_objective(student, context, layer_map("uniform", 2, 4))
    assert [tuple(p.shape) for p in objective.projections.parameters()] == [(32, 16)] * 3  # type: ignore[union-attr]
    batch = collate(find_task("ner").encode(toy_rows[:4], student.tokenizer, toy_labels, 32))
    objective(**batch)["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.projections.parameters())  # type: ignore[union-attr]


# ---------------------------------------------------------------- trim-vocab


def test_trimmed_text_reads_the_same_pieces_and_the_student_gives_the_same_logits(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Tokens that the text uses stay, so before any training nothing changes on that text."""
    student = applied("trim-vocab", teacher, toy_rows, toy_labels, tmp_path)
    assert student.tokenizer.get_vocab_size() == 80
    words = [list(row.words) for row in toy_rows]
    before = teacher.tokenizer.encode_batch(words, is_pretokenized=True)
    after = student.tokenizer.encode_batch(words, is_pretokenized=True)
    assert [e.tokens for e in before] == [e.tokens for e in after]
    assert student.teacher_ids is not None
    assert [e.ids for e in before] == [[student.teacher_ids[i] for i in e.ids] for e in after]
    for a, b in zip(logits(teacher, toy_rows, toy_labels), logits(student, toy_rows, toy_labels), strict=True):
        assert np.abs(a - b).max() < 1e-6


def test_a_word_whose_piece_went_is_spelt_not_unknown(teacher: Student) -> None:
    trimmed, old_ids = trim(teacher.tokenizer, Counter(), 60)
    assert trimmed.get_vocab_size() == len(old_ids) == 60
    assert teacher.tokenizer.encode("zebra").tokens == ["[CLS]", "zebra", "[SEP]"]
    assert trimmed.encode("zebra").tokens == ["[CLS]", "z", "##e", "##b", "##r", "##a", "[SEP]"]


@pytest.mark.parametrize(("usual", "size", "kept"), [(100, 22, False), (10, 24, True)])
def test_of_few_pieces_foreign_characters_are_not_kept_before_words(
    usual: int, size: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of ASCII and of the text stay in any case; é is in the text."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    monkeypatch.setattr("edgebert.methods.trim_vocab.USUAL", usual)
    tokens = ["[UNK]", *"漢字éabcfloty", *(f"##{c}" for c in "漢字éabcfloty"), "boat", "café", "fly", "to"]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    counts = Counter({"café": 3, "fly": 2, "to": 1})
    trimmed, _ = trim(tokenizer, counts, size)  # [UNK], 18 characters and three words; or 22 characters and one word
    words = trimmed.encode("fly to café boat é 漢").tokens
    if kept:
        assert words == ["f", "##l", "##y", "t", "##o", "café", "b", "##o", "##a", "##t", "é", "漢"]
    else:
        assert words == ["fly", "to", "café", "b", "##o", "##a", "##t", "é", "[UNK]"]


def test_the_floor_keeps_frequent_pieces_that_the_text_never_shows(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    method = METHODS.get("trim-vocab")
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    student = method.apply(copy_student(teacher.model, teacher.tokenizer), context, size=5, floor=75, languages="")
    assert student.tokenizer.get_vocab_size() == 75
    assert "unknown words 0.00 % to 0.00 %" in student.notes[0]


def _bpe() -> object:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["lower lowest newer newest wide widest low new"] * 20, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return tokenizer


def _unigram() -> object:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokens = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁low", -2.0), ("▁new", -2.5), ("est", -3.0), ("er", -3.1)]
    tokens += [(c, -8.0) for c in "▁abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.Unigram(tokens, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>", "<mask>"])
    return tokenizer


@pytest.mark.parametrize(("make", "size"), [(_bpe, 270), (_unigram, 34)])
def test_other_tokenizer_models_are_trimmed_too(make: object, size: int) -> None:
    tokenizer = make()  # type: ignore[operator]
    counts = Counter(tokenizer.encode("lower lowest").tokens)
    trimmed, old_ids = trim(tokenizer, counts, size)
    assert trimmed.get_vocab_size() == size < tokenizer.get_vocab_size()
    before, after = tokenizer.encode("lower lowest"), trimmed.encode("lower lowest")
    assert before.tokens == after.tokens
    assert before.ids == [old_ids[i] for i in after.ids]
    assert "".join(trimmed.encode("newest zoo").tokens).count("<unk>") == 0


def test_a_word_level_tokenizer_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    with pytest.raises(RequestError, match="WordLevel"):
        trim(Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")), Counter(), 1)


def test_the_trimmed_checkpoint_opens_in_transformers(
    teacher: Student, toy_checkpoint: Path, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    student = applied("trim-vocab", teacher, toy_rows, toy_labels, tmp_path / "w")
    save_checkpoint(tmp_path, student, toy_checkpoint)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "fly from aville to new bton"
    assert loaded(text)["input_ids"] == student.tokenizer.encode(text).ids
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == 80


def test_round_rows_by_hand() -> None:
    """4 bits are the integers -7 to 7. A row on the grid stays; another lands within half a step of its range."""
    on_grid = torch.tensor([[-7.0, 3.0, 0.0, 1.0]]) * 0.5
    assert torch.equal(round_rows(on_grid, 4), on_grid)
    row = torch.tensor([[0.7, -0.33, 0.04, 0.26]])
    assert torch.allclose(round_rows(row, 4), torch.tensor([[0.7, -0.3, 0.0, 0.3]]))  # s = 0.1, nothing is cut
    outlier = torch.tensor([[1.0, *[0.31] * 30]])  # at s = 1/7, 0.31 becomes 2/7; a smaller range comes nearer
    assert (round_rows(outlier, 4) - outlier)[0, 1:].abs().max() < 0.31 - 2 / 7


def test_a_rounded_table_is_held_and_survives_packing_exactly(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    from edgebert.converters._onnx_embedding4 import quantize_rows4

    rounded = applied("round-embedding", teacher, toy_rows, toy_labels, tmp_path / "a")
    table = rounded.model.get_input_embeddings().weight.detach().clone()
    method = METHODS.get("tinybert")
    trained = method.apply(
        rounded, method_context(teacher, toy_rows, toy_labels, tmp_path / "b"), **method.read_params(method.toy)
    )
    after = trained.model.get_input_embeddings().weight.detach()
    assert torch.equal(after, table)
    codes, least, step = quantize_rows4(after.numpy())
    assert np.abs(least + step * codes - after.numpy()).max() < 1e-6


def test_a_trial_is_not_told_what_the_smaller_vocabulary_alone_costs(
    teacher: Student,
    toy_rows: list[Row],
    toy_labels: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it costs is told of the student that is made; scored in each trial, it took as long as the training."""
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    scores = iter([90.0, 70.0])
    monkeypatch.setattr(trim_vocab, "_dev_score", lambda student, context: next(scores))
    size = teacher.tokenizer.get_vocab_size() - 5
    quick = replace(context, scores_epochs=False)
    trim = METHODS.get("trim-vocab").apply
    silent = trim(copy_student(teacher.model, teacher.tokenizer), quick, size=size, floor=0, languages="")
    message = trim(copy_student(teacher.model, teacher.tokenizer), context, size=size, floor=0, languages="")
    assert not any("costs" in note for note in silent.notes)
    assert message.notes[-1] == "the smaller vocabulary alone costs the untrained student 20.0 points on dev"
