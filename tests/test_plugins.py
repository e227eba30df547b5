"""A method with layers of its own, a head, a format, a target and a search strategy, each one file of tests/plugins, keep the contracts.

They are found by entry points, as those of another package are, and nothing else of edgebert knows them.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import edgebert
from edgebert.cli import main
from edgebert.converters import CONVERTERS
from edgebert.cost.analytic import count_parameters
from edgebert.measure.targets import TARGETS
from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import load_config, load_model, load_tokenizer, save_checkpoint
from edgebert.modeling.families import FAMILIES, families
from edgebert.modeling.heads import HEADS, parts_of
from edgebert.modeling.rebuild import auto_model_of
from edgebert.registry import Registry
from edgebert.search.strategies import STRATEGIES
from edgebert.tasks import find_task
from edgebert.teachers.fitting import new_head
from edgebert.training.heads import soft_loss
from edgebert.training.loop import DistillationObjective, Objective, collate
from edgebert.types import Budget, Row, Student
from tests import test_methods, test_plan, test_strategies
from tests.test_convert import save

PLUGINS: dict[str, tuple[Registry[Any], ...]] = {
    "toy_method": (METHODS, FAMILIES),
    "toy_head": (HEADS,),
    "toy_format": (CONVERTERS,),
    "toy_target": (TARGETS,),
    "toy_strategy": (STRATEGIES,),
}
METHOD_CONTRACT = (
    test_methods.test_declaration,
    test_methods.test_real_parameters_equal_the_predicted_ones,
    test_methods.test_the_teacher_is_not_touched,
    test_methods.test_the_same_seed_gives_the_same_weights,
    test_methods.test_save_and_load_give_the_same_outputs,
    test_methods.test_every_trainable_parameter_gets_a_gradient,
)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint(name, f"tests.plugins.{name}", registry.package)
        for name, registries in PLUGINS.items()
        for registry in registries
    ]
    monkeypatch.setattr("edgebert.registry.entry_points", lambda group: [p for p in points if p.group == group])
    for registry in {registry for registries in PLUGINS.values() for registry in registries}:
        monkeypatch.setattr(registry, "_loaded", None)


# ---------------------------------------------------------------- a method


@pytest.mark.parametrize("contract", METHOD_CONTRACT, ids=lambda test: test.__name__.removeprefix("test_"))
def test_the_method_keeps_the_contract(contract: Any, request: pytest.FixtureRequest) -> None:
    wanted = [name for name in inspect.signature(contract).parameters if name != "name"]
    contract("toy-method", **{name: request.getfixturevalue(name) for name in wanted})


def test_a_student_of_the_method_is_planned_trained_and_written(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path
) -> None:
    result = edgebert.compress(
        str(toy_checkpoint), "toy-method+kd", data=str(toy_data), output=str(tmp_path / "small"), epochs=1, teacher_epochs=1,
        params={"toy-method.n_layers": 2},
    )  # fmt: skip
    config = load_config(result.folder)
    assert config.model_type == "toy" and "toy" in families()
    assert result.n_parameters == count_parameters(config, auto_model_of(config))


# ---------------------------------------------------------------- a head


def with_toy_head(checkpoint: Path) -> Student:
    """The checkpoint under a new toy head, as a teacher of a task of that head would get it."""
    task: Any = SimpleNamespace(head="toy-head", model_settings=lambda labels: {})
    torch.manual_seed(0)
    auto_model, settings = new_head(checkpoint, task, ())
    model, whole = load_model(checkpoint, auto_model, (), settings=settings)
    assert not whole
    return Student(model, load_tokenizer(checkpoint))


def batch_of_amounts(rows: list[Row], student: Student) -> dict[str, torch.Tensor]:
    """Windows whose amount is their number of tokens."""
    features = find_task("ner").encode(rows[:16], student.tokenizer, (), 32)
    amounts = [np.float32(len(feature.input_ids)) for feature in features]
    return collate(
        [replace(item, labels=(), targets={"amount": amount}) for item, amount in zip(features, amounts, strict=True)]
    )


def test_the_head_is_trained_on_labels_and_on_a_teacher(toy_checkpoint: Path, toy_rows: list[Row]) -> None:
    teacher, student = with_toy_head(toy_checkpoint), with_toy_head(toy_checkpoint)
    batch = batch_of_amounts(toy_rows, student)
    steps = ((teacher, Objective(teacher.model)), (student, DistillationObjective(student.model, teacher.model, None)))
    for pupil, objective in steps:
        optimizer = torch.optim.Adam(pupil.model.parameters(), 0.01)
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            if isinstance(objective, DistillationObjective):
                loss = soft_loss(pupil.model, objective.answer(batch), objective.ask_teacher(batch), batch, 1.0)
            else:
                loss = objective.loss(batch)
            loss.backward()
            losses.append(float(loss.detach()))
            assert all(p.grad is not None for name, p in pupil.model.named_parameters() if "heads" in name)
            optimizer.step()
        assert losses[-1] < losses[0] / 2


def test_the_head_is_written_and_proven(toy_checkpoint: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model", with_toy_head(toy_checkpoint), toy_checkpoint)
    result = edgebert.convert(
        str(tmp_path / "model"), "onnx", precisions=("fp32", "int8"), output=str(tmp_path / "files")
    )
    assert result.exit_code == 0 and result.head == "several"
    for item in result.conversions:
        assert item.artifact is not None and item.comparison is not None and item.comparison.failures == ()
        (spec,) = CONVERTERS.get("onnx").open(item.artifact.path, 1).output_specs
        assert (spec.name, spec.per_token) == ("amount", False)
    (part,) = parts_of(load_config(tmp_path / "model"), "HeadedEncoder")
    assert (part.kind, part.specs) == ("toy-head", HEADS.get("toy-head").outputs)


# ---------------------------------------------------------------- a format


def test_the_format_is_written_and_proven(tmp_path: Path) -> None:
    tagger = save(tmp_path / "tagger", "token-classification")
    result = edgebert.convert(str(tagger), "toy-format", precisions=("fp32", "fp16"), output=str(tmp_path / "files"))
    assert result.exit_code == 0
    for item in result.conversions:
        assert item.artifact is not None and item.comparison is not None and item.comparison.failures == ()
        assert item.artifact.path == result.folder / "toy-format" / item.precision / "model.toy"
    fp32, fp16 = (item.comparison for item in result.conversions)
    assert fp32 and fp16 and fp32.max_logit_difference == 0 < fp16.max_logit_difference


# ---------------------------------------------------------------- a target


def test_the_target_measures_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tagger = save(tmp_path / "tagger", "token-classification")
    edgebert.convert(str(tagger), "onnx", precisions=("fp32",), output=str(tmp_path / "files"))
    file = tmp_path / "files" / "onnx" / "fp32" / "model.onnx"
    with pytest.raises(SystemExit) as end:
        main(["profile", str(file), "--on", "toy-target", "--length", "8", "--json", "--quiet"])
    assert end.value.code == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["target"] == "toy-target" and result["n_runs"] >= 50 and result["how"] == "measured"


# ---------------------------------------------------------------- a search strategy


@pytest.mark.parametrize("n", [1, 3, 100])
def test_the_strategy_keeps_the_contract(n: int) -> None:
    test_strategies.test_the_contract("toy-strategy", n)


def test_the_strategy_plans() -> None:
    plan = test_plan.plan_of(Budget(), n=2, strategy="toy-strategy")
    smallest = sorted(plan.candidates, key=lambda candidate: candidate.size_bytes)[:2]
    assert test_plan.taken(plan) == [candidate.name for candidate in smallest]
    assert test_plan.taken(plan) != test_plan.taken(test_plan.plan_of(Budget(), n=2))
