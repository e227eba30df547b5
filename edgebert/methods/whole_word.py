"""Learn from text by guessing hidden words, all tokens of a word together.

Cui, Che, Liu, Qin, Yang (2019), "Pre-Training with Whole Word Masking for Chinese BERT", arXiv 1906.08101, section 2.1: if
one token of a word is hidden, so are the others; each is still guessed for itself:

    L = - Σ_{i hidden} log p(x_i | text with words hidden)

A word is the tokens from one that begins a word to the next such token (`edgebert.training.mlm.continues`): what carries ##
in WordPiece, what lacks Ġ in byte-level BPE or ▁ in Unigram.

Differences: the paper finds Chinese words with a segmenter (LTP), which would be a dependency; here each character that the
tokenizer cuts off is a word of its own, so that for Chinese in BERT's tokens this is masking of single characters. Of the
words a share is drawn, so that tokens come to that share on average. The 80/10/10 rule is drawn for each token. There is no
next-sentence loss. The student starts with the weights that it comes with.
"""

from __future__ import annotations

from edgebert.methods import Method, Paper
from edgebert.methods._text import EPOCHS, SHARE, learn_text
from edgebert.training.context import MethodContext
from edgebert.types import Student


def apply(student: Student, context: MethodContext, *, epochs: float, share: float) -> Student:
    """The student after guessing words."""
    from edgebert.training.mlm import MaskedLm

    objective = MaskedLm(student.model, student.tokenizer, share=share, whole_words=True, where="whole-word")
    learn_text(objective, student, context, "whole-word", epochs)
    return student


METHOD = Method(
    name="whole-word",
    title="Learn from text by guessing whole words",
    paper=Paper(
        "Pre-Training with Whole Word Masking for Chinese BERT", "Cui, Che, Liu, Qin, Yang", 2019, "1906.08101"
    ),
    stage="pretrain",
    apply=apply,
    params=(EPOCHS, SHARE),
    any_tokenizer=True,
    hides_tokens=lambda **_: True,
    reads_text=True,
    toy={"epochs": 1},
)
