"""The one training loop: what it learns, how it goes on after a kill, what it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

from edgebert.errors import EdgebertError
from edgebert.tasks import find_task
from edgebert.training.callbacks import Watch
from edgebert.training.loop import DistillationObjective, Objective, collate, train
from edgebert.training.run import passes_between_scores
from edgebert.types import Feature, Row, TrainSettings
from tests.conftest import make_tokenizer

SETTINGS = TrainSettings(epochs=4, batch_size=16, learning_rate=1e-3, seed=3, max_length=32)


class Killed(Exception):
    """Stands for SIGKILL where a test needs the process to live on."""


@pytest.fixture
def model(toy_labels: tuple[str, ...]) -> BertForTokenClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, num_labels=len(toy_labels),
    )  # fmt: skip
    return BertForTokenClassification(config)


@pytest.fixture
def features(toy_rows: list[Row], toy_labels: tuple[str, ...]) -> list[Feature]:
    return find_task("ner").encode(toy_rows, make_tokenizer(), toy_labels, 32)


@pytest.mark.parametrize("average", [0.0, 0.25])
def test_a_killed_training_goes_on_to_the_same_weights(
    average: float, model: Any, features: list[Feature], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, average=average)
    monkeypatch.setattr("edgebert.training.callbacks.SAVE_EPOCH_SECONDS", 0.0)
    whole, killed = copy.deepcopy(model), copy.deepcopy(model)
    train(Objective(whole), features, settings, tmp_path / "whole")

    def kill_after_two(**event: Any) -> None:
        if event["event"] == "epoch" and event["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        train(Objective(killed), features, settings, tmp_path / "killed", log=kill_after_two)
    (tmp_path / "killed" / "checkpoint-999").mkdir()  # as a kill in the middle of a save leaves it
    events: list[dict[str, Any]] = []
    again = copy.deepcopy(model)
    train(Objective(again), features, settings, tmp_path / "killed", log=lambda **event: events.append(event))
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [3, 4]
    assert next(event for event in events if event["event"] == "resume")["step"] == 12
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(whole.classifier.weight, model.classifier.weight)


def test_a_finished_training_is_loaded_not_repeated(model: Any, features: list[Feature], tmp_path: Path) -> None:
    first, second = copy.deepcopy(model), copy.deepcopy(model)
    train(Objective(first), features, SETTINGS, tmp_path)
    epochs: list[dict[str, Any]] = []
    train(
        Objective(second),
        features,
        SETTINGS,
        tmp_path,
        log=lambda **event: event["event"] == "epoch" and epochs.append(event),
    )
    assert epochs == []
    assert torch.equal(first.classifier.weight, second.classifier.weight)


def test_the_loop_does_what_a_bare_loop_does(model: Any, features: list[Feature], tmp_path: Path) -> None:
    """Same batches, same steps, no dropout: the weights agree with AdamW, clipping and decay written out."""
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    model = BertForTokenClassification(model.config)
    bare, ours = copy.deepcopy(model).train(), copy.deepcopy(model)
    few = features[:16]
    settings = TrainSettings(epochs=3, batch_size=16, learning_rate=1e-3, warmup=0.0, max_length=32)
    train(Objective(ours), few, settings, tmp_path)
    decay = [p for n, p in bare.named_parameters() if "bias" not in n and "LayerNorm" not in n]
    rest = [p for n, p in bare.named_parameters() if "bias" in n or "LayerNorm" in n]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    objective, batch = Objective(bare).train(), collate(few)
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (3 - step) / 3
        objective(**batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    for (name, a), b in zip(bare.named_parameters(), ours.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-5), name


def test_weights_that_are_not_finite_are_told(model: Any, features: list[Feature], tmp_path: Path) -> None:
    class Exploding(Objective):
        def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return super().loss(batch) * float("nan")

    with pytest.raises(EdgebertError, match="diverged"):
        train(Exploding(model), features, SETTINGS, tmp_path)


def test_the_average_is_that_of_the_last_weights(
    model: Any, features: list[Feature], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 steps, of which it reaches back a quarter: a <- a + (w - a) / 6, from the weights of the first step on."""
    weights: list[torch.Tensor] = []
    step_end = Watch.on_step_end

    def keep(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        weights.append(more["model"].student.classifier.weight.detach().clone())
        step_end(self, args, state, control, **more)

    monkeypatch.setattr(Watch, "on_step_end", keep)
    objective = Objective(model)
    train(objective, features, replace(SETTINGS, average=0.25), tmp_path)
    average = weights[0].clone()
    for newer in weights[1:]:
        average += (newer - average) / 6
    assert len(weights) == 24
    assert torch.allclose(objective.student.classifier.weight, average, atol=1e-6)
    assert not torch.allclose(weights[-1], average, atol=1e-4)


def test_a_training_that_gets_no_better_ends_with_its_best(model: Any, features: list[Feature], tmp_path: Path) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.65, 0.9])
    kept: list[torch.Tensor] = []

    def after_epoch() -> dict[str, Any]:
        kept.append(model.classifier.weight.detach().clone())
        return {"dev": next(scores)}

    settings = replace(SETTINGS, epochs=5, patience=2)
    train(Objective(model), features, settings, tmp_path, after_epoch=after_epoch)
    assert len(kept) == 4, "two scores below 0.7 end it"
    assert torch.equal(model.classifier.weight, kept[1]) and not torch.equal(kept[1], kept[3])
    again = copy.deepcopy(model)
    torch.nn.init.zeros_(again.classifier.weight)
    train(Objective(again), features, settings, tmp_path, after_epoch=after_epoch)
    assert len(kept) == 4 and torch.equal(again.classifier.weight, kept[1]), "it is not gone on with"


def test_nothing_to_train_on(model: Any, tmp_path: Path) -> None:
    with pytest.raises(EdgebertError, match="nothing to train on"):
        train(Objective(model), [], SETTINGS, tmp_path)


def test_the_teacher_reads_its_own_ids(model: Any) -> None:
    """A student's token 1 is the teacher's token 7: both must see the same token."""
    objective = DistillationObjective(model, model, teacher_ids=(0, 7, 5))
    objective.eval()
    batch = collate([Feature(0, (1, 2), (0, 0), (0, 1), (0, 0))])
    mapped = collate([Feature(0, (7, 5), (0, 0), (0, 1), (0, 0))])
    with torch.no_grad():
        expected = model(**{k: v for k, v in mapped.items() if k != "labels"}).logits
    assert torch.equal(objective.read_teacher(batch).logits, expected)


def test_the_teacher_is_neither_trained_nor_saved(model: Any) -> None:
    objective = DistillationObjective(model, copy.deepcopy(model), None)
    assert len(list(objective.parameters())) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("n_windows", "n_dev", "expected"), [(4470, 508, 1), (1600, 1000, 4), (200, 0, 1), (100, 100, 5)]
)
def test_scoring_on_the_way_costs_little(n_windows: int, n_dev: int, expected: int) -> None:
    """At least five rows are trained on for each that is scored."""
    assert passes_between_scores(n_windows, n_dev) == expected
