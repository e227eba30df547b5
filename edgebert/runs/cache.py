"""What a cache of run folders is keyed by, and what it need not carry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebert.errors import unknown
from edgebert.files import digest, remove
from edgebert.runs.folder import REQUEST, lock_folder
from edgebert.runs.listing import list_runs, stage_records
from edgebert.runs.order import read_order

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Pruned:
    """What was deleted from one run.

    Attributes:
        stages: names of the folders that are gone.
        size_bytes: of their files; a file that another run links to frees nothing yet.
        why_not: why nothing was looked at; "" where it was.
    """

    run: str
    stages: tuple[str, ...] = ()
    size_bytes: int = 0
    why_not: str = ""


def find_runs(names: Sequence[str], root: Path) -> list[Path]:
    """The folders of runs, each a name under `root` or a path; all under `root` where no name is given.

    Raises RequestError where there is no such run.
    """
    if not names:
        return [root / run["name"] for run in list_runs(root)]
    found = []
    for name in names:
        places = [place for place in (Path(name), root / name) if (place / REQUEST).exists()]
        if not places:
            raise unknown("run", name, [run["name"] for run in list_runs(root)], where=str(root))
        found.append(places[0])
    return found


def stage_keys(folders: Sequence[Path]) -> tuple[str, ...]:
    """The finished stages of runs as NAME-KEY, each once, in order. A key says everything that a stage was made of."""
    records = [record for folder in folders for record in stage_records(folder).values()]
    return tuple(sorted({f"{record['stage']}-{record['key']}" for record in records}))


def digest_of(keys: Sequence[str]) -> str:
    """One name for a set of stages, wherever and in whichever order they were made."""
    return digest(sorted(keys), 16)


def prune(folder: Path) -> Pruned:
    """Deletes the stages of a run that its last finished command did not use.

    What was used after its end, by the lines of events.jsonl, belongs to a command that was interrupted, and stays, as does
    everything in a run that never finished. Raises RunError where another command is at work in the run.
    """
    names = _used(folder)
    if names is None:
        return Pruned(folder.name, why_not="it has not finished yet")
    lock, _ = lock_folder(folder)
    try:
        order = read_order(folder)
        gone = [
            place for place, record in stage_records(folder).items()
            if place.name not in names and order.of(record) < order.finished
        ]  # fmt: skip
        size = sum(path.lstat().st_size for place in gone for path in place.rglob("*") if path.is_file())
        for place in gone:
            remove(place)
    finally:
        if lock is not None:
            lock.release()
    return Pruned(folder.name, tuple(place.name for place in gone), size)


def _used(folder: Path) -> frozenset[str] | None:
    """The stages of the manifest; None where no command has finished, or nobody can tell."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return frozenset(str(stage["folder"]) for stage in manifest["stages"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
