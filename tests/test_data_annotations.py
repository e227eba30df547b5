"""The exports of annotation tools: spans, rows that nobody accepted, labels of texts, one word a row, brat, WebAnno."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgebert.data import find_all, read_rows
from edgebert.data.annotations import plain_records
from edgebert.errors import DataError
from edgebert.tasks import find_task
from edgebert.tasks.ner import TASK
from edgebert.types import Record
from edgebert.workflows.inspect import inspect
from tests.test_data_spans import rows_of, tagged

TEXT = "Anna Berg lives in Riga."
SPANS = [[0, 9, "PER"], [19, 23, "LOC"]]
TAGS = ("B-PER", "I-PER", "O", "O", "B-LOC", "O")
OBJECTS = [{"start": 0, "end": 9, "label": "PER"}, {"start": 19, "end": 23, "label": "LOC"}]


# ---------------------------------------------------------------- the exports of tools


def label_studio(**more: Any) -> dict[str, Any]:
    result = [
        {"type": "labels", "value": {"start": a, "end": b, "text": TEXT[a:b], "labels": [k]}} for a, b, k in SPANS
    ]
    return {"id": 1, "data": {"text": TEXT}, "annotations": [{"result": result, **more}]}


@pytest.mark.parametrize(
    "columns",
    [
        {"text": TEXT, "label": SPANS, "Comments": []},
        {"text": TEXT, "labels": SPANS},
        {"text": TEXT, "entities": [{"id": 1, "label": k, "start_offset": a, "end_offset": b} for a, b, k in SPANS],
         "relations": []},
        {"text": TEXT, "annotations": [{"label": k, "start_offset": a, "end_offset": b, "user": 1} for a, b, k in SPANS]},
        {"text": TEXT, "entities": SPANS},
        {"column1": TEXT, "column2": {"entities": SPANS}},
        {"id": "a", "data": TEXT, "label": SPANS},
        {"text": TEXT, "annotations": {"entities": SPANS}},
        {"source": TEXT, "job": {"annotations": {"entities": [
            {"label": k, "startOffset": a, "endOffset": b} for a, b, k in SPANS]}}, "job-metadata": {"entities": []}},
        {"text": TEXT, "ents": OBJECTS, "tokens": [{"id": 0, "start": 0, "end": 4, "tag": "NNP"}]},
        {"text": TEXT, "spans": OBJECTS, "tokens": [{"text": "Anna", "id": 0}], "answer": "accept"},
        label_studio(was_cancelled=False),
        {"id": 1, "text": TEXT, "label": [{"start": a, "end": b, "text": TEXT[a:b], "labels": [k]} for a, b, k in SPANS]},
        {"id": 1, "text": TEXT, "label": json.dumps(OBJECTS)},  # as a table holds it
        {"id": 1, "text": TEXT, "label": str([tuple(span) for span in SPANS])},
        {"text": TEXT, "annotation": [[k, a, b] for a, b, k in SPANS], "status": "Validated"},
        {"content": TEXT, "annotation": [
            {"label": [k], "points": [{"start": a, "end": b - 1, "text": TEXT[a:b]}]} for a, b, k in SPANS]},
        {"text": TEXT, "entities": {"start": [0, 19], "end": [9, 23], "label": ["PER", "LOC"]}},
        {"text": TEXT, "intent": "x", "entities": [
            {"start": a, "end": b, "value": "other", "entity": k} for a, b, k in SPANS]},
        {"text": TEXT, "spans": [{"entity_group": k, "word": "x", "start": a, "end": b, "score": 1} for a, b, k in SPANS]},
        {"tokens": ["Anna", "Berg", "lives", "in", "Riga", "."], "entities": [
            {"type": "PER", "start": 0, "end": 2}, {"type": "LOC", "start": 4, "end": 5}]},
        {"tokenized_text": ["Anna", "Berg", "lives", "in", "Riga", "."], "ner": [[0, 1, "PER"], [4, 4, "LOC"]]},
        {"id": 0, "paragraphs": [{"raw": TEXT, "sentences": [{"tokens": [
            {"orth": word, "ner": tag} for word, tag in
            (("Anna", "B-PER"), ("Berg", "L-PER"), ("lives", "O"), ("in", "-"), ("Riga", "U-LOC"), (".", "O"))]}]}]},
        {"id": 0, "paragraphs": [{"raw": TEXT, "entities": SPANS}]},
    ],
)  # fmt: skip
def test_tools_that_write_the_same_entities(columns: dict[str, Any]) -> None:
    (row,), _ = rows_of(columns)
    assert (row.words, row.tags) == (("Anna", "Berg", "lives", "in", "Riga", "."), TAGS)


def test_spacy_pairs_from_files(tmp_path: Path) -> None:
    pair = [TEXT, {"entities": SPANS}]
    for name, content in {
        "a.json": json.dumps([pair, pair]),
        "b.jsonl": f"{json.dumps(pair)}\n{json.dumps(pair)}\n",
        "c.json": json.dumps({"classes": ["PER", "LOC"], "annotations": [pair, None, pair]}),
    }.items():
        (tmp_path / name).write_text(content)
        (result,) = find_all([str(tmp_path / name)], TASK, "utf-8")
        rows, _ = read_rows(result.parts, TASK, {})
        assert [row.tags for row in rows["train"]] == [TAGS, TAGS]
        assert result.notes == (("c.json: 1 annotations that are null left out",) if name == "c.json" else ())
        assert inspect([str(tmp_path / name)]).task == "ner"


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        ("['in', 'Riga']", "['O', 'B-LOC']"), ("['in' 'Riga']", "['O' 'B-LOC']"), ('["in", "Riga"]', '["O", "B-LOC"]'),
        ("('in', 'Riga')", "('O', 'B-LOC')"), ("array(['in', 'Riga'], dtype=object)", "array(['O', 'B-LOC'])"),
    ],
)  # fmt: skip
def test_lists_written_as_text(words: str, tags: str) -> None:
    (row,), notes = TASK.rows([Record({"words": words, "tags": tags}, "f:1")])
    assert (row.words, row.tags) == (("in", "Riga"), ("O", "B-LOC"))
    assert notes == ["2 cells that are lists written as text, read as lists"]
    (row,), notes = TASK.rows([Record({"words": "[ music ] ['x", "tags": "O O O O"}, "f:1")])
    assert (row.words, notes) == (("[", "music", "]", "['x"), [])


def test_what_only_looks_like_spans_or_words() -> None:
    boxes = [Record({"tokens": ["a"], "ner_tags": ["O"], "bboxes": [[0, 1, 2, 3]]}, "f")]
    assert plain_records(boxes) == (boxes, [])
    articles = [Record({"title": "x", "paragraphs": [{"context": "c", "qas": []}]}, "f")]
    assert plain_records(articles) == (articles, [])
    rows, _ = rows_of(*[{"text": "Riga", "label": "place", "entities": [[0, 4, "LOC"]]}] * 30)
    assert [tagged(row) for row in rows] == ["Riga|B-LOC"] * 30
    (row,), _ = rows_of({"text": "New\nYork", "spans": [{"start": 0, "end": 8, "label": "LOC", "text": "New\\nYork"}]})
    assert tagged(row) == "New|B-LOC York|I-LOC"


def test_a_column_of_spans_is_one_in_every_row() -> None:
    rows, notes = rows_of({"text": "no one"}, {"text": TEXT, "label": SPANS}, {"text": "none", "label": []})
    assert [set(row.tags) for row in rows] == [{"O"}, set(TAGS), {"O"}]
    assert notes == [
        "entities: read from the column 'label'", "1 rows without a list of spans, read as rows without entities",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("marks", "notes"),
    [
        ([{"answer": "reject"}, {"answer": "accept"}, {"answer": "ignore"}],
         ["1 rows left out whose 'answer' is 'reject'", "1 rows left out whose 'answer' is 'ignore'"]),
        ([{"status": "Discarded"}, {"status": "Validated"}, {"status": "Default"}],
         ["1 rows left out whose 'status' is 'Discarded'", "1 rows left out whose 'status' is 'Default'"]),
        ([{"is_confirmed": False}, {"is_confirmed": True}, {"is_confirmed": False}],
         ["2 rows left out whose 'is_confirmed' is not true"]),
        ([{"was_cancelled": True}, {"was_cancelled": False}, {"was_cancelled": True}],
         ["2 rows left out whose 'was_cancelled' is true"]),
    ],
)  # fmt: skip
def test_rows_that_nobody_accepted_are_left_out_and_counted(marks: list[dict[str, Any]], notes: list[str]) -> None:
    texts = ("no one", TEXT, "none")
    rows, message = rows_of(
        *({"text": t, "spans": SPANS if t == TEXT else [], **m} for t, m in zip(texts, marks, strict=True))
    )
    assert ([row.text for row in rows], message) == ([TEXT], notes)


def test_a_status_of_the_text_is_no_mark() -> None:
    records = [Record({"text": "a", "status": s, "label": "x"}, "f") for s in ("cancelled", "done")]
    assert plain_records(records) == (records, [])
    unmarked = [Record({"text": "a", "answer": s}, "f") for s in ("reject", "accept")]
    assert plain_records(unmarked) == (unmarked, [])


@pytest.mark.parametrize("change", [{"annotations": 5}, {"annotations": "x"}, {"annotations": [{"result": 5}]}])
def test_lists_of_label_studio_that_are_none(change: dict[str, Any]) -> None:
    task = {**label_studio(), "completions": [{"result": []}], **change}
    records, _ = plain_records([Record(task, "f.json:1")])
    assert [record.columns["entities"] for record in records] == [[]]


def test_label_studio_tasks_that_are_not_done(tmp_path: Path) -> None:
    open_task = {"data": {"text": "x"}, "annotations": [], "predictions": []}
    twice = label_studio()
    twice["annotations"] = [{"result": []}, {**twice["annotations"][0], "ground_truth": True}]
    rows, notes = rows_of(label_studio(), label_studio(was_cancelled=True), open_task, twice)
    assert [row.tags for row in rows] == [TAGS, TAGS]
    assert notes == [
        "1 tasks left out that were skipped",
        "1 tasks left out that nobody has annotated",
        "1 tasks have several annotations: the one marked as ground truth is read, else the first",
    ]
    path = tmp_path / "all.json"
    path.write_text(json.dumps([label_studio(was_cancelled=True)]))
    with pytest.raises(DataError, match="no row is left: 1 tasks left out that were skipped"):
        find_all([str(path)], TASK, "utf-8")


@pytest.mark.parametrize(
    ("columns", "labels", "notes"),
    [
        ([{"accept": ["pos"], "options": [], "answer": "accept"}, {"accept": [], "options": [], "answer": "accept"},
          {"accept": ["neg"], "options": [], "answer": "reject"}], ["pos"],
         ["1 rows left out whose 'answer' is 'reject'", "label: read from 'accept'",
          "1 rows left out where 'accept' names no label"]),
        ([{"accept": ["a", "b"], "options": []}, {"accept": [], "options": []}], [["a", "b"], []],
         ["label: read from 'accept'"]),
        ([{"cats": {"A": 1.0, "B": 0.0}}, {"cats": {"A": 0, "B": 1}}], ["A", "B"], ["label: read from 'cats'"]),
    ],
)  # fmt: skip
def test_labels_of_texts(columns: list[dict[str, Any]], labels: list[Any], notes: list[str]) -> None:
    records, message = plain_records([Record({"text": "x", **own}, "f") for own in columns])
    assert ([record.columns["label"] for record in records], message) == (labels, notes)


# ---------------------------------------------------------------- one word a row


LONG = [("1", "Anna", "B-PER"), ("1", "ran", "O"), ("2", "in", "O"), ("2", "Riga", "B-LOC"), ("2", ".", "O")]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("sentence_id", "words", "labels"), "11222"),
        (("Sentence #", "Word", "Tag"), "1 2  "),  # only the first word of a sentence has it
        (("sent_id", "token", "ner_tags"), "00111"),
        (("id", "word", "label"), "11222"),
        (("doc", "token", "tag"), "aabbb"),
    ],
)
def test_rows_of_one_word_are_joined(names: tuple[str, str, str], ids: str) -> None:
    columns = [
        dict(zip(names, (i.strip() and f"s{i}", word, tag), strict=True))
        for i, (_, word, tag) in zip(ids, LONG, strict=True)
    ]
    rows, notes = TASK.rows([Record({**own, "POS": "NN"}, f"f.csv:{n}") for n, own in enumerate(columns, 2)])
    assert [tagged(row) for row in rows] == ["Anna|B-PER ran|O", "in|O Riga|B-LOC .|O"]
    assert [row.where for row in rows] == ["f.csv:2", "f.csv:4"]
    key, word, tag = names
    note = f"5 rows of one word ('{word}', '{tag}') are joined to 2 sentences by the column '{key}'; left aside: POS"
    assert notes == [note]


def test_a_table_of_words_is_guessed_to_be_of_entities_or_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Sentence #,Word,POS,Tag\nSentence: 1,in,IN,O\n,Riga,NNP,B-geo\nSentence: 2,Bob,NNP,B-per\n")
    result = inspect([str(path)])
    assert (result.task, result.splits["train"].lengths) == ("ner", (1, 2))
    path.write_text("sent_id,word,pos\n1,in,IN\n1,Riga,NNP\n2,Bob,NNP\n")
    assert inspect([str(path)]).task == "tag"


def test_numbers_that_come_back_and_blank_lines_begin_sentences() -> None:
    again = [{"sentence_id": i, "words": "x", "tags": "B-X"} for i in "0011001"]
    rows, notes = TASK.rows([Record(own, f"f:{n}") for n, own in enumerate(again)])
    assert [len(row.words) for row in rows] == [2, 2, 2, 1]
    assert notes[1] == "2 sentences have the number of one before them: they are read as sentences of their own"
    lines = (2, 3, 5, 6, 7)
    rows, notes = TASK.rows([Record({"word": w, "tag": t}, f"f:{n}") for n, (_, w, t) in zip(lines, LONG, strict=True)])
    assert [tagged(row) for row in rows] == ["Anna|B-PER ran|O", "in|O Riga|B-LOC .|O"]
    assert notes[0].endswith("joined to 2 sentences by the blank lines between them")
    with pytest.raises(DataError, match="no column tells sentences apart"):
        TASK.rows([Record({"words": "x", "tags": "O"}, f"f:{n}") for n in range(30)])


def test_rows_of_several_words_stay_rows() -> None:
    columns = [{"doc": "1", "words": "in Riga", "tags": "O B-LOC"}, {"doc": "1", "words": "Yes", "tags": "O"}]
    rows, notes = TASK.rows([Record(own, f"f:{n}") for n, own in enumerate(columns)])
    assert ([row.words for row in rows], notes) == ([("in", "Riga"), ("Yes",)], [])


# ---------------------------------------------------------------- brat and WebAnno


def test_a_folder_of_brat(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        folder = tmp_path / split
        folder.mkdir()
        (folder / "a.txt").write_text("Anna Berg ran to\nNew\nYork. She won.\n\nBye Bob\n")
        (folder / "a.ann").write_text(
            "T1\tPER 0 9\tAnna Berg\nT2\tLOC 17 20;21 25\tNew York\nT3\tX 0 4;10 13\tAnna ran\nR1\tIn Arg1:T1 Arg2:T2\n"
            "E1\tRun:T1\nA1\tSure T1\nN1\tReference T1 Wiki:1\tx\n#1\tAnnotatorNotes T1\tok\n*\tEquiv T1 T2\n"
        )
    (tmp_path / "train" / "open.txt").write_text("Nobody looked.\n")
    (result,) = find_all([str(tmp_path)], TASK, "utf-8")
    rows, _ = read_rows(result.parts, TASK, {})
    wanted = ["Anna|B-PER Berg|I-PER ran|O to|O", "New|B-LOC York|I-LOC .|O She|O won|O .|O", "Bye|O Bob|O"]
    assert [tagged(row) for row in rows["train"]] == [tagged(row) for row in rows["dev"]] == wanted
    assert [row.where.rpartition("/")[2] for row in rows["train"]] == ["a.txt:1", "a.txt:2", "a.txt:5"]
    assert result.notes == (
        "2 documents of brat are read as 6 rows: a line is one, unless a span goes on in the next",
        "1 texts without a file of annotations left out", "2 spans of several parts left aside", "2 relations left aside",
        "2 events (their triggers are read as entities) left aside", "2 attributes left aside",
        "2 normalisations left aside", "2 notes left aside", "2 equivalences left aside",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "what", "where"),
    [
        ("T1\tPER 0 4\tAnna\nT2 PER 0 4\n", "no annotation of brat: 'T2 PER 0 4'", "a.ann:2"),
        ("T1\tPER 0 99\tAnna\n", "0–99 .PER. is not in the text of 10 characters", "a.ann:1"),
    ],
)
def test_what_is_wrong_in_brat(tmp_path: Path, annotation: str, what: str, where: str) -> None:
    (tmp_path / "a.ann").write_text(annotation)
    with pytest.raises(DataError, match=r"no a\.txt beside it"):
        find_all([str(tmp_path)], TASK, "utf-8")
    (tmp_path / "a.txt").write_text("\n")
    (tmp_path / "a.ann").write_text("")
    with pytest.raises(DataError, match="the 1 documents of brat are empty"):
        find_all([str(tmp_path)], TASK, "utf-8")
    (tmp_path / "a.ann").write_text(annotation)
    (tmp_path / "a.txt").write_text("Anna ran.\n")
    with pytest.raises(DataError, match=what) as caught:
        find_all([f"train={tmp_path}"], TASK, "utf-8")
    assert str(caught.value.where).endswith(where)


WEBANNO = """#FORMAT=WebAnno TSV 3.3
#T_SP=de.example.Lemma|value
#T_SP=de.example.NamedEntity|identifier|value


#Text=Anna Berg in Riga
1-1\t0-4\tAnna\t_\t*[1]\tPER[1]\t
1-2\t5-9\tBerg\tx\t*[1]\tPER[1]\t
1-3\t10-12\tin\t_\t_\t_\t
1-4\t13-17\tRiga\t_\t_\tPLACE\\_NAME|X[3]\t
1-4.1\t13-14\tR\t_\t_\tX\t

#Text=Wien Graz
2-1\t18-22\tWien\t_\t_\tLOC\t
2-2\t23-27\tGraz\t_\t_\tLOC\t
"""


def test_webanno_and_inception(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(WEBANNO)
    (result,) = find_all([str(path)], TASK, "utf-8")
    rows, notes = read_rows(result.parts, TASK, {})
    assert [tagged(row) for row in rows["train"]] == [
        "Anna|B-PER Berg|I-PER in|O Riga|B-PLACE_NAME", "Wien|B-LOC Graz|B-LOC",
    ]  # fmt: skip
    assert rows["train"][1].where == f"{path}:14"
    assert result.notes == (
        "a.tsv: tags are read from the layer NamedEntity; layers left aside: Lemma",
        "a.tsv: 1 annotations left aside that stand on one token with another",
        "a.tsv: 1 annotations of parts of tokens left aside",
    )
    assert notes == []
    path.write_text("#FORMAT=WebAnno TSV 3.3\n\n\n1-1\t0-4\tAnna\t\n")
    with pytest.raises(DataError, match="declares no layer of spans"):
        find_all([str(path)], find_task("ner"), "utf-8")
