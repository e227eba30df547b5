"""The one training loop: transformers.Trainer, fed with windows and an objective.

Resume, seeds, mixed precision and several processes come with the Trainer and accelerate. An objective is a module that
holds what is trained (the student, and projections where widths differ) and returns {"loss": scalar}.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from edgebert.devices.machine import usable_cores
from edgebert.distributed import is_main, wait_for_everyone, world_size
from edgebert.errors import EdgebertError
from edgebert.modeling.checkpoint import accepted
from edgebert.modeling.headed import answers
from edgebert.modeling.heads import is_per_token
from edgebert.modeling.losses import IGNORED
from edgebert.runtime.batching import pad_batch
from edgebert.runtime.quiet import quiet
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS
from edgebert.training.callbacks import EarlyStopping, Watch, WeightAverage
from edgebert.training.context import TracedPart
from edgebert.training.features import Trace, trace_hidden_states
from edgebert.training.heads import ANSWERED, hard_loss
from edgebert.training.losses import all_finite
from edgebert.types import Feature, TrainSettings

if TYPE_CHECKING:
    from torch.utils.data import Sampler
    from transformers.utils import ModelOutput


class Objective(nn.Module):
    """What a training step minimises. Subclasses implement `loss`; the base trains on the true labels.

    Args:
        student: the model that is trained.
        weights: of each label of a sequence head; () weighs them alike.
    """

    accepts_loss_kwargs = False  # the loss is a mean over the batch: the Trainer divides it when it accumulates

    def __init__(self, student: nn.Module, weights: Sequence[float] = ()) -> None:
        super().__init__()
        self.student, self.weights = student, tuple(weights)

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        return {"loss": self.loss(batch)}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Scalar loss of a batch of `collate`."""
        return hard_loss(self.student, self.answer(batch), batch, self.weights)

    def read_student(self, batch: dict[str, Tensor], **options: object) -> ModelOutput:
        """What the student returns for the batch."""
        return self.student(**accepted(self.student, batch), **options)

    def answer(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The student's outputs by name."""
        return answers(self.student, self.read_student(batch), batch[ATTENTION_MASK])

    def trace(self, batch: dict[str, Tensor], *wanted: TracedPart) -> Trace:
        """The student's outputs, hidden states, and what else is wanted."""
        return trace_hidden_states(self.student, batch, wanted)


class DistillationObjective(Objective):
    """An objective that also reads a teacher, which is neither trained nor saved.

    Args:
        student: the model that is trained.
        teacher: in eval mode, without gradients.
        teacher_ids: student token id -> teacher token id, where their vocabularies differ. The teacher then reads the
            student's own tokens, so that positions match one to one.
    """

    asks_once = False  # it reads no more of the teacher than its answers, which can be had before the training

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        teacher_ids: Sequence[int] | None,
        weights: Sequence[float] = (),
    ) -> None:
        super().__init__(student, weights)
        self._teacher = (teacher,)  # in a tuple, so that it is no submodule
        self._teacher_ids = None if teacher_ids is None else torch.tensor(list(teacher_ids))

    def read_teacher(self, batch: dict[str, Tensor], **options: object) -> ModelOutput:
        """What the teacher returns for the batch."""
        (teacher,) = self._teacher
        batch = self.as_teacher_reads(batch)
        with torch.no_grad():
            return teacher(**accepted(teacher, batch), **options)

    def as_teacher_reads(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with the teacher's token ids, and the teacher where the batch is."""
        (teacher,) = self._teacher
        ids = batch[INPUT_IDS]
        if next(teacher.parameters()).device != ids.device:
            teacher.to(ids.device)
        return batch if self._teacher_ids is None else {**batch, INPUT_IDS: self._teacher_ids.to(ids.device)[ids]}

    def ask_teacher(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The teacher's outputs by name: as it gave them beforehand, where its tokenizer is another."""
        if given := {name.removeprefix(ANSWERED): v for name, v in batch.items() if name.startswith(ANSWERED)}:
            return given
        (teacher,) = self._teacher
        return answers(teacher, self.read_teacher(batch), batch[ATTENTION_MASK])

    def trace_teacher(self, batch: dict[str, Tensor], *wanted: TracedPart) -> Trace:
        """The teacher's outputs, hidden states, and what else is wanted, without gradients."""
        (teacher,) = self._teacher
        with torch.no_grad():
            return trace_hidden_states(teacher, self.as_teacher_reads(batch), wanted)


Item = Feature | tuple[Feature, ...]  # what the loop draws: a window, or windows that must meet in one batch


def collate(items: Sequence[Item], pad_id: int = 0) -> dict[str, Tensor]:
    """`pad_batch` as tensors, and the targets of each head under `HEAD_NAME`, or `NAME` where there is one head.

    Token labels (batch, seq) are padded with IGNORED, a teacher's answers of a token each with 0. A row without a target
    that others have gets IGNORED, or NaN where the target is a float: shapes (batch,) or (batch, n).
    """
    features = [feature for item in items for feature in _windows(item)]
    batch = {name: torch.from_numpy(array) for name, array in pad_batch(features, pad_id).items()}
    for i, feature in enumerate(features):
        prefix = f"{feature.head}_" if feature.head else ""
        if feature.words and feature.labels:
            labels = batch.setdefault(f"{prefix}labels", torch.full_like(batch[INPUT_IDS], IGNORED))
            labels[i, : len(feature.labels)] = torch.tensor(feature.labels)
        for name, value in feature.targets.items():
            target = torch.as_tensor(value)
            if name.startswith(ANSWERED):  # of every head, whichever the row is for
                answers = batch.setdefault(name, _blank(name, target, batch[INPUT_IDS]))
                answers[i][: len(target)] = target
                continue
            empty = float("nan") if target.is_floating_point() else IGNORED
            rows = batch.setdefault(
                prefix + name, torch.full((len(features), *target.shape), empty, dtype=target.dtype)
            )
            rows[i] = target
    return batch


def _blank(name: str, answer: Tensor, ids: Tensor) -> Tensor:
    """Zeros for the batch's answers of one output; those of a token each are as long as the batch."""
    n = ids.shape[1] if is_per_token(name, answer.dim() + 1) else len(answer)
    return answer.new_zeros((len(ids), n, *answer.shape[1:]))


def _windows(item: Item) -> tuple[Feature, ...]:
    return item if isinstance(item, tuple) else (item,)


class _LengthTrainer(Trainer):
    """Groups windows of like length, so that little of a batch is padding."""

    def _get_train_sampler(self, train_dataset: object = None) -> Sampler[int]:
        from transformers.trainer_pt_utils import LengthGroupedSampler

        lengths = [max(len(window.input_ids) for window in _windows(item)) for item in self.train_dataset]
        return LengthGroupedSampler(self.args.train_batch_size, lengths=lengths)


def train(
    objective: Objective,
    features: Sequence[Item],
    settings: TrainSettings,
    work: Path,
    *,
    name: str = "training",
    pad_id: int = 0,
    log: Callable[..., None] = lambda **event: None,
    after_epoch: Callable[[], dict[str, object]] | None = None,
) -> None:
    """Minimises the objective over the features, in place, going on from `work` if it was interrupted.

    Args:
        objective: on return its student is on the CPU, in eval mode.
        features: windows with labels.
        settings: epochs, batch size a process, peak learning rate with linear warm-up and decay, seed; an average of the
            weights, or an early end by the `dev` of `after_epoch` (in one process; several train to the end).
        work: checkpoints; the caller deletes it when it has kept the result.
        name: what the progress calls this training.
        pad_id: token id of padding.
        log: told of steps and epochs.
        after_epoch: facts to log after each epoch, such as the score on development rows.

    Raises:
        EdgebertError: no features, or the weights became NaN or infinite.
    """
    if not features:
        raise EdgebertError(f"nothing to train on in {name}")
    if usable_cores() < torch.get_num_threads():  # a container's quota, which torch does not read
        torch.set_num_threads(usable_cores())
    watch = Watch(log, name, after_epoch, by_time=world_size() == 1)
    callbacks: list[TrainerCallback] = [watch]
    best = average = None
    if settings.average:
        callbacks.append(average := WeightAverage(objective, settings.average * _steps(settings, len(features))))
    if settings.patience and after_epoch and world_size() == 1:
        callbacks.append(best := EarlyStopping(objective.student, watch, settings.patience, work))
    with quiet("transformers"):
        trainer = _LengthTrainer(
            model=objective.train(),
            args=_arguments(settings, len(features), work),
            train_dataset=list(features),
            data_collator=lambda rows: collate(rows, pad_id),
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        if not (best and best.is_over):  # it was killed after its early end
            trainer.train(resume_from_checkpoint=_last_checkpoint(work, log))
    objective.to("cpu").eval()
    for kept in (average, best):
        if kept:
            kept.restore()
    if not all_finite(list(objective.student.parameters())):
        raise EdgebertError(f"{name} diverged: weights are not finite", hint="Try a lower --learning-rate.")


def _steps(settings: TrainSettings, n_features: int) -> float:
    return -(-n_features // (settings.batch_size * world_size())) * settings.epochs


def _arguments(settings: TrainSettings, n_features: int, work: Path) -> TrainingArguments:
    steps = _steps(settings, n_features)
    return TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=round(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        seed=settings.seed,
        use_cpu=not torch.cuda.is_available(),  # which bf16 wants to be told
        bf16=settings.mixed_precision == "bf16",
        fp16=settings.mixed_precision == "fp16",
        save_strategy="no",  # _Watch says when
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _last_checkpoint(work: Path, log: Callable[..., None]) -> str | None:
    """The newest checkpoint that was written to its end. Others are deleted; the training goes on from before them."""
    whole: list[tuple[int, Path]] = []
    for folder in work.glob("checkpoint-*"):
        if (step := _step_of(folder)) is not None:
            whole.append((step, folder))
        elif is_main():
            log(event="note", text=f"{folder.name} was cut short: the training goes on from an earlier step")
            shutil.rmtree(folder, ignore_errors=True)
    wait_for_everyone()
    return str(max(whole)[1]) if whole else None


def _step_of(folder: Path) -> int | None:
    """The step of a checkpoint whose files are all whole: the Trainer writes trainer_state.json last."""
    from safetensors import SafetensorError, safe_open

    try:
        step = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
        for path in folder.iterdir():
            if path.suffix == ".safetensors":
                with safe_open(path, framework="np"):
                    pass
            if path.suffix in (".pt", ".pth", ".bin") and path.name != "training_args.bin":
                with zipfile.ZipFile(path) as archive:  # as torch.save writes them, with checksums
                    if archive.testzip():
                        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError, zipfile.BadZipFile):
        return None
    return step if isinstance(step, int) else None
