"""Whether anything has changed since a run ended: what its result depends on, as manifest.json records it, against now.

`edgebert fit` looks here before torch is loaded. Where all is equal and the run's results are whole, it does no work; where
not, it tells what differs and goes on. `--locked` refuses where something differs that the run was made of.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgebert.devices.machine import describe_hardware, versions
from edgebert.distributed import world_size
from edgebert.errors import RequestError
from edgebert.faults import EXTRAS
from edgebert.files import plain, portable
from edgebert.report import read_report
from edgebert.results import FitResult, ModelResult, Report
from edgebert.runs.store import read_record
from edgebert.types import DeviceProfile, FitRequest, OnEvent
from edgebert.workflows.inputs import FileFacts, Inputs, facts_of, files_in, read_inputs
from edgebert.workflows.names import RUNS, resolve_names
from edgebert.workflows.options import BY_FIELD
from edgebert.workflows.target import MeasurementTarget, find_target

MANIFEST = "manifest.json"
LOCKED = ("request", "versions", "device", "inputs", "found")  # what --locked holds: the machine may be another
RESULTS = ("report", "bundle")  # folders of a run that must be whole
ABSENT = "nothing"

Fingerprint = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was."""

    section: str  # of the fingerprint
    name: str
    was: object
    now: object

    def __str__(self) -> str:
        if self.section in ("inputs", "found"):
            word = "is new" if self.was == ABSENT else "is gone" if self.now == ABSENT else "changed"
            return f"{self.name} {word}"
        return f"{self.name}: was {_shown(self.was)}, is {_shown(self.now)}"


@dataclass(frozen=True)
class Comparison:
    """A run as it was recorded, against what the same request would be made of now.

    Attributes:
        folder: the run's; None where no run of this request is known.
        recorded: its manifest has a fingerprint.
        unknown: what cannot be compared.
        result: what the run ended with, where all of it is still whole.
    """

    folder: Path | None
    recorded: bool = False
    changes: tuple[Change, ...] = ()
    unknown: tuple[str, ...] = ()
    created: str = ""
    result: FitResult | None = None

    @property
    def unchanged(self) -> FitResult | None:
        """The result, where nothing has to be done."""
        return self.result if self.recorded and not self.changes and not self.unknown else None


# ---------------------------------------------------------------- what a result depends on


def fingerprint_now(request: FitRequest) -> dict[str, dict[str, Any]]:
    """Of a request as it would be carried out now. Raises EdgebertError for what `fit` would refuse before torch."""
    names = resolve_names(request)
    target, _ = find_target(request.on, names.device, names.formats)
    return fingerprint(request, names.device, target, read_inputs(request, names))


def fingerprint(
    request: FitRequest, device: DeviceProfile, target: MeasurementTarget | None, inputs: Inputs
) -> dict[str, dict[str, Any]]:
    """Everything that can change the result, as JSON. The run folder is not in it: the same run may lie elsewhere."""
    asked: dict[str, Any] = {name: value for name, value in plain(request).items() if name != "run"}
    measured = [target.on, target.called, target.is_device, *target.formats] if target else []
    return {
        "request": asked,
        "versions": {**_versions(), **source_digests()},
        "device": portable(device) | {"path": None},
        "inputs": dict(inputs.files),
        "found": dict(inputs.found),
        "machine": {**describe_hardware(), "processes": world_size()},
        "target": {"measured on": measured},
        "unknown": dict.fromkeys(inputs.unknown, True),
    }


def _versions() -> dict[str, str]:
    """Of Python, and of every library that edgebert or one of its extras declares and that is installed."""
    return versions(_required())


@cache
def _required() -> tuple[str, ...]:
    try:
        lines = metadata.requires("edgebert") or []
    except metadata.PackageNotFoundError:  # run from a folder that nobody installed
        return ()
    wanted = [line for line in lines if "extra ==" not in line or any(_is_of(line, extra) for extra in EXTRAS)]
    names = {match[0] for line in wanted if (match := re.match(r"[\w.-]+", line))}
    return tuple(sorted(names - {"edgebert"}))


def _is_of(requirement: str, extra: str) -> bool:
    return re.search(rf"""extra == ['"]{extra}['"]""", requirement) is not None


@cache
def source_digests() -> dict[str, str]:
    """Of edgebert's own files and of each package that brings a plug-in, a sha256: versions alone do not tell an edit."""
    results = {"edgebert's files": _digest(Path(__file__).parent.parent)}
    groups = [group for group in metadata.entry_points().groups if group.startswith("edgebert.")]
    for point in (point for group in groups for point in metadata.entry_points(group=group)):
        package = point.value.partition(".")[0].partition(":")[0]
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        if spec and not places and spec.origin:
            results[f"plug-in {package}"] = str(facts_of(Path(spec.origin))["sha256"])
        for place in places:
            results[f"plug-in {package}"] = _digest(Path(place))
    return results


def _digest(folder: Path) -> str:
    """Of all files of a package by their names."""
    hasher = hashlib.sha256()
    links = [path for path in folder.iterdir() if path.is_symlink() and path.is_dir()]  # converters/, in a checkout
    for root in (folder, *sorted(links)):
        for path in files_in(root):
            hasher.update(f"{path.relative_to(folder).as_posix()}\0".encode(errors="surrogatepass"))
            hasher.update(hashlib.sha256(path.read_bytes()).digest())
    return hasher.hexdigest()


def results_of(run: Path) -> dict[str, FileFacts]:
    """Size and sha256 of every file of the report and of the bundle."""
    return {path.relative_to(run).as_posix(): facts_of(path) for folder in RESULTS for path in files_in(run / folder)}


def recorded_result(request: FitRequest, locked: bool, on_event: OnEvent | None) -> FitResult | None:
    """What the same request ended with, where nothing that it depends on has changed; else None, and what changed is told.

    Raises:
        RequestError: `locked`, and something differs from the run that is repeated, or there is none.
    """
    comparison = compare(request, fingerprint_now(request))
    if locked:
        check_locked(request, comparison)
    if on_event and (text := describe(comparison)):
        on_event({"event": "compared", "text": text})
    return comparison.unchanged if world_size() == 1 else None  # processes that train together start together


# ---------------------------------------------------------------- then and now


def compare(request: FitRequest, now: Fingerprint) -> Comparison:
    """The newest run of this request, against now."""
    folder = Path(request.run) if request.run else _default_run(now["request"])
    manifest = read_manifest(folder) if folder else None
    if folder is None or manifest is None:
        return Comparison(None)
    then = manifest.get("fingerprint")
    if not isinstance(then, dict):
        return Comparison(folder)
    unknown = tuple(sorted({*then.get("unknown", {}), *now["unknown"]}))
    found = tuple(change for section in now if section != "unknown"
                  for change in _changes(section, then.get(section), now[section]))  # fmt: skip
    created = str(manifest.get("created", ""))
    return Comparison(folder, True, found, unknown, created, _recorded_result(folder, manifest))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """A run's manifest; None where there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _default_run(asked: Mapping[str, Any]) -> Path | None:
    """The run that was made without --run for the same device, task and rows: it is named after these."""
    for path in sorted(Path(RUNS).glob(f"*/{MANIFEST}")):
        manifest = read_manifest(path.parent) or {}
        then = manifest.get("request")
        same = isinstance(then, dict) and all(then.get(name) == asked[name] for name in ("device", "task", "data"))
        if same and isinstance(then, dict) and then.get("run") is None and manifest.get("run") == path.parent.name:
            return path.parent
    return None


def _changes(section: str, then: object, now: Mapping[str, Any]) -> Iterator[Change]:
    old = then if isinstance(then, dict) else {}
    if section in ("device", "request"):
        old, now = dict(_flat(old)), dict(_flat(now))
    now = plain(now)
    for name in (*now, *(name for name in old if name not in now)):
        was, value = old.get(name, ABSENT), now.get(name, ABSENT)
        if was != value:
            yield Change(section, _named(section, name), was, value)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Tables in a table by dotted keys; lists stay whole."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _named(section: str, name: str) -> str:
    """As a user knows it: by the option, or by what it is of."""
    field, dot, rest = name.partition(".")
    if section == "request" and field in BY_FIELD:
        return f"{BY_FIELD[field].option or field}{dot and ' '}{rest}"
    return f"device profile, {name}" if section == "device" else name


def _shown(value: object) -> str:
    if value is None or value in ([], {}):
        return "not given"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{text[:12]}…" if re.fullmatch("[0-9a-f]{64}", text) else text


def _recorded_result(run: Path, manifest: Mapping[str, Any]) -> FitResult | None:
    """What the run ended with; None where a file of report or bundle is not as it was written, or something that was to be
    measured was not."""
    exit_code = manifest.get("exit_code")
    if (
        not manifest.get("complete")
        or exit_code not in (0, 1)
        or not manifest.get("results")
        or manifest["results"] != results_of(run)
    ):
        return None
    bundle = run / "bundle"
    report = _with_paths(read_report(run / "report" / "report.json"), run, manifest)
    return FitResult(run, report, bundle if bundle.exists() else None, exit_code)


def _with_paths(report: Report, run: Path, manifest: Mapping[str, Any]) -> Report:
    """The report, whose files it calls by their names alone, with the places in the run where they lie."""
    folders = {stage["name"]: run / "stages" / stage["folder"] for stage in manifest["stages"]}

    def placed(model: ModelResult) -> ModelResult:
        folder = folders.get(f"convert-{model.name}")
        record = read_record(folder) if folder else None
        paths = {item["name"]: folder / item["path"] for item in record["result"]} if folder and record else {}
        files = tuple(
            replace(file, artifact=replace(file.artifact, path=paths.get(file.artifact.name, file.artifact.path)))
            for file in model.artifacts
        )
        return replace(model, artifacts=files)

    return replace(report, teacher=placed(report.teacher), students=tuple(map(placed, report.students)))


# ---------------------------------------------------------------- what is told


def describe(comparison: Comparison) -> str:
    """A sentence on what has to be done, or why nothing has; "" where no run is known."""
    if comparison.unchanged:
        return f"nothing changed since {comparison.created}: nothing was done"
    if not comparison.recorded:
        return ""
    if comparison.changes:
        more = len(comparison.changes) - 5
        told = [str(change) for change in comparison.changes[:5]] + ([f"{more} more"] if more > 0 else [])
        return f"not as in the run of {comparison.created}: {'; '.join(told)}"
    if comparison.unknown:
        return f"whether anything changed is not known: {'; '.join(comparison.unknown)}"
    return "nothing changed, but a file of the report or of the bundle is not as it was written, or something was not measured"


def check_locked(request: FitRequest, comparison: Comparison) -> None:
    """Raises RequestError where there is nothing to repeat, or with everything that differs from it."""
    place = str(comparison.folder or request.run or f"{RUNS}/")
    if not comparison.recorded:
        what = "there is no manifest.json of a finished run" if comparison.folder is None else \
            "its manifest.json records no fingerprint"  # fmt: skip
        hint = "--locked repeats a run: give its folder with --run, or make one without --locked first."
        raise RequestError(what, where=place, hint=hint)
    held = [change for change in comparison.changes if change.section in LOCKED]
    lines = [f"{change.name}: was {_full(change.was)}, is {_full(change.now)}" for change in held]
    lines += [f"cannot be compared: {name}" for name in comparison.unknown]
    if lines:
        what = f"{len(lines)} difference{'s' if len(lines) > 1 else ''} to the run that --locked repeats"
        raise RequestError(what, where=f"{place}/{MANIFEST}", hint="\n  ".join(lines))


def _full(value: object) -> str:
    """A file's size and digest, or a value."""
    if isinstance(value, Mapping) and "sha256" in value:
        return f"{value['bytes']} bytes {str(value['sha256'])[:12]}…"
    return _shown(value)
