"""Train on word embeddings that are disturbed against the student: adversarial training, several steps for the price of one.

Zhu, Cheng, Gan, Sun, Goldstein, Liu (2019), "FreeLB: Enhanced Adversarial Training for Natural Language Understanding", arXiv
1909.11764, algorithm 1. X are the word embeddings of a row, δ what is added to them, K the ascent steps:

    δ_0 = U(-ε₀, ε₀) / √N_δ            N_δ numbers in the row
    δ_t = Π(δ_{t-1} + α · g_t / ‖g_t‖_F),   g_t = ∇_δ L(X + δ_{t-1})      for t = 1 … K - 1
    θ moves by the mean over t = 1 … K of ∇_θ L(X + δ_{t-1})

Π projects each row's δ onto the ball ‖δ‖_F ≤ ε. All K passes of a batch drop the same neurons (section 3.3).

L is the loss on true labels; `hard_label_weight` below 1 gives the rest to the teacher's predictions on the undisturbed text, as in kd.

Differences: ε₀ is a parameter of its own (`start`), as in the authors' code. The K losses are kept and their mean is minimised
at once, which is the same gradient at K times the memory; the gradient for δ costs a backward pass of its own. Padding is not
disturbed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS, TEMPERATURE
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgebert.training.loop import Objective


def start_of(mask: Tensor, width: int, magnitude: float) -> Tensor:
    """δ_0, (batch, seq, width), 0 at padding.

    Args:
        mask: (batch, seq), true at real tokens.
    """
    import torch

    size = mask.sum(1)[:, None, None] * width
    noise = torch.rand(*mask.shape, width, device=mask.device) * 2 - 1
    return noise * mask[:, :, None] * magnitude / size**0.5


def ascend(delta: Tensor, gradient: Tensor, alpha: float, epsilon: float) -> Tensor:
    """Π(δ + α · g / ‖g‖_F), rows apart.

    Args:
        delta, gradient: (batch, seq, width).
    """
    gradient = gradient / gradient.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
    delta = delta + alpha * gradient
    norm = delta.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
    return delta * (epsilon / norm).clamp(max=1.0)


@contextmanager
def disturbed(table: nn.Module, ids: Tensor, delta: Tensor) -> Iterator[None]:
    """Within it, what the word table gives for the ids is δ more; XLNet reads them with the batch last."""
    import torch

    def more(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output + (delta if torch.equal(inputs[0], ids) else delta.transpose(0, 1))

    hook = table.register_forward_hook(more)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def same_draws(seed: int, device: int | None) -> Iterator[None]:
    """Within it, random numbers begin at the seed; afterwards they go on as if nothing had been drawn."""
    import torch

    with torch.random.fork_rng([] if device is None else [device]):
        torch.manual_seed(seed)
        yield


def freelb_objective(
    student: Student,
    context: MethodContext,
    steps: int,
    alpha: float,
    epsilon: float,
    start: float,
    hard_label_weight: float,
    temperature: float,
) -> Objective:
    """The mean loss over K disturbances, each worse for the student than the one before."""
    import torch

    from edgebert.training.heads import hard_loss, soft_loss
    from edgebert.training.loop import DistillationObjective

    class FreeLb(DistillationObjective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            ids, mask = batch[INPUT_IDS], batch[ATTENTION_MASK].bool()
            theirs = self.ask_teacher(batch) if hard_label_weight < 1 else {}
            table = self.student.get_input_embeddings()  # type: ignore[operator]
            delta, seed = start_of(mask, table.weight.shape[1], start), int(torch.randint(2**31, ()))
            losses: list[Tensor] = []
            for step in range(steps):
                delta.requires_grad_(True)
                with disturbed(table, ids, delta), same_draws(seed, ids.device.index):
                    losses.append(self.mixed(self.answer(batch), theirs, batch))
                if step < steps - 1:
                    (gradient,) = torch.autograd.grad(losses[-1], delta, retain_graph=True)
                    delta = ascend(delta.detach(), gradient.detach(), alpha, epsilon)
            return torch.stack(losses).mean()

        def mixed(self, ours: dict[str, Tensor], theirs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
            loss = hard_label_weight * hard_loss(self.student, ours, batch, self.weights)
            return (
                loss + (1 - hard_label_weight) * soft_loss(self.student, ours, theirs, batch, temperature)
                if theirs
                else loss
            )

    weights = context.task.class_weights(context.train, context.labels)
    return FreeLb(student.model, context.teacher, student.teacher_ids, weights)


def apply(
    student: Student,
    context: MethodContext,
    *,
    epochs: float,
    steps: int,
    alpha: float,
    epsilon: float,
    start: float,
    hard_label_weight: float,
    temperature: float,
) -> Student:
    """The student after adversarial training."""
    from edgebert.training.run import train_student

    objective = freelb_objective(student, context, steps, alpha, epsilon, start, hard_label_weight, temperature)
    train_student(objective, student, context, "freelb", epochs or context.settings.epochs)
    return student


METHOD = Method(
    name="freelb",
    title="Train on word embeddings disturbed against the student",
    paper=Paper(
        "FreeLB: Enhanced Adversarial Training for Natural Language Understanding",
        "Zhu, Cheng, Gan, Sun, Goldstein, Liu",
        2019,
        "1909.11764",
    ),
    stage="train",
    apply=apply,
    params=(
        EPOCHS,
        Param("steps", int, 3, "disturbances of a batch, each found from the one before", minimum=1),
        Param("alpha", float, 0.1, "length of a step of a row's disturbance", minimum=0),
        Param("epsilon", float, 0.3, "greatest length of a row's disturbance", minimum=0),
        Param("start", float, 0.05, "length of the first disturbance of a row, about", minimum=0),
        Param(
            "hard_label_weight",
            float,
            1.0,
            "weight of the true labels; the teacher's answers have the rest",
            minimum=0,
            maximum=1,
        ),
        TEMPERATURE,
    ),
    any_tokenizer=True,
    toy={"epochs": 1, "alpha": 0.01, "epsilon": 0.03, "start": 0.005},  # its embeddings are small
)
