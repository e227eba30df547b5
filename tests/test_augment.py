"""Changed rows: what may change and what may not, and the words that are taken to be alike."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebert.data.augment import by_mixing, by_neighbours, by_noise, mask_word, words_of
from edgebert.data.neighbours import nearest_words, whole_words, word_classes
from edgebert.tasks import find_task
from edgebert.types import Row
from tests.conftest import make_tokenizer

WORD = st.sampled_from(["fly", "to", "oslo", "bonn", "now", "monday", "Rom"])
TAGGED = st.lists(st.tuples(WORD, st.sampled_from(["O", "B-C", "I-C"])), min_size=1, max_size=9).map(
    lambda pairs: Row(tuple(word for word, _ in pairs), tuple(tag for _, tag in pairs))
)
TEXT = st.lists(WORD, max_size=9).map(" ".join)
SINGLE = TEXT.map(lambda text: Row(text=text, labels=("a",)))
PAIR = st.tuples(TEXT, TEXT).map(lambda two: Row(text=two[0], second=two[1], score=0.5, answers=(("x", 0),), gold=(1,)))
ROWS = st.lists(TAGGED | SINGLE | PAIR, max_size=6)
CLASSES = {"fly": 0, "to": 0, "oslo": 1, "bonn": 1, "Rom": 1}
NEAREST = {"oslo": ("bonn", "Rom"), "fly": ("go",)}
SHARE = st.floats(0, 1)


def noise(rows: list[Row], n: int = 3, **changes: object) -> list[Row]:
    return by_noise(rows, n, mask="[MASK]", classes=CLASSES, **changes)  # type: ignore[arg-type]


@given(ROWS, st.integers(0, 4), st.integers(0, 9), SHARE, SHARE, SHARE)
def test_noise_keeps_words_and_tags_together(
    rows: list[Row], n: int, seed: int, p_mask: float, p_class: float, p_ngram: float
) -> None:
    result = noise(rows, n, seed=seed, p_mask=p_mask, p_class=p_class, p_ngram=p_ngram)
    known = {pair for row in rows for pair in zip(row.words, row.tags, strict=True)}
    for row in result:
        assert len(row.words) == len(row.tags)
        assert all(pair in known or pair[0] == "[MASK]" for pair in zip(row.words, row.tags, strict=True))
        assert (row.labels, row.score, row.answers, row.gold, row.offsets) == ((), None, (), (), ())
        assert row.labelled == bool(row.tags)
    assert len(result) <= n * len(rows)
    identities = [row.identity for row in (*dict.fromkeys(rows), *result)]
    assert len(set(identities[len(dict.fromkeys(rows)) :])) == len(result)  # no sample twice, none that is a row
    assert not {row.identity for row in rows} & {row.identity for row in result}
    assert result == noise(rows, n, seed=seed, p_mask=p_mask, p_class=p_class, p_ngram=p_ngram)


@given(st.lists(SINGLE, min_size=1, max_size=6), st.integers(0, 9))
def test_noise_puts_words_of_one_class_for_another(rows: list[Row], seed: int) -> None:
    for row in noise(rows, 1, p_mask=0, p_class=1, p_ngram=0, seed=seed):
        assert row.text is not None
        assert len(row.text.split()) in {len((item.text or "").split()) for item in rows}
        before = Counter(word for item in rows for word in (item.text or "").split())
        assert all(word in before for word in row.text.split())


@given(TAGGED, st.integers(0, 9))
def test_an_ngram_is_a_part_of_the_row_with_its_tags(row: Row, seed: int) -> None:
    for created in noise([row], 5, p_mask=0, p_class=0, p_ngram=1, seed=seed):
        assert 1 <= len(created.words) <= 5
        parts = [
            (row.words[i : i + len(created.words)], row.tags[i : i + len(created.tags)]) for i in range(len(row.words))
        ]
        assert (created.words, created.tags) in parts


@given(ROWS, st.integers(0, 4), st.integers(0, 9), SHARE)
def test_neighbours_replace_words_and_say_nothing_of_their_tags(
    rows: list[Row], n: int, seed: int, share: float
) -> None:
    result = by_neighbours(rows, n, NEAREST, share=share, seed=seed)
    assert len(result) <= n * len(rows)
    assert all(row.tags == row.labels == () and not row.labelled for row in result)
    lengths = {len(text) for text in words_of(rows)} | {0}
    assert {len(text) for text in words_of(result)} <= lengths
    assert result == by_neighbours(rows, n, NEAREST, share=share, seed=seed)


@given(ROWS, st.integers(0, 20), st.integers(0, 9))
def test_a_mixed_row_is_the_beginning_of_one_and_the_end_of_another(rows: list[Row], n: int, seed: int) -> None:
    result = by_mixing(rows, n, seed=seed)
    assert len(result) <= n and result == by_mixing(rows, n, seed=seed)
    for created in result:
        assert (
            not (created.labelled or created.labels or created.tags or created.answers or created.gold)
            and created.score is None
        )
        if created.second is not None:
            assert created.text in [row.text for row in rows] and created.second in [row.second for row in rows]
            continue
        words, every = list(created.words) or (created.text or "").split(), words_of(rows)
        cuts = range(len(words) + 1)
        assert any(
            any(words[:cut] == list(item[:cut]) for item in every)
            and any(words[cut:] == list(item[len(item) - len(words) + cut :]) for item in every)
            for cut in cuts
        )


def test_rows_without_a_word_are_not_mixed() -> None:
    empty = Row(text="", labels=("a",))
    assert by_mixing([empty, empty], 5) == []
    assert {created.text for created in by_mixing([empty, Row(text="to go", labels=("b",))], 40)} == {
        "to go",
        "go",
        "to",
    }


def test_two_rows_are_mixed_in_the_way_that_their_task_reads_them() -> None:
    rows = [Row(("fly", "to"), ("O", "O")), Row(("is", "far"), ("B-C", "O"))]
    assert {created.words for created in by_mixing(rows, 60)} == {
        *((*item, *two) for item in (("fly",), ("fly", "to")) for two in (("far",), ("is", "far"))),
        *((*item, *two) for item in (("is",), ("is", "far")) for two in (("to",), ("fly", "to"))),
    }
    assert by_mixing(rows[:1], 5) == []


def test_by_hand_where_nothing_is_left_to_chance() -> None:
    row = Row(text="fly  to oslo", labels=("a",), group="g", head="h", where="x:1")
    assert noise([row], 2, p_mask=1, p_ngram=0) == [
        Row(text="[MASK] [MASK] [MASK]", group="g", head="h", where="x:1", labelled=False)
    ]
    assert by_neighbours([row], 1, {"oslo": ("bonn",)}, share=1) == [
        Row(text="fly to bonn", group="g", head="h", where="x:1", labelled=False)
    ]
    tagged = Row(("to", "oslo", "bonn"), ("O", "B-C", "B-C"), text="to oslo bonn", offsets=((0, 2), (3, 7), (8, 12)))
    for created in noise([tagged], 9, p_mask=0, p_class=1, p_ngram=0):
        assert created.words[0] == "to" and {*created.words[1:]} <= {"oslo", "bonn"}
        assert (created.tags, created.text, created.offsets, created.labelled) == (tagged.tags, None, (), True)


def test_shares_are_the_papers() -> None:
    row = Row(text=" ".join(["oslo"] * 20_000))
    (created,) = by_neighbours([row], 1, {"oslo": ("bonn",)})
    assert abs((created.text or "").split().count("bonn") / 20_000 - 0.4) < 0.02
    (created,) = noise([row, Row(text="bonn " * 20_000)], 1, p_ngram=0)[:1]
    counts = Counter((created.text or "").split())
    assert abs(counts["[MASK]"] / 20_000 - 0.1) < 0.01
    assert abs(counts["bonn"] / 20_000 - 0.05) < 0.01  # half of what is replaced, as both words are as frequent
    cut = noise([Row(text=f"{i} a b c d e f") for i in range(2000)], 1, p_mask=0, p_class=0)
    assert {len((row.text or "").split()) for row in cut} == {1, 2, 3, 4, 5}
    short = noise([Row(text=" ".join(f"{i}-{k}" for k in range(9))) for i in range(2000)], 1, p_mask=0, p_class=0)
    assert abs(len(short) / 2000 - 0.25) < 0.03


def test_of_a_pair_the_first_then_the_second_then_both_are_changed() -> None:
    rows = [Row(text="oslo", second="oslo", score=1.0)]
    assert [(row.text, row.second) for row in by_neighbours(rows, 3, {"oslo": ("bonn",)}, share=1)] == [
        ("bonn", "oslo"), ("oslo", "bonn"), ("bonn", "bonn"),
    ]  # fmt: skip
    kept = by_neighbours(rows, 3, {"oslo": ("bonn",)}, share=1, second=False)
    assert [(row.text, row.second) for row in kept] == [("bonn", "oslo")]


def test_samples_have_no_targets_but_the_tags_that_they_keep() -> None:
    tokenizer = make_tokenizer()
    text = by_neighbours([Row(text="is aville far", labels=("a",))], 1, {"far": ("late",)}, share=1)
    for task, labels in ((find_task("classify"), ("a", "b")), (find_task("classify").configured({"multi_label": True}), ("a", "b"))):  # fmt: skip
        assert task.encode(text, tokenizer, labels, 16)[0].targets == {}
    question = [Row(text="is aville far", second="yes far", answers=(("far", 4),))]
    result = by_neighbours(question, 1, {"far": ("late",)}, share=1, second=False)
    assert find_task("qa").encode(result, tokenizer, (), 16)[0].targets == {}
    assert find_task("qa").encode(question, tokenizer, (), 16)[0].targets != {}
    tagged = noise([Row(("is", "aville"), ("O", "B-C"))], 1, p_mask=1, p_ngram=0)
    (feature,) = find_task("ner").encode(tagged, tokenizer, ("O", "B-C"), 16)
    assert feature.input_ids == (2, 4, 4, 3)
    assert feature.labels == (-100, 0, 1, -100)


def test_the_mask_is_what_every_reader_knows() -> None:
    from tokenizers import Tokenizer, models

    other = Tokenizer(models.WordPiece({"[UNK]": 0, "<mask>": 1}, unk_token="[UNK]"))
    other.add_special_tokens(["[UNK]", "<mask>"])
    assert mask_word(make_tokenizer()) == "[MASK]"
    assert mask_word(make_tokenizer(), other) == "[UNK]"
    assert mask_word(Tokenizer(models.WordPiece({"a": 0}, unk_token="a"))) == ""


def test_words_that_keep_the_same_company_are_of_a_class() -> None:
    cities, days = ["oslo", "bonn", "rom"], ["monday", "friday", "sunday"]
    texts = [("fly", "to", city, "on", day) for city in cities for day in days]
    result = word_classes(texts, n=5)
    assert set(result) == {"fly", "to", "on", *cities, *days}
    assert len({result[word] for word in cities}) == len({result[word] for word in days}) == 1
    assert len(set(result.values())) == 5
    assert result == word_classes(texts, n=5)
    assert word_classes([()]) == {}
    assert set(word_classes([("a",), ("b",)]).values()) <= {0, 1}  # fewer words than classes


def test_nearest_words_by_hand() -> None:
    """Single tokens are compared with the vocabulary's words, others with the words of the text."""
    tokenizer = make_tokenizer()
    token = tokenizer.token_to_id
    angle = np.linspace(0, np.pi, tokenizer.get_vocab_size())  # all tokens on half a circle, in their order
    table = np.stack([np.cos(angle), np.sin(angle)], 1) * 3.0
    whole = whole_words(tokenizer, len(table))
    assert "##s" not in whole and "[MASK]" not in whole and whole["zebra"] == (token("zebra"),)
    result = nearest_words(["zebra", "Zebra", "zz", "zy", "a"], tokenizer, table, k=2)
    ids = [token("zebra") - 1, token("zebra") + 1]
    assert set(result["zebra"]) == {tokenizer.id_to_token(i) for i in ids}
    assert result["Zebra"] == result["zebra"]  # an uncased tokenizer: neither is the other's neighbour
    assert result["a"] == ("b", "c")
    assert result["zz"][0] == "zy" and result["zy"][0] == "zz"  # z ##z and z ##y
    assert result["zz"][1].lower() == "zebra"  # the text's words alone are asked: of the vocabulary, others are nearer


@pytest.mark.parametrize("k", [1, 500])
def test_no_more_neighbours_than_there_are(k: int) -> None:
    tokenizer = make_tokenizer()
    table = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 4))
    result = nearest_words(["zebra", "zz"], tokenizer, table, k=k)
    assert len(result["zebra"]) == min(k, len(whole_words(tokenizer, len(table))) - 1)
    assert result["zz"] == ("zebra",)
