"""Leave out whole layers at random in training, so that some can be cut away afterwards.

Fan, Grave, Joulin (2019), "Reducing Transformer Depth on Demand with Structured Dropout", arXiv 1909.11556. In training each
layer is left out with probability p (`rate`, 0.2 in the paper), drawn for each layer and batch:

    h_d = h_{d-1} with probability p, else layer_d(h_{d-1})

Afterwards "every other" layer goes (section 3.2): of N layers those at depth d, counted from 1, with d ≡ 0 mod ⌊1/q⌋, where
q = 1 - M/N is the share to cut, so that M layers stay.

What is minimised is that of kd: (1 - hard_label_weight) · T² · CE with the teacher's predictions + hard_label_weight · CE with the true labels. The
paper fine-tunes on labels alone (`hard_label_weight` 1); the teacher's answers keep this comparable with the other methods.

Differences: where that rule does not leave M layers, those kept are at ⌊i·N/M⌋ for i = 0 … M-1, counted from 0, which is the
same rule wherever N·q layers are its multiples. After the cut the student may be trained on, for the rest of the passes
beyond `inner`; 1 is the paper, which trains before the cut alone, and which also pretrains with layers left out. A layer that
is left out still runs and its result is thrown away, so that any family's layers serve: no time is saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS, HARD, TEMPERATURE, learn_predictions
from edgebert.methods._stack import check_stack, n_layers_param, with_hidden
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgebert.methods._stack import LayerOutput
    from edgebert.modeling.config import ModelConfig


def every_other(n_old: int, n_new: int) -> tuple[int, ...]:
    """Indices from 0 of the layers that stay."""
    return tuple(i * n_old // n_new for i in range(n_new))


def droppable(layer: nn.Module, rate: float) -> nn.Module:
    """A layer that in training gives back what it was given, with probability `rate`."""
    import torch
    from torch import nn

    class Droppable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        @property
        def attention_type(self) -> str:  # by which ModernBERT gives a layer its mask and rotary base
            return str(self.layer.attention_type)

        def forward(self, hidden: Tensor, *args: object, **kwargs: object) -> LayerOutput:
            returned = self.layer(hidden, *args, **kwargs)
            dropped = self.training and float(torch.rand(())) < rate
            return with_hidden(returned, hidden) if dropped else returned

    return Droppable()


def check(config: ModelConfig, teacher: ModelConfig, *, n_layers: int, **_: object) -> None:
    if n_layers > config.num_hidden_layers:
        what = f"{n_layers} layers cannot be kept of {config.num_hidden_layers}"
        raise RequestError(what, where="layerdrop.n_layers")
    check_stack(config, "layerdrop")


def apply(
    student: Student,
    context: MethodContext,
    *,
    n_layers: int,
    rate: float,
    epochs: float,
    inner: float,
    temperature: float,
    hard_label_weight: float,
) -> Student:
    """The student with the layers that stay."""
    from torch import nn

    from edgebert.modeling.layers import encoder_layers, keep_layers, replace_layers

    check(student.model.config, context.teacher.config, n_layers=n_layers)
    layers = list(encoder_layers(student.model))
    whole = epochs or context.settings.epochs
    if inner:
        replace_layers(student.model, nn.ModuleList(droppable(layer, rate) for layer in layers), range(len(layers)))
        learn_predictions(
            student, context, "layerdrop", inner * whole, temperature=temperature, hard_label_weight=hard_label_weight
        )
        replace_layers(student.model, nn.ModuleList(layers), range(len(layers)))
    keep = every_other(len(layers), n_layers or len(layers))
    keep_layers(student.model, keep)
    if inner < 1:
        name = "layerdrop-after"
        learn_predictions(
            student, context, name, (1 - inner) * whole, temperature=temperature, hard_label_weight=hard_label_weight
        )
    student.notes += (f"kept layers {', '.join(str(i + 1) for i in keep)} of {len(layers)}",)
    return student


def reshape(config: ModelConfig, *, n_layers: int, **_: object) -> ModelConfig:
    from edgebert.modeling.layers import keep_settings

    depth = config.num_hidden_layers
    keep_settings(config, every_other(depth, n_layers or depth))
    return config


METHOD = Method(
    name="layerdrop",
    title="Leave layers out at random in training, then cut some away",
    paper=Paper(
        "Reducing Transformer Depth on Demand with Structured Dropout", "Fan, Grave, Joulin", 2019, "1909.11556"
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        n_layers_param("layers to keep; 0 keeps all"),
        Param("rate", float, 0.2, "chance of a layer to be left out", minimum=0, maximum=1),
        EPOCHS,
        Param("inner", float, 0.6, "share of the passes before layers are cut away", minimum=0, maximum=1),
        TEMPERATURE,
        HARD,
    ),
    any_tokenizer=True,
    toy={"n_layers": 2, "epochs": 1},
)
