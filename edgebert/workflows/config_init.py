"""`edgebert init`: a new edgebert.toml, commented, that is right by the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebert.bundle.platforms import PLATFORMS
from edgebert.devices.profiles import device_profiles
from edgebert.errors import RequestError, unknown
from edgebert.faults import check_writable
from edgebert.files import write_atomic
from edgebert.modeling.source import DEFAULT_TEACHER
from edgebert.tasks import TASKS, find_task
from edgebert.workflows.config_text import config_text
from edgebert.workflows.device import find_device


@dataclass(frozen=True)
class Known:
    """The names that may be chosen."""

    devices: tuple[str, ...]
    tasks: tuple[str, ...]
    platforms: tuple[str, ...]
    teacher: str


def defaults() -> Known:
    return Known(tuple(device_profiles()), tuple(TASKS.all()), tuple(PLATFORMS.all()), DEFAULT_TEACHER)


def check_target(path: Path, force: bool) -> None:
    """Raises RequestError where the file is there already, or cannot be."""
    if path.is_dir():
        raise RequestError("this is a folder", where=str(path), hint="Name a file: -o edgebert.toml")
    if path.exists() and not force:
        raise RequestError("the file is there already", where=str(path), hint="Give --force to replace it, or -o FILE.")


def write_config(
    path: Path,
    devices: Sequence[str],
    task: str,
    *,
    teacher: str | None = None,
    data: Sequence[str] = (),
    platforms: Sequence[str] = (),
) -> None:
    """Writes the file whole.

    Raises:
        RequestError: a device, the task or a platform does not exist.
        RunError: the folder cannot be written.
    """
    for device in devices:
        find_device(str(path.parent / device) if device.endswith(".toml") else device)
    find_task(task)
    for name in platforms:
        if name not in PLATFORMS.all():
            raise unknown("platform", name, PLATFORMS.all(), where="--platform")
    values: dict[str, object] = {"devices": list(devices)} if len(devices) > 1 else {"device": devices[0]}
    given: dict[str, object] = {"task": task, "teacher": teacher, "data": [*data], "platforms": [*platforms]}
    values |= {name: value for name, value in given.items() if value}
    check_writable(path, "-o")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, config_text(values))
