"""Tables as spreadsheets, pandas, corpora and annotation tools write them, and files that no memory could hold."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgebert.data import contents, load
from edgebert.data.delimited import read_csv, read_tsv
from edgebert.data.json_rows import read_json
from edgebert.data.lists import read_list
from edgebert.errors import DataError, EdgebertError
from edgebert.tasks import find_task
from edgebert.types import Dataset, Record

CLASSIFY = find_task("classify")
MULTI = CLASSIFY.configured({"multi_label": True})


def cells(records: list[Record]) -> list[list[Any]]:
    return [list(record.columns.values()) for record in records]


def loaded(path: Path, content: str | bytes, task: Any = CLASSIFY) -> Dataset:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load([str(path)], task)


def pairs(data: Dataset) -> set[tuple[str, tuple[str, ...]]]:
    return {(str(row.text), row.labels) for rows in data.splits.values() for row in rows}


# ---------------------------------------------------------------- CSV

TWO = [["a b, c", "pos"], ["d", "neg"], ["e", "pos"]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('text,label\n"a b, c",pos\nd,neg\ne,pos\n', ""),
        ('text,label\r"a b, c",pos\rd,neg\re,pos\r', ""),
        ("text;label\na b, c;pos\nd;neg\ne;pos\n", "separated by a semicolon"),
        ("text\tlabel\na b, c\tpos\nd\tneg\ne\tpos\n", "separated by a tab"),
        ("text|label\na b, c|pos\nd|neg\ne|pos\n", "separated by '|'"),
        ('text, label\n"a b, c", pos\nd, neg\ne, pos\n', "space behind a comma"),
        ('text,label,\n"a b, c",pos,\nd,neg,\ne,pos,\n', "column 3 has no name"),
        ('text,label\n"a b, c",pos,\nd,neg,,\ne,pos\n', "2 rows end in empty cells"),
        (',text,label\n0,"a b, c",pos\n1,d,neg\n2,e,pos\n', "counts the rows"),
        ('Unnamed: 0,text,label\n7,"a b, c",pos\n9,d,neg\n2,e,pos\n', "counts the rows"),
        ('"text","label"\n"1","a b, c","pos"\n"2","d","neg"\n"3","e","pos"\n', "as an index"),
        ("sep=;\ntext;label\na b, c;pos\nd;neg\ne;pos\n", "as the first line tells"),
        ('"a b, c",pos\nd,neg\ne,pos\n', "'pos' stands again in column 2"),
        ('text,label\n"a b, c",pos\nd,neg\ntext,label\ne,pos\n', "1 rows that repeat the header"),
    ],
)
def test_csv_is_read_as_pandas_reads_it_and_guesses_are_told(content: str, told: str) -> None:
    notes: list[str] = []
    assert cells(read_csv(content.encode(), "f", "utf-8", notes)) == TWO
    assert (told in " ".join(notes)) if told else notes == []


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("id,text,label,2024\n1,a,x,u\n2,b,y,v\n", ["id", "text", "label", "2024"]),  # a number may name a column
        ("0,1\na,x\nb,y\n", ["0", "1"]),  # as pandas names what has no name
        ("text,text,label\na,b,x\n", ["text", "text.1", "label"]),
        ("a,,label\nu,v,x\n", ["a", "column2", "label"]),
        ("4.5,a dog,the dog\n0,a cat,no cat\n", ["column1", "column2", "column3"]),
        ("this is a text that nobody would take for a name,x\nshort,y\n", ["column1", "column2"]),
    ],
)
def test_the_header_of_a_csv(content: str, names: list[str]) -> None:
    assert list(read_csv(content.encode(), "f")[0].columns) == names


def test_quotes_of_csv_and_tsv() -> None:
    notes: list[str] = []
    backslashed = read_csv(b'text,label\n"He said \\"hi\\", ok",pos\nb,neg\n', "f", "utf-8", notes)
    assert cells(backslashed)[0] == ['He said "hi", ok', "pos"] and "backslash" in notes[0]
    closed = read_csv(b'text,label\n"Great" film,pos\nb,neg\n', "f", "utf-8", notes)
    assert cells(closed)[0] == ["Great film", "pos"] and "line 2" in notes[1]
    assert cells(read_tsv(b'text\tlabel\n"say ""no""\nand go"\tpos\nb\tneg\n', "f")) == [
        ['say "no"\nand go', "pos"],
        ["b", "neg"],
    ]
    assert cells(read_tsv(b'text\tlabel\n"good\tpos\nbad"\tneg\n', "f", "utf-8", notes)) == [
        ['"good', "pos"],
        ['bad"', "neg"],
    ]
    assert "quotes are read as characters" in notes[2]
    with pytest.raises(DataError, match="never closed") as caught:
        read_csv(b'text,label\nfine,x\n"open,y\nmore,z\n', "f")
    assert caught.value.where == "f:3"


def test_a_long_cell() -> None:
    long = "word " * 40_000
    assert cells(read_csv(f'text,label\n"{long}",x\n'.encode(), "f")) == [[long, "x"]]
    assert cells(read_tsv(f"text\tlabel\n{long}\tx\n".encode(), "f")) == [[long, "x"]]


def test_whole_numbers_that_became_floats_are_told(tmp_path: Path) -> None:
    rows = "".join(f"row {i},{i % 2}.0\n" for i in range(20))
    data = loaded(tmp_path / "a.csv", f"text,label\n{rows}")
    assert data.labels == ("0", "1")
    assert "label: 20 whole numbers written as floats were read as such: 0.0 as 0, 1.0 as 1" in data.source.notes
    versions = "".join(f"row {i},{i % 2 + 1}.{i % 3}\n" for i in range(60))
    assert "1.0" in loaded(tmp_path / "a.csv", f"text,label\n{versions}").labels


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("['neg', 'food']", ["neg", "food"]),
        ("['neg' 'food']", ["neg", "food"]),
        ("['neg'\n 'food']", ["neg", "food"]),
        ('["neg", "it\'s"]', ["neg", "it's"]),
        ("['it\\'s', \"it's\"]", ["it's", "it's"]),
        ("array(['neg', 'food'], dtype=object)", ["neg", "food"]),
        ("[np.str_('neg'), np.str_('food')]", ["neg", "food"]),
        ("('neg',)", ["neg"]),
        ("{'neg', 'food'}", ["neg", "food"]),
        ("[neg, food]", ["neg", "food"]),
        ("[0 1 1]", [0, 1, 1]),
        ("[1, null]", [1, None]),
        ("[]", []),
        ("", None),
        ("neg", None),
        ("[neg]", None),
        ("(neg)", None),
        ("{'a': 1}", None),
        ("[see below] and more", None),
    ],
)
def test_lists_written_as_text(text: str, items: list[object] | None) -> None:
    assert read_list(text) == items


def test_a_list_that_numpy_cut_short_is_refused() -> None:
    with pytest.raises(DataError, match="left out the middle") as caught:
        read_list("['a' 'b' ... 'y' 'z']", "f:3")
    assert caught.value.where == "f:3"


@pytest.mark.parametrize(
    ("header", "several", "one"),
    [
        ("text,labels", "\"['neg', 'food']\"", "\"['pos']\""),
        ("text,labels", "['neg' 'food']", "['pos']"),
        ("text,labels", '"[""neg"", ""food""]"', '"[""pos""]"'),
        ("text,labels", '"neg, food"', "pos"),
        ("text,labels", "neg|food", "pos"),
        ("text,labels", "neg;food", "pos"),
        ("comment_text,neg,food,pos", "1,1,0", "0,0,1"),
        ("comment_text,neg,food,pos", "True,True,False", "False,False,True"),
    ],
)
def test_several_labels_a_row(header: str, several: str, one: str, tmp_path: Path) -> None:
    rows = "".join(f"row number {i},{several if i % 2 else one}\n" for i in range(20))
    data = loaded(tmp_path / "a.csv", f"{header}\n{rows}", MULTI)
    assert data.labels == ("food", "neg", "pos")
    assert pairs(data) == {(f"row number {i}", ("neg", "food") if i % 2 else ("pos",)) for i in range(20)}


def test_lists_of_flags_are_numbers_of_labels(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": f"row {i}", "labels": [1, 0, i % 2]}) + "\n" for i in range(20))
    data = loaded(tmp_path / "a.jsonl", rows, MULTI)
    assert pairs(data) == {(f"row {i}", ("0", "2") if i % 2 else ("0",)) for i in range(20)}
    assert any("of 0 to 2" in note for note in data.source.notes)


def test_a_comma_in_every_text_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 columns, but the header has 2") as caught:
        loaded(tmp_path / "a.csv", "text,label\n" + "".join(f"good, really {i},{i % 2}\n" for i in range(20)))
    assert caught.value.where == f"{tmp_path / 'a.csv'}:2"


def test_ten_columns_of_a_table_are_no_conllu(tmp_path: Path) -> None:
    names = ["index", *"abcdef", "sentence1", "sentence2", "score"]
    rows = [[str(i), *"uvwxyz", f"a text {i}", "another", f"{i % 5}.0"] for i in range(20)]
    (tmp_path / "a.tsv").write_text("".join("\t".join(row) + "\n" for row in [names, *rows]))
    assert {row.score for row in load([str(tmp_path / "a.tsv")], find_task("similarity")).splits["train"]} <= {
        0,
        0.2,
        0.4,
        0.6,
        0.8,
    }


def test_lists_of_one_label_are_that_label(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": f"row {i}", "label": ["pos" if i % 2 else "neg"]}) + "\n" for i in range(20))
    assert loaded(tmp_path / "a.jsonl", rows).labels == ("neg", "pos")
    data = loaded(
        tmp_path / "b.csv", "text,label\n" + "".join(f"row {i},{'pos|food' if i % 2 else 'pos'}\n" for i in range(20))
    )
    assert any("labels such as 'pos|food' may be several" in note for note in data.source.notes)


@pytest.mark.parametrize("hidden", ["-1", '""', "null", '"?"', '"unknown"', "-1.0"])
def test_a_test_set_without_labels_is_left_aside_and_told(hidden: str, tmp_path: Path) -> None:
    for split, n in (("train", 30), ("validation", 10)):
        rows = "".join(f'{{"sentence": "{split} {i}", "label": {i % 2}}}\n' for i in range(n))
        (tmp_path / f"{split}.jsonl").write_text(rows)
    (tmp_path / "test.jsonl").write_text("".join(f'{{"sentence": "t {i}", "label": {hidden}}}\n' for i in range(7)))
    data = load([str(tmp_path)], CLASSIFY)
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 27, "dev": 10, "test": 3}
    assert data.labels == ("0", "1") and any(
        "the labels of its 7 rows are hidden" in note for note in data.source.notes
    )
    (tmp_path / "test.jsonl").write_text("".join(f'{{"sentence": "t {i}"}}\n' for i in range(7)))
    assert len(load([str(tmp_path)], CLASSIFY).splits["test"]) == 3


def test_minus_one_is_a_label_where_train_has_it(tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = "".join(f"{split} {i},{i % 3 - 1 if split == 'train' else -1}\n" for i in range(30))
        (tmp_path / f"{split}.csv").write_text(f"text,label\n{rows}")
    data = load([str(tmp_path)], CLASSIFY)
    assert data.labels == ("-1", "0", "1") and len(data.splits["test"]) == 30


@pytest.mark.parametrize("label", ["\\ud800", "a\\udfff"])
def test_half_a_character_is_refused_with_its_place(label: str, tmp_path: Path) -> None:
    rows = "".join(f'{{"text": "row {i}", "label": "{label if i == 4 else i % 2}"}}\n' for i in range(20))
    with pytest.raises(DataError, match="half of a surrogate pair") as caught:
        loaded(tmp_path / "a.jsonl", rows)
    assert caught.value.where == f"{tmp_path / 'a.jsonl'}:5"


# ---------------------------------------------------------------- JSON

ROWS = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}, {"text": "c", "label": "x"}]


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "values", "table", "lines"])
def test_json_of_every_orient_of_pandas(orient: str) -> None:
    import pandas

    frame = pandas.DataFrame(ROWS)
    text = frame.to_json(orient="records", lines=True) if orient == "lines" else frame.to_json(orient=orient)
    assert cells(read_json(text.encode(), "f")) == [["a", "x"], ["b", "y"], ["c", "x"]]


@pytest.mark.parametrize(
    "value",
    [
        {"version": "1.0", "data": ROWS},
        {"features": [], "rows": [{"row_idx": i, "row": row, "truncated_cells": []} for i, row in enumerate(ROWS)]},
        {"rasa_nlu_data": {"common_examples": ROWS, "regex_features": []}},
        {"text": ["a", "b", "c"], "label": ["x", "y", "x"]},
        {"k1": ROWS[0], "k2": ROWS[1], "k3": ROWS[2]},
    ],
)
def test_json_objects_that_hold_a_table(value: object) -> None:
    notes: list[str] = []
    assert cells(read_json(json.dumps(value).encode(), "f", "utf-8", notes)) == [["a", "x"], ["b", "y"], ["c", "x"]]
    assert notes


@pytest.mark.parametrize(
    "value",
    [
        {"intents": [{"tag": "x", "patterns": ["a", "c"], "responses": ["z"]}, {"tag": "y", "patterns": ["b"]}]},
        {"x": ["a", "c"], "y": ["b"]},
    ],
)
def test_json_of_texts_by_label(value: object) -> None:
    assert sorted(cells(read_json(json.dumps(value).encode(), "f"))) == [["a", "x"], ["b", "y"], ["c", "x"]]


def test_json_splits_may_be_tables(tmp_path: Path) -> None:
    columns = {"text": [f"t {i}" for i in range(30)], "label": [i % 2 for i in range(30)]}
    data = loaded(tmp_path / "a.json", json.dumps({"train": columns, "test": {**columns, "text": ["u"] * 30}}))
    assert len(data.splits["test"]) == 30 and len(data.splits["train"]) == 27


def test_a_row_of_lists_is_a_row() -> None:
    row = {"tokens": ["fly", "home"], "tags": ["O", "O"]}
    assert read_json(json.dumps(row).encode(), "f")[0].columns == row


def test_a_key_named_twice_is_told() -> None:
    notes: list[str] = []
    assert cells(read_json(b'{"text": "a", "text": "b"}\n{"text": "c"}\n', "f", "utf-8", notes)) == [["b"], ["c"]]
    assert notes == ["1 rows name a key twice; the last value counts (text)"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"a": ' * 100_000, "nested too deep"),
        (b'{"text": "a", "label": ' + b"9" * 5000 + b"}", "thousands of digits"),
        (b'{"\\ud800": 1}', "half of a surrogate pair"),
        (b'[{"text": "a"}, ["a"]]', "a list, unlike the first, or where an object is needed|other columns"),
    ],
)
def test_odd_json_is_one_message(content: bytes, what: str) -> None:
    with pytest.raises(DataError, match=what):
        read_json(content, "f")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "9" * 40, "[1]", "{}", "[[]]"])
def test_labels_that_are_none(value: str, tmp_path: Path) -> None:
    rows = "".join(f'{{"text": "row {i}", "label": {value if i == 4 else i % 2}}}\n' for i in range(20))
    with pytest.raises(DataError, match=r"the label is|the row has no label") as caught:
        loaded(tmp_path / "a.jsonl", rows)
    assert caught.value.where == f"{tmp_path / 'a.jsonl'}:5"


# ---------------------------------------------------------------- labelled lines


@pytest.mark.parametrize(
    ("one", "other", "labels"),
    [
        ("__label__pos a fine film {}", "__label__neg , a dull one {}", ("neg", "pos")),
        ("NUM:date When was it , {} ?", "LOC:city Where is {} ?", ("LOC:city", "NUM:date")),
        ("1 a fine film {}", "0 a dull and slow one {}", ("0", "1")),
        ("ham\ta fine film {}", "spam\ta dull and slow one {}", ("ham", "spam")),
    ],
)
def test_lines_that_begin_with_their_label(one: str, other: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    data = loaded(tmp_path / "a.txt", "".join(f"{(one if i % 2 else other).format(i)}\n" for i in range(30)))
    assert data.labels == labels
    assert all("__label__" not in text and not text.startswith(("NUM", "1 ")) for text, _ in pairs(data))
    assert data.source.notes


def test_fasttext_lines_of_several_labels(tmp_path: Path) -> None:
    lines = "".join(f"__label__a {'__label__b ' if i % 2 else ''}row {i}\n" for i in range(20))
    data = loaded(tmp_path / "a.txt", lines, MULTI)
    assert pairs(data) == {(f"row {i}", ("a", "b") if i % 2 else ("a",)) for i in range(20)}
    with pytest.raises(DataError, match="the label is a list"):
        load([str(tmp_path / "a.txt")], CLASSIFY)


def test_lines_without_a_label_are_no_conll(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="in which no labels are found") as caught:
        loaded(tmp_path / "a.txt", "a film\nanother one of those\n" * 10)
    assert "__label__" in str(caught.value.hint)


# ---------------------------------------------------------------- what files are

CSV = "text,label\n" + "".join(f"row {i},{i % 2}\n" for i in range(20))


def _zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("rows.csv", content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zip", _zip)]
)
def test_compressed_files(ending: str, pack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"rows.csv{ending}"
    assert pairs(loaded(path, pack(CSV.encode()))) == {(f"row {i}", (f"{i % 2}",)) for i in range(20)}
    assert len(load([str(tmp_path)], CLASSIFY).splits["train"]) == 16
    with pytest.raises(DataError, match=r"no complete|cannot be read"):
        loaded(path, pack(CSV.encode())[:-20])
    monkeypatch.setattr(contents, "MAX_BYTES", 2**20)
    with pytest.raises(DataError, match="the file holds more than 1 MB"):
        loaded(path, pack(b"a" * 3 * 2**20))


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nothing")
    for name, what in (("pipe.csv", "a pipe"), ("loop.csv", "this link"), ("gone.csv", "this link")):
        with pytest.raises(DataError, match=what):
            load([str(tmp_path / name)], CLASSIFY)
    for spec in ("/dev/zero", "train=/dev/zero"):
        with pytest.raises(DataError, match="a device, not a file"):
            load([spec], CLASSIFY)
    for spec in (f"./{'x' * 5000}.csv", f"./{'x' * 5000}/a.csv", "./a\0b.csv"):
        with pytest.raises(EdgebertError, match="no such file"):
            load([spec], CLASSIFY)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.truncate(contents.MAX_BYTES + 1)  # sparse
    with pytest.raises(DataError, match="the file holds more than 512 MB"):
        load([str(path)], CLASSIFY)


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.pkl", "rows.csv.zst", "data.arrow", "rows.tar"])
def test_formats_that_are_not_read_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which edgebert does not read"):
        loaded(tmp_path / name, b"PK\3\4")


def test_many_values_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(contents, "MAX_CELLS", 1000)
    with pytest.raises(DataError, match="more than 1,000 lines, cells or values"):
        loaded(tmp_path / "a.csv", "a,b\n" * 600)


def _parquet(columns: dict[str, Any]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


def test_parquet_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    import pyarrow

    path = tmp_path / "rows.parquet"
    twice = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 20_000, pyarrow.int32()), ["x" * 100_000])
    for content, what in (
        (_parquet({"text": twice}), "MB of text unpacked"),  # 2 GB out of a few kB
        (_parquet({"tokens": pyarrow.ListArray.from_arrays([0, 20_000], twice)}), "MB of text unpacked"),
        (_parquet({"text": pyarrow.nulls(3_000_000)}), "3,000,000 rows"),
    ):
        assert len(content) < 10**6
        with pytest.raises(DataError, match=what):
            loaded(path, content)


def test_parquet_of_columns_named_twice(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    texts = pyarrow.array([f"row {i}" for i in range(20)])
    labels = pyarrow.array([i % 2 for i in range(20)])
    table = pyarrow.Table.from_arrays([texts, labels, labels], names=["text", "label", "label"])
    parquet.write_table(table, tmp_path / "rows.parquet")
    data = load([str(tmp_path / "rows.parquet")], CLASSIFY)
    assert data.labels == ("0", "1") and any("read as 'label.1'" in note for note in data.source.notes)


def test_a_row_may_lack_a_column_that_others_have(tmp_path: Path) -> None:
    rows = "".join(
        json.dumps({"text": f"row {i}", "label": i % 2} if i else {"label": 0, "text": "row 0"}) + "\n"
        for i in range(20)
    )
    assert len(pairs(loaded(tmp_path / "a.jsonl", '{"id": 1, "text": "z", "label": 1}\n' + rows))) == 21
    with pytest.raises(DataError, match="the row has no label") as caught:
        loaded(tmp_path / "a.jsonl", rows + '{"text": "bare"}\n')
    assert caught.value.where.endswith(":21")


def test_utf_16_is_told_and_read(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        with pytest.raises(DataError) as caught:
            loaded(tmp_path / "a.csv", CSV.encode(encoding))
        message = str(caught.value.hint).rpartition("--encoding ")[2]
        assert message == encoding
        assert pairs(load([str(tmp_path / "a.csv")], CLASSIFY, encoding=message)) == {
            (f"row {i}", (f"{i % 2}",)) for i in range(20)
        }
    tagged = "".join(f"word{i}\tB-X\nends\tO\n\n" for i in range(20))
    (tmp_path / "a.conll").write_bytes(tagged.encode("utf-16"))
    assert len(load([str(tmp_path / "a.conll")], find_task("ner"), encoding="utf-16").splits["train"]) == 16


def test_a_message_is_one_short_line_whatever_it_quotes() -> None:
    what = DataError(f"'{'x' * 50_000}\n\x1b[31m' is not a label").what
    assert len(what) <= 600 and what.startswith("'xxx") and what.endswith("x\\n\\x1b[31m' is not a label")
