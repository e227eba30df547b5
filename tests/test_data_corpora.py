"""Corpora in the layouts in which they are published: what `data inspect` makes of them where nobody names a task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgebert.errors import DataError
from edgebert.workflows.inspect import Example, Inspection, inspect


def told(path: Path, content: str | bytes, **options: object) -> Inspection:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return inspect([str(path)], **options)  # type: ignore[arg-type]


def rows(line: str, n: int = 12) -> str:
    """The line n times, with {i} counting, {b} 0 and 1 in turn."""
    return "".join(line.format(i=i, b=i % 2, yes="yes" if i % 2 else "no") for i in range(n))


def objects(row: dict, n: int = 12) -> str:
    return rows(json.dumps(row).replace("{", "{{", 1)[:-1] + "}}\n", n)


def short(example: Example) -> tuple[str, str, tuple[str, ...]]:
    return example.text, example.second, example.labels


@pytest.mark.parametrize(
    ("name", "content", "task", "first"),
    [
        ("QQP.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n" + rows('{i}\t1\t2\tsay "a" {i}\t"b" {i}\t{b}\n'),
         "pair", ('say "a" 0', '"b" 0', ("0",))),
        ("msr_train.txt", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n" + rows('{b}\t7\t8\t"Hi , {i}\tA " {i}\r\n'),
         "pair", ('"Hi , 0', 'A " 0', ("0",))),
        ("QNLI.tsv", "index\tquestion\tsentence\tlabel\n" + rows("{i}\twhat {i} ?\tthat {i} .\t{yes}\n"),
         "pair", ("what 0 ?", "that 0 .", ("no",))),
        ("WNLI.tsv", "index\tsentence1\tsentence2\tlabel\n" + rows("{i}\ta pin {i}\tthe pin {i}\t{b}\n"),
         "pair", ("a pin 0", "the pin 0", ("0",))),
        ("MNLI.tsv", "index\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label\n" + rows("1\t( a )\tp {i}\th {i}\tx\t{yes}\n"),
         "pair", ("p 0", "h 0", ("no",))),
        ("XNLI-MT.tsv", "premise\thypo\tlabel\n" + rows("p {i}\th {i}\t{yes}\n"), "pair", ("p 0", "h 0", ("no",))),
        ("LCQMC.tsv", "text_a\ttext_b\tlabel\n" + rows("酒店{i}\t房间{i}\t{b}\n"), "pair", ("酒店0", "房间0", ("0",))),
        ("ChnSentiCorp.tsv", "label\ttext_a\n" + rows("{b}\t酒店{i}\n"), "classify", ("酒店0", "", ("0",))),
        ("boolq.jsonl", objects({"question": "is it {i}", "answer": True, "passage": "it is {i}"}),
         "pair", ("is it 0", "it is 0", ("true",))),
        ("wic.jsonl", objects({"word": "w", "sentence1": "a {i}", "sentence2": "b {i}", "label": False}),
         "pair", ("a 0", "b 0", ("false",))),
        ("cola.tsv", rows("gj04\t{b}\t*\tThe ship {i} sank.\n"), "classify", ("The ship 0 sank.", "", ("0",))),
        ("ag_news.csv", rows('"{b}","Wall St. {i}","Reuters - The market {i}"\n'),
         "classify", ("Reuters - The market 0", "", ("0",))),
        ("olid.tsv", "id\ttweet\tsubtask_a\tsubtask_b\n" + rows("{i}\t@USER you {i}\t{yes}\tNULL\n"),
         "classify", ("@USER you 0", "", ("no",))),
        ("jigsaw.csv", "id,comment_text,toxic,threat\n" + rows("0{i}f,you there {i},1,{b}\n"),
         "classify", ("you there 0", "", ("toxic",))),
        ("oldmac.jsonl", objects({"text": "a {i}", "label": "x"}).replace("\n", "\r"), "classify", ("a 0", "", ("x",))),
    ],
)  # fmt: skip
def test_corpora_of_texts(tmp_path: Path, name: str, content: str, task: str, first: tuple) -> None:
    result = told(tmp_path / name, content)
    assert (result.task, short(result.examples[0])) == (task, first)
    assert result.splits["train"].n_rows == 12


def test_whole_numbers_under_label_are_classes_and_others_scores(tmp_path: Path) -> None:
    head = "sentence1\tsentence2\tlabel\n"
    assert told(tmp_path / "a.tsv", head + rows("a {i}\tb {i}\t{b}.0\n")).task == "pair"
    scores = told(tmp_path / "b.tsv", head + rows("a {i}\tb {i}\t{b}.5\n"))
    assert (scores.task, scores.examples[0].score) == ("similarity", 0.1)
    sick = told(
        tmp_path / "c.txt", "pair_ID\tsentence_A\tsentence_B\trelatedness_score\n" + rows("{i}\ta {i}\tb {i}\t4\n")
    )
    assert (sick.task, short(sick.examples[0])[:2], sick.examples[0].score) == ("similarity", ("a 0", "b 0"), 0.8)


def test_one_guess_serves_all_splits_and_texts_are_phrases(tmp_path: Path) -> None:
    content = {
        "train": [[f"go {i}", "translate" if i % 2 else "definition"] for i in range(12)],
        "val": [[f"please say this again {i}", "translate"] for i in range(12)],
    }
    result = told(tmp_path / "clinc.json", json.dumps(content))
    assert result.splits["train"].labels == {"definition": 6, "translate": 6}
    assert result.splits["dev"].labels == {"translate": 12}


def test_columns_that_play_no_part_are_told(tmp_path: Path) -> None:
    result = told(tmp_path / "a.csv", "id,text,title,label\n" + rows("{i},a text {i},a title,{yes}\n"))
    assert result.notes == ("columns that are not read: title",)


def test_what_differs_in_every_row_and_ids_are_no_labels(tmp_path: Path) -> None:
    for name, head, line in [
        ("a.tsv", "id\tquestion1\tquestion2\n", "{i}\thow {i} ?\twhat {i} ?\n"),
        ("b.tsv", "pair_ID\tfirst text\n", "{b}\ta text {i}\n"),
    ]:
        with pytest.raises(DataError, match="no column holds the label"):
            told(tmp_path / name, head + rows(line), task="classify")


@pytest.mark.parametrize("column", ["split", "partition", "Set"])
def test_a_column_of_splits_parts_the_rows(tmp_path: Path, column: str) -> None:
    lines = [f"a text {i},{'pos' if i % 3 else 'neg'},{('train', 'valid', 'test')[i % 3]}\n" for i in range(12)]
    result = told(tmp_path / "a.csv", f"text,label,{column}\n" + "".join(lines))
    assert {split: view.n_rows for split, view in result.splits.items()} == {"train": 4, "dev": 4, "test": 4}
    assert f"a.csv: the column '{column}' tells the split of each row: 4 train, 4 dev, 4 test" in result.notes


def test_a_column_of_other_sets_parts_nothing(tmp_path: Path) -> None:
    result = told(tmp_path / "a.csv", "text,label,set\n" + rows("a text {i},{yes},set {b}\n"))
    assert {split: view.n_rows for split, view in result.splits.items()} == {"train": 12}


def test_questions_of_paragraphs_and_answers_of_tables(tmp_path: Path) -> None:
    paragraph = {"context": "Riga lies in Latvia.", "qas": [{"question": "where?", "id": "1", "answers": []}]}
    answered = {
        "context": "Riga lies in Latvia.",
        "qas": [{"question": "in?", "answers": [{"text": "Latvia", "answer_start": 13}]}],
    }
    result = told(tmp_path / "a.json", json.dumps([paragraph, answered]))
    assert [(e.text, e.second, e.answers) for e in result.examples] == [
        ("where?", "Riga lies in Latvia.", ()),
        ("in?", "Riga lies in Latvia.", ("Latvia",)),
    ]
    table = told(tmp_path / "a.csv", "question,context,answer_text\nin?,Riga lies in Latvia.,Latvia\n")
    assert (table.task, table.examples[0].answers) == ("qa", ("Latvia",))


def test_tagged_words_of_old_programs_and_of_named_columns(tmp_path: Path) -> None:
    old = told(tmp_path / "a.conll", "Anna B-PER\rleft O\r\rno O\r")
    assert [(e.text, e.tagged) for e in old.examples] == [("Anna left", ("Anna/B-PER",)), ("no", ())]
    plus = "# global.columns = ID FORM UPOS HEAD DEPREL\n1\tit\tPRON\t2\tsubj\n2\train\tNOUN\t0\troot\n\n"
    named = told(tmp_path / "b.conllup", plus)
    assert (named.task, named.examples[0].tagged) == ("tag", ("it/PRON", "rain/NOUN"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html>\n<html></html>\n", "a web page"),
        (b'<?xml version="1.0"?><a/>', "an XML file"),
        (b"\x1f\x8b\x08\x00", "a file compressed by gzip"),
        (b"PK\x03\x04\x14\x00", "an Excel workbook or an archive"),
    ],
)
def test_other_files_under_the_name_of_a_table_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    for name in ("a.csv", "a.txt", "a.jsonl"):
        with pytest.raises(DataError, match=what):
            told(tmp_path / name, content)


def test_labels_that_say_nothing_are_problems(tmp_path: Path) -> None:
    item = told(tmp_path / "a.jsonl", objects({"text": "a {i}", "label": -1}))
    assert "train: all 12 rows have the label '-1': there is nothing to tell apart" in item.problems
    gaps = told(tmp_path / "b.csv", "text,label\n" + rows("a {i},{yes}\n") + "b 1,NaN\nb 2,NaN\n")
    assert "train: the label of 2 rows is 'NaN': remove them if this says that they have none" in gaps.problems
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "train.conll").write_text("Anna B-PER\nleft O\n\n" * 3)
    (tmp_path / "c" / "test.conll").write_text("Bob O\nleft O\n\n" * 12)
    (problem,) = inspect([str(tmp_path / "c")]).problems
    assert problem.startswith("test: none of its 12 rows has an entity")


@pytest.mark.parametrize("label", ["TBD", "*", "-100", "UNLABELED", "masked"])
def test_more_spellings_of_hidden_labels(tmp_path: Path, label: str) -> None:
    (tmp_path / "train.csv").write_text("text,label\n" + rows("a {i},{yes}\n"))
    (tmp_path / "test.csv").write_text("text,label\n" + rows("b {i}," + label + "\n"))
    result = inspect([str(tmp_path)])
    assert set(result.splits) == {"train"}
    assert any("labels of its 12 rows are hidden" in note for note in result.notes)


@pytest.mark.parametrize("joint", [",", ";", "|", "#"])
def test_labels_joined_in_one_cell_are_told_and_taken_apart(tmp_path: Path, joint: str) -> None:
    content = "text\tlabel\n" + rows("a {i}\tneg" + joint + "food\n", 6) + rows("b {i}\tpos\n", 6)
    assert any("may be several" in note for note in told(tmp_path / "a.tsv", content).notes)
    several = told(tmp_path / "a.tsv", content, task="classify", options={"multi_label": True})
    assert several.splits["train"].labels == {"neg": 6, "food": 6, "pos": 6}


def test_a_header_of_unusual_names_is_told(tmp_path: Path) -> None:
    result = told(tmp_path / "a.csv", "v1,v2\n" + rows("{yes},a text {i}\n"))
    assert "a.csv: line 1 is read as the header: v1, v2" in result.notes
    assert short(result.examples[0]) == ("a text 0", "", ("no",))


def test_folders_of_labels_hold_a_text_a_file(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("pos", "neg", "unsup"):
            folder = tmp_path / "imdb" / split / label
            folder.mkdir(parents=True)
            for i in range(3):
                (folder / f"{i}_7.txt").write_text(f"{label} review {i}\nof two lines\n")
    (tmp_path / "imdb" / "imdbEr.txt").write_text("0.1\n0.2\n")
    result = inspect([str(tmp_path / "imdb")])
    assert {split: dict(view.labels) for split, view in result.splits.items()} == {
        "train": {"neg": 3, "pos": 3},
        "test": {"neg": 3, "pos": 3},
    }
    assert short(result.examples[0]) == ("neg review 0\nof two lines", "", ("neg",))
    assert "folders left aside: unsup" in result.notes
    alone = inspect([str(tmp_path / "imdb" / "test")])
    assert {split: dict(view.labels) for split, view in alone.splits.items()} == {"train": {"neg": 3, "pos": 3}}
    with pytest.raises(DataError, match="no data file"):
        inspect([str(tmp_path / "imdb" / "train")], task="ner")


NEW_YORK = ("New/B-LOC", "York/I-LOC")


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("a.tsv", "doc\tsent\ttok\tner\n" + "d\t0\tin\tO\nd\t0\tNew\tB-LOC\nd\t0\tYork\tI-LOC\nd\t1\tno\tO\n", "'tok' is read as"),
        ("b.tsv", "in\tO\t0.9\nNew\tB-LOC\t1.0\nYork\tI-LOC\t1e-3\n\nno\tO\t1\n", "those behind it are numbers"),
        ("c.txt", "in/O New/B-LOC York/I-LOC\nno/O\n", "behind the last '/'"),
        ("d.txt", "in_O New_B-LOC York_I-LOC\nno_O\n", "behind the last '_'"),
        ("e.csv", "text,labels\nin New York,O B-LOC I-LOC\nno,O\n", "what spaces part"),
        ("f.jsonl", '{"text": "in New York", "ner_tags": ["O", "B-LOC", "I-LOC"]}\n{"text": "no", "ner_tags": ["O"]}\n',
         "what spaces part"),
        ("g.json", '[{"tokens": ["in", "New", "York"], "entities": [{"type": "LOC", "start": 1, "end": 3}]},'
         ' {"tokens": ["no"], "entities": []}]', "count words"),
    ],
)  # fmt: skip
def test_more_ways_to_write_tagged_words(tmp_path: Path, name: str, content: str, note: str) -> None:
    result = told(tmp_path / name, content)
    assert result.task == "ner"
    assert [(e.text, e.tagged) for e in result.examples] == [("in New York", NEW_YORK), ("no", ())]
    assert any(note in item for item in result.notes)


def test_words_alone_with_tags_are_no_texts_with_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column tells sentences apart"):
        told(tmp_path / "a.csv", "text,tag\n" + "in,O\nRiga,B-LOC\n" * 15)


def test_labels_in_several_spellings_and_broken_numbers_are_problems(tmp_path: Path) -> None:
    result = told(
        tmp_path / "a.csv", "text,label\n" + rows("a {i},Yes\n", 3) + rows("b {i},yes\n", 3) + rows("c {i},no\n", 3)
    )
    assert "train: the labels Yes, yes differ in capitals alone, and are labels of their own" in result.problems
    numbers = told(tmp_path / "b.csv", "text,label\n" + rows("a {i},{b}.5\n"))
    assert any("not whole" in problem for problem in numbers.problems)


@pytest.mark.parametrize(("byte", "encoding"), [(b"\x92", "cp1252"), (b"\xe9", "latin-1")])
def test_the_encoding_that_fits_is_proposed(tmp_path: Path, byte: bytes, encoding: str) -> None:
    with pytest.raises(DataError, match=f"--encoding {encoding}"):
        told(tmp_path / "a.csv", b"text,label\nit" + byte + b"s,a\n")


def test_columns_that_may_be_meant_are_named_as_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column holds the label: the other columns are number"):
        told(tmp_path / "a.tsv", "number\tsentence\n" + rows("{i}\ta text {i}\n"), task="classify")


def test_codes_that_look_like_tags_are_labels(tmp_path: Path) -> None:
    result = told(tmp_path / "a.csv", "text,label\n" + rows("which visa {i},B-{b}\n"))
    assert (result.task, short(result.examples[0])) == ("classify", ("which visa 0", "", ("B-0",)))


def test_scores_up_to_one_are_told(tmp_path: Path) -> None:
    content = "sentence1,sentence2,score\n" + rows("a {i},b {i},0.{i}\n")
    (note,) = told(tmp_path / "a.csv", content).notes
    assert "no score is above 0.9, where 5 means the same" in note
    assert told(tmp_path / "a.csv", content, task="similarity", options={"top": 1.0}).notes == ()


def test_questions_without_any_answer_are_a_problem(tmp_path: Path) -> None:
    result = told(tmp_path / "a.csv", "question,context\nwhere?,Riga lies in Latvia.\n", task="qa")
    assert result.problems[-1].startswith("no question has an answer")
