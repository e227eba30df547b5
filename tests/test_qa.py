"""Question answering: windows, spans, no-answer, and SQuAD's rules on numbers worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebert import registry
from edgebert.tasks.qa import QuestionAnswering, Span, f1_of, normal
from edgebert.types import Feature, Record, Row
from tests.conftest import CITIES, make_tokenizer

TASK = registry.task("qa")
SQUAD = Path("../shared/data/squad/dev-v1.1.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Answer.", "answer"), ("a.b.c.", "abc"), ("An apple, a day", "apple day"), ("theatre", "theatre"),
        ("", ""), ("the", ""), ("“quoted”", "“quoted”"), ("U.S.", "us"),
    ],
)  # fmt: skip
def test_normal_form(text: str, expected: str) -> None:
    assert normal(text) == expected


@pytest.mark.parametrize(
    ("found", "right", "f1"),
    [
        ("the big dog", ["big dogs"], 0.5),  # one of two words on either side
        ("dog dog", ["dog"], 2 / 3),  # a word counts as often as it stands there
        ("red", ["blue", "the red one"], 2 / 3),
        ("", [], 1.0), ("x", [], 0.0), ("", ["x"], 0.0), ("the", ["x"], 0.0), ("a", ["the"], 1.0),
    ],
)  # fmt: skip
def test_f1_by_hand(found: str, right: list[str], f1: float) -> None:
    assert f1_of(found, right) == pytest.approx(f1)


def perfect(features: list[Feature]) -> list[dict[str, np.ndarray]]:
    """Logits that point to the targets."""
    made = []
    for feature in features:
        n = len(feature.input_ids)
        start, end = np.full(n, -5.0), np.full(n, -5.0)
        start[feature.targets["start_positions"]] = 5.0
        end[feature.targets["end_positions"]] = 5.0
        made.append({"start_logits": start, "end_logits": end})
    return made


words = st.lists(st.sampled_from([*CITIES, "is", "far", "zebra", "new"]), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(words, st.integers(0, 59), st.integers(1, 4), st.sampled_from([12, 16, 24]))
def test_perfect_logits_give_the_answer_back(context: list[str], at: int, n: int, max_length: int) -> None:
    first = at % len(context)
    answer = " ".join(context[first : first + n])
    start = len(" ".join(context[:first])) + (1 if first else 0)
    row = Row(text="is it far", second=" ".join(context), answers=((answer, start),))
    features = TASK.encode([row], make_tokenizer(), (), max_length)
    if not any(feature.targets["start_positions"] for feature in features):
        return  # longer than what windows share: no window holds it whole
    (found,) = TASK.decode([row], features, perfect(features), ())
    assert (found[0].text, found[0].start) == (answer, start)


def test_windows_overlap_and_say_where_they_stand() -> None:
    row = Row(text="is it far", second="fly to dham or bton", answers=(("bton", 15),))
    features = TASK.encode([row], make_tokenizer(), (), 11)
    tokens = [[make_tokenizer().id_to_token(i) for i in feature.input_ids] for feature in features]
    assert all(len(one) <= 11 and one[0] == "[CLS]" and one.count("[SEP]") == 2 for one in tokens)
    for feature in features:
        assert [s for s, t in zip(feature.spans, feature.type_ids, strict=True) if not t] == [(-1, -1)] * 6
        targets = feature.targets
        whole = (15, 19) in [(a, b) for a, b in feature.spans]
        assert (feature.spans[targets["start_positions"]] == (15, 19)) == whole
        assert targets["start_positions"] > 0 or not whole


def test_a_long_question_leaves_room_for_the_context() -> None:
    row = Row(text="is far " * 40, second="fly to dham", answers=(("dham", 7),))
    features = TASK.encode([row], make_tokenizer(), (), 16)
    assert max(len(feature.input_ids) for feature in features) <= 16
    assert any(feature.targets["start_positions"] for feature in features)


def test_an_answer_is_neither_backwards_nor_long() -> None:
    row = Row(text="x", second="a b c d e")
    spans = ((-1, -1), *((2 * i, 2 * i + 1) for i in range(5)))
    feature = Feature(0, tuple(range(6)), (0,) * 6, spans=spans)
    start, end = np.zeros(6), np.zeros(6)
    start[4], end[2] = 9.0, 9.0  # backwards together
    start[1], end[5] = 5.0, 4.0  # five tokens together
    outputs = [{"start_logits": start, "end_logits": end}]
    best = lambda task: task.decode([row], [feature], outputs, ())[0][0].text  # noqa: E731
    assert best(TASK) == "a b"  # 5 + 9, before d to e (13)
    assert best(TASK.configured({"max_answer_tokens": 1})) in ("b", "d")


def test_the_margin_of_no_answer_is_the_best_on_these_rows() -> None:
    """Margins of absence 4, 1, -2, -5: absent, answered wrongly, absent, answered rightly."""
    rows = [
        Row(text="x", second="v w"), Row(text="x", second="v w", answers=(("w", 2),)),
        Row(text="x", second="v w"), Row(text="x", second="v w", answers=(("v", 0),)),
    ]  # fmt: skip
    features = [Feature(i, (0, 1, 2), (0,) * 3, spans=((-1, -1), (0, 1), (2, 3))) for i in range(4)]
    outputs = []
    for margin in (4.0, 1.0, -2.0, -5.0):
        start = np.array([margin, 0.0, -20.0])
        outputs.append({"start_logits": start, "end_logits": np.array([0.0, 0.0, -20.0])})
    tuned = TASK.tuned(rows, features, outputs, ())
    # absent where the margin is above -3.5: right, wrong either way (w was asked for), right, right
    assert tuned.no_answer == pytest.approx(-3.5)
    score = tuned.score(rows, tuned.decode(rows, features, outputs, ()), "dev")
    assert (score.value, score.more["exact match"]) == (0.75, 0.75)
    assert TASK.tuned(rows[1:2], features, outputs, ()).no_answer is None
    found = tuned.decode(rows, features, outputs, ())[0]
    assert tuned.answer(rows[0], found)["text"] == "" and tuned.answer(rows[0], found)["start"] is None


def test_the_answer_tells_its_place_and_its_rivals() -> None:
    prediction = (Span("a", 0, 1, 2.0), Span("b", 2, 3, 1.0))
    told = QuestionAnswering().answer(Row(), prediction)
    assert (told["text"], told["start"], told["end"]) == ("a", 0, 1)
    assert [one["score"] for one in told["candidates"]] == [0.7311, 0.2689]


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "dham", "answer_start": 7}], {"text": ["dham"], "answer_start": [7]}, "dham", ["dham"],
        [{"text": "dham", "answer_start": 5}],
    ],
)  # fmt: skip
def test_answers_are_read_in_every_usual_form(answers: object) -> None:
    record = Record({"text": "is it far", "second": "fly to dham", "answers": answers}, "f:1")
    (row,), notes = TASK.rows([record])
    assert row.answers == (("dham", 7),)
    moved = answers == [{"text": "dham", "answer_start": 5}]
    assert notes == (["1 answers did not stand where the data says and were found nearby"] if moved else [])


@pytest.mark.skipif(not SQUAD.exists(), reason="no ../shared/data/squad")
def test_perfect_logits_on_real_articles() -> None:
    """Whatever the tokenizer's pieces: the answer's words come back. Some end inside a piece, as '3' of '3rd' does."""
    from edgebert.data.nested import squad_records
    from edgebert.modeling.checkpoint import load_tokenizer
    from edgebert.teachers import find_teacher

    records = squad_records(json.loads(SQUAD.read_text(encoding="utf-8")), "squad")[:400]
    renamed = [
        Record(
            {"text": r.columns["question"], "second": r.columns["context"], "answers": r.columns["answers"]}, r.where
        )
        for r in records
    ]
    rows, _ = TASK.rows(renamed)
    features = TASK.encode(rows, load_tokenizer(find_teacher().folder), (), 192)
    score = TASK.score(rows, TASK.decode(rows, features, perfect(features), ()), "test")
    assert score.value > 0.99 and score.more["exact match"] > 0.98
