"""What a request names, resolved without anything heavy: a wrong name is refused before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebert.converters import CONVERTERS, check_shape, find_precision, usable_converter
from edgebert.devices.profiles import HERE
from edgebert.errors import RequestError, unknown
from edgebert.faults import faults_as_errors
from edgebert.files import name_of, slug
from edgebert.modeling.folder import named_folder, start_folder
from edgebert.tasks import Task, find_task
from edgebert.types import TEACHER, DeviceProfile, FitRequest, Recipe
from edgebert.workflows.data import check_data
from edgebert.workflows.device import find_device
from edgebert.workflows.recipe import PACKED_RECIPE, check_search, formats_of, read_recipe

RUNS = "runs"


@dataclass(frozen=True)
class Names:
    """Of a request, what needs neither rows nor a checkpoint.

    Attributes:
        task: with its options.
        precisions: those that are reduced.
        formats: those that can express what the recipe makes.
    """

    device: DeviceProfile
    task: Task
    precisions: tuple[str, ...]
    recipe: Recipe
    formats: tuple[str, ...]
    notes: tuple[str, ...]


def resolve_names(request: FitRequest) -> Names:
    """Raises EdgebertError for a device, task, option, format, precision or recipe that cannot be, and for data, a teacher,
    a student or a folder of starts that is not there."""
    _check_training_end(request)
    device = find_device(request.device)
    task, params = configured(find_task(request.task), request.params)
    offered = request.formats or device.formats
    precisions = _precisions(request.precisions, offered)
    recipe, recipe_notes = read_recipe(request.recipe or default_recipe(offered, precisions), params)
    check_search(recipe, request.search_trials, request.study)
    formats, format_notes = formats_of(recipe, offered, request.formats)
    check_shape(request.shape, formats)
    check_data(request.data, task)
    _check_folders(request)
    return Names(device, task, precisions, recipe, formats, (*recipe_notes, *format_notes))


def check_names(request: FitRequest) -> None:
    """Raises what `resolve_names` does, and RunError for what the system refuses."""
    with faults_as_errors(Path(request.run or ".")):
        resolve_names(request)


def compress_request(model: str, recipe: str, output: str | None, **options: Any) -> tuple[Path, FitRequest]:
    """The student's folder, and the request whose first stages `edgebert compress` runs."""
    folder = Path(output or f"{name_of(model)}-small")
    run = f"{RUNS}/compress-{slug(folder.absolute().name)}"
    options["student"] = options.get("student") or TEACHER
    fixed: dict[str, Any] = {"device": HERE, "candidates": 1, "formats": ("onnx",)}
    return folder, FitRequest(teacher=model, recipe=recipe, run=run, **fixed, **options)


def default_recipe(formats: Sequence[str], precisions: Sequence[str]) -> str | None:
    """The recipe of a precision that stores the word table below 8 bits; None leaves it to `read_recipe`."""
    return PACKED_RECIPE if find_precision(*planned(formats, precisions)).embedding_bits < 8 else None


def _check_training_end(request: FitRequest) -> None:
    """Raises RequestError where a training shall end in two ways."""
    if request.average_weights and request.early_stopping:
        what = "the average of the weights is known at the end of a training, and this one may end at its best score"
        raise RequestError(what, where="--average-weights, --early-stopping", hint="Give one of the two.")


def _check_folders(request: FitRequest) -> None:
    """Raises EdgebertError where a folder that the request names is not there. Whether a hub has an id is asked later."""
    if request.teacher is not None:
        named_folder(request.teacher)
    if request.student not in (None, TEACHER):
        named_folder(request.student, "--student")
    for name in request.starts:
        start_folder(name)


def configured(task: Task, params: Mapping[str, object]) -> tuple[Task, dict[str, object]]:
    """The task with its options out of `--set NAME.OPTION=VALUE`, and what is left for the methods."""
    heads = getattr(task, "by_name", {})
    options, rest = {}, {}
    for key, value in params.items():
        name, _, option = key.partition(".")
        if name in heads:
            options[key] = value
        elif name in (task.name, *task.aliases, "task"):
            options[option] = value
        else:
            rest[key] = value
    return task.configured(options), rest


def _precisions(asked: tuple[str, ...], formats: tuple[str, ...]) -> tuple[str, ...]:
    """The reduced precisions that were asked for, each known to one of the formats; their libraries are installed."""
    offered = {name for format in formats for name in usable_converter(format).precisions}
    for name in asked:
        if name not in offered and name != "fp32":
            raise unknown("precision", name, offered, where=f"--precision, for {' and '.join(formats)}")
    reduced = tuple(name for name in asked if name != "fp32")
    if not reduced:
        what = "there would be nothing to package: fp32 is written for comparison only"
        raise RequestError(what, where="--precision", hint=f"Name at least one of {', '.join(sorted(offered))}.")
    return reduced


def planned(formats: Sequence[str], precisions: Sequence[str]) -> tuple[str, str]:
    """The format and precision that a student is planned for: the first precision, in the first format that has it."""
    return next((f, p) for p in precisions for f in formats if p in CONVERTERS.get(f).precisions)
