"""Reads a TOML file with errors that name the file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgebert.errors import RequestError


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises RequestError when it is missing, not UTF-8 or not TOML."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError("no such file", where=str(path)) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"cannot be read as TOML: {error}", where=str(path)) from None
