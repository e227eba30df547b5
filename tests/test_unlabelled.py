"""Text without labels: files and folders of it, what is no such text, and how often it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebert.data.text_contents import strangeness
from edgebert.data.unlabelled import Unlabelled, are_wrapped, read_unlabelled
from edgebert.errors import DataError
from edgebert.tasks import find_task
from edgebert.types import FitRequest, Row
from edgebert.workflows.request import EFFORTS, _afforded
from tests.conftest import make_tokenizer

TASK, PAIR, NER = (find_task(name) for name in ("classify", "pair", "ner"))
LETTERS = "fly to aville\nleave bton on friday\n"


def read(*paths: Path, task: object = TASK, **options: object) -> Unlabelled:
    return read_unlabelled([str(path) for path in paths], task, make_tokenizer(), **options)


def texts(found: Unlabelled) -> list[str | None]:
    return [row.text for row in found.rows]


def written(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


# ---------------------------------------------------------------- files and folders


def test_several_files_and_a_folder_of_text_are_read_once_each(tmp_path: Path) -> None:
    item = written(tmp_path / "one.txt", LETTERS)
    folder = tmp_path / "texts"
    written(folder / "b.txt", "is aville far\n\n  \nfly to aville\n")
    written(folder / "a" / "deep.TXT", "show trains to bton\n")
    written(folder / ".hidden.txt", "never read\n")
    written(folder / "notes.md", "left aside\n")
    result = read(item, folder, item)
    assert texts(result) == ["fly to aville", "leave bton on friday", "is aville far", "show trains to bton"]
    assert result.rows[3].labelled is False and result.rows[2].labels == ()
    assert result.notes == (
        "4 unlabelled texts of 3 files, 1 lines left out that stood there before, "
        f"1 files left aside that do not end in .txt, the first {folder / 'notes.md'}",
    )


def test_texts_of_labelled_rows_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "t.txt", LETTERS)
    known = {"train": [Row(text="is aville far", labels=("a",))], "test": [Row(text="fly to aville", labels=("a",))]}
    result = read(path, labelled=known)
    assert texts(result) == ["leave bton on friday"]
    assert result.notes[0] == "1 unlabelled texts, 1 left out that labelled rows have, of whatever split"
    known["dev"] = [Row(text="leave bton on friday", labels=("a",))]
    with pytest.raises(DataError, match="each of the 2 unlabelled texts is that of a labelled row"):
        read(path, labelled=known)
    tagged = {"train": [Row(("fly", "to", "aville"), ("O", "O", "B-X"))]}
    assert texts(read(path, task=NER, labelled=tagged)) == ["leave bton on friday"]


def test_a_folder_is_not_left_by_a_link(tmp_path: Path) -> None:
    outside = written(tmp_path / "secret.txt", LETTERS)
    folder = tmp_path / "texts"
    written(folder / "a.txt", LETTERS)
    (folder / "b.txt").symlink_to(outside)
    with pytest.raises(DataError, match=r"b.txt: this link leads out of the folder"):
        read(folder)
    (folder / "b.txt").unlink()
    (folder / "b.txt").symlink_to(folder / "a.txt")
    (folder / "up").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"up: this link leads out of the folder"):
        read(folder)
    (folder / "up").unlink()
    assert len(read(folder).rows) == 2


def test_a_folder_without_text_and_a_file_that_is_not_there_are_told(tmp_path: Path) -> None:
    written(tmp_path / "texts" / "rows.csv", "text,label\n")
    with pytest.raises(DataError, match=r"holds no file that ends in .txt \(1 others\)"):
        read(tmp_path / "texts")
    written(tmp_path / "corpus.txt", LETTERS)
    with pytest.raises(DataError, match=r"no such file\n.*Did you mean .*corpus.txt"):
        read(tmp_path / "corpos.txt")


def test_more_text_than_memory_should_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgebert.data.unlabelled.MAX_TOTAL_BYTES", 60)
    item, two = (written(tmp_path / f"{i}.txt", LETTERS) for i in range(2))
    assert len(read(item).rows) == 2
    with pytest.raises(DataError, match=r"1.txt: the unlabelled files hold more than"):
        read(item, two)
    monkeypatch.setattr("edgebert.data.unlabelled.MAX_FILES", 1)
    with pytest.raises(DataError, match="the folder holds more than 1 files"):
        read(tmp_path)


def test_paragraphs_of_wrapped_lines_are_texts(tmp_path: Path) -> None:
    line = "fly to aville and leave bton on friday with the new trains to cburg"
    paragraph = f"{line}\n{line}\nis far\n"
    result = read(written(tmp_path / "book.txt", "\n".join([paragraph] * 4 + [paragraph.replace("far", "near")] * 4)))
    assert texts(result) == [f"{line} {line} is far", f"{line} {line} is near"]
    assert "book.txt: its lines are wrapped, so each paragraph is read as a text" in result.notes
    short = [f"show trains to {'bton' * (i % 7)}" for i in range(40)]
    assert not are_wrapped([*short, ""]) and not are_wrapped([*short[:20], "", *short[20:]])


# ---------------------------------------------------------------- what is no plain text

LABELLED: dict[str, tuple[str, str]] = {
    "text, tab, label": ("fly to aville\ttravel\nis aville far\tquestion\n" * 3, "columns with a tab|label of the task"),
    "label, tab, text": ("travel\tfly to aville\nquestion\tis aville far\n" * 3, "begins with a label of the task"),
    "text, comma, label": ("fly to aville,travel\n\"is aville, far\",question\n" * 3, "ends with a label of the task"),
    "unknown labels": ("".join(f"fly to {i} aville;{'xy'[i % 2]}\n" for i in range(20)), "what looks like a label"),
    "header": ("text,label\nfly to aville,one\n", "the first line names columns"),
    "JSON lines": ('{"text": "fly to aville", "label": 1}\n' * 3, "holds JSON"),
    "JSON": ('[\n  {"text": "fly to aville"},\n  {"text": "is aville far"}\n]\n', "holds JSON"),
    "CoNLL": ("fly O\nto O\naville B-CITY\n\nis O\naville B-CITY\nfar O\n", "words with a tag each"),
    "CoNLL-U": ("1\tfly\tfly\tVERB\tV\t_\t0\troot\t_\t_\n2\tto\tto\tADP\tA\t_\t1\tcase\t_\t_\n3\ta\ta\tX\tX\t_\t1\tx\t_\t_\n",
                "words with a tag each"),
    "fastText": ("__label__travel fly to aville\n__label__question is aville far\n", "hold a label beside"),
    "TREC": ("DESC:def is aville far\nLOC:city fly to aville\n", "hold a label beside"),
    "markup": ("<p>fly to aville</p>\n<p>is aville far</p>\n", "markup"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LABELLED)
def test_labels_in_the_text_are_refused_with_what_to_do(kind: str, tmp_path: Path) -> None:
    content, message = LABELLED[kind]
    with pytest.raises(DataError, match=message) as refused:
        read(written(tmp_path / "t.txt", content), labels=("travel", "question"))
    assert refused.value.where == f"{tmp_path / 't.txt'}:1"
    assert "--unlabelled takes plain text, one text a line" in (refused.value.hint or "")


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.conll", "rows.json"])
def test_files_of_rows_are_refused_by_their_ending(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"this is a \.\w+ file, no plain text"):
        read(written(tmp_path / name, LETTERS))


def test_plain_text_that_looks_a_little_like_it_is_read(tmp_path: Path) -> None:
    lines = [
        "fly to aville, please", "fly to aville, now", "is aville far, or near", "well, is it far", "no, it is not",
        "I like {1} a lot", "leave bton | friday", "a <b> c", "question: is aville far", "1 train to cburg", "yes",
        "3 trains", "fly to dham, efield", "show trains, aville", "travel to bton", "12 trains",
    ]  # fmt: skip
    result = read(written(tmp_path / "t.txt", "\n".join(lines)), labels=("travel", "question"))
    assert texts(result) == lines and len(result.notes) == 1
    spoken = [f"i like {city} a lot, {word}" for city in ("aville", "bton") for word in ("thanks", "please")] * 5
    description = read(written(tmp_path / "s.txt", "\n".join(f"{i} {line}" for i, line in enumerate(spoken))))
    counted = read(
        written(tmp_path / "c.txt", "1 train to bton\n2 trains\n3 trains to far aville\n"), labels=("a", "b")
    )
    assert len(counted.rows) == 3
    assert (
        len(description.rows) == 20
        and "ends with a comma and one of 2 words, such as 'thanks'" in description.notes[-1]
    )


def test_two_texts_stand_on_one_line_and_a_label_beside_them_is_told(tmp_path: Path) -> None:
    result = read(written(tmp_path / "t.tsv", "fly to aville\tis it far\n"), task=PAIR)
    assert [(row.text, row.second) for row in result.rows] == [("fly to aville", "is it far")]
    with pytest.raises(DataError, match="ends with a label of the task"):
        read(written(tmp_path / "u.txt", "fly\tis it far\tyes\ngo\tis it far\tno\n"), task=PAIR, labels=("yes", "no"))


# ---------------------------------------------------------------- another language


def rows(*found: str) -> list[Row]:
    return [Row(text=text) for text in found]


OURS = rows(*("fly to aville on monday", "show trains to bton", "i like cburg a lot", "is dham far") * 10)


@pytest.mark.parametrize(
    ("strange", "told"),
    [
        (
            rows("xyloph quibt zorv kamp", "brelt quimf dozt"),
            "tokens a character in place of",
        ),  # spelt letter by letter
        (rows("бабушка едет домой", "поезд aville"), "of its tokens unknown in place of 0 %"),
        (rows(*(" ".join("abcdefghijklmnopqrstuvwxyz") for _ in range(3))), "of its 25 commonest tokens"),
    ],
)
def test_text_of_another_language_is_told(strange: list[Row], told: str) -> None:
    (note,) = strangeness(strange, OURS, make_tokenizer())
    assert told in note and "is it of another language" in note


def test_text_like_the_training_rows_gets_no_note() -> None:
    assert strangeness(rows("fly to bton", "leave aville on friday", "is new efield far"), OURS, make_tokenizer()) == []
    assert strangeness(OURS, [], make_tokenizer()) == []


# ---------------------------------------------------------------- how often


@pytest.mark.parametrize(
    ("n_rows", "n_unlabelled", "passes"),
    [
        (200, 0, 40),
        (200, 9800, 2),
        (200, 24_000, 1),
        (200, 300, 16),
        (5000, 20_000, 1),
        (5000, 0, 5),
        (50_000, 0, 2),
        (10, 0, 40),
    ],
)
def test_passes_over_all_rows_come_near_the_visits_of_the_effort(n_rows: int, n_unlabelled: int, passes: float) -> None:
    assert EFFORTS["standard"].text_epochs(n_rows, n_unlabelled) == passes


def test_of_more_text_than_is_read_once_the_most_alike_is() -> None:
    others = [f"quarterly revenue fell {i}" for i in range(10)]
    texts = [*others[:5], *(f"a flight to boston {i}" for i in range(15_000)), *others[5:]]
    many = Unlabelled(tuple(rows(*texts)), "sum", ("15010 unlabelled texts",))

    def afforded(**options: object) -> Unlabelled:
        request = FitRequest(device="here", task="classify", effort="quick", **options)
        return _afforded(many, request, rows("show me flights from boston", "the flight to denver"))

    first, again, other = afforded(), afforded(), afforded(seed=1)
    assert first.rows == many.rows[5:-5] and first == again and first.sha256 not in ("sum", other.sha256)
    assert "15000 of 15010 unlabelled texts are learnt from, those most like the training rows" in first.notes[-1]
    assert afforded(epochs=1.0) is many
