"""What the command line shows before anything runs."""

from __future__ import annotations

from collections import Counter

import pytest
from click.testing import CliRunner

from edgebert.cli import cli
from edgebert.cli import predict as predicting
from edgebert.cli.fit import GROUPS, command


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
