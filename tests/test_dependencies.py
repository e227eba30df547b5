"""What is imported is declared, and a plain `pip install edgebert` predicts, checks and measures without torch."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from edgebert.bundle.write import write_bundle
from edgebert.errors import RequestError
from edgebert.faults import EXTRAS, absent_of, extra_of, install_command, is_installed, needs_extra
from edgebert.files import read_toml
from edgebert.tasks import find_task
from edgebert.types import DataSource, Row
from tests.test_bundle import LABELS, MAX_LENGTH, make_model, make_student, weights

ROOT = Path(__file__).parent.parent
SOURCES = ("edgebert", "converters", "device_profiles")
OUR_OWN = {*SOURCES, "tests", "benchmarks", "examples"}
TRAINS = {"torch", "transformers", "accelerate", "datasets"}  # distributions that the plain package must not bring
# Modules whose distribution cannot be looked up where it is not installed.
DISTRIBUTIONS = {"tomli": "tomli", "model2vec": "model2vec", "skeletoken": "skeletoken"}
TEXT = "show me flights to denver"


# ---------------------------------------------------------------- what is declared


def plain_name(requirement: str) -> str:
    """`Scikit_Learn>=1.3; marker` as `scikit-learn`."""
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def extras_in(requirement: str) -> list[str]:
    found = re.match(r"[\w.-]+\[([^\]]*)\]", requirement)
    return [name.strip() for name in found[1].split(",")] if found else []


@cache
def project() -> dict[str, Any]:
    result: dict[str, Any] = read_toml(ROOT / "pyproject.toml")["project"]
    return result


def declared(*extras: str) -> set[str]:
    """Distributions of the plain package, and of these extras with those that they name."""
    results = {plain_name(item) for item in project()["dependencies"]}
    for extra in extras:
        for item in project()["optional-dependencies"][extra]:
            results |= declared(*extras_in(item)) if plain_name(item) == "edgebert" else {plain_name(item)}
    return results


def brought_by(names: set[str]) -> set[str]:
    """These distributions with all that they require, extras and what is not installed here left out."""
    results: set[str] = set()
    open_names = set(names)
    while open_names:
        results.add(name := open_names.pop())
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        open_names |= {plain_name(item) for item in required if "extra ==" not in item} - results
    return results


# ---------------------------------------------------------------- what is imported


def imports_of(path: Path, *, types: bool) -> Iterator[str]:
    """Top-level names of the modules that a file imports, inside functions too.

    Args:
        types: with those that only a type checker reads.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for block in ast.walk(tree):
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING" and not types:
            block.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (item.name.split(".")[0] for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def third_party(*folders: str, types: bool = True) -> dict[str, str]:
    """Each module that is imported and neither ours nor Python's, with a file that does."""
    results: dict[str, str] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for module in imports_of(path, types=types):
                if module not in sys.stdlib_module_names and module not in OUR_OWN:
                    results.setdefault(module, path.relative_to(ROOT).as_posix())
    return results


@cache
def installed_distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def distributions_of(module: str) -> set[str]:
    """The distributions that bring a module; several share a namespace."""
    found = installed_distributions().get(module) or [DISTRIBUTIONS.get(module, module)]
    return {plain_name(name) for name in found}


@pytest.mark.parametrize(
    ("folders", "extras", "types"),
    [
        (SOURCES, tuple(EXTRAS), False),
        ((*SOURCES, "tests", "examples"), ("demo", "test"), True),
        (("benchmarks",), ("demo", "test", "bench"), True),
    ],
    ids=["edgebert", "tests", "benchmarks"],
)
def test_what_is_imported_is_declared(folders: Sequence[str], extras: Sequence[str], types: bool) -> None:
    known = declared(*extras)
    missing = {
        f"{module} ({path})": sorted(distributions_of(module))
        for module, path in third_party(*folders, types=types).items()
        if not distributions_of(module) & known
    }
    assert not missing, "imported, and not declared in pyproject.toml"


def test_the_modules_of_each_extra_are_those_that_pyproject_declares() -> None:
    """`faults.EXTRAS` says which pip command brings a module that is missing."""
    for extra, modules in EXTRAS.items():
        items = [plain_name(item) for item in project()["optional-dependencies"][extra]]
        own = sorted(name for name in items if name != "edgebert")
        named = sorted(name for module in modules for name in distributions_of(module) if name in own)
        assert named == own, f"[{extra}] and faults.EXTRAS differ"


def test_the_plain_package_brings_nothing_that_trains() -> None:
    assert not brought_by(declared()) & TRAINS
    assert brought_by(declared("fit")) >= TRAINS


@pytest.mark.parametrize("extra", ["tflite", "coreml", "tokenizer-in-graph", "demo", "bench", "test"])
def test_every_other_extra_brings_fit(extra: str) -> None:
    assert declared(extra) >= declared("fit")


# ---------------------------------------------------------------- without what trains

HIDE = '''"""Written by tests/test_dependencies.py: these modules are not installed."""
import sys

HIDDEN = frozenset({hidden!r})


class Hiding:
    """A finder that does not find what is hidden, as where it is not installed."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, *rest)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [Hiding(finder) if hasattr(finder, "find_spec") else finder for finder in sys.meta_path]
'''


@pytest.fixture(scope="module")
def hidden() -> list[str]:
    """Modules of the extras, but for those that a dependency of the plain package brings."""
    kept = brought_by(declared())
    return sorted(module for modules in EXTRAS.values() for module in modules if not distributions_of(module) & kept)


@pytest.fixture(scope="module")
def plain(hidden: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process, and of its children, where only the plain package is installed."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(HIDE.format(hidden=hidden), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return write_bundle(
        folder / "run" / "bundle",
        artifact=make_model(folder / "tiny.onnx", weights()),
        student=make_student(folder / "student"),
        task=find_task("ner"),
        labels=LABELS,
        golden=[Row(tuple(TEXT.split()), ("O",) * 5), Row(("from", "boston"), ("O",) * 2)],
        max_length=MAX_LENGTH,
        facts={"data": DataSource("toy", "CC0", "nowhere", "00"), "teacher": "a teacher", "score": 0.5},
    )


def edgebert(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgebert", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


def test_torch_is_hidden_in_children_too(plain: dict[str, str], hidden: list[str]) -> None:
    assert {"torch", "transformers", "onnx", "sklearn", "coremltools"} <= set(hidden)
    code = "import importlib.util as u; print([n for n in ('torch', 'transformers') if u.find_spec(n)])"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    for command in (code, child):
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, env=plain, check=True)
        assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--help",), "predict"),
        (("devices",), "pixel6"),
        (("devices", "show", "pixel6"), "Google Pixel 6"),
        (("methods",), "tinybert"),
        (("methods", "show", "tinybert"), "arXiv 1909.10351"),
        (("tasks",), "ner"),
        (("runs",), ""),
        (("data",), "atis"),
        (("predict", "BUNDLE", TEXT), "denver"),
        (("check", "BUNDLE"), "the golden vectors reproduce"),
        (("profile", "BUNDLE", "--on", "here", "--max-seconds", "0", "--quiet"), "onnxruntime"),
        (("profile", "FILE", "--on", "here", "--length", "8", "--max-seconds", "0", "--quiet"), "onnxruntime"),
    ],
    ids=lambda item: "-".join(item) if isinstance(item, tuple) else "",
)
def test_without_torch(arguments: tuple[str, ...], message: str, plain: dict[str, str], bundle: Path) -> None:
    places = {"BUNDLE": str(bundle), "FILE": str(bundle / "model.fp32.onnx")}
    done = edgebert(plain, *(places.get(item, item) for item in arguments))
    assert (done.returncode, done.stderr) == (0, "")
    assert message in done.stdout


def test_litert_opens_without_torch(plain: dict[str, str]) -> None:
    code = "import sys, ai_edge_litert.interpreter; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=plain, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "--device", "pixel6", "--run", "RUN"),
        ("compress", "MODEL", "--recipe", "tinybert", "--output", "RUN"),
        ("convert", "MODEL", "--format", "onnx", "--output", "RUN"),
        ("calibrate", "--on", "here"),
        ("profile", "MODEL", "--on", "here"),
    ],
    ids=lambda item: item[0],
)
def test_what_needs_torch_says_so(arguments: tuple[str, ...], plain: dict[str, str], tmp_path: Path) -> None:
    """Before anything is written, in one message without a traceback."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}', encoding="utf-8")
    (model / "model.safetensors").write_bytes(b"")
    places = {"MODEL": str(model), "RUN": str(tmp_path / "run")}
    done = edgebert(plain, *(places.get(item, item) for item in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    first, hint = done.stderr.splitlines()
    assert re.fullmatch(f"error: {arguments[0]} needs (torch|transformers), which is not installed", first)
    assert hint == '  Run: pip install "edgebert[fit]"'
    assert not (tmp_path / "run").exists()


def test_the_api_says_the_same(plain: dict[str, str]) -> None:
    code = (
        "import edgebert\n"
        "try:\n    edgebert.fit('pixel6')\n"
        "except edgebert.EdgebertError as error:\n    print(type(error).__name__, error.exit_code, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=plain, check=True)
    wanted = 'RequestError 2 fit needs torch, which is not installed\n  Run: pip install "edgebert[fit]"\n'
    assert done.stdout == wanted


# ---------------------------------------------------------------- the message


def test_the_command_that_brings_a_module() -> None:
    assert (extra_of("torch"), extra_of("litert_torch"), extra_of("onnxruntime")) == ("fit", "tflite", "")
    assert install_command("torch") == 'pip install "edgebert[fit]"'
    assert install_command("ai_edge_litert") == "pip install ai-edge-litert"
    assert is_installed("numpy") and not is_installed("no_such_module") and not is_installed("no_such.module")


def test_only_modules_of_an_extra_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert absent_of(ModuleNotFoundError("No module named 'mine'", name="mine")) is None  # a plug-in's own
    assert absent_of(ModuleNotFoundError("No module named 'torch.nn.none'", name="torch.nn.none")) is None
    assert absent_of(ValueError("torch")) is None
    monkeypatch.setattr("edgebert.faults.is_installed", lambda name: False)
    error = absent_of(ModuleNotFoundError("No module named 'torch'", name="torch.nn"))
    assert error is not None and error.what == "this command needs torch, which is not installed"


def test_an_import_that_fails_inside_a_function_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgebert.faults.is_installed", lambda name: name != "coremltools")

    @needs_extra("fit")
    def measure(name: str) -> str:
        """Imports a module."""
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    assert measure.__doc__ == "Imports a module."
    with pytest.raises(RequestError, match=r'measure needs coremltools(.|\n)*pip install "edgebert\[coreml\]"'):
        measure("coremltools.proto")
    with pytest.raises(ModuleNotFoundError, match="mine"):
        measure("mine")
