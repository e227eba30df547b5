"""From what a user names to files that can be measured: a file, a bundle, a run, or what `convert` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgebert.bundle.manifest import GOLDEN, MANIFEST, TOKENIZER, read_manifest
from edgebert.converters import CONVERTERS
from edgebert.errors import RequestError
from edgebert.files import sha256_file
from edgebert.measure.targets import File
from edgebert.runs.folder import REQUEST
from edgebert.runs.listing import stage_records
from edgebert.runs.order import read_order

WHAT = "Give a file of a model such as an .onnx, a bundle, a run folder, what edgebert convert wrote, or a checkpoint."


@dataclass(frozen=True)
class Origin:
    """What a run knows of a file that it wrote."""

    run: Path
    verified: Path  # folder of the stage that proved it
    precision: str
    sha256: str  # as it was written


@dataclass(frozen=True)
class Subject:
    """A file to measure, and what lies beside it."""

    file: File
    tokenizer: Path | None  # a tokenizer.json
    golden: Path | None = None  # texts that belong to it
    limit: int | None = None  # tokens, where a manifest tells
    origin: Origin | None = None


def find_subjects(names: Sequence[str]) -> list[Subject]:
    """Every file that is named, once, each with a name of its own.

    Raises:
        RequestError: nothing is there, or nothing that can be measured.
    """
    results: dict[Path, Subject] = {}
    for name in names:
        for subject in map(_with_origin, _record(Path(name))):
            results.setdefault(subject.file.path.resolve(), subject)
    return _renamed(list(results.values()))


def golden_of(name: str) -> Path:
    """golden.jsonl of a run or bundle. Raises RequestError where there is none."""
    for folder in (Path(name), Path(name) / "bundle"):
        if (folder / GOLDEN).is_file():
            return folder / GOLDEN
    raise RequestError("this folder contains no bundle whose texts could be used", where=f"--run {name}")


def _record(path: Path) -> list[Subject]:
    if not path.exists():
        raise RequestError("no such file or folder", where=str(path), hint=WHAT)
    if format := _format_of(path):
        return [Subject(File(path.name, format, path), _tokenizer(path))]
    if path.is_file():
        raise RequestError("this file cannot be measured", where=str(path), hint=WHAT)
    for reader in (_run, _bundle, _converted, _checkpoint, _external):
        if subjects := list(reader(path)):
            return subjects
    raise RequestError("this folder contains nothing that can be measured", where=str(path), hint=WHAT)


def _bundle(folder: Path) -> Iterator[Subject]:
    if (folder / GOLDEN).is_file() and (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        owner = folder.parent if folder.name == "bundle" else folder
        name = f"{owner.name} {manifest['format']}-{manifest['precision']}"
        file = File(name, manifest["format"], folder / manifest["model"])
        yield Subject(file, folder / TOKENIZER, folder / GOLDEN, manifest["max_length"])


def _run(folder: Path) -> Iterator[Subject]:
    """The students' files that passed verification; the packaged one where their stages are gone."""
    if not (folder / "request.toml").is_file():
        return
    records, order = stage_records(folder), read_order(folder)
    newest = sorted(records, key=lambda path: order.of(records[path]))  # a name may have several, of several commands
    stages = {records[path]["stage"]: (path, records[path]["result"]) for path in newest}
    golden = folder / "bundle" / GOLDEN
    n_found = 0
    for stage, (path, created) in stages.items():
        kind, _, model = stage.partition("-")
        if kind != "convert" or model == "teacher":
            continue
        verdicts = stages.get(f"verify-{model}", (path, {}))[1]
        student = stages.get(f"compress-{model}", (path, {}))[0]
        for item in created:
            if item["name"] in verdicts and not verdicts[item["name"]]["parity"]["failures"]:
                n_found += 1
                file = File(f"{model} {item['name']}", item["format"], path / item["path"])
                origin = Origin(folder, stages[f"verify-{model}"][0], item["precision"], item["sha256"])
                yield Subject(file, _if_there(student / TOKENIZER), _if_there(golden), origin=origin)
    if not n_found and (folder / "bundle").is_dir():
        yield from _bundle(folder / "bundle")


def _converted(folder: Path) -> Iterator[Subject]:
    """FORMAT/PRECISION/FILE, without what was rejected."""
    for format in CONVERTERS.all():
        for place in sorted(path for path in folder.glob(f"{format}/*") if path.is_dir()):
            for path in sorted(place.iterdir()):
                if _format_of(path) or ((path / "model.onnx").is_file() and path.name == "model"):
                    yield Subject(File(f"{format}-{place.name}", format, path), _tokenizer(path))


def _checkpoint(folder: Path) -> Iterator[Subject]:
    if (folder / "config.json").is_file() and list(folder.glob("*.safetensors")):
        yield Subject(File(f"{folder.name} torch", "torch", folder), _if_there(folder / TOKENIZER))


def _external(folder: Path) -> Iterator[Subject]:
    """A graph with its weights beside it."""
    if (folder / "model.onnx").is_file():
        yield Subject(File(folder.name, "onnx", folder), _tokenizer(folder))


def _with_origin(subject: Subject) -> Subject:
    """A file of a run that is named by itself or as the run's bundle, with what the run knows of it by its sum."""
    path = subject.file.path.resolve()
    run = next((folder for folder in path.parents[:6] if (folder / REQUEST).is_file()), None)
    if subject.origin or run is None or not path.is_file():
        return subject
    sha256 = sha256_file(path)
    known = next((item for item in _run(run) if item.origin and item.origin.sha256 == sha256), None)
    return replace(subject, origin=known.origin, tokenizer=subject.tokenizer or known.tokenizer) if known else subject


def _format_of(path: Path) -> str:
    """By the suffix; "" of no format."""
    return next((name for name, converter in CONVERTERS.all().items() if converter.suffix == path.suffix), "")


def _tokenizer(path: Path) -> Path | None:
    """tokenizer.json beside a file, or up to two folders above it."""
    return next((result for folder in path.resolve().parents[:3] if (result := _if_there(folder / TOKENIZER))), None)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _renamed(subjects: list[Subject]) -> list[Subject]:
    """Names made different by the folders that tell files apart."""
    names = [subject.file.name for subject in subjects]
    return [
        subject if names.count(subject.file.name) == 1
        else replace(subject, file=replace(subject.file, name=str(subject.file.path)))
        for subject in subjects
    ]  # fmt: skip
