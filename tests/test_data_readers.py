"""The readers: what they give for small files, and where their errors point."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebert.data.bio import entities, normalise, to_bio
from edgebert.data.conll import LINES, read_atis, read_conll
from edgebert.data.tables import read_csv, read_json, read_parquet
from edgebert.data.tagged import read_tagged
from edgebert.data.text import check_encoding
from edgebert.errors import DataError, RequestError
from edgebert.types import Record


def sentences(content: str | bytes) -> list[list[tuple[str, str]]]:
    data = content if isinstance(content, bytes) else content.encode()
    return [list(zip(r.columns["words"], r.columns["tags"], strict=True)) for r in read_conll(data, "f.conll")]


ANNA = [("Anna", "B-PER"), ("sleeps", "O")]
RIGA = [("Riga", "B-LOC")]


@pytest.mark.parametrize(
    "content",
    [
        "Anna\tB-PER\nsleeps\tO\n\nRiga\tB-LOC\n",
        "Anna B-PER\nsleeps   O\n\nRiga B-LOC",  # spaces, no line end at the end
        "Anna\tB-PER\r\nsleeps\tO\r\n\r\nRiga\tB-LOC\r\n",
        "\ufeffAnna\tB-PER\nsleeps\tO\n\nRiga\tB-LOC\n",
        "-DOCSTART- -X- O\n\nAnna NNP B-PER\nsleeps VB O\n\n-DOCSTART- -X- O\n\nRiga NNP B-LOC\n",
        "Anna\tB-PER\nsleeps\tO\n \t\nRiga\tB-LOC\n\n\n",  # a blank line may hold whitespace
        "# id = 7\nAnna\tB-PER\nsleeps\tO\n\n# text\nRiga\tB-LOC\n",
        "# id 7\nAnna B-PER\nsleeps O\n\n# text Riga\nRiga B-LOC\n",
        "#begin document (a)\nAnna\tB-PER\nsleeps\tO\n\n#end document\n\nRiga\tB-LOC\n",
    ],
)
def test_conll_styles_give_the_same_sentences(content: str) -> None:
    assert sentences(content) == [ANNA, RIGA]


def test_hash_words_are_words() -> None:
    text = "#fun\tO\n#\tO\nin\tO\n\n#Riga\tB-LOC\n"
    assert sentences(text) == [[("#fun", "O"), ("#", "O"), ("in", "O")], [("#Riga", "B-LOC")]]
    assert sentences(text.replace("\t", " ")) == sentences(text)


def test_odd_words_are_kept() -> None:
    text = "New York\tB-LOC\n\u00a0\tO\n\u2028\tO\n\tO\n"
    assert sentences(text) == [[("New York", "B-LOC"), ("\u00a0", "O"), ("\u2028", "O"), ("", "O")]]


def test_conll_records_know_their_lines() -> None:
    first, second = read_conll(b"-DOCSTART- O\n\na O\nb O\n\nc O\n", "f.conll")
    assert (first.where, first.columns[LINES]) == ("f.conll:3", [3, 4])
    assert (second.where, second.columns[LINES]) == ("f.conll:6", [6])


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("Anna\tB-PER\nsleeps\n", "f.conll:2"),
        ("Anna\tB-PER\nsleeps\tVB\tO\n", "f.conll:2"),
        ("Anna B-PER\n\nsleeps VB O\n", "f.conll:3"),
        ("Anna\nsleeps\n", "f.conll:1"),
        ("Anna\tB-PER\n\n#fun\n", "f.conll:3"),  # a word that lost its tag, not a comment
        ("Anna\tB-PER\n# late\n", "f.conll:2"),
    ],
)
def test_wrong_number_of_columns(content: str, where: str) -> None:
    with pytest.raises(DataError, match="column") as caught:
        sentences(content)
    assert caught.value.where == where
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n", "-DOCSTART- O\n"])
def test_files_without_words_give_no_records(content: str) -> None:
    assert sentences(content) == []


def test_latin_1_bytes_name_line_offset_and_the_way_out() -> None:
    content = "Anna\tB-PER\nZo\u00eb\tB-PER\n".encode("latin-1")
    with pytest.raises(DataError) as caught:
        read_conll(content, "f.conll")
    assert caught.value.where == "f.conll:2"
    assert "offset 13" in caught.value.what
    assert "--encoding latin-1" in str(caught.value.hint)
    assert read_conll(content, "f.conll", "latin-1")[0].columns["words"] == ["Anna", "Zo\u00eb"]


def test_utf_16_is_guessed_by_its_mark_and_read_on_request() -> None:
    content = "Anna\tB-PER\n".encode("utf-16")
    with pytest.raises(DataError) as caught:
        read_conll(content, "f.conll")
    assert "--encoding utf-16" in str(caught.value.hint)
    assert read_conll(content, "f.conll", "utf-16")[0].columns["words"] == ["Anna"]


def test_encoding_names() -> None:
    for name in ("utf-8", "latin-1", "utf-16"):
        check_encoding(name)
    for name in ("utf-9", "", "hex", "a\0b"):
        with pytest.raises(RequestError, match="unknown text encoding"):
            check_encoding(name)


def test_atis_splits_at_the_last_colon() -> None:
    (record,) = read_atis(b"\nat:O 10:30:B-time <=> when#which\n", "f")
    assert record.columns == {
        "words": ["at", "10:30"], "tags": ["O", "B-time"], LINES: [2, 2], "text": "at 10:30",
        "intent": "when#which",
    }  # fmt: skip
    assert record.where == "f:2"


@pytest.mark.parametrize(("content", "what"), [(b"a:O b:O\n", "<=>"), (b"a:O\nb <=> x", "<=>"), (b"a <=> x", "':'")])
def test_atis_errors(content: bytes, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        read_atis(content, "f")
    assert caught.value.where == "f:1"


def test_json_lines_and_lists() -> None:
    listed = read_json(b'[{"words": ["a"]},\n {"words": ["b"]}]', "f.json")
    lined = read_json(b'{"words": ["a"]}\n\n{"words": ["b"]}\n', "f.json")
    assert [r.columns for r in listed] == [r.columns for r in lined] == [{"words": ["a"]}, {"words": ["b"]}]
    assert [r.where for r in listed] == ["f.json:item 1", "f.json:item 2"]
    assert [r.where for r in lined] == ["f.json:1", "f.json:3"]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'{"a": 1}\n{"a": \n', "f:2"),
        (b'[{"a": 1},\n}', "f:2"),
        (b'{"a": 1}\n[1]\n', "f:2"),
        (b"[1]", "f:item 1"),
        (b"[" * 100_000, "f:1"),
    ],
)
def test_json_errors(content: bytes, where: str) -> None:
    with pytest.raises(DataError) as caught:
        read_json(content, "f")
    assert caught.value.where == where


def test_csv_rows_know_their_first_line() -> None:
    content = b'words,tags\r\n"a ""b""",O O\r\n\r\n"c\nd",O O\r\ne,O\r\n'
    records = read_csv(content, "f.csv")
    assert [(r.where, r.columns["words"]) for r in records] == [
        ("f.csv:2", 'a "b"'),
        ("f.csv:4", "c\nd"),
        ("f.csv:6", "e"),
    ]


@pytest.mark.parametrize(("content", "where"), [(b"a,b\n1,2\n3\n", "f:3"), (b"a,b\n1,2,3\n", "f:2"), (b'a\n"x', "f:2")])
def test_csv_errors(content: bytes, where: str) -> None:
    with pytest.raises(DataError) as caught:
        read_csv(content, "f")
    assert caught.value.where == where


def test_parquet_names_what_datasets_numbered() -> None:
    import datasets

    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-LOC"])),
        }
    )
    rows = datasets.Dataset.from_dict({"tokens": [["in", "Riga"]], "ner_tags": [[0, 1]]}, features=features)
    buffer = io.BytesIO()
    rows.to_parquet(buffer)
    (record,) = read_parquet(buffer.getvalue(), "f.parquet")
    assert record.columns == {"tokens": ["in", "Riga"], "ner_tags": ["O", "B-LOC"]}
    assert record.where == "f.parquet:row 1"
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_parquet(buffer.getvalue()[:-20], "f.parquet")


# ---------------------------------------------------------------- columns


def tagged(**columns: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    row = read_tagged(Record(columns, "f:1"))
    return row.words, row.tags


def test_lists_text_and_json_text_are_the_same() -> None:
    wanted = (("in", "Riga"), ("O", "B-LOC"))
    assert tagged(words=["in", "Riga"], tags=["O", "B-LOC"]) == wanted
    assert tagged(tokens="in Riga", ner_tags="O B-LOC") == wanted
    assert tagged(tokens='["in", "Riga"]', labels='["O", "B-LOC"]') == wanted
    assert tagged(words="[ ok", ner="O O") == (("[", "ok"), ("O", "O"))


TEXT = "Anna leaves (New York)."


def test_spans_become_tags_of_whole_words() -> None:
    spans = [{"start": 13, "end": 21, "label": "LOC"}, {"start": 0, "end": 4, "label": "PER"}]
    row = read_tagged(Record({"text": TEXT, "entities": spans}, "f:1"))
    assert row.words == ("Anna", "leaves", "(", "New", "York", ")", ".")
    assert row.tags == ("B-PER", "O", "O", "B-LOC", "I-LOC", "O", "O")
    assert row.text == TEXT
    assert row.offsets == ((0, 4), (5, 11), (12, 13), (13, 16), (17, 21), (21, 22), (22, 23))
    as_text = '[{"start": 0, "end": 4, "label": "PER"}]'
    assert read_tagged(Record({"text": TEXT, "spans": as_text}, "f:1")).tags[0] == "B-PER"
    assert set(read_tagged(Record({"text": TEXT, "spans": []}, "f:1")).tags) == {"O"}


@pytest.mark.parametrize(
    ("spans", "what"),
    [
        ([{"start": 13, "end": 99, "label": "LOC"}], "13–99 .LOC. is not in the text of 23 characters"),
        ([{"start": 13, "end": 9, "label": "LOC"}], "ends before it starts"),
        ([{"start": -3, "end": 9, "label": "LOC"}], "is not in the text"),
        ([{"start": float("inf"), "end": 9, "label": "LOC"}], "is inf, which is no whole number"),
        ([{"start": float("nan"), "end": 9, "label": "LOC"}], "is nan, which is no whole number"),
        ([{"start": True, "end": 9, "label": "LOC"}], "is True, which is no whole number"),
        ([{"start": "a", "end": 9, "label": "LOC"}], "is 'a', which is no whole number"),
        ([{"start": 0.5, "end": 9, "label": "LOC"}], "is 0.5, which is no whole number"),
        ([{"start": 0, "end": 4, "label": "A", "text": "Anne"}], "is 'Anna', where the file says 'Anne'"),
        ([None], "holds no spans"),
        ([{"from": 0, "end": 4, "label": "A"}], "holds no spans"),
        ("nothing", "holds no spans"),
    ],
)
def test_span_errors(spans: object, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        read_tagged(Record({"text": TEXT, "entities": spans}, "f:9"))
    assert caught.value.where == "f:9"


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"words": ["a", "b"], "tags": ["O"]}, "2 words but 1 tags"),
        ({"words": ["a"], "tags": [3]}, "is 3, not text"),
        ({"words": [None], "tags": ["O"]}, "is None, not text"),
        ({"words": 5, "tags": ["O"]}, "neither a list nor text"),
        ({"text": "a b", "label": "greeting"}, "no column holds the tags: the columns are text, label"),
        ({"words": ["a"], "tags": None}, "no column holds the tags"),
        ({"sentence": "a"}, "no column holds the words"),
        ({}, "no column holds the words: the columns are none"),
    ],
)
def test_column_errors(columns: dict[str, object], what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        read_tagged(Record(columns, "f:9"))
    assert caught.value.where == "f:9"
    whole_texts = "text" in columns  # which are no words: fit takes them for ner unless it is told
    assert ("A label for each whole text is read by --task classify." in str(caught.value.hint)) == whole_texts


# ---------------------------------------------------------------- tag schemes


@st.composite
def bio_sentence(draw: st.DrawFn) -> list[str]:
    """Valid BIO tags: runs of O, and entities of three types, one of which has a hyphen."""
    tags: list[str] = []
    for kind, length in draw(st.lists(st.tuples(st.sampled_from(["", "PER", "geo-loc", "x"]), st.integers(1, 4)))):
        tags += [f"{'I' if i else 'B'}-{kind}" if kind else "O" for i in range(length)]
    return tags


def to_iob1(tags: list[str]) -> list[str]:
    """B- only between two entities of one type that touch."""
    pairs = zip(["O", *tags], tags, strict=False)
    return [f"I-{tag[2:]}" if tag[0] == "B" and before[2:] != tag[2:] else tag for before, tag in pairs]


def to_last(tags: list[str], last: str, single: str) -> list[str]:
    """Marks the last word of an entity, and entities of one word."""
    out = []
    for tag, after in zip(tags, [*tags[1:], "O"], strict=False):
        ends = tag != "O" and after != f"I-{tag[2:]}"
        out.append(f"{single if tag[0] == 'B' else last}-{tag[2:]}" if ends else tag)
    return out


def in_place(i: int, j: int) -> str:
    return f"f:{10 * i + j}"


@given(st.lists(bio_sentence()))
def test_every_scheme_comes_back_as_the_same_bio(given_tags: list[list[str]]) -> None:
    wanted = [tuple(tags) for tags in given_tags]
    assert normalise(given_tags, in_place) == (wanted, [])
    assert normalise([to_iob1(tags) for tags in given_tags], in_place)[0] == wanted
    for last, single in ("ES", "LU"):
        assert normalise([to_last(tags, last, single) for tags in given_tags], in_place)[0] == wanted
    inside_m = [
        [tag.replace("I-", "M-", 1) if tag[0] == "I" else tag for tag in to_last(t, "E", "W")] for t in given_tags
    ]
    assert normalise(inside_m, in_place)[0] == wanted


STRAY = "1 tags that continue no entity of their type were read as the beginning of one"


@pytest.mark.parametrize(
    ("tags", "bio", "notes"),
    [
        ("I-A I-A B-A O", "B-A I-A B-A O", ["tags are IOB1, read as BIO"]),
        ("B-A I-A O I-A", "B-A I-A O B-A", [STRAY]),
        ("B-A I-B", "B-A B-B", [STRAY]),
        ("B-A I-A", "B-A I-A", []),
        ("S-A B-B E-B O", "B-A B-B I-B O", ["tags are BIOES, read as BIO"]),
        ("U-A B-B L-B O", "B-A B-B I-B O", ["tags are BILOU, read as BIO"]),
        ("W-A B-B M-B E-B", "B-A B-B I-B I-B", ["tags are BMEWO, read as BIO"]),
        ("S-A I-A", "B-A B-A", [
            "tags are BIOES, read as BIO",
            STRAY,
        ]),
    ],
)  # fmt: skip
def test_notes_say_what_was_read(tags: str, bio: str, notes: list[str]) -> None:
    assert normalise([tags.split()], in_place) == ([tuple(bio.split())], notes)


@pytest.mark.parametrize(
    ("tags", "place"),
    [
        ("B-A PER", "f:1"),
        ("B-A O 0", "f:2"),
        ("B-", "f:0"),
        ("NN VB", "f:0"),
        ("0", "f:0"),
        ("S-A O U-A", "f:2"),
    ],
)
def test_what_is_no_tag(tags: str, place: str) -> None:
    bad = tags.split()[int(place[2:])]
    with pytest.raises(DataError, match=f"'{bad}'") as caught:
        normalise([tags.split()], in_place)
    assert caught.value.where == place
    assert "BIO" in str(caught.value.hint)


def test_entities_take_stray_tags_for_beginnings() -> None:
    assert entities(["I-A", "I-A", "B-A", "I-B", "O", "I-B"]) == [("A", 0, 2), ("A", 2, 3), ("B", 3, 4), ("B", 5, 6)]
    assert to_bio(["O", "I-A"]) == (("O", "B-A"), 1)
