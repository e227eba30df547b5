"""The task `ner`: values of every function, on made-up sentences and a toy tokenizer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgebert.data.conll import read_conll
from edgebert.errors import DataError, RequestError
from edgebert.tasks import find_task
from edgebert.tasks._encode import IGNORED, _owners
from edgebert.tasks.ner import TASK
from edgebert.types import Feature, Record, Row

LABELS = ("O", "B-X", "I-X")


def toy_tokenizer() -> Tokenizer:
    """WordPiece over the letters a, b and c: a token a letter; words above 40 letters are unknown, as in BERT."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "##a", "##b", "##c", "."]
    model = models.WordPiece(
        {token: i for i, token in enumerate(tokens)}, unk_token="[UNK]", max_input_chars_per_word=40
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


TOY = toy_tokenizer()


def row(*words: str, tags: str = "") -> Row:
    return Row(words, tuple(tags.split()))


def test_the_registry_finds_it() -> None:
    assert find_task("ner") is TASK
    assert (TASK.metric, TASK.head) == ("strict entity F1", "token-classification")


# ---------------------------------------------------------------- rows and labels


def test_rows_are_bio_whatever_was_written() -> None:
    records = read_conll(b"Anna I-PER\nBerg I-PER\nRiga I-LOC\n\nBen I-PER\nZoe B-PER\n", "f")
    rows, notes = TASK.rows([*records, Record({"words": [], "tags": []}, "f:9")])
    assert [item.tags for item in rows] == [("B-PER", "I-PER", "B-LOC"), ("B-PER", "B-PER")]
    assert [item.where for item in rows] == ["f:1", "f:5"]
    assert notes == ["tags are IOB1, read as BIO", "1 row without words left out"]


def test_a_bad_tag_has_its_own_line_even_after_an_empty_record() -> None:
    records = read_conll(b"Anna B-PER\n\nin O\nRiga LOC\n", "f")
    with pytest.raises(DataError, match="'LOC' is not an entity tag") as caught:
        TASK.rows([Record({"words": [], "tags": []}, "f:0"), *records])
    assert caught.value.where == "f:4"


def test_a_bad_tag_of_a_table_has_its_row() -> None:
    with pytest.raises(DataError) as caught:
        TASK.rows([Record({"words": ["a"], "tags": ["LOC"], "lines": [7]}, "f.jsonl:3")])
    assert caught.value.where == "f.jsonl:3"


def test_labels_hold_both_letters_of_each_type() -> None:
    rows = [row("a", "b", tags="B-z O"), row("c", "d", tags="B-geo-loc I-geo-loc")]
    assert TASK.labels(rows) == ("O", "B-geo-loc", "I-geo-loc", "B-z", "I-z")
    assert TASK.labels([row("a", tags="O")]) == ("O",)


@pytest.mark.parametrize(
    ("head", "labels", "indices"),
    [
        ("I-PER O B-PER", "O B-PER I-PER", [1, 2, 0]),
        ("O B-PERSON I-PERSON B-LOCATION I-LOCATION", "O B-loc I-loc", [0, 3, 4]),
        ("O B-ORG I-ORG", "O B-Organisation I-Organisation", [0, 1, 2]),
        ("O B-ORG", "O B-ORG I-ORG", None),  # the beginning alone is not enough
        ("LABEL_0 LABEL_1 LABEL_2", "O B-X I-X", None),
        ("O B-PER I-PER B-PERSON I-PERSON", "O B-PER I-PER", None),  # two of the head's are the same
        ("O B-PER I-PER", "O B-PER I-PER B-person I-person", None),
    ],
)
def test_match_labels(head: str, labels: str, indices: list[int] | None) -> None:
    assert TASK.match_labels(head.split(), labels.split()) == indices


# ---------------------------------------------------------------- encode and decode


def test_one_window_by_hand() -> None:
    rows = [row("ab", "c.", "\u200b", "cab", tags="O B-X O B-new")]
    assert TASK.encode(rows, TOY, LABELS, 16) == [
        Feature(
            row=0,
            input_ids=(2, 4, 8, 6, 10, 6, 7, 8, 3),  # [CLS] a ##b c . c ##a ##b [SEP]
            type_ids=(0,) * 9,
            words=(-1, 0, -1, 1, -1, 3, -1, -1, -1),  # the zero-width word gives no token
            labels=(-100, 0, -100, 1, -100, -100, -100, -100, -100),  # B-new is no label of the model
        )
    ]


def test_rows_without_tags_have_no_label_ids() -> None:
    assert [feature.labels for feature in TASK.encode([row("ab")], TOY, LABELS, 16)] == [()]


def test_windows_by_hand() -> None:
    # room 6, overlap 2: windows begin at tokens 0, 4 and 8 of the row
    features = TASK.encode([row(*"abcabcabcab")], TOY, LABELS, 8)
    assert [len(feature.input_ids) for feature in features] == [8, 8, 5]
    assert [[word for word in feature.words if word >= 0] for feature in features] == [
        [0, 1, 2, 3, 4],  # of words 4 and 5, in both: 4 has one neighbour at its right here, none at its left there
        [5, 6, 7, 8],
        [9, 10],
    ]


def test_a_word_cut_by_a_window_is_not_begun_again() -> None:
    features = TASK.encode([row("a" * 10, "b")], TOY, LABELS, 8)
    assert [feature.words.index(word) for feature, word in zip(features, (0, 1), strict=True)] == [1, 3]
    assert Counter(word for feature in features for word in feature.words if word >= 0) == {0: 1, 1: 1}


def test_rows_without_pieces_have_no_window() -> None:
    assert TASK.encode([row("\u200b"), row(), row("a")], TOY, LABELS, 8) == [
        Feature(2, (2, 4, 3), (0, 0, 0), (-1, 0, -1))
    ]
    assert TASK.encode([], TOY, LABELS, 8) == []


words = st.lists(st.one_of(st.text("abc.", min_size=1, max_size=50), st.sampled_from(["", "\u200b", "\ud800", "é"])))


@given(words, st.integers(8, 64))
def test_every_word_is_owned_once_and_nothing_is_cut(sentence: list[str], max_length: int) -> None:
    valid = ["?" if word == "\ud800" else word for word in sentence]
    whole = TOY.encode(valid, is_pretokenized=True)
    first = {word: token for token, word in reversed(list(enumerate(whole.word_ids))) if word is not None}
    features = TASK.encode([Row(tuple(sentence))], TOY, LABELS, max_length)
    owned = [(word, feature.input_ids[i]) for feature in features for i, word in enumerate(feature.words) if word >= 0]
    assert sorted(owned) == [(word, whole.ids[token]) for word, token in sorted(first.items())]
    assert all(len(feature.input_ids) <= max_length for feature in features)
    assert all((feature.input_ids[0], feature.input_ids[-1]) == (2, 3) for feature in features)
    assert all(len(feature.words) == len(feature.input_ids) == len(feature.type_ids) for feature in features)


@given(st.lists(st.text("abc", min_size=1, max_size=12), min_size=1), st.integers(8, 24))
def test_a_word_is_where_its_poorer_side_is_richest(sentence: list[str], max_length: int) -> None:
    tokenizer = toy_tokenizer()
    tokenizer.enable_truncation(max_length, stride=max_length // 4)
    encoding = tokenizer.encode(sentence, is_pretokenized=True)
    windows = [encoding, *encoding.overflowing]
    room, step = max_length - 2, max_length - 2 - max_length // 4
    n = sum(len(word) for word in sentence)
    start = 0
    owners = _owners([window.word_ids for window in windows], step)
    for word, text in enumerate(sentence):
        context = {}
        for k in range(len(windows)):
            place = start - k * step
            if 0 <= place < min(room, n - k * step):
                left = place if k else n
                right = room - 1 - place if k < len(windows) - 1 else n
                context[k] = min(left, right)
        window, token = owners[word]
        assert context[window] == max(context.values())
        assert token == start - window * step + 1  # after [CLS]
        start += len(text)


def test_very_long_rows() -> None:
    many = row(*(["ab", "c"] * 5000))
    owned = Counter(word for feature in TASK.encode([many], TOY, LABELS, 128) for word in feature.words if word >= 0)
    assert owned == dict.fromkeys(range(10_000), 1)
    (unknown,) = TASK.encode([row("a" * 10_000)], TOY, LABELS, 128)
    assert unknown.input_ids == (2, 1, 3)
    letters = toy_tokenizer()
    letters.model.max_input_chars_per_word = 2_000
    features = TASK.encode([row("b", "a" * 2_000, "c")], letters, LABELS, 128)
    assert [word for feature in features for word in feature.words if word >= 0] == [0, 1, 2]


def test_the_given_tokenizer_is_left_as_it_was() -> None:
    tokenizer = toy_tokenizer()
    tokenizer.enable_padding(length=32)
    before = tokenizer.to_str()
    (feature,) = TASK.encode([row("a")], tokenizer, LABELS, 16)
    assert feature.input_ids == (2, 4, 3)
    assert tokenizer.to_str() == before


def test_windows_without_room() -> None:
    with pytest.raises(RequestError, match="leave no room") as caught:
        TASK.encode([row("a")], TOY, LABELS, 2)
    assert "At least 3" in str(caught.value.hint)
    assert len(TASK.encode([row("a", "b")], TOY, LABELS, 3)) == 2


def named(logits: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [{"logits": logit} for logit in logits]


def test_decode_takes_the_first_piece_of_each_word() -> None:
    rows = [row("ab", "\u200b", "c"), row("a")]
    features = TASK.encode(rows, TOY, LABELS, 16)
    logits = [np.zeros((len(feature.input_ids), 3), np.float32) for feature in features]
    logits[0][1, 1] = 2  # a of ab: B-X
    logits[0][2, 2] = 9  # ##b: not asked
    logits[0][3, 2] = 3  # c: a stray I-X stays one
    logits[1][1, 0] = 1
    assert TASK.decode(rows, features, named(logits), LABELS) == [("B-X", "O", "I-X"), ("O",)]
    assert TASK.decode(rows, [], [], LABELS) == [("O", "O", "O"), ("O",)]
    with pytest.raises(ValueError, match="zip"):
        TASK.decode(rows, features, named(logits[:1]), LABELS)


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=6), st.sampled_from(LABELS)), min_size=1))
def test_perfect_logits_decode_to_the_tags(pairs: list[tuple[str, str]]) -> None:
    sentence = Row(tuple(word for word, _ in pairs), tuple(tag for _, tag in pairs))
    features = TASK.encode([sentence], TOY, LABELS, 10)
    logits = [np.eye(3)[[max(label, 0) for label in feature.labels]] for feature in features]
    assert TASK.decode([sentence], features, named(logits), LABELS) == [sentence.tags]
    assert all(
        (label == IGNORED) == (word < 0) for f in features for label, word in zip(f.labels, f.words, strict=True)
    )


# ---------------------------------------------------------------- score


def test_score_by_hand() -> None:
    rows = [
        row(*"abcd", tags="B-PER I-PER O B-LOC"),
        row(*"abc", tags="B-LOC O B-PER"),
        row(*"ab", tags="O O"),
    ]
    predictions = [
        ("B-PER", "I-PER", "O", "B-PER"),  # right; wrong type
        ("B-LOC", "I-LOC", "I-PER"),  # too long; a stray I- is no entity in the strict sense
        ("O", "B-ORG"),  # made up
    ]
    score = TASK.score(rows, predictions, "dev")
    # 4 gold entities, 4 predicted (PER, PER, LOC, ORG), 1 right
    assert (score.metric, score.split, score.n) == ("strict entity F1", "dev", 3)
    assert (score.precision, score.recall, score.value) == (0.25, 0.25, 0.25)
    assert [(item.name, item.precision, item.recall, item.f1, item.support) for item in score.per_type] == [
        ("LOC", 0.0, 0.0, 0.0, 2),
        ("PER", 0.5, 0.5, 0.5, 2),
        ("ORG", 0.0, 0.0, 0.0, 0),
    ]


def test_score_of_uneven_counts() -> None:
    rows = [row(*"abcde", tags="B-X B-X O B-X O")]
    score = TASK.score(rows, [("B-X", "B-X", "B-X", "O", "B-X")], "test")
    assert (score.precision, score.recall) == (2 / 4, 2 / 3)
    assert score.value == pytest.approx(2 * 2 / (4 + 3))


@pytest.mark.filterwarnings("error")
def test_score_without_entities_is_zero_and_silent() -> None:
    assert TASK.score([row("a", tags="O")], [("O",)], "dev").value == 0
    assert TASK.score([], [], "dev").n == 0
    missed = TASK.score([row("a", tags="B-X")], [("O",)], "dev")
    assert (missed.precision, missed.recall, missed.value) == (0, 0, 0)


def test_score_wants_a_prediction_a_word() -> None:
    for predictions in ([], [("O",)], [("O", "O", "O")]):
        with pytest.raises(ValueError):
            TASK.score([row("a", "b", tags="O O")], predictions, "dev")
    with pytest.raises(ValueError):
        TASK.score([row("a")], [("O",)], "dev")


# ---------------------------------------------------------------- text and answers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("show me o'clock, please!", "show me o'clock , please !"),
        ('("co-op" u.s.)', '( " co-op " u.s . )'),
        ("$5.50?!", "$ 5.50 ? !"),
        ("去北京tomorrow", "去 北 京 tomorrow"),
        ("(京)", "( 京 )"),
        ("...", ". . ."),
        ("\u00a0 a\u2003b\n", "a b"),
        ("", ""),
        ("カタカナ 한국어", "カタカナ 한국어"),
    ],
)
def test_words_of_text(text: str, expected: str) -> None:
    assert list(TASK.read_texts(text).words) == expected.split()


@given(st.text(st.sampled_from("ab .,'京\t\u200b😀-é\n")) | st.text())
def test_words_index_the_text_and_lose_only_whitespace(text: str) -> None:
    result = TASK.read_texts(text)
    assert result.text == text
    assert [text[start:end] for start, end in result.offsets] == list(result.words)
    edges = [edge for span in result.offsets for edge in span]
    assert edges == sorted(edges)
    assert all(start < end for start, end in result.offsets)
    assert "".join(result.words) == "".join(text.split())


def test_answer_points_into_the_text() -> None:
    result = TASK.read_texts("Fly from  New York,  to Riga.")
    prediction = ("O", "O", "B-from", "I-from", "O", "O", "B-to", "O")
    assert TASK.answer(result, prediction) == [
        {"text": "New York", "type": "from", "start": 10, "end": 18},
        {"text": "Riga", "type": "to", "start": 24, "end": 28},
    ]


def test_answer_without_a_text_joins_the_words_and_begins_at_stray_tags() -> None:
    assert TASK.answer(row("ab", "c", "d", "e"), ("I-X", "I-Y", "I-Y", "B-Y")) == [
        {"text": "ab", "type": "X", "start": 0, "end": 2},
        {"text": "c d", "type": "Y", "start": 3, "end": 6},
        {"text": "e", "type": "Y", "start": 7, "end": 8},
    ]
    assert TASK.answer(Row((), text="  "), ()) == []
    with pytest.raises(ValueError):
        TASK.answer(row("a", "b"), ("O",))
