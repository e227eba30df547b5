"""Activations in 8 bits: ranges from real rows in torch, and a pair of quantize and dequantize before each layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgebert.errors import EdgebertError, RequestError
from edgebert.runtime.session import Source
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgebert.runtime.session import Batch

BINS = 1024
LEVELS = 127  # symmetric: zero stays zero, and the Neural Engine multiplies without offsets


def encoder_layers(source: Source) -> dict[str, nn.Module]:
    """The layers whose inputs go to 8 bits, by name: those in the encoder's stack. Embedding, pooler and head stay.

    Raises:
        EdgebertError: the family has none.
    """
    from torch import nn

    stacks = [name for name, module in source.graph.named_modules() if isinstance(module, nn.ModuleList)]
    inside: dict[str, nn.Module] = {
        name: module
        for name, module in source.graph.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d) and any(name.startswith(f"{stack}.") for stack in stacks)
    }
    if not inside:
        raise EdgebertError(
            f"{source.family} has no linear layers in a stack, so nothing to run in 8 bits", hint="Take int8 instead."
        )
    return inside


def calibrate(source: Source, clip: bool) -> dict[str, float]:
    """The step of the 8 bits of each layer's input.

    Args:
        clip: choose the range of least squared error; else the greatest value seen.

    Raises:
        RequestError: no calibration rows, or only empty ones.
    """
    import torch

    rows = [batch for batch in source.calibration if batch[INPUT_IDS].size and batch[ATTENTION_MASK].any()]
    if not rows:
        raise RequestError(
            "int8-static needs calibration rows, and there are none"
            if not source.calibration
            else "every calibration row is empty",
            where="calibration",
            hint="Name a data set, or take int8, which needs none.",
        )
    layers = encoder_layers(source)
    greatest = dict.fromkeys(layers, 0.0)
    counts = {name: torch.zeros(BINS) for name in layers}

    def measure(name: str, x: Tensor) -> None:
        greatest[name] = max(greatest[name], float(x.abs().max()))

    def count(name: str, x: Tensor) -> None:
        counts[name] += torch.histc(x.abs().float(), BINS, 0.0, greatest[name] or 1.0)

    _watch(source, rows, layers, measure)
    if not clip:
        return {name: max(value, 1e-6) / LEVELS for name, value in greatest.items()}
    _watch(source, rows, layers, count)
    return {name: best_range(counts[name], max(greatest[name], 1e-6)) / LEVELS for name in layers}


def best_range(counts: Tensor, greatest: float) -> float:
    """The range [-r, r] of least squared error for values whose magnitudes fall into equal bins of [0, greatest].

    Values inside are off by a uniform part of a step, those outside by what is cut off.
    """
    import torch

    centres = (torch.arange(len(counts)) + 0.5) / len(counts) * greatest
    tried = torch.linspace(0.2, 1.0, 81) * greatest
    inside = (centres[None, :] <= tried[:, None]).float()
    noise = (tried / LEVELS) ** 2 / 12
    cut = (centres[None, :] - tried[:, None]).clamp(min=0) ** 2
    errors = ((inside * noise[:, None] + cut) * counts[None, :]).sum(1)
    return float(tried[errors.argmin()])


def _watch(
    source: Source, rows: Iterable[Batch], layers: Mapping[str, nn.Module], see: Callable[[str, Tensor], None]
) -> None:
    """Runs the rows, each of its own length; `see` is shown every layer's input."""
    import torch

    hooks = [
        layer.register_forward_pre_hook(lambda _module, args, name=name: see(name, args[0]))
        for name, layer in layers.items()
    ]
    try:
        with torch.inference_mode():
            for batch in rows:
                source.graph(*(torch.from_numpy(batch[name]) for name in source.inputs))
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def quantized_inputs(source: Source, steps: Mapping[str, float]) -> Iterator[None]:
    """Within it, the graph rounds the inputs of these layers to 8 bits, and a trace shows where."""
    import torch

    layers = {name: source.graph.get_submodule(name) for name in steps}

    def hook(step: float) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        def quantize(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (torch.fake_quantize_per_tensor_affine(args[0], step, 0, -128, 127), *args[1:])

        return quantize

    hooks = [layer.register_forward_pre_hook(hook(steps[name])) for name, layer in layers.items()]
    try:
        yield
    finally:
        for item in hooks:
            item.remove()
