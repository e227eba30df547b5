"""A wheel written by the standard library: https://packaging.python.org/en/latest/specifications/binary-distribution-format/

The same sources give the same bytes: entries stand in a fixed order and have one time.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebert.bundle.ports.archive import EARLIEST, MODE


@dataclass(frozen=True)
class Distribution:
    """What the metadata of a package says.

    Attributes:
        requires: what pip installs with it.
        scripts: console commands by name, each "module:function".
        readme: its page, in Markdown.
    """

    name: str
    version: str
    summary: str
    python: str
    requires: Sequence[str]
    scripts: Mapping[str, str]
    readme: str


def normal_name(name: str) -> str:
    """A distribution's name as file names have it.

    >>> normal_name("NER.atis--v2")
    'ner_atis_v2'
    """
    return re.sub(r"[-_.]+", "_", name).lower()


def wheel_name(name: str, version: str) -> str:
    return f"{normal_name(name)}-{version}-py3-none-any.whl"


def write_wheel(target: Path, sources: Path, licences: Path, about: Distribution) -> Path:
    """Writes the wheel of the packages in `sources`, with the files of `licences` beside its metadata."""
    entries = dict(_entries(sources, licences, about))
    record = f"{normal_name(about.name)}-{about.version}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in entries.items()]
    entries[record] = "".join([*lines, f"{record},,\n"]).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | MODE) << 16
            archive.writestr(entry, content)
    return target


def source_files(folder: Path) -> list[Path]:
    """The files of a folder, in order, without what running them leaves."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path for path in paths if not any(part.endswith(".egg-info") for part in path.parts))


def _entries(sources: Path, licences: Path, about: Distribution) -> Iterator[tuple[str, bytes]]:
    info = f"{normal_name(about.name)}-{about.version}.dist-info"
    for path in source_files(sources):
        yield path.relative_to(sources).as_posix(), path.read_bytes()
    for path in source_files(licences):
        yield f"{info}/licenses/{path.relative_to(licences).as_posix()}", path.read_bytes()
    scripts = "".join(f"{name} = {target}\n" for name, target in sorted(about.scripts.items()))
    yield f"{info}/METADATA", _metadata(about, licences).encode()
    yield f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: edgebert\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    yield f"{info}/entry_points.txt", f"[console_scripts]\n{scripts}".encode()


def _metadata(about: Distribution, licences: Path) -> str:
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", about.name),
        ("Version", about.version),
        ("Summary", " ".join(about.summary.split())),
        ("Requires-Python", about.python),
        *(("Requires-Dist", item) for item in about.requires),
        *(("License-File", path.relative_to(licences).as_posix()) for path in source_files(licences)),
        ("Description-Content-Type", "text/markdown; charset=UTF-8"),
    ]
    return "".join(f"{name}: {value}\n" for name, value in fields) + "\n" + about.readme


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
