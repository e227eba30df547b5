"""Let fewer word vectors through each layer: those that receive least attention are eliminated.

Goyal, Choudhury, Raje, Chakaravarthy, Sabharwal, Verma (2020), "PoWER-BERT: Accelerating BERT Inference via Progressive
Word-vector Elimination", arXiv 2001.08950. Of word vector w in layer j, with attention A_h of head h over N word vectors:

- significance: Sig(w) = Σ_h Σ_w' A_h[w', w], the attention that it receives
- first phase: after the attention of layer j, the word vector of rank k by significance is multiplied by r_j[k], which starts
  at 1 and is learnt within [0, 1] together with the weights; what is minimised is L + λ Σ_j j · mass_j, mass_j = Σ_k r_j[k]
- then layer j keeps its l_j = ⌈mass_j⌉ most significant word vectors, the first token's among them, and training goes on

Differences:

- Ranks are shares. r_j is a function of the rank over the number of a text's tokens, in 128 steps, and a word vector's factor
  is its mean over the stretch that the rank covers. So the student keeps the same share of each text, however long; padding
  takes no part, and answers do not depend on it. mass_j is counted in shares too: our λ is the paper's times N.
- `keep` says how much is kept, so that the planner knows a student's speed before it exists; in the paper it follows from λ.
  Each step, r is brought back to a mean of `keep` where it fell below. In the end the masses are scaled to it, and no layer
  keeps more than the one before: l_j = ⌈c · mass_j · n⌉ for a text of n tokens, but `least` where it has as many. The paper's
  l_j are numbers for one padded length, so that it too takes little but padding from short texts.
- Adam's step for r is as large as takes it from 1 to 0 in a third of the phase; the paper sets its learning rate by hand.
- L is the loss of kd in both phases: the teacher's predictions, and labels with `hard_label_weight`. The paper's is that of
  the labels. It fine-tunes first, for which a recipe has a teacher that was fine-tuned.
- The last layer lets one word vector through, and computes that one alone, where the head reads the first token's state: this
  changes no answer. Where the head reads the mean, as over a sentence encoder, it is that of the word vectors that are left;
  in the first phase each counts by its factor.
- With `inner` 0 nothing is learnt about the layers: all keep the same share, so that the first one eliminates.

It serves labels of texts and pairs: a tag or a span has no state where its word was eliminated. The student's head is BERT's;
ELECTRA's and DistilBERT's have another activation, so there the student starts near its teacher and not as it.

Files of fixed lengths have constant shapes. ExecuTorch and Core AI files cannot be written: their graph for rows of any length
(torch.export) must not tell one word vector from several, and of the shortest texts a layer keeps one. Of two word vectors whose
scores are nearly equal, files of other runtimes and of 8 bits may keep the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._bert_layers import check_layers, config_in_parts, in_parts
from edgebert.methods._prediction import EPOCHS, HARD, TEMPERATURE, learn_predictions, prediction_objective
from edgebert.methods.theseus import n_steps
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig
    from edgebert.training.loop import Objective

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "ernie")  # whose layers are BERT's
LEAST = 0.05  # of `keep`
SPEED = 4.0  # mean steps of Adam in which r could go from 1 to 0, over those of the phase: a third at its falling rate


def kept_shares(masses: Sequence[float], keep: float) -> list[float]:
    """What leaves each layer: shares in proportion to the masses, `keep` on average, none greater than the one before.

    Args:
        masses: of each layer, 0 to 1.

    Returns:
        For each layer a share of 1 at the most, in steps of 1 / GRID.
    """
    from edgebert.modeling.families.power_bert import GRID

    falling = [max(min(masses[: i + 1]), 1e-6) for i in range(len(masses))]

    def scaled(by: float) -> list[float]:
        return [min(1.0, by * mass) for mass in falling]

    low, high = 0.0, 1.0 / min(falling, default=1.0)  # where all are kept
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(scaled(middle)) < keep * len(masses) else (low, middle)
    return [max(1, round(share * GRID)) / GRID for share in scaled(high)]


def with_last(shares: Sequence[float], config: ModelConfig) -> list[float]:
    """`kept_layers` of shares of the layers that are free: one step for the last where it computes one state alone."""
    from edgebert.modeling.families.power_bert import GRID

    return [*shares, *[1 / GRID] * (config.num_hidden_layers - len(shares))]


def retained(retention: Tensor, scores: Tensor, real: Tensor, least: int = 1) -> Tensor:
    """The factor of each word vector: the mean of its layer's retention over the stretch that its rank covers.

    Args:
        retention: (GRID,), each 0 to 1, from the most significant word vectors to the least.
        scores: (batch, seq), significance.
        real: (batch, seq), 1.0 at real tokens.
        least: most significant word vectors of each text that are retained whole.

    Returns:
        (batch, seq), 0 at padding. But for those retained whole, the sum is the number of tokens times the mean of `retention`.
    """
    import torch

    from edgebert.modeling.families.power_bert import ranked

    ranks = ranked(scores, real).argsort(1, descending=True).argsort(1)
    steps, n_real = len(retention), real.sum(1, keepdim=True)
    below = torch.cat([retention.new_zeros(1), retention.cumsum(0)])  # up to each step

    def up_to(rank: Tensor) -> Tensor:
        place = (rank / n_real * steps).clamp(max=steps)
        step = place.long().clamp(max=steps - 1)
        return below[step] + (place - step) * retention[step]

    factors = (up_to(ranks + 1) - up_to(ranks)) * n_real / steps
    return torch.where(ranks < least, 1.0, factors) * real


def lifted(retention: Tensor, keep: float) -> Tensor:
    """The nearest retention, each 0 to 1, whose mean is `keep` or more: clamp(r + c), c the least that is needed."""
    retention = retention.clamp(0, 1)
    if float(retention.mean()) >= keep:
        return retention
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if float((retention + middle).clamp(max=1).mean()) < keep else (low, middle)
    return (retention + high).clamp(max=1)


def search_objective(
    student: Student, context: MethodContext, keep: float, regulariser: float, epochs: float, **prediction: float
) -> Objective:
    """kd's loss with word vectors multiplied by what they retain, and the regulariser. Its `retention()` is (layers, GRID)."""
    import torch
    from torch import nn

    from edgebert.modeling.families.power_bert import GRID, n_whole
    from edgebert.training.loop import DistillationObjective

    encoder = student.model.encoder
    n_layers = n_whole(encoder.config)

    class Search(DistillationObjective):
        asks_once = True

        def __init__(self) -> None:
            super().__init__(student.model, context.teacher, student.teacher_ids)
            # In a tuple, so that it is no submodule: it holds the student too.
            self._prediction = (prediction_objective(student, context, **prediction),)
            self.moved = nn.Parameter(torch.zeros(n_layers, GRID))
            self.scale = SPEED / (n_steps(student, context, epochs) * context.settings.learning_rate)
            encoder.retention = lambda layer, scores, real: retained(
                self.retention()[layer], scores, real, encoder.config.least_kept
            )

        def retention(self) -> Tensor:
            return 1.0 + self.scale * self.moved

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            with torch.no_grad():  # what the last step left
                self.moved.copy_((lifted(self.retention(), keep) - 1.0) / self.scale)
            masses = self.retention().mean(1)
            depth = torch.arange(1, n_layers + 1, device=masses.device)
            return self._prediction[0].loss(batch) + regulariser * (depth * masses).sum()

    return Search()


def learn_shares(
    student: Student, context: MethodContext, keep: float, regulariser: float, epochs: float, **prediction: float
) -> None:
    """The first phase: trains the student and tells its config what its layers keep. In place."""
    from edgebert.training.run import train_student

    objective: Any = search_objective(student, context, keep, regulariser, epochs, **prediction)
    train_student(objective, student, context, "power-bert-search", epochs, scored=False)
    encoder = student.model.encoder
    encoder.retention = None
    masses = lifted(objective.retention().detach(), keep).mean(1).tolist()
    encoder.config.kept_layers = with_last(kept_shares(masses, keep), encoder.config)
    learnt = ", ".join(f"{mass:.2f}" for mass in masses)
    student.notes += (f"retention masses of {learnt} learnt for a mean of {keep:g}",)


def untrained(student: Student, keep: float, least: int = 1) -> Student:
    """The student with its teacher's weights, each layer of which lets the same share through."""
    return in_parts(student, reshape(student.model.config, keep=keep, least=least))


def apply(
    student: Student, context: MethodContext, *, keep: float, least: int, inner: float, regulariser: float, epochs: float,
    temperature: float, hard_label_weight: float,
) -> Student:  # fmt: skip
    """The student after both phases."""
    whole = epochs or context.settings.epochs
    created = untrained(student, keep, least)
    prediction: dict[str, Any] = {"temperature": temperature, "hard_label_weight": hard_label_weight}
    if inner:
        learn_shares(created, context, keep, regulariser, inner * whole, **prediction)
    learn_predictions(created, context, "power-bert", (1 - inner) * whole, **prediction)
    shares = ", ".join(f"{100 * share:.0f}" for share in created.model.config.kept_layers)
    created.notes += (f"of a text's word vectors {shares} % leave the layers",)
    return created


def reshape(config: ModelConfig, *, keep: float, least: int, **_: object) -> ModelConfig:
    from edgebert.modeling.families.power_bert import n_whole

    created = config_in_parts(config, "power-bert", least_kept=least)
    created.kept_layers = with_last(kept_shares([1.0] * n_whole(created), keep), created)
    return created


def check(config: ModelConfig, teacher: ModelConfig, **_: object) -> None:
    """Raises RequestError for layers that are not BERT's, and where there are none whose word vectors could be fewer."""
    check_layers(config, "power-bert", FAMILIES, "between whose halves word vectors could go", ("cls", "mean"))
    if config.num_hidden_layers < 2:
        what = "of one layer only the first token's state is read, so that no word vector is left to eliminate"
        raise RequestError(what, where="power-bert", hint="Keep two layers or more.")


METHOD = Method(
    name="power-bert",
    title="Eliminate the word vectors that receive least attention",
    paper=Paper(
        "PoWER-BERT: Accelerating BERT Inference via Progressive Word-vector Elimination",
        "Goyal, Choudhury, Raje, Chakaravarthy, Sabharwal, Verma",
        2020,
        "2001.08950",
    ),
    stage="train",
    formats=("onnx", "tflite", "coreml", "openvino"),
    heads=("sequence-classification",),
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param(
            "keep",
            float,
            0.5,
            "share of the word vectors that leave the layers, on average over them",
            minimum=LEAST,
            maximum=1,
        ),
        Param("least", int, 16, "word vectors that a text keeps, where it has as many", minimum=1),
        EPOCHS,
        Param(
            "inner",
            float,
            0.4,
            "share of the passes that learn how much each layer keeps; 0 is the same of each",
            minimum=0,
            maximum=0.9,
        ),
        Param("regulariser", float, 0.1, "weight λ of what is kept", minimum=0),
        TEMPERATURE,
        HARD,
    ),
    any_tokenizer=True,
    toy={"epochs": 1, "least": 2},
)
