"""`edgebert search`: what is judged, what is trained and packaged of it, and what is refused before anything is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import edgebert
from edgebert.cli import main
from edgebert.errors import BudgetError, RequestError, RunError, without_password
from edgebert.files import plain
from edgebert.methods._supernet import Subnetwork, grid
from edgebert.modeling.checkpoint import load_config
from edgebert.results import FitResult
from edgebert.search.storage import Place
from edgebert.search.study import Judgement, study
from edgebert.types import FitRequest
from edgebert.workflows.recipe import read_recipe
from edgebert.workflows.search_worker import _request
from edgebert.workflows.unchanged import fingerprint_now
from tests.conftest import conll
from tests.postgres import PASSWORD, Postgres, running

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


# ---------------------------------------------------------------- in a database


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.mark.slow
def test_a_worker_takes_part_and_no_file_has_the_password(
    toy_checkpoint: Path,
    toy_data: Path,
    tmp_path: Path,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first command is stopped, a worker judges what is left, and the same command goes on and packages."""
    monkeypatch.setattr("edgebert.workflows.search.TOLD_EVERY_S", 0.0)
    monkeypatch.setattr("edgebert.search.storage.GRACE_S", 0.2)
    runs, trials, url = tmp_path / "runs", 20, postgres.url
    request: dict[str, Any] = {
        "device": "pixel6", "teacher": str(toy_checkpoint), "data": str(toy_data), "run": str(runs / "main"), "study": url,
        "recipe": RECIPE, "search_trials": trials, "candidates": 1, "command": f"edgebert search --study {url}", **QUICK,
    }  # fmt: skip

    def stop(event: Mapping[str, Any]) -> None:
        if event.get("training") == "search" and event["step"] == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edgebert.fit(**request, on_event=stop)
    state = edgebert.api.search_state(url)
    assert (state.n_trials, state.n_done, state.workers) == (trials, 17, ()) and state.seconds_left is not None
    assert state.where.startswith("postgresql://edgebert:***@")

    with pytest.raises(RequestError, match=r"rows is \w+… there and \w+… here") as refused:
        other = tmp_path / "other"
        shutil.copytree(toy_data, other)
        (other / "dev.conll").write_text(conll(40, 9), encoding="utf-8")
        edgebert.api.search_worker(url, name="third", run=str(runs / "third"), data=(str(other),))
    assert PASSWORD not in str(refused.value) and not any((runs / "third" / "stages").iterdir())

    events: list[Mapping[str, Any]] = []
    done = edgebert.api.search_worker(url, name="second", run=str(runs / "second"), on_event=events.append)
    assert (done.worker, done.n_judged) == ("second", trials - 17)
    assert {event["stage"] for event in events if event["event"] == "linked"} == {
        "teacher",
        "answers",
        "shared-dynabert",
    }

    result = edgebert.fit(**request)
    assert result.bundle is not None and len(result.report.search) == done.n_networks
    assert result.report.command == f"edgebert search --study {url.replace(PASSWORD, '***')}"
    texts = [
        path
        for path in runs.rglob("*")
        if path.is_file() and path.suffix in {".toml", ".json", ".jsonl", ".html", ".md"}
    ]
    assert len(texts) > 10 and not any(PASSWORD.encode() in path.read_bytes() for path in texts)

    for where in (url, str(runs / "main")):
        with pytest.raises(SystemExit) as ended:
            main(["search", "best", where, "--recipe"])
        assert ended.value.code == 0
        best = tmp_path / "best.toml"
        best.write_text(capsys.readouterr().out, encoding="utf-8")
        candidate = result.report.students[0].candidate
        assert candidate is not None and plain(read_recipe(str(best))[0]) == plain(candidate.recipe)


def test_status_and_best_of_a_search_that_was_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = tmp_path / "runs" / "one" / "stages" / ".search-0.partial" / "work"
    recipe = [{"method": "dynabert", "params": {"width": 1.0}}, {"method": "cut", "params": {}}]
    facts = {"trials": 9, "recipe": recipe}
    fits = {3: 0.5, 2: 0.75}  # layers -> score

    def judge(cut: Subnetwork) -> Judgement:
        n = len(cut.layers)
        return Judgement(fits.get(n), n, 0.0 if n in fits else 1.0)

    def told(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["search", *arguments, "--root", str(tmp_path / "runs")])
        output = capsys.readouterr()
        return output.out if ended.value.code == 0 else output.err

    assert "unknown run 'one'" in told("status", "one")
    work.mkdir(parents=True)
    (work.parents[2] / "request.toml").write_text("", encoding="utf-8")
    assert "no search has begun in this run" in told("status", "one")
    wide = [Subnetwork(tuple(range(n)), (1.0,) * n) for n in (4, 3, 2)]
    study(4, judge, 1, Place(work), seed=0, first=wide, facts=facts)
    assert "1 of 9 trials" in (text := told("status", "one")) and "no network within the limits so far" in text
    assert "none of 1 networks is within the limits" in told("best", "one", "--recipe")
    study(4, judge, 3, Place(work), seed=0, first=wide, facts=facts)
    assert json.loads(told("best", "one", "--json")) == [{"layers": [0, 1], "widths": [1, 1], "dev": 0.75, "p50_ms": 2}]
    assert told("best", "one", "--recipe").splitlines() == [
        "# 75.00 on the development rows as it was cut, 2.00 ms predicted: the best of 3 networks.",
        "# Trained on as a student: edgebert fit --device … --recipe THIS-FILE.toml",
        "", "[[method]]", 'name = "dynabert"', "width = 1.0",
        "", "[[method]]", 'name = "cut"', "layers = [0, 1]", "widths = [1.0, 1.0]",
    ]  # fmt: skip


def test_a_study_cannot_have_a_worker_read_pickles() -> None:
    request = {"device": "pixel6", "task": "ner", "allow_pickle": True, "on": "ssh:somewhere", "run": "/theirs"}
    place = Place(url="sqlite:///x.db", worker="second")
    own = _request(place, {"request": request}, {})
    assert (own.allow_pickle, own.on, own.run, own.study) == (False, None, "runs/search-second", place.url)
    assert _request(place, {"request": request}, {"allow_pickle": True}).allow_pickle
    with pytest.raises(RunError, match="none of this edgebert"):
        _request(place, {"request": {"device": "pixel6", "task": "ner", "unheard": 1}}, {})


def test_a_database_without_a_search_is_refused(toy_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no network is judged"):
        edgebert.fit("pixel6", teacher=str(toy_checkpoint), run=str(tmp_path / "run"), study="sqlite:///x.db")


def test_the_url_of_a_study_is_recorded_nowhere() -> None:
    url = f"postgresql://me:{PASSWORD}@host/db"
    request = FitRequest("pixel6", "ner", recipe=RECIPE, search_trials=5, study=url)
    assert PASSWORD not in f"{request}{plain({'request': request})}{fingerprint_now(request)}"
    assert str(RequestError("wrong", where=url, hint="x")) == "postgresql://me:***@host/db: wrong\n  x"
    assert (
        without_password("a://me:p@ss:w@host b://h/c?sslpassword=x&user=y")
        == "a://me:***@host b://h/c?sslpassword=***&user=y"
    )
