"""Recipes are checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebert.errors import RequestError
from edgebert.recipes import read_recipe, recipe_text


def test_the_default_recipe() -> None:
    recipe, notes = read_recipe(None)
    assert [call.method for call in recipe.calls] == ["trim-vocab", "drop-layers", "kd"]
    assert notes == []


def test_parameters_come_from_the_command_line() -> None:
    recipe, _ = read_recipe("drop-layers+tinybert", {"tinybert.temperature": "1.5", "drop-layers.strategy": "top"})
    assert recipe_text(recipe) == "drop-layers(strategy=top)+tinybert(temperature=1.5)"


def test_a_recipe_that_trains_nothing_is_completed_and_says_so() -> None:
    recipe, notes = read_recipe("drop-layers")
    assert [call.method for call in recipe.calls] == ["drop-layers", "finetune"]
    assert "finetune was added" in notes[0]


def test_a_toml_file_and_an_override(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[[method]]\nname = "drop-layers"\nn_layers = 2\n[[method]]\nname = "tinybert"\nhard = 0.5\n')
    recipe, _ = read_recipe(str(path), {"tinybert.hard": "0.25"})
    assert recipe.calls[0].params == {"n_layers": 2}
    assert recipe.calls[1].params == {"hard": "0.25"}


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("tinybrt", {}, "Did you mean tinybert"),
        ("tinybert+drop-layers", {}, r"drop-layers \(shape\) cannot come after tinybert"),
        ("tinybert+tinybert", {}, "stands twice"),
        ("tinybert", {"tinybert.temprature": "1"}, "Did you mean temperature"),
        ("tinybert", {"tinybert.temperature": "hot"}, "'hot' is not float"),
        ("tinybert", {"tinybert.temperature": "0"}, "below 0.1"),
        ("drop-layers", {"drop-layers.strategy": "tops"}, "Did you mean top"),
        ("tinybert", {"drop-layers.strategy": "top"}, "not METHOD.PARAMETER of a method in the recipe"),
        ("tinybert", {"temperature": "1"}, "not METHOD.PARAMETER"),
        ("nothere.toml", {}, "no such file"),
    ],
)
def test_mistakes_are_told(text: str, params: dict[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_recipe(text, params)


def test_a_broken_toml_file_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("[[method]\n")
    with pytest.raises(RequestError, match=r"r\.toml: cannot be read as TOML"):
        read_recipe(str(path))
    path.write_text("[other]\n")
    with pytest.raises(RequestError, match=r"no .*method.* table"):
        read_recipe(str(path))
