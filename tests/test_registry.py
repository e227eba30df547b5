"""A plug-in that breaks its contract is refused when it is loaded, with its file and the field."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from edgebert.bundle.platforms import PLATFORMS
from edgebert.converters import CONVERTERS
from edgebert.errors import PluginError
from edgebert.measure.targets import TARGETS
from edgebert.methods import METHODS
from edgebert.modeling.families import FAMILIES
from edgebert.modeling.heads import HEADS
from edgebert.registry import Registry
from edgebert.tasks import TASKS

METHOD = """
from edgebert.methods import Method, Param

def apply(student, context):
    return student

METHOD = Method("toy", "a toy", None, stage="shape", apply=apply)
"""
TARGET = """
from edgebert.measure.targets import Target

def measure(address, job, log): ...

def answers(address):
    return ""

TARGET = Target("toy", "a toy", formats=("onnx",), example="toy", measure=measure, answers=answers)
"""
CONVERTER = """
from edgebert.converters import Converter

def export(source, folder): ...
def reduce(source, artifact, precision, variant, folder): ...
def open(path, threads): ...
def accelerator_fallbacks(path):
    return {}

CONVERTER = Converter(
    "toy", "a toy", suffix=".toy", extra="", needs=(), runtime="numpy", export=export, precisions={}, reduce=reduce, open=open,
    accelerator_fallbacks=accelerator_fallbacks,
)
"""
TASK = """
from dataclasses import dataclass
from edgebert.tasks.classify import Classify

@dataclass(frozen=True)
class Toy(Classify):
    name = "toy"

TASK = Toy()
"""
HEAD = """
from edgebert.modeling.heads import Head
from edgebert.runtime.specs import OutputSpec

def layers(width, part, dropout): ...
def forward(layers, states, mask, *, part): ...
def hard_loss(own, targets, part, weights): ...
def soft_loss(own, theirs, mask, temperature, part): ...
def answer(part):
    return "scores"

HEAD = Head(
    "toy", outputs=(OutputSpec("toy"),), layers=layers, forward=forward, hard_loss=hard_loss, soft_loss=soft_loss,
    answer=answer,
)
"""
FAMILY = """
from edgebert.modeling.families import Family

class Config:
    model_type = "toy"

class Model: ...

FAMILY = Family("toy", Config, Model)
"""
PLATFORM = """
from edgebert.bundle.platforms import Platform

def write(bundle, folder, name): ...

PLATFORM = Platform(
    "toy", "a toy", ("onnx",), prove="true", check_name=lambda name: "", default_name=lambda words: words[0], write=write
)
"""
GOOD: list[tuple[Registry[Any], str]] = [
    (METHODS, METHOD), (TARGETS, TARGET), (CONVERTERS, CONVERTER), (TASKS, TASK), (PLATFORMS, PLATFORM),
    (HEADS, HEAD), (FAMILIES, FAMILY),
]  # fmt: skip
# registry, a good plug-in, what of it is replaced by what, what the message says beside the file
BAD: list[tuple[Registry[Any], str, str, str, str]] = [
    (METHODS, METHOD, "METHOD =", "METHODS =", "must be declared as METHOD, a Method, and nothing is"),
    (METHODS, METHOD, METHOD[METHOD.index("METHOD =") :], "METHOD = {'name': 'toy'}", "a Method, and a dict is"),
    (METHODS, METHOD, '"toy"', '""', "METHOD.name: the method has no name"),
    (METHODS, METHOD, '"toy"', "5", "METHOD.name: the method has no name"),
    (METHODS, METHOD, ', stage="shape"', "", "METHOD lacks the field stage"),
    (METHODS, METHOD, ', stage="shape", apply=apply', "", "METHOD lacks the field stage, apply"),
    (METHODS, METHOD, "stage=", "stages=", "METHOD has no field stages"),
    (METHODS, METHOD, '"shape"', '"late"', "stage is 'late', and must be one of vocabulary, shape, pretrain, train"),
    (METHODS, METHOD, "apply(student, context)", "apply(student)", "apply must take (student, context)"),
    (METHODS, METHOD, "apply=apply", "apply='apply'", "apply is no function"),
    (METHODS, METHOD, "apply=apply", "apply=apply, reshape=lambda: 0", "reshape must take (config)"),
    (METHODS, METHOD, "apply=apply", "apply=apply, heads='question-answering'", "heads must be a tuple"),
    (
        METHODS,
        METHOD,
        "apply=apply",
        "apply=apply, heads=('token-classificaton',)",
        "heads: unknown head 'token-classificaton'\n  Did you mean token-classification",
    ),
    (METHODS, METHOD, "apply=apply", "apply=apply, excludes=()", "excludes must be a Mapping"),
    (METHODS, METHOD, "apply=apply", "apply=apply, reads_text='yes'", "reads_text must be a bool"),
    (METHODS, METHOD, "apply=apply", "apply=apply, toy={'epochs': 1}", "unknown parameter of toy 'epochs'"),
    (METHODS, METHOD, "apply=apply", "apply=apply, params=(Param('n', int, 1, 'how many'),)", "apply must take"),
    (METHODS, METHOD, "apply=apply", "apply=apply, params=('n',)", "'str' object has no attribute"),
    (METHODS, METHOD, "import Method", "import Methods", "ImportError"),
    (METHODS, METHOD, "return student", "return (", "SyntaxError"),
    (METHODS, METHOD, "return student", "return student\nraise SystemExit(1)", "SystemExit"),
    (TARGETS, TARGET, "measure(address, job, log)", "measure(address, job)", "measure must take (address, job, log)"),
    (TARGETS, TARGET, 'formats=("onnx",)', 'formats="onnx"', "formats must be a tuple"),
    (TARGETS, TARGET, ', example="toy"', "", "TARGET lacks the field example"),
    (CONVERTERS, CONVERTER, "open(path, threads)", "open(path)", "open must take (path, threads)"),
    (CONVERTERS, CONVERTER, "precisions={}", "precisions=()", "precisions must be a Mapping"),
    (CONVERTERS, CONVERTER, 'runtime="numpy", ', "", "CONVERTER lacks the field runtime"),
    (TASKS, TASK, '    name = "toy"', '    name = "toy"\n    metric = ""', "it has no metric"),
    (TASKS, TASK, '    name = "toy"', '    name = "toy"\n    head = "ner"', "head: unknown head 'ner'"),
    (TASKS, TASK, "edgebert.tasks.classify import Classify", "edgebert.tasks import Task as Classify", "abstract"),
    (TASKS, TASK, 'name = "toy"', 'name = "toy"\n    def encode(self, rows): ...', "encode must take"),
    (PLATFORMS, PLATFORM, "write(bundle, folder, name)", "write(bundle)", "write must take (bundle, folder, name)"),
    (HEADS, HEAD, 'outputs=(OutputSpec("toy"),)', "outputs=()", "outputs is empty"),
    (HEADS, HEAD, 'OutputSpec("toy")', '"toy"', "outputs must be of OutputSpec, and 'toy' is in it"),
    (HEADS, HEAD, 'OutputSpec("toy")', 'OutputSpec("toy", axes=("labels",))', "the first of the axes of 'toy'"),
    (HEADS, HEAD, "hard_loss=hard_loss, ", "", "hard_loss is no function"),
    (HEADS, HEAD, "mask, *, part)", "mask)", "forward must take (layers, states, mask, part=…)"),
    (FAMILIES, FAMILY, 'model_type = "toy"', 'model_type = "boy"', "config.model_type is 'boy', and must be its name"),
    (FAMILIES, FAMILY, "Config, Model", "Config", "FAMILY lacks the field model"),
    (PLATFORMS, PLATFORM, ", write=write", "", "PLATFORM lacks the field write"),
    (PLATFORMS, PLATFORM, "lambda words: words[0]", "lambda: 0", "default_name must take (words)"),
]


class Installed:
    """A package of one module that somebody has installed, found by its entry point."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch, self.points = folder, patch, list[EntryPoint]()
        patch.syspath_prepend(str(folder))
        patch.setattr("edgebert.registry.entry_points", lambda group: [p for p in self.points if p.group == group])

    def add(self, registry: Registry[Any], text: str, name: str = "toy_plugin") -> Path:
        path = self.folder / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        self.points.append(EntryPoint("toy", name, registry.package))
        self.patch.setattr(registry, "_loaded", None)
        self.patch.delitem(sys.modules, name, raising=False)
        return path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    return Installed(tmp_path, monkeypatch)


@pytest.mark.parametrize(("registry", "text"), GOOD, ids=lambda value: getattr(value, "kind", ""))
def test_a_plugin_that_keeps_its_contract_is_found(registry: Registry[Any], text: str, installed: Installed) -> None:
    installed.add(registry, text)
    assert registry.get("toy").name == "toy"


@pytest.mark.parametrize(("registry", "text", "old", "new", "what"), BAD, ids=[item[-1][:50] for item in BAD])
def test_a_plugin_that_breaks_it_is_refused_with_its_file_and_the_field(
    registry: Registry[Any], text: str, old: str, new: str, what: str, installed: Installed
) -> None:
    assert old in text
    path = installed.add(registry, text.replace(old, new))
    with pytest.raises(PluginError) as error:
        registry.all()
    assert str(path) in str(error.value)
    assert what in str(error.value)
    assert f"the {registry.kind}" in str(error.value)


def test_two_plugins_of_the_same_name_are_refused_with_both_files(installed: Installed) -> None:
    first = installed.add(METHODS, METHOD, "first_plugin")
    second = installed.add(METHODS, METHOD, "second_plugin")
    with pytest.raises(PluginError, match="there is another method named 'toy'") as error:
        METHODS.all()
    assert str(first) in str(error.value)
    assert str(second) in str(error.value)


def test_a_plugin_named_as_a_method_of_ours_is_refused(installed: Installed) -> None:
    installed.add(METHODS, METHOD.replace('"toy"', '"kd"'))
    with pytest.raises(PluginError, match=r"another method named 'kd', in .*edgebert/methods/kd\.py"):
        METHODS.all()


@pytest.mark.parametrize("value", ["nowhere", "nowhere.at.all"])
def test_an_entry_point_to_nothing_names_the_module(value: str, installed: Installed) -> None:
    installed.add(METHODS, METHOD)
    installed.points = [EntryPoint("toy", value, METHODS.package)]
    with pytest.raises(PluginError, match=f"{value}: the method 'toy' cannot be loaded: ModuleNotFoundError"):
        METHODS.all()


def test_an_entry_point_names_a_module_and_no_object(installed: Installed) -> None:
    installed.add(METHODS, METHOD)
    installed.points = [EntryPoint("toy", "toy_plugin:METHOD", METHODS.package)]
    with pytest.raises(PluginError, match="must be an entry point that names a module"):
        METHODS.all()


def test_what_heads_are_is_declared_not_compared_by_name() -> None:
    """(labels of whole texts, places among tokens, vectors)"""
    assert {name: (head.labels_texts, head.finds_places, head.gives_vectors) for name, head in HEADS.all().items()} == {
        "question-answering": (False, True, False),
        "sentence-embedding": (False, False, True),
        "sequence-classification": (True, False, False),
        "several": (False, False, False),
        "token-classification": (False, False, False),
    }
