"""edgebert data inspect: the task guessed, counts, problems, the picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgebert.data.inspect import draw, inspect
from edgebert.errors import RequestError

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
    found = inspect([str(tmp_path / name)])
    assert (found.task, found.guessed) == (task, True)


def test_counts_lengths_labels_and_problems(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(FILES["rows.csv"][1])
    found = inspect([str(path)], "classify")
    view = found.splits["train"]
    assert (view.n_rows, view.words_p50, view.words_max, view.lengths) == (3, 3, 3, (3, 3, 3))
    assert view.labels == {"ask": 2, "go": 1} and found.columns == ("text", "label")
    assert found.problems == (
        "train: 1 texts stand there more than once, with different labels",
        "train: 1 labels have a single row: go",
    )
    draw(found, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RequestError, match="--picture"):
        draw(found, tmp_path / "x.nothing")


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
