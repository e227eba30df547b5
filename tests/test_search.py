"""`edgebert search`: what is judged, what is trained and packaged of it, and what is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edgebert
from edgebert.cli import main
from edgebert.errors import BudgetError, RequestError
from edgebert.methods._supernet import grid
from edgebert.modeling.checkpoint import load_config
from edgebert.results import FitResult

RECIPE = "dynabert+cut+kd"
QUICK: dict[str, Any] = {
    "effort": "quick", "epochs": 2, "teacher_epochs": 4, "max_length": 32, "learning_rate": 3e-3, "max_drop": 100,
    "formats": ("onnx",),
}  # fmt: skip


@pytest.fixture(scope="module")
def searched(toy_checkpoint: Path, toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return edgebert.fit(
        "pixel6", teacher=str(toy_checkpoint), data=str(toy_data), run=str(tmp_path_factory.mktemp("runs") / "run"),
        recipe=RECIPE, search_trials=30, candidates=2, **QUICK,
    )  # fmt: skip


def test_the_best_networks_are_trained_and_one_is_packaged(searched: FitResult) -> None:
    lines = searched.report.search
    assert 16 < len(lines) <= 30 and [(line.layers, line.widths) for line in lines[:16]] == [
        (cut.layers, cut.widths) for cut in grid(4)
    ]
    best = sorted((line for line in lines if line.on_front), key=lambda line: -(line.dev or 0))[:2]
    assert {line.layers for line in lines if line.taken} == {line.layers for line in best}
    assert len(searched.report.students) == sum(line.taken for line in lines) > 0
    for student in searched.report.students:
        assert student.candidate is not None
        params = next(call.params for call in student.candidate.recipe.calls if call.method == "cut")
        assert any(line.taken and [*line.widths] == [*params["widths"]] for line in lines)
        folder = next((searched.run / "stages").glob(f"*-compress-{student.name}-*"))
        assert load_config(folder).num_hidden_layers == student.n_layers == len(params["layers"])
    assert searched.bundle is not None and edgebert.check(searched.run)
    page = (searched.run / "report" / "index.html").read_text(encoding="utf-8")
    assert f"{len(lines)} networks cut out of one" in page
    assert sum(path.name.count("-shared-dynabert-") for path in (searched.run / "stages").iterdir()) == 1


def test_a_limit_holds_for_every_network_that_is_trained(
    searched: FitResult, toy_checkpoint: Path, toy_data: Path
) -> None:
    """In the same folder, so that the network is not trained again."""
    sizes = sorted(line.size_bytes for line in searched.report.search)
    limit = sizes[len(sizes) // 3] / 1e6
    events: list[dict[str, Any]] = []
    result = edgebert.fit(
        "pixel6", teacher=str(toy_checkpoint), data=str(toy_data), run=str(searched.run), recipe=RECIPE, search_trials=30,
        candidates=1, max_size_mb=limit, on_event=events.append, **QUICK,
    )  # fmt: skip
    assert "shared-dynabert" in [event["stage"] for event in events if event["event"] == "kept"]
    assert {line.dev is None for line in result.report.search if line.size_bytes > 1e6 * limit} == {True}
    assert all(line.size_bytes <= 1e6 * limit for line in result.report.search if line.taken)
    with pytest.raises(BudgetError, match="fits the budget"):
        edgebert.fit(
            "pixel6", teacher=str(toy_checkpoint), data=str(toy_data), run=str(searched.run), recipe=RECIPE,
            search_trials=30, max_size_mb=0.0001, **QUICK,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"recipe": "trim-vocab+drop-layers+kd"}, "this recipe does not do that"),
        ({"recipe": "cut+kd"}, "this recipe does not do that"),
        ({"recipe": RECIPE, "params": {"cut.width": "0.5"}}, r"cut\.width is set"),
        ({}, "this recipe does not do that"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, given: dict[str, Any], what: str
) -> None:
    with pytest.raises(RequestError, match=what):
        edgebert.fit(
            "pixel6", teacher=str(toy_checkpoint), data=str(toy_data), run=str(tmp_path / "run"), search_trials=5,
            **given, **QUICK,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_the_command_is_a_fit_with_these_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def fit(**given: Any) -> None:
        asked.append(given)
        raise RequestError("stop here")

    monkeypatch.setattr("edgebert.api.fit", fit)
    for more in ([], ["--search-trials", "7", "--recipe", "dynabert+cut"]):
        with pytest.raises(SystemExit):
            main(["search", "--device", "pixel6", *more])
    assert (asked[0]["recipe"], asked[0]["search_trials"]) == ("trim-vocab+dynabert+cut+kd", 200)
    assert (asked[1]["recipe"], asked[1]["search_trials"]) == ("dynabert+cut", 7)


def test_without_optuna_the_command_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch, toy_checkpoint: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("edgebert.workflows.recipe.is_installed", lambda module: module != "optuna")
    with pytest.raises(RequestError, match=r"edgebert\[search\]"):
        edgebert.fit("pixel6", teacher=str(toy_checkpoint), run=str(tmp_path / "run"), recipe=RECIPE, search_trials=5)
