"""Where nothing met the budget: which single change of it would have, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence

from edgebert.budget.choice import figures_of, usable_files
from edgebert.budget.limits import Excess, broken, of_candidate, worst
from edgebert.results import ArtifactResult, ModelResult
from edgebert.types import Budget, Candidate, DeviceProfile, Plan


def single_changes(
    teacher: ModelResult, students: Sequence[ModelResult], plan: Plan, budget: Budget, device: DeviceProfile
) -> tuple[str, ...]:
    """Sentences, each with one setting: measured where a finished file needs no more than it, else predicted.

    Of finished files, the one that is over a single limit by the least, for each limit. Of shapes that were not trained
    because a single limit forbids them, the smallest that is larger than every trained student.
    """
    results: dict[str, tuple[float, str]] = {}
    for student, result in usable_files(students):
        over = broken(budget, figures_of(teacher, result, device, plan.length_p95))
        if len(over) == 1 and over[0].ratio < results.get(over[0].limit.name, (float("inf"), ""))[0]:
            results[over[0].limit.name] = (over[0].ratio, _finished(student, result, over[0]))
    changes = [text for _, text in results.values()]
    if "drop_points" in results and (larger := _larger_shape(students, plan, budget)):
        changes.append(larger)
    return tuple(changes)


def _finished(student: ModelResult, result: ArtifactResult, over: Excess) -> str:
    return f"{over.admits} would admit {student.name}/{result.artifact.name} as it is: {over.amount}. No training is needed."


def _larger_shape(students: Sequence[ModelResult], plan: Plan, budget: Budget) -> str:
    """The nearest shape with more parameters outside the budget by one limit alone, "" where there is none."""
    most = max((student.n_parameters for student in students), default=0)
    near: list[tuple[float, Candidate, Excess]] = []
    for candidate in plan.candidates:
        over = broken(budget, of_candidate(candidate))
        if len(over) == 1 and candidate.n_parameters > most:
            near.append((worst(over), candidate, over[0]))
    if not near:
        return ""
    _, candidate, over_by = min(near, key=lambda item: item[0])
    ms = f"predicted {candidate.latency.p50_ms:.1f} ms"
    cost = f"{candidate.size_bytes / 1e6:.1f} MB, {ms}"
    return f"{over_by.admits} would let {candidate.name} be trained ({cost}); what it loses is known only then."
