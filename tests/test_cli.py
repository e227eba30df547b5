"""What the command line shows before anything runs."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from edgebert.cli import cli, main
from edgebert.cli import predict as predicting
from edgebert.cli._progress import Progress
from edgebert.cli.fit import GROUPS, command
from edgebert.errors import WorkerFinished


def test_every_option_of_fit_stands_in_one_group() -> None:
    names = {max(option.opts, key=len).lstrip("-") for option in command.params} | {"help"}
    assert Counter(name for group in GROUPS.values() for name in group) == Counter(names)


def test_the_five_options_that_matter_come_first() -> None:
    text = CliRunner().invoke(cli, ["fit", "--help"]).output
    titles = [line.rstrip(":") for line in text.splitlines() if line.rstrip(":") in GROUPS]
    assert titles == list(GROUPS)
    first = [line.split()[0] for line in text.splitlines() if line.startswith("  --")][:5]
    assert first == ["--device", "--task", "--teacher", "--data", "--run"]
    assert "Examples:" in text


@pytest.mark.parametrize(("answer", "line"), [(True, "True"), (4, "4"), ("yes", "yes"), ({"label": "go"}, "label: go")])
def test_an_answer_that_is_a_bare_value_is_printed(
    answer: object, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    predicting._print(answer)
    assert capsys.readouterr().out == f"{line}\n"


def test_a_process_that_was_there_to_train_ends_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def finished(*_: object, **__: object) -> None:
        raise WorkerFinished

    monkeypatch.setattr("edgebert.api.fit", finished)
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--device", "pixel6", "--quiet"])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


# ---------------------------------------------------------------- progress


def shown_epochs(capsys: pytest.CaptureFixture[str], events: list[dict[str, Any]]) -> list[str]:
    progress = Progress()
    for event in events:
        progress({"event": "epoch", "training": "kd", "seconds": 1.0, **event})
    return re.findall(r"epoch ([\d.]+)", capsys.readouterr().err)


def test_a_hundred_epochs_are_shown_in_a_dozen_lines(capsys: pytest.CaptureFixture[str]) -> None:
    events = [{"epoch": epoch, "epochs": 100} for epoch in range(1, 101)]
    lines = shown_epochs(capsys, events)
    assert lines == ["1", "10", "19", "28", "37", "46", "55", "64", "73", "82", "91", "100"]
    scored = [event | ({"dev": 0.5} if event["epoch"] % 7 == 0 else {}) for event in events]
    lines = shown_epochs(capsys, scored)
    assert (lines[0], lines[-1], len(lines)) == ("1", "100", 9)
    assert {int(line) % 7 for line in lines[2:-1]} == {0}, "those that have a score"


def test_few_epochs_are_all_shown_and_so_is_another_training_of_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    few = [{"epoch": epoch, "epochs": 3} for epoch in (1, 2, 3)]
    assert shown_epochs(capsys, [*few, *few]) == ["1", "2", "3", "1", "2", "3"]
    assert shown_epochs(capsys, [{"epoch": 0.5, "epochs": 0.5}]) == ["0.5"]


def test_compress_says_that_it_compresses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def compress(*_: object, on_event: Progress, **__: object) -> None:
        on_event({"event": "request", "teacher": "my-bert", "device": "this-machine", "task": "ner", "data": "atis"})
        raise WorkerFinished

    monkeypatch.setattr("edgebert.api.compress", compress)
    with pytest.raises(SystemExit):
        main(["compress", "my-bert", "--recipe", "kd"])
    assert capsys.readouterr().err == "00:00  compressing my-bert: ner on atis\n"


def test_the_table_of_runs_fits_eighty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "classify-banking77-galaxy-a03-core"
    for folder in (tmp_path / name, tmp_path / "done" / "bundle"):
        folder.mkdir(parents=True)
    for folder in (tmp_path / name, tmp_path / "done"):
        (folder / "request.toml").write_text("")
        (folder / "stages").mkdir()
    (tmp_path / "done" / "bundle" / "manifest.json").write_text("{}")
    (tmp_path / name / "stages" / ".teacher-0123456789ab.partial").mkdir()
    monkeypatch.setattr("edgebert.cli._show.stdout_console", lambda: Console(width=80))
    with pytest.raises(SystemExit) as ended:
        main(["runs", "--root", str(tmp_path)])
    head, first, second = capsys.readouterr().out.rstrip().splitlines()
    assert (ended.value.code or 0, head.split()) == (0, ["run", "changed", "stages", "state"])
    assert re.fullmatch(rf"{name} +\d{{4}}-\d\d-\d\d \d\d:\d\d +0 +stopped in teacher *", first)
    assert re.fullmatch(r"done +\d{4}-\d\d-\d\d \d\d:\d\d +0 +packaged *", second)
