"""Distil how the teacher's last layer attends and how its values relate, then the predictions.

Wang, Wei, Dong, Bao, Yang, Zhou (2020), "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
Pre-Trained Transformers", arXiv 2002.10957. With A the attention of one layer, V its values, of width d a head:

    L_AT = 1/(A_h |x|) Σ_a Σ_t KL(A^T_{a,t} ‖ A^S_{a,t})               equation 2
    VR_a = softmax(V_a V_aᵀ / √d)                                      equation 4
    L_VR = 1/(A_h |x|) Σ_a Σ_t KL(VR^T_{a,t} ‖ VR^S_{a,t})             equation 5
    L = L_AT + L_VR                                                    equation 6

The student's last layer learns from one layer of the teacher, the last unless `layer` says otherwise. Relations are
pairs of tokens, so the widths of student and teacher may differ; the heads may not. Learned from texts alone, for the
share `inner` of the epochs; the rest learns the predictions, as TinyBERT's second phase does.

A teacher assistant (section 3.3, after Mirzadeh et al. 2019, arXiv 1902.03393): with `assistant` layers, a model of the
teacher's width learns L from the teacher for half of the inner share, and the student learns L from it for the other half.

Differences: the paper distils a pre-trained teacher on its pre-training text and fine-tunes the student afterwards; here
the teacher is fine-tuned, the text is `--unlabelled` and the training rows, and the second phase is distilled too. The
paper's assistant has the teacher's layers and the student's width; ours has the teacher's width and fewer layers, taken
uniformly from the teacher, since students here are mostly shallower and start from the teacher's own layers.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._phases import INNER
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, learn_predictions
from edgebert.methods._stack import check_stack
from edgebert.methods.drop_layers import kept_layers
from edgebert.modeling.ragged import why_heads_differ
from edgebert.runtime.specs import ATTENTION_MASK
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig
    from edgebert.training.features import Trace
    from edgebert.training.loop import Objective


def deep_self_attention(ours: Trace, theirs: Trace, layer: int, mask: Tensor) -> Tensor:
    """L_AT + L_VR between the student's last layer and the teacher's `layer`, counted from 0, negative from the end.

    Args:
        ours, theirs: with attentions (batch, heads, seq, seq) and values (batch, heads, seq, head_width) of each layer.
        mask: (batch, seq), true at real tokens.
    """
    from edgebert.training.losses import attention_kl, relation

    attention = attention_kl(ours.attentions[-1], theirs.attentions[layer], mask)
    return attention + attention_kl(relation(ours.values[-1], mask), relation(theirs.values[layer], mask), mask)


def inner_objective(student: Student, teacher: PreTrainedModel, layer: int) -> Objective:
    """L, for a teacher layer counted as `deep_self_attention` does."""
    from edgebert.training.loop import DistillationObjective

    class DeepSelfAttention(DistillationObjective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            theirs = self.trace_teacher(batch, "attentions", "values")
            ours = self.trace(batch, "attentions", "values")
            return deep_self_attention(ours, theirs, layer, batch[ATTENTION_MASK].bool())

    return DeepSelfAttention(student.model, teacher, student.teacher_ids)


def assistant_of(teacher: PreTrainedModel, n_layers: int) -> PreTrainedModel:
    """A copy of the teacher with this many of its layers, spread evenly."""
    from edgebert.modeling.layers import keep_layers

    model = copy.deepcopy(teacher)
    keep_layers(model, kept_layers("uniform", model.config.num_hidden_layers, n_layers))
    return model


def learn_relations(student: Student, context: MethodContext, layer: int, assistant: int, epochs: float) -> None:
    """The inner phase, in place. The assistant reads text as the teacher does, whatever vocabulary the student has."""
    from edgebert.training.run import train_student

    teacher, rows = context.teacher, context.transfer
    if assistant:
        epochs /= 2
        helper = Student(assistant_of(teacher, assistant), context.teacher_tokenizer or student.tokenizer)
        first = inner_objective(helper, teacher, layer - 1)
        train_student(first, helper, context, "minilm-assistant", epochs, rows=rows, scored=False)
        teacher, layer = helper.model, 0
    objective = inner_objective(student, teacher, layer - 1)
    train_student(objective, student, context, "minilm-inner", epochs, rows=rows, scored=False)


def apply(
    student: Student,
    context: MethodContext,
    *,
    epochs: float,
    inner: float,
    layer: int,
    assistant: int,
    temperature: float,
    hard_label_weight: float,
    replace: float,
) -> Student:
    """The student after both phases."""
    check(student.model.config, context.teacher.config, layer=layer, assistant=assistant)
    text_epochs, epochs = context.text_epochs(epochs), epochs or context.settings.epochs
    if inner:
        learn_relations(student, context, layer, assistant, inner * text_epochs)
    learn_predictions(
        student,
        context,
        "minilm",
        (1 - inner) * epochs,
        temperature=temperature,
        hard_label_weight=hard_label_weight,
        replace=replace,
    )
    return student


def check(config: ModelConfig, teacher: ModelConfig, *, layer: int, assistant: int, **_: object) -> None:
    if why := why_heads_differ(config, teacher):
        raise RequestError(why, where="minilm", hint="Give the student as many heads as its teacher has.")
    depth, n_layers = config.num_hidden_layers, teacher.num_hidden_layers
    if layer > n_layers:
        raise RequestError(f"the teacher has {n_layers} layers, none is number {layer}", where="minilm.layer")
    if assistant and not depth < assistant < n_layers:
        what = f"an assistant of {assistant} layers is not between a student of {depth} and a teacher of {n_layers}"
        raise RequestError(what, where="minilm.assistant", hint="0 goes without one.")
    if assistant:
        check_stack(teacher, "minilm.assistant")


METHOD = Method(
    name="minilm",
    title="Distil the attention and the value relations of the last layer, then predictions",
    paper=Paper(
        "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
        "Wang, Wei, Dong, Bao, Yang, Zhou",
        2020,
        "2002.10957",
    ),
    stage="train",
    apply=apply,
    check=check,
    params=(
        EPOCHS,
        INNER,
        Param("layer", int, 0, "teacher layer to learn from, from 1; 0 is the last", minimum=0),
        Param("assistant", int, 0, "layers of a model between teacher and student; 0 goes without", minimum=0),
        TEMPERATURE,
        HARD,
        REPLACE,
    ),
    needs=("attentions", "values"),
    reads_text=True,
    toy={"epochs": 1},
)
