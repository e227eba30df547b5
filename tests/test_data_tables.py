"""Rows of the tasks that read whole texts: headers, nested JSON, CoNLL-U, columns, and what is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebert.data import load
from edgebert.data.columns import HEADER_NAMES, assign
from edgebert.data.conll import LINES, read_conllu
from edgebert.data.problems import problems
from edgebert.data.tables import read_csv, read_tsv
from edgebert.errors import DataError, EdgebertError, RequestError
from edgebert.tasks import TASKS, find_task
from edgebert.types import Record, Row

DATA = Path("../shared/data")


def records(*columns: dict) -> list[Record]:
    return [Record(column, f"f:{i}") for i, column in enumerate(columns, 1)]


def test_a_first_line_with_a_number_is_no_header() -> None:
    rows = read_csv(b"a dog,the dog,4.5\na cat,no cat,0\n", "f")
    assert [row.columns for row in rows] == [
        {"column1": "a dog", "column2": "the dog", "column3": "4.5"},
        {"column1": "a cat", "column2": "no cat", "column3": "0"},
    ]
    assert [row.where for row in rows] == ["f:1", "f:2"]
    assert read_csv(b"text,label\na,1\n", "f")[0].columns == {"text": "a", "label": "1"}
    assert read_tsv(b'say "hi"\tlabel\n"x\ty\n', "f")[0].columns == {'say "hi"': '"x', "label": "y"}


def test_usual_names_need_no_word() -> None:
    task = find_task("pair")
    given_rows = records({"Premise": "a", "hypothesis": "b", "gold_label": "yes", "id": 3})
    result, notes = assign(given_rows, task.columns, {})
    assert result[0].columns == {"id": 3, "text": "a", "second": "b", "label": "yes"} and notes == []


def test_what_no_name_tells_is_guessed_and_told() -> None:
    rows = records(*({"x": f"a text of some length {i}", "y": f"kind{i % 2}", "n": i} for i in range(9)))
    result, notes = assign(rows, find_task("classify").columns, {})
    assert (result[1].columns["text"], result[1].columns["label"]) == ("a text of some length 1", "kind1")
    guessed = ["text: read from the column 'x'", "label: read from the column 'y'"]
    assert notes == [*guessed, "columns that are not read: n"]
    result, notes = assign(
        records(*({"a": "one one", "b": "two", "c": 0.5} for _ in range(3))), find_task("similarity").columns, {}
    )
    assert result[0].columns == {"text": "one one", "second": "two", "score": 0.5}


def test_the_user_has_the_last_word() -> None:
    rows = records({"text": "old", "body": "new", "label": "x", "topic": "y"})
    result, _ = assign(rows, find_task("classify").columns, {"text": "body", "label": "topic"})
    assert (result[0].columns["text"], result[0].columns["label"]) == ("new", "y")
    with pytest.raises(RequestError, match=r"unknown column 'boby'.*\n.*body") as caught:
        assign(rows, find_task("classify").columns, {"text": "boby"})
    assert caught.value.where == "--text-column"


@given(st.lists(st.lists(st.text("ab c,\"'\n\t1.é", max_size=8), min_size=2, max_size=2), min_size=1))
def test_csv_round_trip(cells: list[list[str]]) -> None:
    import csv
    import io

    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([["text", "label"], *cells])
    result = read_csv(stream.getvalue().encode(), "f")
    assert [list(row.columns.values()) for row in result] == cells


CONLLU = b"""# text = dort zum Ort
1\tdort\tdort\tADV\t_\t_\t0\troot\t_\t_
2-3\tzum\t_\t_\t_\t_\t_\t_\t_\t_
2\tzu\tzu\tADP\t_\t_\t1\tcase\t_\t_
3\tdem\tder\tDET\t_\t_\t1\tdet\t_\t_
3.1\tleer\t_\t_\t_\t_\t_\t_\t_\t_

1\tOrt\tOrt\tNOUN\t_\t_\t0\troot\t_\t_
"""


def test_conllu_reads_words_and_universal_tags() -> None:
    first, second = read_conllu(CONLLU, "f")
    assert first.columns == {"words": ["dort", "zu", "dem"], "tags": ["ADV", "ADP", "DET"], LINES: [2, 4, 5]}
    assert (second.columns["words"], second.where) == (["Ort"], "f:8")


@pytest.mark.parametrize(
    ("line", "what"), [(b"1\ta\tb\n", "3 columns"), (b"x" + b"\t_" * 9 + b"\n", "'x' is no word id")]
)
def test_conllu_says_where(line: bytes, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        read_conllu(b"\n" + line, "f")
    assert caught.value.where == "f:2"


def test_splits_of_one_json_file(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    rows = {f"{kind}{split}": [[f"{kind}{split} {i}", f"{i % 2}" if not kind else "oos"] for i in range(1 if kind else 4)]
            for kind in ("", "oos_") for split in ("train", "val", "test")}  # fmt: skip
    path.write_text(json.dumps(rows | {"extra": [["a", "b"]]}))
    data = load([str(path)], find_task("classify"))
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 5, "dev": 5, "test": 5}
    assert data.labels == ("0", "1")  # one row in five is too few to learn oos as a class
    assert data.splits["dev"][0].where.endswith("all.json:val:item 1")
    assert "keys left aside: extra" in data.source.notes


def test_squad_is_carved_by_article(tmp_path: Path) -> None:
    articles = [
        {"title": f"t{a}", "paragraphs": [{"context": f"the number is {a}", "qas": [
            {"id": f"{a}-{q}", "question": f"which one {q}", "answers": [{"text": str(a), "answer_start": 14}]}
            for q in range(3)]}]}
        for a in range(10, 30)
    ]  # fmt: skip
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": articles}))
    data = load([str(path)], find_task("qa"))
    groups = [{row.group for row in rows} for rows in data.splits.values()]
    assert [len(group) for group in groups] == [16, 2, 2] and len(set.union(*groups)) == 20
    row = data.splits["train"][0]
    assert row.answers == ((row.group[1:], 14),) and row.second == f"the number is {row.group[1:]}"
    articles[3]["paragraphs"][0]["qas"][0]["answers"] = [{"text": "nowhere", "answer_start": 0}]
    path.write_text(json.dumps({"data": articles}))
    with pytest.raises(DataError, match="the context does not hold the answer 'nowhere'") as caught:
        load([str(path)], find_task("qa"))
    assert caught.value.where == f"{path}:article 4, paragraph 1, question 13-0"


def test_plain_lines_for_a_task_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"a line of text number {i}\n\n" for i in range(40)))
    data = load([str(path)], find_task("embed"))
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 32, "dev": 4, "test": 4}


def test_a_task_without_demo_data_asks_for_some() -> None:
    with pytest.raises(RequestError, match="no demo data for the task qa"):
        load([], find_task("qa"))


def test_problems_are_counted() -> None:
    def rows(*pairs: tuple[str, str]) -> list[Row]:
        return [Row(text=text, labels=(label,)) for text, label in pairs]

    message = problems({"train": rows(("a", "x"), ("a", "y"), *((f"b{i}", "x") for i in range(30)))})
    assert message == [
        "train: 1 texts stand there more than once, with different labels",
        "train: 1 labels have a single row: y",
        "train: labels are uneven, from 31 rows of 'x' to 1 of 'y'",
    ]
    leaking = rows(
        *((f"Refund please {i}", "refund") for i in range(5)), *((f"a LOST-card {i}", "lost_card") for i in range(5))
    )
    assert problems({"train": leaking}) == [
        "train: 2 of 2 labels stand by name in nearly all of their texts: lost_card, refund"
    ]
    assert problems({"train": rows(("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"))}) == []
    words = rows(("to", "O"), ("new", "B-CITY"), ("york", "I-CITY"), ("at", "O"), ("old", "B-CITY"), ("town", "I-CITY"))
    assert problems({"train": words}) == [
        "train: the labels are tags of words (B-CITY, I-CITY, O), which --task ner reads: is each row a word?"
    ]
    assert problems({"train": rows(("a", "O"), ("b", "A"), ("c", "O"), ("d", "A"))}) == [], "blood groups, say"


def test_a_label_of_the_test_split_alone_is_told(tmp_path: Path) -> None:
    for split, labels in (("train", "xy"), ("dev", "xy"), ("test", "xyz")):
        text = "text,label\n" + "".join(f"{split} {i} {label},{label}\n" for label in labels for i in range(3))
        (tmp_path / f"{split}.csv").write_text(text)
    notes = load([str(tmp_path)], find_task("classify")).source.notes
    assert any("labels that train never shows" in note and note.endswith("z (3)") for note in notes)


BAD = {
    "a missing column": ("classify", {"text": "a"}, "no column holds the label: there is no other column"),
    "a number for a text": ("classify", {"text": 3, "label": "x"}, "the text is 3, which is not text"),
    "no text at all": ("classify", {"text": None, "label": "x"}, "the text is missing"),
    "no label": ("classify", {"text": "a", "label": None}, "the row has no label"),
    "half a pair": ("pair", {"text": "a", "second": " ", "label": "x"}, "the second text of the pair is empty"),
    "a high score": ("similarity", {"text": "a", "second": "b", "score": "7"}, "the score 7 is outside 0 to 5"),
    "a low score": ("similarity", {"text": "a", "second": "b", "score": -1}, "the score -1 is outside 0 to 5"),
    "a score in words": ("similarity", {"text": "a", "second": "b", "score": "high"}, "'high', not a number"),
    "an empty context": ("qa", {"text": "a", "second": "", "answers": []}, "the context is empty"),
    "an answer elsewhere": ("qa", {"text": "a", "second": "b", "answers": ["c"]}, "does not hold the answer 'c'"),
    "an answer that is none": ("qa", {"text": "a", "second": "b", "answers": [3]}, "an answer is 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_told_with_its_place(name: str) -> None:
    task, columns, what = BAD[name]
    with pytest.raises(EdgebertError, match=what) as caught:
        find_task(task).rows([Record(columns, "rows.jsonl:7")])
    assert caught.value.where == "rows.jsonl:7"


def test_empty_texts_are_left_out_and_counted() -> None:
    rows, notes = find_task("classify").rows(records({"text": " ", "label": "x"}, {"text": "a", "label": 1}))
    assert ([row.labels for row in rows], notes) == ([("1",)], ["1 row without a text left out"])
    rows, notes = find_task("pair").rows(
        records({"text": "a", "second": "b", "label": "-"}, {"text": "a", "second": "b", "label": "no"})
    )
    assert (len(rows), notes) == (1, ["1 row labelled '-' or -1, undecided, left out"])


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize(
    ("task", "name", "sizes", "n_labels"),
    [
        ("classify", "banking77", (9003, 1000, 3080), 77),
        ("classify", "clinc150", (15100, 3100, 5500), 150),
        ("classify", "snips", (12401, 700, 1383), 7),
        ("similarity", "stsb", (5749, 1500, 1379), 0),
        ("tag", "ud_en_ewt", (12544, 2001, 2077), 17),
        ("qa", "squad", (9236, 689, 645), 0),
    ],
)
def test_real_corpora(task: str, name: str, sizes: tuple[int, ...], n_labels: int) -> None:
    data = load([str(DATA / name)], find_task(task))
    assert (tuple(map(len, data.splits.values())), len(data.labels)) == (sizes, n_labels)


def test_headers_are_told_by_what_tasks_call_their_columns() -> None:
    """`edgebert.data` knows no task, so that the names stand there once more."""
    named = {name for task in TASKS.all().values() for role, usual in task.columns.items() for name in (role, *usual)}
    assert {name.casefold() for name in named} == HEADER_NAMES
