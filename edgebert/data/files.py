"""Files and folders: which reader reads a file, and which split it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgebert.data.conll import CONLLU_COLUMNS, read_atis, read_conll, read_conllu
from edgebert.data.found import Found, Part, role
from edgebert.data.layout import is_tagged
from edgebert.data.nested import is_splits, is_squad, row_records, squad_records
from edgebert.data.tables import read_csv, read_json, read_lines, read_parquet, read_tsv
from edgebert.data.text import decode
from edgebert.errors import DataError
from edgebert.types import Record, Split

Reader = Callable[[bytes, str, str, list[str]], list[Record]]  # (content, place, encoding, notes to add to)
READERS: dict[str, Reader] = {
    "conll": read_conll,
    "conllu": read_conllu,
    "lines": read_lines,
    "tsv": read_tsv,
    "atis": read_atis,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
}
_TABLES = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet"}
LABELLED = frozenset({"label", "tags", "score", "answers"})  # roles that a line of plain text cannot play
SUFFIXES = frozenset({*_TABLES, ".conll", ".txt", ".bio", ".bio2", ".iob", ".iob2", ".tsv", ".annotated", ".conllu"})
SNIFFED = 20  # lines
_PAPERS = ("readme", "license", "licence", "copying", "notice", "citation")


def from_file(path: Path, split: Split | None, encoding: str, roles: Collection[str] = LABELLED) -> Found:
    """One file. Raises DataError when it is missing, unreadable or without rows.

    Args:
        roles: what the task reads, where the file alone does not tell what it is.
    """
    parts, notes = read_parts(path, split, str(path), encoding, roles=roles)
    return Found(path.name, "not stated", str(path), parts, notes)


def read_parts(
    path: Path,
    split: Split | None,
    place: str,
    encoding: str,
    *,
    reader: str | None = None,
    roles: Collection[str] = LABELLED,
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """The parts of a file, of which a JSON file of splits has several, and notes on what was left aside."""
    content = read_bytes(path, place)
    reader = reader or _sniff(path, content, roles)
    nested = _nested(content, place, encoding) if reader == "json" else None
    if nested is not None:
        return _nested_parts(nested, split, place, content)
    notes: list[str] = []  # what the reader guessed from what, and what it left out
    records = READERS[reader](content, place, encoding, notes)
    return (_part(records, split, place, content),), tuple(f"{path.name}: {note}" for note in notes)


def _part(records: Sequence[Record], split: Split | None, place: str, content: bytes) -> Part:
    if not records:
        what = "the file holds no rows" if content.strip() else "the file is empty"
        hint = "Check that this is the file you meant and that it was written to its end."
        raise DataError(what, where=place, hint=hint)
    return Part(split, place, tuple(records), content)


def _nested(content: bytes, place: str, encoding: str) -> Any | None:
    """The value of a file that is one JSON object of more than a row; None for any other."""
    try:
        value = json.loads(decode(content, place, encoding))
    except (ValueError, RecursionError):
        return None
    return value if is_squad(value) or is_splits(value) else None


def _nested_parts(
    value: Any, split: Split | None, place: str, content: bytes
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    if is_squad(value):
        return (_part(squad_records(value, place), split, place, content),), ()
    named = {name: role(name) for name in value}
    taken = {name: found for name, found in named.items() if found and split in (None, found)}
    if not taken:
        hint = "Keys such as train, val and test hold the rows of a split each."
        raise DataError(f"no key tells a split: {', '.join(value)}", where=place, hint=hint)
    parts = [
        _part(row_records(value[name], f"{place}:{name}"), found, f"{place}:{name}", b"")
        for name, found in taken.items()
    ]
    parts[0] = replace(parts[0], content=content)  # hashed once
    aside = [name for name in value if name not in taken]
    return tuple(parts), (f"keys left aside: {', '.join(aside)}",) if aside else ()


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


def from_folder(folder: Path, encoding: str, roles: Collection[str] = LABELLED) -> Found:
    """Every data file of a folder, matched to splits by its name; one that no name tells is a file without a split."""
    files = [path for path in sorted(folder.iterdir()) if _is_data(path)]
    named = [(path, role(path.name)) for path in files]
    taken: list[tuple[Path, Split | None]] = [(path, split) for path, split in named if split]
    if len(named) == 1:  # alone it is all there is, whatever its name says
        taken = [(files[0], None)]
    if not taken:
        raise _no_splits(folder, files)
    taken, notes = _one_format(folder, taken, roles)
    read = [read_parts(path, split, str(path), encoding, roles=roles) for path, split in taken]
    parts = tuple(part for some, _ in read for part in some)
    told = [note for _, some in read for note in some]
    aside = [path.name for path, split in named if split is None and (path, None) not in taken]
    if aside:
        told.append(f"files left aside, their names tell no split: {', '.join(aside)}")
    return Found(folder.resolve().name, "not stated", str(folder), parts, (*notes, *told))


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


def _one_format(
    folder: Path, taken: list[tuple[Path, Split | None]], roles: Collection[str]
) -> tuple[list[tuple[Path, Split | None]], tuple[str, ...]]:
    """The files of one format: where the same splits stand in two, the one that the task reads. Raises DataError where
    that does not decide."""
    formats: dict[str, list[tuple[Path, Split | None]]] = {}
    for path, split in taken:
        formats.setdefault(_TABLES.get(path.suffix.lower(), "conll"), []).append((path, split))
    if len(formats) == 1:
        return taken, ()
    wanted = {"conll"} & formats.keys() if "words" in roles else formats.keys() - {"conll"}
    if len(wanted) != 1 or roles == LABELLED:
        choice = " ".join(f"--data {split}={path}" for path, split in next(iter(formats.values())))
        what = f"the folder holds the same splits in several formats: {', '.join(formats)}"
        raise DataError(what, where=str(folder), hint=f"Name the files to read, for example: {choice}")
    (chosen,) = wanted
    return formats[chosen], (f"of the formats {', '.join(formats)}, {chosen} was read, which fits the task",)


def _sniff(path: Path, content: bytes, roles: Collection[str]) -> str:
    """A reader's name: by the ending, else by the first lines."""
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return _TABLES[suffix]
    if content.startswith(b"PAR1"):
        return "parquet"
    head = [line for line in content[:100_000].split(b"\n")[:SNIFFED] if line.strip()]
    if not head:
        return "conll"
    if b" <=> " in head[0]:
        return "atis"
    words = [line.split(b"\t") for line in head if not line.startswith(b"#")]
    if suffix == ".conllu" or (words and all(len(cells) == CONLLU_COLUMNS for cells in words)):
        return "conllu"
    if _is_table(words):
        texts = [[cell.decode(errors="replace") for cell in cells] for cells in words]
        return "conll" if is_tagged(texts) else "tsv"
    if suffix == ".txt" and not LABELLED & set(roles):
        return "lines"
    try:
        return "json" if isinstance(json.loads(head[0]), dict) else "conll"
    except (ValueError, RecursionError):
        return "conll"


def _is_table(lines: Sequence[Sequence[bytes]]) -> bool:
    """Cells between tabs of which some hold several words; a line of CoNLL has one word a cell."""
    return (
        len(lines) > 1
        and len(lines[0]) > 1
        and all(len(cells) == len(lines[0]) for cells in lines)
        and any(b" " in cell.strip() for cells in lines for cell in cells)
    )
