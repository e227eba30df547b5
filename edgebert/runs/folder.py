"""What lies in a run folder: is it ours, is it free, can it be written, and what did a killed command leave?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.errors import RunError
from edgebert.faults import FAULTS, check_writable
from edgebert.files import recover_folder, remove

if TYPE_CHECKING:
    from filelock import BaseFileLock

RECORD, REQUEST, EVENTS, LOCK = "record.json", "request.toml", "events.jsonl", ".lock"
PARTIAL, MAKING = ".partial", ".making"  # a stage under way that can go on, and one that begins anew
ENGINES = "engines"  # what engines answered of the files, see `edgebert.runs.engines`
FOLDERS, FILES = ("stages", "report", "bundle", "rejected", ENGINES), (REQUEST, EVENTS, "plan.json", "manifest.json")
# What a run that never got as far as its request may have left; and the manifest, which --locked reads where nothing else
# of the run was kept.
BEGUN = frozenset({"stages", LOCK, EVENTS, f".{REQUEST}.new", "manifest.json"})


def check_folder(folder: Path) -> None:
    """Raises RunError where the folder is somebody else's, or cannot be written in: before hours of training."""
    is_run = (folder / REQUEST).exists() or not folder.is_dir()
    if strange := () if is_run else sorted(path.name for path in folder.iterdir() if path.name not in BEGUN):
        what = f"the folder is not empty and is no run: it holds {strange[0]}"
        raise RunError(what, where=str(folder), hint="Choose another --run.")
    for name in (*FOLDERS, *FILES):
        path = folder / name
        if path.exists() and path.is_dir() != (name in FOLDERS):
            what = "a file is where a folder must be" if name in FOLDERS else "a folder is where a file must be"
            raise RunError(what, where=str(path), hint="Move it away, or choose another --run.")
    for name in FOLDERS:
        if not (folder / name).exists():
            check_writable(folder, "--run")
        else:
            check_writable(folder / name, "--run")


def sweep(folder: Path) -> None:
    """Deletes what killed commands left half-written. Called with the lock held."""
    for ending in (MAKING, ".linking", ".new"):
        for path in folder.glob(f"stages/.*{ending}"):
            remove(path)
    for name in ("report", "bundle"):
        recover_folder(folder / name)
    for name in FILES:
        remove(folder / f".{name}.new")
    events = folder / EVENTS
    if events.exists() and events.stat().st_size:
        with events.open("rb+") as stream:  # a line that a full disk cut short must not swallow the next
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")


def lock_folder(folder: Path) -> tuple[BaseFileLock | None, str]:
    """The lock, held; or None and why there is none."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            "another edgebert is at work in this run", where=str(folder), hint="Wait for it, or choose another --run."
        ) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FAULTS:
            raise
        return None, "this file system has no locks"
    return lock, ""
