"""A slice of the fuzzer: damaged files are read, or refused with a message that names its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.reliability._fuzz_child import DAMAGE, generated, outcome
from benchmarks.reliability._fuzz_fixtures import make_fixtures, make_small_fixtures
from benchmarks.reliability._fuzz_targets import Reader, readers

WITH_MODELS = (
    "bundle: manifest.json",
    "bundle: labels.json",
    "bundle: golden.jsonl",
    "ONNX",
)  # and all of a format's own
N = 120


def needs_models(name: str) -> bool:
    return name in WITH_MODELS or name.startswith(("Core ML", "ExecuTorch", "OpenVINO", "TFLite"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_fixtures(tmp_path_factory.mktemp("fixtures"))


def ready(name: str, fixtures: Path, place: Path) -> tuple[Reader, Sequence[bytes]]:
    reader = readers()[name]
    reader.ready(fixtures, place)
    seeds = reader.seeds(fixtures)
    assert "read" in {outcome(reader, place, content) for content in seeds}
    return reader, seeds


def outcomes(name: str, fixtures: Path, place: Path, n: int) -> Counter[str]:
    reader, seeds = ready(name, fixtures, place)
    return Counter(
        outcome(reader, place, generated(reader, seeds, DAMAGE[reader.kind], 1, number)) for number in range(n)
    )


@pytest.mark.parametrize("name", [name for name in readers() if not needs_models(name)])
def test_damaged_files_are_read_or_refused(name: str, small: Path, tmp_path: Path) -> None:
    found = outcomes(name, small, tmp_path, N)
    both = {"read", "refused"} if name != "run: record.json" else {"read"}  # a damaged stage is listed as one
    assert found.keys() == both and min(found.values()) >= 1


@pytest.mark.slow
def test_damaged_models_and_bundles_are_read_or_refused(tmp_path: Path) -> None:
    fixtures = make_fixtures(tmp_path / "fixtures")
    for name in (name for name in readers() if needs_models(name)):
        (tmp_path / name).mkdir()
        found = outcomes(name, fixtures, tmp_path / name, 2 * N)
        assert found.keys() == {"read", "refused"} and min(found.values()) > 2, name
