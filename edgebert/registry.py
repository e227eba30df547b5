"""Finds plug-ins: one module each, one declaration in it, no list to edit.

A kind of plug-in (methods, tasks, converters, targets) is a package that makes a `Registry`. Each of its modules whose name
does not begin with `_` declares one; third parties join by an entry point that names such a module, in the group that is
called as the package.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Generic, TypeVar

from edgebert.errors import PluginError, RequestError, unknown

T = TypeVar("T")


def check_call(field: str, function: object, *positional: str, **keywords: object) -> None:
    """Raises TypeError where a function of a declaration cannot be called with these arguments.

    Args:
        field: of the declaration, for the message.
        positional: names of what is passed by position.
        keywords: what is passed by name.
    """
    if not callable(function):
        raise TypeError(f"{field} is no function")
    try:
        inspect.signature(function).bind(*positional, **keywords)
    except TypeError as error:
        asked = ", ".join((*positional, *(f"{name}=…" for name in keywords)))
        raise TypeError(f"{field} must take ({asked}): {error}") from None
    except ValueError:  # a builtin tells no signature
        return


_KINDS = {"str": str, "bool": bool, "int": int, "tuple": tuple, "Mapping": Mapping}  # by the name in an annotation


def check_fields(declared: object) -> None:
    """Raises TypeError where a field of a dataclass does not hold what its annotation says: text, a tuple and so on.

    Annotations of other kinds, and of several kinds joined by |, are left to what checks the declaration itself.
    """
    if not is_dataclass(declared):
        return
    for item in fields(declared):
        kind = item.type if isinstance(item.type, str) else getattr(item.type, "__name__", "")
        expected = _KINDS.get(kind.partition("[")[0]) if "|" not in kind else None
        value = getattr(declared, item.name)
        if expected is not None and not isinstance(value, expected):
            raise TypeError(f"{item.name} must be a {kind}, and is {value!r}")


class Registry(Generic[T]):
    """The plug-ins of one kind, found when they are first asked for.

    Args:
        kind: what one is called in messages: "method".
        package: whose modules declare them; also the group of entry points.
        attribute: the name of the declaration in a module: "METHOD".
        contract: the class that a declaration is an instance of.
        where: the option that names one, for messages.
        more: what a message about an unknown name adds.
        check: raises ValueError or TypeError with what is wrong with a declaration.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        attribute: str,
        contract: type[T],
        *,
        where: str,
        more: str = "",
        check: Callable[[T], None] = lambda declared: None,
    ) -> None:
        self.kind, self.package, self.attribute, self.contract = kind, package, attribute, contract
        self.where, self.more, self.check = where, more, check
        self._loaded: dict[str, T] | None = None

    def all(self) -> dict[str, T]:
        """Every plug-in by its name, in the order of names. Raises PluginError for one that breaks its contract."""
        if self._loaded is None:
            self._loaded = self.read(self._modules())
        return self._loaded

    def get(self, name: str) -> T:
        """The plug-in of this name. Raises RequestError that offers the nearest names."""
        known = self.all()
        if name not in known:
            raise unknown(self.kind, name, known, where=self.where, more=self.more)
        return known[name]

    def read(self, modules: Iterable[ModuleType]) -> dict[str, T]:
        """The declarations of modules, by name. Raises PluginError."""
        results: dict[str, T] = {}
        places: dict[str, str] = {}
        for module in modules:
            place, what = module.__file__ or module.__name__, f"the {self.kind}"
            declared = getattr(module, self.attribute, None)
            if not isinstance(declared, self.contract):
                given = "nothing" if declared is None else f"a {type(declared).__name__}"
                problem = f"{what} must be declared as {self.attribute}, a {self.contract.__name__}, and {given} is"
                raise PluginError(problem, where=place)
            name = getattr(declared, "name", None)
            if not isinstance(name, str) or not name:
                raise PluginError(f"{what} has no name", where=f"{place}, {self.attribute}.name")
            if name in results:
                problem = f"there is another {self.kind} named '{name}', in {places[name]}"
                raise PluginError(problem, where=f"{place}, {self.attribute}.name")
            try:
                check_fields(declared)
                self.check(declared)
            except RequestError as error:
                problem = f"{what} '{name}' breaks its contract: {error.where}: {error.what}"
                raise PluginError(problem, where=place, hint=error.hint) from None
            except (AttributeError, TypeError, ValueError) as error:
                raise PluginError(f"{what} '{name}' breaks its contract: {error}", where=place) from None
            results[name], places[name] = declared, place
        return dict(sorted(results.items()))

    def _modules(self) -> list[ModuleType]:
        """Ours, and those that entry points name. Raises PluginError for one that cannot be imported."""
        package = importlib.import_module(self.package)
        names = [info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")]
        modules = [self._import(f"{self.package}.{name}", name) for name in names]
        for point in entry_points(group=self.package):
            if ":" in point.value:
                what = f"the {self.kind} '{point.name}' must be an entry point that names a module, without a colon"
                raise PluginError(what, where=f"{self.package}: {point.value}")
            modules.append(self._import(point.value, point.name, "Mend the package that brings it, or uninstall it."))
        return modules

    def _import(self, module: str, name: str, hint: str | None = None) -> ModuleType:
        try:
            return importlib.import_module(module)
        except (Exception, SystemExit) as error:
            what = f"the {self.kind} '{name}' cannot be loaded: {self._reason(error)}"
            raise PluginError(what, where=_file_of(module), hint=hint) from error

    def _reason(self, error: BaseException) -> str:
        """What is wrong with a module that raises, in the words of the contract where its declaration cannot be built."""
        if isinstance(error, TypeError) and f"{self.contract.__name__}.__init__()" in str(error):
            names = ", ".join(re.findall(r"'(\w+)'", str(error)))
            if "missing" in str(error):
                return f"{self.attribute} lacks the field {names}"
            if "unexpected" in str(error):
                return f"{self.attribute} has no field {names}"
        return f"{type(error).__name__}: {error}"


def _file_of(module: str) -> str:
    """The file of a module that may not be importable; its name where it has none."""
    try:
        spec = importlib.util.find_spec(module)
    except (Exception, SystemExit):  # a package above it does not import
        return module
    return spec.origin if spec is not None and spec.origin else module
