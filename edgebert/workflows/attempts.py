"""What fit goes on with where no file loses few enough points: another recipe, longer training, another start.

The number of attempts follows from the effort, never from a clock, so that one seed gives one file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgebert.runs.store import Stage
from edgebert.types import Candidate, Plan, Recipe
from edgebert.workflows.records import file_records, teacher_record
from edgebert.workflows.request import Fit

LONGER = 2.0  # times the epochs of the first training


def next_attempt(
    job: Fit, plan: Plan, models: Mapping[str, Stage], verified: Mapping[str, Stage], others: Sequence[Recipe]
) -> Candidate | None:
    """The next student to train, or None where a file keeps within the points or nothing is left to try.

    Args:
        plan: with the attempts that were made, whose candidates are marked as one.
        models: the trained students and the teacher, by name.
        others: recipes that came close to the chosen one, best first.
    """
    drop = smallest_drop(models["teacher"], verified)
    created = sum(candidate.is_attempt for candidate in plan.candidates)
    if job.budget.drop_points is None or drop is None or drop[0] <= job.budget.drop_points:
        return None
    if created >= job.level.attempts:
        return None
    best = next(candidate for candidate in plan.candidates if candidate.name == drop[1])
    candidate = next((c for c in _possible(job, plan, best, others) if c.name not in models), None)
    if candidate:
        seconds = models[best.name].seconds * candidate.epochs_factor / best.epochs_factor
        job.run.log(
            event="attempt", name=candidate.name, reason=candidate.reason, drop=round(drop[0], 2),
            allowed=job.budget.drop_points, seconds=round(seconds),
        )  # fmt: skip
    return candidate


def smallest_drop(teacher: Stage, verified: Mapping[str, Stage]) -> tuple[float, str] | None:
    """Points that the best reduced-precision file loses on the development rows, and its student; None where parity
    passed none."""
    best = teacher_record(teacher).dev
    drops = [
        (100 * (best.value - record.dev.value), name)
        for name, stage in verified.items()
        if name != "teacher"
        for artifact, record in file_records(stage).items()
        if not artifact.endswith("-fp32") and not record.parity.failures
    ]
    return min(drops, default=None)


def _possible(job: Fit, plan: Plan, best: Candidate, others: Sequence[Recipe]) -> list[Candidate]:
    """What can be tried beside what was asked for, in order."""
    results = []
    if not job.request.epochs:
        reason = f"as {best.name}, trained {LONGER:g} times as long"
        results.append(_attempt(best, f"{best.name}-longer", reason, epochs_factor=LONGER * best.epochs_factor))
    for number, recipe in enumerate(others, 2):
        reason = f"as {best.name}, by the recipe that was next best in the trials"
        results.append(_attempt(best, f"{best.name}-recipe{number}", reason, recipe=recipe))
    return results


def _attempt(candidate: Candidate, name: str, reason: str, **changes: object) -> Candidate:
    return replace(candidate, name=name, reason=reason, is_attempt=True, taken=True, **changes)  # type: ignore[arg-type]
