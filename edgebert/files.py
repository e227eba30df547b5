"""Files: hashing, JSON and TOML, folders that are whole or not there at all."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import shutil
import sys
import types
import typing
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from edgebert.errors import RequestError, RunError, first_line

LARGEST_TOML = 2**20  # bytes: a profile or a recipe has a few thousand
LONGEST_SLUG = 80  # bytes


def slug(name: str) -> str:
    """A name, or the last part of a path, as part of a folder's name: it can lead nowhere else.

    >>> slug("data/My reviews (2024).csv")
    'My-reviews--2024-.csv'
    >>> slug("../..")
    'data'
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(name).name)
    return kept.encode()[:LONGEST_SLUG].decode(errors="ignore").strip("-.") or "data"


def name_of(model: str) -> str:
    """The last part of a checkpoint's path, also of "." and "..", or of a hub id: what outputs are named after."""
    return Path(model).resolve().name if Path(model).exists() else Path(model).name


def exists(path: Path) -> bool:
    """Whether there is something of this name; a name that cannot be one, and a link in a circle, are not there."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def user_folder(variable: str, usual: str) -> Path:
    """Where this user's own files of edgebert lie, whether or not the folder is there.

    Args:
        variable: of the environment, such as XDG_CACHE_HOME; it counts where it holds an absolute path.
        usual: otherwise, in the home folder.

    Raises:
        RunError: the system knows no home folder of this user, as in many containers.
    """
    base = os.environ.get(variable, "")
    try:
        return (Path(base) if Path(base).is_absolute() else Path.home() / usual) / "edgebert"
    except RuntimeError:
        raise RunError("this user has no home folder", hint=f"Set {variable} to a folder, or HOME.") from None


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        hasher = hashlib.sha256()
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def deflated_bytes(path: Path) -> int:
    """Size of a file, or of a folder's files together, as a zip stores them by default (deflate, level 6), headers aside."""
    total = 0
    for item in [path] if path.is_file() else sorted(path.rglob("*")):
        if item.is_file():
            packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
            with item.open("rb") as stream:
                while block := stream.read(1 << 20):
                    total += len(packer.compress(block))
            total += len(packer.flush())
    return total


def write_atomic(path: Path, text: str) -> None:
    """Writes beside `path` and renames, so a reader or a kill never meets half a file."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """A fresh sibling folder to write in; it takes `target`'s place when the block ends without an error."""
    recover_folder(target)
    beside, old = _beside(target)
    beside.mkdir(parents=True)
    try:
        yield beside
        with suppress(FileNotFoundError):
            target.rename(old)
        beside.rename(target)
    except BaseException:
        recover_folder(target)
        raise
    remove(old)


def _beside(target: Path) -> tuple[Path, Path]:
    return target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")


def recover_folder(target: Path) -> None:
    """Undoes what a killed `replace_folder` left: the old folder is in its place again, nothing lies beside it."""
    beside, old = _beside(target)
    if not target.exists() and old.exists():
        old.rename(target)
    remove(beside)
    remove(old)


def remove(path: Path) -> None:
    """Deletes a file, a link or a folder, where it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def link_tree(source: Path, target: Path) -> None:
    """`target` is the same file or folder without a second copy on the disk, where the file system allows it."""
    partial = target.with_name(f".{target.name}.linking")
    remove(partial)

    def link(src: str, dst: str) -> str:
        try:
            os.link(src, dst)
        except OSError:  # another file system
            shutil.copy2(src, dst)
        return dst

    try:
        _copy(source, partial, link)
        partial.replace(target)
    except BaseException:
        remove(partial)
        raise


def copy_tree(source: Path, target: Path) -> None:
    """A copy of a file or folder."""
    _copy(source, target, lambda src, dst: shutil.copyfile(src, dst))


def _copy(source: Path, target: Path, copy: Callable[[str, str], object]) -> None:
    if source.is_file():
        copy(str(source), str(target))
    else:
        shutil.copytree(source, target, copy_function=copy)


# ---------------------------------------------------------------- values


T = TypeVar("T")
SCALARS: dict[type, type | tuple[type, ...]] = {float: (int, float), int: int, str: str, bool: bool}


def plain(value: Any) -> Any:
    """`value` as JSON types: dataclasses to dicts, without fields that are not to be recorded; tuples to lists; paths and
    errors to strings."""
    if is_dataclass(value) and not isinstance(value, type):
        recorded = (field.name for field in fields(value) if field.metadata.get("recorded", True))
        return {name: plain(getattr(value, name)) for name in recorded}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, (Path, Exception)) else value


def portable(value: Any) -> Any:
    """`value` as JSON types. A path becomes its name alone, so that no report carries folders of the machine.

    Fields keep the order in which they are declared; the keys of mappings are sorted.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: portable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in sorted((str(key), item) for key, item in value.items())}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    if isinstance(value, Path):
        return value.name
    return value.item() if hasattr(value, "dtype") else value  # numpy's numbers


def from_plain(kind: type[T], value: object) -> T:
    """`value`, as JSON gave it, as the annotated type `kind`. Raises TypeError where it is of another kind."""
    result: T = _built(kind, value)
    return result


_hints = functools.lru_cache(maxsize=None)(typing.get_type_hints)  # a report has thousands of fields of few types


def _built(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _built(inner, value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _built(hints[name], item) for name, item in value.items()})
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{value!r:.40} is no list")
        inner_kinds = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        return tuple(_built(inner, item) for inner, item in zip(inner_kinds, value, strict=True))
    if origin is Mapping:
        return {key: _built(arguments[1], item) for key, item in value.items()}
    if kind in SCALARS and not isinstance(value, SCALARS[kind]):
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return Path(value) if kind is Path else value


def digest(value: object, length: int = 12) -> str:
    """First hexadecimal digits of the sha256 of a JSON-able value."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:length]


def now() -> str:
    """This moment, ISO 8601, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def to_toml(value: object) -> str:
    """A value of a request in TOML: a JSON string, number or boolean is one already."""
    if isinstance(value, Mapping):
        pairs = [f"{to_toml(str(name))} = {to_toml(item)}" for name, item in value.items() if item is not None]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


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
        if path.stat().st_size > LARGEST_TOML:
            raise RequestError("more than a megabyte: no TOML that edgebert reads is so long", where=where)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise RequestError("cannot be read as TOML: nested too deep", where=where) from None
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", where=where) from None
    except ValueError as error:  # not UTF-8, not TOML, a number of thousands of digits, a name that cannot be one
        raise RequestError(f"cannot be read as TOML: {first_line(error)[:200]}", where=where) from None
