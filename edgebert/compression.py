"""`edgebert compress`: a recipe applied to a checkpoint, by the stages of `fit` that end with a student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgebert import registry
from edgebert.devices import HERE
from edgebert.errors import RequestError
from edgebert.folders import copy_tree, replace_folder
from edgebert.job import Fit, resolve
from edgebert.pipeline import plan_stage
from edgebert.recipes import recipe_text
from edgebert.results import read_score
from edgebert.run import RECORD
from edgebert.search.plan import Group, possible_shapes
from edgebert.stages import compress_stage, teacher_stage
from edgebert.types import Budget, CompressResult, FitRequest, Recipe


def compress(
    model: str,
    recipe: str,
    *,
    output: str | None = None,
    force: bool = False,
    max_size_mb: float | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    **options: Any,
) -> CompressResult:
    """Writes the student that the recipe makes of the checkpoint.

    Raises:
        RequestError: a recipe that cannot be, a size left open without a budget, an output that exists.
        TeacherError, DataError: the checkpoint or the rows cannot be used.
        BudgetError: no student fits `max_size_mb`.
    """
    folder = Path(output or f"{Path(model).name}-small")
    if folder.exists() and not force and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(
            "the output folder is not empty",
            where=str(folder),
            hint="Pass --force to replace it, or choose another --output.",
        )
    run = f"runs/compress-{folder.name}"
    request = FitRequest(device=HERE, teacher=model, recipe=recipe, run=run, candidates=1, formats=("onnx",), **options)
    job = resolve(request, "edgebert compress", on_event)
    try:
        job.budget = Budget(size_mb=max_size_mb)
        _check_open(job, max_size_mb)
        return _made(job, folder)
    finally:
        job.run.close()


def _check_open(job: Fit, max_size_mb: float | None) -> None:
    """Without a budget nothing says how many layers a student has: the largest would be no student at all."""
    shapes = possible_shapes(job.student_config, job.recipe, registry.methods(), job.teacher_config)
    groups = {config.to_json_string(): group for _, group, config in shapes if config.vocab_size == _most(shapes)}
    if max_size_mb is None and len(groups) > 1:
        name = next(iter(groups.values()))[0][0]
        what = f"the recipe can make {len(groups)} students, and nothing tells which of them is wanted"
        raise RequestError(
            what, where="--recipe", hint=f"Set the parameter, such as --set {name}=3, or give --max-size-mb."
        )


def _most(shapes: Sequence[tuple[Recipe, Group, Any]]) -> int:
    return max(config.vocab_size for _, _, config in shapes)


def _made(job: Fit, folder: Path) -> CompressResult:
    teacher = teacher_stage(job)
    plan = plan_stage(job, teacher)
    candidate = next(one for one in plan.candidates if one.taken)
    stage = compress_stage(job, candidate, teacher)
    with replace_folder(folder) as place:
        for path in stage.path.iterdir():
            if path.name != RECORD:
                copy_tree(path, place / path.name)
    return CompressResult(
        folder=folder,
        name=candidate.name,
        recipe=recipe_text(candidate.recipe),
        teacher=read_score(teacher.result["test"]),
        dev=read_score(stage.result["dev"]),
        test=read_score(stage.result["test"]),
        teacher_parameters=teacher.result["n_parameters"],
        n_parameters=stage.result["n_parameters"],
        notes=tuple(stage.result["notes"]),
    )
