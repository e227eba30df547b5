"""Which file is packaged: the budget's limits, and the choice among the files that meet them."""

from __future__ import annotations

from collections.abc import Sequence

from edgebert.types import ArtifactResult, Budget, DeviceProfile, Latency, ModelResult

TIE_POINTS = 0.1  # development scores nearer than this are equal; the faster file wins


def choose(
    teacher: ModelResult, students: Sequence[ModelResult], budget: Budget, device: DeviceProfile, n_tokens: int
) -> tuple[tuple[ModelResult, ArtifactResult] | None, str, list[str]]:
    """The file to package, why, and what failed.

    Of the reduced-precision files that passed parity and meet every limit, the one with the best development score; of
    several within TIE_POINTS of it, the one that is fastest on the device: by what was measured there if all of them
    were, else by the predictions, so that like is held against like.

    Args:
        n_tokens: the length that the latency budget is about.
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
        over = over_budget(teacher, result, budget, device, n_tokens)
        failures += [f"{student.name}/{result.artifact.name}: {reason}" for reason in over]
        if not over:
            fitting.append((student, result))
    if not fitting:
        return None, "No file meets the budget and passes parity: nothing was packaged.", failures
    best = max(dev_value(result) for _, result in fitting)
    tied = [pair for pair in fitting if 100 * (best - dev_value(pair[1])) <= TIE_POINTS]
    times = [_judged(result, device, n_tokens) for _, result in tied]
    all_measured = all(time.how == "measured" for time in times)
    if not all_measured:
        times = [_judged(result, device, n_tokens, measured=False) for _, result in tied]
    winner = tied[min(range(len(tied)), key=lambda i: times[i].p50_ms)]
    predicted = "it is predicted fastest, or as fast and in the format that the device prefers"
    among = "it is the fastest as measured on the device" if all_measured else predicted
    others = f"; {len(tied)} were within {TIE_POINTS} points and {among}" if len(tied) > 1 else ""
    verdict = f"Best development score of the files that meet the budget and pass parity ({len(fitting)}){others}."
    if _judged(winner[1], device, n_tokens).how == "measured":
        verdict += " Its latency was measured on the device."
    return winner, verdict, failures


def over_budget(
    teacher: ModelResult, result: ArtifactResult, budget: Budget, device: DeviceProfile, n_tokens: int
) -> list[str]:
    """Every limit that a file breaks, with numbers."""
    broken = []
    size, latency = result.artifact.size_bytes / 1e6, _judged(result, device, n_tokens)
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


def on_device(
    latencies: Sequence[Latency], device: DeviceProfile, n_tokens: int, *, measured: bool = True
) -> Latency | None:
    """The latency that the budget is about, on the device at a length of `n_tokens`: measured there with the threads of
    its profile if it was, else predicted. One that was emulated says nothing of the device."""
    kinds = ("measured", "predicted") if measured else ("predicted",)
    ours = [one for one in latencies if one.device == device.name and one.lengths == "fixed"]
    ours = [one for one in ours if one.seq_len == n_tokens and one.threads == device.threads]
    return next((one for kind in kinds for one in ours if one.how == kind), None)


def _judged(result: ArtifactResult, device: DeviceProfile, n_tokens: int, *, measured: bool = True) -> Latency:
    found = on_device(result.latencies, device, n_tokens, measured=measured)
    assert found is not None, "every file has a prediction at the budget's length"
    return found
