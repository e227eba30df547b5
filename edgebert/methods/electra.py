"""Learn from text by telling which tokens a small generator has replaced.

Clark, Luong, Le, Manning (2020), "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", arXiv
2003.10555, section 2. Of a text x, a share of the positions m is hidden, and the generator G guesses them:

    L_MLM  = - Σ_{i in m} log p_G(x_i | x with m hidden)
    x̂_i    ~ p_G(· | x with m hidden)  for i in m,   x_i elsewhere
    L_disc = - Σ_t [x̂_t = x_t] log D(x̂, t) + [x̂_t ≠ x_t] log (1 - D(x̂, t))
    L      = L_MLM + λ · L_disc,   λ = 50

The student is the discriminator D. A drawn token that happens to be the right one counts as original. No gradient passes
through the drawing. All hidden positions become [MASK] in what the generator reads. It guesses with the student's word table.

Differences: the generator is a copy of the student's lowest layers, a share `generator` of them, where the paper's is
narrower and begins at random. Only the word table is shared, where the paper shares positions too. Means stand where
sums do: of L_MLM over hidden positions, of L_disc over real ones. What decides, a dense layer, GELU and a linear one, is
left behind, and so is the generator. The student starts with the weights that it comes with.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from edgebert.methods import Method, Paper, Param
from edgebert.methods._text import EPOCHS, SHARE, learn_text
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from edgebert.training.loop import Objective


def replaced_loss(logits: Tensor, replaced: Tensor, mask: Tensor) -> Tensor:
    """L_disc, the mean over real positions.

    Args:
        logits: (batch, seq), high where a token is judged to be replaced: D = sigmoid(-logits).
        replaced: (batch, seq), true where it is.
        mask: (batch, seq), true at real tokens.
    """
    from torch.nn import functional as F

    return F.binary_cross_entropy_with_logits(logits[mask], replaced[mask].to(logits.dtype))


def drawn(ids: Tensor, chosen: Tensor, scores: Tensor) -> Tensor:
    """The ids with a token drawn from softmax(scores) at each chosen position; no gradient comes from it.

    Args:
        ids, chosen: (batch, seq).
        scores: (n_chosen, n_tokens), of the chosen positions in order.
    """
    import torch

    tokens = torch.multinomial(scores.detach().float().softmax(-1), 1)[:, 0] if len(scores) else ids[chosen]
    return ids.masked_scatter(chosen, tokens)


def shared_table(table: nn.Parameter) -> nn.Module:
    """An embedding that reads a table which belongs to another module."""
    from torch import nn
    from torch.nn import functional as F

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._table = (table,)

        @property
        def weight(self) -> nn.Parameter:
            return self._table[0]

        def forward(self, ids: Tensor) -> Tensor:
            return F.embedding(ids, self.weight)

    return Shared()


def generator_of(student: Student, share: float) -> PreTrainedModel:
    """A share of the student's layers, the lowest, at least one, over the student's own word table."""
    from edgebert.modeling.layers import keep_settings
    from edgebert.modeling.rebuild import rebuilt

    config = copy.deepcopy(student.model.config)
    keep_settings(config, range(max(1, round(share * config.num_hidden_layers))))
    model = rebuilt(student, config).model
    model.set_input_embeddings(shared_table(student.model.get_input_embeddings().weight))
    return model


def electra_objective(student: Student, generator: float, share: float, weight: float) -> Objective:
    """L_MLM of a new generator + weight · L_disc of the student."""
    from torch import nn

    from edgebert.modeling.losses import hard_cross_entropy
    from edgebert.training.loop import Objective
    from edgebert.training.mlm import MaskedLm

    class Electra(Objective):
        def __init__(self) -> None:
            super().__init__(student.model)
            self.guesser = MaskedLm(generator_of(student, generator), student.tokenizer, share=share, where="electra")
            width = student.model.config.hidden_size
            self.discriminator = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            ids, chosen = batch[INPUT_IDS], self.guesser.chosen(batch)
            masked = {**batch, INPUT_IDS: ids.masked_fill(chosen, self.guesser.mask)}
            scores = self.guesser.head(self.guesser.trace(masked).hidden[-1][chosen])
            corrupt = drawn(ids, chosen, scores)
            logits = self.discriminator(self.trace({**batch, INPUT_IDS: corrupt}).hidden[-1])[:, :, 0]
            judged = replaced_loss(logits, corrupt != ids, batch[ATTENTION_MASK].bool())
            return hard_cross_entropy(scores, ids[chosen]) + weight * judged

    return Electra()


def apply(
    student: Student, context: MethodContext, *, epochs: float, generator: float, share: float, weight: float
) -> Student:
    """The student after judging tokens."""
    learn_text(electra_objective(student, generator, share, weight), student, context, "electra", epochs)
    return student


METHOD = Method(
    name="electra",
    title="Learn from text by telling which tokens were replaced",
    paper=Paper(
        "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators",
        "Clark, Luong, Le, Manning",
        2020,
        "2003.10555",
    ),
    stage="pretrain",
    apply=apply,
    params=(
        EPOCHS,
        Param("generator", float, 0.25, "share of the student's layers that the generator has", minimum=0, maximum=1),
        SHARE,
        Param("weight", float, 50.0, "of the student's loss beside the generator's", minimum=0),
    ),
    any_tokenizer=True,
    hides_tokens=lambda **_: True,
    reads_text=True,
    toy={"epochs": 1},
)
