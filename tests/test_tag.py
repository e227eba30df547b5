"""The task `tag`: columns, tags by word, and scores equal to scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from edgebert.data.columns import assign
from edgebert.data.conll import read_conll, read_conllu
from edgebert.errors import DataError
from edgebert.tasks import find_task
from edgebert.tasks.tag import TASK
from edgebert.types import Record, Row
from tests.conftest import make_tokenizer

TAGS = ("ADV", "NOUN", "VERB")


def test_the_registry_finds_it_by_its_names() -> None:
    assert all(find_task(name) is TASK for name in ("tag", "pos", "tagging"))
    assert (TASK.metric, TASK.head) == ("token accuracy", "token-classification")


# ---------------------------------------------------------------- rows


def test_any_text_is_a_tag() -> None:
    rows, notes = TASK.rows(read_conll("Tea NN\nis VBZ;Tense=Pres\n! .\n\nÉté I-X\n".encode(), "f"))
    assert [(row.words, row.tags, row.where) for row in rows] == [
        (("Tea", "is", "!"), ("NN", "VBZ;Tense=Pres", "."), "f:1"),
        (("Été",), ("I-X",), "f:5"),
    ]
    assert notes == []
    assert TASK.labels(rows) == (".", "I-X", "NN", "VBZ;Tense=Pres")


def test_conllu_is_read() -> None:
    line = "{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_\n"
    words = [("1-2", "del", "_"), ("1", "de", "ADP"), ("2", "el", "DET"), ("2.1", "x", "_"), ("3", "río", "NOUN")]
    rows, _ = TASK.rows(read_conllu("".join(line.format(*word) for word in words).encode(), "f"))
    assert [(row.words, row.tags) for row in rows] == [(("de", "el", "río"), ("ADP", "DET", "NOUN"))]


@pytest.mark.parametrize(
    "columns",
    [
        {"words": ["a", "b"], "tags": ["X", "Y"]},
        {"tokens": ["a", "b"], "upos": ["X", "Y"]},
        {"tokens": "a b", "pos": "X Y"},
        {"tokens": ["a", "b"], "ner_tags": ["O", "B-PER"], "pos_tags": ["X", "Y"]},
        {"tokens": ["a", "b"], "labels": ["X", "Y"]},
    ],
)
def test_columns_go_by_usual_names(columns: dict[str, object]) -> None:
    records, _ = assign([Record(columns, "f:1")], TASK.columns, {})
    (row,), _ = TASK.rows(records)
    assert (row.words, row.tags) == (("a", "b"), ("X", "Y"))


def test_the_users_columns_win() -> None:
    record = Record({"form": ["a"], "upos": ["X"], "xpos": ["NN"]}, "f:1")
    records, _ = assign([record], TASK.columns, {"text": "form", "label": "xpos"})
    (row,), _ = TASK.rows(records)
    assert (row.words, row.tags) == (("a",), ("NN",))


def test_rows_without_words_are_counted_and_left_out() -> None:
    rows, notes = TASK.rows([Record({"words": w, "tags": w}, "f:1") for w in ([], ["a"], [])])
    assert len(rows) == 1 and notes == ["2 rows without words left out"]


@pytest.mark.parametrize(
    ("columns", "what", "where"),
    [
        ({"words": ["a", "b"], "tags": ["X"]}, "2 words but 1 tags", "f:2"),
        ({"words": ["a"], "tags": [3]}, "item 1 of column 'tags' is 3, not text", "f:2"),
        ({"words": ["a"], "tags": [None]}, "item 1 of column 'tags' is None, not text", "f:2"),
        ({"words": [None], "tags": ["X"]}, "item 1 of column 'words' is None, not text", "f:2"),
        ({"words": 5, "tags": ["X"]}, "column 'words' is neither a list nor text", "f:2"),
        ({"words": ["a"]}, "no column holds the tags: the columns are words", "f:2"),
        ({"tags": ["X"]}, "no column holds the words: the columns are tags", "f:2"),
        ({"words": ["a", "b"], "tags": ["X", " "]}, "the tag of word 2, 'b', is empty", "f:2"),
        ({"words": ["a", "b"], "tags": ["X", ""], "#lines": [7, 8]}, "the tag of word 2, 'b', is empty", "f:8"),
    ],
)
def test_a_bad_row_is_an_error_with_its_place(columns: dict[str, object], what: str, where: str) -> None:
    with pytest.raises(DataError) as caught:
        TASK.rows([Record({"words": ["a"], "tags": ["X"]}, "f:1"), Record(columns, "f:2")])
    assert (caught.value.what, caught.value.where, caught.value.exit_code) == (what, where, 2)


# ---------------------------------------------------------------- windows and answers


def test_tags_stand_on_first_pieces() -> None:
    row = Row(("is", "zz", "far"), ("VERB", "NOUN", "unseen"))
    tokenizer = make_tokenizer()
    (feature,) = TASK.encode([row], tokenizer, TAGS, 16)
    assert [tokenizer.id_to_token(i) for i in feature.input_ids] == ["[CLS]", "is", "z", "##z", "far", "[SEP]"]
    assert feature.words == (-1, 0, 1, -1, 2, -1)
    assert feature.labels == (-100, 2, 1, -100, -100, -100)
    assert feature.type_ids == (0,) * 6
    logits = np.eye(3, dtype=np.float32)[[0, 2, 1, 0, 0, 0]]
    assert TASK.decode([row], [feature], [{"logits": logits}], TAGS) == [("VERB", "NOUN", "ADV")]


def test_a_word_without_pieces_gets_the_first_label() -> None:
    row = Row(("is", "\u200b"))
    (feature,) = TASK.encode([row], make_tokenizer(), TAGS, 16)
    assert TASK.decode([row], [feature], [{"logits": np.eye(3)[[1, 2, 1]]}], TAGS) == [("VERB", "ADV")]


def test_a_long_row_is_read_in_windows_and_no_word_is_lost() -> None:
    row = Row(("is", "dham", "far") * 10, ("VERB", "NOUN", "ADV") * 10)
    features = TASK.encode([row], make_tokenizer(), TAGS, 12)
    assert len(features) > 2
    outputs = [{"logits": np.eye(3)[np.maximum(feature.labels, 0)]} for feature in features]
    assert TASK.decode([row], features, outputs, TAGS) == [row.tags]


def test_answers_say_where_each_word_stands() -> None:
    row = TASK.read_texts("Zoé  left!")
    assert TASK.answer(row, ("NOUN", "VERB", ".")) == [
        {"text": "Zoé", "tag": "NOUN", "start": 0, "end": 3},
        {"text": "left", "tag": "VERB", "start": 5, "end": 9},
        {"text": "!", "tag": ".", "start": 9, "end": 10},
    ]
    assert TASK.answer(Row(("a", "bc")), ("X", "Y"))[1] == {"text": "bc", "tag": "Y", "start": 2, "end": 4}


def test_predictions_are_compared_word_by_word() -> None:
    assert TASK.same(("X", "Y", "X"), ("X", "X", "X")) == [True, False, True]


# ---------------------------------------------------------------- scores


@given(st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1), min_size=1, max_size=6))
def test_scores_are_scikit_learns(sentences: list[list[tuple[str, str]]]) -> None:
    rows = [Row(("w",) * len(sentence), tuple(gold for gold, _ in sentence)) for sentence in sentences]
    score = TASK.score(rows, [tuple(results for _, results in sentence) for sentence in sentences], "test")
    gold, result = map(list, zip(*(pair for sentence in sentences for pair in sentence), strict=True))
    assert (score.metric, score.split, score.n) == ("token accuracy", "test", len(sentences))
    assert score.value == pytest.approx(accuracy_score(gold, result))
    assert score.more == {"macro F1": pytest.approx(f1_score(gold, result, average="macro", zero_division=0))}
    assert sum(item.support for item in score.per_type) == len(gold)
    names = [item.name for item in score.per_type]
    expected = f1_score(gold, result, labels=names, average=None, zero_division=0)
    assert [item.f1 for item in score.per_type] == pytest.approx(expected.tolist())


def test_scores_by_hand() -> None:
    rows = [Row(("a", "b", "c"), ("X", "X", "Y")), Row(("d",), ("Y",))]
    score = TASK.score(rows, [("X", "Y", "Y"), ("X",)], "dev")
    assert score.value == 0.5  # of words: X and Y right once each
    assert score.more["macro F1"] == pytest.approx(0.5)
    assert [(item.name, item.precision, item.recall, item.support) for item in score.per_type] == [
        ("X", 0.5, 0.5, 2), ("Y", 0.5, 0.5, 2)
    ]  # fmt: skip


def test_scores_need_a_tag_and_a_prediction_a_word() -> None:
    with pytest.raises(ValueError):
        TASK.score([Row(("a", "b"), ("X", "Y"))], [("X",)], "test")
    assert TASK.score([], [], "test").value == 0.0
