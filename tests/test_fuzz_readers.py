"""A slice of the fuzzer: damaged files are read, or refused with a message that names its place."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.reliability.fuzz_readers import attempt


@pytest.mark.parametrize(("kind", "n"), [("data", 400), ("toml", 200)])
def test_damaged_files_are_read_or_refused(kind: str, n: int, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(n):
        folder = tmp_path / "rows"
        folder.mkdir()
        outcomes[attempt((kind, number), 1, folder).partition(": ")[2]] += 1
        shutil.rmtree(folder)
    assert outcomes.keys() == {"read", "refused"} and min(outcomes.values()) > n / 20
