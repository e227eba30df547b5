"""budget.toml, by which `edgebert gate` judges a run: a limit a line, each naming what it is judged on.

[limits]                                        what the packaged file may be
score = 90                                      points on the test rows, at least
size_mb = 10
latency_ms = { max = 12, on = "device" }        measured there; "here" on this machine; "predicted" by the cost model
latency_p90_ms = { max = 20, on = "here", threads = 1, tokens = 128 }
load_ms = [{ max = 300, on = "here" }, { max = 90, on = "device" }]     several conditions, each judged by itself

[growth]                                        what may change against --baseline
score_points = 0.5
latency_percent = { max = 10, on = "here" }
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgebert.budget.limits import HERE, LIMITS, Limit
from edgebert.errors import RequestError, shown, unknown
from edgebert.types import Budget

LIMITS_TABLE, GROWTH_TABLE = TABLES = ("limits", "growth")
TABLE_TITLES = {
    LIMITS_TABLE: "what the packaged file may be",
    GROWTH_TABLE: "what may change against the baseline",
}
FEWEST_ROWS = 20  # of a label with the right answer, for it to be judged
UNITS = {"ms", "s", "us", "mb", "kb", "gb", "bytes", "points", "percent", "mib", "seconds", "p50", "share"}


@dataclass(frozen=True)
class Setting:
    """A limit as a budget sets it.

    Attributes:
        bound: in the limit's unit.
        on: what it is judged on; "" where there is but one such figure.
        threads: of a latency on this machine.
        tokens: of a latency at a fixed length; None is the rows' own lengths here, and what the plan was made for on the
            device.
        rows: of a label's, the fewest with which it is judged.
        where: it stands, for messages.
        name: as it is told: the limit's, with the conditions where the file sets it under several.
    """

    limit: Limit
    bound: float
    on: str = ""
    threads: int = 1
    tokens: int | None = None
    rows: int = FEWEST_ROWS
    where: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.limit.name)

    @property
    def conditions(self) -> str:
        """Under which it judges, in words: "here, 128 tokens, 2 threads"."""
        told = [self.on] if self.on else []
        told += [f"{self.tokens} tokens"] if self.tokens else []
        told += [f"{self.threads} threads"] if self.threads > 1 else []
        return ", ".join([*told, f"{self.rows} rows"] if self.limit.by_label else told)


def read_budget(path: Path) -> tuple[Setting, ...]:
    """The settings of a budget file, in its order.

    Raises:
        RequestError: it cannot be read, a key is unknown, a value is no number or makes no sense, or a latency does not say
            what it is judged on.
    """
    from edgebert.files import read_toml

    document = read_toml(path)
    for name in document:
        if name not in TABLES:
            raise _unknown_table(name, document[name], path)
    settings: list[Setting] = []
    for table in TABLES:
        entries = document.get(table, {})
        if not isinstance(entries, Mapping):
            raise RequestError(f"[{table}] is no table", where=str(path), hint=f"Write [{table}] and its limits below.")
        for name, value in entries.items():
            settings += _settings(table, name, value, path)
    if not settings:
        hint = (
            f"Write limits below [{LIMITS_TABLE}], such as size_mb = 10; `edgebert gate RUN --suggest` writes a file."
        )
        raise RequestError("the budget has no limit", where=str(path), hint=hint)
    return tuple(settings)


def of_plan(budget: Budget) -> tuple[Setting, ...]:
    """The budget that a run was planned with, as settings: where no budget file is given. A latency is judged as planning
    and the choice of the file judge it: as measured on the device, or else as predicted."""
    held = [(limit, getattr(budget, limit.name)) for limit in LIMITS if limit.setting]
    where = "the budget of the run"
    return tuple(
        Setting(limit, float(value), on="" if not limit.places else "planned", where=f"{where}, {limit.name}")
        for limit, value in held
        if value is not None
    )


def known(table: str) -> dict[str, Limit]:
    return {limit.name: limit for limit in LIMITS if limit.growth == (table == GROWTH_TABLE)}


def _unknown_table(name: str, value: object, path: Path) -> RequestError:
    limits = {limit.name for limit in LIMITS}
    if name in limits and not isinstance(value, Mapping):
        table = next(table for table in TABLES if name in known(table))
        return RequestError(f"'{name}' stands outside a table", where=str(path), hint=f"Write it below [{table}].")
    return unknown("table", name, TABLES, where=str(path))


def _settings(table: str, name: str, value: object, path: Path) -> list[Setting]:
    """A limit as it is set once, or under several conditions in a list."""
    where = f"{path}, [{table}] {shown(name)}"
    limits = known(table)
    if name not in limits:
        raise _unknown_limit(table, name, where)
    limit = limits[name]
    if not isinstance(value, list):
        return [_setting(limit, value, where)]
    if not value:
        raise RequestError("the list is empty", where=where, hint=_example(limit))
    if not (limit.places or limit.by_label):
        raise RequestError("there is one such figure, so it is no list", where=where, hint=_example(limit))
    settings = [_setting(limit, item, f"{where}[{i}]") for i, item in enumerate(value)]
    settings = [replace(item, name=f"{name} ({item.conditions})") for item in settings]
    names = [item.name for item in settings]
    if twice := next((item for item in settings if names.count(item.name) > 1), None):
        raise RequestError(f"two entries judge the same: {twice.conditions}", where=twice.where, hint="Leave one out.")
    return settings


def _setting(limit: Limit, value: object, where: str) -> Setting:
    given: Mapping[str, Any] = value if isinstance(value, Mapping) else {_bound_key(limit): value}
    allowed = _keys(limit)
    for key in given:
        if key not in allowed:
            raise unknown("key", key, allowed, where=where)
    if _bound_key(limit) not in given:
        raise RequestError(f"it sets no {_bound_key(limit)}", where=where, hint=_example(limit))
    bound = _number(given[_bound_key(limit)], limit, where)
    on = given.get("on", "")
    if limit.places and on not in limit.places:
        what = "it must say what it is judged on" if on == "" else f"it cannot be judged on {shown(str(on))!r}"
        raise RequestError(what, where=where, hint=f"One of {', '.join(limit.places)}: {_example(limit)}")
    counts = {key: _count(given[key], key, where) for key in ("threads", "tokens", "rows") if key in given}
    if "threads" in counts and on != HERE:
        what = "threads are chosen on this machine alone: on the device they are its profile's"
        raise RequestError(what, where=where, hint='Leave threads out, or write on = "here".')
    rows = counts.get("rows", FEWEST_ROWS)
    return Setting(limit, bound, str(on), counts.get("threads", 1), counts.get("tokens"), rows, where)


def _keys(limit: Limit) -> list[str]:
    of_latency = ["threads", "tokens"] if limit.name.startswith("latency") else []
    return [_bound_key(limit), *(["on"] if limit.places else []), *of_latency, *(["rows"] if limit.by_label else [])]


def _bound_key(limit: Limit) -> str:
    return "min" if limit.at_least else "max"


def _example(limit: Limit) -> str:
    if not limit.places:
        return f"{limit.name} = 1"
    return f'{limit.name} = {{ {_bound_key(limit)} = 10, on = "{limit.places[0]}" }}'


def _number(value: object, limit: Limit, where: str) -> float:
    if isinstance(value, str):
        what = f"{shown(value)!r} is text, and a number is needed"
        raise RequestError(what, where=where, hint=f"The unit stands in the key: {limit.name} is in {limit.unit}.")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise RequestError("a number is needed", where=where, hint=_example(limit))
    if not 0 <= value <= limit.most:
        most = f" to {limit.most:g}" if limit.most < float("inf") else " or more"
        raise RequestError(f"{value:g} cannot be: it is 0{most} {limit.unit}", where=where)
    if limit.at_least and limit.most == 100 and 0 < value <= 1:
        what = f"{value:g} {limit.unit} is hardly a limit: it is counted from 0 to 100"
        raise RequestError(what, where=where, hint=f"Write {limit.name} = {100 * value:g}.")
    return float(value)


def _count(value: object, key: str, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestError(f"{key} is a whole number from 1 on", where=where)
    return value


def _unknown_limit(table: str, name: str, where: str) -> RequestError:
    """With the right unit where only that is wrong, the other table where it stands there, or else the nearest names."""
    other = next(item for item in TABLES if item != table)
    if name in known(other):
        return RequestError(f"'{name}' is no limit of [{table}]", where=where, hint=f"Write it below [{other}].")
    stem, _, unit = name.rpartition("_")
    same = [limit for limit in known(table) if limit.rpartition("_")[0] == (stem or name)]
    if same and (unit.lower() in UNITS or not stem):
        limit = known(table)[same[0]]
        return RequestError(
            f"'{shown(name)}' has another unit: this limit is in {limit.unit}", where=where, hint=_example(limit)
        )
    return unknown("limit", name, _near(name, known(table)), where=where)


def _near(name: str, names: Iterable[str]) -> list[str]:
    every = list(names)
    return get_close_matches(name[:200], every, n=3, cutoff=0.4) or every
