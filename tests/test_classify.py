"""The task `classify`: rows, targets, rejection, several labels, and scores equal to scikit-learn's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, roc_auc_score
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils.class_weight import compute_class_weight

from edgebert.errors import DataError, RequestError
from edgebert.tasks import find_task
from edgebert.tasks._labels import auroc, ranked, rejection_threshold, sigmoid, softmax
from edgebert.tasks.classify import TASK, Classify, Prediction
from edgebert.types import Feature, Record, Row, Score
from tests.conftest import make_tokenizer

MULTI = Classify(multi_label=True)
NAMES = ("ask", "book", "call", "drop")


def record(where: str = "f.jsonl:1", **columns: object) -> Record:
    return Record(columns, where)


def labelled(*labels: str) -> list[Row]:
    return [Row(text=f"text {i}", labels=(label,)) for i, label in enumerate(labels)]


def logits(*probabilities: float) -> dict[str, np.ndarray]:
    """Float32 logits whose softmax are these probabilities."""
    return {"logits": np.log(np.array(probabilities, np.float32)) + np.float32(3)}


def answered(label: str | None, confidence: float = 0.5) -> Prediction:
    """A prediction of this label; None is rejected."""
    return Prediction((label,) if label else (), ((label or NAMES[0], confidence),))


def test_the_registry_finds_it_by_its_names() -> None:
    assert all(find_task(name) is TASK for name in ("classify", "intent", "sentiment", "classification"))
    assert (TASK.metric, MULTI.metric, TASK.head) == ("accuracy", "micro F1", "sequence-classification")


# ---------------------------------------------------------------- rows


def test_rows_keep_text_label_and_place() -> None:
    rows, notes = TASK.rows([record("f:1", text="  Zoë reist ", label=" go "), record("f:2", text="left 3", label=7)])
    assert rows == [
        Row(text="  Zoë reist ", labels=("go",), where="f:1"),
        Row(text="left 3", labels=("7",), where="f:2"),
    ]
    assert notes == []


@pytest.mark.parametrize(("value", "label"), [(0, "0"), (-1, "-1"), (2.0, "2"), (True, "true"), ("Ask me", "Ask me")])
def test_labels_become_text(value: object, label: str) -> None:
    assert TASK.rows([record(text="a", label=value)])[0][0].labels == (label,)


def test_rows_without_text_are_counted_and_left_out() -> None:
    rows, notes = TASK.rows([record(text=text, label="ask") for text in ("", "a", " \t\n", "\u3000")])
    assert [row.text for row in rows] == ["a"]
    assert notes == ["3 rows without a text left out"]
    assert TASK.rows([record(text="", label="ask")])[1] == ["1 row without a text left out"]


@pytest.mark.parametrize(
    ("columns", "what", "hint"),
    [
        ({"body": "a", "label": "x"}, "no column holds the text: the other columns are body", "--text-column"),
        ({"text": "a", "kind": "x"}, "no column holds the label: the other columns are kind", "--label-column"),
        ({}, "no column holds the text: there is no other column", "--text-column"),
        ({"text": None, "label": "x"}, "the text is missing", "needs a text"),
        ({"text": 5, "label": "x"}, "the text is 5, which is not text", "needs a text"),
        ({"text": 2.5, "label": "x"}, "the text is 2.5, which is not text", "needs a text"),
        ({"text": ["a"], "label": "x"}, "the text is ['a'], which is not text", "needs a text"),
        ({"text": "a", "label": None}, "the row has no label", "text or a whole number"),
        ({"text": "a", "label": "  "}, "the row has no label", "text or a whole number"),
        ({"text": "a", "label": 0.5}, "the label is 0.5", "text or a whole number"),
        ({"text": "a", "label": math.nan}, "the row has no label", "text or a whole number"),
        ({"text": "a", "label": {"x": 1}}, "the label is {'x': 1}", "text or a whole number"),
        ({"text": "a", "label": ["x"]}, "the label is a list: ['x']", "classify.multi_label=true"),
    ],
)
def test_a_bad_row_is_an_error_with_its_place(columns: dict[str, object], what: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        TASK.rows([record("f:1", text="fine", label="ask"), Record(columns, "f:2")])
    assert (caught.value.what, caught.value.where, caught.value.exit_code) == (what, "f:2", 2)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (["b", "a", "b"], ("b", "a")),
        ("b|a", ("b", "a")),
        (" b | |a|", ("b", "a")),
        ("", ()),
        ([], ()),
        (3, ("3",)),
        ([1, "x", 2.0], ("1", "x", "2")),
    ],
)
def test_several_labels_are_a_list_or_text_with_a_separator(value: object, labels: tuple[str, ...]) -> None:
    assert MULTI.rows([record(text="t", label=value)])[0][0].labels == labels


def test_the_separator_is_an_option() -> None:
    task = TASK.configured({"multi_label": "true", "separator": ", "})
    assert task.rows([record(text="t", label="a|b, c")])[0][0].labels == ("a|b", "c")


def test_rows_with_none_of_several_labels_are_told() -> None:
    rows, notes = MULTI.rows([record(text="t", label=value) for value in ("a", "", [])])
    assert len(rows) == 3 and notes == ["2 of 3 rows have none of the labels"]


@pytest.mark.parametrize("value", [None, ["a", None], ["a", 0.5], {"a": 1}, 0.5])
def test_several_labels_that_are_none_are_an_error(value: object) -> None:
    with pytest.raises(DataError, match="the labels are") as caught:
        MULTI.rows([record("f:9", text="t", label=value)])
    assert caught.value.where == "f:9"


def test_several_labels_need_their_column() -> None:
    with pytest.raises(DataError, match="no column holds the label: there is no other column"):
        MULTI.rows([record(text="t")])


@pytest.mark.parametrize(
    ("options", "what", "where"),
    [
        ({"threshold": "1.5"}, "1.5 is not a probability", "classify.threshold"),
        ({"threshold": "-0.1"}, "-0.1 is not a probability", "classify.threshold"),
        ({"threshold": "nan"}, "nan is not a probability", "classify.threshold"),
        ({"threshold": "half"}, "'half' cannot be read as float", "classify.threshold"),
        ({"separator": ""}, "the separator is empty", "classify.separator"),
        ({"multi_label": "true", "out_of_scope": "x"}, "multi_label has no out-of-scope", "classify.out_of_scope"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, str], what: str, where: str) -> None:
    with pytest.raises(RequestError, match=what) as caught:
        TASK.configured(options)
    assert caught.value.where == where


# ---------------------------------------------------------------- labels and targets


def test_labels_are_sorted_whatever_the_rows_order() -> None:
    assert TASK.labels(labelled("call", "ask", "call")) == ("ask", "call")
    assert MULTI.labels([Row(text="t", labels=("b", "a")), Row(text="u")]) == ("a", "b")


def test_few_out_of_scope_rows_are_no_class() -> None:
    rows = labelled(*["ask"] * 6, *["book"] * 2, *["OOS"] * 7)
    assert TASK.labels(rows) == ("ask", "book")  # an average class has 4 rows: 8 are enough, 7 are not
    assert TASK.labels([*rows, *labelled("oos")]) == ("OOS", "ask", "book", "oos")
    assert Classify(out_of_scope="").labels(rows) == ("OOS", "ask", "book")
    assert Classify(out_of_scope="book").labels(rows) == ("OOS", "ask")
    assert MULTI.labels(rows) == ("OOS", "ask", "book")


@pytest.mark.parametrize("name", ["oos", "ood", "out_of_scope", "Out-of-Scope", "OOS"])
def test_usual_out_of_scope_names_are_known_and_told(name: str) -> None:
    rows, notes = TASK.rows([record(text=f"t {i}", label=label) for i, label in enumerate(["a", "b", name, name])])
    assert TASK.labels(rows) == tuple(sorted(("a", "b", name)))  # two rows where an average class has one
    assert TASK.labels(rows[:3]) == ("a", "b")
    assert notes == [
        f"2 rows of '{name}' are out of scope: learnt as a class where train has 2 times an average class's rows, "
        "else told by low confidence; --set classify.out_of_scope= makes it a class like others"
    ]


def test_a_named_out_of_scope_label_is_told_too() -> None:
    records = [record(text=f"t {i}", label=label) for i, label in enumerate(["a", "none", "oos"])]
    task = TASK.configured({"out_of_scope": "none"})
    rows, (note,) = task.rows(records)
    assert note.startswith("1 rows of 'none' are out of scope: ") and "--set" not in note
    assert task.labels(rows) == ("a", "oos")
    assert TASK.configured({"out_of_scope": "nnoe"}).rows(records)[1] == ["no row has the out-of-scope label 'nnoe'"]
    assert TASK.configured({"out_of_scope": ""}).rows(records)[1] == []


def test_encoding_by_hand() -> None:
    rows = [
        Row(text="is dham far", labels=("book",)),
        Row(text="far", labels=("oos",)),
        Row(text="far", labels=("only in test",)),
        TASK.read_texts("far"),
    ]
    tokenizer = make_tokenizer()
    features = TASK.encode(rows, tokenizer, ("ask", "book"), 16)
    tokens = [[tokenizer.id_to_token(i) for i in feature.input_ids] for feature in features]
    assert tokens == [["[CLS]", "is", "dham", "far", "[SEP]"], *[["[CLS]", "far", "[SEP]"]] * 3]
    assert [feature.type_ids for feature in features] == [(0,) * 5, *[(0,) * 3] * 3]
    assert [feature.targets for feature in features] == [{"labels": 1}, {}, {}, {}]
    assert [feature.row for feature in features] == [0, 1, 2, 3]


def test_a_text_is_cut_to_its_window() -> None:
    (feature,) = TASK.encode([Row(text="is dham far is dham far")], make_tokenizer(), (), 5)
    assert feature.input_ids == TASK.encode([Row(text="is dham far")], make_tokenizer(), (), 5)[0].input_ids


def test_several_labels_give_a_number_each() -> None:
    rows = [Row(text="far", labels=("c", "a")), Row(text="far", labels=())]
    features = MULTI.encode(rows, make_tokenizer(), ("a", "b", "c"), 16)
    assert [feature.targets for feature in features] == [{"labels": (1.0, 0.0, 1.0)}, {"labels": (0.0, 0.0, 0.0)}]
    assert MULTI.model_settings(("a", "b")) == {"problem_type": "multi_label_classification"}
    assert TASK.model_settings(("a", "b")) == {"problem_type": "single_label_classification"}


@given(st.lists(st.sampled_from(NAMES), min_size=1))
def test_class_weights_are_scikit_learns_balanced_ones(given_labels: list[str]) -> None:
    rows, names = labelled(*given_labels, "oos"), sorted(set(given_labels))
    expected = compute_class_weight("balanced", classes=np.array(names), y=given_labels)
    assert Classify(class_weighting=True).class_weights(rows, names) == pytest.approx(tuple(expected))
    assert TASK.class_weights(rows, names) == ()


# ---------------------------------------------------------------- answers


def test_the_best_label_and_two_runners_up() -> None:
    prediction = TASK.decode([Row()], [Feature(0, (), ())], [logits(0.1, 0.5, 0.15, 0.25)], NAMES)[0]
    assert prediction.labels == ("book",) and prediction.confidence == pytest.approx(0.5)
    assert TASK.answer(Row(), prediction) == [
        {"label": "book", "score": 0.5},
        {"label": "drop", "score": 0.25},
        {"label": "call", "score": 0.15},
    ]


def test_low_confidence_is_rejected() -> None:
    task = Classify(threshold=0.6, out_of_scope="oos")
    sure, unsure = task.decode([Row()] * 2, [], [logits(0.7, 0.3), logits(0.45, 0.55)], ("ask", "book"))
    assert (sure.labels, unsure.labels) == (("ask",), ())
    assert task.answer(Row(), unsure) == [
        {"label": "oos", "score": 0.45},
        {"label": "book", "score": 0.55},
        {"label": "ask", "score": 0.45},
    ]
    assert Classify(threshold=0.6).answer(Row(), unsure)[0] == {"label": None, "score": 0.45}
    assert task.same(sure, replace(sure, ranked=unsure.ranked)) == [True]
    assert task.same(sure, unsure) == [False]


def test_a_learnt_out_of_scope_class_rejects_where_it_wins() -> None:
    labels = ("ask", "book", "oos")
    outputs = [logits(0.3, 0.2, 0.5), logits(0.5, 0.1, 0.4)]
    outside, inside = TASK.decode([Row()] * 2, [], outputs, labels)
    assert (outside.labels, inside.labels) == ((), ("ask",))
    assert [label for label, _ in outside.ranked] == ["ask", "book"]
    assert (outside.confidence, inside.confidence) == (pytest.approx(0.3), pytest.approx(0.5))
    (ordinary,) = Classify(out_of_scope="").decode([Row()], [], outputs[:1], labels)
    assert ordinary.labels == ("oos",)
    (strict,) = Classify(threshold=0.6).decode([Row()], [], outputs[1:], labels)
    assert strict.labels == ()


def test_of_several_labels_those_that_reach_the_threshold() -> None:
    outputs = [{"logits": np.array([math.log(v / (1 - v)) for v in row])} for row in ([0.6, 0.2, 0.9, 0.55], [0.3] * 4)]
    many, none = MULTI.decode([Row()] * 2, [], outputs, NAMES)
    assert (many.labels, none.labels) == (("ask", "call", "drop"), ())
    assert MULTI.answer(Row(), many) == [
        {"label": "call", "score": 0.9},
        {"label": "ask", "score": 0.6},
        {"label": "drop", "score": 0.55},
    ]
    assert MULTI.answer(Row(), none) == []
    strict = replace(MULTI, threshold=0.8).decode([Row()] * 2, [], outputs, NAMES)
    assert [item.labels for item in strict] == [("call",), ()]
    assert len(strict[0].ranked) == 3


def test_probabilities_of_large_logits_are_finite() -> None:
    with np.errstate(over="raise", invalid="raise"):
        assert softmax(np.array([1e4, -1e4, 0.0], np.float32)).tolist() == [1.0, 0.0, 0.0]
        assert sigmoid(np.array([1e4, -1e4, 0.0], np.float32)).tolist() == pytest.approx([1.0, 0.0, 0.5])


def test_of_equal_labels_the_first_wins() -> None:
    assert [label for label, _ in ranked(("b", "a", "c"), np.array([0.4, 0.4, 0.2]))] == ["b", "a", "c"]


# ---------------------------------------------------------------- thresholds


def test_the_threshold_is_worked_out_by_hand() -> None:
    """Rejecting 0.2 (outside), 0.4 (in scope, wrong) and 0.5 (outside) gains two rows; 0.6 is in scope and right."""
    assert rejection_threshold([(0.9, -1), (0.5, 1), (0.2, 1), (0.4, 0), (0.6, -1)]) == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("gains", "threshold"),
    [
        ([(0.3, 1), (0.5, -1), (0.7, 1), (0.9, -1)], 0.4),  # 0.4 and 0.8 gain one row each: the lower
        ([(0.3, -1), (0.5, 1)], 0.0),  # 0.75 would only make up for 0.3: none
        ([(0.3, 1), (0.3, -1), (0.6, 1)], 0.8),  # equal confidences are rejected together
        ([(0.3, 1), (0.3, -1)], 0.0),
        ([(1.0, 1)], 0.0),  # no threshold lies above certainty
        ([], 0.0),
    ],
)
def test_thresholds_at_the_edges(gains: list[tuple[float, int]], threshold: float) -> None:
    assert rejection_threshold(gains) == pytest.approx(threshold)


@given(st.lists(st.tuples(st.integers(0, 64).map(lambda i: i / 64), st.sampled_from([-1, 0, 1])), max_size=20))
def test_no_threshold_makes_more_rows_right(gains: list[tuple[float, int]]) -> None:
    def gain(threshold: float) -> int:
        return sum(value for confidence, value in gains if confidence < threshold)

    result = rejection_threshold(gains)
    tried = [i / 128 for i in range(129)]
    best = max(map(gain, tried))
    assert gain(result) == best
    assert all(gain(lower) < best for lower in tried if lower <= max((c for c, _ in gains if c < result), default=-1))


def tune(task: Classify, rows: list[Row], outputs: list[dict[str, np.ndarray]], labels: tuple[str, ...]) -> Classify:
    features = [Feature(i, (), ()) for i in range(len(rows))]
    return task.tuned(rows, features, outputs, labels)


def test_tuning_finds_threshold_and_name() -> None:
    rows = labelled("ask", "oos", "book", "ask")
    outputs = [logits(0.9, 0.1), logits(0.8, 0.2), logits(0.6, 0.4), logits(0.35, 0.65)]
    tuned = tune(TASK, rows, outputs, ("ask", "book"))
    # 0.6 and 0.65 are wrong anyway: rejecting them costs nothing, 0.8 gains a row, and 0.9 would lose one
    assert tuned.options() == {"out_of_scope": "oos", "threshold": pytest.approx(0.85)}
    predictions = TASK.configured(tuned.options()).decode(rows, [], outputs, ("ask", "book"))
    assert [prediction.labels for prediction in predictions] == [("ask",), (), (), ()]


def test_tuning_leaves_alone_what_it_should() -> None:
    outputs, labels = [logits(0.9, 0.1), logits(0.6, 0.4)], ("ask", "book")
    assert tune(TASK, labelled("ask", "book"), outputs, labels) is TASK
    mine = Classify(threshold=0.3)
    assert tune(mine, labelled("ask", "oos"), outputs, labels).options() == {"threshold": 0.3, "out_of_scope": "oos"}
    learnt = tune(TASK, labelled("ask", "oos"), [logits(0.9, 0.05, 0.05)] * 2, (*labels, "oos"))
    assert learnt.options() == {"out_of_scope": "oos"}
    ordinary = Classify(out_of_scope="")
    assert tune(ordinary, labelled("ask", "oos"), outputs, (*labels, "oos")) is ordinary


def test_after_tuning_every_usual_name_is_still_out_of_scope() -> None:
    tuned = tune(TASK, labelled("ask", "oos"), [logits(0.9, 0.1), logits(0.6, 0.4)], ("ask", "book"))
    score = tuned.score(labelled("ask", "OOD"), [answered("ask"), answered(None)], "test")
    assert (score.n, score.more["out-of-scope recall"]) == (1, 1.0)


def test_several_labels_are_tuned_to_the_best_micro_f1() -> None:
    rows = [Row(text="a", labels=("ask",)), Row(text="b", labels=("book",)), Row(text="c", labels=())]
    outputs = [
        {"logits": np.array([math.log(v / (1 - v)) for v in row])} for row in ([0.28, 0.22], [0.1, 0.33], [0.22, 0.1])
    ]
    tuned = tune(MULTI, rows, outputs, ("ask", "book"))
    assert tuned.threshold == 0.25  # of 19 twentieths the only one that keeps 0.28 and leaves 0.22
    assert tuned.score(rows, tuned.decode(rows, [], outputs, ("ask", "book")), "dev").value == 1.0
    mine = replace(MULTI, threshold=0.9)
    assert tune(mine, rows, outputs, ("ask", "book")) is mine
    same = tune(MULTI, rows, [{"logits": np.array([-9.0, -9.0])}] * 3, ("ask", "book"))
    assert same.threshold == 0.5  # nothing is better than anything


# ---------------------------------------------------------------- scores

PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1, max_size=30)


@given(PAIRS)
def test_scores_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    gold, result = map(list, zip(*pairs, strict=True))
    score = TASK.score(labelled(*gold), [answered(label) for label in result], "test")
    assert (score.metric, score.split, score.n) == ("accuracy", "test", len(pairs))
    assert score.value == pytest.approx(accuracy_score(gold, result))
    assert score.more == {"macro F1": pytest.approx(f1_score(gold, result, average="macro", zero_division=0))}
    names = sorted({*gold, *result})
    assert by_name(score) == dict(zip(names, expected(gold, result, names), strict=True))
    supports = [item.support for item in score.per_type]
    assert supports == sorted(supports, reverse=True)


def by_name(score: Score) -> dict[str, tuple[float, float, float, int]]:
    return {item.name: (item.precision, item.recall, item.f1, item.support) for item in score.per_type}


def expected(gold: object, found: object, labels: list[Any]) -> list[object]:
    """Precision, recall, F1 and support of each class, by scikit-learn."""
    columns = precision_recall_fscore_support(gold, found, average=None, zero_division=0, labels=labels)
    n = len(columns[3])
    return [pytest.approx(tuple(float(column[i]) for column in columns)) for i in range(n)]


@given(PAIRS, st.data())
def test_rejected_rows_in_scope_are_wrong_as_scikit_learn_counts_them(
    pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    gold = [label for label, _ in pairs]
    results = [data.draw(st.sampled_from([label, None])) for _, label in pairs]
    score = TASK.score(labelled(*gold), [answered(label) for label in results], "test")
    known = sorted({*gold, *(label for label in results if label)})
    filled = [label or "rejected" for label in results]
    assert score.value == pytest.approx(accuracy_score(gold, filled))
    assert score.more["macro F1"] == pytest.approx(
        f1_score(gold, filled, labels=known, average="macro", zero_division=0)
    )
    assert by_name(score) == dict(zip(known, expected(gold, filled, known), strict=True))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=30))
def test_auroc_is_scikit_learns_ties_included(drawn: list[tuple[bool, int]]) -> None:
    assume(len({outside for outside, _ in drawn}) == 2)
    positive, negative = ([value / 8 for outside, value in drawn if outside is side] for side in (True, False))
    expected = roc_auc_score([outside for outside, _ in drawn], [value for _, value in drawn])
    assert auroc(positive, negative) == pytest.approx(expected)
    rows = labelled(*("oos" if outside else "ask" for outside, _ in drawn))
    score = TASK.score(rows, [answered("ask", 1 - value / 8) for _, value in drawn], "test")
    assert score.more["out-of-scope AUROC"] == pytest.approx(expected)


def test_auroc_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="both sides"):
        auroc([], [0.5])
    with pytest.raises(ValueError, match="both sides"):
        auroc([0.5], [])


def test_out_of_scope_figures_by_hand() -> None:
    rows = labelled("ask", "ask", "book", "book", "oos", "oos", "oos")
    predictions = [
        answered("ask", 0.9), answered(None, 0.4), answered("ask", 0.8), answered("book", 0.7),
        answered(None, 0.3), answered("ask", 0.8), answered(None, 0.5),
    ]  # fmt: skip
    score = TASK.score(rows, predictions, "test")
    assert (score.value, score.n) == (0.5, 4)  # one of four rejected, one wrong
    # ask: precision 1/2, recall 1/2; book: precision 1, recall 1/2. Out-of-scope rows told as `ask` do not count here.
    assert score.more["macro F1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert score.more["out-of-scope recall"] == pytest.approx(2 / 3)
    # of the 12 pairs, in scope is surer in 4 (over 0.3), 1.5 (over 0.8: 0.9, and half of 0.8) and 3 (over 0.5)
    assert score.more["out-of-scope AUROC"] == pytest.approx(8.5 / 12)
    assert score.more["accuracy with rejection"] == pytest.approx(4 / 7)


def test_without_rows_in_scope_or_out_of_it_no_figure_is_made_up() -> None:
    score = TASK.score(labelled("oos"), [answered(None)], "test")
    assert (score.value, score.n, dict(score.more)) == (0.0, 0, {"macro F1": 0.0})
    assert TASK.score([], [], "test").value == 0.0
    assert MULTI.score([], [], "test").value == 0.0


SETS = st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=20)


@given(SETS, st.data())
def test_scores_of_several_labels_are_scikit_learns(gold: list[set[str]], data: st.DataObject) -> None:
    results = [data.draw(st.sets(st.sampled_from(NAMES))) for _ in gold]
    rows = [Row(text="t", labels=tuple(item)) for item in gold]
    score = MULTI.score(rows, [Prediction(tuple(item), ()) for item in results], "test")
    known = sorted(set().union(*gold, *results))
    assume(known)
    there = [NAMES.index(name) for name in known]
    binarizer = MultiLabelBinarizer(classes=NAMES).fit(gold)
    a, b = binarizer.transform(gold), binarizer.transform(results)
    assert (score.metric, score.n) == ("micro F1", len(gold))
    assert score.value == pytest.approx(f1_score(a, b, average="micro", zero_division=0))
    assert score.more["macro F1"] == pytest.approx(f1_score(a, b, average="macro", labels=there, zero_division=0))
    assert score.more["subset accuracy"] == pytest.approx(accuracy_score(a, b))
    assert by_name(score) == dict(zip(known, expected(a, b, there), strict=True))


def test_scores_need_a_prediction_a_row() -> None:
    with pytest.raises(ValueError):
        TASK.score(labelled("ask", "book"), [answered("ask")], "test")


def test_a_split_that_cannot_serve_is_refused() -> None:
    with pytest.raises(DataError, match="every row to train on is 'ask'"):
        TASK.check(labelled("ask", "ask"), "train")
    with pytest.raises(DataError, match="every row of the test split is out of scope"):
        TASK.check(labelled("oos", "OOD"), "test")
    with pytest.raises(DataError, match="none of the 1 rows of the dev split carries a label"):
        MULTI.check([Row(text="t")], "dev")
    TASK.check(labelled("ask", "book"), "train")
    Classify(out_of_scope="").check(labelled("oos"), "test")
