"""The run folder: stages keyed by their inputs, written beside and renamed into place, never done twice.

    runs/<name>/request.toml  manifest.json  events.jsonl  stages/<nn>-<stage>-<key>/…  rejected/  report/  bundle/

A stage's key hashes its name, version and inputs (its parameters and the keys of the stages it reads), so a folder with
the right key holds the right result, whichever run made it: a stage found whole in a sibling run is linked, not redone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgebert.distributed import is_main, wait_for_everyone
from edgebert.errors import RunError

RECORD = "record.json"


@dataclass(frozen=True)
class Stage:
    """A finished stage: its folder, its key and the small JSON result that it returned."""

    name: str
    key: str
    path: Path
    result: Any
    seconds: float
    reused: bool


def plain(value: Any) -> Any:
    """`value` as JSON types: dataclasses to dicts, tuples to lists, paths to strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def digest(value: Any, length: int = 12) -> str:
    """First hexadecimal digits of the sha256 of a JSON-able value."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


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
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def now() -> str:
    """This moment, ISO 8601, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _toml(value: Any) -> str:
    # A JSON string, number, boolean or list of them is also valid TOML.
    return json.dumps(value, ensure_ascii=False)


class Run:
    """One run folder, held by one process at a time.

    Args:
        folder: created when absent. A folder that holds something else is refused.
        request: what was asked for, kept as request.toml.
        on_event: told of every event beside the file, to show progress.

    Raises:
        RunError: the folder cannot be written, holds something else, or another process works in it.
    """

    def __init__(
        self, folder: Path, request: Mapping[str, Any], on_event: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self.folder = folder
        self.stages: list[Stage] = []
        self._made: set[Path] = set()
        self.on_event = on_event or (lambda event: None)
        if not is_main():
            return
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "request.toml").exists():
            raise RunError("the folder is not empty and is no run", where=str(folder), hint="Choose another --run.")
        try:
            (folder / "stages").mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            lines = [f"{name} = {_toml(plain(value))}" for name, value in request.items() if value is not None]
            write_atomic(folder / "request.toml", "\n".join(lines) + "\n")
        except OSError as error:
            raise RunError(
                f"cannot write here: {error.strerror or error}", where=str(folder), hint="Choose another --run."
            ) from None
        self.log(event="start", **request)

    def close(self) -> None:
        if is_main():
            self._lock.release()

    def log(self, **event: Any) -> None:
        """Appends an event to events.jsonl and tells whoever shows progress."""
        event = {"time": now(), **plain(event)}
        if is_main():
            with (self.folder / "events.jsonl").open("a", encoding="utf-8") as stream:
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
        found = self._find(name, key) if is_main() else None
        if found is None and (is_main() or resumable):
            self._make(name, key, inputs, make, resumable)
        wait_for_everyone()
        stage = found or self._read(name, key)
        if stage is None:
            raise RunError(f"stage '{name}' left no result", where=str(self.folder))
        self.stages.append(stage)
        return stage

    def _read(self, name: str, key: str) -> Stage | None:
        """The stage of this run with this key, if all its files are as they were written."""
        for folder in sorted((self.folder / "stages").glob(f"[0-9]*-{name}-{key}")):
            if record := _read_record(folder):
                return Stage(name, key, folder, record["result"], record["seconds"], folder not in self._made)
            self.log(event="damaged", stage=name, folder=folder.name)
            if is_main():
                shutil.rmtree(folder)
        return None

    def _find(self, name: str, key: str) -> Stage | None:
        """The stage here, or linked in from a sibling run."""
        if stage := self._read(name, key):
            self.log(event="kept", stage=name, key=key)
            return stage
        for folder in sorted(self.folder.parent.glob(f"*/stages/[0-9]*-{name}-{key}")):
            if _read_record(folder):
                link_tree(folder, self._place(name, key))
                self.log(event="linked", stage=name, key=key, run=folder.parent.parent.name)
                return self._read(name, key)
        return None

    def _place(self, name: str, key: str) -> Path:
        return self.folder / "stages" / f"{len(self.stages) + 1:02d}-{name}-{key}"

    def _make(
        self, name: str, key: str, inputs: Mapping[str, Any], make: Callable[[Path], Any], resumable: bool
    ) -> None:
        partial = self.folder / "stages" / f".{name}-{key}.partial"
        if is_main() and not resumable:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        self.log(event="begin", stage=name, key=key)
        started = time.monotonic()
        try:
            result = make(partial)
        except BaseException:
            if is_main() and not resumable:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        wait_for_everyone()
        if not is_main():
            return
        shutil.rmtree(partial / "work", ignore_errors=True)
        record = {
            "stage": name,
            "key": key,
            "inputs": plain(inputs),
            "result": plain(result),
            "seconds": round(time.monotonic() - started, 3),
            "finished": now(),
            "files": {
                str(path.relative_to(partial)): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
                for path in sorted(partial.rglob("*"))
                if path.is_file()
            },
        }
        write_atomic(partial / RECORD, json.dumps(record, indent=1, ensure_ascii=False))
        place = self._place(name, key)
        partial.replace(place)
        self._made.add(place)
        self.log(event="done", stage=name, key=key, seconds=record["seconds"])

    def write_manifest(self, **facts: Any) -> None:
        """manifest.json: the facts given, and every stage with the sha256 of its files."""
        stages = [
            {"name": s.name, "key": s.key, "folder": s.path.name, "seconds": s.seconds, "reused": s.reused}
            | {"files": json.loads((s.path / RECORD).read_text(encoding="utf-8"))["files"]}
            for s in self.stages
        ]
        write_atomic(
            self.folder / "manifest.json",
            json.dumps({"schema": 1, **plain(facts), "stages": stages}, indent=1, ensure_ascii=False),
        )


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """A fresh sibling folder to write in; it takes `target`'s place when the block ends without an error."""
    beside = target.with_name(f".{target.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        target.rename(old)
    beside.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def list_runs(root: Path) -> list[dict[str, Any]]:
    """Every run under `root`: name, when it last changed, the request, and the stages that are done."""
    runs = []
    for request in sorted(root.glob("*/request.toml")):
        folder = request.parent
        runs.append(
            {
                "name": folder.name,
                "changed": datetime.fromtimestamp(_changed(folder), timezone.utc).isoformat(timespec="seconds"),
                "done": sorted(path.parent.name for path in folder.glob(f"stages/*/{RECORD}")),
                "open": sorted(path.name for path in folder.glob("stages/.*.partial")),
                "bundle": (folder / "bundle" / "manifest.json").exists(),
            }
        )
    return runs


def read_stages(folder: Path) -> list[dict[str, Any]]:
    """The records of a run's finished stages, in the order of their numbers."""
    found = sorted(folder.glob(f"stages/[0-9]*/{RECORD}"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    return [{"name": r["stage"], "key": r["key"], "seconds": r["seconds"], "result": r["result"]} for r in records]


def _changed(folder: Path) -> float:
    events = folder / "events.jsonl"
    return (events if events.exists() else folder).stat().st_mtime


def _lock(folder: Path) -> Any:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            "another edgebert is at work in this run", where=str(folder), hint="Wait for it, or choose another --run."
        ) from None
    return lock


def _read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a stage whose files are all there, unchanged; else None."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        whole = all(sha256_file(folder / name) == facts["sha256"] for name, facts in record["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    return record if whole else None


def link_tree(source: Path, target: Path) -> None:
    """`target` is the same file or folder without a second copy on the disk, where the file system allows it."""
    partial = target.with_name(f".{target.name}.linking")
    shutil.rmtree(partial, ignore_errors=True)

    def link(src: str, dst: str) -> str:
        try:
            os.link(src, dst)
        except OSError:  # another file system
            shutil.copy2(src, dst)
        return dst

    _copy(source, partial, link)
    partial.replace(target)


def copy_tree(source: Path, target: Path) -> None:
    """A copy of a file or folder."""
    _copy(source, target, lambda src, dst: shutil.copyfile(src, dst))


def _copy(source: Path, target: Path, copy: Callable[[str, str], Any]) -> None:
    if source.is_file():
        copy(str(source), str(target))
    else:
        shutil.copytree(source, target, copy_function=copy)
