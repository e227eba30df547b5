"""The run folder: stages keyed by their inputs, written beside and renamed into place, never done twice.

    runs/<name>/request.toml  manifest.json  events.jsonl  stages/<nn>-<stage>-<key>/…  rejected/  report/  bundle/

A stage's key hashes its name, version and inputs (its parameters and the keys of the stages it reads), so a folder with
the right key holds the right result, whichever run made it: a stage found whole in a sibling run is linked, not redone.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.distributed import is_main, wait_for_everyone
from edgebert.errors import RunError
from edgebert.faults import fault_of
from edgebert.files import digest, link_tree, now, plain, sha256_file, to_toml, write_atomic
from edgebert.runs.folder import EVENTS, MAKING, PARTIAL, RECORD, REQUEST, check_folder, lock_folder, sweep
from edgebert.runs.order import by_use

if TYPE_CHECKING:
    from edgebert.types import OnEvent

LARGEST_RECORD = 64 << 20  # bytes; a real one has some thousands
WORK = "work"  # of a stage: deleted when it is done


@dataclass(frozen=True)
class Stage:
    """A finished stage: its folder, its key and the small JSON result that it returned."""

    name: str
    key: str
    path: Path
    result: Any
    seconds: float
    reused: bool
    files: Mapping[str, Any] = field(default_factory=dict)  # name -> {"bytes", "sha256"}


class Run:
    """One run folder, held by one process at a time.

    Args:
        folder: created when absent. A folder that holds something else is refused.
        request: what was asked for, kept as request.toml.
        on_event: told of every event beside the file, to show progress.

    Raises:
        RunError: the folder cannot be written, holds something else, or another process works in it.
    """

    def __init__(self, folder: Path, request: Mapping[str, object], on_event: OnEvent | None = None) -> None:
        self.folder = folder
        self.stages: list[Stage] = []
        self._made: set[Path] = set()
        self._lock: Any = None
        self.on_event = on_event or (lambda event: None)
        if not is_main():
            return
        is_new = not folder.exists()
        try:
            check_folder(folder)
            (folder / "stages").mkdir(parents=True, exist_ok=True)
            self._lock, lockless = lock_folder(folder)
            sweep(folder)
            lines = [f"{name} = {to_toml(plain(value))}" for name, value in request.items() if value is not None]
            text = "\n".join(lines) + "\n"
            write_atomic(folder / REQUEST, text.encode(errors="replace").decode())
            self.log(event="start", **request)
        except OSError as error:
            self.close()
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)
            fault = fault_of(error, folder)
            what = f"cannot write here: {fault.what if fault else error.strerror or error}"
            raise RunError(what, where=str(folder), hint=fault.hint if fault else "Choose another --run.") from None
        if lockless:
            self.log(event="note", text=f"{folder}: {lockless}; give no second command in this run meanwhile")

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def log(self, **event: Any) -> None:
        """Appends an event to events.jsonl and tells whoever shows progress."""
        event = {"time": now(), **plain(event)}
        if is_main():
            # A path may hold bytes that are no UTF-8: JSON has an escape for them.
            with (self.folder / EVENTS).open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(json.dumps(event, ensure_ascii=False) + "\n")
            self.on_event(event)

    def stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        make: Callable[[Path], Any],
        *,
        version: int = 1,
        resumable: bool = False,
    ) -> Stage:
        """The stage with these inputs: found whole, or made by `make(folder)`, which returns a small JSON result.

        A resumable stage finds what it left behind when it was killed; every other starts from an empty folder. A
        folder `work/` in it is the stage's own and is deleted at the end. Under `accelerate launch` every process
        makes a resumable stage (it trains), one makes the others.
        """
        key = digest({"stage": name, "version": version, "inputs": inputs})
        result = self._find(name, key) if is_main() else None
        if result is None and is_main() and (why := self._why_again(name, inputs)):
            self.log(event="note", text=f"{name} is made again: {why}")
        if result is None and (is_main() or resumable):
            self._make(name, key, inputs, make, resumable)
        wait_for_everyone()
        stage = result or self._read(name, key)
        if stage is None:
            raise RunError(f"stage '{name}' left no result", where=str(self.folder))
        self.stages.append(stage)
        return stage

    def _why_again(self, name: str, inputs: Mapping[str, Any]) -> str:
        """What differs from the stage of this name that an earlier command used last; "" where there is none."""
        used = {stage.path for stage in self.stages}
        folders = [path for path in (self.folder / "stages").glob(f"[0-9]*-{name}-*") if path not in used]
        found = {folder: record for folder in folders if (record := read_record(folder)) and record["stage"] == name}
        if not found:
            return ""
        old, new = by_use(self.folder, found)[-1].get("inputs", {}), plain(inputs)
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        return f"{', '.join(changed)} changed" if changed else "this edgebert makes it in another way"

    def _read(self, name: str, key: str) -> Stage | None:
        """The stage of this run with this key, if all its files are as they were written."""
        for folder in sorted((self.folder / "stages").glob(f"[0-9]*-{name}-{key}")):
            record = read_record(folder)
            if record and is_whole(folder, record):
                files = record["files"]
                return Stage(name, key, folder, record["result"], record["seconds"], folder not in self._made, files)
            self.log(event="damaged", stage=name, folder=folder.name)
            if is_main():
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
        return None

    def _find(self, name: str, key: str) -> Stage | None:
        """The stage here, finished but for its last renaming, or linked in from a sibling run."""
        partial = self._partial(name, key, resumable=True)
        if (record := read_record(partial)) and is_whole(partial, record):
            partial.replace(self._place(name, key))
        if stage := self._read(name, key):
            self.log(event="kept", stage=name, key=key)
            return stage
        for folder in sorted(self.folder.parent.glob(f"*/stages/[0-9]*-{name}-{key}")):
            try:
                record = read_record(folder)
                if not record or not is_whole(folder, record):
                    continue
                link_tree(folder, self._place(name, key))
            except FileNotFoundError:  # its own command is at work on it
                continue
            except OSError as error:
                if fault_of(error, self.folder) and not _is_of(error, folder):
                    raise
                continue
            self.log(event="linked", stage=name, key=key, run=folder.parent.parent.name)
            return self._read(name, key)
        return None

    def _place(self, name: str, key: str) -> Path:
        return self.folder / "stages" / f"{len(self.stages) + 1:02d}-{name}-{key}"

    def _partial(self, name: str, key: str, resumable: bool) -> Path:
        return self.folder / "stages" / f".{name}-{key}{PARTIAL if resumable else MAKING}"

    def _make(
        self, name: str, key: str, inputs: Mapping[str, Any], make: Callable[[Path], Any], resumable: bool
    ) -> None:
        partial = self._partial(name, key, resumable)
        if is_main() and not resumable:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        self.log(event="begin", stage=name, key=key)
        started = time.monotonic()
        try:
            result = make(partial)
            wait_for_everyone()
            if not is_main():
                return
            seconds = round(time.monotonic() - started, 3)
            self._finish(partial, self._place(name, key), {
                "stage": name, "key": key, "inputs": plain(inputs), "result": plain(result), "seconds": seconds,
            })  # fmt: skip
        except BaseException:
            if is_main() and not resumable:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        self.log(event="done", stage=name, key=key, seconds=seconds)

    def _finish(self, partial: Path, place: Path, record: dict[str, Any]) -> None:
        """Writes the record, and puts the stage into its place. What it had to go on from is deleted only then: a disk
        that is full now costs no training."""
        paths = (path for path in sorted(partial.rglob("*")) if path.is_file())
        names = {path.relative_to(partial).as_posix(): path for path in paths if path.name != RECORD}
        record |= {"finished": now(), "files": {
            name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for name, path in names.items() if not name.startswith(f"{WORK}/")
        }}  # fmt: skip
        record = plain(record)
        write_atomic(partial / RECORD, json.dumps(record | {"digest": digest(record)}, indent=1))
        shutil.rmtree(partial / WORK, ignore_errors=True)
        partial.replace(place)
        self._made.add(place)

    def write_manifest(self, **facts: Any) -> None:
        """manifest.json: the facts given, and every stage with the sha256 of its files."""
        stages = [
            {"name": s.name, "key": s.key, "folder": s.path.name, "seconds": s.seconds, "reused": s.reused}
            | {"files": s.files}
            for s in self.stages
        ]
        text = json.dumps({"schema": 1, **plain(facts), "stages": stages}, indent=1, ensure_ascii=False)
        write_atomic(self.folder / "manifest.json", text.encode(errors="backslashreplace").decode())


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a stage, if it is as it was written; else None.

    Raises OSError where it is there and the system does not let it be read: that says nothing of the stage.
    """
    path = folder / RECORD
    if not path.is_file() or path.stat().st_size > LARGEST_RECORD:
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        message = record.pop("digest", None)  # records of 0.1.0 before 2026-11-29 have none
        whole = message in (None, digest(record)) and _has_fields(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if whole else None


def _has_fields(record: Mapping[str, Any]) -> bool:
    """Whether what every reader of a record takes from it is there, in its type."""
    kinds: dict[str, Any] = {"stage": str, "key": str, "seconds": (int, float), "files": dict, "inputs": dict}
    files = record.get("files", {})
    return "result" in record and all(isinstance(record.get(name), kind) for name, kind in kinds.items()) and all(
        isinstance(facts, dict) and isinstance(facts.get("sha256"), str) for facts in files.values()
    )  # fmt: skip


def is_whole(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether every file of a stage is there and as it was written. Raises OSError as `read_record`."""
    return all(
        (folder / name).is_file() and sha256_file(folder / name) == facts["sha256"]
        for name, facts in record["files"].items()
    )


def _is_of(error: OSError, folder: Path) -> bool:
    """Whether reading in `folder` is what the system refused."""
    return isinstance(error.filename, (str, os.PathLike)) and Path(error.filename).is_relative_to(folder)
