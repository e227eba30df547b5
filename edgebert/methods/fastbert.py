"""Let a text stop at the first layer whose label is certain.

Liu, Zhou, Wang, Zhao, Deng, Ju (2020), "FastBERT: a Self-distilling BERT with Adaptive Inference Time", arXiv 2004.02178.

- the backbone, an encoder with its classifier, is fine-tuned and then frozen
- after layer i a branch labels the text too, with p_i; the backbone's own answer is p. Self-distillation (equations 5 and 6)
  minimises Σ_i KL(p_i ‖ p), KL(a ‖ b) = Σ_k a[k] log (a[k] / b[k]), and needs no labels
- uncertainty (equation 7) is u_i = Σ_k p_i[k] log p_i[k] / log (1/N) of N labels, from 0 to 1
- a text gets the answer of the first branch with u_i < speed, and goes through no further layer

Differences:

- The backbone learns the teacher's predictions, with the loss of kd; the paper fine-tunes it on labels. With `backbone` false
  it stays as the recipe has left it.
- A branch has the shape of the backbone's classifier, as in the paper; ours is BERT's, without the self-attention over vectors
  of 128 numbers that the paper puts into both. It starts from the classifier's weights.
- `exits` leaves branches out: each one costs a text that goes on a little time.
- With `speed` 0 it is chosen on the development rows, in steps of 0.01: the greatest up to which no more than `max_drop` % of
  them are labelled wrong that the last layer labels right. Those that an earlier layer labels right by luck do not make up for
  them: with that, a speed of 400 rows of banking77 that cost 0.25 points there cost 1.95 on 3,080 others. The paper sets it by
  hand.

It serves one label of several. ONNX files stop (If); other formats would compute all layers, and are not written. A device is
predicted the time of a text that stops nowhere, its branches included; what test rows take is measured.

In 8 bits a text whose uncertainty lies near `speed` may stop at another layer than the model in float. The gate has no rule of
its own for that: the other layer's answer is held against the model's like any other, and it learnt the same distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._bert_layers import check_layers, config_in_parts, in_parts
from edgebert.methods._frozen import only
from edgebert.methods._prediction import EPOCHS, HARD, TEMPERATURE, learn_predictions
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig
    from edgebert.modeling.headed import HeadedEncoder
    from edgebert.training.loop import Objective

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "ernie")  # whose layers are BERT's, and whose heads
STEPS = 100  # of `speed`
READ_AT_ONCE = 32  # development rows


def every_answer(model: HeadedEncoder, batch: dict[str, Tensor]) -> list[Tensor]:
    """Logits (batch, n_labels) of each branch, in order, and last the backbone's own, which get no gradient."""
    import torch

    encoder: Any = model.encoder
    ids = batch[INPUT_IDS]
    real = encoder.real(ids, batch[ATTENTION_MASK])
    with torch.no_grad():
        states = dict(encoder.after_layers(ids, real, batch.get(TOKEN_TYPE_IDS)))
        last = list(states.values())[-1]
        (own,) = model.heads["head"](last, real[:, : last.shape[1]])
    return [*(branch(states[layer], real)[0] for layer, branch in encoder.branches.items()), own]


def self_distillation(branches: Sequence[Tensor], own: Tensor) -> Tensor:
    """Σ_i KL(p_i ‖ p) of (batch, n_labels) logits, the mean over the batch."""
    theirs = own.log_softmax(-1)
    logs = [logits.log_softmax(-1) for logits in branches]
    return sum((ours.exp() * (ours - theirs)).sum(-1).mean() for ours in logs)  # type: ignore[return-value]


def branch_objective(student: Student) -> Objective:
    """Trains the branches on what the backbone answers without dropout."""
    from edgebert.training.loop import Objective

    class SelfDistillation(Objective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            self.student.eval()
            *branches, own = every_answer(self.student, batch)  # type: ignore[arg-type]
            return self_distillation(branches, own)

    return SelfDistillation(student.model)


# ---------------------------------------------------------------- when to stop


def stops(uncertainties: np.ndarray, speed: float) -> np.ndarray:
    """Of each text the number of the first branch under `speed`, or how many branches there are: (n,) of (branches, n)."""
    import numpy as np

    under = np.concatenate([uncertainties < speed, np.ones((1, uncertainties.shape[1]), bool)])
    first: np.ndarray = under.argmax(0)
    return first


def spoilt(answers: np.ndarray, uncertainties: np.ndarray, truth: np.ndarray, speed: float) -> float:
    """The share of the texts that the last answer labels right and the one that they stop at labels wrong, 0 to 1.

    Args:
        answers: (branches + 1, n), the label of each.
        uncertainties: (branches, n).
        truth: (n,).
    """
    import numpy as np

    chosen = answers[stops(uncertainties, speed), np.arange(len(truth))]
    return float(np.mean((answers[-1] == truth) & (chosen != truth)))


def greatest_speed(answers: np.ndarray, uncertainties: np.ndarray, truth: np.ndarray, max_drop: float) -> float:
    """The greatest step of speed up to which none spoils more than `max_drop` points; 0 where the first one does."""
    speed = 0.0
    for step in range(1, STEPS + 1):
        if 100 * spoilt(answers, uncertainties, truth, step / STEPS) > max_drop + 1e-9:
            break
        speed = step / STEPS
    return speed


def choose_speed(student: Student, context: MethodContext, speed: float, max_drop: float) -> None:
    """Tells the student's config its speed: the one given, or else the one that its development rows allow. In place."""
    import numpy as np
    import torch

    from edgebert.modeling.exits import uncertainty
    from edgebert.training.loop import collate
    from edgebert.training.run import pad_id

    config = student.model.encoder.config
    features = context.task.encode(context.dev, student.tokenizer, context.labels, context.settings.max_length)
    logits, labels = [], []
    with torch.inference_mode():
        for start in range(0, len(features), READ_AT_ONCE):
            batch = collate(features[start : start + READ_AT_ONCE], pad_id(student))
            logits.append(torch.stack(every_answer(student.model, batch)))
            labels.append(batch["labels"])
    each = torch.cat(logits, 1)
    uncertainties, answers, truth = uncertainty(each[:-1]).numpy(), each.argmax(-1).numpy(), torch.cat(labels).numpy()
    speed = speed or greatest_speed(answers, uncertainties, truth, max_drop)
    config.speed = student.model.config.speed = speed
    at, n = stops(uncertainties, speed), len(truth)
    layers = np.array([*config.exit_layers, config.num_hidden_layers])[at].mean()
    early, whole = (float(np.mean(chosen == truth)) for chosen in (answers[at, np.arange(n)], answers[-1]))
    student.notes += (
        f"at speed {speed:g} the {n} development rows stop after {layers:.1f} of {config.num_hidden_layers} layers on "
        f"average; {100 * early:.2f} % are labelled right, {100 * whole:.2f} % after all layers",
    )


# ---------------------------------------------------------------- the method


def apply(
    student: Student, context: MethodContext, *, exits: tuple[int, ...], speed: float, max_drop: float, backbone: bool,
    epochs: float, temperature: float, hard_label_weight: float,
) -> Student:  # fmt: skip
    """The student with trained branches and a speed."""
    from edgebert.training.run import train_student

    created = in_parts(student, reshape(student.model.config, exits=exits))
    branches = created.model.encoder.branches
    branches.requires_grad_(False)
    if backbone:
        prediction: dict[str, Any] = {"temperature": temperature, "hard_label_weight": hard_label_weight}
        learn_predictions(created, context, "fastbert", epochs or context.settings.epochs, **prediction)
    for branch in branches.values():
        branch.load_state_dict(created.model.heads["head"].state_dict())
    branches.requires_grad_(True)
    with only(created.model, [branches]):
        objective = branch_objective(created)
        passes = context.text_epochs(epochs)
        train_student(objective, created, context, "fastbert-exits", passes, rows=context.transfer, scored=False)
    branches.requires_grad_(False)
    choose_speed(created, context, speed, max_drop)
    return created


def reshape(config: ModelConfig, *, exits: tuple[int, ...], **_: object) -> ModelConfig:
    return config_in_parts(config, "fastbert", exit_layers=list(exits) or None)


def check(config: ModelConfig, teacher: ModelConfig, *, exits: tuple[int, ...], **_: object) -> None:
    """Raises RequestError for layers or heads that are not BERT's, exits where no layer follows, and no choice of a label."""
    check_layers(config, "fastbert", FAMILIES, "after which its branches stand")
    n_layers = config.num_hidden_layers
    if n_layers < 2:
        raise RequestError("after one layer there is none to save", where="fastbert", hint="Keep two layers or more.")
    if wrong := [exit for exit in exits if not 0 < exit < n_layers]:
        what = f"after layer {wrong[0]} of {n_layers} no text can stop before the last one"
        raise RequestError(what, where="fastbert.exits", hint=f"Name layers from 1 to {n_layers - 1}.")
    if list(exits) != sorted(set(exits)):
        what = f"{', '.join(map(str, exits))} are not layers in order, each named once"
        raise RequestError(what, where="fastbert.exits", hint="Write them as 2,4,6.")
    if getattr(config, "problem_type", None) in ("multi_label_classification", "regression") or config.num_labels < 2:
        what = "how certain an answer is can be told of one label out of several, and this task gives another answer"
        raise RequestError(what, where="fastbert", hint="Choose another method: edgebert methods")


METHOD = Method(
    name="fastbert",
    title="Let a text stop at the first layer whose label is certain",
    paper=Paper(
        "FastBERT: a Self-distilling BERT with Adaptive Inference Time",
        "Liu, Zhou, Wang, Zhao, Deng, Ju",
        2020,
        "2004.02178",
    ),
    stage="train",
    formats=("onnx",),
    heads=("sequence-classification",),
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param("exits", tuple, (), "layers after which a text may stop, from 1; none given is each but the last"),
        Param(
            "speed",
            float,
            0.0,
            "uncertainty under which a text stops, 0 to 1; 0 chooses it on the development rows",
            minimum=0,
            maximum=1,
        ),
        Param(
            "max_drop",
            float,
            1.0,
            "development rows, in %, that the chosen speed may label wrong where the last layer is right",
            minimum=0,
        ),
        Param("backbone", bool, True, "train the layers and the last classifier before the branches"),
        EPOCHS,
        TEMPERATURE,
        HARD,
    ),
    adds_weights=True,
    last=True,
    any_tokenizer=True,
    reads_text=True,
    toy={"epochs": 1},
)
