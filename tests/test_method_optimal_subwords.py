"""A vocabulary learnt from the text: tokens and first rows by hand, two vocabularies in one text, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods import optimal_subwords as method
from edgebert.methods._subwords import both, learn_tokens, marked, pieces, with_tokens, word_state
from edgebert.modeling.checkpoint import copy_student
from edgebert.tasks import find_task
from edgebert.training.run import evaluate
from edgebert.types import MethodCall, Recipe, Row, Student
from edgebert.workflows.recipe import check_methods
from tests.conftest import make_tokenizer
from tests.toy_methods import logits, method_context

METHOD = METHODS.get("optimal-subwords")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def rows_of(*texts: str) -> list[Row]:
    return [Row(text=text) for text in texts]


def learnt(
    teacher: Student, rows: Sequence[Row], labels: tuple[str, ...], work: Path, **params: object
) -> tuple[Student, Any]:
    context = method_context(teacher, list(rows), labels, work)
    given = METHOD.read_params({**METHOD.toy, **params})
    return METHOD.apply(copy_student(teacher.model, teacher.tokenizer), context, **given), context


def test_the_most_frequent_pairs_are_merged_first() -> None:
    """ "abab" six times and "cab" five: a+##b stands 6 times, ##a+##b 11: "##ab" comes first, then "abab" of ab and ##ab."""
    tokenizer = make_tokenizer()
    rows = rows_of(*["Abab!"] * 6, *["cab"] * 5)
    tokens, n_base = learn_tokens(tokenizer, rows, SPECIAL, 200)
    assert tokens[:5] == SPECIAL
    assert {"a", "##a", "7", "##7", "!"} <= set(tokens[:n_base])
    assert "##!" not in tokens  # it always stands alone
    assert "A" not in tokens  # the normalizer makes it small
    assert tokens[n_base:] == ["##ab", "ab", "abab", "cab"]
    assert learn_tokens(tokenizer, rows, SPECIAL, n_base + 2)[0] == tokens[: n_base + 2]


def test_every_process_learns_the_same_tokens(tmp_path: Path) -> None:
    """The library's own trainer breaks ties by ids that follow a hash map, which has another seed in each process."""
    code = (
        "import random, json; from tests.conftest import make_tokenizer; from edgebert.types import Row;"
        "from edgebert.methods._subwords import learn_tokens; r = random.Random(0);"
        "w = [''.join(r.choice('abcdefgh') for _ in range(r.randint(2, 6))) for _ in range(400)];"
        "rows = [Row(text=' '.join(r.choice(w) for _ in range(9))) for _ in range(300)];"
        "print(json.dumps(learn_tokens(make_tokenizer(), rows, ['[UNK]'], 400)))"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    }
    assert len(outputs) == 1
    assert len(json.loads(outputs.pop())[0]) == 400


def test_first_rows_by_hand() -> None:
    vocabulary = {"[UNK]": 0, "new": 1, "##s": 2, "n": 3, "##e": 4}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    table = torch.tensor([[9.0, 0.0], [2.0, 4.0], [4.0, 0.0], [1.0, 1.0], [3.0, 5.0]])
    rows = method.first_rows(["new", "news", "##es", "nes", "x"], tokenizer, table)
    assert rows.tolist() == [
        [2.0, 4.0],  # the teacher's own
        [3.0, 2.0],  # new + ##s
        [3.5, 2.5],  # ##e + ##s
        [pytest.approx(8 / 3), 2.0],  # n + ##e + ##s
        [pytest.approx(3.8), 2.0],  # no piece spells it: the mean of all
    ]
    assert pieces("##ews", word_state(tokenizer)["model"]) == []


def test_the_distance_of_weights_by_hand() -> None:
    """Width 2 of the teacher, 1 of the student: V = (1, 2), U = (1, 0)ᵀ. V W U = 1·1 + 2·3 = 7, and V b = 1·1 + 2·1 = 3."""
    up, down = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [0.0]])
    theirs = {
        "w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        "b": torch.ones(2),
        "label": torch.tensor([[5.0, 6.0]]),  # (labels, width)
        "other": torch.ones(5),
    }
    ours = {
        "w": torch.tensor([[4.0]]),
        "b": torch.tensor([1.0]),
        "label": torch.tensor([[5.5]]),
        "other": torch.zeros(4),
        "more": torch.ones(1),
    }
    # (7 - 4)² + (3 - 1)² + (5 - 5.5)²; "other" has another length, "more" no partner
    assert method.reconstruction(theirs, ours, up, down).item() == pytest.approx(13.25)
    same = {"w": torch.tensor([[1.0, 2.0], [3.0, 5.0]])}
    assert method.reconstruction(theirs, same, torch.eye(2), torch.eye(2)).item() == 1.0


def test_marked_words_are_read_by_the_new_vocabulary_and_others_by_the_old() -> None:
    tokenizer = make_tokenizer()
    tokens = [*SPECIAL, "f", "##ar", "aville", "!"]
    mixed = both(tokenizer, tokens, SPECIAL)
    n_old = tokenizer.get_vocab_size()
    (row,) = marked(rows_of("Is aville far!"), tokenizer, 1.0, seed=0)
    # "is" has no character in the new vocabulary; the others are tokens 7, 5 6 and 8
    assert mixed.encode(row.text).ids == [2, 1, n_old + 7, n_old + 5, n_old + 6, n_old + 8, 3]
    (row,) = marked(rows_of("Is aville far!"), tokenizer, 0.0, seed=0)
    assert mixed.encode(row.text).tokens == tokenizer.encode("is aville far!").tokens
    (row,) = marked([Row(("Is", "it-far"), ("O", "B-X"))], tokenizer, 1.0, seed=0)
    encoding = mixed.encode(list(row.words), is_pretokenized=True)
    assert encoding.word_ids == [None, 0, 1, 1, 1, 1, None]  # it, -, f, ##ar belong to one word still
    assert row.tags == ("O", "B-X")
    rows = marked(rows_of(*["fly to far"] * 300), tokenizer, 0.3, seed=0)
    words = [word for row in rows for word in str(row.text).split()]
    assert 0.25 < np.mean([ord(word[0]) > 0xF0000 for word in words]) < 0.35
    assert rows == marked(rows_of(*["fly to far"] * 300), tokenizer, 0.3, seed=0)
    assert rows != marked(rows_of(*["fly to far"] * 300), tokenizer, 0.3, seed=1)


def test_without_training_a_vocabulary_of_the_teachers_tokens_gives_the_teachers_logits(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """All words of the toy text are learnt whole, as the teacher has them: only the ids are others."""
    student, _ = learnt(teacher, toy_rows, toy_labels, tmp_path, size=400, dual_epochs=0)
    assert student.own_tokenizer and student.teacher_ids is None
    assert student.model.config.pad_token_id == student.tokenizer.token_to_id("[PAD]")
    for a, b in zip(logits(teacher, toy_rows, toy_labels), logits(student, toy_rows, toy_labels), strict=True):
        assert np.abs(a - b).max() < 1e-5


def test_training_on_both_brings_the_new_vocabulary_nearer_to_the_teacher(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Of few tokens, which split the words: the distance of the logits at each word's first token is smaller after it."""
    trained = METHODS.get("finetune").apply(
        copy_student(teacher.model, teacher.tokenizer),
        method_context(teacher, toy_rows, toy_labels, tmp_path),
        epochs=8,
    )

    def score(**params: object) -> tuple[float, Student]:
        name = "-".join(map(str, params.values()))
        student, _ = learnt(trained, toy_rows, toy_labels, tmp_path / name, size=125, **params)
        return evaluate(student, find_task("ner"), toy_labels, toy_rows[64:], "dev", 32).value, student

    without, _ = score(dual_epochs=0)
    after, student = score(dual_epochs=6)
    assert after > without + 0.1, (without, after)
    assert student.model.get_input_embeddings().weight.shape == (125, 32)


def test_of_the_sizes_the_least_that_splits_as_little_is_kept(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "SIZES", (120, 150, 200, 250))
    kept = {}
    for spare in (0.0, 0.02, 5.0):
        student, context = learnt(teacher, toy_rows, toy_labels, tmp_path, size=300, spare=spare, dual_epochs=0)
        kept[spare] = student.tokenizer.get_vocab_size()
        assert student.model.config.vocab_size == kept[spare]
        listed = next(note for note in student.notes if note.startswith("tokens a word on dev"))
        words = [word for row in context.dev for word in row.words]
        cost = sum(len(student.tokenizer.encode(w, add_special_tokens=False).ids) for w in words) / len(words)
        assert f"{cost:.3f} with {kept[spare]}" in listed
    assert kept[0.0] >= kept[0.02] > kept[5.0] == 120


def test_bad_input_is_refused_before_anything_changes(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    given = METHOD.read_params(METHOD.toy)
    with pytest.raises(RequestError, match="4 tokens cannot hold 5 special ones and the text's"):
        METHOD.apply(student, context, **{**given, "size": 4})
    with pytest.raises(RequestError, match="cannot hold") as caught:
        METHOD.apply(student, context, **{**given, "size": 60})
    least = int(str(caught.value.hint).split()[4].rstrip(","))
    METHOD.apply(copy_student(teacher.model, teacher.tokenizer), context, **{**given, "size": least, "dual_epochs": 0})
    blank = replace(context, train=[Row(("\u200b", " "), ("O", "O"))])
    with pytest.raises(RequestError, match="no word that the teacher's tokenizer can read"):
        METHOD.apply(student, blank, **given)
    other = replace(student, tokenizer=Tokenizer(models.BPE({"a": 0}, [])))
    with pytest.raises(RequestError, match="is BPE"):
        METHOD.apply(other, context, **given)
    after = student.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not list(tmp_path.iterdir())


def test_what_compares_tokens_with_the_teacher_cannot_follow() -> None:
    def recipe(*names: str) -> Recipe:
        return Recipe(tuple(map(MethodCall, names)))

    check_methods(recipe("optimal-subwords", "drop-layers", "kd"), "token-classification")
    with pytest.raises(
        RequestError, match="tinybert needs a student with the teacher's tokens, and optimal-subwords gives"
    ):
        check_methods(recipe("optimal-subwords", "tinybert"), "token-classification")
    with pytest.raises(RequestError, match="exclude each other"):
        check_methods(recipe("trim-vocab", "optimal-subwords", "kd"), "token-classification")
    with pytest.raises(RequestError, match="question-answering"):
        check_methods(recipe("optimal-subwords", "kd"), "question-answering")


def test_texts_with_a_label_are_learnt_too(teacher: Student, toy_rows: list[Row], tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    labels = ("far", "near")
    config = type(teacher.model.config).from_dict(teacher.model.config.to_dict() | {"num_labels": 2})
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    model.config.architectures = ["BertForSequenceClassification"]
    texts = [Row(text=" ".join(row.words), labels=(labels["far" not in row.words],)) for row in toy_rows]
    context = method_context(Student(model, teacher.tokenizer), texts, labels, tmp_path)
    context = replace(context, task=find_task("classify"))
    student = METHOD.apply(
        copy_student(model, teacher.tokenizer), context, **METHOD.read_params({**METHOD.toy, "dual_epochs": 1})
    )
    assert student.tokenizer.encode("fly to new bton").tokens[1:-1] == ["fly", "to", "new", "bton"]
    new = with_tokens(teacher.tokenizer, sorted(student.tokenizer.get_vocab(), key=student.tokenizer.get_vocab().get))
    assert json.loads(new.to_str()) == json.loads(student.tokenizer.to_str())
