"""Question answering: windows, spans, no-answer, and SQuAD's rules on numbers worked by hand."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgebert.errors import DataError, RequestError
from edgebert.tasks import Task, find_task
from edgebert.tasks.qa import QuestionAnswering, Span, f1_of, normal
from edgebert.types import Feature, Record, Row
from tests.conftest import CITIES, make_tokenizer

TASK = find_task("qa")
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
        ("the", [".", "x"], 0.0),  # an answer of which nothing is left does not count beside another
        ("l'été à Zürich", ["L’ÉTÉ à zürich"], 2 / 3),  # only ASCII punctuation goes: lété is not l’été
        ("b b c", ["b c c d"], 4 / 7),  # b and c once each in common, of 3 and 4 words
    ],
)  # fmt: skip
def test_f1_by_hand(found: str, right: list[str], f1: float) -> None:
    assert f1_of(found, right) == pytest.approx(f1)


def by_the_rules(found: str, right: list[str]) -> tuple[float, float]:
    """Exact match and F1 as SQuAD 2.0 states them, written without a look at the task."""

    def bare(text: str) -> list[str]:
        for mark in string.punctuation:
            text = text.replace(mark, "")
        return re.sub(r"\b(?:the|an|a)\b", " ", text.lower()).split()

    best_exact = best_f1 = 0.0
    for gold in [bare(item) for item in right if bare(item)] or [[]]:
        common = sum(min(n, Counter(gold)[word]) for word, n in Counter(bare(found)).items())
        precision, recall = common / max(1, len(bare(found))), common / max(1, len(gold))
        f1 = 2 * precision * recall / (precision + recall) if common else float(bare(found) == gold)
        best_exact, best_f1 = max(best_exact, float(bare(found) == gold)), max(best_f1, f1)
    return best_exact, best_f1


texts = st.lists(st.sampled_from(["The", "a", "an", "red", "Red,", "dog", "dogs", "–", ".", "İ", "U.S.", "3-4"]))


@given(texts.map(" ".join), st.lists(texts.map(" ".join), max_size=3))
def test_scores_follow_the_rules(found: str, right: list[str]) -> None:
    row = Row(answers=tuple((text, 0) for text in right))
    score = TASK.score([row], [(Span(found, 0, 1, 0.0),)], "test")
    assert (score.more["exact match"], score.value) == pytest.approx(by_the_rules(found, right))


def test_a_score_by_hand() -> None:
    """Exact, half, absent and said so, absent but answered, answered but said absent: F1 1, 0.5, 1, 0, 0."""
    golds = [["The dog!"], ["big dogs", "x"], [], [], ["dog"]]
    rows = [Row(answers=tuple((text, 0) for text in gold)) for gold in golds]
    results = [(Span(text, 0, 1, 0.0),) for text in ("dog", "the big dog", "", "dog", "")]
    score = TASK.score(rows, results, "test")
    assert (score.metric, score.split, score.n) == ("F1", "test", 5)
    assert score.value == pytest.approx(0.5) and score.more == {"exact match": pytest.approx(0.4)}


def perfect(features: list[Feature]) -> list[dict[str, np.ndarray]]:
    """Logits that point to the targets."""
    created = []
    for feature in features:
        n = len(feature.input_ids)
        start, end = np.full(n, -5.0), np.full(n, -5.0)
        start[feature.targets["start_positions"]] = 5.0
        end[feature.targets["end_positions"]] = 5.0
        created.append({"start_logits": start, "end_logits": end})
    return created


words = st.lists(st.sampled_from([*CITIES, "is", "far", "zebra", "new"]), min_size=1, max_size=60)


@settings(max_examples=60)
@given(words, st.integers(0, 59), st.integers(1, 9), st.sampled_from([12, 16, 24]))
def test_perfect_logits_give_the_answer_back(context: list[str], at: int, n: int, max_length: int) -> None:
    """Each word is one token, so an answer one longer than the shared quarter is whole in some window."""
    first = at % len(context)
    n = min(n, max_length // 4 + 1)
    answer = " ".join(context[first : first + n])
    start = len(" ".join(context[:first])) + (1 if first else 0)
    row = Row(text="is it far", second=" ".join(context), answers=((answer, start),))
    features = TASK.encode([row], make_tokenizer(), (), max_length)
    (result,) = TASK.decode([row], features, perfect(features), ())
    assert (result[0].text, result[0].start, result[0].end) == (answer, start, start + len(answer))
    for feature, output in zip(features, perfect(features), strict=True):  # and of each window that holds it
        if feature.targets["start_positions"]:
            assert TASK.decode([row], [feature], [output], ())[0][0] == result[0]


def test_windows_overlap_and_say_where_they_stand() -> None:
    row = Row(text="is it far", second="fly to dham or bton", answers=(("bton", 15),))
    features = TASK.encode([row], make_tokenizer(), (), 11)
    tokens = [[make_tokenizer().id_to_token(i) for i in feature.input_ids] for feature in features]
    assert all(len(token) <= 11 and token[0] == "[CLS]" and token.count("[SEP]") == 2 for token in tokens)
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


@pytest.mark.parametrize("stride", [0, 200])
def test_a_question_whose_characters_are_many_pieces_is_cut_too(stride: int) -> None:
    """NFKC makes three letters, here three tokens, of each ligature: a cut at a token would keep the whole character."""
    tokenizer = make_tokenizer()
    tokenizer.normalizer = normalizers.NFKC()
    row = Row(text="ﬃ " * 60, second="fly to dham " * 20, answers=(("dham", 7),))
    features = TASK.configured({"stride": stride}).encode([row], tokenizer, (), 24)
    assert max(len(feature.input_ids) for feature in features) == 24
    questions = {feature.type_ids.index(1) - 2 for feature in features}
    assert questions == {9}  # of the ten tokens that may stay, three whole ligatures
    assert features[0].targets["start_positions"] == features[0].spans.index((7, 11))


def test_a_window_without_room_for_both_texts_is_refused() -> None:
    row = Row(text="fly", second="dham", answers=(("dham", 0),))
    with pytest.raises(RequestError, match="4 tokens leave no room for a question and a context"):
        TASK.encode([row], make_tokenizer(), (), 4)
    assert len(TASK.encode([row], make_tokenizer(), (), 5)) == 1


def test_whitespace_belongs_to_no_answer() -> None:
    """Neither that of a token, as SentencePiece has it, nor that of an answer in the data."""
    tokens = ["<unk>", "<s>", "</s>", "▁fly", "▁to", "▁dham", "▁is", "▁far"]
    tokenizer = Tokenizer(models.Unigram([(token, -1.0) for token in tokens], 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    for kind in (tokenizer, make_tokenizer()):
        row = Row(text="is far", second="fly to dham ", answers=((" dham ", 6),))
        features = TASK.encode([row], kind, (), 24)
        ((best, *_),) = TASK.decode([row], features, perfect(features), ())
        assert (best.text, best.start, best.end) == ("dham", 7, 11)


def test_lone_surrogates_move_nothing() -> None:
    row = Row(text="is \ud800 far", second="fly \udc00 dham", answers=(("dham", 6),))
    features = TASK.encode([row], make_tokenizer(), (), 24)
    assert TASK.decode([row], features, perfect(features), ())[0][0].start == 6


def test_windows_of_a_row_are_weighed_together() -> None:
    """The best span of any window, the same span once, and the least of what the windows say for 'not here'."""
    row = Row(text="x", second="a b c")
    spans = (((-1, -1), (0, 1), (2, 3)), ((-1, -1), (2, 3), (4, 5)))
    features = [Feature(0, (0, 1, 2), (0,) * 3, spans=span) for span in spans]
    logits = [([3.0, 1.0, 2.0], [3.0, 0.0, 2.0]), ([-1.0, 2.5, 0.0], [0.5, 2.5, 1.0])]
    outputs = [{"start_logits": np.array(start), "end_logits": np.array(end)} for start, end in logits]
    (result,) = TASK.configured({"n_best": 3, "no_answer": 100.0}).decode([row], features, outputs, ())
    assert result == (Span("b", 2, 3, 5.0), Span("b c", 2, 5, 3.5), Span("a b", 0, 3, 3.0), Span("", -1, -1, -0.5))
    (absent,) = TASK.configured({"n_best": 1, "no_answer": -6.0}).decode([row], features, outputs, ())
    assert absent == (Span("", -1, -1, -0.5), Span("b", 2, 3, 5.0))
    assert TASK.same(result, result[:1]) == [True] and TASK.same(result, absent) == [False]


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
    result = tuned.decode(rows, features, outputs, ())[0]
    assert tuned.answer(rows[0], result)["text"] == "" and tuned.answer(rows[0], result)["start"] is None


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([(), ("v",), ("w",), ("v w",)])), min_size=1, max_size=9))
def test_no_other_margin_is_better(cases: list[tuple[int, tuple[str, ...]]]) -> None:
    """Every row's best span is v, with these margins of absence; every way to part them is tried."""
    rows = [Row(text="x", second="v w", answers=tuple((item, "v w".index(item)) for item in gold)) for _, gold in cases]
    features = [Feature(i, (0, 1, 2), (0,) * 3, spans=((-1, -1), (0, 1), (2, 3))) for i in range(len(cases))]
    end = np.array([0.0, 0.0, -20.0])
    outputs = [{"start_logits": np.array([margin, 0.0, -20.0]), "end_logits": end} for margin, _ in cases]

    def value(task: Task) -> float:
        return task.score(rows, task.decode(rows, features, outputs, ()), "dev").value

    tuned = TASK.tuned(rows, features, outputs, ())
    if all(gold for _, gold in cases):
        assert tuned is TASK
    else:
        assert value(tuned) == pytest.approx(max(value(TASK.configured({"no_answer": m - 0.5})) for m in range(-4, 6)))
        assert TASK.configured(json.loads(json.dumps(tuned.options()))) == tuned
        assert tuned.tuned(rows, features, outputs, ()) is tuned  # what is set stays


def test_the_answer_tells_its_place_and_its_rivals() -> None:
    prediction = (Span("a", 0, 1, 2.0), Span("b", 2, 3, 1.0))
    message = QuestionAnswering().answer(Row(), prediction)
    assert (message["text"], message["start"], message["end"]) == ("a", 0, 1)
    assert [item["score"] for item in message["candidates"]] == [0.7311, 0.2689]


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "dham", "answer_start": 7}], {"text": ["dham"], "answer_start": [7]}, "dham", ["dham"],
        {"text": "dham", "answer_start": 7}, [{"text": "dham", "answer_start": 5}],
    ],
)  # fmt: skip
def test_answers_are_read_in_every_usual_form(answers: object) -> None:
    record = Record({"text": "is it far", "second": "fly to dham", "answers": answers}, "f:1")
    (row,), notes = TASK.rows([record])
    assert row.answers == (("dham", 7),)
    moved = answers == [{"text": "dham", "answer_start": 5}]
    assert notes == (["1 answers did not stand where the data says and were found nearby"] if moved else [])


@pytest.mark.parametrize("answers", [None, "", [], {"text": [], "answer_start": []}])
def test_no_answer_in_every_usual_form(answers: object) -> None:
    record = Record({"text": "is it far", "second": "fly to dham", "answers": answers, "group": None}, "f:1")
    (row,), notes = TASK.rows([record])
    assert (row.answers, row.group, notes) == ((), "", [])


def test_a_moved_answer_is_the_nearest_one() -> None:
    """Also where occurrences overlap; a place before the first character is none."""
    columns = {"text": "x", "second": "ababa aba", "group": "letters"}
    starts = {3: 2, 8: 6, -4: 0, 99: 6}
    records = [Record({**columns, "answers": [{"text": "aba", "answer_start": s}]}, "f:1") for s in starts]
    rows, notes = TASK.rows(records)
    assert [row.answers[0][1] for row in rows] == list(starts.values())
    assert notes == ["4 answers did not stand where the data says and were found nearby"]
    assert {row.group for row in rows} == {"letters"}


@pytest.mark.parametrize(
    "answers",
    [
        "zebra", [{"text": "fly", "answer_start": 0}, {"text": "zebra", "answer_start": 0}], 3, [None], " ", [""],
        {"text": ["dham", "fly"], "answer_start": [7]}, {"text": ["dham"], "answer_start": 7}, {"text": None},
        [{"text": "dham", "answer_start": "7"}], [{"text": "dham", "answer_start": True}],
    ],
)  # fmt: skip
def test_answers_that_cannot_be_are_errors(answers: object) -> None:
    record = Record({"text": "is it far", "second": "fly to dham", "answers": answers}, "f.json:7")
    with pytest.raises(DataError, match="answer") as caught:
        TASK.rows([record])
    assert caught.value.where == "f.json:7" and caught.value.hint


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"text": 3}, "the text is 3, which is not text"), ({"text": None}, "the text is missing"),
        ({"second": 3.5}, "the second text is 3.5"), ({"second": None}, "the second text is missing"),
        ({"second": " "}, "the context is empty"),
    ],
)  # fmt: skip
def test_texts_that_are_none_are_errors(changed: dict[str, object], message: str) -> None:
    record = Record({"text": "is it far", "second": "fly to dham", "answers": "dham", **changed}, "f.json:7")
    with pytest.raises(DataError, match=message) as caught:
        TASK.rows([record])
    assert caught.value.where == "f.json:7"


def test_rows_without_a_question_are_left_out_and_told() -> None:
    records = [Record({"text": text, "second": "fly to dham", "answers": "dham"}, "f:1") for text in ("", "why", " ")]
    rows, notes = TASK.rows(records)
    assert [row.text for row in rows] == ["why"]
    assert notes == ["2 rows without a question left out"]


def test_a_split_without_any_answer_is_an_error() -> None:
    asked = Row(text="x", second="fly to dham")
    with pytest.raises(DataError, match="none of the 2 rows of the dev split has an answer"):
        TASK.check([asked, asked], "dev")
    TASK.check([asked, Row(text="x", second="fly", answers=(("fly", 0),))], "dev")


@pytest.mark.parametrize(
    "options", [{"stride": "-1"}, {"n_best": "0"}, {"max_answer_tokens": "0"}, {"no_answer": "nan"}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(RequestError, match=rf"qa\.{next(iter(options))}"):
        TASK.configured(options)


@pytest.mark.skipif(not SQUAD.exists(), reason="no ../shared/data/squad")
def test_perfect_logits_on_real_articles() -> None:
    """Whatever the tokenizer's tokens: the answer's words come back. Some end inside a token, as '3' of '3rd' does."""
    from edgebert.data.nested import squad_records
    from edgebert.modeling.checkpoint import load_tokenizer
    from edgebert.modeling.source import find_teacher

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


# ---------------------------------------------------------------- marks that a tokenizer drops


def letters(strip_accents: bool) -> Tokenizer:
    """WordPiece over letters of two scripts and their marks, with BERT's own normaliser."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz\u0301\u0308\u0928\u092e\u0938\u0924"]
    tokens += [f"##{token}" for token in [*tokens[4:], "\u094d", "\u0947", "\u093e"]]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


@pytest.mark.parametrize("strip_accents", [True, False])
@pytest.mark.parametrize(
    ("context", "answer", "kept"),
    [
        ("in a cafe\u0301 now", "cafe\u0301", "cafe\u0301"),
        ("in a cafe\u0301", "cafe\u0301", "cafe\u0301"),
        ("in a cafe\u0301 now", "cafe", "cafe\u0301"),  # the end grows over the mark
        (
            "say \u0928\u092e\u0938\u094d\u0924\u0947 now",
            "\u0928\u092e\u0938\u094d\u0924\u0947",
            "\u0928\u092e\u0938\u094d\u0924\u0947",
        ),
        ("say \u0938\u093e now", "\u0938\u093e", "\u0938\u093e"),  # a mark that takes room is kept by the normaliser
        ("no\u0308e\u0301\u0308 x", "no\u0308e\u0301\u0308", "no\u0308e\u0301\u0308"),
        ("a \u200bb\u00ad c", "\u200bb\u00ad", "b"),  # what no tokenizer reads is no part of an answer
    ],
)
def test_a_perfect_answer_that_ends_in_marks_scores_100(
    strip_accents: bool, context: str, answer: str, kept: str
) -> None:
    rows, notes = TASK.rows([Record({"text": "what is it", "second": context, "answers": [answer]}, "f:1")])
    assert rows[0].answers == ((kept, context.index(kept)),)
    grown = "1 answers ended between a letter and its marks and now end behind them"
    assert notes == ([grown] if answer == "cafe" else [])
    features = TASK.encode(rows, letters(strip_accents), (), 64)
    assert features[0].targets["start_positions"] > 0
    (result,) = TASK.decode(rows, features, perfect(features), ())
    assert result[0].text == kept
    assert TASK.score(rows, [result], "dev").more["exact match"] == 1.0


def test_every_window_has_the_types_of_the_template() -> None:
    """tokenizers 0.23 gives the second text the type 1 in the windows after the first, where the template says 0."""
    from tests.packages import TOKENIZERS

    row = Row(text="who wrote", second="The report was written by Ada in May. " * 9, labelled=False)
    windows = find_task("qa").encode([row], TOKENIZERS["xlm-roberta"](), (), 24)
    assert len(windows) > 2 and {type for window in windows for type in window.type_ids} == {0}
