"""`load`: files, folders and splits, with made-up sentences."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebert.data import load
from edgebert.data.parts import role
from edgebert.data.splits import complete
from edgebert.errors import DataError, RequestError
from edgebert.tasks import find_task
from edgebert.tasks.ner import TASK
from edgebert.types import SPLITS, Row


def conll(start: int, stop: int, tag: str = "B-X") -> str:
    return "".join(f"word{i}\t{tag}\nends\tO\n\n" for i in range(start, stop))


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def first_words(rows: tuple[Row, ...]) -> list[str]:
    return [row.words[0] for row in rows]


def test_three_files(tmp_path: Path) -> None:
    texts = {split: conll(10 * i, 10 * i + 2) for i, split in enumerate(SPLITS)}
    specs = [f"{split}={write(tmp_path / f'{i}.conll', texts[split])}" for i, split in enumerate(SPLITS)]
    data = load(specs, TASK)
    assert {split: first_words(rows) for split, rows in data.splits.items()} == {
        "train": ["word0", "word1"], "dev": ["word10", "word11"], "test": ["word20", "word21"],
    }  # fmt: skip
    assert data.labels == ("O", "B-X", "I-X")
    assert data.source.name == "0.conll; 1.conll; 2.conll"
    assert data.source.licence == "not stated"
    assert data.source.sha256 == hashlib.sha256("".join(texts.values()).encode()).hexdigest()
    assert data.source.notes == ()
    assert data.splits["dev"][1].where == f"{tmp_path / '1.conll'}:4"


def test_files_of_one_split_are_joined(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", conll(0, 2)), write(tmp_path / "b.tsv", conll(2, 4))
    dev, test = write(tmp_path / "c", conll(5, 6)), write(tmp_path / "d", conll(6, 7))
    data = load([f"train={a}", f"train={b}", f"dev={dev}", f"test={test}"], TASK)
    assert first_words(data.splits["train"]) == ["word0", "word1", "word2", "word3"]


def test_one_file_is_carved_the_same_way_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "all.conll"
    write(path, conll(0, 40) + conll(0, 3))  # three sentences come twice
    data = load([str(path)], TASK)
    texts = {split: set(first_words(rows)) for split, rows in data.splits.items()}
    assert {split: len(text) for split, text in texts.items()} == {"train": 32, "dev": 4, "test": 4}
    ranked = sorted((f"word{i}" for i in range(40)), key=lambda w: hashlib.sha256(f"{w} ends".encode()).digest())
    assert (texts["test"], texts["dev"]) == (set(ranked[:4]), set(ranked[4:8]))
    assert sum(len(rows) for rows in data.splits.values()) == 43
    write(path, conll(0, 3) + "".join(conll(i, i + 1) for i in reversed(range(40))))
    again = load([str(path)], TASK)
    assert {split: set(first_words(rows)) for split, rows in again.splits.items()} == texts
    assert len(data.source.notes) == 2
    assert "carved from train, by the sha256 of their text (share 0.1" in data.source.notes[0]


@given(st.lists(st.integers(0, 30), min_size=1), st.sampled_from([0.1, 0.25, 0.4]), st.sampled_from([0.1, 0.3, 0.5]))
def test_carving_loses_nothing_and_never_parts_equal_texts(numbers: list[int], dev: float, test: float) -> None:
    rows = [Row((str(i),), ("O",)) for i in numbers]
    n = len(set(numbers))
    if n * dev < 1 or n * test < 1:
        with pytest.raises(DataError, match="too few to carve"):
            complete({"train": rows}, {"dev": dev, "test": test})
        return
    whole, _ = complete({"train": rows}, {"dev": dev, "test": test})
    texts = {split: {row.words for row in result} for split, result in whole.items()}
    assert sorted(row.words for result in whole.values() for row in result) == sorted(row.words for row in rows)
    assert (len(texts["dev"]), len(texts["test"])) == (int(n * dev + 1e-9), int(n * test + 1e-9))
    assert sum(map(len, texts.values())) == n


@pytest.mark.parametrize("given_split", ["dev", "test"])
def test_the_split_that_is_absent_is_carved_from_train(tmp_path: Path, given_split: str) -> None:
    train, other = write(tmp_path / "a", conll(0, 20)), write(tmp_path / "b", conll(50, 53))
    data = load([f"train={train}", f"{given_split}={other}"], TASK, dev_share=0.2, test_share=0.3)
    carved, size = ("test", 6) if given_split == "dev" else ("dev", 4)
    assert len(data.splits[carved]) == size  # type: ignore[index]
    assert (len(data.splits["train"]), len(data.splits[given_split])) == (20 - size, 3)  # type: ignore[index]
    assert [note.split(" carved")[0] for note in data.source.notes] == [f"{carved}: {size} of 20 rows"]


def test_too_few_rows_say_how_many_are_needed(tmp_path: Path) -> None:
    spec = write(tmp_path / "a", conll(0, 9) + conll(0, 9))
    with pytest.raises(DataError, match="9 distinct rows are too few") as caught:
        load([spec], TASK)
    assert "At least 10 are needed" in str(caught.value.hint)
    load([write(tmp_path / "b", conll(0, 10))], TASK)


def test_overlap_and_unseen_labels_are_counted_and_kept(tmp_path: Path) -> None:
    train, dev = write(tmp_path / "a", conll(0, 4)), write(tmp_path / "b", conll(3, 5))
    test = write(tmp_path / "c", conll(7, 8) + conll(8, 10, "B-Y"))
    data = load([f"train={train}", f"dev={dev}", f"test={test}"], TASK)
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 4, "dev": 2, "test": 3}
    assert data.labels == ("O", "B-X", "I-X")
    overlap, unseen = data.source.notes
    assert overlap == "train: the text of 1 rows is also in dev"
    assert unseen.startswith("test: labels that train never shows")
    assert unseen.endswith("B-Y (2)")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train.conll", "valid.conll", "test.conll"), "train dev test"),
        (("eng.train", "eng.testa", "eng.testb"), "train dev test"),
        (("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"), "train dev test"),
        (("train-1.txt", "validation-00000-of-00001.txt", "eval.txt"), "train dev test"),
        (("train", "val", "test"), "train dev test"),
    ],
)
def test_folders_are_matched_by_name(tmp_path: Path, names: tuple[str, ...], splits: str) -> None:
    for i, name in enumerate(names):
        write(tmp_path / name, conll(i, i + 1))
    for noise in ("README.txt", "LICENSE", ".hidden.conll", "train.py"):
        write(tmp_path / noise, "no data")
    data = load([str(tmp_path)], TASK)
    assert {split: first_words(data.splits[split]) for split in SPLITS} == {
        split: [f"word{i}"] for i, split in enumerate(splits.split())
    }
    assert (data.source.name, data.source.notes) == (tmp_path.name, ())


def test_roles_of_names() -> None:
    assert [role(name) for name in ("latest.txt", "contest.txt", "evaluation", "data.conll")] == [None] * 4
    assert role("Train_v2.txt") == "train"


def test_a_folder_with_one_file_has_no_split_and_joins_several_train_files(tmp_path: Path) -> None:
    write(tmp_path / "corpus.txt", conll(0, 10))
    assert len(load([str(tmp_path)], TASK).splits["train"]) == 8
    for name, start in (("train1.txt", 20), ("train2.txt", 30), ("test.txt", 40)):
        write(tmp_path / name, conll(start, start + 10))
    data = load([str(tmp_path)], TASK)
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 18, "dev": 2, "test": 10}
    assert data.source.notes[0] == "files left aside, their names tell no split: corpus.txt"


def test_several_plain_files_go_by_their_names(tmp_path: Path) -> None:
    specs = [
        write(tmp_path / name, conll(i, i + 10)) for i, name in ((0, "x.conll"), (20, "dev.conll"), (40, "test.conll"))
    ]
    data = load(specs, TASK)
    assert first_words(data.splits["test"])[0] == "word40"
    assert data.source.notes == (f"train: {specs[0]} named no split",)
    assert len(load(specs[2:], TASK).splits["train"]) == 8  # alone, a file called test is the whole data


def test_formats_are_told_by_ending_or_first_line(tmp_path: Path) -> None:
    rows = [{"words": [f"word{i}", "ends"], "tags": ["B-X", "O"]} for i in range(10)]
    lined = "".join(json.dumps(row) + "\n" for row in rows)
    wanted = load([write(tmp_path / "a.conll", conll(0, 10))], TASK)
    texts = {
        "a.jsonl": lined,
        "b.txt": lined,
        "c.json": json.dumps(rows),
        "d.csv": "words,tags\n" + "".join(f"word{i} ends,B-X O\n" for i in range(10)),
        "e": "".join(f"word{i}:B-X ends:O <=> none\n" for i in range(10)),
    }
    for name, text in texts.items():
        data = load([write(tmp_path / name, text)], TASK)
        assert [[(r.words, r.tags) for r in data.splits[s]] for s in SPLITS] == [
            [(r.words, r.tags) for r in wanted.splits[s]] for s in SPLITS
        ], name


# ---------------------------------------------------------------- bad input


def fails(specs: list[str], **options: object) -> DataError:
    with pytest.raises(DataError) as caught:
        load(specs, TASK, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return caught.value


def test_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "train.conll", conll(0, 10))
    error = fails([str(tmp_path / "trian.conll")])
    assert error.what == "no such file"
    assert error.hint == f"Did you mean {tmp_path / 'train.conll'}?"
    assert "does not exist either" in str(fails([f"train={tmp_path / 'no' / 'x'}"]).hint)
    assert fails([str(tmp_path / "trian")]).what == "no such file"  # beside a folder that is there: no hub is asked


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.conll", "", "the file is empty"),
        ("a.conll", "\n\n", "the file is empty"),
        ("a.conll", "# comment\n", "the file holds no rows"),
        ("a.jsonl", "", "the file is empty"),
        ("a.csv", "words,tags\n", "the file holds no rows"),
        ("a.json", "[]", "the file holds no rows"),
        ("a.jsonl", '{"words": [], "tags": []}', "train: no row is left: 1 row without words left out"),
    ],
)
def test_files_without_rows(tmp_path: Path, name: str, text: str, what: str) -> None:
    assert fails([write(tmp_path / name, text)]).what == what


def test_empty_parquet_file(tmp_path: Path) -> None:
    assert "not a readable Parquet file" in fails([write(tmp_path / "a.parquet", "")]).what


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    assert fails([str(tmp_path)]).what == "the folder holds no data file"
    for name in ("one.conll", "two.conll"):
        write(tmp_path / name, conll(0, 10))
    assert "2 files and no name tells its split: one.conll, two.conll" in fails([str(tmp_path)]).what
    assert fails([f"train={tmp_path}"]).what == "this is a folder, and a file is needed"


def test_a_folder_with_two_formats_gives_what_the_task_reads(tmp_path: Path) -> None:
    write(tmp_path / "train.conll", conll(0, 40))
    rows = "".join(f'{{"text": "row {i}", "label": "{i % 2}"}}\n' for i in range(50))
    write(tmp_path / "train.jsonl", rows)
    tagged, labelled = load([str(tmp_path)], TASK), load([str(tmp_path)], find_task("classify"))
    assert sum(map(len, tagged.splits.values())) == 40 and sum(map(len, labelled.splits.values())) == 50
    assert "of the formats conll, json, conll was read, which fits the task" in tagged.source.notes
    assert "of the formats conll, json, json was read, which fits the task" in labelled.source.notes


def test_a_folder_with_two_tables_asks_for_names(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "train.jsonl"):
        write(tmp_path / name, "text,label\na,b\n")
    with pytest.raises(DataError, match="several formats: csv, json") as caught:
        load([str(tmp_path)], find_task("classify"))
    assert f"--data dev={tmp_path / 'dev.csv'} --data train={tmp_path / 'train.csv'}" in str(caught.value.hint)


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_without_an_entity(tmp_path: Path, split: str) -> None:
    specs = [
        f"{s}={write(tmp_path / s, conll(10 * i, 10 * i + 5, 'O' if s == split else 'B-X'))}"
        for i, s in enumerate(SPLITS)
    ]
    error = fails(specs)
    assert (error.where, error.what) == (split, f"none of the 5 rows of the {split} split carries a label")


def test_a_bad_tag_is_reported_with_its_own_line(tmp_path: Path) -> None:
    spec = write(tmp_path / "a.conll", "ok\tB-X\n\nfine\tO\nbad\tLOC\n")
    error = fails([spec])
    assert error.where == f"{spec}:4"
    assert "'LOC' is not an entity tag" in error.what


def test_no_training_rows(tmp_path: Path) -> None:
    error = fails([f"test={write(tmp_path / 'a', conll(0, 3))}"])
    assert "no rows to train on" in error.what
    assert "--data train=FILE" in str(error.hint)


def test_latin_1_file_and_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes(conll(0, 10).encode() + "caf\u00e9\tB-X\n".encode("latin-1"))
    error = fails([str(path)])
    assert error.where == f"{path}:31"
    data = load([str(path)], TASK, encoding="latin-1")
    assert "caf\u00e9" in {row.words[0] for rows in data.splits.values() for row in rows}


def test_bad_requests(tmp_path: Path) -> None:
    spec = write(tmp_path / "a", conll(0, 10))
    with pytest.raises(RequestError, match="unknown text encoding 'utf-9'"):
        load([spec], TASK, encoding="utf-9")
    with pytest.raises(RequestError, match="unknown split 'trian'") as caught:
        load([f"trian={spec}"], TASK)
    assert "train" in str(caught.value.hint)
    for shares in ((0.0, 0.1), (0.1, -1.0), (0.5, 0.5)):
        with pytest.raises(RequestError, match="cannot be carved"):
            load([spec], TASK, dev_share=shares[0], test_share=shares[1])


def test_a_file_with_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    assert len(load([write(tmp_path / "a=b.conll", conll(0, 10))], TASK).splits["train"]) == 8


def test_importing_the_readers_loads_nothing_heavy() -> None:
    heavy = "torch transformers datasets pandas pyarrow tokenizers numpy seqeval sklearn"
    code = f"import sys, edgebert.data, edgebert.tasks.ner; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
