"""JSON of files that may have been edited, cut or made to do harm: read whole and strictly, or refused in one sentence."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from edgebert.errors import DataError


def read_text(path: Path, most_bytes: int) -> str:
    """The UTF-8 text of a regular file.

    Raises:
        DataError: it is missing, a link, a pipe or a folder, larger than `most_bytes`, unreadable, or not UTF-8.
    """
    try:
        result = os.lstat(path)
        if not stat.S_ISREG(result.st_mode):
            raise DataError(f"this is {kind_of(result.st_mode)}, not a file", where=str(path))
        if result.st_size > most_bytes:
            raise DataError(f"the file has {result.st_size} bytes, at most {most_bytes} are read", where=str(path))
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8: byte {error.start} is wrong", where=str(path)) from None


def kind_of(mode: int) -> str:
    """What a path is, in words."""
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device or socket")


def parse(text: str, where: str, *, finite: bool = True) -> Any:
    """The value of a JSON text that says each name once, only text that UTF-8 can say, and where it must be `finite` no NaN
    and no infinity.

    Raises:
        DataError: anything else.
    """
    try:
        constants: dict[str, Any] = {"parse_constant": _no_number, "parse_float": _finite} if finite else {}
        value = json.loads(text, object_pairs_hook=_once, **constants)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError("a text holds half of a surrogate pair", where=where) from None
    except RecursionError:
        raise DataError("lists or objects stand too deep inside one another", where=where) from None
    except ValueError as error:  # JSONDecodeError among them
        raise DataError(f"this is not JSON: {error}", where=where) from None
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    results: dict[str, Any] = {}
    for name, value in pairs:
        if name in results:
            raise ValueError(f"the name {name!r} stands twice in one object")
        results[name] = value
    return results


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large for a number")
    return value


def write_json(path: Path, value: object) -> None:
    """Writes JSON that `parse` reads back. Raises ValueError for a number that is none."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
