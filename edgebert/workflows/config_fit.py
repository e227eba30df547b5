"""`edgebert fit --config`: a fit for each device, one after the other, and packages of what each of them ends with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebert.errors import EdgebertError, WorkerFinished
from edgebert.files import digest, from_plain, plain, write_atomic
from edgebert.results import FitResult, PackageResult
from edgebert.types import FitRequest, OnEvent
from edgebert.workflows.bundle import bundle as write_package
from edgebert.workflows.config import Config
from edgebert.workflows.config_names import check_platforms
from edgebert.workflows.inputs import facts_of, files_in
from edgebert.workflows.names import check_names
from edgebert.workflows.unchanged import recorded_result, source_digests

PACKAGES = "packages"  # in a run


@dataclass(frozen=True)
class DeviceResult:
    """What came of one device.

    Attributes:
        fit: None where it ended with an error.
        errors: the messages of what kept it, or one of its packages, from being made.
    """

    device: str
    exit_code: int  # the worst: of the fit, and of errors
    fit: FitResult | None = None
    packages: tuple[PackageResult, ...] = ()
    errors: tuple[str, ...] = ()


def fit_devices(
    config: Config,
    given: Mapping[str, Any],
    run: Callable[[FitRequest], FitResult],
    on_event: OnEvent | None,
    *,
    locked: bool = False,
) -> tuple[DeviceResult, ...]:
    """A fit for each device. Stages that they share are made by the first, and linked by the others.

    Args:
        given: fields of FitRequest that count more than the file.
        run: carries out one request. All are checked before the first.
        locked: refuse where one of them differs from the run that it repeats.

    Raises:
        EdgebertError: a request cannot be, or there is only one device and its fit fails.
    """
    for problem in check_platforms(config):
        raise problem
    requests = config.requests(given)
    for request in requests:
        check_names(request)
        if locked:
            recorded_result(request, locked, None)
    results = []
    for request in requests:
        if on_event and len(requests) > 1:
            on_event({"event": "device", "device": request.device})
        try:
            result = run(request)
        except WorkerFinished:
            raise
        except EdgebertError as error:
            if len(requests) == 1:
                raise
            results.append(DeviceResult(request.device, error.exit_code, errors=(str(error),)))
            continue
        results.append(_packaged(request.device, result, config.platforms, on_event))
    return tuple(results)


# ---------------------------------------------------------------- packages


def _packaged(device: str, fit: FitResult, platforms: tuple[str, ...], on_event: OnEvent | None) -> DeviceResult:
    """The winner's packages. Without a winner those of an earlier request go: they must not pass for this one's."""
    if fit.bundle is None:
        shutil.rmtree(fit.run / PACKAGES, ignore_errors=True)
        return DeviceResult(device, fit.exit_code, fit)
    packages, errors = [], []
    for platform in platforms:
        try:
            packages.append(_package(fit.run, fit.bundle, platform, on_event))
        except EdgebertError as error:
            errors.append(error)
    worst = max(fit.exit_code, *(error.exit_code for error in errors), 0)
    return DeviceResult(device, worst, fit, tuple(packages), tuple(map(str, errors)))


def _package(run: Path, bundle: Path, platform: str, on_event: OnEvent | None) -> PackageResult:
    """The package for a platform, written where an equal one does not stand there already."""
    folder = run / PACKAGES / platform
    record = run / PACKAGES / f"{platform}.json"
    made_of = digest(
        (_files(bundle), sorted(path.name for path in (run / "stages").glob("[0-9]*")), source_digests()), 64
    )
    if known := _unchanged(record, folder, made_of):
        _tell(on_event, platform, "unchanged")
        return known
    record.parent.mkdir(exist_ok=True)
    record.unlink(missing_ok=True)
    result = write_package(
        run, platform, output=folder, on_event=lambda event: _tell(on_event, platform, event["text"])
    )
    files = {path.relative_to(run).as_posix(): facts_of(path) for path in _parts(folder, result.archive)}
    portable = {**plain(result), "folder": platform, "archive": result.archive.name}
    write_atomic(record, json.dumps({"made_of": made_of, "package": portable, "files": files}, indent=1))
    return result


def _unchanged(record: Path, folder: Path, made_of: str) -> PackageResult | None:
    """The package that a record tells of, if it was made of the same and is whole."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        place = record.parent
        package = {**known["package"], "folder": str(folder), "archive": str(place / known["package"]["archive"])}
        result = from_plain(PackageResult, package)
        run = place.parent
        files = {path.relative_to(run).as_posix(): facts_of(path) for path in _parts(folder, result.archive)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return result if known.get("made_of") == made_of and known.get("files") == files else None


def _parts(folder: Path, archive: Path) -> Iterator[Path]:
    yield archive
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _files(folder: Path) -> dict[str, object]:
    return {path.relative_to(folder).as_posix(): facts_of(path) for path in files_in(folder)}


def _tell(on_event: OnEvent | None, platform: str, text: str) -> None:
    if on_event:
        on_event({"event": "package", "platform": platform, "text": text})
