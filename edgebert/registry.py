"""Finds methods, tasks and converters: one module each, one declaration in it, no list to edit.

Third parties join by an entry point of the group `edgebert.methods`, `edgebert.tasks` or `edgebert.converters` that
names such a module.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError, unknown

if TYPE_CHECKING:
    from edgebert.converters import Converter, Precision
    from edgebert.measure.targets import Target
    from edgebert.methods import Method
    from edgebert.tasks import Task


@cache
def _found(kind: str, attribute: str) -> dict[str, Any]:
    package = importlib.import_module(f"edgebert.{kind}")
    modules = [
        importlib.import_module(f"edgebert.{kind}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
        if not info.name.startswith("_")
    ]
    modules += [point.load() for point in entry_points(group=f"edgebert.{kind}")]
    found: dict[str, Any] = {}
    for module in modules:
        declared = getattr(module, attribute)
        if declared.name in found:
            raise ValueError(f"two {kind} are named '{declared.name}': the second is {module.__name__}")
        found[declared.name] = declared
    return dict(sorted(found.items()))


def methods() -> dict[str, Method]:
    """Compression methods by name."""
    return _found("methods", "METHOD")


def tasks() -> dict[str, Task]:
    """Tasks by name."""
    return _found("tasks", "TASK")


def converters() -> dict[str, Converter]:
    """Converters by format name."""
    return _found("converters", "CONVERTER")


def targets() -> dict[str, Target]:
    """Places to measure by name."""
    return _found("measure.targets", "TARGET")


def target(name: str) -> Target:
    """The target of this name, or an error that offers the nearest names."""
    if name not in targets():
        raise unknown("target", name, targets(), where="--on")
    return targets()[name]


def method(name: str) -> Method:
    """The method of this name, or an error that offers the nearest names."""
    if name not in methods():
        raise unknown("method", name, methods(), where="--recipe", more="List them with: edgebert methods")
    return methods()[name]


def task(name: str) -> Task:
    """The task of this name or alias, or an error that offers the nearest names.

    `slots=ner,intent=classify` is one task of several heads, each with a name of its own.
    """
    if "=" in name or "," in name:
        from edgebert.tasks._several import several

        return several(name)
    known = {alias: one for one in tasks().values() for alias in (one.name, *one.aliases)}
    if name not in known:
        raise unknown("task", name, known, where="--task")
    return known[name]


def precision(format: str, name: str) -> Precision:
    """What a format's precision is; fp32 included."""
    from edgebert.converters import Precision

    if name == "fp32":
        return Precision("float32", kind="fp32", compute="fp32", bits=32, embedding_bits=32)
    known = converter(format).precisions
    if name not in known:
        raise unknown("precision", name, ["fp32", *known], where=f"--precision, for {format}")
    return known[name]


def usable_converter(name: str) -> Converter:
    """The converter of this format, whose libraries are installed.

    Raises:
        RequestError: an unknown format, or the pip command that brings what is missing.
    """
    found = converter(name)
    missing = [module for module in found.needs if importlib.util.find_spec(module) is None]
    if missing:
        raise RequestError(
            f"{found.title} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            where=f"--format {name}",
            hint=f'Run: pip install "edgebert[{found.extra}]" - or choose other formats with --format.',
        )
    return found


def converter(name: str) -> Converter:
    """The converter of this format, or an error that offers the nearest names."""
    if name not in converters():
        raise unknown("format", name, converters(), where="--format")
    return converters()[name]
