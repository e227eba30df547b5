"""One vector a token out of a teacher: what it says of the token in text and alone, brought to a width, weighed.

Of token t with c_t occurrences in the text, h_i the teacher's last states there, and h_t its state when it stands alone
between the special tokens:

    v_t = (Σ_i h_i + n · h_t) / (c_t + n)                       n = PRIOR
    u_t = Vᵀ (v_t - mean of v)                                  V: the first principal axes of v
    w_t = a / (a + p_t)                                         p_t: t's share of the text

and row t of the table is w_t u_t, so that the mean of a text's rows is its weighted mean up to a factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS
from edgebert.training.context import MethodContext
from edgebert.types import Feature, Row, Student

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

PRIOR = 2.0  # occurrences that a token's state alone counts as
SIF = 1e-3  # a
BATCH = 64


def token_vectors(sums: Tensor, counts: Tensor, alone: Tensor, prior: float = PRIOR) -> Tensor:
    """v: (n_tokens, width) of the sums of states (n_tokens, width), counts (n_tokens,), and states alone."""
    return (sums + prior * alone) / (counts[:, None] + prior)


def principal(vectors: Tensor, width: int) -> Tensor:
    """u: (n, width) of vectors (n, old_width): their coordinates on the axes of the largest variance."""
    import torch

    centred = (vectors - vectors.mean(0)).double()
    _, axes = torch.linalg.eigh(centred.T @ centred)
    return (centred @ axes[:, -width:].flip(1)).to(vectors.dtype)


def token_weights(counts: Tensor, a: float = SIF) -> Tensor:
    """w: (n_tokens,). Arora, Liang, Ma (2017), "A Simple but Tough-to-Beat Baseline for Sentence Embeddings"."""
    return a / (a + counts / counts.sum().clamp(min=1))


def token_table(student: Student, context: MethodContext, rows: Sequence[Row], width: int) -> tuple[Tensor, str]:
    """Rows (n_tokens, width) for the student's vocabulary, and what they are made of.

    A student whose tokens the teacher cannot read keeps the best factors of its own word table.
    """
    import torch

    from edgebert.modeling.rebuild import narrowed

    features = context.task.encode(rows, student.tokenizer, context.labels, context.settings.max_length)
    counts = _counts(features, student.tokenizer.get_vocab_size())
    if student.own_tokenizer:
        table, _ = narrowed(student.model.get_input_embeddings().weight.detach(), width)
        table = torch.nn.functional.pad(table, (0, width - table.shape[1]))  # where its own is narrower
        note = "its own word table, for the teacher reads other tokens"
        return scaled(token_weights(counts)[:, None] * table, features), note
    vectors = token_vectors(*_states(student, context, features))
    n_seen = int((counts > 0).sum())
    note = f"the teacher's states of {n_seen:,} tokens in {len(rows):,} rows and of {len(counts):,} alone"
    return scaled(token_weights(counts)[:, None] * principal(vectors, width), features), note


def scaled(table: Tensor, features: Sequence[Feature]) -> Tensor:
    """The table times the number with which the texts' means have a mean square of 1."""
    import torch

    lengths = torch.tensor([len(feature.input_ids) for feature in features])
    ids = torch.tensor([i for feature in features for i in feature.input_ids])
    means = torch.nn.functional.embedding_bag(ids, table, lengths.cumsum(0) - lengths, mode="mean")
    return table / means.square().mean().sqrt().clamp(min=1e-12)


def _counts(features: Sequence[Feature], n_tokens: int) -> Tensor:
    import torch

    ids = torch.tensor([i for feature in features for i in feature.input_ids])
    return torch.bincount(ids, minlength=n_tokens).float()


def _states(student: Student, context: MethodContext, features: Sequence[Feature]) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the teacher's last states by the student's token, how many they are, and the states of tokens alone."""
    import torch

    n_tokens = student.tokenizer.get_vocab_size()
    width = context.teacher.config.hidden_size
    sums, counts = torch.zeros(n_tokens, width), torch.zeros(n_tokens)
    for batch, states in _read(student, context, sorted(features, key=lambda feature: len(feature.input_ids))):
        real = batch[ATTENTION_MASK].bool() & states.isfinite().all(-1)  # a broken answer is told when it is learnt
        ids = batch[INPUT_IDS][real]
        sums.index_add_(0, ids, states[real])
        counts.index_add_(0, ids, torch.ones(len(ids)))
    before, behind = _frame(student.tokenizer)
    framed = [(*before, i, *behind) for i in range(n_tokens)]
    singles = [Feature(i, ids, (0,) * len(ids)) for i, ids in enumerate(framed)]
    alone = torch.cat([states[:, len(before)] for _, states in _read(student, context, singles)])
    return sums, counts, alone.nan_to_num(0.0, 0.0, 0.0)


def _frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that stand before a text and behind it."""
    from tokenizers import Tokenizer

    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    encoding = private.encode("a")
    text = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
    return (encoding.ids[: text[0]], encoding.ids[text[-1] + 1 :]) if text else ([], [])


def _read(
    student: Student, context: MethodContext, features: Sequence[Feature]
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Batches of the features in their order, and the teacher's last states (batch, seq, width) of each."""
    import torch

    from edgebert.training.features import trace_hidden_states
    from edgebert.training.loop import collate
    from edgebert.training.run import pad_id

    teacher, ids = context.teacher, student.teacher_ids
    translated = None if ids is None else torch.tensor(ids)
    mixed = context.settings.mixed_precision == "bf16"
    device = next(teacher.parameters()).device
    for start in range(0, len(features), BATCH):
        batch = collate(features[start : start + BATCH], pad_id(student))
        theirs = batch if translated is None else {**batch, INPUT_IDS: translated[batch[INPUT_IDS]]}
        theirs = {name: value.to(device) for name, value in theirs.items()}
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            states = trace_hidden_states(teacher, theirs).hidden[-1]
        yield batch, states.float().cpu()
