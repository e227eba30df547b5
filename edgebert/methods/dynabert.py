"""Train one network out of which smaller ones, in width and depth, are cut without training.

Hou, Huang, Shang, Jiang, Chen, Liu (2020), "DynaBERT: Dynamic BERT with Adaptive Width and Depth", arXiv 2004.04037:

- rewiring (section 2.1): heads and neurons of each layer are put in the order of their importance, the loss that a gate on
  them changes (`edgebert.methods.prune`), so that a layer of width m keeps the first m · H heads and m · F neurons
- adaptive width: every width learns from the teacher, by its predictions and hidden states
- adaptive width and depth: every width and depth learns likewise; layers that a depth leaves out are spread evenly, and the
  last one stays

      L = L_pred + hidden · Σ_l MSE(H_l of the smaller network, H of the layer that it is in the whole one)

where L_pred is kd's, (1 - hard_label_weight) · T² · CE with the teacher's predictions + hard_label_weight · CE with the true
labels, and H_0 are the embeddings, which are one and the same for all.

Differences: the paper trains every width (and depth) in every step, first against the teacher, then against the network of
the first phase. Here a step trains the whole network, the smallest one and `drawn` others, as Yu and Huang (2019,
"Universally Slimmable Networks and Improved Training Techniques", arXiv 1903.05134) do, which takes about twice as long as
training the whole network alone (benchmarks/supernet.md, where smaller ones are 1 to 4 points below those of their shape
that were trained alone, so that `kd` behind `cut` is worth its time); smaller ones learn the hidden states that the whole one has in the same
step. Half of those drawn have layers of different widths, so that such can be cut too. `inner` is the share of the passes in
which only widths are drawn. The paper's last fine-tuning on labels is the weight of the true labels here.

What comes of it is a checkpoint as large as before. The method `cut`, or the command `edgebert cut`, cuts smaller ones out of
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, prediction_objective
from edgebert.modeling.ragged import describe_widths, widths_of
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.methods._supernet import Subnetwork
    from edgebert.modeling.config import ModelConfig
    from edgebert.training.features import Trace
    from edgebert.training.loop import Objective

DRAWN_UNEVEN = 0.5  # share of the networks drawn whose layers differ in width
LONG = 95  # percentile of the tokens of training rows, by which `edgebert cut` predicts times unless told otherwise


def dynamic_objective(
    student: Student, context: MethodContext, depths: tuple[float, ...], drawn: int, hidden: float, **prediction: Any
) -> Objective:
    """What a step minimises: the mean of L over the whole network, the smallest one and those drawn.

    Args:
        depths: shares of the layers, of which one is drawn for each network.
        prediction: parameters of `prediction_objective`.
    """
    import torch
    from torch.nn.functional import mse_loss

    from edgebert.methods._supernet import WIDTHS, Cuts, Subnetwork, subnetwork
    from edgebert.runtime.specs import ATTENTION_MASK
    from edgebert.training.heads import rows_with_labels
    from edgebert.training.loop import DistillationObjective

    n_layers = student.model.config.num_hidden_layers
    cuts = Cuts(student.model)

    def one_of(values: tuple[float, ...]) -> float:
        return values[int(torch.randint(len(values), ()))]

    def networks() -> Iterator[Subnetwork]:
        yield subnetwork(n_layers, min(WIDTHS), min(depths))
        for _ in range(drawn):
            even = subnetwork(n_layers, one_of(WIDTHS), one_of(depths))
            uneven = float(torch.rand(())) < DRAWN_UNEVEN
            yield Subnetwork(even.layers, tuple(one_of(WIDTHS) for _ in even.layers)) if uneven else even

    class Dynamic(DistillationObjective):
        asks_once = True

        def __init__(self) -> None:
            super().__init__(student.model, context.teacher, student.teacher_ids)
            # In a tuple, so that it is no submodule: it holds the student too.
            self._prediction: tuple[Any, ...] = (prediction_objective(student, context, **prediction),)

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            (learnt,) = self._prediction
            labelled = rows_with_labels(batch)
            batch, changed = learnt.changed(batch)
            theirs, real = learnt.answers_to(batch, changed), batch[ATTENTION_MASK].bool()
            whole = self.trace(batch)
            losses = [learnt.of_answers(whole.outputs, theirs, batch, labelled)]
            for cut in networks():
                own = cuts.trace(cut, batch)
                losses.append(learnt.of_answers(own.outputs, theirs, batch, labelled))
                if hidden:
                    losses[-1] = losses[-1] + hidden * far(own, whole, cut, real)
            return torch.stack(losses).mean()

    def far(own: Trace, whole: Trace, cut: Subnetwork, real: Tensor) -> Tensor:
        """Sum over layers of the mean squared difference of hidden states of real tokens."""
        pairs = zip(own.hidden[1:], cut.layers, strict=True)
        return torch.stack([mse_loss(state[real], whole.hidden[i + 1].detach()[real]) for state, i in pairs]).sum()

    return Dynamic()


def score_networks(student: Student, context: MethodContext) -> None:
    """Scores the smaller networks on the development rows, and writes it into the student's config."""
    import copy
    from dataclasses import replace

    import numpy as np

    from edgebert.methods._supernet import cut_model, describe, grid
    from edgebert.training.run import evaluate

    scored, score = {}, None
    for cut in grid(student.model.config.num_hidden_layers):
        own = replace(student, model=copy.deepcopy(student.model))
        cut_model(own.model, cut)
        score = evaluate(own, context.task, context.labels, context.dev, "dev", context.settings.max_length)
        scored[cut] = score.value
        context.log(event="note", text=f"{cut.title}: {100 * score.value:.2f} {score.metric} on dev")
    assert score is not None, "a grid is never empty"
    features = context.task.encode(context.train, student.tokenizer, context.labels, context.settings.max_length)
    tokens = np.percentile([len(feature.input_ids) for feature in features], LONG, method="inverted_cdf")
    describe(student.model, scored, metric=score.metric, n=score.n, tokens=int(tokens))


def check(config: ModelConfig, teacher: ModelConfig, **_: object) -> None:
    """Raises RequestError for a family whose layers cannot be cut."""
    from edgebert.methods._pruning import why_not

    if why := why_not(config):
        raise RequestError(why, where="dynabert", hint="layerdrop serves it, where it keeps a list of layers.")


def apply(
    student: Student, context: MethodContext, *, epochs: float, inner: float, drawn: int, hidden: float, temperature: float,
    hard_label_weight: float, replace: float,
) -> Student:  # fmt: skip
    """The whole network, which says how smaller ones did."""
    from edgebert.methods._pruning import importances
    from edgebert.methods._supernet import DEPTHS, rewire
    from edgebert.training.run import train_student

    check(student.model.config, context.teacher.config)
    rewire(student, importances(student, context))
    prediction = {"temperature": temperature, "hard_label_weight": hard_label_weight, "replace": replace}
    whole = epochs or context.settings.epochs
    for name, depths, share in (("width", (1.0,), inner), ("depth", DEPTHS, 1 - inner)):
        if share:
            objective = dynamic_objective(student, context, depths, drawn, hidden, **prediction)
            train_student(objective, student, context, f"dynabert-{name}", share * whole)
    score_networks(student, context)
    return student


def reshape(config: ModelConfig, **_: object) -> ModelConfig:
    """Heads stand in another order, which training rows will tell."""
    describe_widths(config, widths_of(config))
    return config


METHOD = Method(
    name="dynabert",
    title="Train one network out of which smaller ones are cut",
    paper=Paper(
        "DynaBERT: Dynamic BERT with Adaptive Width and Depth", "Hou, Huang, Shang, Jiang, Chen, Liu", 2020, "2004.04037"
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        EPOCHS,
        Param("inner", float, 0.5, "share of the passes in which only widths differ", minimum=0, maximum=1),
        Param("drawn", int, 1, "networks that a step trains beside the whole one and the smallest", minimum=0, maximum=20),
        Param("hidden", float, 0.1, "weight of hidden states", minimum=0),
        TEMPERATURE,
        HARD,
        REPLACE,
    ),
    answers=plain_answers,
    needs=("hidden states",),
    any_tokenizer=True,
    serves_many=True,
    toy={"epochs": 1},
)  # fmt: skip
