"""Which file is packaged: the budget's limits, and the choice among the files that meet them."""

from __future__ import annotations

from collections.abc import Sequence

from edgebert.types import ArtifactResult, Budget, DeviceProfile, Latency, ModelResult

TIE_POINTS = 0.1  # development scores nearer than this are equal; the faster file wins


def choose(
    teacher: ModelResult, students: Sequence[ModelResult], budget: Budget, device: DeviceProfile
) -> tuple[tuple[ModelResult, ArtifactResult] | None, str, list[str]]:
    """The file to package, why, and what failed.

    Of the reduced-precision files that passed parity and meet every limit, the one with the best development score; of
    several within TIE_POINTS of it, the one predicted fastest on the device.
    """
    failures = [
        f"{student.name}/{result.artifact.name}: rejected, {reason}"
        for student in students
        for result in student.artifacts
        for reason in result.parity.failures
    ]
    sound = [
        (student, result)
        for student in students
        for result in student.artifacts
        if not result.parity.failures and result.artifact.precision != "fp32"
    ]
    fitting = []
    for student, result in sound:
        over = over_budget(teacher, result, budget, device)
        failures += [f"{student.name}/{result.artifact.name}: {reason}" for reason in over]
        if not over:
            fitting.append((student, result))
    if not fitting:
        return None, "No file meets the budget and passes parity: nothing was packaged.", failures
    best = max(dev_value(result) for _, result in fitting)
    tied = [pair for pair in fitting if 100 * (best - dev_value(pair[1])) <= TIE_POINTS]
    winner = min(tied, key=lambda pair: _on_device(pair[1], device).p50_ms)
    among = "it is predicted fastest, or as fast and in the format that the device prefers"
    others = f"; {len(tied)} were within {TIE_POINTS} points and {among}" if len(tied) > 1 else ""
    verdict = f"Best development score of the files that meet the budget and pass parity ({len(fitting)}){others}."
    return winner, verdict, failures


def over_budget(teacher: ModelResult, result: ArtifactResult, budget: Budget, device: DeviceProfile) -> list[str]:
    """Every limit that a file breaks, with numbers."""
    broken = []
    size, latency = result.artifact.size_bytes / 1e6, _on_device(result, device)
    drop = 100 * (teacher.dev.value - dev_value(result))
    if budget.size_mb is not None and size > budget.size_mb:
        broken.append(f"{size:.2f} MB is over the budget of {budget.size_mb:g} MB")
    if budget.latency_ms is not None and latency.p50_ms > budget.latency_ms:
        broken.append(f"{latency.how} {latency.p50_ms:.1f} ms is over the budget of {budget.latency_ms:g} ms")
    if budget.drop_points is not None and drop > budget.drop_points:
        broken.append(
            f"{teacher.dev.metric} on dev is {drop:.2f} points under the teacher's, --max-drop is {budget.drop_points:g}"
        )
    return broken


def dev_value(result: ArtifactResult) -> float:
    assert result.dev is not None, "a file is scored on the development rows when it is converted"
    return result.dev.value


def _on_device(result: ArtifactResult, device: DeviceProfile) -> Latency:
    """The latency that the budget is about: on the device, at the 95th percentile of the data's lengths."""
    return next(latency for latency in result.latencies if latency.device == device.name and latency.how == "predicted")
