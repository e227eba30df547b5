"""Files and folders: which reader reads a file, and which split it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from edgebert.data.conll import read_atis, read_conll
from edgebert.data.found import Found, Part, role
from edgebert.data.tables import read_csv, read_json, read_parquet
from edgebert.errors import DataError
from edgebert.types import Record, Split

Reader = Callable[[bytes, str, str], list[Record]]  # (content, place, encoding)
READERS: dict[str, Reader] = {
    "conll": read_conll,
    "atis": read_atis,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
}
_TABLES = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet"}
SUFFIXES = frozenset({*_TABLES, ".conll", ".txt", ".bio", ".bio2", ".iob", ".iob2", ".tsv", ".annotated"})
_PAPERS = ("readme", "license", "licence", "copying", "notice", "citation")


def from_file(path: Path, split: Split | None, encoding: str) -> Found:
    """One file. Raises DataError when it is missing, unreadable or without rows."""
    part = read_part(path, split, str(path), encoding)
    return Found(path.name, "not stated", str(path), (part,))


def read_part(path: Path, split: Split | None, place: str, encoding: str, reader: str | None = None) -> Part:
    content = read_bytes(path, place)
    records = READERS[reader or _sniff(path, content)](content, place, encoding)
    if not records:
        what = "the file holds no rows" if content.strip() else "the file is empty"
        raise DataError(
            what, where=place, hint="Check that this is the file you meant and that it was written to its end."
        )
    return Part(split, place, tuple(records), content)


def read_bytes(path: Path, place: str) -> bytes:
    if not path.exists():
        raise missing(path)
    if path.is_dir():
        raise DataError("a folder where a file is needed", where=place, hint="Name a file of it.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=place) from None


def missing(path: Path) -> DataError:
    """The error for a path that is not there, with the nearest names beside it."""
    if not path.parent.is_dir():
        return DataError("no such file", where=str(path), hint=f"The folder {path.parent} does not exist either.")
    near = near_files(path)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Nothing in {path.parent} has a name like it."
    return DataError("no such file", where=str(path), hint=hint)


def near_files(path: Path) -> list[str]:
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    return [str(path.parent / name) for name in get_close_matches(path.name, names, n=3, cutoff=0.6)]


def from_folder(folder: Path, encoding: str) -> Found:
    """Every data file of a folder, matched to splits by its name; one that no name tells is a file without a split."""
    files = [path for path in sorted(folder.iterdir()) if _is_data(path)]
    named = [(path, role(path.name)) for path in files]
    taken: list[tuple[Path, Split | None]] = [(path, split) for path, split in named if split]
    if not taken and len(named) == 1:
        taken = [(files[0], None)]
    if not taken:
        raise _no_splits(folder, files)
    _check_one_format(folder, taken)
    parts = tuple(read_part(path, split, str(path), encoding) for path, split in taken)
    aside = [path.name for path in files if path not in {one for one, _ in taken}]
    notes = (f"files left aside, their names tell no split: {', '.join(aside)}",) if aside else ()
    return Found(folder.resolve().name, "not stated", str(folder), parts, notes)


def _is_data(path: Path) -> bool:
    name = path.name.lower()
    if not path.is_file() or name.startswith((".", *_PAPERS)):
        return False
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or role(suffix) is not None or (not suffix and role(name) is not None)


def _no_splits(folder: Path, files: list[Path]) -> DataError:
    if not files:
        known = " ".join(sorted(SUFFIXES))
        return DataError("the folder holds no data file", where=str(folder), hint=f"Known endings: {known}")
    names = ", ".join(path.name for path in files[:8])
    return DataError(
        f"the folder holds {len(files)} files and no name tells its split: {names}",
        where=str(folder),
        hint=f"Say which is which, for example: --data train={files[0]} --data test={files[-1]}",
    )


def _check_one_format(folder: Path, taken: list[tuple[Path, Split | None]]) -> None:
    formats: dict[str, list[tuple[Path, Split | None]]] = {}
    for path, split in taken:
        formats.setdefault(_TABLES.get(path.suffix.lower(), "conll"), []).append((path, split))
    if len(formats) > 1:
        choice = " ".join(f"--data {split}={path}" for path, split in next(iter(formats.values())))
        what = f"the folder holds the same splits in several formats: {', '.join(formats)}"
        raise DataError(what, where=str(folder), hint=f"Name the files to read, for example: {choice}")


def _sniff(path: Path, content: bytes) -> str:
    """A reader's name: by the ending, else by the first line."""
    if path.suffix.lower() in _TABLES:
        return _TABLES[path.suffix.lower()]
    if content.startswith(b"PAR1"):
        return "parquet"
    line = content.lstrip()[:100_000].split(b"\n")[0]
    if b" <=> " in line:
        return "atis"
    try:
        return "json" if isinstance(json.loads(line), dict) else "conll"
    except (ValueError, RecursionError):
        return "conll"
