"""Files and folders that are whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LONGEST_SLUG = 80  # bytes


def slug(name: str) -> str:
    """A name, or the last part of a path, as part of a folder's name: it can lead nowhere else."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(name).name)
    return kept.encode()[:LONGEST_SLUG].decode(errors="ignore").strip("-.") or "data"


def name_of(model: str) -> str:
    """The last part of a checkpoint's path, also of "." and "..", or of a hub id: what outputs are named after."""
    return Path(model).resolve().name if Path(model).exists() else Path(model).name


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        hasher = hashlib.sha256()
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


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


def _copy(source: Path, target: Path, copy: Callable[[str, str], Any]) -> None:
    if source.is_file():
        copy(str(source), str(target))
    else:
        shutil.copytree(source, target, copy_function=copy)
