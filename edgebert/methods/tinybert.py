"""TinyBERT's distillation: first the inside of the network, on any text and on the task's rows, then its predictions.

Jiao, Yin, Shang, Jiang, Chen, Li, Wang, Liu (2019), "TinyBERT: Distilling BERT for Natural Language Understanding",
arXiv 1909.10351. Student layer m of M learns from teacher layer g(m) = m·N/M of N (layer 0 is the embedding):

- L_attn = 1/h Σ_i MSE(A_i^S, A_i^T)        equation 7, attention scores before softmax
- L_hidn = MSE(H^S W_h, H^T)                equation 8
- L_embd = MSE(E^S W_e, E^T)                equation 9
- L_pred = CE(z^T / t, z^S / t)             equation 10

Three phases share the epochs. A share `general` of them passes over --unlabelled and the training rows, where that text was
given, and a share `inner` over the training rows; both minimise the sum of the first three over all layers. The rest
minimises L_pred over the training rows. The last two also read `augment` samples of each row, by the paper's Algorithm 1
(`edgebert.data.augment.by_neighbours`, which says what its candidates are here): each sample makes them longer.

Beside it, in each batch of the prediction phase half of the rows get a share `replace` of their tokens replaced, by tokens
as frequent as in the batch and by any token of the vocabulary in equal parts, anew in each epoch; the teacher reads the same
changed rows, so its answer is right for them. The teacher has learnt the training rows by heart; on changed rows it shows
what it knows.

Differences: the paper's general distillation has the teacher before it was fine-tuned, and a large corpus; here it is the
fine-tuned one, and the text is the user's. `augment` is 0 unless set, the paper's is 20. Scores are compared up to the
constant of a row that softmax discards (see `attention_scores`), so that any family's attention probabilities serve; where
the numbers of heads differ L_attn cannot be, and `attention` = false leaves it out. W_h and W_e exist only where widths
differ; the embedding has one and each layer one. L_pred is of the task's own head: at every real token where each has a
label; for sentence vectors their distance (`edgebert.training.heads`). `hard_label_weight` mixes in the true labels, which the paper does
not use at this stage; `temperature` defaults to 2, the paper's is 1. The paper gives the inner phase 20 epochs and the
predictions 3; the shares here were not tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._phases import INNER
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, learn_predictions
from edgebert.modeling.heads import HEADS
from edgebert.modeling.ragged import why_heads_differ
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.align import STRATEGIES, layer_map
from edgebert.training.context import MethodContext, TracedPart
from edgebert.types import Row, Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig
    from edgebert.training.loop import Objective


def inner_objective(
    student: Student, context: MethodContext, mapping: tuple[int, ...], attention: bool = True
) -> Objective:
    """L_embd + Σ L_hidn + Σ L_attn, with a learned projection where the widths differ; L_attn only with `attention`."""
    import torch
    from torch import nn

    from edgebert.training.align import projection
    from edgebert.training.loop import DistillationObjective
    from edgebert.training.losses import attention_mse, hidden_mse

    wanted: tuple[TracedPart, ...] = ("hidden states", "attentions") if attention else ("hidden states",)

    class Trace(DistillationObjective):
        def __init__(self, width: int, teacher_width: int) -> None:
            super().__init__(student.model, context.teacher, student.teacher_ids)
            self.projections = nn.ModuleList(projection(width, teacher_width) for _ in mapping)

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            mask, pairs = batch[ATTENTION_MASK].bool(), list(enumerate(mapping))
            theirs, ours = self.trace_teacher(batch, *wanted), self.trace(batch, *wanted)
            losses = [hidden_mse(self.projections[m](ours.hidden[m]), theirs.hidden[g], mask) for m, g in pairs]
            if attention:
                losses += [attention_mse(ours.attentions[m - 1], theirs.attentions[g - 1], mask) for m, g in pairs[1:]]
            return torch.stack(losses).sum()

    return Trace(student.model.config.hidden_size, context.teacher.config.hidden_size)


def samples(student: Student, context: MethodContext, n: int) -> list[Row]:
    """At most n samples of each training row, by the teacher's table of the tokens that the student reads."""
    from edgebert.data.augment import by_neighbours, words_of
    from edgebert.data.neighbours import nearest_words

    if not n:
        return []
    table = context.teacher.get_input_embeddings().weight.detach().cpu().numpy()
    table = table if student.teacher_ids is None else table[list(student.teacher_ids)]
    both = not HEADS.get(context.task.head).finds_places  # the text that they are in stays as it is
    words = [word for text in words_of(context.train, second=both) for word in text]
    nearest = nearest_words(words, student.tokenizer, table)
    return by_neighbours(context.train, n, nearest, seed=context.settings.seed, second=both)


def apply(
    student: Student,
    context: MethodContext,
    *,
    general: float,
    inner: float,
    epochs: float,
    mapping: str,
    layers: tuple[int, ...],
    attention: bool,
    augment: int,
    **prediction: float,
) -> Student:
    """The student after all phases."""
    from edgebert.training.run import train_student

    n_student, n_teacher = (model.config.num_hidden_layers for model in (student.model, context.teacher))
    text_epochs, epochs = context.text_epochs(epochs), epochs or context.settings.epochs
    general = general if context.unlabelled else 0.0
    rows = [*context.train, *samples(student, context, augment)]
    if general or inner:
        goals = layer_map(mapping, n_student, n_teacher, layers, "tinybert.layers")
        objective = inner_objective(student, context, goals, attention)
        text = ("general", general * text_epochs, context.transfer)
        for name, passes, own in (text, ("inner", inner * epochs, rows)):
            if passes:
                train_student(objective, student, context, f"tinybert-{name}", passes, rows=own, scored=False)
    learn_predictions(student, context, "tinybert", (1 - general - inner) * epochs, rows=rows, **prediction)
    return student


def check(
    config: ModelConfig,
    teacher: ModelConfig,
    *,
    general: float,
    inner: float,
    mapping: str,
    layers: tuple[int, ...],
    attention: bool,
    **_: object,
) -> None:
    if general + inner >= 1:
        what = f"shares of {general:g} and {inner:g} leave no epochs for the predictions"
        raise RequestError(what, where="tinybert.inner", hint="Let general and inner add up to less than 1.")
    if not general + inner:
        return
    layer_map(mapping, config.num_hidden_layers, teacher.num_hidden_layers, layers, "tinybert.layers")
    if attention and (why := why_heads_differ(config, teacher)):
        hint = "Leave its loss out with tinybert.attention=false."
        raise RequestError(why, where="tinybert.attention", hint=hint)


METHOD = Method(
    name="tinybert",
    title="Distil embeddings, hidden states, attention and predictions",
    paper=Paper(
        "TinyBERT: Distilling BERT for Natural Language Understanding",
        "Jiao, Yin, Shang, Jiang, Chen, Li, Wang, Liu",
        2019,
        "1909.10351",
    ),
    stage="train",
    apply=apply,
    check=check,
    params=(
        Param("general", float, 0.2, "share of the epochs inside the network on --unlabelled, where it is given",
              minimum=0, maximum=0.9),
        INNER,
        EPOCHS,
        Param("mapping", str, "uniform", "teacher layer of each student layer", choices=STRATEGIES),
        Param("layers", tuple, (), "exactly these teacher layers, counted from 1, in place of a mapping"),
        Param("attention", bool, True, "attention is learnt too, which equal numbers of heads can"),
        Param("augment", int, 0, "changed samples of each training row", minimum=0),
        TEMPERATURE,
        HARD,
        REPLACE,
    ),
    needs=("hidden states", "attentions"),
    reads_text=True,
    toy={"epochs": 1, "augment": 1},
)  # fmt: skip
