"""A folder in one file, the same bytes for the same folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the oldest time that a ZIP file can hold
MODE = 0o644


def zip_folder(folder: Path, parent: Path, name: str) -> Path:
    """`NAME.zip`, which holds the folder under its own name; a script keeps its right to be run."""
    target = parent / f"{folder.name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (MODE | (path.stat().st_mode & 0o111)) << 16
            archive.writestr(entry, path.read_bytes())
    return target
