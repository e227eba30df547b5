"""Every file that a fit reads, with its size and sha256, found without loading anything heavy.

What cannot be compared without reading it anew, such as rows of the hub, is said to be unknown: then nobody may claim that
nothing has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from edgebert.cost.calibration import kept_calibrations
from edgebert.data import CatalogueEntry, default_names, locate
from edgebert.data.packaged import locate_file
from edgebert.errors import EdgebertError
from edgebert.files import sha256_file
from edgebert.methods import METHODS, ParamValue
from edgebert.modeling.folder import encoder_folder, files_read
from edgebert.modeling.source import DEFAULT_TEACHER, TeacherSource, in_cache, in_package
from edgebert.modeling.weights import weight_files
from edgebert.runs.folder import REQUEST
from edgebert.search.starts import StartPlace, is_small, places_around, places_named
from edgebert.tasks import Task
from edgebert.tasks._multitask import MultiTask
from edgebert.types import TEACHER, FitRequest
from edgebert.workflows.data import specs_by_head
from edgebert.workflows.names import Names

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

MOST_BYTES_FOUND = 2 * 10**9  # of checkpoints beside the teacher: reading more takes longer than loading libraries

FileFacts = dict[str, int | str]  # "bytes" and "sha256"


@dataclass
class Inputs:
    """What a fit reads.

    Attributes:
        files: role and path as the user wrote it -> size and sha256.
        found: checkpoints that the user did not name and that students might start from -> what tells them apart.
        unknown: what cannot be compared.
    """

    files: dict[str, FileFacts] = field(default_factory=dict)
    found: dict[str, object] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def add(self, name: str, path: Path) -> None:
        self.files[name] = facts_of(path)


def facts_of(path: Path) -> FileFacts:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder and of those in it, without hidden ones, other runs and what Python compiled."""
    for place, folders, names in os.walk(folder):
        inside = Path(place)
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and name != "__pycache__" and not (inside / name / REQUEST).exists()
        )  # fmt: skip
        yield from (inside / name for name in sorted(names) if not name.startswith(".") and (inside / name).is_file())


def read_inputs(request: FitRequest, names: Names) -> Inputs:
    """What a fit of this request would read now. Raises EdgebertError as `edgebert.data.load` for rows that are not there."""
    inputs = Inputs()
    for specs, task in _specs(request, names.task):
        for spec in specs:
            _add_rows(inputs, spec, task)
    for path in request.unlabelled:
        _add_path(inputs, f"unlabelled {path}", Path(path))
    for call in names.recipe.calls:
        inputs.files |= method_files(call.method, METHODS.get(call.method).read_params(call.params))
    if request.recipe and request.recipe.endswith(".toml"):
        inputs.add(f"recipe {request.recipe}", Path(request.recipe))
    if calibration := kept_calibrations(names.device):
        inputs.add(f"calibration of {names.device.name}", calibration)
    teacher = _add_model(inputs, "teacher", request.teacher or DEFAULT_TEACHER, request.allow_pickle)
    if request.student not in (None, TEACHER):
        _add_model(inputs, "student", str(request.student), request.allow_pickle)
    elif request.student is None:
        _add_starts(inputs, request.starts, teacher)
    return inputs


def method_files(name: str, params: Mapping[str, ParamValue]) -> dict[str, FileFacts]:
    """Every file that a method reads by its parameters, as `Inputs.files` has it. One that is not there is left out: the
    method says so."""
    inputs = Inputs()
    for path in METHODS.get(name).files(params):
        _add_path(inputs, f"{name} {path}", path)
    return inputs.files


# ---------------------------------------------------------------- rows and texts


def _specs(request: FitRequest, task: Task) -> Iterator[tuple[Sequence[str], Task]]:
    if isinstance(task, MultiTask):
        for name, specs in specs_by_head(request.data, [name for name, _ in task.heads]).items():
            yield specs or default_names(task.by_name[name]), task.by_name[name]
    else:
        yield request.data or default_names(task), task


def _add_rows(inputs: Inputs, spec: str, task: Task) -> None:
    place = locate(spec, task)
    if place is None:
        inputs.unknown.append(f"rows of the hub ({spec})")
    elif isinstance(place, CatalogueEntry):
        for file in (file for some in place.files.values() for file in some):
            path = locate_file(place, file)
            if path.is_file():  # else reading it says what is wrong
                inputs.add(f"data {spec}/{file.path}", path)
    else:
        _add_path(inputs, f"data {spec}", place[0])


def _add_path(inputs: Inputs, name: str, path: Path) -> None:
    path = path.expanduser()
    if path.is_file():
        inputs.add(name, path)
    for inside in files_in(path):
        inputs.add(f"{name}/{inside.relative_to(path).as_posix()}", inside)


# ---------------------------------------------------------------- checkpoints


def _add_model(inputs: Inputs, role: str, name: str, allow_pickle: bool) -> TeacherSource | None:
    """A checkpoint's files, looked for as `find_teacher` does, but not on the hub. None where it is not here, or damaged."""
    path = Path(name).expanduser()
    try:
        folder = path if path.exists() else in_cache(name, allow_pickle) or in_package(name)
        if folder is None:
            inputs.unknown.append(f"the {role} {name}, which is not on this machine yet")
            return None
        for file in _files_of(folder, allow_pickle):
            inputs.add(f"{role} {name}/{file.relative_to(folder).as_posix()}", file)
    except (EdgebertError, OSError) as error:  # reading it says what is wrong
        inputs.unknown.append(f"the {role} {name}: {error}")
        return None
    return TeacherSource(name, folder, "", "", "local folder" if path.exists() else "", 0)


def _files_of(folder: Path, allow_pickle: bool = False) -> list[Path]:
    card = folder / "README.md"  # its licence is told
    return [*files_read(folder, weight_files(folder, allow_pickle=allow_pickle)), *([card] if card.is_file() else [])]


def _add_starts(inputs: Inputs, folders: Sequence[str], teacher: TeacherSource | None) -> None:
    for place in places_named(folders):
        for file in _existing(place):
            inputs.add(f"start {place.name}/{file.relative_to(place.folder).as_posix()}", file)
    if teacher is None or _is_small(teacher.folder):
        return
    places, notes = places_around(teacher)
    inputs.found |= dict.fromkeys(notes, "left out")
    read = 0
    for place in places:
        files = _existing(place)
        if place.origin == "beside the teacher":
            read += sum(file.stat().st_size for file in files)
            if read > MOST_BYTES_FOUND:
                inputs.unknown.append("checkpoints beside the teacher, which are too large to compare quickly")
                return
            facts: Mapping[str, object] = {file.name: sha256_file(file) for file in files}
        else:  # files of the hub's cache are links to what is named after its content; a package's have a version
            facts = {file.name: _cached_name(file) for file in files}
        inputs.found[f"checkpoint {place.name} ({place.origin})"] = facts


def _existing(place: StartPlace) -> list[Path]:
    """The files of a checkpoint that may be damaged, or none at all."""
    with suppress(EdgebertError, OSError):
        return _files_of(place.folder)
    return [path for path in (place.folder / "config.json",) if path.is_file()]


def _cached_name(file: Path) -> str:
    return file.readlink().name if file.is_symlink() else f"{file.stat().st_size} bytes"


def _is_small(folder: Path) -> bool:
    """`is_small` of a config that is not built; False where its words for the sizes are a family's own."""
    try:
        config = json.loads((encoder_folder(folder) / "config.json").read_text(encoding="utf-8"))
        return is_small(cast("ModelConfig", SimpleNamespace(**config)))
    except (EdgebertError, OSError, ValueError, TypeError, AttributeError):
        return False
