"""`edgebert bundle`: from a proven file to a package that a platform's own tools take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.bundle.card import bundle_name
from edgebert.bundle.check import check_bundle
from edgebert.bundle.golden import DATA, read_golden
from edgebert.bundle.manifest import GOLDEN, MANIFEST, describe_files, find_bundle, read_manifest
from edgebert.bundle.platforms import PLATFORMS, Platform
from edgebert.bundle.ports.assets import seal
from edgebert.bundle.sbom import PackageFacts, write_sbom
from edgebert.bundle.write import write_bundle
from edgebert.errors import RequestError, RunError
from edgebert.faults import fault_of
from edgebert.files import copy_tree, from_plain, recover_folder, remove, replace_folder
from edgebert.results import PackageResult
from edgebert.runs.folder import ENGINES, REQUEST
from edgebert.runs.listing import stage_records
from edgebert.runs.order import by_use
from edgebert.runs.store import is_whole
from edgebert.runtime.scratch import scratch_folder
from edgebert.tasks import find_task
from edgebert.types import Artifact, OnEvent, Row

if TYPE_CHECKING:
    from edgebert.bundle.manifest import Manifest


def bundle(
    path: Path, platform: str, *, output: Path | None = None, name: str | None = None, on_event: OnEvent | None = None
) -> PackageResult:
    """Writes the package of a run's winner, or of a bundle, for a platform.

    Args:
        path: a run folder or a bundle.
        output: the package's folder; NAME-PLATFORM in this one where none is given. One that an earlier call wrote is
            replaced.
        name: of the package; by default of the task and the data.
        on_event: told of each step.

    Raises:
        RequestError: there is no proven file in a format that the platform runs, the name is not legal there, the tokenizer
            cannot be copied, or `output` holds something else.
        DataError: a file of the bundle was changed.
        ParityError: this machine computes something else than the golden vectors say.
    """
    tell = on_event or (lambda event: None)
    target = PLATFORMS.get(platform)
    source = _find(path)
    manifest = read_manifest(source)
    name = _name(target, name, manifest)
    folder = output or Path(f"{re.sub('[^A-Za-z0-9.-]+', '-', name).strip('-')}-{platform}")
    _refuse_foreign(folder)
    with scratch_folder("bundle-") as scratch:
        if manifest["format"] not in target.formats:
            tell({"event": "step", "text": f"looking for a file that {platform} runs"})
            source = _other_file(source, manifest, target, scratch / "bundle")
        tell({"event": "step", "text": "replaying the golden vectors"})
        check_bundle(source)
        tell({"event": "step", "text": "writing the package"})
        archive = _write(target, source, folder, name)
        manifest = read_manifest(source)
    files = [item for item in folder.rglob("*") if item.is_file()]
    return PackageResult(
        folder=folder,
        archive=archive,
        platform=platform,
        name=name,
        format=manifest["format"],
        precision=manifest["precision"],
        n_files=len(files),
        size_bytes=sum(item.stat().st_size for item in files),
        archive_bytes=archive.stat().st_size,
        prove=target.prove,
    )


def _find(path: Path) -> Path:
    """The bundle. Raises RequestError that says why a run has none."""
    try:
        return find_bundle(path)
    except RequestError as error:
        if not (path / REQUEST).exists():
            raise
        if (path / "report").exists():
            what = "this run ended without a file to package: none passed parity and met the budget"
            raise RequestError(what, where=str(path), hint=f"Its report says why: {path / 'report'}") from None
        hint = "Give its edgebert fit command again: it goes on where it stopped."
        raise RequestError("this run has not finished", where=error.where, hint=hint) from None


def _write(platform: Platform, source: Path, folder: Path, name: str) -> Path:
    """Writes the package and returns its archive. Raises RunError where the system refuses it."""
    try:
        with replace_folder(folder) as beside:
            platform.write(source, beside, name)
            _write_bill(platform, source, beside, name)
            seal(beside, source, platform, name)
        return _archive(platform, folder, name)
    except OSError as error:
        fault = fault_of(error, folder)
        what = f"cannot write the package: {error.strerror or error}"
        raise fault or RunError(what, where=str(folder), hint="Choose another place with -o.") from None


def _write_bill(platform: Platform, source: Path, folder: Path, name: str) -> None:
    """The bill of materials of a written package."""
    manifest = read_manifest(source)
    task = find_task(manifest["task"]).configured(manifest["task_options"])
    package = PackageFacts(name, platform.title, platform.requires(manifest), describe_files(folder))
    write_sbom(folder, bundle_name(manifest), manifest, task, package)


def _archive(platform: Platform, folder: Path, name: str) -> Path:
    """The archive beside the folder, whole or not there at all."""
    beside = folder.with_name(f".{folder.name}.archive")
    remove(beside)  # a killed call may have left it
    beside.mkdir()
    try:
        written = platform.archive(folder, beside, name)
        return written.replace(folder.parent / written.name)
    finally:
        remove(beside)


def _name(platform: Platform, name: str | None, manifest: Manifest) -> str:
    if name is None:
        data = manifest["facts"].get("data")
        of_data = data.get("name") if isinstance(data, Mapping) else data
        words = re.findall("[a-z0-9]+", f"{manifest['task']} {of_data or ''}".lower())
        if not words or not words[0][0].isalpha():
            words = ["model", *words]
        return platform.default_name(words)
    if wrong := platform.check_name(name):
        raise RequestError(f"{name!r} cannot be the name of {platform.title}: {wrong}", where="--name")
    return name


def _refuse_foreign(folder: Path) -> None:
    """Raises RequestError where the folder holds something that no earlier call wrote."""
    if folder.name in ("", ".."):
        raise RequestError("the package needs a folder with a name", where="-o", hint="Name one: -o packages/NAME")
    recover_folder(folder)
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or _is_package(folder))):
        hint = "Choose another with -o, or remove it."
        raise RequestError("the folder holds something else than a package", where=str(folder), hint=hint)


def _is_package(folder: Path) -> bool:
    path = folder / MANIFEST
    return path.is_file() and '"platform":' in path.read_text(encoding="utf-8", errors="replace")


# ---------------------------------------------------------------- another file of the run


def _other_file(source: Path, manifest: Manifest, platform: Platform, target: Path) -> Path:
    """A bundle of another file of the same student, in a format of the platform, that passed parity in the same run."""
    run = source.parent
    wanted = " or ".join(platform.formats)
    hint = f"Give the run's edgebert fit command again with --format {platform.formats[0]}: what is done is kept."
    if not (run / REQUEST).exists():
        what = f"{platform.name} runs {wanted}, and this bundle's file is {manifest['format']}"
        raise RequestError(what, where=str(source), hint="Give the run folder that it comes from. " + hint)
    records = stage_records(run)
    student = str(manifest["facts"].get("student", ""))
    model_key = _model_key(records, manifest)
    proven = _proven(records, model_key, platform.formats)
    found = sorted(proven, key=lambda item: _rank(item, manifest, platform))
    if not found:
        what = f"{platform.name} runs {wanted}, and no file of {student} in these formats passed parity in this run"
        raise RequestError(what, where=str(run), hint=hint)
    artifact, model, proof = found[0]
    lines = [line for line in read_golden(source / GOLDEN) if line.get("class", DATA) == DATA]
    facts = dict(manifest["facts"]) | {"score": proof["score"], "parity": proof, "padding": [], "footprint": None}
    facts["latencies"] = _latencies(records, f"{student}/{artifact.name}")
    if (run / ENGINES).is_dir():  # proofs of engines are looked for beside a bundle
        copy_tree(run / ENGINES, target.parent / ENGINES)
    return write_bundle(
        target,
        artifact=artifact,
        student=model,
        task=find_task(manifest["task"]).configured(manifest["task_options"]),
        labels=manifest["labels"],
        golden=[
            Row(text=texts[0], second=texts[1] if len(texts) > 1 else None) for texts in (x["texts"] for x in lines)
        ],
        max_length=manifest["max_length"],
        facts=facts,
    )


def _rank(found: tuple[Artifact, Path, Any], manifest: Manifest, platform: Platform) -> tuple[int, bool, int]:
    artifact = found[0]
    return (
        platform.formats.index(artifact.format),
        artifact.precision != manifest["precision"],
        artifact.size_bytes,
    )


def _model_key(records: Mapping[Path, Mapping[str, Any]], manifest: Manifest) -> str:
    """The key of the stage that made the bundle's model: a run may hold others of the same name, of earlier commands.

    "" where no stage has the bundle's file.
    """
    model = manifest["model"]
    wanted = {
        fact["sha256"] for file, fact in manifest["files"].items() if file == model or file.startswith(f"{model}/")
    }
    for record in records.values():
        if record["stage"].startswith("convert-") and wanted <= {fact["sha256"] for fact in record["files"].values()}:
            return str(record["inputs"]["model"])
    return ""


def _proven(
    records: Mapping[Path, Mapping[str, Any]], model_key: str, formats: tuple[str, ...]
) -> Iterator[tuple[Artifact, Path, Mapping[str, Any]]]:
    """Files of a model that passed parity and are as they were written, each with its model's folder and its comparison."""
    model = next((path for path, record in records.items() if record["key"] == model_key), None)
    if model is None:
        return
    by_age = by_use(model.parent.parent, records)
    for path, record in records.items():
        if not record["stage"].startswith("convert-") or record["inputs"].get("model") != model_key:
            continue
        proofs: dict[str, Any] = {}
        for other in by_age:  # the one that was used last counts
            if other["stage"].startswith("verify-") and other["inputs"].get("converted") == record["key"]:
                proofs |= other["result"]
        for item in record["result"]:
            parity = proofs.get(item["name"], {}).get("parity")
            if parity and not parity["failures"] and item["format"] in formats and is_whole(path, record):
                known = {field.name: item[field.name] for field in fields(Artifact) if field.name in item}
                artifact = from_plain(Artifact, known)
                yield replace(artifact, path=path / artifact.path), model, parity


def _latencies(records: Mapping[Path, Mapping[str, Any]], key: str) -> list[Any]:
    for record in records.values():
        if record["stage"] == "profile" and key in record["result"]["latencies"]:
            return list(record["result"]["latencies"][key])
    return []
