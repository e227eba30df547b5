"""Reads a TOML file with errors that name the file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgebert.errors import RequestError, first_line

LARGEST = 2**20  # bytes: a profile or a recipe has a few thousand


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises RequestError when it is missing, no ordinary file, not UTF-8 or not TOML."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    where = str(path)
    try:
        if not path.exists():
            raise RequestError("no such file", where=where)
        if not path.is_file():
            raise RequestError("not an ordinary file", where=where, hint="Name a file that ends in .toml.")
        if path.stat().st_size > LARGEST:
            raise RequestError("more than a megabyte: no TOML that edgebert reads is so long", where=where)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise RequestError("cannot be read as TOML: nested too deep", where=where) from None
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", where=where) from None
    except ValueError as error:  # not UTF-8, not TOML, a number of thousands of digits, a name that cannot be one
        raise RequestError(f"cannot be read as TOML: {first_line(error)[:200]}", where=where) from None
