"""What a method is given beside the student, and which of the teacher's answers it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgebert.types import Row, TrainSettings

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig
    from edgebert.tasks import Task
    from edgebert.training.answers import StoredAnswers

TracedPart = Literal["hidden states", "attentions", "values"]  # what of the inside of a network is read
KINDS_OF_ANSWERS = ("plain", "out-of-fold", "ensemble", "dropout", "spread")  # see `edgebert.teachers.answers`


@dataclass(frozen=True)
class AnswerKind:
    """Which answers a method learns, of those that the stage `answers` can store.

    Attributes:
        name: of KINDS_OF_ANSWERS.
        folds: teachers of out-of-fold answers and of an ensemble.
        passes: of the teacher with dropout.
        calibrated: each teacher's logits are divided by a temperature fitted on the development rows.
    """

    name: str = "plain"
    folds: int = 3
    passes: int = 8
    calibrated: bool = False

    @property
    def trains_teachers(self) -> bool:
        return self.name in ("out-of-fold", "ensemble")


def plain_answers(**params: object) -> AnswerKind:
    """The kind of a method that learns the teacher's own answers."""
    return AnswerKind()


@dataclass(frozen=True)
class MethodContext:
    """What a method may use beside the student."""

    teacher: PreTrainedModel  # in eval mode
    task: Task
    labels: tuple[str, ...]
    train: Sequence[Row]
    dev: Sequence[Row]
    settings: TrainSettings
    work: Path  # a folder of this method's own: checkpoints from which training goes on after a kill
    unlabelled: Sequence[Row] = ()  # of --unlabelled
    teacher_tokenizer: Tokenizer | None = None  # the teacher's own; it matters where the student's is another
    log: Callable[..., None] = field(default=lambda **event: None)  # structured events, shown as progress
    answers: StoredAnswers | None = None  # of the kind that the method asked for; None asks the teacher when it trains
    scores_epochs: bool = True  # tell development scores on the way
    epochs_of_text: float = 0.0  # passes over `transfer` that --effort gives; 0 is the settings' epochs
    cost: Callable[[ModelConfig], float] | None = None  # predicted ms of a pass on the device, where a method reads it

    def text_epochs(self, epochs: float) -> float:
        """Passes over `transfer`: as many as given, or as --effort gives. The settings' epochs are over `train` alone."""
        return epochs or self.epochs_of_text or self.settings.epochs

    @property
    def transfer(self) -> tuple[Row, ...]:
        """Rows whose labels are not asked for: the unlabelled ones, then those to train on."""
        return (*self.unlabelled, *self.train)
