"""Which file is packaged, among those that meet the budget's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgebert.budget.limits import Figure, broken, of_file
from edgebert.results import ArtifactResult, ModelResult
from edgebert.types import Budget, DeviceProfile, Latency

TIE_POINTS = 0.1  # development scores nearer than this are equal; the faster file wins
# A measured time overrules the order of the predictions only where it is this many times as fast: p50 is taken as stable
# within 2 %, and what is packaged must not follow the noise.
CLEARLY = 1.25
Pair = tuple[ModelResult, ArtifactResult]


def choose(
    teacher: ModelResult, students: Sequence[ModelResult], budget: Budget, device: DeviceProfile, n_tokens: int
) -> tuple[tuple[ModelResult, ArtifactResult] | None, str, list[str]]:
    """The file to package, why, and what failed.

    Of the reduced-precision files that passed parity and meet every limit, the one with the best development score; of
    several within TIE_POINTS of it, the one that is predicted fastest on the device, or one that was measured there as
    CLEARLY faster, if all of them were measured by the same statistic.

    Args:
        n_tokens: the length that the latency budget is about.
    """
    failures = [
        f"{student.name}/{result.artifact.name}: rejected, {reason}"
        for student in students
        for result in student.artifacts
        for reason in result.parity.failures
    ]
    fitting = []
    for student, result in usable_files(students):
        over = over_budget(teacher, result, budget, device, n_tokens)
        failures += [f"{student.name}/{result.artifact.name}: {reason}" for reason in over]
        if not over:
            fitting.append((student, result))
    if not fitting:
        return None, "No file meets the budget and passes parity: nothing was packaged.", failures
    best = max(dev_value(result) for _, result in fitting)
    tied = [pair for pair in fitting if 100 * (best - dev_value(pair[1])) <= TIE_POINTS]
    winner, by_time = _fastest(tied, device, n_tokens)
    predicted = "it is predicted fastest, or as fast and in the format that the device prefers"
    among = f"it was measured at least {CLEARLY:g} times as fast on the device" if by_time else predicted
    others = f"; {len(tied)} were within {TIE_POINTS} points and {among}" if len(tied) > 1 else ""
    verdict = f"Best development score of the files that meet the budget and pass parity ({len(fitting)}){others}."
    if _judged(winner[1], device, n_tokens).how == "measured":
        verdict += " Its latency was measured on the device."
    return winner, verdict, failures


def usable_files(students: Sequence[ModelResult]) -> list[Pair]:
    """The files of reduced precision that passed parity."""
    return [
        (student, result)
        for student in students
        for result in student.artifacts
        if not result.parity.failures and result.artifact.precision != "fp32"
    ]


def _fastest(tied: Sequence[Pair], device: DeviceProfile, n_tokens: int) -> tuple[Pair, bool]:
    """The one predicted fastest, or one that was measured as clearly faster, and whether measuring decided."""
    order = sorted(tied, key=lambda pair: _judged(pair[1], device, n_tokens, measured=False).p50_ms)
    times = [_judged(result, device, n_tokens) for _, result in order]
    best = 0
    if {(time.how, time.statistic) for time in times} == {("measured", times[0].statistic)}:
        for i, time in enumerate(times):
            if time.p50_ms * CLEARLY <= times[best].p50_ms:
                best = i
    return order[best], best > 0


def over_budget(
    teacher: ModelResult, result: ArtifactResult, budget: Budget, device: DeviceProfile, n_tokens: int
) -> list[str]:
    """Every limit that a file breaks, with numbers."""
    figures = figures_of(teacher, result, device, n_tokens)
    return [f"{item.amount} is {item.over}" for item in broken(budget, figures)]


def figures_of(
    teacher: ModelResult, result: ArtifactResult, device: DeviceProfile, n_tokens: int
) -> Mapping[str, Figure]:
    """What the limits judge of a file."""
    return of_file(teacher, result, device, _judged(result, device, n_tokens))


def dev_value(result: ArtifactResult) -> float:
    assert result.dev is not None, "a file is scored on the development rows when it is converted"
    return result.dev.value


def on_device(
    latencies: Sequence[Latency], device: DeviceProfile, n_tokens: int, *, measured: bool = True
) -> Latency | None:
    """The latency that the budget is about, on the device at a length of `n_tokens`: measured there with the threads of
    its profile if it was, else predicted. One that was emulated says nothing of the device."""
    kinds = ("measured", "predicted") if measured else ("predicted",)
    ours = [latency for latency in latencies if latency.device == device.name and latency.lengths == "fixed"]
    ours = [item for item in ours if item.seq_len == n_tokens and item.threads == device.threads]
    return next((item for kind in kinds for item in ours if item.how == kind), None)


def _judged(result: ArtifactResult, device: DeviceProfile, n_tokens: int, *, measured: bool = True) -> Latency:
    results = on_device(result.latencies, device, n_tokens, measured=measured)
    assert results is not None, "every file has a prediction at the budget's length"
    return results
