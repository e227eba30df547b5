"""Bring a language's words to where their translations are, so that what is learnt in one language serves in the other.

Cao, Kitaev, Klein (2020), "Multilingual Alignment of Contextual Word Representations", arXiv 2002.03518. From parallel sentences
(s, t), of which t is in the language that the model knows best (the paper's English), words that translate each other are
found, and all weights are trained on

    L = Σ_{(i, j) aligned} |f(i, s) - f(j, t)|²  +  keep · Σ_{j in t} |f(j, t) - f₀(j, t)|²

f(i, s) is the last layer's vector of the last token of word i in sentence s, f₀ that of the model as it came: the second sum
holds t's language where it is. A word is aligned to one word at most, and where both directions agree.

Differences: both sums are means over words, so that `keep` is 1 whatever the sentences' lengths are; the second is over tokens
rather than words. The special tokens of both sentences are aligned too, since heads of whole texts read the first of them.
Words are aligned by `edgebert.training.word_alignment`, made after the papers behind fast_align, which the paper runs; they are
compared in lower case. In a script without spaces what stands between two marks is one word, but for Chinese characters, which
are one each. What goes beyond --max-length is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.errors import DataError, RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._parallel import HINT, Parallel, read_parallel
from edgebert.training.context import MethodContext
from edgebert.types import Feature, Student

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig

NAME = "multilingual-align"


def alignment_loss(states: Tensor, before: Tensor, numbers: Tensor, mask: Tensor, keep: float) -> Tensor:
    """Scalar: the mean of |f(i, s) - f(j, t)|² over aligned words and `keep` times that of |f - f₀|² over tokens of t.

    Args:
        states: (2 · n, seq, width) of sentences s and t in turns.
        before: (n, seq, width) of the sentences t, by the model as it came.
        numbers: (2 · n, seq); what is aligned has one number in both sentences, everything else IGNORED.
        mask: (n, seq), true at the tokens of t.
    """
    from edgebert.modeling.losses import IGNORED

    source, target, of_source = states[0::2], states[1::2], numbers[0::2, :, None]
    row, i, j = ((of_source == numbers[1::2, None, :]) & (of_source != IGNORED)).nonzero(as_tuple=True)
    near = (source[row, i] - target[row, j]).square().sum(-1).mean()
    return near + keep * (target - before)[mask].square().sum(-1).mean()


def aligned_windows(
    parallel: Parallel, tokenizer: Tokenizer, max_length: int
) -> tuple[list[tuple[Feature, Feature]], int]:
    """The sentences s and t as a model reads them, `labels` numbering what is aligned in both; and how many words are.

    Pairs in which nothing is aligned are left out.
    """
    from tokenizers import Tokenizer

    from edgebert.data.words import find_words
    from edgebert.tasks._encode import room, valid_unicode
    from edgebert.training.word_alignment import align_words

    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    room(private, max_length)
    private.enable_truncation(max_length)
    sides = [[valid_unicode(text) for text in side] for side in (parallel.sources, parallel.targets)]
    spans = [[find_words(text) for text in side] for side in sides]
    words = [
        [[text[a:b].lower() for a, b in places] for text, places in zip(*pair, strict=True)]
        for pair in zip(sides, spans, strict=True)
    ]
    links = align_words(*words)
    encodings = [private.encode_batch(side) for side in sides]
    results, n_words = [], 0
    for row, pairs in enumerate(links):
        both = [encodings[0][row], encodings[1][row]]
        ends = [last_tokens(encoding, spans[side][row]) for side, encoding in enumerate(both)]
        places = _once([(ends[0][i], ends[1][j]) for i, j in pairs if i in ends[0] and j in ends[1]])
        n_words += len(places)
        places += zip(*(_specials(encoding) for encoding in both), strict=False)
        if places:
            source, target = zip(*places, strict=True)
            results.append((_window(row, both[0], source), _window(row, both[1], target)))
    return results, n_words


def last_tokens(encoding: Encoding, spans: Sequence[tuple[int, int]]) -> dict[int, int]:
    """word -> its last token, of those words that are in the window; spans are (start, end) characters of each word."""
    owner = {place: word for word, span in enumerate(spans) for place in range(*span)}
    results = {}
    for token, (start, end) in enumerate(encoding.offsets):
        for place in range(start, end):
            if place in owner:
                results[owner[place]] = token
    return results


def _once(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs of tokens without those of which one stands in an earlier pair: a token may end two words."""
    results: dict[int, int] = {}
    for i, j in places:
        if i not in results and j not in results.values():
            results[i] = j
    return list(results.items())


def _specials(encoding: Encoding) -> list[int]:
    return [place for place, special in enumerate(encoding.special_tokens_mask) if special]


def _window(row: int, encoding: Encoding, places: Sequence[int]) -> Feature:
    from edgebert.modeling.losses import IGNORED

    number = {place: i for i, place in enumerate(places)}
    labels = tuple(number.get(place, IGNORED) for place in range(len(encoding.ids)))
    return Feature(row, tuple(encoding.ids), tuple(encoding.type_ids), words=labels, labels=labels)


def apply(
    student: Student, context: MethodContext, *, parallel: str, epochs: float, rate: float, keep: float
) -> Student:
    """The student after its languages were aligned.

    Raises:
        DataError: the parallel text cannot be read, or no two words of it can be aligned.
    """
    from dataclasses import replace

    from edgebert.modeling.checkpoint import copy_student
    from edgebert.runtime.specs import ATTENTION_MASK
    from edgebert.training.loop import DistillationObjective, train
    from edgebert.training.run import pad_id

    text = read_parallel(parallel)
    windows, n_words = aligned_windows(text, student.tokenizer, context.settings.max_length)
    if not n_words:
        raise DataError("no two words of the parallel text could be aligned", where=parallel, hint=HINT)

    class Aligned(DistillationObjective):
        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            targets = {name: value[1::2] for name, value in batch.items()}
            before = self.trace_teacher(targets).hidden[-1]
            mask = targets[ATTENTION_MASK].bool()
            return alignment_loss(self.trace(batch).hidden[-1], before, batch["labels"], mask, keep)

    original = copy_student(student.model, student.tokenizer).model.eval().requires_grad_(False)
    train(
        Aligned(student.model, original, None),
        windows,
        replace(context.settings, epochs=epochs, learning_rate=rate),
        Path(context.work) / NAME,
        name=NAME,
        pad_id=pad_id(student),
        log=context.log,
    )
    note = f"languages aligned on {n_words:,} pairs of words in {len(windows):,} pairs of sentences"
    left_out = f", {text.n_one_sided:,} without a translation left out" if text.n_one_sided else ""
    student.notes += (note + left_out,)
    return student


def check(config: ModelConfig, teacher: ModelConfig, *, parallel: str, **_: object) -> None:
    if not parallel.strip():
        what = "no parallel sentences were given"
        raise RequestError(what, where=f"{NAME}.parallel", hint=f"--set {NAME}.parallel=FILE. {HINT}")
    read_parallel(parallel)


METHOD = Method(
    name=NAME,
    title="Align a student's languages on parallel sentences",
    paper=Paper(
        "Multilingual Alignment of Contextual Word Representations", "Cao, Kitaev, Klein", 2020, "2002.03518"
    ),
    stage="pretrain",
    apply=apply,
    check=check,
    params=(
        Param("parallel", str, "", "files of SOURCE, tab, TARGET, or SOURCE:TARGET that go line by line; commas between them",
              paths=True),
        Param("epochs", float, 1.0, "passes over the parallel sentences", minimum=0.001),
        Param("rate", float, 5e-5, "learning rate, in place of --learning-rate", minimum=1e-7),
        Param("keep", float, 1.0, "weight of what holds the target language where it was", minimum=0),
    ),
    needs=("hidden states",),
    any_tokenizer=True,
    toy={"parallel": "toy_parallel.tsv", "epochs": 2, "rate": 1e-3},
)  # fmt: skip
