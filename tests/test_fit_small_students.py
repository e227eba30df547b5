"""Recipes of the smallest students through every stage on a toy teacher: fit, parity, bundle, check, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edgebert
from tests.conftest import conll
from tests.test_fit_tasks import classify, write

QUICK: dict[str, Any] = {
    "effort": "quick", "candidates": 1, "epochs": 3, "teacher_epochs": 4, "max_length": 32, "learning_rate": 3e-3,
    "max_drop": 100,
}  # fmt: skip
SMALL = {"trim-vocab.floor": 60}


def data(task: str, folder: Path) -> str:
    """The folder, with rows of the task in three splits."""
    for split, n, seed in (("train", 120, 1), ("dev", 40, 2), ("test", 40, 3)):
        if task == "classify":
            write(folder / f"{split}.jsonl", classify(n, seed))
        else:
            (folder / f"{split}.conll").write_text(conll(n, seed), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("method", "task", "format", "params"),
    [
        ("static", "classify", "onnx", {"static.width": 16, "static.rate": 0.01}),
        pytest.param(
            "conv",
            "ner",
            "tflite",
            {"conv.embedding_width": 16, "conv.hidden": 32, "conv.rate": 5e-3},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_recipe_goes_all_the_way(
    method: str, task: str, format: str, params: dict[str, Any], toy_checkpoint: Path, tmp_path: Path
) -> None:
    if format == "tflite":
        pytest.importorskip("litert_torch")
    (tmp_path / "data").mkdir()
    result = edgebert.fit(
        "pixel6", task, teacher=str(toy_checkpoint), data=data(task, tmp_path / "data"), run=str(tmp_path / "run"),
        recipe=f"trim-vocab+{method}", formats=(format,), params={**SMALL, **params}, **QUICK,
    )  # fmt: skip
    assert result.bundle is not None, result.report.failures
    (student,) = result.report.students
    assert student.name.startswith("L0-v" if method == "static" else "L3-v")
    assert [artifact.artifact.precision for artifact in student.artifacts] == ["fp32", "int8"]
    assert all(artifact.parity.failures == () for artifact in student.artifacts)
    assert all(
        artifact.parity.score.value > 0.6 for artifact in student.artifacts
    )  # half of the texts, or no entity, by chance
    edgebert.check(result.run)
    (answer,) = edgebert.predict(result.run, ["fly from aville to new bton"])
    assert answer[0]["label" if task == "classify" else "type"] == ("go" if task == "classify" else "CITY")
