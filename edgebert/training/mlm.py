"""Masked words: which tokens are hidden, and the head that guesses them, for students that learn from text alone.

Devlin et al. 2018, arXiv 1810.04805, section 3.1: of the tokens chosen, 80 % become [MASK], 10 % a random token, 10 % stay;
the loss is taken at all of them. Masks are drawn anew for each batch, as in RoBERTa (arXiv 1907.11692).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgebert.errors import RequestError
from edgebert.modeling.losses import IGNORED, hard_cross_entropy
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS
from edgebert.training.loop import Objective

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

MASKS = ("[MASK]", "<mask>", "<|mask|>")  # BERT's, RoBERTa's, EuroBERT's
BEGINS = ("Ġ", "▁")  # before a token that begins a word: byte-level BPE, Unigram
SHARE = 0.15


def special_ids(tokenizer: Tokenizer) -> Tensor:
    """(n_special,) ids of special tokens, which are neither hidden nor put in."""
    results = [i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    return torch.tensor(results, dtype=torch.long)


def mask_id(tokenizer: Tokenizer, where: str) -> int:
    """The id of the mask token. Raises RequestError where the vocabulary has none."""
    for name in MASKS:
        if (result := tokenizer.token_to_id(name)) is not None:
            return int(result)
    what = f"it learns from text with hidden tokens, and the tokenizer has no mask token ({', '.join(MASKS)})"
    raise RequestError(what, where=where, hint="Use a method that learns from answers, such as kd.")


def continues(tokenizer: Tokenizer) -> Tensor:
    """(n_tokens,) true for tokens that continue a word: ## of WordPiece, no Ġ of byte-level BPE, no ▁ of Unigram.

    Punctuation that touches a word is a word of its own in WordPiece and goes with that word in the others. A character
    of a script without spaces is a word where the tokenizer cuts it off, as BERT's does with Chinese. Where tokens have
    none of these marks, each is a word.
    """
    vocabulary = tokenizer.get_vocab()
    result = torch.zeros(max(vocabulary.values()) + 1, dtype=torch.bool)
    prefix = getattr(tokenizer.model, "continuing_subword_prefix", None)
    counts = {mark: sum(subword.startswith(mark) for subword in vocabulary) for mark in BEGINS}
    begins = max(BEGINS, key=lambda mark: counts[mark])  # a large Unigram vocabulary has a few tokens with Ġ too
    for token, i in vocabulary.items():
        result[i] = token.startswith(prefix) if prefix else bool(counts[begins]) and not token.startswith(begins)
    result[special_ids(tokenizer)] = False
    return result


def choose(free: Tensor, share: float, follows: Tensor | None = None) -> Tensor:
    """(batch, seq) true at the positions to guess.

    Args:
        free: (batch, seq), true where a token may be hidden.
        share: of the tokens, 0 to 1; of the words, where whole words are chosen.
        follows: (batch, seq), true where a token continues the word before it: then whole words are chosen together.
    """
    draws = torch.rand(free.shape, device=free.device)
    if follows is not None:
        begins = ~(follows & free & free.roll(1, 1))  # the first token behind a special token begins a word
        begins[:, 0] = True
        draws = draws.gather(1, begins.long().cumsum(1) - 1)  # a draw for each word, by its number in the row
    return (draws < share) & free


def hide(ids: Tensor, chosen: Tensor, mask: int, n_vocab: int) -> Tensor:
    """The ids with 80 % of the chosen ones as [MASK], 10 % as any token, 10 % as they were."""
    draws = torch.rand(ids.shape, device=ids.device)
    anything = torch.randint(n_vocab, ids.shape, device=ids.device)
    hidden = torch.where(draws < 0.8, torch.full_like(ids, mask), torch.where(draws < 0.9, anything, ids))
    return torch.where(chosen, hidden, ids)


class LmHead(nn.Module):
    """States (…, width) to scores of tokens (…, n_tokens): dense, GELU, layer norm, then the word table itself.

    Args:
        width: of the states.
        table: (n_tokens, table_width), shared with the student's embedding; not a part of this module.
    """

    def __init__(self, width: int, table: nn.Parameter) -> None:
        super().__init__()
        self._table = (table,)
        self.dense, self.norm = nn.Linear(width, table.shape[1]), nn.LayerNorm(table.shape[1])
        self.bias = nn.Parameter(torch.zeros(table.shape[0]))

    def forward(self, states: Tensor) -> Tensor:
        (table,) = self._table
        return F.linear(self.norm(F.gelu(self.dense(states))), table, self.bias)


class MaskedLm(Objective):
    """Cross-entropy of hidden tokens, guessed by a head that is left behind when training ends.

    Args:
        student: any encoder; its task's head is not trained.
        tokenizer: its own.
        share: of the tokens to guess.
        whole_words: all tokens of a word together.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        share: float = SHARE,
        whole_words: bool = False,
        where: str = "mlm",
    ) -> None:
        super().__init__(student)
        self.share, self.mask, self.n_vocab = share, mask_id(tokenizer, where), tokenizer.get_vocab_size()
        self.special = special_ids(tokenizer)
        self.continues = continues(tokenizer) if whole_words else None
        table = student.get_input_embeddings().weight
        self.head = LmHead(student.config.hidden_size, table)

    def chosen(self, batch: dict[str, Tensor]) -> Tensor:
        """(batch, seq) true at the tokens to guess, drawn anew."""
        ids = batch[INPUT_IDS]
        free = batch[ATTENTION_MASK].bool() & ~torch.isin(ids, self.special.to(ids.device))
        return choose(free, self.share, None if self.continues is None else self.continues.to(ids.device)[ids])

    def hidden_batch(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """The batch with tokens hidden, and the ids to guess, (batch, seq), IGNORED elsewhere."""
        ids, chosen = batch[INPUT_IDS], self.chosen(batch)
        return {**batch, INPUT_IDS: hide(ids, chosen, self.mask, self.n_vocab)}, ids.masked_fill(~chosen, IGNORED)

    def guess(self, states: Tensor, wanted: Tensor) -> Tensor:
        """Scalar: cross-entropy of the wanted ids at the states (batch, seq, width)."""
        there = wanted != IGNORED
        return hard_cross_entropy(self.head(states[there]), wanted[there])

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        hidden, wanted = self.hidden_batch(batch)
        return self.guess(self.trace(hidden).hidden[-1], wanted)
