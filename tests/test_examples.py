"""What documents show works: examples run, command lines parse, doctests hold, and guides' plug-ins keep the contracts."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest

import edgebert
from edgebert.cli import cli
from edgebert.registry import Registry
from tests import test_tasks

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
DOCTESTED = (
    "edgebert.files",
    "edgebert.measure.runner",
    "edgebert.search.halving",
    "edgebert.tasks._labels",
    "edgebert.tasks.pair",
)
FENCED = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.M | re.S)


# ---------------------------------------------------------------- examples


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_here() -> None:
    assert {path.name for path in (ROOT / "examples").iterdir() if path.is_file()} == {
        "fit_and_predict.py",
        "recipe.toml",
    }


def test_the_python_example_fits_and_predicts(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = load(ROOT / "examples" / "fit_and_predict.py").main(
        text="fly from aville to bton",
        teacher=str(toy_checkpoint),
        data=str(toy_data),
        run=str(tmp_path / "run"),
        recipe="drop-layers+kd",
        params={"drop-layers.n_layers": "2"},
        teacher_epochs=4,
        epochs=4,
        learning_rate=3e-3,
        max_drop=60,
        formats=("onnx",),
    )
    assert len(answers) == 1
    assert "L2-v82 onnx int8" in capsys.readouterr().out


def test_the_recipe_example_is_a_recipe() -> None:
    from edgebert.workflows.recipe import read_recipe

    recipe, _ = read_recipe(str(ROOT / "examples" / "recipe.toml"))
    assert [call.method for call in recipe.calls] == ["trim-vocab", "drop-layers", "tinybert"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_use_names_that_the_package_has(path: Path) -> None:
    for block in re.findall(r"(?:^    import edgebert\n)(?:^(?:    .*)?\n)+", path.read_text(encoding="utf-8"), re.M):
        used = list(ast.walk(ast.parse(re.sub(r"^    ", "", block, flags=re.M))))
        names = {
            node.attr for node in used if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "edgebert"
        }
        assert names <= set(edgebert.__all__)


# ---------------------------------------------------------------- command lines


def command_lines(text: str) -> Iterator[str]:
    """Lines of code that begin with `edgebert`, and such code within sentences; without comments and pipes."""
    text = re.sub(
        r"^```(\w*)[^\n]*\n(.*?)^```$", lambda m: re.sub(r"^", "    ", m[2], flags=re.M), text, flags=re.M | re.S
    )
    yield from re.findall(r"^    +(?:\S+/)?(?=edgebert )(.*)$", text, re.M)
    for code in re.findall(r"`(edgebert [^`]+)`", text):
        yield code.replace("\n", " ")


def words_of(line: str) -> list[str]:
    return shlex.split(re.split(r"\s+\||\s+>|\s&&", line)[0], comments=True)[1:]


def parse(words: list[str], group: click.Group = cli) -> None:
    """Raises click's errors for commands, options and values that are not there; runs nothing."""
    with click.Context(group) as context:
        if not words or words[0] in ("-h", "--help"):
            return
        command = group.get_command(context, words[0])
        if command is None:
            raise click.UsageError(f"no command {words[0]}")
        if isinstance(command, click.Group) and len(words) > 1 and command.get_command(context, words[1]):
            parse(words[1:], command)
        else:
            command.make_context(words[0], list(words[1:]), parent=context)


ALL_LINES = sorted({line for path in DOCUMENTS for line in command_lines(path.read_text(encoding="utf-8"))})


def test_documents_have_command_lines() -> None:
    assert len(ALL_LINES) > 50


@pytest.mark.parametrize("line", ALL_LINES)
def test_a_command_line_of_the_documents_parses(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_of(line)
    if "COMMAND" in words or "…" in words:  # what stands for any command, or for more
        pytest.skip("a form, not a command line")
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)  # files are the reader's
    try:
        parse(words)
    except click.MissingParameter:
        if len(words) > 2:  # `edgebert fit` in a sentence names the command
            raise


def options_of(command: click.Command) -> set[str]:
    """Every option of a command and of the commands below it."""
    found = {name for param in command.params for name in param.opts if name.startswith("--")}
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            below = [command.get_command(context, name) for name in command.list_commands(context)]
        found |= {name for item in below if item is not None for name in options_of(item)}
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_options_in_sentences_of_the_documents_exist(path: Path) -> None:
    named = set(re.findall(r"`(--[a-z][a-z-]+)[^`]*`", path.read_text(encoding="utf-8")))
    assert named <= options_of(cli) | {"--help", "--debug", "--version"}


def test_a_wrong_command_line_would_be_found() -> None:
    with pytest.raises(click.NoSuchOption):
        parse(words_of("edgebert fit --device pixel6 --maximal-size 3"))
    with pytest.raises(click.UsageError):
        parse(words_of("edgebert shrink"))


# ---------------------------------------------------------------- doctests


@pytest.mark.parametrize("name", DOCTESTED)
def test_doctests(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted > 0
    assert failed == 0


# ---------------------------------------------------------------- guides


def example_of(guide: str, folder: Path) -> Path:
    """The file that a guide shows, written down."""
    text = (ROOT / "docs" / "guides" / guide).read_text(encoding="utf-8")
    (_, title, body), *_ = FENCED.findall(text)
    path = folder / Path(title).name
    path.write_text(body, encoding="utf-8")
    return path


def add(registry: Registry[Any], module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The declaration of a module, in its registry for one test."""
    added = registry.read([module])
    known = {**registry.all(), **added}
    monkeypatch.setattr(registry, "all", lambda: known)
    return next(iter(added.values()))


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Rated sentences, each unlike the others."""
    words = {1: "bad", 2: "slow", 3: "plain", 4: "good", 5: "great"}
    lines = [f"it is {words[1 + i % 5]} {'x' * (i // 26)} {chr(97 + i % 26)},{1 + i % 5}" for i in range(200)]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["review,rating", *lines]) + "\n", encoding="utf-8")
    return path


def test_the_method_of_the_guide(
    toy_checkpoint: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgebert.methods import METHODS

    method = add(METHODS, load(example_of("add-a-method.md", tmp_path)), monkeypatch)
    with pytest.raises(edgebert.EdgebertError, match="is above 1"):
        method.read_params({"amount": 2})
    result = edgebert.compress(
        str(toy_checkpoint), f"drop-layers+{method.name}", task="classify", data=str(reviews),
        output=str(tmp_path / "student"), params={"drop-layers.n_layers": "2", f"{method.name}.amount": "0.2"},
        epochs=1, teacher_epochs=1, columns={"text": "review", "label": "rating"},
    )  # fmt: skip
    assert result.n_parameters < result.teacher_parameters


@pytest.mark.parametrize("guide", ["add-a-method.md", "add-a-task.md"])
def test_guides_list_every_head(guide: str) -> None:
    from edgebert.modeling.heads import HEADS, MULTI_TASK

    text = (ROOT / "docs" / "guides" / guide).read_text(encoding="utf-8")
    assert [name for name in HEADS.all() if f"`{name}`" not in text] == [MULTI_TASK]


def test_the_guide_lists_every_key_of_a_profile() -> None:
    from edgebert.devices.profiles import BUDGET, CORES, DEVICE, SOURCES, device_profiles

    text = (ROOT / "docs" / "guides" / "add-a-device.md").read_text(encoding="utf-8")
    for key in (*DEVICE, *BUDGET, *SOURCES):
        assert f"`{key}`" in text, key
    assert all(f"\n{key} = " in text for key in CORES)
    runtimes = {name for profile in device_profiles().values() for name in profile.runtimes}
    assert all(f"`{name}`" in text for name in runtimes)


def test_the_guide_lists_the_arguments_of_train_student() -> None:
    import inspect

    from edgebert.training.run import train_student

    text = (ROOT / "docs" / "guides" / "add-a-method.md").read_text(encoding="utf-8")
    assert [name for name in inspect.signature(train_student).parameters if f"`{name}`" not in text] == []


def test_the_device_of_the_guide(tmp_path: Path) -> None:
    device = edgebert.get_device(str(example_of("add-a-device.md", tmp_path)))
    assert device.name == "my-board"
    assert device.budget.size_mb == 8


def test_the_task_of_the_guide(
    toy_checkpoint: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgebert.tasks import TASKS
    from edgebert.types import Row

    task = add(TASKS, load(example_of("add-a-task.md", tmp_path)), monkeypatch)
    for contract in test_tasks.CONTRACT:
        contract(task.name)
    rows = [Row(text="good", labels=("4",)), Row(text="bad", labels=("1",))]
    logits = [{"logits": np.array(item, np.float32)} for item in ([0, 0, 0, 3, 0], [0, 9, 0, 0, 0])]
    predictions = task.decode(rows, (), logits, task.labels(rows))
    assert predictions == ["4", "2"]
    assert task.score(rows, predictions, "test").value == 1 - 1 / 8  # one of two is one star of four off
    assert task.configured({"cautious": "true"}).decode(
        rows[:1], (), [{"logits": np.zeros(5, np.float32)}], "12345"
    ) == ["3"]
    result = edgebert.compress(
        str(toy_checkpoint), "drop-layers+kd", task=task.name, data=str(reviews), output=str(tmp_path / "student"),
        params={"drop-layers.n_layers": "2"}, epochs=1, teacher_epochs=1,
    )  # fmt: skip
    assert result.test.metric == "rating closeness"


def test_the_format_of_the_guide(toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgebert.converters import CONVERTERS

    add(CONVERTERS, load(example_of("add-a-format.md", tmp_path)), monkeypatch)
    result = edgebert.convert(
        str(toy_checkpoint), "pt2", head="sentence-embedding", precisions=("fp32", "fp16"), output=str(tmp_path / "out")
    )
    assert result.exit_code == 0
    assert [item.comparison is not None and item.comparison.failures for item in result.conversions] == [(), ()]
    assert result.conversions[1].size_share < 0.95


def test_the_platform_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgebert.bundle.platforms import PLATFORMS
    from tests.packages import make_bundle

    platform = add(PLATFORMS, load(example_of("add-a-platform.md", tmp_path)), monkeypatch)
    made = edgebert.package(
        str(make_bundle(tmp_path / "run")), platform.name, output=str(tmp_path / "out"), name="mine"
    )
    files = {path.name for path in made.folder.iterdir()}
    assert {"README.md", "edgebert.json", "golden.jsonl", "manifest.json", "model.fp32.onnx"} <= files
    with pytest.raises(edgebert.EdgebertError, match="such as my-model"):
        edgebert.package(str(tmp_path / "run" / "bundle"), platform.name, output=str(tmp_path / "out"), name="Mine!")


def test_the_target_of_the_guide(toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgebert.measure.targets import TARGETS

    target = add(TARGETS, load(example_of("add-a-target.md", tmp_path)), monkeypatch)
    assert "no program" in target.answers("/nowhere/python3")
    written = edgebert.convert(
        str(toy_checkpoint), "onnx", head="sentence-embedding", precisions=("fp32",), output=str(tmp_path / "out")
    )
    artifact = written.conversions[0].artifact
    assert artifact is not None
    found = edgebert.profile(artifact.path, on=f"{target.name}:{sys.executable}", length=16, max_seconds=0).results[0]
    assert found.failure == ""
    assert found.n_runs >= 50
    assert found.max_difference == 0.0
