"""The package as others meet it: light to import, the API that is exported, a wheel that lacks nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgebert

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "onnxruntime", "onnx", "datasets", "pandas", "matplotlib", "seqeval", "numpy", "rich")


def run_python(code: str, cwd: Path | None = None, **extra: str) -> str:
    environment = {**os.environ, **extra}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import edgebert",
        "import edgebert; edgebert.list_devices(), edgebert.get_method('tinybert'), edgebert.list_runs()",
        "from edgebert.cli import cli; cli.main(['--help'], standalone_mode=False)",
    ],
)
def test_the_first_contact_loads_nothing_heavy(code: str) -> None:
    loaded = run_python(f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])").splitlines()[-1]
    assert loaded == "[]"


def test_all_is_what_is_exported() -> None:
    assert edgebert.__all__ == sorted(edgebert.__all__)
    for name in edgebert.__all__:
        assert getattr(edgebert, name).__doc__, f"{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        edgebert.nothing  # noqa: B018


def test_the_api_can_be_called_twice() -> None:
    """A function named like a module would be replaced by it when the module is first imported."""
    for function in (edgebert.list_devices, edgebert.list_methods, edgebert.list_runs):
        assert function() is not None
        assert function() is not None
    assert set(edgebert.list_methods()) >= {"drop-layers", "tinybert", "trim-vocab"}
    assert edgebert.get_device("pixel6").budget.size_mb == 10


def test_the_wheel_works_from_another_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / name, source / name)
    for name in ("edgebert", "converters", "device_profiles"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    python_files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "edgebert").rglob("*.py")}
    packed = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.py")}
    assert {name for name in python_files if "__pycache__" not in name} <= packed
    code = (
        "import edgebert, edgebert.converters.onnx, edgebert.data as data;"
        "print(edgebert.__file__, len(edgebert.list_devices()), sorted(data.catalogue()))"
    )
    message = run_python(code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert str(tmp_path) in message
    n_devices = len(list((ROOT / "device_profiles").glob("*.toml"))) + 1  # and this machine
    assert message.endswith(f"{n_devices} ['atis', 'atis-intents', 'movie-reviews', 'wnut16']")
    assert list((tmp_path / "site" / "edgebert").rglob("*.jinja"))


def test_the_package_offers_every_function_of_the_api() -> None:
    code = (
        "import importlib, pkgutil, edgebert, edgebert.api as api; "
        "assert set(edgebert.__all__) == {*api.__all__, 'EdgebertError'}; "
        "shadowed = {m.name for m in pkgutil.iter_modules(edgebert.__path__)} & set(edgebert.__all__); "
        "assert not shadowed, shadowed; "
        "import edgebert.measure.targets; "
        "assert all(callable(getattr(edgebert, name)) for name in edgebert.__all__)"
    )
    run_python(code)
