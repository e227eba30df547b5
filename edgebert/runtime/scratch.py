"""Temporary folders. What a process that was killed left of them is deleted when the next one is made."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "edgebert-tmp-"


@contextmanager
def scratch_folder(
    kind: str = "", place: str | None = None, end: Callable[[Path], None] = lambda folder: None
) -> Iterator[Path]:
    """A temporary folder, deleted at the end of the block. It is locked meanwhile: the system frees the lock of a process
    that was killed, so that another one knows whose folder nobody needs any more.

    Args:
        kind: joins its name; only what was left of the same kind is deleted.
        place: where it is made; None for the folder of temporary files.
        end: ends whoever still works in a folder that was left.

    Raises:
        OSError: it cannot be made.
    """
    home = Path(place or tempfile.gettempdir())
    for left in home.glob(f"{PREFIX}{kind}*"):
        _delete_if_left(left, end)
    folder, lock = _locked_folder(kind, home)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def library_scratch() -> Iterator[None]:
    """Within it, what libraries write into the folder of temporary files lies in one of ours: they delete it themselves, but
    not when the process is killed. Raises OSError: the folder cannot be made."""
    with scratch_folder("library-") as folder:
        usual, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = usual


def _locked_folder(kind: str, home: Path) -> tuple[Path, int | None]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}", dir=home))
        lock = _lock(folder)
        if folder.exists():  # else another process saw it before it was locked
            return folder, lock
        if lock is not None:
            os.close(lock)


def _delete_if_left(folder: Path, end: Callable[[Path], None]) -> None:
    lock = _lock(folder)
    if lock is None:
        return
    try:
        if os.fstat(lock).st_uid == os.geteuid():  # else another user's, who has one of the same kind
            end(folder)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """A handle that holds the folder's lock; None where another process holds it, or there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing is deleted there that was left
        return None
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle is not None:
            os.close(handle)
        return None
    return handle
