"""The output folder of `edgebert convert`: what is put there comes all at once, or not at all.

Files are written in a working folder inside, on the same disk. At the end those that they replace are moved out and they
are moved in; what a kill cut short in that moment is undone by the next command. Files of the user's are never touched.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from edgebert.converters import CONVERTERS
from edgebert.errors import RequestError
from edgebert.files import sha256_file, write_atomic

RECORD = "converted.json"  # the model's key and the files, so that a later command knows what is whose
REJECTED, REASON = "rejected", "reason.txt"
WORK = ".converting-"  # and the process id
NEW, OLD, DONE, ADDED = "new", "old", "done", "added.json"  # in the working folder


@contextmanager
def work_folder(output: Path) -> Iterator[Path]:
    """A working folder in `output` that is gone afterwards, with an output folder that stayed empty. What a killed
    process left is undone before."""
    created = [folder for folder in (output, *output.parents) if not folder.exists()]
    output.mkdir(parents=True, exist_ok=True)
    undo_killed(output)
    work = output / f"{WORK}{os.getpid()}"
    (work / NEW).mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for folder in created:
            with suppress(OSError):  # it is not empty: something was written
                folder.rmdir()


def undo_killed(output: Path) -> None:
    """Takes back what a killed command had begun to put in place."""
    import psutil

    for stale in output.glob(f"{WORK}*"):
        pid = stale.name.removeprefix(WORK)
        if not pid.isdecimal() or (int(pid) != os.getpid() and int(pid) in psutil.pids()):
            continue
        if (stale / OLD).is_dir():
            _undo(stale, output)
        shutil.rmtree(stale, ignore_errors=True)


def publish(work: Path, output: Path, model: str, *, force: bool) -> bool:
    """Moves what is under work/new into `output`.

    Args:
        model: key of the converted model. With `force` the files of another one go, whatever their format.
        force: replace what is there; but where a file of this model was rejected, only that is put there.

    Returns:
        Whether everything was put there; False: what was there stays, for some of the new was rejected.

    Raises:
        RequestError: something is there that may not be replaced.
    """
    new = [name for name in _leaves(work / NEW) if not _equal(work / NEW / name, output / name)]
    passed = [name for name in new if name.parts[0] != REJECTED]
    rejected = [name for name in new if name.parts[0] == REJECTED]
    replaced = [name for name in passed if (output / name).exists()]
    if not force and (replaced or holds_another(output, model)):
        raise exists(output / replaced[0] if replaced else output)
    old, record = _ours(output), _record(output)
    others = force and record.get("model") != model
    stays = bool(rejected) and (bool(replaced) or (others and any(name.parts[0] != REJECTED for name in old)))
    coming = rejected if stays else new
    going = [name for name in old if (others and not stays) or _superseded(name, coming) or name in coming]
    _swap(work, output, going, coming)
    files = {name for name in old if (output / name).exists()} | {name for name in _leaves(work / NEW) if not stays}
    notes = {"model": record.get("model", "") if stays else model, "files": sorted(map(str, files))}
    write_atomic(output / RECORD, json.dumps(notes, indent=1) + "\n")
    return not stays


def holds_another(output: Path, model: str) -> bool:
    """Whether files of another model are there."""
    record = _record(output)
    return bool(record) and record.get("model") != model and bool(_ours(output))


def exists(place: Path) -> RequestError:
    return RequestError(
        "this is there already", where=str(place), hint="Pass --force to replace it, or choose another --output."
    )


def _swap(work: Path, output: Path, going: Iterable[PurePosixPath], coming: Iterable[PurePosixPath]) -> None:
    """Moves files out and in; all of it is undone where one cannot be moved."""
    (work / ADDED).write_text(json.dumps([str(name) for name in coming]), encoding="utf-8")
    (work / OLD).mkdir()
    try:
        for name in going:
            _move(output / name, work / OLD / name)
        for name in coming:
            _move(work / NEW / name, output / name)
    except BaseException:
        _undo(work, output)
        raise
    (work / OLD).rename(work / DONE)  # from here on it is done
    _drop_empty(output, going)


def _undo(work: Path, output: Path) -> None:
    added = [PurePosixPath(name) for name in json.loads((work / ADDED).read_text(encoding="utf-8"))]
    for name in added:
        if not (work / NEW / name).exists():  # it was moved
            (output / name).unlink(missing_ok=True)
    for name in _leaves(work / OLD):
        _move(work / OLD / name, output / name)
    (work / OLD).rename(work / DONE)
    _drop_empty(output, added)


def _move(source: Path, target: Path) -> None:
    if source.exists() or source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)


def _drop_empty(output: Path, names: Iterable[PurePosixPath]) -> None:
    """Folders that held nothing but what was moved away."""
    folders = {folder for name in names for folder in name.parents if folder.name}
    for folder in sorted(folders, key=lambda item: -len(item.parts)):
        with suppress(OSError):
            (output / folder).rmdir()


def _leaves(folder: Path) -> list[PurePosixPath]:
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return [PurePosixPath(path.relative_to(folder).as_posix()) for path in paths]


def _ours(output: Path) -> list[PurePosixPath]:
    """What convert wrote there: by its record, or by the places and endings of its files where there is none."""
    if files := _record(output).get("files"):
        named = [PurePosixPath(name) for name in files]
        listed = {name for name in named if not name.is_absolute() and ".." not in name.parts}
    else:
        listed = {PurePosixPath("tokenizer.json")}
    results = {place for root in (output, output / REJECTED) for place in _in_tree(root, output)}
    rejected = {name for name in results if name.parts[0] == REJECTED}
    return sorted(name for name in listed | (rejected if files else results) if (output / name).exists())


def _in_tree(root: Path, output: Path) -> Iterator[PurePosixPath]:
    for format, converter in CONVERTERS.all().items():
        marks = (converter.suffix, f"{converter.suffix}.data")
        for precision in ("fp32", *converter.precisions):
            place = root / format / precision
            for name in _leaves(place) if place.is_dir() else ():
                if name.name == REASON or any(part.endswith(marks) for part in name.parts) or name.parts[0] == "model":
                    yield PurePosixPath((place / name).relative_to(output).as_posix())


def _superseded(name: PurePosixPath, coming: Iterable[PurePosixPath]) -> bool:
    """Whether an old file is of a format and precision that comes anew. A rejected one takes no good one's place."""
    return any(
        _place(name) == _place(item) != () and (name.parts[0] == REJECTED or item.parts[0] != REJECTED)
        for item in coming
    )


def _place(name: PurePosixPath) -> tuple[str, ...]:
    """Format and precision of a file; () for what belongs to all of them."""
    parts = name.parts[1:] if name.parts[0] == REJECTED else name.parts
    return parts[:2] if len(parts) > 2 else ()


def _equal(path: Path, other: Path) -> bool:
    return other.is_file() and path.stat().st_size == other.stat().st_size and sha256_file(path) == sha256_file(other)


def _record(output: Path) -> dict[str, Any]:
    """model and files as the last command left them; {} where there is no record, or it is damaged."""
    try:
        record = json.loads((output / RECORD).read_text(encoding="utf-8"))
        whole = isinstance(record["model"], str) and all(isinstance(name, str) for name in record["files"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    return record if whole else {}
