"""Training that imitates few bits: `prepare` puts rounding into a model, `convert` takes it out and keeps weights and ranges.

Jacob et al. (2018), "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", arXiv
1712.05877, section 3: in a forward pass each number is rounded to its steps and stays a float. The gradient passes as if
nothing had been rounded (the straight-through estimator, Bengio, Léonard, Courville 2013, arXiv 1308.3432).

A linear layer has a scale for each output and one for what it reads, an embedding table one for each row:

    w ≈ s · q,  q = clip(round(w / s), -m, m),  s = max|row of w| / m,  m = 2^(bits-1) - 1

What a layer reads reaches from -m - 1, which is where runtimes saturate. Every scale is the next number of float16 from there
up, so that files which compute in half precision have the same scales as others.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebert.errors import TeacherError
from edgebert.quantization.spec import FILE, QuantSpec, TensorSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OFF_GRID = 1e-3  # of a step: so far float32 leaves s · q, and no weight that was not rounded comes so near by chance


@dataclass(frozen=True)
class FakeQuantization:
    """What a training imitates.

    Attributes:
        weight_bits, activation_bits: 2 to 16.
        ranges: how far what a layer reads may reach: `ema`, an exponential moving average of each batch's largest number;
            `learned`, trained with the weights.
        momentum: of the average, 0 to 1; the paper does not say its own.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    ranges: Literal["ema", "learned"] = "ema"
    momentum: float = 0.99


# ---------------------------------------------------------------- rounding


def row_scales(weight: Tensor, bits: int) -> Tensor:
    """(rows, 1) of a weight (rows, width): the step at which each row's largest number is about the greatest that is stored."""
    largest = weight.detach().abs().amax(-1, keepdim=True)
    return torch.where(largest > 0, in_half(largest / (2 ** (bits - 1) - 1)), torch.ones_like(largest))


def in_half(scale: Tensor) -> Tensor:
    """The least numbers of float16 that are no smaller, (…) above 0, as float32."""
    half = scale.detach().half()
    above = (half.view(torch.int16) + 1).view(torch.float16)  # the next one, of numbers above 0
    return torch.where(half.float() < scale, above, half).float()


def rounded_rows(weight: Tensor, bits: int) -> Tensor:
    """(rows, width) with each row on its steps; the gradient passes as it is."""
    top, scale = 2 ** (bits - 1) - 1, row_scales(weight, bits)
    return straight_through(weight, (weight / scale).round().clamp(-top, top) * scale)


def straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    """The rounded values, with the gradient of the others."""
    return values + (rounded - values).detach()


def limits(how: TensorSpec) -> tuple[int, int]:
    """The least and the greatest number of what a layer reads: -128 and 127 of 8 symmetric bits."""
    low, high = how.range
    return (low - 1, high) if how.symmetric else (low, high)


def quantized(values: Tensor, how: TensorSpec) -> Tensor:
    """What a runtime computes with in place of the values, (…): round(x / scale), clipped, times scale."""
    scale, zero = values.new_tensor(how.scale[0]), how.zero_point[0] if how.zero_point else 0
    return ((values / scale).round() + zero).clamp(*limits(how)).sub(zero) * scale


# ---------------------------------------------------------------- modules that training puts in


class _Average(nn.Module):
    """Rounds what a layer reads by a range that follows the largest number of each batch (Q8BERT, section 2.1)."""

    def __init__(self, config: FakeQuantization) -> None:
        super().__init__()
        self.momentum, self.bits = config.momentum, config.activation_bits
        self.largest: Tensor
        self.register_buffer("largest", torch.zeros(()))  # 0 until something was read

    def forward(self, values: Tensor) -> Tensor:
        values = values.float()
        if self.training:
            new = values.detach().abs().amax()
            self.largest = torch.where(self.largest > 0, self.momentum * self.largest + (1 - self.momentum) * new, new)
        top = 2 ** (self.bits - 1) - 1
        scale = in_half(self.largest / top)
        steps = (values / scale).round().clamp(-top - 1, top) * scale
        return straight_through(values, torch.where(scale > 0, steps, values))

    @property
    def scale(self) -> float:
        return float(in_half(self.largest / (2 ** (self.bits - 1) - 1)))


class _Learned(nn.Module):
    """Rounds what a layer reads by a step that is trained (Esser et al. 2020, "Learned Step Size Quantization", arXiv
    1902.08153, equations 1 to 3, and section 2.2: its gradient is divided by √(n · m) for n numbers)."""

    def __init__(self, config: FakeQuantization) -> None:
        super().__init__()
        self.bits = config.activation_bits
        self.step = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        values, top = values.float(), 2 ** (self.bits - 1) - 1
        if self.training and not self.step.detach():
            with torch.no_grad():  # the paper's own start, 2 · mean|x| / √m, is meant for fewer bits
                self.step.copy_(values.abs().amax() / top)
        if not self.step.detach():
            return values
        part = 1 / math.sqrt(values.numel() * top)
        step = (part * self.step + ((1 - part) * self.step).detach()).abs()
        step = straight_through(step, in_half(step))
        return straight_through(places := (values / step).clamp(-top - 1, top), places.round()) * step

    @property
    def scale(self) -> float:
        return float(in_half(self.step.abs()))


class _Linear(nn.Linear):
    """A linear layer that reads and multiplies rounded numbers. Its parameters are those of `plain`, under their names."""

    def __init__(self, plain: nn.Linear, config: FakeQuantization) -> None:
        super().__init__(plain.in_features, plain.out_features, plain.bias is not None, device="meta")
        self.weight, self.bias, self.bits = plain.weight, plain.bias, config.weight_bits
        self.inputs: _Average | _Learned = _Average(config) if config.ranges == "ema" else _Learned(config)
        self.train(plain.training)

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(self.inputs(values), rounded_rows(self.weight, self.bits), self.bias)


class _Embedding(nn.Embedding):
    """A table of which rows are read rounded."""

    def __init__(self, plain: nn.Embedding, config: FakeQuantization) -> None:
        super().__init__(plain.num_embeddings, plain.embedding_dim, plain.padding_idx, device="meta")
        self.weight, self.bits = plain.weight, config.weight_bits
        self.train(plain.training)

    def forward(self, ids: Tensor) -> Tensor:
        return rounded_rows(super().forward(ids), self.bits)


_PREPARED: dict[type[nn.Module], Any] = {nn.Linear: _Linear, nn.Embedding: _Embedding}


def why_not(model: nn.Module) -> str:
    """Why a model's weights cannot be trained in few bits, "" where they can."""
    served = {id(module.weight) for module in model.modules() if type(module) in _PREPARED}
    for name, module in model.named_modules():
        if any(weight.dim() > 1 and id(weight) not in served for weight in module.parameters(recurse=False)):
            return f"linear layers and embeddings are quantized, and {name} ({type(module).__name__}) is neither"
    return ""


def prepare(model: nn.Module, config: FakeQuantization) -> None:
    """Puts rounding into the linear layers and embeddings, in place. Parameters keep their names and values."""
    _replace(model, lambda module: _PREPARED[type(module)](module, config) if type(module) in _PREPARED else None)


def convert(model: nn.Module) -> QuantSpec:
    """Takes out what `prepare` put in, in place: weights are what they were rounded to. Layers that never read anything stay
    as they are.

    Returns:
        The scales of weights and of what layers read.
    """
    weights, activations = {}, {}
    for name, module in model.named_modules():
        if isinstance(module, _Linear):
            if not module.inputs.scale:
                continue
            how = TensorSpec(module.inputs.bits, "tensor", scale=(module.inputs.scale,))
            activations[name] = how
        elif not isinstance(module, _Embedding):
            continue
        scale = row_scales(module.weight, module.bits)
        weights[f"{name}.weight"] = TensorSpec(module.bits, "channel", scale=tuple(scale.flatten().tolist()))
        with torch.no_grad():
            top = 2 ** (module.bits - 1) - 1
            module.weight.copy_((module.weight / scale).round().clamp(-top, top) * scale)
    _replace(model, _plain)
    return QuantSpec(weights, activations)


def _plain(module: nn.Module) -> nn.Module | None:
    plain: Any
    if isinstance(module, _Linear):
        plain = nn.Linear(module.in_features, module.out_features, module.bias is not None, device="meta")
        plain.bias = module.bias
    elif isinstance(module, _Embedding):
        plain = nn.Embedding(module.num_embeddings, module.embedding_dim, module.padding_idx, device="meta")
    else:
        return None
    plain.weight = module.weight
    return cast("nn.Module", plain.train(module.training))


def _replace(model: nn.Module, new: Any) -> None:
    """Each module for which `new` gives another, in every place where it stands."""
    created: dict[nn.Module, nn.Module | None] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is None:
                continue
            if child not in created:
                created[child] = new(child)
            if (other := created[child]) is not None:
                parent._modules[name] = other


# ---------------------------------------------------------------- a model that computes with its spec


def fake_quantized(model: PreTrainedModel, spec: QuantSpec) -> PreTrainedModel:
    """A copy of a model whose layers read what a file in these bits computes with: the reference of such a file.

    Raises:
        TeacherError: the spec is not this model's.
    """
    check_spec(model, spec)
    copied = copy.deepcopy(model)
    for name, how in spec.activations.items():
        copied.get_submodule(name).register_forward_pre_hook(_reading(how))
    return copied


def _reading(how: TensorSpec) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (quantized(inputs[0], how), *inputs[1:])

    return hook


def check_spec(model: nn.Module, spec: QuantSpec) -> None:
    """Raises TeacherError where the spec names what the model does not have, or the weights are not whole numbers of its
    steps."""
    if why := next(_mistakes(model, spec), ""):
        hint = (
            "It was damaged, or belongs to other weights: make the checkpoint again, or delete it to leave scales open."
        )
        raise TeacherError(why, where=FILE, hint=hint)


def _mistakes(model: nn.Module, spec: QuantSpec) -> Iterator[str]:
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    for name, how in spec.activations.items():
        if not isinstance(modules.get(name), nn.Linear):
            yield f"it tells what {name} reads, and the model has no such layer"
        elif how.granularity != "tensor" or len(how.scale) != 1:
            yield f"what {name} reads has {len(how.scale)} scales, and one is needed"
        elif f"{name}.weight" not in spec.weights:
            yield f"it tells what {name} reads, and not how its weights are stored"
    for name, how in spec.weights.items():
        if name not in parameters:
            yield f"it tells how {name} is stored, and the model has no such weight"
        elif how.granularity == "channel" and how.scale:
            yield from _off_grid(name, parameters[name].detach(), how)


def _off_grid(name: str, weight: Tensor, how: TensorSpec) -> Iterator[str]:
    if len(how.scale) != len(weight):
        yield f"{name} has {len(weight)} rows and {len(how.scale)} scales"
        return
    low, high = how.range
    zero = torch.tensor(how.zero_point or [0]).view(-1, *[1] * (weight.dim() - 1))
    places = weight / torch.tensor(how.scale).view(-1, *[1] * (weight.dim() - 1)) + zero
    wrong = ((places - places.round()).abs() > OFF_GRID) | (places < low - OFF_GRID) | (places > high + OFF_GRID)
    if rows := int(wrong.flatten(1).any(1).sum()):
        yield f"{name} has {rows} rows that are no whole numbers of its scales"
