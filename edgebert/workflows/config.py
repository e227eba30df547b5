"""edgebert.toml: reading it, and everything that can be wrong with it.

What may stand in it is declared in `edgebert.workflows.options`; nothing here names an option but the few that lead to files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebert.errors import EdgebertError, RequestError, shown, unknown
from edgebert.files import exists, read_toml
from edgebert.methods import METHODS
from edgebert.types import FitRequest
from edgebert.workflows.options import BY_FIELD, OPTIONS, TABLES, FitOption, keys_of

KINDS = {
    "string": "a string that is not empty",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "strings": "a string, or a list of strings without repetitions",
    "table": "a table",
}
CONFIG_ONLY = ("device", "devices", "platforms")  # not passed on to a request as they are
MOST_DIGITS = 2**63  # TOML's whole numbers


@dataclass(frozen=True)
class Config:
    """A file that was read and is right by the schema.

    Attributes:
        values: fields of FitRequest that the file gives, paths as the current folder sees them.
        platforms: for which each winner is packaged.
        several: the file names `devices`.
    """

    path: Path
    devices: tuple[str, ...]
    values: Mapping[str, Any]
    platforms: tuple[str, ...]
    several: bool

    def requests(self, given: Mapping[str, Any]) -> tuple[FitRequest, ...]:
        """A request for each device.

        Args:
            given: fields of FitRequest that count more than the file; `columns` and `params` key by key.
        """
        values = {"task": BY_FIELD["task"].default, **self.values, **given}
        for name in ("columns", "params"):
            if name in values:
                values[name] = {**self.values.get(name, {}), **given.get(name, {})}
        devices = (values.pop("device"),) if "device" in given else self.devices
        run = values.get("run")
        if run is None or len(devices) == 1:
            return tuple(FitRequest(device=device, **values) for device in devices)
        values.pop("run")
        return tuple(FitRequest(device=device, run=f"{run}-{Path(device).stem}", **values) for device in devices)


def read_config(path: Path) -> Config:
    """The configuration in a file. Raises RequestError for the first thing that is wrong."""
    table = read_toml(path)
    if problem := next(problems(table, path), None):
        raise problem
    given = {option.field: _converted(option, value) for option, value in _given(table)}
    base = path.parent
    values = {name: _from_here(BY_FIELD[name], value, base) for name, value in given.items()}
    devices = values["devices"] if "devices" in values else (values["device"],)
    rest = {name: value for name, value in values.items() if name not in CONFIG_ONLY}
    return Config(path, devices, rest, values.get("platforms", ()), "devices" in values)


def config_problems(path: Path) -> list[EdgebertError]:
    """Everything that is wrong with a file, what it names included; [] where nothing is. Needs no torch."""
    from edgebert.workflows.config_names import wrong_names

    try:
        table = read_toml(path)
    except RequestError as error:
        return [error]
    found: list[EdgebertError] = [*problems(table, path)]
    return found or [*wrong_names(read_config(path))]


# ---------------------------------------------------------------- against the declaration


def problems(table: Mapping[str, Any], path: Path) -> Iterator[RequestError]:
    """What the schema would refuse, each with its place and what to do."""
    if not ("device" in table) ^ ("devices" in table):
        yield _neither_or_both(path, both="device" in table)
    top = keys_of("")
    for name, value in table.items():
        if name in top:
            yield from _wrong_value(top[name], value, path)
        elif name not in TABLES or not name:
            yield _unknown(name, "", path)
        elif not isinstance(value, dict):
            yield _wrong(f"{_quoted(value)} is no table", path, name, "", f"Write [{name}] and its keys below it.")
        else:
            yield from _wrong_table(name, value, path)


def _neither_or_both(path: Path, both: bool) -> RequestError:
    if both:
        return _wrong("device and devices are both given", path, "devices", "", "Keep the one that you mean.")
    hint = 'Write device = "pixel6" or devices = ["pixel6", "iphone13"]; `edgebert devices` lists them.'
    return RequestError("no device is named", where=str(path), hint=hint)


def _wrong_table(name: str, table: Mapping[str, Any], path: Path) -> Iterator[RequestError]:
    known = keys_of(name)
    for key, value in table.items():
        if key in known:
            yield from _wrong_value(known[key], value, path)
        else:
            yield _unknown(key, name, path)


def _unknown(key: str, table: str, path: Path) -> RequestError:
    """The error for a key, with the nearest of its table, or the table where it belongs."""
    bare = key.removeprefix("--").replace("-", "_")
    meant = next((option for option in OPTIONS if bare in (option.name, option.field, option.flag)), None)
    place, what = where(path, key, table), f"unknown key '{shown(key)}'" + (f" in [{table}]" if table else "")
    if meant is None:
        known = [*keys_of(table), *(() if table else (name for name in TABLES if name))]
        return unknown("key", key, known, where=place)
    if meant.table == table:
        return RequestError(what, where=place, hint=f"Did you mean {meant.name}?")
    target = f"under [{meant.table}]" if meant.table else "at the top, before the first [table]"
    return RequestError(what, where=place, hint=f"It stands {target}, as {meant.name}.")


def _wrong_value(option: FitOption, value: object, path: Path) -> Iterator[RequestError]:
    def wrong(what: str, hint: str) -> RequestError:
        return _wrong(what, path, option.name, option.table, hint)

    if option.type == "table":
        yield from _wrong_pairs(option, value, path)
    elif not _is(option, value):
        hint = f"Write {KINDS[option.type]}, such as {option.name} = {_toml(option.example)}."
        yield wrong(f"{_quoted(value)} is not {KINDS[option.type]}", hint)
    elif option.choices and value not in option.choices:
        error = unknown(f"value of {option.name}", str(value), option.choices)
        yield wrong(error.what, f"{error.hint} There are {', '.join(option.choices)}.")
    elif out := _out_of_bounds(option, value):
        yield wrong(f"{_quoted(value)} is not {out}", f"Write a number that is {out}.")


def _wrong_pairs(option: FitOption, value: object, path: Path) -> Iterator[RequestError]:
    """Of a table of texts with fixed keys, or of parameters of methods and tasks."""
    if not isinstance(value, dict):
        what = f"{_quoted(value)} is not a table"
        yield _wrong(what, path, option.name, option.table, f"Write [{option.dotted}] and its keys below it.")
        return
    for key, item in value.items():
        if option.keys and key not in option.keys:
            yield unknown("key", key, option.keys, where=where(path, key, option.dotted))
        elif option.keys and not (isinstance(item, str) and item):
            yield _wrong(f"{_quoted(item)} is not {KINDS['string']}", path, key, option.dotted, "Name a column.")
        elif not option.keys and ("." in key) != _is_scalar(item):
            yield _wrong_parameter(option, key, item, path)
        elif not option.keys and isinstance(item, dict):
            for inner, scalar in item.items():
                if not _is_scalar(scalar):
                    what = f"{_quoted(scalar)} is not a string, a number, true or false"
                    yield _wrong(what, path, inner, f"{option.dotted}.{key}", "A parameter has one such value.")


def _wrong_parameter(option: FitOption, key: str, item: object, path: Path) -> RequestError:
    hint = f"Write [{option.dotted}.METHOD] and PARAM = VALUE below it; `edgebert methods show METHOD` lists them."
    what = f"{_quoted(item)} is not a string, a number, true or false" if "." in key else f"'{key}' names no parameter"
    return _wrong(what, path, key, option.dotted, hint)


def _is(option: FitOption, value: object) -> bool:
    if isinstance(value, bool) or option.type == "boolean":
        return isinstance(value, bool) and option.type == "boolean"
    if option.type == "strings":
        items = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        texts = [item for item in items if isinstance(item, str) and item]
        return bool(items) and len(set(texts)) == len(items)
    if option.type == "string":
        return isinstance(value, str) and bool(value)
    if not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) >= MOST_DIGITS:
        return False
    return option.type == "number" or float(value).is_integer()


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, bool, int, float)) and not (isinstance(value, float) and not math.isfinite(value))


def _out_of_bounds(option: FitOption, value: Any) -> str:
    """The bound that a number is beyond, as words; "" where it is within all."""
    if option.least is not None and value < option.least:
        return f"at least {option.least:g}"
    if option.above is not None and value <= option.above:
        return f"above {option.above:g}"
    return f"at most {option.most:g}" if option.most is not None and value > option.most else ""


# ---------------------------------------------------------------- what it says


def _given(table: Mapping[str, Any]) -> Iterator[tuple[FitOption, Any]]:
    for option in OPTIONS:
        inside = table.get(option.table, {}) if option.table else table
        if option.name in inside:
            yield option, inside[option.name]


def _converted(option: FitOption, value: Any) -> Any:
    """As FitRequest has it: tuples, floats, parameters by their dotted names."""
    if option.type == "strings":
        return (value,) if isinstance(value, str) else tuple(value)
    if option.type == "table" and not option.keys:
        pairs = ((f"{key}.{name}", item) for key, inner in value.items() if isinstance(inner, dict)
                 for name, item in inner.items())  # fmt: skip
        return {key: item for key, item in value.items() if not isinstance(item, dict)} | dict(pairs)
    return float(value) if option.type == "number" else int(value) if option.type == "integer" else value


def _from_here(option: FitOption, value: Any, base: Path) -> Any:
    """A value with its paths as the current folder sees them: in the file they are relative to it."""
    if base == Path():
        return value
    if option.field == "params":
        return {key: _moved_param(key, item, base) for key, item in value.items()}
    if not option.path:
        return value
    if isinstance(value, tuple):
        return tuple(_moved(option, item, base) for item in value)
    return _moved(option, value, base)


def _moved(option: FitOption, text: str, base: Path) -> str:
    if option.path == "rows":
        return _moved_rows(text, base)
    moved = str(base / text) if not text.startswith("~") else text
    if option.path == "file":
        return moved
    if option.path == "toml":
        return moved if text.endswith(".toml") else text
    is_path = text.startswith((".", "/")) or exists(base / text)  # else a hub id, or `teacher`
    return moved if is_path and text != "teacher" else text


def _moved_param(key: str, value: Any, base: Path) -> Any:
    """The value of METHOD.PARAMETER; what no method has is refused later."""
    name, _, param = key.partition(".")
    method = METHODS.all().get(name)
    known = method.params if method else ()
    if not isinstance(value, str) or not any(item.paths and item.name == param for item in known):
        return value
    return re.sub("[^,:]+", lambda part: str(base / Path(part[0].strip()).expanduser()), value)


def _moved_rows(spec: str, base: Path) -> str:
    """SPLIT=PATH, HEAD=PATH, HEAD=SPLIT=PATH or PATH; a catalogue's name or a hub id stays what it is."""
    from edgebert.data import catalogue
    from edgebert.data.contents import bare_name
    from edgebert.data.files import SUFFIXES

    if spec in catalogue() or spec.startswith("~"):
        return spec
    prefix, mark, rest = spec.partition("=")
    if mark and not exists(base / spec):
        return f"{prefix}={_moved_rows(rest, base)}"
    looks = spec.startswith((".", "/")) or bare_name(Path(spec)).suffix.lower() in SUFFIXES
    return str(base / spec) if looks or exists(base / spec) else spec


# ---------------------------------------------------------------- places


def _wrong(what: str, path: Path, key: str, table: str, hint: str) -> RequestError:
    return RequestError(what, where=where(path, key, table), hint=hint)


def where(path: Path, key: str, table: str = "") -> str:
    """`edgebert.toml:7, training.effort`; without the line where the file's own words do not show it."""
    line = _line_of(path, key, table)
    dotted = f"{table}.{key}" if table else key
    return f"{path}{f':{line}' if line else ''}, {shown(dotted)}"


def _line_of(path: Path, key: str, table: str) -> int:
    """Where a key, or the head of a table of this name, stands; 0 where it is written in another way."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return 0
    current, dotted = "", f"{table}.{key}" if table else key
    for number, line in enumerate(lines, 1):
        if head := re.match(r"\s*\[+\s*(.+?)\s*\]+\s*(#.*)?$", line):
            current = _bare(head[1])
            if current == dotted:
                return number
        elif pair := re.match(r"""\s*((?:"[^"]*"|'[^']*'|[\w.-]+)(?:\s*\.\s*[\w"'-]+)*)\s*=""", line):
            full = f"{current}.{_bare(pair[1])}" if current else _bare(pair[1])
            if full == dotted or full.startswith(f"{dotted}."):
                return number
    return 0


def _bare(name: str) -> str:
    return re.sub(r"""["'\s]""", "", name)


def _quoted(value: object) -> str:
    return shown(_toml(value) if isinstance(value, (str, bool, int, float, list, dict)) else str(value))


def _toml(value: object) -> str:
    from edgebert.files import to_toml

    try:
        return to_toml(value)
    except TypeError:  # a date
        return str(value)
