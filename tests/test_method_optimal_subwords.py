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
from transformers import AutoTokenizer

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods import optimal_subwords as method
from edgebert.methods._subwords import both, learn_tokens, marked, pieces, with_tokens, word_state
from edgebert.methods._vocabulary import put_table
from edgebert.modeling.checkpoint import copy_student, load_student, save_checkpoint
from edgebert.modeling.graph import TorchSession
from edgebert.runtime.batching import run_features
from edgebert.tasks import find_task
from edgebert.training.run import evaluate
from edgebert.types import FitRequest, MethodCall, Recipe, Row, Student
from edgebert.workflows.recipe import check_methods, check_text
from edgebert.workflows.request import resolve
from tests.conftest import make_tokenizer
from tests.toy_methods import encoded, logits, method_context

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


def test_what_continues_words_of_the_text_is_given_too() -> None:
    """A splitter that leaves "..." one word: "##." stands in the base, though "a." are two words."""
    from tokenizers import pre_tokenizers

    tokenizer = make_tokenizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens, n_base = learn_tokens(tokenizer, rows_of("well ... well ..."), SPECIAL, 200)
    assert "##." in tokens[:n_base] and "##," not in tokens
    assert {"...", "well"} <= set(tokens[n_base:])


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
    """Width 2 of the teacher, 1 of the student: V = (1, 2), U = (1, 0)ᵀ. Down: V W U = 1·1 + 2·3 = 7, V b = 1·1 + 2·1 = 3.
    Up: U 4 V = [[4, 8], [0, 0]], U 1 = (1, 0), and 5.5 V = (5.5, 11)."""
    v, u = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [0.0]])
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
    down = (7 - 4) ** 2 + (3 - 1) ** 2 + (5 - 5.5) ** 2  # "other" has another length, "more" no partner
    up = (3**2 + 6**2 + 3**2 + 4**2) + 1 + (0.5**2 + 5**2)
    assert method.reconstruction(theirs, ours, v, u).item() == pytest.approx(down + up)
    same = {"w": torch.tensor([[1.0, 2.0], [3.0, 5.0]])}  # of equal widths both terms are ‖θ_T - θ_S‖² = 1
    assert method.reconstruction(theirs, same, torch.eye(2), torch.eye(2)).item() == 2.0


def test_projections_between_widths_are_shared_and_learnt(teacher: Student) -> None:
    """Of a student half as wide, whose weights are the teacher's upper left corners: L_p is what the corners leave out."""

    class Nothing(torch.nn.Module):
        def forward(self) -> dict[str, torch.Tensor]:
            return {"loss": torch.zeros(())}

    config = type(teacher.model.config).from_dict(teacher.model.config.to_dict() | {"hidden_size": 16})
    narrow, objective = type(teacher.model)(config), Nothing()
    theirs = dict(teacher.model.named_parameters())
    expected = 0.0
    for name, value in narrow.named_parameters():
        other = theirs[name].detach()
        corner = other[tuple(slice(n) for n in value.shape)]
        value.data.copy_(corner)
        if "word_embeddings" not in name:  # what falls to zero outside the corner, going up
            expected += float(other.square().sum() - corner.square().sum())
    method.hold_near(objective, narrow, teacher.model, 0.5)  # type: ignore[arg-type]
    loss = objective()["loss"]
    assert loss.item() == pytest.approx(0.5 * expected, rel=1e-5)
    loss.backward()
    assert [tuple(p.shape) for p in objective.projections.parameters()] == [(16, 32), (32, 16)]
    assert all((p.grad != 0).any() for p in objective.projections.parameters())


def test_marked_words_are_read_by_the_new_vocabulary_and_others_by_the_old() -> None:
    tokenizer = make_tokenizer()
    tokens = [*SPECIAL, "f", "##ar", "aville", "!"]
    n_old = tokenizer.get_vocab_size() + 3  # a word table may be longer than the vocabulary
    mixed = both(tokenizer, tokens, SPECIAL, n_old)
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


def test_a_killed_training_goes_on_to_the_same_rows_and_one_seed_gives_one_student(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebert.training.callbacks.SAVE_EVERY_SECONDS", -1.0)  # after each step
    whole, _ = learnt(teacher, toy_rows, toy_labels, tmp_path / "whole")
    calls, counted = [], method.reconstruction

    def killed(*given: Any) -> torch.Tensor:
        calls.append(given)
        if len(calls) == 3:
            raise InterruptedError
        return counted(*given)

    monkeypatch.setattr(method, "reconstruction", killed)
    with pytest.raises(InterruptedError):
        learnt(teacher, toy_rows, toy_labels, tmp_path / "killed")
    again, _ = learnt(teacher, toy_rows, toy_labels, tmp_path / "killed")
    assert len(calls) == 3 + 2  # four steps, of which two were saved
    assert again.tokenizer.to_str() == whole.tokenizer.to_str()
    ours, theirs = again.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in theirs.items())


def test_what_was_learnt_loads_again_and_reads_the_same(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], toy_checkpoint: Path, tmp_path: Path
) -> None:
    """Its special tokens and padding stand where config and tokenizer say: rows of other lengths beside it change nothing."""
    student, _ = learnt(teacher, toy_rows, toy_labels, tmp_path / "work", size=130, dual_epochs=0)
    save_checkpoint(tmp_path / "saved", student, toy_checkpoint)
    again = load_student(tmp_path / "saved")
    transformers_own = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert (transformers_own.pad_token_id, transformers_own.sep_token_id) == (0, again.tokenizer.token_to_id("[SEP]"))
    assert transformers_own("fly to far")["input_ids"] == again.tokenizer.encode("fly to far").ids
    assert again.model.config.pad_token_id == again.model.get_input_embeddings().padding_idx == 0
    tokens = again.tokenizer.encode("fly to far").tokens
    assert (tokens[0], tokens[-1], "".join(tokens[1:-1]).replace("##", "")) == ("[CLS]", "[SEP]", "flytofar")
    together = logits(again, toy_rows, toy_labels)
    for alone, other in zip(logits(student, toy_rows, toy_labels), together, strict=True):
        assert np.abs(alone - other).max() < 1e-6
    features = encoded(again, toy_rows[64:], toy_labels)
    session = TorchSession(again.model)
    for feature, other in zip(features, together, strict=True):
        (single,) = run_features(session, [feature])
        assert np.abs(single["logits"] - other).max() < 1e-5


def test_of_the_sizes_the_least_that_splits_as_little_is_kept(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "SIZES", (120, 150, 200, 250))
    kept = {}
    for spare in (0.0, 0.02, 5.0):
        student, context = learnt(teacher, toy_rows, toy_labels, tmp_path, size=300, spare=spare, dual_epochs=0)
        kept[spare] = student.tokenizer.get_vocab_size()
        assert student.model.config.vocab_size == kept[spare]
        listed = next(note for note in student.notes if note.startswith("tokens a word and unknown words on dev"))
        words = [word for row in context.dev for word in row.words]
        cost = sum(len(student.tokenizer.encode(w, add_special_tokens=False).ids) for w in words) / len(words)
        assert f"{cost:.3f} and 0.00 % with {kept[spare]}" in listed
    assert kept[0.0] >= kept[0.02] > kept[5.0] == 120


def test_a_size_that_leaves_more_words_unknown_is_not_enough(
    teacher: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "ß" is one token of eight, and unknown to seven: an unknown word counts as one token too, and must not seem as good."""
    context = method_context(teacher, [Row(("ß", "a"), ("O", "O"))] * 65, ("O",), tmp_path)
    student = copy_student(teacher.model, teacher.tokenizer)
    monkeypatch.setattr(method, "SIZES", (7, 8))
    assert method.chosen_size(student, context, [*SPECIAL, "a", "##a", "ß", "##b"], 7, 0.0) == 8
    assert "1.000 and 50.00 % with 7, 1.000 and 0.00 % with 8" in student.notes[-1]


def test_rows_of_the_word_table_without_a_token_change_nothing(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Checkpoints that round their table up have rows behind the tokenizer's last token."""
    padded = copy_student(teacher.model, teacher.tokenizer)
    table = padded.model.get_input_embeddings().weight.detach()
    put_table(padded.model, torch.cat([table, torch.full((6, 32), 9.0)]), {i: i for i in range(len(table))})
    expected, _ = learnt(teacher, toy_rows, toy_labels, tmp_path / "whole")
    student, _ = learnt(padded, toy_rows, toy_labels, tmp_path / "padded")
    rows, same = (item.model.get_input_embeddings().weight for item in (student, expected))
    assert torch.allclose(rows, same, atol=1e-6)
    before, _ = learnt(teacher, toy_rows, toy_labels, tmp_path / "untrained", dual_epochs=0)
    assert (same - before.model.get_input_embeddings().weight).abs().max() > 1e-3


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


@pytest.mark.parametrize(
    ("params", "text", "what"),
    [
        ({"size": 4}, "fly to far", "4 tokens cannot hold 5 special ones and the text's"),
        ({}, "\u200b \u200b", "no word that the teacher's tokenizer can read"),
    ],
)
def test_a_fit_refuses_bad_input_before_any_training(
    params: dict[str, object], text: str, what: str, toy_checkpoint: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "dev", "test"):
        lines = [f"{text} {i if text.isascii() else ''}".strip() for i in range(12)]
        (data / f"{split}.csv").write_text(
            "text,label\n" + "".join(f"{line},{'ab'[i % 2]}\n" for i, line in enumerate(lines))
        )
    request = FitRequest(
        "pixel6", "classify", teacher=str(toy_checkpoint), data=(str(data),), recipe="optimal-subwords+kd",
        params={f"optimal-subwords.{name}": value for name, value in params.items()}, run=str(tmp_path / "run"),
    )  # fmt: skip
    with pytest.raises(RequestError, match=what):
        resolve(request, "", None)


def test_a_tokenizer_that_is_not_wordpiece_is_refused_before_any_training() -> None:
    calls = Recipe((MethodCall("optimal-subwords", {"size": 160}), MethodCall("kd")))
    check_text(calls, make_tokenizer(), rows_of("fly to far"))
    with pytest.raises(RequestError, match="is BPE"):
        check_text(calls, Tokenizer(models.BPE({"a": 0}, [])), rows_of("fly to far"))


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
    context = replace(
        method_context(teacher, toy_rows, labels, tmp_path),
        teacher=model, task=find_task("classify"), train=texts[:64], dev=texts[64:],
    )  # fmt: skip
    student = METHOD.apply(
        copy_student(model, teacher.tokenizer), context, **METHOD.read_params({**METHOD.toy, "dual_epochs": 1})
    )
    assert student.tokenizer.encode("fly to new bton").tokens[1:-1] == ["fly", "to", "new", "bton"]
    new = with_tokens(teacher.tokenizer, sorted(student.tokenizer.get_vocab(), key=student.tokenizer.get_vocab().get))
    assert json.loads(new.to_str()) == json.loads(student.tokenizer.to_str())
