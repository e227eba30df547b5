"""`edgebert compress`: a recipe applied to a checkpoint, by the stages of `fit` that end with a student."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.faults import check_writable, faults_as_errors
from edgebert.files import copy_tree, replace_folder
from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import load_student
from edgebert.results import CompressResult
from edgebert.runs.store import RECORD
from edgebert.search.plan import Group, possible_shapes
from edgebert.teachers.fitting import with_teacher_labels
from edgebert.types import Budget, FitRequest, Recipe
from edgebert.workflows.fit import plan_stage
from edgebert.workflows.names import RUNS
from edgebert.workflows.recipe import recipe_text
from edgebert.workflows.records import student_record, teacher_record
from edgebert.workflows.request import Fit, needs_bytes, resolve
from edgebert.workflows.stages import compress_stage, teacher_stage

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig
    from edgebert.types import OnEvent

OTHER = "Choose another --output."
WRITTEN = (  # into a student's folder
    "config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "teacher_ids.json", "quantization.json",
)  # fmt: skip


def compress(
    request: FitRequest,
    folder: Path,
    *,
    force: bool = False,
    max_size_mb: float | None = None,
    on_event: OnEvent | None = None,
) -> CompressResult:
    """Writes the student that the recipe makes of the checkpoint into the folder.

    Args:
        request: of `edgebert.workflows.names.compress_request`.

    Raises:
        RequestError: a recipe that cannot be, a size left open without a budget, an output that exists.
        TeacherError, DataError: the checkpoint or the rows cannot be used.
        BudgetError: no student fits `max_size_mb`.
    """
    read = (request.teacher, request.student, *request.data, *request.unlabelled)
    check_student_folder(folder, force, [name for name in read if name])
    with faults_as_errors(Path(request.run or RUNS)):
        job = resolve(request, "edgebert compress", on_event)
    try:
        job.budget = Budget(size_mb=max_size_mb)
        _check_open(job, max_size_mb)
        with faults_as_errors(job.run.folder, needs_bytes(job)):
            return _compressed(job, folder)
    finally:
        job.run.close()


def check_student_folder(folder: Path, force: bool, read: Sequence[str]) -> None:
    """Raises RequestError or RunError where the student's folder cannot be written, or something else would be lost."""
    if folder.exists() and not folder.is_dir():
        raise RequestError("this is a file, and a folder is needed", where=str(folder), hint=OTHER)
    place = folder.resolve()
    if Path.cwd().is_relative_to(place):
        raise RequestError(
            "a student cannot take the place of the folder that you are in", where=str(folder), hint=OTHER
        )
    for path in (Path(name.partition("=")[2] or name) for name in read):
        if path.exists() and path.resolve().is_relative_to(place):
            raise RequestError(f"the student would replace {path}, which is read", where=str(folder), hint=OTHER)
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if names and not force:
        raise RequestError(
            "the output folder is not empty",
            where=str(folder),
            hint="Pass --force to replace it, or choose another --output.",
        )
    if strange := [name for name in names if not any(fnmatch(name, pattern) for pattern in WRITTEN)]:
        what = f"it holds {strange[0]}, which edgebert did not write and --force would delete"
        raise RequestError(what, where=str(folder), hint="Move it away, or choose another --output.")
    check_writable(folder, "--output")


def _check_open(job: Fit, max_size_mb: float | None) -> None:
    """Without a budget nothing says how many layers a student has: the largest would be no student at all."""
    shapes = possible_shapes(job.student_config, job.recipe, METHODS.all(), job.teacher_config)
    groups = {config.to_json_string(): group for _, group, config in shapes if config.vocab_size == _most(shapes)}
    if max_size_mb is None and len(groups) > 1:
        name = next(iter(groups.values()))[0][0]
        what = f"the recipe can make {len(groups)} students, and nothing tells which of them is wanted"
        raise RequestError(
            what, where="--recipe", hint=f"Set the parameter, such as --set {name}=3, or give --max-size-mb."
        )


def _most(shapes: Sequence[tuple[Recipe, Group, ModelConfig]]) -> int:
    return max(config.vocab_size for _, _, config in shapes)


def _compressed(job: Fit, folder: Path) -> CompressResult:
    teacher = teacher_stage(job)
    job.dataset = with_teacher_labels(load_student(teacher.path), job.task, job.dataset, job.max_length)
    plan = plan_stage(job, teacher)
    candidate = next(item for item in plan.candidates if item.taken)
    stage = compress_stage(job, candidate, teacher)
    with replace_folder(folder) as place:
        for path in stage.path.iterdir():
            if path.name != RECORD:
                copy_tree(path, place / path.name)
    first, record = teacher_record(teacher), student_record(stage)
    return CompressResult(
        folder=folder,
        name=candidate.name,
        recipe=recipe_text(candidate.recipe),
        teacher=first.test,
        dev=record.dev,
        test=record.test,
        teacher_parameters=first.n_parameters,
        n_parameters=record.n_parameters,
        notes=(*record.notes, *job.notes),
    )
