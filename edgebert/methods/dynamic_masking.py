"""Learn from text by guessing tokens that are hidden anew in every batch, in windows full of text.

Liu, Ott, Goyal, Du, Joshi, Chen, Levy, Lewis, Zettlemoyer, Stoyanov (2019), "RoBERTa: A Robustly Optimized BERT Pretraining
Approach", arXiv 1907.11692, of which three choices are taken:

- dynamic masking (section 4.1): a text that is read again has other tokens hidden;
- FULL-SENTENCES (section 4.2): texts follow each other until a window is full, across the ends of documents;
- no next-sentence loss (section 4.2): L = - Σ_{i hidden} log p(x_i | text with tokens hidden).

Differences: each row is a document, and they follow each other in an order shuffled once. A window ends at any token and not
at a sentence, and nothing stands between two documents, where the paper puts a separator. The batch stays that of the
settings, where the paper's is 8k. The student starts with the weights and the tokenizer that it comes with.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.methods import Method, Paper
from edgebert.methods._text import EPOCHS, SHARE
from edgebert.training.context import MethodContext
from edgebert.types import Feature, Student

if TYPE_CHECKING:
    from tokenizers import Tokenizer

JOINED = 1000  # texts that are cut into windows together


def full_windows(texts: Sequence[str], tokenizer: Tokenizer, max_length: int) -> list[Feature]:
    """Windows of `max_length` tokens, special tokens included, over the texts joined; the last of each lot is shorter."""
    from tokenizers import Tokenizer

    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    private.enable_truncation(max_length)
    results: list[Feature] = []
    for start in range(0, len(texts), JOINED):
        first = private.encode(" ".join(texts[start : start + JOINED]))
        for window in (first, *first.overflowing):
            results.append(Feature(len(results), tuple(window.ids), tuple(window.type_ids)))
    return results


def apply(student: Student, context: MethodContext, *, epochs: float, share: float) -> Student:
    """The student after guessing tokens."""
    from dataclasses import replace

    from edgebert.tasks._encode import room, valid_unicode
    from edgebert.training.loop import train
    from edgebert.training.mlm import MaskedLm
    from edgebert.training.run import pad_id

    settings, name = context.settings, "dynamic-masking"
    room(student.tokenizer, settings.max_length)
    texts = [valid_unicode(row.identity.replace("\x1f", " ")) for row in context.transfer]
    random.Random(settings.seed).shuffle(texts)
    train(
        MaskedLm(student.model, student.tokenizer, share=share, where=name),
        full_windows(texts, student.tokenizer, settings.max_length),
        replace(settings, epochs=context.text_epochs(epochs)),
        Path(context.work) / name,
        name=name,
        pad_id=pad_id(student),
        log=context.log,
    )
    return student


METHOD = Method(
    name="dynamic-masking",
    title="Learn from text by guessing tokens, drawn anew in each batch",
    paper=Paper(
        "RoBERTa: A Robustly Optimized BERT Pretraining Approach",
        "Liu, Ott, Goyal, Du, Joshi, Chen, Levy, Lewis, Zettlemoyer, Stoyanov",
        2019,
        "1907.11692",
    ),
    stage="pretrain",
    apply=apply,
    params=(EPOCHS, SHARE),
    any_tokenizer=True,
    hides_tokens=lambda **_: True,
    reads_text=True,
    toy={"epochs": 1},
)
