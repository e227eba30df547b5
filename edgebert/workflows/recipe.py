"""Recipes: methods in order, from `a+b+c`, from a TOML file, or the default; parameters checked before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.converters import CONVERTERS
from edgebert.errors import RequestError, shown
from edgebert.faults import is_installed, not_installed
from edgebert.methods import METHODS, STAGES, Method, unchanged
from edgebert.training.context import AnswerKind
from edgebert.types import MethodCall, Recipe, Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DEFAULT_RECIPE = "trim-vocab+drop-layers+kd"
PACKED_RECIPE = "trim-vocab+round-embedding+drop-layers+kd"  # where the word table is stored below 8 bits
TRAINING_ADDED = "finetune"
CUT = "cut"  # the method that makes one of many networks


def read_recipe(text: str | None, params: Mapping[str, object] | None = None) -> tuple[Recipe, list[str]]:
    """A checked recipe and notes on what was added to it.

    Args:
        text: `trim-vocab+drop-layers+tinybert`, the path of a TOML file with `[[method]]` tables, or None.
        params: values by `method.parameter`, such as `tinybert.temperature`; they override the file's.

    Raises:
        RequestError: an unknown method or parameter, methods in an impossible order, one named twice.
    """
    text = text or DEFAULT_RECIPE
    calls = _from_file(Path(text)) if text.endswith(".toml") else [MethodCall(name.strip()) for name in text.split("+")]
    calls = _with_params(calls, params or {})
    methods = [METHODS.get(call.method) for call in calls]
    _check_order(methods)
    notes = []
    if not any(method.stage == "train" for method in methods):
        calls.append(MethodCall(TRAINING_ADDED))
        notes.append(f"the recipe trains nothing, so {TRAINING_ADDED} was added at its end")
    for call in calls:
        METHODS.get(call.method).read_params(call.params)
    return Recipe(tuple(calls)), notes


def check_methods(recipe: Recipe, head: str, why_own_tokenizer: str = "") -> None:
    """That the methods go together, serve the head, and can do with the student's tokenizer.

    Args:
        head: of `edgebert.modeling.heads.HEADS`.
        why_own_tokenizer: why the teacher cannot read the student's tokens; "" where it can.

    Raises:
        RequestError: which method cannot, and why.
    """
    methods = [METHODS.get(call.method) for call in recipe.calls]
    names, where = [method.name for method in methods], "--student"
    for first, second in combinations(methods, 2):
        if first.fixes_shape and second.reshape is not unchanged and not second.fixes_shape:
            what = f"{second.name} changes the architecture, by which what {first.name} did would be lost"
            raise RequestError(what, where="--recipe", hint=f"Name {second.name} before {first.name}.")
    for method in methods:
        for other, why in method.excludes.items():
            if other in names:
                raise RequestError(f"{method.name} and {other} exclude each other: {why}", where="--recipe")
        if method.heads and head not in method.heads:
            what = f"{method.name} serves {' and '.join(method.heads)} heads, and this task has a {head} one"
            raise RequestError(what, where="--recipe", hint="`edgebert methods` lists which method serves which task.")
        if why_own_tokenizer and not method.any_tokenizer:
            able = ", ".join(item.name for item in METHODS.all().values() if item.any_tokenizer)
            what = f"{method.name} needs a student with the teacher's tokens, and {why_own_tokenizer}"
            raise RequestError(what, where=where, hint=f"These methods do not need that: {able}.")
        if method.makes_tokenizer:
            why_own_tokenizer, where = f"{method.name} gives it others", "--recipe"


def check_search(recipe: Recipe, trials: int, study: str | None = None) -> None:
    """Raises RequestError where networks shall be judged and the recipe cuts none out of a trained one, or where there is a
    place to keep what was judged and nothing is."""
    if study is not None and not trials:
        raise RequestError("no network is judged", where="--study", hint="Say how many: --search-trials 200.")
    if trials and not is_installed("optuna"):
        raise not_installed("optuna", "--search-trials")
    names = [call.method for call in recipe.calls]
    serving = [name for name in names if METHODS.get(name).serves_many]
    if trials and (CUT not in names or not serving or names.index(serving[-1]) != names.index(CUT) - 1):
        what = "networks are cut out of one that is trained first, and this recipe does not do that"
        hint = "Name such a recipe, as in --recipe trim-vocab+dynabert+cut+kd."
        raise RequestError(what, where="--search-trials", hint=hint)
    if trials and (given := [name for call in recipe.calls if call.method == CUT for name in call.params]):
        what = f"the search chooses what is cut, and {CUT}.{given[0]} is set"
        raise RequestError(what, where="--search-trials", hint=f"Leave out --set {CUT}.{given[0]}.")


def answer_kinds(recipe: Recipe) -> dict[str, AnswerKind]:
    """The kind of stored answers that each method learns from; methods that ask the teacher themselves are left out."""
    methods = [(METHODS.get(call.method), call.params) for call in recipe.calls]
    results = {method.name: method.answers(**method.read_params(params)) for method, params in methods}
    return {name: kind for name, kind in results.items() if kind}


def check_mask(recipe: Recipe, tokenizer: Tokenizer) -> None:
    """Raises RequestError where a method hides tokens and the student's vocabulary has nothing to hide them behind."""
    from edgebert.training.mlm import mask_id

    for call in recipe.calls:
        method = METHODS.get(call.method)
        if method.hides_tokens(**method.read_params(call.params)):
            mask_id(tokenizer, where=method.name)


def check_text(recipe: Recipe, tokenizer: Tokenizer, rows: Sequence[Row]) -> None:
    """Raises RequestError where a method cannot use the student's tokenizer, or the rows that it will learn from."""
    for call in recipe.calls:
        method = METHODS.get(call.method)
        method.check_text(tokenizer, rows, **method.read_params(call.params))


def formats_of(recipe: Recipe, formats: Sequence[str], asked: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Of the formats, those that can express what the recipe makes, and notes on the others.

    Raises:
        RequestError: one that was asked for cannot, or none can.
    """
    cannot = {
        name: method.name
        for call in recipe.calls
        for method in [METHODS.get(call.method)]
        for name in formats
        if method.formats and name not in method.formats
    }
    kept = tuple(name for name in formats if name not in cannot)
    if refused := [name for name in cannot if name in asked or not kept]:
        method = METHODS.get(cannot[refused[0]])
        what = f"a student of {method.name} cannot be converted to {refused[0]}"
        raise RequestError(what, where="--format", hint=f"It can be converted to {' or '.join(method.formats)}.")
    return kept, [
        f"no {name} file is written: the format cannot express a student of {method}" for name, method in cannot.items()
    ]


def formats_of_families(
    students: Collection[str], teacher: str, formats: Sequence[str], asked: Sequence[str]
) -> tuple[tuple[str, ...], list[str]]:
    """Of the formats, those that can express the students' families, and notes on the others.

    Args:
        teacher: the teacher's family, which becomes an ONNX file that students are timed beside.

    Raises:
        RequestError: one that was asked for cannot, none can, or the teacher cannot be written.
    """
    if why := CONVERTERS.get("onnx").families_without.get(teacher):
        raise RequestError(f"a {teacher} model cannot be written as ONNX: {why}", where="--teacher")
    cannot = {
        name: f"a {family} model cannot be written as {name}: {why}"
        for name in formats
        for family, why in CONVERTERS.get(name).families_without.items()
        if family in students
    }
    kept = tuple(name for name in formats if name not in cannot)
    if refused := [name for name in cannot if name in asked or not kept]:
        raise RequestError(cannot[refused[0]], where="--format", hint="Choose another format, or another family.")
    return kept, [f"no {name} file: {why}" for name, why in cannot.items()]


def recipe_text(recipe: Recipe) -> str:
    """The recipe on one line, with the parameters that were set."""

    def one(call: MethodCall) -> str:
        given = ",".join(f"{name}={value}" for name, value in call.params.items())
        return f"{call.method}({given})" if given else call.method

    return "+".join(one(call) for call in recipe.calls)


def _from_file(path: Path) -> list[MethodCall]:
    """The methods of a TOML file. Raises RequestError with the file, the table and the parameter that is wrong."""
    from edgebert.files import read_toml

    where, results = str(path), read_toml(path)
    tables, hint = results.get("method"), 'Write one for each method, such as: [[method]] name = "tinybert"'
    if not isinstance(tables, list) or not tables:
        raise RequestError("the recipe has no [[method]] table", where=where, hint=hint)
    if aside := [key for key in results if key != "method"]:
        raise RequestError(f"unknown key '{shown(aside[0])}'", where=where, hint=hint)
    calls = []
    for number, table in enumerate(tables, 1):
        place = f"{where}, [[method]] {number}"
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            raise RequestError("a [[method]] table has no name", where=place, hint=hint)
        call = MethodCall(table["name"], {key: value for key, value in table.items() if key != "name"})
        try:
            METHODS.get(call.method).read_params(call.params)
        except RequestError as error:
            what = "" if error.where in (None, "--recipe") else f", {error.where}"
            raise RequestError(error.what, where=f"{place}{what}", hint=error.hint) from None
        calls.append(call)
    return calls


def _with_params(calls: list[MethodCall], params: Mapping[str, object]) -> list[MethodCall]:
    for key, value in params.items():
        name, dot, param = key.partition(".")
        if not dot or name not in {call.method for call in calls}:
            used = ", ".join(call.method for call in calls)
            what = f"'{key}' names no parameter of the recipe's methods ({used})"
            raise RequestError(what, where="--set", hint="Write --set METHOD.PARAMETER=VALUE.")
        calls = [replace(call, params={**call.params, param: value}) if call.method == name else call for call in calls]
    return calls


def _check_order(methods: list[Method]) -> None:
    for first, second in pairwise(methods):
        if STAGES.index(first.stage) > STAGES.index(second.stage):
            raise RequestError(
                f"{second.name} ({second.stage}) cannot come after {first.name} ({first.stage})",
                where="--recipe",
                hint=f"The order is {', '.join(STAGES)}.",
            )
        if first.last:
            what = f"{second.name} would train on after {first.name}, and lose what it made"
            raise RequestError(what, where="--recipe", hint=f"Name {first.name} last.")
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"the recipe names {name} twice", where="--recipe")
