"""The task `pair`: segment ids, undecided rows, and scores equal to scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_recall_fscore_support
from sklearn.utils.class_weight import compute_class_weight

from edgebert.errors import DataError
from edgebert.tasks import find_task
from edgebert.tasks.pair import TASK, Pair, matthews
from edgebert.types import Record, Row
from tests.conftest import make_tokenizer

NLI = ("contradiction", "entailment", "neutral")


def record(where: str = "f.jsonl:1", **columns: object) -> Record:
    return Record(columns, where)


def labelled(*labels: str) -> list[Row]:
    return [Row(text=f"a {i}", second=f"b {i}", labels=(label,)) for i, label in enumerate(labels)]


def ranking(best: str, labels: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """The best label first, the others behind."""
    rest = [label for label in labels if label != best]
    return ((best, 0.6), *((label, 0.4 / len(rest)) for label in rest))


def test_the_registry_finds_it_by_its_names() -> None:
    assert all(find_task(name) is TASK for name in ("pair", "paraphrase", "nli"))
    assert (TASK.metric, TASK.inputs) == ("accuracy", ("text1", "text2"))


# ---------------------------------------------------------------- rows


def test_rows_hold_both_texts() -> None:
    rows, notes = TASK.rows([record("f:4", text="a b", second="c", label=1)])
    assert rows == [Row(text="a b", second="c", labels=("1",), where="f:4")]
    assert notes == []


@pytest.mark.parametrize("value", ["-", -1, "-1", -1.0])
def test_undecided_rows_are_counted_and_left_out(value: object) -> None:
    records = [record(text="a", second="b", label=label) for label in ("neutral", value, value)]
    rows, notes = TASK.rows(records)
    assert [row.labels for row in rows] == [("neutral",)]
    assert notes == ["2 rows labelled '-' or -1, undecided, left out"]


@pytest.mark.parametrize(
    ("columns", "what", "hint"),
    [
        ({"text": " ", "second": "b", "label": "1"}, "the first text of the pair is empty", "complete the row"),
        ({"text": "a", "second": "", "label": "1"}, "the second text of the pair is empty", "complete the row"),
        ({"text": "a", "second": "", "label": "-"}, "the second text of the pair is empty", "complete the row"),
        ({"text": "a", "second": None, "label": "1"}, "the second text is missing", "needs a text"),
        ({"text": 3, "second": "b", "label": "1"}, "the text is 3, which is not text", "needs a text"),
        ({"text": "a", "label": "1"}, "no column holds the second: there is no other column", "--second-column"),
        ({"second": "b", "label": "1"}, "no column holds the text: there is no other column", "--text-column"),
        ({"text": "a", "second": "b"}, "no column holds the label: there is no other column", "--label-column"),
        ({"text": "a", "second": "b", "label": None}, "the row has no label", "text or a whole number"),
        ({"text": "a", "second": "b", "label": 3.7}, "the label is 3.7", "text or a whole number"),
    ],
)
def test_a_bad_row_is_an_error_with_its_place(columns: dict[str, object], what: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        TASK.rows([record("f:1", text="a", second="b", label="1"), Record(columns, "f:2")])
    assert (caught.value.what, caught.value.where, caught.value.exit_code) == (what, "f:2", 2)
    assert hint in str(caught.value.hint)


# ---------------------------------------------------------------- windows


def test_segment_ids_say_which_text_a_piece_is_of() -> None:
    tokenizer = make_tokenizer()
    rows = [
        Row(text="is dham far", second="fly to dham", labels=("yes",)),
        Row(text="far", second="is dham far", labels=("no",)),
        TASK.read_texts("far", "is"),
        Row(text="far", second="is", labels=("only in test",)),
    ]
    features = TASK.encode(rows, tokenizer, ("no", "yes"), 16)
    tokens = [" ".join(map(tokenizer.id_to_token, feature.input_ids)) for feature in features]
    assert tokens[:2] == ["[CLS] is dham far [SEP] fly to dham [SEP]", "[CLS] far [SEP] is dham far [SEP]"]
    assert features[0].type_ids == (0, 0, 0, 0, 0, 1, 1, 1, 1)
    assert features[1].type_ids == (0, 0, 0, 1, 1, 1, 1)
    assert [feature.targets for feature in features] == [{"labels": 1}, {"labels": 0}, {}, {}]


def test_the_longer_text_is_cut_first() -> None:
    tokenizer = make_tokenizer()
    row = Row(text="is dham far is dham far", second="fly to")
    (feature,) = TASK.encode([row], tokenizer, (), 9)
    tokens = " ".join(map(tokenizer.id_to_token, feature.input_ids))
    assert tokens == "[CLS] is dham far is [SEP] fly to [SEP]"
    assert feature.type_ids == (0, 0, 0, 0, 0, 0, 1, 1, 1)


# ---------------------------------------------------------------- answers and scores


def test_answers_by_hand() -> None:
    output = {"logits": np.log(np.array([0.2, 0.5, 0.3], np.float32))}
    (prediction,) = TASK.decode([Row()], [], [output], NLI)
    assert TASK.answer(Row(), prediction) == [
        {"label": "entailment", "score": 0.5},
        {"label": "neutral", "score": 0.3},
        {"label": "contradiction", "score": 0.2},
    ]
    other = ranking("entailment", NLI)
    assert TASK.same(prediction, other) == [True]
    assert TASK.same(prediction, ranking("neutral", NLI)) == [False]


@given(st.lists(st.tuples(st.sampled_from(NLI), st.sampled_from(NLI)), min_size=1, max_size=30))
def test_scores_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    gold, result = map(list, zip(*pairs, strict=True))
    score = TASK.score(labelled(*gold), [ranking(label, NLI) for label in result], "test")
    assert (score.metric, score.split, score.n) == ("accuracy", "test", len(pairs))
    assert score.value == pytest.approx(accuracy_score(gold, result))
    assert score.more == {
        "macro F1": pytest.approx(f1_score(gold, result, average="macro", zero_division=0)),
        "Matthews correlation": pytest.approx(matthews_corrcoef(gold, result)),
    }
    names = sorted({*gold, *result})
    columns = precision_recall_fscore_support(gold, result, average=None, zero_division=0, labels=names)
    expected = {name: pytest.approx(tuple(values)) for name, *values in zip(names, *columns, strict=True)}
    assert {item.name: (item.precision, item.recall, item.f1, item.support) for item in score.per_type} == expected


@given(st.lists(st.tuples(st.sampled_from("01"), st.sampled_from("01")), min_size=1, max_size=30))
def test_of_two_labels_the_last_has_an_f1_of_its_own(pairs: list[tuple[str, str]]) -> None:
    gold, result = map(list, zip(*pairs, strict=True))
    score = TASK.score(labelled(*gold), [ranking(label, ("0", "1")) for label in result], "test")
    assert score.more["F1 of 1"] == pytest.approx(f1_score(gold, result, pos_label="1", zero_division=0))
    assert score.more["Matthews correlation"] == pytest.approx(matthews_corrcoef(gold, result))


def test_scores_by_hand() -> None:
    gold, results = ["yes", "yes", "yes", "no", "no", "no"], ["yes", "yes", "no", "no", "no", "yes"]
    score = TASK.score(labelled(*gold), [ranking(label, ("no", "yes")) for label in results], "dev")
    assert score.value == pytest.approx(4 / 6)
    assert score.more["F1 of yes"] == pytest.approx(2 / 3)  # precision and recall are 2/3
    assert score.more["Matthews correlation"] == pytest.approx(1 / 3)  # (2·2 - 1·1) / sqrt(3·3·3·3)


def test_correlation_of_nothing_is_zero() -> None:
    assert matthews(["a", "b"], ["a", "a"]) == 0.0
    assert matthews([], []) == 0.0
    assert TASK.score([], [], "test").value == 0.0


def test_class_weights_are_scikit_learns_balanced_ones() -> None:
    gold = ["no"] * 5 + ["yes"] * 2
    expected = compute_class_weight("balanced", classes=np.array(["no", "yes"]), y=gold)
    assert Pair(class_weighting=True).class_weights(labelled(*gold), ("no", "yes")) == pytest.approx(tuple(expected))
    assert TASK.class_weights(labelled(*gold), ("no", "yes")) == ()


def test_labels_are_sorted_and_one_is_too_few() -> None:
    assert TASK.labels(labelled("yes", "no", "yes")) == ("no", "yes")
    with pytest.raises(DataError, match="every row to train on is 'yes'"):
        TASK.check(labelled("yes"), "train")
