"""A limit is a limit: predicted and measured figures against one list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgebert.budget.changes import single_changes
from edgebert.budget.choice import choose
from edgebert.budget.limits import PLANNED, broken, budget_of, of_candidate, of_file
from edgebert.report.tables import budget_lines
from edgebert.types import QUIETEST, Budget, FitRequest, Footprint, Latency, Plan
from tests.report_factory import CANDIDATES, device, make_report, predicted, student, teacher

OPEN = Budget()
SMALL = student("3-layers", 0.9517, 2.81, 7_130_000, CANDIDATES[0])  # int8: 7.13 MB, dev 0.9525


def failures(budget: Budget, **changes: Any) -> list[str]:
    """What is said of the int8 file, as `choose` says it."""
    int8 = replace(SMALL.artifacts[1], **changes)
    model = replace(SMALL, artifacts=(SMALL.artifacts[0], int8))
    winner, _, message = choose(teacher(), [model], budget, device(budget), 23)
    assert (winner is None) == bool(message)
    return message


def weighing(size_bytes: int, called: str = "") -> Footprint:
    return Footprint(10.0, 5.0, size_bytes, "onnxruntime", "1.32.0", called)


def test_measured_memory_is_judged() -> None:
    (message,) = failures(Budget(memory_mb=1), footprint=weighing(10_000_000_000))
    assert message == (
        "3-layers/onnx-int8: measured 10000.0 MB of memory on this machine (growth of the process on loading the runtime "
        "and the file, and on the first run) is over the budget of 1 MB"
    )
    assert failures(Budget(memory_mb=50), footprint=weighing(50_000_000)) == [], "what meets a limit is within"
    (message,) = failures(Budget(memory_mb=50), footprint=weighing(50_004_000))
    assert "measured 50.004 MB of memory" in message, "as many decimals as tell it from the limit"


def test_memory_of_the_device_counts_before_this_machines() -> None:
    heavy, light = weighing(900_000_000), weighing(40_000_000, "Board X")
    assert failures(Budget(memory_mb=50), footprint=heavy, device_footprint=light) == []
    (message,) = failures(Budget(memory_mb=30), footprint=heavy, device_footprint=light)
    assert "measured 40.0 MB of memory on Board X (" in message


def test_memory_that_nobody_measured_is_predicted() -> None:
    """33 MB and 1.6 times 7.13 MB."""
    (message,) = failures(Budget(memory_mb=44), footprint=None)
    assert message.endswith("predicted 44.4 MB of memory is over the budget of 44 MB")
    assert failures(Budget(memory_mb=45), footprint=None) == []


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(size_mb=7), "7.1 MB is over the budget of 7 MB"),
        (Budget(latency_ms=5), "predicted 5.4 ms [3.2–9.2] is over the budget of 5 ms"),
        (
            Budget(drop_points=0.2),
            "a drop of 0.29 points (strict entity F1 on dev, against the teacher) is over the budget of 0.2 points",
        ),
    ],
)
def test_every_limit_is_told_with_its_number(budget: Budget, expected: str) -> None:
    assert failures(budget) == [f"3-layers/onnx-int8: {expected}"]


def test_a_measured_latency_is_told_with_its_statistic() -> None:
    result = Latency("measured", "pixel6", "rt", "7", 2, 23, 1, 9.0, n_runs=60, called="Pixel", statistic=QUIETEST)
    (message,) = failures(Budget(latency_ms=8), latencies=(*SMALL.artifacts[1].latencies, result))
    assert message.endswith("measured 9.0 ms (p50, quietest tenth of blocks) is over the budget of 8 ms")


def test_predicted_and_measured_figures_are_held_by_the_same_limits() -> None:
    tight = Budget(latency_ms=0.1, size_mb=0.1, memory_mb=0.1, drop_points=0.1)
    assert [item.limit.name for item in broken(tight, of_candidate(CANDIDATES[0]))] == [
        "latency_ms",
        "size_mb",
        "memory_mb",
    ]
    of_one = of_file(teacher(), SMALL.artifacts[1], device(tight), predicted(5.4))
    assert [item.limit for item in broken(tight, of_one)] == list(PLANNED)
    assert broken(OPEN, of_one) == []


def test_what_is_asked_for_replaces_the_devices_budget() -> None:
    phone = device(Budget(latency_ms=8.0, size_mb=12.0, memory_mb=200.0))
    request = FitRequest(device="pixel6", task="ner", max_memory_mb=64, max_drop=0.0)
    assert budget_of(request, phone) == Budget(latency_ms=8.0, size_mb=12.0, memory_mb=64, drop_points=0.0)


def test_the_report_lists_the_limits() -> None:
    lines = dict(budget_lines(make_report()))
    assert lines["peak memory of runtime and file"] == "at most 200 MB"
    assert lines["latency, p50"] == "at most 8 ms on the device at 23 tokens, batch 1"


# ---------------------------------------------------------------- which single change would help


def changes(budget: Budget, candidates: tuple[Any, ...] = CANDIDATES) -> tuple[str, ...]:
    plan = Plan(candidates, budget, 12, 23)
    return single_changes(teacher(), [SMALL], plan, budget, device(budget))


def test_a_drop_that_is_too_large_names_the_points_and_a_larger_shape() -> None:
    """The teacher's dev is 0.9554, the int8 file's 0.9525: 0.29 points."""
    drop, larger = changes(Budget(drop_points=0.1, size_mb=8))
    assert drop.startswith("--max-drop 0.3 would admit 3-layers/onnx-int8 as it is: a drop of 0.29 points")
    assert larger.startswith("--max-size-mb 12.5 would let 6-layers be trained (12.5 MB, predicted 10.6 ms)")


def test_two_limits_at_once_are_no_single_change() -> None:
    assert changes(Budget(drop_points=0.1, size_mb=7)) == ()
    assert changes(Budget(drop_points=0.1, size_mb=8, latency_ms=8))[1:] == ()


def test_a_file_that_is_too_large_needs_no_training() -> None:
    (size,) = changes(Budget(size_mb=7))
    assert size.startswith("--max-size-mb 7.2 would admit 3-layers/onnx-int8 as it is: 7.1 MB.")
