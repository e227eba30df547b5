"""DistilBERT: every other layer of the teacher, then three losses at once on text, then the task.

Sanh, Debut, Chaumond, Wolf (2019), "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter", arXiv
1910.01108. The student keeps one layer in two of the teacher's and learns

    L = ce · L_ce + mlm · L_mlm + cos · L_cos                          5, 2 and 1 in the authors' code
    L_ce = T² · CE(softmax(z_T / T), softmax(z_S / T))
    L_mlm = cross-entropy of hidden tokens (Devlin et al. 2018)
    L_cos = 1 - cos(h_S, h_T), of the last layer, the mean over real tokens

The triple loss has the share `inner` of the epochs, on `--unlabelled` and the texts of the training rows. The rest is the
task: its labels and the teacher's answers, which the paper tries too (its DistilBERT (D)).

Differences: the paper's teacher is a language model and L_ce is over its tokens. Ours is fine-tuned and mostly has no such
head: L_ce is over the task's answers, and L_mlm uses a head of ours that shares the student's word table and is left behind.
The paper reads one masked text for all three; here only L_mlm reads masked text, since the task's answers are of whole
texts: two passes a step. The authors' code keeps layers 1, 3, 5, 8, 10, 12 of 12; ours are spread evenly, 2, 4 … 12
(in ModernBERT the first and an even spread behind it, see drop-layers). The paper drops token types and the pooler; here
they stay, so that any family serves. A projection stands before h_S where the widths differ. The paper's corpus is BERT's; ours is as large as what is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param, drop_layers
from edgebert.methods._phases import INNER
from edgebert.methods._prediction import EPOCHS, HARD, TEMPERATURE, learn_predictions
from edgebert.methods._stack import check_stack
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig
    from edgebert.training.loop import Objective


def depth_of(config: ModelConfig, n_layers: int) -> int:
    """Layers of the student: those asked for, or half of what there is."""
    return n_layers or max(1, config.num_hidden_layers // 2)


def triple_objective(
    student: Student, context: MethodContext, *, ce: float, mlm: float, cos: float, temperature: float
) -> Objective:
    """L. The head for hidden tokens and the projection are trained with the student and not kept."""
    from edgebert.training.align import projection
    from edgebert.training.heads import soft_loss
    from edgebert.training.loop import DistillationObjective
    from edgebert.training.losses import cosine_distance
    from edgebert.training.mlm import MaskedLm

    words = MaskedLm(student.model, student.tokenizer, where="distilbert.mlm") if mlm else None
    widths = student.model.config.hidden_size, context.teacher.config.hidden_size

    class Triple(DistillationObjective):
        def __init__(self) -> None:
            super().__init__(student.model, context.teacher, student.teacher_ids)
            self.projection = projection(*widths)
            if words is not None:
                self.head = words.head

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            theirs, ours = self.trace_teacher(batch), self.trace(batch)
            soft = soft_loss(self.student, ours.outputs, theirs.outputs, batch, temperature)
            mask = batch[ATTENTION_MASK].bool()
            near = cosine_distance(self.projection(ours.hidden[-1]), theirs.hidden[-1], mask)
            both = ce * soft + cos * near
            return both if words is None else both + mlm * words.loss(batch)

    return Triple()


def apply(
    student: Student,
    context: MethodContext,
    *,
    n_layers: int,
    epochs: float,
    inner: float,
    ce: float,
    mlm: float,
    cos: float,
    temperature: float,
    hard_label_weight: float,
) -> Student:
    """The student with fewer layers, after the triple loss and the task."""
    from edgebert.training.run import train_student

    check(student.model.config, context.teacher.config, n_layers=n_layers)
    depth = depth_of(student.model.config, n_layers)
    student = drop_layers.apply(student, context, n_layers=depth, strategy="uniform", layers=())
    text_epochs, epochs = context.text_epochs(epochs), epochs or context.settings.epochs
    if inner:
        triple = triple_objective(student, context, ce=ce, mlm=mlm, cos=cos, temperature=temperature)
        train_student(triple, student, context, "distilbert-triple", inner * text_epochs, rows=context.transfer)
    learn_predictions(
        student,
        context,
        "distilbert",
        (1 - inner) * epochs,
        temperature=temperature,
        hard_label_weight=hard_label_weight,
    )
    return student


def check(config: ModelConfig, teacher: ModelConfig, *, n_layers: int, **_: object) -> None:
    if n_layers > config.num_hidden_layers:
        what = f"{n_layers} layers cannot be kept of {config.num_hidden_layers}"
        raise RequestError(what, where="distilbert.n_layers")
    check_stack(config, "distilbert")


def reshape(config: ModelConfig, *, n_layers: int, **_: object) -> ModelConfig:
    return drop_layers.reshape(config, n_layers=depth_of(config, n_layers), strategy="uniform", layers=())


METHOD = Method(
    name="distilbert",
    title="Keep every other layer and distil predictions, hidden tokens and states together",
    paper=Paper(
        "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter",
        "Sanh, Debut, Chaumond, Wolf",
        2019,
        "1910.01108",
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param(
            "n_layers",
            int,
            0,
            "layers to keep, spread evenly; 0 keeps half; left open, the planner chooses",
            minimum=0,
            search=lambda config: range(1, config.num_hidden_layers + 1),
        ),
        EPOCHS,
        INNER,
        Param("ce", float, 5.0, "weight of the teacher's answers in the first phase", minimum=0),
        Param("mlm", float, 2.0, "weight of hidden tokens; 0 leaves them out", minimum=0),
        Param("cos", float, 1.0, "weight of the last layer's states", minimum=0),
        TEMPERATURE,
        HARD,
    ),
    needs=("hidden states",),
    hides_tokens=lambda *, mlm, inner, **_: mlm * inner > 0,
    reads_text=True,
    toy={"n_layers": 2, "epochs": 1},
)
