"""The default recipe is chosen by short trials; where nothing keeps within the points, fit goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig

from edgebert.errors import RequestError
from edgebert.files import plain
from edgebert.runs.store import Stage
from edgebert.search.halving import Rung
from edgebert.teachers.fitting import TeacherRecord
from edgebert.types import Candidate, FitRequest, Latency, MethodCall, Parity, Plan, Recipe, Score
from edgebert.workflows import attempts, recipe_trials
from edgebert.workflows import request as job
from edgebert.workflows.recipe import recipe_text
from edgebert.workflows.records import FileRecord
from edgebert.workflows.request import EffortLevel, Fit, resolve
from edgebert.workflows.stages import RecipeRun, passes_of_light, teacher_stage, trained_config

SHORT = EffortLevel(1, 200, 400, trials=(Rung(6, 32), Rung(2, 64)), attempts=2)
RECIPE = Recipe((MethodCall("trim-vocab", {"size": 80}), MethodCall("drop-layers", {"n_layers": 2}), MethodCall("kd")))


@pytest.fixture
def toy_job(toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(job.EFFORTS, "standard", SHORT)
    created: list[Fit] = []

    def make(**options: Any) -> Fit:
        params = {"trim-vocab.floor": "20", **options.pop("params", {})}
        request = FitRequest(
            device="pixel6", task="ner", teacher=str(toy_checkpoint), data=(str(toy_data),), run=str(tmp_path / "run"),
            learning_rate=3e-3, formats=("onnx",), params=params, **options,
        )  # fmt: skip
        created.append(resolve(request, "", None))
        return created[-1]

    yield make
    for item in created:
        item.run.close()


def candidate(name: str = "L2-v80", recipe: Recipe = RECIPE, **more: Any) -> Candidate:
    latency = Latency("predicted", "pixel6", "onnxruntime", "", 1, 8, 1, 1.0)
    return Candidate(name, recipe, 2, 80, 1000, 4000, latency, True, True, "", **more)


def test_plain_fine_tuning_competes_and_comes_first(toy_job: Any) -> None:
    results = recipe_trials.training_alternatives(toy_job(), candidate())
    results = [item.recipe for item in results]
    assert results[0].calls[-1] == MethodCall("finetune", {})
    assert len({recipe_text(item) for item in results}) == len(results) > 2
    assert all(item.calls[:2] == RECIPE.calls[:2] for item in results)


def test_what_the_user_sets_is_left_alone(toy_job: Any) -> None:
    fixed = toy_job(params={"drop-layers.strategy": "bottom", "kd.temperature": "4"})
    assert recipe_trials.shape_alternatives(fixed, candidate()) == [candidate()]
    assert recipe_trials.training_alternatives(fixed, candidate()) == [candidate()]
    assert recipe_trials.choose_recipe(fixed, _plan(candidate()), _no_stage()).recipe == RECIPE


def test_a_recipe_that_the_user_names_is_not_tried(toy_job: Any) -> None:
    named = toy_job(recipe="trim-vocab+drop-layers+kd")
    assert recipe_trials.choose_recipe(named, _plan(candidate()), _no_stage()).table == ()


def test_too_few_development_rows_choose_nothing(toy_job: Any) -> None:
    """The toy has 40."""
    fit = toy_job()
    choice = recipe_trials.choose_recipe(fit, _plan(candidate()), _no_stage())
    assert choice.recipe.calls[2] == MethodCall("kd", {"hard_label_weight": 0.9, "replace": 0.0}) and choice.table == ()
    assert "40 development rows are too few" in (fit.run.folder / "events.jsonl").read_text()


def test_too_few_development_rows_leave_what_the_user_set(toy_job: Any) -> None:
    """The layers could still compete; the training is the user's."""
    choice = recipe_trials.choose_recipe(toy_job(params={"kd.temperature": "4"}), _plan(candidate()), _no_stage())
    assert choice.recipe == RECIPE


def test_the_trials_choose_the_best_by_development_rows_and_are_not_made_twice(
    toy_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def scripted(student: Any, task: Any, labels: Any, rows: Any, split: str, max_length: int, **_: Any) -> Score:
        seen.append(split)
        return Score("F1", 0.5 + len(seen) / 100, split, len(rows))  # whoever is tried later is better

    monkeypatch.setattr(recipe_trials, "evaluate", scripted)
    monkeypatch.setattr(recipe_trials, "LEAST_DEV_ROWS", 40)
    first = toy_job()
    teacher = teacher_stage(first)
    unread = dict(first.dataset.splits)
    del unread["test"]  # whoever read it would fail
    first.dataset = replace(first.dataset, splits=unread)
    choice = recipe_trials.choose_recipe(first, _plan(candidate()), teacher)
    n_trainings = len(recipe_trials.training_alternatives(first, candidate()))
    shapes, rest = choice.table[:2], choice.table[2:]
    assert [(line["what"], line["dev"], line["chosen"]) for line in shapes] == [
        ("layers", 0.51, False), ("layers", 0.52, True),
    ]  # fmt: skip
    assert [line["rows"] for line in rest] == [32] * n_trainings + [64, 64]
    control, winner = rest[-2:]
    assert control["recipe"].endswith("+finetune"), "the control is in the last round, worst as it was"
    assert winner["chosen"] and winner["recipe"] == recipe_text(choice.recipe) == rest[n_trainings - 1]["recipe"]
    assert "strategy=uniform" in winner["recipe"]
    plan = recipe_trials.with_choice(_plan(candidate(), candidate("L1", _layers(1))), choice, n_candidates=2)
    assert plan.candidates[1].recipe.calls[1].params == {"n_layers": 1, "strategy": "uniform"}
    assert [item.taken for item in recipe_trials.with_choice(plan, choice, n_candidates=1).candidates] == [True, False]
    assert recipe_trials.choose_recipe(first, _plan(candidate()), teacher) == choice
    trained = {(line["recipe"], line["rows"]) for line in choice.table}  # the layers that won are not trained twice
    assert len(seen) == len(trained) == len(choice.table) - 1 and set(seen) == {"dev"}


def test_a_training_ends_in_one_way(toy_job: Any) -> None:
    with pytest.raises(RequestError, match="Give one of the two"):
        toy_job(average_weights=0.1, early_stopping=2)


# ---------------------------------------------------------------- what comes when nothing keeps within the points


def test_longer_training_then_the_next_recipe_then_no_more(toy_job: Any) -> None:
    fit = toy_job(max_drop=1.0)
    others = (_layers(1), _layers(3))
    plan, models = _plan(candidate()), {"teacher": _stage(0.90), "L2-v80": _stage(0.85, seconds=30)}
    verified = {"L2-v80": _proved(0.84)}
    tried = []
    while further := attempts.next_attempt(fit, plan, models, verified, others):
        tried.append((further.name, further.epochs_factor, further.recipe.calls[1].params["n_layers"]))
        plan = replace(plan, candidates=(*plan.candidates, further))
        models[further.name], verified[further.name] = _stage(0.85), _proved(0.80)
    assert tried == [("L2-v80-longer", 2.0, 2), ("L2-v80-recipe2", 1.0, 1)]


def test_longer_training_that_helped_is_doubled_again(toy_job: Any) -> None:
    fit, longer = toy_job(max_drop=1.0), candidate("L2-v80-longer", epochs_factor=2.0, is_attempt=True)
    models = {"teacher": _stage(0.90), "L2-v80": _stage(0.80), "L2-v80-longer": _stage(0.85)}
    verified = {"L2-v80": _proved(0.80), "L2-v80-longer": _proved(0.85)}
    further = attempts.next_attempt(fit, _plan(candidate(), longer), models, verified, ())
    assert further is not None and (further.name, further.epochs_factor) == ("L2-v80-longer-longer", 4.0)


def test_a_file_within_the_points_ends_it(toy_job: Any) -> None:
    models = {"teacher": _stage(0.90), "L2-v80": _stage(0.89)}
    assert (
        attempts.next_attempt(toy_job(max_drop=1.0), _plan(candidate()), models, {"L2-v80": _proved(0.895)}, ()) is None
    )


def test_a_file_that_parity_rejected_counts_for_nothing() -> None:
    verified = {"a": _proved(0.95, failures=["differs"]), "b": _proved(0.80)}
    drop = attempts.smallest_drop(_stage(0.90), verified)
    assert drop is not None and drop[1] == "b" and drop[0] == pytest.approx(10)


def test_epochs_that_the_user_gave_are_not_doubled(toy_job: Any) -> None:
    models = {"teacher": _stage(0.90), "L2-v80": _stage(0.80)}
    assert attempts.next_attempt(toy_job(epochs=1, max_drop=1.0), _plan(candidate()), models, {"L2-v80": _proved(0.8)}, ()) is None  # fmt: skip


def _layers(n: int) -> Recipe:
    return Recipe((RECIPE.calls[0], MethodCall("drop-layers", {"n_layers": n}), RECIPE.calls[2]))


def _plan(*candidates: Candidate) -> Plan:
    from edgebert.types import Budget

    return Plan(candidates, Budget(), 8, 8)


def _stage(dev: float, seconds: float = 1.0) -> Stage:
    record = TeacherRecord(_score(dev), _score(dev), {}, 1, "")
    return Stage("teacher", "key", Path("nowhere"), plain(record), seconds, False)


def _score(value: float) -> Score:
    return Score("accuracy", value, "dev", 10)


def _proved(dev: float, failures: list[str] | None = None) -> Stage:
    def record(value: float, why: list[str]) -> FileRecord:
        parity = Parity(
            n_rows=10, max_logit_difference=0.0, nrmse=0.0, equal_predictions=1.0, edges={}, failures=tuple(why),
            score=_score(value), reference_score=_score(value),
        )  # fmt: skip
        return FileRecord(parity, _score(value), {})

    records = {"onnx-fp32": record(1.0, []), "onnx-int8": record(dev, failures or [])}
    return Stage("verify", "key", Path("nowhere"), plain(records), 1.0, False)


def _no_stage() -> Stage:
    return _stage(0.9)


def test_a_light_student_makes_more_passes_but_in_trials(toy_job: Any) -> None:
    light = candidate(recipe=Recipe((MethodCall("drop-layers", {"n_layers": 2}), MethodCall("finetune"))))

    def epochs(fit: Fit, **more: Any) -> float:
        return RecipeRun.of(fit, light, _no_stage(), **more).settings.epochs

    fit = toy_job()
    n_rows = len(fit.dataset.splits["train"])
    assert epochs(fit) == 2.5 * fit.level.epochs(fit.level.visits, n_rows)
    assert epochs(fit, visits=64) == 64 / n_rows
    fit.request = replace(fit.request, epochs=3)
    assert epochs(fit) == 3


def test_passes_follow_from_what_is_trained() -> None:
    """Three layers of MiniLM make those of --effort, two 1.4 times as many; of a BiLSTM it is what it is taught beside."""
    sizes = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522}
    config = BertConfig(num_hidden_layers=6, architectures=["BertForSequenceClassification"], num_labels=77, **sizes)

    def passes(*calls: MethodCall) -> float:
        return passes_of_light(trained_config(config, Recipe(calls)))

    layers = {n: passes(MethodCall("drop-layers", {"n_layers": n}), MethodCall("kd")) for n in (1, 2, 3, 4)}
    assert layers == {1: 2.5, 2: pytest.approx(1.43, abs=0.01), 3: 1.0, 4: 1.0}
    assert passes(MethodCall("bilstm")) == 1.0
