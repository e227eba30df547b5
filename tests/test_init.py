"""`edgebert init`: a commented edgebert.toml, by asking or from options; nothing is lost and nothing wrong is written."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from edgebert.cli import cli, main
from edgebert.files import read_toml
from edgebert.workflows.config import config_problems, read_config
from edgebert.workflows.options import schema


def init(*arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(cli, ["init", *arguments], input=answers, standalone_mode=False)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def valid(path: Path) -> bool:
    return jsonschema.Draft202012Validator(schema()).is_valid(read_toml(path)) and config_problems(path) == []


def test_options_alone_write_a_file_that_is_valid(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,b\n", encoding="utf-8")
    (tmp_path / "my-bert").mkdir()
    done = init(
        "--device", "pixel6", "--device", "iphone13", "--task", "classify", "--teacher", "./my-bert",
        "--data", "rows.csv", "--platform", "android,ios", "--yes",
    )  # fmt: skip
    assert done.exception is None, done.output
    path = Path("edgebert.toml")
    assert valid(path)
    config = read_config(path)
    assert (config.devices, config.several, config.platforms) == (("pixel6", "iphone13"), True, ("android", "ios"))
    assert config.values == {"task": "classify", "teacher": "./my-bert", "data": ("rows.csv",)}
    assert "# effort = " in path.read_text(encoding="utf-8")
    assert "edgebert fit --config edgebert.toml" in done.output


def test_nothing_given_is_the_demo(tmp_path: Path) -> None:
    assert init("--yes", "-o", "job/my.toml").exception is None
    assert valid(Path("job/my.toml"))
    assert read_config(Path("job/my.toml")).values == {"task": "ner"}


def test_it_asks_lists_what_there_is_and_asks_again(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "train.conll").write_text("fly\tO\n", encoding="utf-8")
    done = init(answers="pixle6\npixel6, rpi4\nner\n\ntrain.conll\nweb\n")
    assert done.exception is None, done.output
    assert "Did you mean pixel6" in done.output
    assert "iphone13" in done.output and "classify" in done.output and "mediapipe" in done.output
    assert valid(Path("edgebert.toml"))
    config = read_config(Path("edgebert.toml"))
    assert (config.devices, config.platforms) == (("pixel6", "rpi4"), ("web",))
    assert config.values == {"task": "ner", "data": ("train.conll",)}, "the default teacher is not written"


def test_defaults_of_the_questions() -> None:
    assert init(answers="\n" * 5).exception is None
    config = read_config(Path("edgebert.toml"))
    assert (config.devices, config.values, config.platforms) == (("pixel6",), {"task": "ner"}, ())


def test_a_file_that_is_there_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("edgebert.toml")
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["init", "--yes"])
    assert ended.value.code == 2
    assert "edgebert.toml: the file is there already\n  Give --force" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "mine"
    assert init("--yes", "--force").exception is None
    assert valid(path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "pixle6"], "Did you mean pixel6"),
        (["--device", "my.toml"], "my.toml: no such file"),
        (["--task", "nre"], "Did you mean ner"),
        (["--platform", "androit"], "Did you mean android"),
        (["-o", "."], "this is a folder"),
        (["-o", "/proc/edgebert.toml"], "cannot write here"),
    ],
)
def test_what_is_not_there_is_not_written(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["init", "--yes", *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_terminal_and_no_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = init(answers="pixel6\n")
    assert done.exception is not None
    assert list(tmp_path.iterdir()) == []
