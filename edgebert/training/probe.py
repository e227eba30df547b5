"""Fits a new head to the states of its encoder before all weights are trained: linear probing, then fine-tuning.

Kumar, Raghunathan, Jones, Ma, Liang (2022), "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution", arXiv 2202.10054, section 3.4: a random head pulls the encoder's states away from what they were
before it has learnt anything itself. Here the last layer is found by L-BFGS, with the penalty |W|² / 2n of logistic
regression at C = 1, on the n vectors of some rows, brought to a deviation of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgebert.modeling.checkpoint import accepted
from edgebert.modeling.headed import outlets
from edgebert.modeling.heads import parts_of
from edgebert.modeling.losses import IGNORED
from edgebert.training.heads import Batch, hard_loss
from edgebert.training.loop import collate
from edgebert.training.run import pad_id
from edgebert.types import Row, Student, TrainSettings

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from edgebert.tasks import Task

MOST_ROWS = 3000  # that are read: the training that follows reads all
MOST_VECTORS = 20_000  # of tokens, reached by long texts before all of these rows
BATCH = 64
ITERATIONS = 100
SPREAD = 0.5  # standard deviation before a tanh, where it is nearly a straight line


def fit_head(student: Student, task: Task, labels: Sequence[str], rows: Sequence[Row], settings: TrainSettings) -> bool:
    """Fits the last layer of a head of labels, in place; whether the model has one that can be fitted.

    That is a head of tokens, or one of ours over pooled states. Transformers' own sequence heads read the first token,
    whose state says little of the text before training: theirs stay as they are, and so do models of several heads.

    Args:
        rows: labelled; of more than `MOST_ROWS`, so many are drawn by the seed.
        settings: seed, tokens of a window, and whether the encoder reads in bf16.
    """
    model: PreTrainedModel = student.model
    (part, *others) = parts_of(model.config, type(model).__name__)
    of_tokens = part.head.has_labels and part.head.per_token
    pooled = part.head.has_labels and not of_tokens and part.reads != "cls"
    if others or not (pooled or of_tokens):
        return False
    (last,) = outlets(model)
    drawn = Random(settings.seed).sample(rows, min(len(rows), MOST_ROWS))  # rows may lie in an order of their labels
    features = task.encode(drawn, student.tokenizer, labels, settings.max_length)
    features = [feature for feature in features if feature.labels or "labels" in feature.targets]
    if not features:
        return False
    batches = [collate(features[i : i + BATCH], pad_id(student)) for i in range(0, len(features), BATCH)]
    dense = model.heads["head"].dense if pooled else None
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.mixed_precision == "bf16"):
        states, targets = _read(model, last if dense is None else dense, batches)
    if dense is not None:
        states = _passed_through(dense, states)
    mean, spread = states.mean(0), states.std().clamp(min=1e-6)
    states = (states - mean) / spread
    weight = torch.zeros(last.out_features, states.shape[1], requires_grad=True)
    bias = torch.zeros(last.out_features, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")
    of_classes = task.class_weights(rows, labels)

    def loss() -> Tensor:
        search.zero_grad()
        logits = {part.outputs[0]: states @ weight.T + bias}
        total = hard_loss(model, logits, {"labels": targets}, of_classes) + weight.square().sum() / (2 * len(states))
        total.backward()
        return total

    search.step(loss)
    with torch.no_grad():
        last.weight.copy_(weight / spread)
        last.bias.copy_(bias - weight @ mean / spread)
    return True


def _passed_through(dense: nn.Linear, states: Tensor) -> Tensor:
    """What follows a square layer and its tanh, once the layer leaves the states nearly as they are."""
    with torch.no_grad():
        dense.weight.copy_(torch.eye(len(dense.weight)) * min(1.0, SPREAD / float(states.std())))
        dense.bias.zero_()
        return torch.tanh(dense(states))


def _read(model: PreTrainedModel, layer: nn.Module, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """What a linear layer reads of labelled texts or tokens, (n, width), and their targets, (n,) or (n, n_labels); of no
    more batches than it takes to `MOST_VECTORS`."""
    caught: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].detach().float()))
    targets = []
    try:
        with torch.no_grad():
            for batch in batches:
                model(**accepted(model, batch))
                labels = batch["labels"]
                if caught[-1].dim() == 3:
                    known = labels != IGNORED
                    caught[-1], labels = caught[-1][known], labels[known]
                targets.append(labels)
                if sum(map(len, targets)) >= MOST_VECTORS:
                    break
    finally:
        hook.remove()
    return torch.cat(caught), torch.cat(targets)
