"""What is known of runs: their list, and the stages of one."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgebert.errors import RunError
from edgebert.faults import fault_of
from edgebert.runs.folder import EVENTS, MAKING, PARTIAL, RECORD, REQUEST
from edgebert.runs.store import read_record


def list_runs(root: str | Path = "runs") -> list[dict[str, Any]]:
    """Every run under `root`: name, when it last changed, the stages that are done, and the names of those that were
    interrupted, and whether it has a bundle.

    Raises RunError where the folder cannot be read.
    """
    runs = []
    try:
        folders = sorted(path.parent for path in Path(root).glob(f"*/{REQUEST}"))
        for folder in folders:
            begun = [path for ending in (PARTIAL, MAKING) for path in folder.glob(f"stages/.*{ending}")]
            runs.append(
                {
                    "name": folder.name,
                    "changed": datetime.fromtimestamp(_changed(folder), timezone.utc).isoformat(timespec="seconds"),
                    "done": sorted(path.parent.name for path in folder.glob(f"stages/[0-9]*/{RECORD}")),
                    "open": sorted({path.name.removeprefix(".").rpartition("-")[0] for path in begun}),
                    "bundle": (folder / "bundle" / "manifest.json").exists(),
                }
            )
    except OSError as error:
        raise fault_of(error, Path(root)) or RunError(f"cannot be read: {error.strerror}", where=str(root)) from None
    return runs


def read_stages(folder: Path) -> list[dict[str, Any]]:
    """The finished stages of a run, in the order of their numbers; "damaged" where a record cannot be read."""
    results = []
    for place in sorted(path for path in folder.glob("stages/[0-9]*")):
        record = read_record(place) or {"stage": place.name, "key": "", "seconds": 0.0, "result": None, "damaged": True}
        names = {"name": "stage", "key": "key", "seconds": "seconds", "result": "result"}
        results.append({new: record[old] for new, old in names.items()} | {"damaged": "damaged" in record})
    return results


def stage_records(folder: Path) -> dict[Path, dict[str, Any]]:
    """The record of every stage of a run that is as it was written, by the stage's folder. Its files were not looked at."""
    places = sorted(folder.glob("stages/[0-9]*"))
    return {place: record for place in places if (record := read_record(place))}


def _changed(folder: Path) -> float:
    events = folder / EVENTS
    return (events if events.exists() else folder).stat().st_mtime
