"""The module that converters trace: plain int inputs, plain tensor outputs, masks that stay finite in float16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgebert.modeling.checkpoint import accepted
from edgebert.modeling.headed import HeadedEncoder, answers
from edgebert.modeling.heads import parts_of
from edgebert.modeling.rebuild import SHIFTED
from edgebert.quantization import QuantSpec
from edgebert.runtime.session import Batch, Source
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, INPUT_NAMES, TOKEN_TYPE_IDS, OutputSpec, input_specs
from edgebert.types import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

MASKED = -1e4  # exp underflows to 0 in float32 and float16 alike, and float16 reaches only -65504
LEAST = frozenset(torch.finfo(dtype).min for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16))
SAME = 1e-5


class Graph(nn.Module):
    """A model with its heads as a function of tensors.

    Inputs: int (batch, seq) each, in the order of `inputs`. Outputs: a tuple in the order of `outputs`.

    Args:
        masks: `model` leaves the masks as the model makes them; `clamped` fills them with -1e4; `additive` also hands
            the mask in as a bias (batch, 1, 1, seq).
    """

    def __init__(self, model: PreTrainedModel, *, masks: Literal["model", "clamped", "additive"] = "model") -> None:
        super().__init__()
        self.model, self.masks = model, masks
        self.output_specs = tuple(spec for part in parts_of(model.config, type(model).__name__) for spec in part.specs)
        self.outputs = tuple(spec.name for spec in self.output_specs)
        self.inputs = tuple(accepted(model, dict.fromkeys(INPUT_NAMES)))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self.inputs, tensors, strict=True))
        mask = named.get(ATTENTION_MASK)
        if self.masks == "additive" and mask is not None:
            named[ATTENTION_MASK] = (1.0 - mask.float())[:, None, None, :] * MASKED
        if isinstance(self.model, HeadedEncoder) and mask is not None:
            named["token_mask"] = mask
        with traceable(self.model) if self.masks != "model" else nullcontext():
            result = self.model(**named)
        given = answers(self.model, result, mask)
        return tuple(given[name] for name in self.outputs)


class ClampedMasks(TorchFunctionMode):
    """Within it, every operator that is given the least value of a float type gets -1e4 in its place: that is what models
    fill their masks with, those of transformers' `masking_utils` and those that have an attention of their own.

    Only calls of the thread that entered it are changed, and it holds while they are traced: what a tracer writes down is
    the call with -1e4. Other numbers, and -inf, stay as they are.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        named = {name: _clamped(value) for name, value in (kwargs or {}).items()}
        return func(*(_clamped(value) for value in args), **named)


def _clamped(value: object) -> object:
    return MASKED if isinstance(value, float) and value in LEAST else value


@contextmanager
def traceable(model: nn.Module) -> Iterator[None]:
    """Within it, a pass gives the same operators in every process, with masks that stay finite in float16."""
    with ordered_rotations(model), ClampedMasks():
        yield


@contextmanager
def ordered_rotations(model: nn.Module) -> Iterator[None]:
    """Within it, the rotary embeddings of each kind of layer are computed in the order of the kinds' names.

    ModernBERT computes them in the order of a set of texts, which changes from process to process, and with it the order of
    the operators that a converter writes (transformers 5.23).
    """
    rotations = [module for module in model.modules() if len(getattr(module, "layer_types", ())) > 1]
    for module in rotations:
        module.forward = _in_order(module.forward, sorted(cast("Sequence[str]", module.layer_types)))
    try:
        yield
    finally:
        for module in rotations:
            del module.forward  # of the instance: that of its class is back


def _in_order(compute: Callable[..., Any], kinds: Sequence[str]) -> Callable[..., Any]:
    """All kinds at the first call of a pass, each handed out at its own."""
    computed: dict[str, Any] = {}

    def forward(states: Tensor, positions: Tensor, kind: str) -> Any:
        if kind not in computed:
            computed.update((name, compute(states, positions, name)) for name in kinds)
        return computed.pop(kind)

    return forward


def make_graph(model: nn.Module) -> Graph:
    """The graph to export. The mask goes in as an additive bias where the family gives the same answer with it: that
    form needs only a multiplication, so every runtime has kernels for it."""
    model.eval()
    clamped = Graph(model, masks="clamped").eval()
    if ATTENTION_MASK not in clamped.inputs:
        return clamped
    additive = Graph(model, masks="additive").eval()
    inputs = tuple(_probe(model)[name] for name in clamped.inputs)
    with torch.inference_mode():
        expected = clamped(*inputs)
        try:
            result = additive(*inputs)
        except Exception:  # families take masks of other ranks in their own ways; the 2-D form always works
            return clamped
    mask = inputs[clamped.inputs.index(ATTENTION_MASK)].bool()
    same = all(
        a.shape == b.shape and bool((_visible(spec, a, mask) - _visible(spec, b, mask)).abs().max() <= SAME)
        for spec, a, b in zip(clamped.output_specs, expected, result, strict=True)
    )
    return additive if same else clamped


def _probe(model: PreTrainedModel) -> dict[str, Tensor]:
    """Two rows, the second padded after three tokens: of eight tokens, or more than a window of attention is wide.

    Within its window a model whose layers attend to neighbours alone gives the same answer with a mask that has no window.
    """
    window = getattr(model.config, "sliding_window", None) or 0
    n = min(8 + window, position_limit(model.config))
    ids = torch.arange(2 * n).reshape(2, n) % min(model.config.vocab_size, 16)
    mask = torch.ones(2, n, dtype=torch.int64)
    mask[1, 3:] = 0
    return {INPUT_IDS: ids, ATTENTION_MASK: mask, TOKEN_TYPE_IDS: torch.zeros_like(ids)}


def _visible(spec: OutputSpec, output: Tensor, mask: Tensor) -> Tensor:
    """The output where the mask is 1; whole for outputs without a sequence."""
    return output[mask] if spec.per_token else output


def make_source(
    model: PreTrainedModel,
    *,
    lengths: Sequence[int] = (32, 64, 128),
    labels: Sequence[str] = (),
    calibration: Sequence[Batch] = (),
    tokenizer: Path | None = None,
    title: str = "",
    shape: Shape | None = None,
    quantization: QuantSpec | None = None,
) -> Source:
    """What converters take, from a model of transformers."""
    graph = make_graph(model)
    config = model.config
    return Source(
        graph=graph,
        family=config.model_type,
        input_specs=input_specs(graph.inputs),
        output_specs=graph.output_specs,
        vocab_size=config.vocab_size,
        max_length=position_limit(config),
        pad_id=config.pad_token_id or 0,
        lengths=tuple(sorted(set(lengths))),
        labels=tuple(labels),
        calibration=calibration,
        tokenizer=tokenizer if tokenizer is not None and tokenizer.exists() else None,
        title=title,
        shape=shape,
        quantization=quantization,
    )


def position_limit(config: ModelConfig) -> int:
    """Most tokens a row may have. RoBERTa's kin count positions from after the padding id, so two are lost."""
    try:
        limit = getattr(config, "max_position_embeddings", None) or 0
    except NotImplementedError:  # XLNet says so
        limit = 0
    if limit <= 0:  # relative positions only: nothing in the model sets a limit
        return 512
    if config.model_type == "mpnet":  # whose padding position is 1 whatever the padding id
        return int(limit) - 2
    return int(limit) - ((config.pad_token_id or 0) + 1 if config.model_type in SHIFTED else 0)


class TorchSession:
    """A model in torch, as it is, behind `edgebert.converters.Runner`: what every file is held against.

    threads 0 leaves torch's own setting.
    """

    runtime: str = "torch"

    def __init__(self, model: nn.Module, threads: int = 0) -> None:
        self.graph, self.threads = Graph(model).eval(), threads
        self.runtime_version = str(torch.__version__)
        config = cast("ModelConfig", model.config)
        self.parts = parts_of(config, type(model).__name__)
        self.output_specs = self.graph.output_specs
        self.vocab_size, self.pad_id = int(config.vocab_size), int(config.pad_token_id or 0)

    def tables(self) -> dict[str, np.ndarray]:
        """Embedding tables by name, (rows, width): weights of which no set of rows reads all. The words' comes first."""
        model: PreTrainedModel = self.graph.model
        words = model.get_input_embeddings()
        results = [(name, module) for name, module in self.graph.named_modules() if isinstance(module, nn.Embedding)]
        results.sort(key=lambda pair: pair[1] is not words)
        return {name: item.weight.detach().float().cpu().numpy() for name, item in results}

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        if self.threads and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        device = next(self.graph.parameters()).device
        with torch.inference_mode():
            results = self.graph(*(torch.from_numpy(batch[name]).to(device) for name in self.graph.inputs))
        return {name: result.float().cpu().numpy() for name, result in zip(self.graph.outputs, results, strict=True)}
