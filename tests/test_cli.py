"""What the command line shows before anything runs."""

from __future__ import annotations

from collections import Counter

import pytest
from click.testing import CliRunner

from edgebert.cli import cli, main
from edgebert.cli import predict as predicting
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
