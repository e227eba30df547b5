"""How important heads and neurons are, by the gradient at a gate on each, and their removal; see `edgebert.methods.prune`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgebert.methods._gradients import batches_of, loss_of
from edgebert.modeling.ragged import LayerWidth, cut_layer, describe_widths, head_width_of, widths_of
from edgebert.modeling.roles import layer_modules
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

Kind = Literal["heads", "neurons"]
ROWS = 512  # training rows, spread evenly, whose gradients are read in each step
BATCH = 16
BEHIND: dict[Kind, str] = {"heads": "attended", "neurons": "outer"}  # the linear layer that reads what they give
_REASONS: dict[str, str] = {}  # by the config of one layer


def why_not(config: ModelConfig) -> str:
    """Why layers of this kind cannot be cut, "" where they can: told by running one that is, over a few words."""
    from edgebert.errors import RequestError
    from edgebert.methods._stack import check_stack
    from edgebert.modeling.layers import keep_settings

    try:
        check_stack(config, "prune")
    except RequestError as error:
        return error.what
    small = copy.deepcopy(config)
    keep_settings(small, (0,))
    small.vocab_size = max(16, (small.pad_token_id or 0) + 1)
    key = small.to_json_string()
    if key not in _REASONS:
        _REASONS[key] = _tried(small)
    return _REASONS[key]


def _tried(small: ModelConfig) -> str:
    """`small` has one layer; it is changed."""
    import torch

    from edgebert.modeling.ragged import from_config

    try:
        (width,) = widths_of(small)
        describe_widths(small, [LayerWidth(width.heads[:1], max(1, width.n_neurons // 2))])
        with torch.random.fork_rng(), torch.no_grad():
            from_config("AutoModel", small)(input_ids=torch.ones(1, 4, dtype=torch.int64))
    except (KeyError, StopIteration, AttributeError, RuntimeError, TypeError, ValueError, NotImplementedError):
        return f"{small.model_type} has layers of another kind than BERT's, of which no head or neuron can be removed"
    return ""


# ---------------------------------------------------------------- importance


@dataclass(frozen=True)
class Importance:
    """Of one layer, what its units change.

    Attributes:
        heads: (n_heads,), neurons: (n_neurons,): the mean over rows of |∂L/∂ξ|.
        head_parts: (n_heads,) sums over the numbers of a head, each with a gate of its own: as those of neurons add up.
        mean_heads: (n_heads * head_width,), mean_neurons: (n_neurons,): what they give on average over tokens.
    """

    heads: Tensor
    neurons: Tensor
    head_parts: Tensor
    mean_heads: Tensor
    mean_neurons: Tensor


class _Gate:
    """Gates of each of one linear layer's inputs, a row of the batch each, and what is summed over rows."""

    def __init__(self, linear: Any, width: int) -> None:
        import torch

        self.linear, self.width = linear, width  # numbers of the input that make a unit
        self.gate: Tensor | None = None
        self.mask = torch.ones(0)
        self.units, self.parts = torch.zeros(linear.in_features // width), torch.zeros(linear.in_features // width)
        self.total, self.n_tokens = torch.zeros(linear.in_features), 0

    def before(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        import torch

        (given,) = inputs
        seen = given.detach()[self.mask]
        self.total += seen.sum(0).cpu()
        self.n_tokens += len(seen)
        self.gate = torch.ones(len(given), 1, given.shape[-1], requires_grad=True, device=given.device)
        return (given * self.gate,)

    def read(self) -> None:
        assert self.gate is not None and self.gate.grad is not None
        gradients = self.gate.grad[:, 0].unflatten(-1, (-1, self.width)).cpu()
        self.units += gradients.sum(-1).abs().sum(0)
        self.parts += gradients.abs().sum((0, 2))
        self.gate = None


def importances(student: Student, context: MethodContext) -> list[Importance]:
    """Of each layer of the student, over training rows."""
    from edgebert.modeling.layers import encoder_layers
    from edgebert.runtime.specs import ATTENTION_MASK

    model = student.model.eval()
    batches = batches_of(student, context, ROWS, BATCH)
    head = head_width_of(model.config)
    parts = [layer_modules(layer) for layer in encoder_layers(model)]
    gates = [(_Gate(part["attended"], head), _Gate(part["outer"], 1)) for part in parts]
    every = [gate for pair in gates for gate in pair]
    loss = loss_of(student, context)
    with _hooked(every), _frozen(model):
        for batch in batches:
            for gate in every:
                gate.mask = batch[ATTENTION_MASK].bool()
            loss(batch).backward()
            for gate in every:
                gate.read()
    n = max(1, sum(len(batch[ATTENTION_MASK]) for batch in batches))
    return [
        Importance(a.units / n, b.units / n, a.parts / n, a.total / max(1, a.n_tokens), b.total / max(1, b.n_tokens))
        for a, b in gates
    ]


@contextmanager
def _hooked(gates: Sequence[_Gate]) -> Iterator[None]:
    hooks = [gate.linear.register_forward_pre_hook(gate.before) for gate in gates]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """The gates alone get gradients: those of the weights would only take time."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


# ---------------------------------------------------------------- removal


@dataclass(frozen=True)
class Unit:
    """What is removed at once: a head, or a group of neurons, by their numbers in the layer as it is."""

    layer: int
    kind: Kind
    members: tuple[int, ...]
    importance: float


def units_of(importance: Sequence[Importance], group: int, *, together: bool = False) -> list[list[Unit]]:
    """For each layer and kind the units that may go, least important first: all but the most important one.

    Args:
        together: heads are compared with groups of neurons, so both are sums over their numbers.
    """
    results = []
    for layer, own in enumerate(importance):
        heads = own.head_parts if together else own.heads
        order = heads.argsort(stable=True).tolist()
        results.append([Unit(layer, "heads", (i,), float(heads[i])) for i in order[:-1]])
        order = own.neurons.argsort(stable=True).tolist()
        rest, order = order[: len(order) % group], order[len(order) % group :]
        groups = [tuple(order[i : i + group]) for i in range(0, len(order) - group, group)]
        beyond = [Unit(layer, "neurons", tuple(rest), -1.0)] if rest else []  # goes first, so that whole groups stay
        results.append(
            [*beyond, *(Unit(layer, "neurons", item, float(own.neurons[list(item)].sum())) for item in groups)]
        )
    return results


class Pruning:
    """The removal from one student, in steps."""

    def __init__(self, student: Student, context: MethodContext, *, share: float, group: int, by: str) -> None:
        self.student, self.context, self.group, self.by = student, context, group, by
        self.first, self.share = copy.deepcopy(student.model.config), share
        self.cost = context.cost or multiply_adds

    def remove(self, progress: float) -> None:
        """Removes what is due when this part (0 to 1) of the steps is done."""
        from edgebert.methods.prune import reshape

        importance = importances(self.student, self.context)
        queues = units_of(importance, self.group, together=self.by == "latency")
        due = reshape(copy.deepcopy(self.first), share=self.share * progress, group=self.group)
        if self.by == "count":
            gone = least(queues, self._due(due))
        else:
            gone = cheapest(queues, self.student.model.config, self.cost, self.cost(due))
        self._cut(gone, importance)

    def _due(self, due: ModelConfig) -> dict[Kind, int]:
        """How many heads and how many neurons of all layers must go now."""
        now, then = widths_of(self.student.model.config), widths_of(due)
        heads = sum(len(width.heads) for width in now) - sum(len(width.heads) for width in then)
        return {"heads": heads, "neurons": sum(w.n_neurons for w in now) - sum(w.n_neurons for w in then)}

    def _cut(self, gone: Sequence[Unit], importance: Sequence[Importance]) -> None:
        import torch

        from edgebert.modeling.layers import configs_of, encoder_layers

        config = self.student.model.config
        widths, head_width = widths_of(config), head_width_of(config)
        for i, layer in enumerate(encoder_layers(self.student.model)):
            lost = {kind: {m for u in gone if (u.layer, u.kind) == (i, kind) for m in u.members} for kind in BEHIND}
            if not (lost["heads"] or lost["neurons"]):
                continue
            parts, own = layer_modules(layer), importance[i]
            columns = [head * head_width + j for head in sorted(lost["heads"]) for j in range(head_width)]
            with torch.no_grad():
                _keep_mean(parts["attended"], columns, own.mean_heads)
                _keep_mean(parts["outer"], sorted(lost["neurons"]), own.mean_neurons)
            heads = [h for h in range(len(widths[i].heads)) if h not in lost["heads"]]
            neurons = [n for n in range(widths[i].n_neurons) if n not in lost["neurons"]]
            cut_layer(layer, heads, neurons, head_width)
            widths[i] = LayerWidth(tuple(widths[i].heads[h] for h in heads), len(neurons))
        for each in configs_of(self.student.model):
            describe_widths(each, widths)

    def notes(self) -> tuple[str, ...]:
        """What is left of each layer."""
        pairs = list(zip(widths_of(self.first), widths_of(self.student.model.config), strict=True))
        heads = ", ".join(f"{len(now.heads)} of {len(then.heads)}" for then, now in pairs)
        neurons = ", ".join(f"{now.n_neurons} of {then.n_neurons}" for then, now in pairs)
        results = [f"heads left a layer: {heads}; neurons: {neurons}"]
        if self.by == "latency" and self.context.cost is None:
            results.append("pruned by multiply-adds instead of latency: no device is known here")
        return tuple(results)


def _keep_mean(linear: Any, columns: Sequence[int], mean: Tensor) -> None:
    """Adds to the bias what these inputs give on average, in place."""
    if columns:
        linear.bias += linear.weight[:, list(columns)] @ mean[list(columns)].to(linear.weight)


def least(queues: Sequence[Sequence[Unit]], due: dict[Kind, int]) -> list[Unit]:
    """Units of all layers, the least important first, until as many heads and neurons as are due have gone."""
    gone: list[Unit] = []
    for kind in BEHIND:
        n = 0
        for unit in sorted((u for queue in queues for u in queue if u.kind == kind), key=lambda u: u.importance):
            if n + len(unit.members) > due[kind]:
                continue
            gone.append(unit)
            n += len(unit.members)
    return gone


def cheapest(
    queues: Sequence[Sequence[Unit]], config: ModelConfig, cost: Callable[[ModelConfig], float], aim: float
) -> list[Unit]:
    """Units of all layers, those first that are least important for the time that they take, until a pass takes `aim`."""
    left, gone = [list(queue) for queue in queues], []
    while (price := cost(config)) > aim and any(left):
        fronts = [(queue[0].importance / max(1e-12, price - cost(_without(config, queue[0]))), i)
                  for i, queue in enumerate(left) if queue]  # fmt: skip
        unit = left[min(fronts)[1]].pop(0)
        gone.append(unit)
        config = _without(config, unit)
    return gone


def _without(config: ModelConfig, unit: Unit) -> ModelConfig:
    """The config without a unit. Of the heads any serve: they cost the same."""
    config, widths = copy.copy(config), widths_of(config)
    width, n = widths[unit.layer], len(unit.members)
    widths[unit.layer] = (
        LayerWidth(width.heads[n:], width.n_neurons)
        if unit.kind == "heads"
        else LayerWidth(width.heads, width.n_neurons - n)
    )
    describe_widths(config, widths)
    return config


def multiply_adds(config: ModelConfig) -> float:
    """Of a pass over 64 tokens."""
    from edgebert.modeling.operators import operators

    return sum(operator.count * operator.flops for operator in operators(config, 64)) / 2
