"""edgebert data inspect: the task guessed, counts, problems, the picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgebert.errors import DataError, RequestError
from edgebert.workflows.inspect import draw, inspect

FILES = {
    "rows.csv": ("classify", "text,label\nfly to dham,go\nis it far,ask\nfly to dham,ask\n"),
    "body.csv": ("classify", "msg,kind\nfly to dham,go\nis it far,ask\n"),
    "pairs.csv": ("similarity", "fly to dham,go to dham,4.5\nis it far,i like it,0\n"),
    "nli.jsonl": ("pair", '{"premise": "a b", "hypothesis": "c", "label": "yes"}\n'),
    "a.conll": ("ner", "fly O\ndham B-CITY\n"),
    "b.conll": ("tag", "fly VERB\ndham NOUN\n"),
    "lines.jsonl": ("embed", '{"text": "a b c"}\n'),
    "qa.jsonl": ("qa", '{"question": "a", "context": "b c", "answers": ["c"]}\n'),
}


@pytest.mark.parametrize("name", FILES)
def test_the_task_is_guessed_from_the_columns(name: str, tmp_path: Path) -> None:
    task, content = FILES[name]
    (tmp_path / name).write_text(content)
    result = inspect([str(tmp_path / name)])
    assert (result.task, result.guessed) == (task, True)


def test_counts_lengths_labels_and_problems(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(FILES["rows.csv"][1])
    result = inspect([str(path)], "classify")
    view = result.splits["train"]
    assert (view.n_rows, view.words_p50, view.words_max, view.lengths) == (3, 3, 3, (3, 3, 3))
    assert view.labels == {"ask": 2, "go": 1} and result.columns == ("text", "label")
    assert result.problems == (
        "train: 1 texts stand there more than once, with different labels",
        "train: 1 labels have a single row: go",
    )
    draw(result, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RequestError, match="--picture"):
        draw(result, tmp_path / "x.nothing")


def test_the_command_prints_and_gives_json(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("msg,kind\nfly to dham,go\nis it far,ask\n")
    (tmp_path / "test.csv").write_text("msg,kind\nfly to dham,go\nis it,new\n")

    def run(*more: str) -> str:
        command = [sys.executable, "-m", "edgebert", "data", "inspect", str(tmp_path), *more]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout

    text = run()
    assert "task: classify, guessed" in text and "note: text: read from the column 'msg'" in text
    assert "problem: train: the text of 1 rows is also in test" in text
    assert "problem: test: labels that train never shows" in text and "new (1)" in text
    assert json.loads(run("--json"))["splits"]["test"]["labels"] == {"go": 1, "new": 1}


def test_three_rows_are_shown_as_they_were_understood(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\nfly to dham,go\nfly to bton,go\nis it far,ask\nstay here,rest\n")
    result = inspect([str(path)])
    assert [(e.split, e.text, e.labels) for e in result.examples] == [
        ("train", "fly to dham", ("go",)),
        ("train", "is it far", ("ask",)),
        ("train", "stay here", ("rest",)),
    ]
    assert [e.where for e in result.examples] == [f"{path}:2", f"{path}:4", f"{path}:5"]
    (tmp_path / "a.conll").write_text("fly O\nnew B-CITY\ndham I-CITY\n")
    (example,) = inspect([str(tmp_path / "a.conll")]).examples
    assert (example.text, example.tagged) == ("fly new dham", ("new/B-CITY", "dham/I-CITY"))


def test_several_labels_are_seen_where_no_task_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,labels\nfly to dham,\"['go', 'air']\"\nis it far,['ask']\n")
    result = inspect([str(path)])
    assert [e.labels for e in result.examples] == [("go", "air"), ("ask",)]
    assert any("--set classify.multi_label=true" in note for note in result.notes)
    with pytest.raises(DataError, match="the label is a list"):
        inspect([str(path)], "classify")
    assert inspect([str(path)], "classify", options={"multi_label": "true"}).splits["train"].labels["air"] == 1


def test_a_task_is_known_where_the_catalogue_knows_it() -> None:
    from edgebert.data import find_all

    try:
        find_all(["atis"], None, "utf-8")
    except DataError:
        pytest.skip("the package of atis is not installed")
    assert inspect(["atis"]).task == "ner"


def test_hints_of_the_command_name_its_own_arguments(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from edgebert.cli.data import command

    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("text,label\na,b\n")
    result = CliRunner().invoke(command, ["inspect", str(tmp_path)])
    assert isinstance(result.exception, DataError) and "train=" in str(result.exception.hint)
    assert "--data" not in str(result.exception.hint)
    (tmp_path / "two.csv").unlink()
    shown = CliRunner().invoke(command, ["inspect", str(tmp_path), "--set", "classify.multi_label=true"])
    assert "rows as they were read:" in shown.output and "    label   b" in shown.output
