"""Recipes are checked before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.search.plan import check_shapes
from edgebert.workflows.recipe import check_methods, formats_of, read_recipe, recipe_text
from tests.families import tiny


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
    path.write_text(
        '[[method]]\nname = "drop-layers"\nn_layers = 2\n[[method]]\nname = "tinybert"\nhard_label_weight = 0.5\n'
    )
    recipe, _ = read_recipe(str(path), {"tinybert.hard_label_weight": "0.25"})
    assert recipe.calls[0].params == {"n_layers": 2}
    assert recipe.calls[1].params == {"hard_label_weight": "0.25"}


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("tinybrt", {}, "Did you mean tinybert"),
        ("tinybert+drop-layers", {}, r"drop-layers \(shape\) cannot come after tinybert"),
        ("tinybert+tinybert", {}, "names tinybert twice"),
        ("tinybert", {"tinybert.temprature": "1"}, "Did you mean temperature"),
        ("tinybert", {"tinybert.temperature": "hot"}, "'hot' cannot be read as a number"),
        ("tinybert", {"tinybert.temperature": "0"}, "below 0.1"),
        ("drop-layers", {"drop-layers.strategy": "tops"}, "Did you mean top"),
        ("tinybert", {"drop-layers.strategy": "top"}, "names no parameter of the recipe's methods"),
        ("tinybert", {"temperature": "1"}, "names no parameter"),
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


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ('method = ["a"]', "[[method]] 1", "has no name"),
        ("method = 3", "", "no [[method]] table"),
        ('[[method]]\nname = ["a"]', "[[method]] 1", "has no name"),
        ('[[method]]\nname = "kd"\n[other]', "", "unknown key 'other'"),
        ('[[method]]\nname = "kd"\n[[method]]\nname = "../kd"', "[[method]] 2", "unknown method '../kd'"),
        ('[[method]]\nname = "kd"\nwarmth = 1', "[[method]] 1", "unknown parameter of kd 'warmth'"),
        *(
            (f'[[method]]\nname = "{name}"\n{param} = {value}', f"[[method]] 1, {name}.{param}", "cannot be read as")
            for name, param, values in (
                ("drop-layers", "n_layers", ("inf", "2.5", "true", "[1]", "1979-05-27", '"two"')),
                ("kd", "temperature", ("nan", "-inf", '"warm"', "{ a = 1 }", "true")),
                ("drop-layers", "layers", ("3", "[1.5]", "[[1]]", '["a"]', "{ a = 1 }")),
            )
            for value in values
        ),
    ],
)
def test_whatever_is_wrong_in_a_toml_file_is_told_with_its_place(
    text: str, where: str, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RequestError) as caught:
        read_recipe(str(path))
    assert what in caught.value.what and caught.value.where == (f"{path}, {where}" if where else str(path))


# ---------------------------------------------------------------- what cannot be, told before anything is trained


def config_of(family: str, **changes: Any) -> Any:
    config = tiny(family, **changes).config
    config.architectures = ["SomeForTokenClassification"]
    return config


@pytest.mark.parametrize(
    ("family", "recipe", "params", "told"),
    [
        ("fnet", "minilm", {}, "reads the teacher's attentions and values, and the family fnet gives no attention"),
        ("xlnet", "minilm", {}, "has no value projection that can be told"),
        ("albert", "theseus", {"theseus.n_layers": 1}, "has no list of"),
        ("bert", "bilstm+minilm", {"bilstm.embedding_width": 16}, "the student's attentions and values"),
    ],
)
def test_models_that_lack_what_a_method_reads(family: str, recipe: str, params: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        check_shapes(config_of(family), read_recipe(recipe, params)[0], config_of(family))


def test_a_student_larger_than_its_teacher_is_refused() -> None:
    with pytest.raises(RequestError, match=r"a student of [\d,]+ parameters is larger than its teacher of [\d,]+"):
        check_shapes(config_of("bert", num_hidden_layers=4), read_recipe("kd", {})[0], config_of("bert"))


def test_methods_that_exclude_each_other() -> None:
    recipe, _ = read_recipe("drop-layers+well-read", {})
    with pytest.raises(RequestError, match="well-read and drop-layers exclude each other: "):
        check_methods(recipe, "token-classification")


def test_a_method_for_other_heads_is_refused() -> None:
    recipe, _ = read_recipe("mini-seq", {})
    with pytest.raises(RequestError, match="serves token-classification heads, and this task has a question-answering"):
        check_methods(recipe, "question-answering")


def test_formats_that_a_method_cannot_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS.all(), "kd", replace(METHODS.get("kd"), formats=("onnx",)))
    recipe, _ = read_recipe("kd", {})
    kept, notes = formats_of(recipe, ("tflite", "onnx"), ())
    assert kept == ("onnx",) and notes == ["no tflite file is written: the format cannot express a student of kd"]
    with pytest.raises(RequestError, match="a student of kd cannot be converted to tflite"):
        formats_of(recipe, ("tflite", "onnx"), ("tflite",))
