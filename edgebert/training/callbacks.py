"""What happens beside the steps of a training: progress, saves, an average of the weights, an early end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_model, save_model
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState

from edgebert.distributed import is_main
from edgebert.files import write_atomic

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from edgebert.training.loop import Objective

SAVE_EVERY_SECONDS = 60.0
SAVE_EPOCH_SECONDS = 10.0  # after an epoch, where the last save is at least as old


class Watch(TrainerCallback):
    """Saves now and then and at the end, logs progress, and scores after epochs."""

    def __init__(
        self, log: Callable[..., None], name: str, after_epoch: Callable[[], dict[str, object]] | None, by_time: bool
    ) -> None:
        self.log_event, self.name, self.after_epoch, self.by_time = log, name, after_epoch, by_time
        self.started = self.saved = self.logged = time.monotonic()
        self.facts: dict[str, object] = {}  # of the last epoch

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self.first_step = state.global_step
        self.started = self.saved = time.monotonic()
        if state.global_step:
            self.log_event(event="resume", training=self.name, step=state.global_step, steps=state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        moment = time.monotonic()
        if self.by_time and moment - self.saved > SAVE_EVERY_SECONDS:
            control.should_save, self.saved = True, moment
        if moment - self.logged > 2:
            self.logged = moment
            self.log_event(event="step", training=self.name, step=state.global_step, steps=state.max_steps)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        moment = time.monotonic()
        if state.global_step >= state.max_steps or not self.by_time or moment - self.saved > SAVE_EPOCH_SECONDS:
            control.should_save, self.saved = True, moment
        facts = self.facts = self.after_epoch() if self.after_epoch and is_main() else {}
        seconds = round(time.monotonic() - self.started, 1)
        epoch, epochs = round(state.epoch or 0, 2), round(args.num_train_epochs, 2)
        facts = {"epoch": epoch, "epochs": epochs, "seconds": seconds, "step": state.global_step, **facts}
        self.log_event(event="epoch", training=self.name, **facts)


class WeightAverage(TrainerCallback):
    """An exponential moving average of the student's weights, which the training ends with.

    Polyak, Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging"; the decay of a step is 1 - 1 / n, so
    that the last n steps make up 63 % of it. It is a part of the objective, so that it is saved and resumed with it.

    Args:
        objective: whose `student` is averaged.
        n_steps: that the average reaches back.
    """

    def __init__(self, objective: Objective, n_steps: float) -> None:
        decay = 1 - 1 / max(1.0, n_steps)
        self.objective = objective
        self.average = AveragedModel(objective.student, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.average.requires_grad_(False)
        objective.average = self.average

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        self.average.update_parameters(self.objective.student)

    def restore(self) -> None:
        """The student gets the average."""
        self.objective.student.load_state_dict(self.average.module.state_dict())


class EarlyStopping(TrainerCallback):
    """Ends a training whose development score has not risen for `patience` scores, and keeps the best one's weights."""

    def __init__(self, student: nn.Module, watch: Watch, patience: int, work: Path) -> None:
        self.student, self.watch, self.patience = student, watch, patience
        self.weights, self.record = work / "best.safetensors", work / "best.json"

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if not isinstance(score := self.watch.facts.get("dev"), int | float):
            return
        best, since = self._read()
        if score > best:
            save_model(self.student, str(self.weights))
            best, since = score, 0
        else:
            since += 1
        write_atomic(self.record, json.dumps([best, since]))
        if since >= self.patience:
            self.watch.log_event(event="note", text=f"{self.watch.name}: no better for {since} scores, so it ends here")
            control.should_training_stop = control.should_save = True

    @property
    def is_over(self) -> bool:
        return self._read()[1] >= self.patience

    def restore(self) -> None:
        """The student gets the weights of the best score."""
        if self.weights.exists():
            load_model(self.student, str(self.weights))

    def _read(self) -> tuple[float, int]:
        if not self.record.exists():
            return float("-inf"), 0
        best, since = json.loads(self.record.read_text(encoding="utf-8"))
        return best, since
