"""Set the smallest weights to zero, more and more of them while the student learns.

Gordon, Duh, Andrews (2020), "Compressing BERT: Studying the Effects of Weight Pruning on Transfer Learning", arXiv
2002.08307, by the schedule of Zhu, Gupta (2017), "To prune, or not to prune", arXiv 1710.01878, equation 1. At the steps
t = 0, Δt, 2Δt, … nΔt the share

    s_t = s_f + (s_i - s_f) · (1 - t / (nΔt))³        s_f = `sparsity`, s_i = 0, n = `updates`, nΔt = `ramp` of all steps

of the weights, those of least magnitude, becomes zero; zeros stay zero and get no gradient. `pattern` says among which:

- global: all matrices of the encoder together, so that each layer loses what it can spare.
- layer: each matrix by itself.
- N:M, as 2:4: at most N of every M neighbours in a row stay, 1 - N/M of each matrix being zeros; where `sparsity` is
  more, the least of all others go too.

What is minimised is that of kd, on --unlabelled and the training rows. A training that follows in the recipe (kd, finetune,
freelb …) keeps the zeros: their gradient stays cut off. What changes the architecture (theseus, prune …) would fill them,
and is refused behind this one.

What it is worth: a file is as large as before, for every format stores a zero like any other weight, and as fast in ONNX
Runtime, LiteRT, OpenVINO and ExecuTorch. A zip of it is smaller: with 80 % zeros, 47 % of an int8 file's. LiteRT has sparse
kernels, slower than XNNPACK's dense ones, and XNNPACK's own are for convolutions: benchmarks/sparsity.md has the measurements.
8 bits keep zeros: every scale of weights has a code that is 0 exactly.

Differences: the paper prunes while it pre-trains; here it is the training on the task, with the teacher's answers. The
paper's text was not at hand when this was written, only its abstract. Zhu and Gupta let a weight that was cut come
back; here it does not. The word table is pruned with `words` alone, in one ranking with the matrices where the pattern is
global. Development scores choose no epoch (--early-stopping): an early one has fewer zeros.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._phases import n_steps
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, prediction_objective
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgebert.modeling.config import ModelConfig

WHERE = "magnitude.pattern"


def sparsity_at(step: int, steps: int, sparsity: float) -> float:
    """s_t of the schedule, which begins at 0 and ends with step `steps`."""
    return sparsity * (1 - (1 - min(1.0, step / steps)) ** 3)


def read_pattern(pattern: str) -> tuple[int, int] | None:
    """N and M of a pattern N:M; None for global and layer. Raises RequestError for what is no pattern."""
    if pattern in ("global", "layer"):
        return None
    kept, _, group = pattern.partition(":")
    if kept.isdecimal() and group.isdecimal() and 0 < int(kept) < int(group):
        return int(kept), int(group)
    hint = "Write global, layer, or N:M for N weights of M that stay, such as 2:4."
    raise RequestError(f"'{pattern}' is no pattern of zeros", where=WHERE, hint=hint)


def surplus(weight: Tensor, kept: int, group: int) -> Tensor:
    """Where a matrix exceeds N:M: all but the `kept` largest of each `group` neighbours in a row, as its shape, bool."""
    import torch

    groups = weight.detach().abs().reshape(-1, group)
    result = torch.ones_like(groups, dtype=torch.bool)
    result.scatter_(1, groups.topk(kept, dim=1).indices, False)
    return result.reshape(weight.shape)


def smallest(magnitudes: Tensor, n: int) -> Tensor:
    """Where the n smallest stand, and any that equal the largest of these; bool, as the shape given."""
    if n <= 0:
        return magnitudes < 0
    return magnitudes <= magnitudes.flatten().kthvalue(n).values


def pruned(weights: Mapping[str, Tensor], share: float, pattern: str) -> dict[str, Tensor]:
    """Which weights are kept, bool as their shapes, where `share` of them is zero.

    Of N:M, the surplus goes first, by magnitude over all matrices, then the least of the others.
    """
    import torch

    if pattern == "layer":
        return {name: ~smallest(w.detach().abs(), round(share * w.numel())) for name, w in weights.items()}
    magnitudes = torch.cat([w.detach().abs().flatten() for w in weights.values()])
    n = round(share * len(magnitudes))
    if of := read_pattern(pattern):
        first = torch.cat([surplus(w, *of).flatten() for w in weights.values()])
        n_first = min(n, int(first.sum()))
        zero = torch.zeros_like(first)
        zero[first] = smallest(magnitudes[first], n_first)
        if n > n_first:
            zero[~first] = smallest(magnitudes[~first], n - n_first)
    else:
        zero = smallest(magnitudes, n)
    sizes = [w.numel() for w in weights.values()]
    return {name: ~part.reshape(weights[name].shape) for name, part in zip(weights, zero.split(sizes), strict=True)}


def matrices(model: Any, words: bool) -> dict[str, nn.Parameter]:
    """The weights of the encoder's linear layers and convolutions by name, and with `words` the word table."""
    from torch import nn

    encoder = getattr(model, str(model.base_model_prefix), model)
    results = {
        name: module.weight
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d) and not {"embeddings", "pooler"} & set(name.split("."))
    }
    return results | ({"words": model.get_input_embeddings().weight} if words else {})


def pruner(weights: Mapping[str, nn.Parameter], steps: int, updates: int, sparsity: float, pattern: str) -> nn.Module:
    """Holds the masks of the weights, and grows them over the steps. A part of the objective, so that it is saved with it."""
    import torch
    from torch import nn

    interval = max(1, steps // updates)  # Δt
    last = max(1, steps // interval) * interval  # nΔt

    class Pruner(nn.Module):
        step: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("step", torch.zeros((), dtype=torch.long))
            for i, weight in enumerate(weights.values()):
                self.register_buffer(f"mask{i}", torch.ones_like(weight, dtype=torch.bool))
                if weight.requires_grad:
                    weight.register_hook(lambda gradient, i=i: gradient * self.mask(i).to(gradient.device))

        def mask(self, i: int) -> Tensor:
            return self.get_buffer(f"mask{i}")

        def advance(self) -> None:
            """Before each step of the training."""
            step = int(self.step)
            if step <= last and step % interval == 0:
                self.prune(sparsity_at(step, last, sparsity))
            else:
                self.hold()
            self.step += 1

        def prune(self, share: float) -> None:
            self.hold()  # first, so that what is zero is among the smallest
            for i, kept in enumerate(pruned(weights, share, pattern).values()):
                self.mask(i).copy_(kept)
            self.hold()

        @torch.no_grad()
        def hold(self) -> None:
            """What the optimiser's momentum has moved is zero again."""
            for i, weight in enumerate(weights.values()):
                weight.masked_fill_(~self.mask(i).to(weight.device), 0.0)  # not times 0: that leaves -0.0

    return Pruner()


_WIDTHS: dict[tuple[str, bool], set[int]] = {}  # a planner asks of many vocabularies


def widths(config: ModelConfig, words: bool) -> set[int]:
    """Weights in a row of each matrix that would be pruned."""
    import torch

    from edgebert.modeling.checkpoint import build_model
    from edgebert.modeling.rebuild import auto_model_of

    key = json.dumps(config.to_dict() | {"vocab_size": 0}, sort_keys=True, default=str), words
    if key not in _WIDTHS:
        with torch.device("meta"):
            weights = matrices(build_model(config, auto_model_of(config)), words)
        _WIDTHS[key] = {weight.flatten(1).shape[1] for weight in weights.values()}
    return _WIDTHS[key]


def check(config: ModelConfig, teacher: ModelConfig, *, pattern: str, words: bool, **_: object) -> None:
    of, rows = read_pattern(pattern), widths(config, words)
    if not rows:
        what = f"a model of the family {config.model_type} has no matrices outside its word table"
        raise RequestError(what, where="magnitude", hint="Use kd, which prunes nothing.")
    if of and (wrong := [width for width in rows if width % of[1]]):
        what = f"rows of {min(wrong)} weights are not groups of {of[1]}"
        raise RequestError(what, where=WHERE, hint="Choose an M that divides the widths, or global.")


def zeros_report(weights: Mapping[str, Tensor]) -> str:
    """The share of zeros that was reached, over all and over the matrices."""
    shares = [float((weight == 0).float().mean()) for weight in weights.values()]
    n = sum(weight.numel() for weight in weights.values())
    n_zero = sum(int((weight == 0).sum()) for weight in weights.values())
    return (
        f"{100 * n_zero / n:.1f} % of {n:,} weights are zero, {100 * min(shares):.1f} to {100 * max(shares):.1f} % of each "
        f"of {len(shares)} matrices: a zip of the file is smaller, the file itself is not, nor is its time in ONNX Runtime, "
        "LiteRT, OpenVINO or ExecuTorch (benchmarks/sparsity.md)"
    )


def apply(
    student: Student, context: MethodContext, *, sparsity: float, pattern: str, ramp: float, updates: int, words: bool,
    epochs: float, **prediction: Any,
) -> Student:  # fmt: skip
    """The student with zeros in its matrices, after its training."""
    from edgebert.training.run import train_student

    weights = matrices(student.model, words)
    if of := read_pattern(pattern):
        sparsity = max(sparsity, 1 - of[0] / of[1])
    rows, passes = context.transfer, context.text_epochs(epochs)
    steps = round(ramp * n_steps(student, context, passes, rows))
    objective = prediction_objective(student, context, **prediction)
    part: Any = pruner(weights, max(1, steps), updates, sparsity, pattern)
    objective.pruner = part
    objective.register_forward_pre_hook(lambda *_: part.advance())
    settings = replaced(context.settings, patience=0)
    train_student(objective, student, replaced(context, settings=settings), "magnitude", passes, rows=rows)
    part.prune(sparsity)  # of an average of weights, which reaches back, or where zeros grew up to the last step
    student.notes += (zeros_report(weights),)
    return student


METHOD = Method(
    name="magnitude",
    title="Set the smallest weights to zero while the student learns",
    paper=Paper(
        "Compressing BERT: Studying the Effects of Weight Pruning on Transfer Learning",
        "Gordon, Duh, Andrews",
        2020,
        "2002.08307",
    ),
    stage="train",
    apply=apply,
    check=check,
    params=(
        Param("sparsity", float, 0.5, "share of the weights that become zero", minimum=0, maximum=0.99),
        Param("pattern", str, "global", "global, layer, or N:M for N weights of M neighbours that stay, such as 2:4"),
        Param("ramp", float, 0.6, "share of the steps over which zeros grow", minimum=0, maximum=1),
        Param("updates", int, 50, "times at which zeros are added", minimum=1),
        Param("words", bool, False, "prune the word table too"),
        EPOCHS,
        TEMPERATURE,
        HARD,
        REPLACE,
    ),
    answers=plain_answers,
    any_tokenizer=True,
    fixes_shape=True,
    reads_text=True,
    toy={"epochs": 1},
)
