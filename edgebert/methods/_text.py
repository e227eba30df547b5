"""What the methods that learn from text alone share: the text, its passes, and the share of tokens to guess.

The text is --unlabelled and the training rows without their labels (`MethodContext.transfer`). The student's own head is neither
read nor changed; what guesses the tokens is left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.methods import Param
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.training.loop import Objective

EPOCHS = Param("epochs", float, 0.0, "passes over the text; 0 takes what --effort gives", minimum=0)
SHARE = Param("share", float, 0.15, "of the tokens of a text to guess, 0 to 1", minimum=0, maximum=1)


def learn_text(objective: Objective, student: Student, context: MethodContext, name: str, epochs: float) -> None:
    """Minimises the objective over the text; the student is trained in place."""
    from edgebert.training.run import train_student

    rows = context.transfer
    train_student(objective, student, context, name, context.text_epochs(epochs), rows=rows, scored=False)
