"""Replace groups of the teacher's layers by single layers of the student, at random, until all are replaced.

Xu, Zhou, Ge, Wei, Zhou (2020), "BERT-of-Theseus: Compressing BERT by Progressive Module Replacing", arXiv 2002.02925. The N
layers of the predecessor are cut into M groups; group i of them, prd_i, may be replaced by one successor layer scc_i:

    r_i ~ Bernoulli(p), drawn for each group and step
    y_i = r_i · scc_i(y_{i-1}) + (1 - r_i) · prd_i(y_{i-1})
    L   = the task's loss on the true labels, and nothing else
    p   = b (constant), or min(1, k·t + b) at step t (linear)          equation 6

While replacing, the predecessor, the embeddings and the head are frozen. Then the successors alone are fine-tuned, with
embeddings and head. Here b is `rate`, and k is such that p reaches 1 with the last step of replacing.

Where `n_layers` is given, the predecessor is the student as it comes, and the successors begin as its first M layers, as in
the paper. With 0 the student has its depth already, from drop-layers for one: its layers are the successors, as they come,
and the predecessor's are copied from the teacher.

Differences: N need not be a multiple of M; group i ends at layer round(i·N/M). `inner` is the share of the passes in which
layers are replaced, so that all passes together are as many as another method's.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._phases import learn_labels, n_steps
from edgebert.methods._prediction import EPOCHS
from edgebert.methods._replacing import put_groups, replacing_rate
from edgebert.methods._stack import check_stack, n_layers_param
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig

SCHEDULES = ("linear", "constant")


def replace_modules(
    student: Student, context: MethodContext, groups: Sequence[Any], schedule: str, rate: float, epochs: float
) -> None:
    """Trains the successors of a student whose layers are `groups`; all else of it stays as it is."""
    import torch

    from edgebert.training.loop import Objective
    from edgebert.training.run import train_student

    successors = [parameter for group in groups for parameter in group.successor.parameters()]
    others = {parameter for parameter in student.model.parameters() if parameter.requires_grad}.difference(successors)

    class Theseus(Objective):
        step: Tensor  # of a buffer, so that a training that was killed knows it

        def __init__(self, steps: int) -> None:
            super().__init__(student.model, context.task.class_weights(context.train, context.labels))
            self.steps = steps
            self.register_buffer("step", torch.zeros((), dtype=torch.long))

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            for group in groups:
                group.rate = replacing_rate(schedule, rate, int(self.step), self.steps)
            self.step += 1
            result = super().loss(batch)
            return result if result.requires_grad else result + 0.0 * successors[0].sum()  # nothing was replaced

    for parameter in others:
        parameter.requires_grad_(False)
    train_student(Theseus(n_steps(student, context, epochs)), student, context, "theseus-replacing", epochs)
    for parameter in others:
        parameter.requires_grad_(True)


def check(config: ModelConfig, teacher: ModelConfig, *, n_layers: int, **_: object) -> None:
    old, new = (config if n_layers else teacher).num_hidden_layers, n_layers or config.num_hidden_layers
    if new >= old:
        hint = "Ask for fewer layers, or put drop-layers before it."
        raise RequestError(f"{old} layers cannot be replaced by {new}", where="theseus.n_layers", hint=hint)
    if not n_layers and (config.model_type, config.hidden_size) != (teacher.model_type, teacher.hidden_size):
        what = (
            f"layers of {config.model_type}, {config.hidden_size} wide, cannot stand among those of "
            f"{teacher.model_type}, {teacher.hidden_size} wide"
        )
        raise RequestError(what, where="theseus", hint="Use it on a student of the teacher's family and width.")
    check_stack(config, "theseus")
    if not n_layers:
        _check_kinds(config, teacher)


def _check_kinds(config: ModelConfig, teacher: ModelConfig) -> None:
    """The teacher's layers run within the student: it must have all that the model gives to them, as the teacher has it."""
    from edgebert.modeling.layers import kinds_of

    hint = "Use kd, or a student with the teacher's own kinds of layers."
    if missing := set(kinds_of(teacher)).difference(kinds_of(config)):
        kinds = ", ".join(sorted(str(kind[0]) for kind in missing))
        what = f"the teacher's {kinds} layers cannot run in a student that has none"
        raise RequestError(what, where="theseus", hint=hint)
    for name in ("rope_parameters", "sliding_window", "position_buckets"):
        if getattr(config, name, None) != getattr(teacher, name, None):
            what = f"the teacher's layers cannot run in a student of another {name}"
            raise RequestError(what, where="theseus", hint=hint)


def apply(
    student: Student, context: MethodContext, *, n_layers: int, epochs: float, inner: float, schedule: str, rate: float
) -> Student:
    """The student of the successor layers."""
    from torch import nn

    from edgebert.modeling.layers import encoder_layers, kinds_of, replace_layers

    check(student.model.config, context.teacher.config, n_layers=n_layers)
    stack = list(encoder_layers(student.model))
    old = stack if n_layers else copy.deepcopy(list(encoder_layers(context.teacher)))
    new = copy.deepcopy(stack[:n_layers]) if n_layers else stack
    whole = epochs or context.settings.epochs
    for layer in old:
        layer.requires_grad_(False)
    config = copy.deepcopy(student.model.config)
    if inner:
        groups = put_groups(student.model, old, new, kinds_of(config if n_layers else context.teacher.config))
        replace_modules(student, context, groups, schedule, rate, inner * whole)
    replace_layers(student.model, nn.ModuleList(new), range(len(new)), config)
    if inner < 1:
        learn_labels(student, context, "theseus", (1 - inner) * whole)
    student.notes += (f"{len(old)} layers replaced by {len(new)}",)
    return student


def reshape(config: ModelConfig, *, n_layers: int, **_: object) -> ModelConfig:
    from edgebert.modeling.layers import keep_settings

    keep_settings(config, range(n_layers or config.num_hidden_layers))
    return config


METHOD = Method(
    name="theseus",
    title="Replace groups of layers by single ones, at random",
    paper=Paper(
        "BERT-of-Theseus: Compressing BERT by Progressive Module Replacing",
        "Xu, Zhou, Ge, Wei, Zhou",
        2020,
        "2002.02925",
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        n_layers_param("layers of the student; 0 takes those it has, to replace the teacher's"),
        EPOCHS,
        Param("inner", float, 0.5, "share of the passes in which layers are replaced", minimum=0, maximum=1),
        Param("schedule", str, "linear", "how the chance of replacing goes over the steps", choices=SCHEDULES),
        Param("rate", float, 0.5, "chance of replacing, at the first step where it grows", minimum=0, maximum=1),
    ),
    toy={"n_layers": 2, "epochs": 1, "inner": 0.2},
)
