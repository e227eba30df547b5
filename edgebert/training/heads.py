"""What each kind of head minimises: with true labels, and with a teacher's answers. One pair of functions a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgebert.modeling.headed import unit
from edgebert.modeling.heads import Part, parts_of
from edgebert.training.losses import IGNORED, hard_cross_entropy, soft_cross_entropy

Batch = Mapping[str, Tensor]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
UNANSWERED = float("inf")  # at tokens for which the teacher has no answer; not NaN, which would hide a broken teacher
ANSWERED = "teacher_"  # before the name of a target that is the teacher's output


def hard_loss(model: nn.Module, answers: Batch, batch: Batch, weights: Sequence[float] = ()) -> Tensor:
    """Sum over the model's heads of the loss on true labels; a head that a batch has no target for adds nothing.

    Args:
        answers: outputs by name, of `edgebert.modeling.headed.answers`.
        batch: of `edgebert.training.loop.collate`.
        weights: of each label of a sequence head; () weighs them alike.
    """
    total = sum(answer.sum() for answer in answers.values()) * 0.0  # so that a batch without targets has gradients too
    for part in parts_of(_config(model), type(model).__name__):
        own = [answers[name] for name in part.outputs]
        targets = {
            name.removeprefix(part.prefix): value for name, value in batch.items() if name.startswith(part.prefix)
        }
        total = total + _HARD[part.kind](own, targets, part, weights)
    return torch.as_tensor(total)


def soft_loss(
    model: nn.Module,
    answers: Batch,
    teacher: Batch,
    batch: Batch,
    temperature: float,
    parts: Sequence[Part] | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """Sum over heads, by default all of the model's, of the distance from the teacher's answers, which have the same names.

    Rows whose answers are not finite are left out.

    Args:
        rows: (batch,) true for those that count; None counts all.
    """
    mask = batch["attention_mask"].bool()
    parts = parts_of(_config(model), type(model).__name__) if parts is None else parts
    known = rows_with_answers(teacher) if rows is None else rows & rows_with_answers(teacher)
    if not known.all():
        answers, teacher = ({name: value[known] for name, value in side.items()} for side in (answers, teacher))
        mask = mask[known]
    if not len(mask):
        return torch.stack([answer.sum() for answer in answers.values()]).sum()  # 0, with gradients
    return torch.stack(
        [
            _SOFT[part.kind](
                [answers[n] for n in part.outputs], [teacher[n] for n in part.outputs], mask, temperature, part
            )
            for part in parts
        ]
    ).sum()


def rows_with_answers(teacher: Batch) -> Tensor:
    """(batch,) true where all outputs of a row are finite, but for tokens that are UNANSWERED."""
    known = [
        value.isfinite() | (value == UNANSWERED) if value.dim() == 3 else value.isfinite() for value in teacher.values()
    ]
    return torch.stack([item.flatten(1).all(1) for item in known]).all(0)


def rows_with_labels(batch: Batch) -> Tensor:
    """(batch,) true where a row has a target of its own for any head; pair rows of vectors share one."""
    result = torch.zeros_like(batch["input_ids"][:, 0], dtype=torch.bool)
    for name, value in batch.items():
        if name not in INPUTS and not name.startswith(ANSWERED):
            empty = value.isnan() if value.is_floating_point() else value == IGNORED
            result = result | ~empty.flatten(1).all(1) if value.dim() > 1 else result | ~empty
    return result


def forget(batch: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The batch without the targets and answers of some rows, (batch, 1) true: they do not hold of what was changed."""
    return {name: value if name in INPUTS else _emptied(value, rows[:, 0]) for name, value in batch.items()}


def _emptied(target: Tensor, rows: Tensor) -> Tensor:
    where = rows.reshape(-1, *(1 for _ in target.shape[1:]))
    return target.masked_fill(where, float("nan") if target.is_floating_point() else IGNORED)


def _config(model: Any) -> Any:
    return model.config


# ---------------------------------------------------------------- with true labels


def _hard_tokens(own: Sequence[Tensor], targets: Batch, part: Part, weights: Sequence[float]) -> Tensor | float:
    return hard_cross_entropy(own[0], targets["labels"]) if "labels" in targets else 0.0


def _hard_sequence(own: Sequence[Tensor], targets: Batch, part: Part, weights: Sequence[float]) -> Tensor | float:
    """Cross-entropy, or a binary one a label where a row may have several."""
    if "labels" not in targets:
        return 0.0
    logits, labels = own[0], targets["labels"]
    each = torch.tensor(weights, device=logits.device) if weights else None
    if part.problem != "multi_label_classification":
        return hard_cross_entropy(logits, labels, each)
    known = ~torch.isnan(labels[:, 0])
    if not known.any():
        return 0.0
    return F.binary_cross_entropy_with_logits(logits[known], labels[known], weight=each)


def _hard_span(own: Sequence[Tensor], targets: Batch, part: Part, weights: Sequence[float]) -> Tensor | float:
    """The mean of the cross-entropies of the first and the last token: Devlin et al. 2018, section 4.2."""
    if "start_positions" not in targets:
        return 0.0
    pairs = zip(own, (targets["start_positions"], targets["end_positions"]), strict=True)
    return sum(hard_cross_entropy(logits, labels) for logits, labels in pairs) / 2


def _hard_vector(own: Sequence[Tensor], targets: Batch, part: Part, weights: Sequence[float]) -> Tensor | float:
    """MSE(cos(a, b), score) of neighbouring rows: Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084."""
    if "score" not in targets:
        return 0.0
    vectors = unit(own[0])
    cosine = (vectors[0::2] * vectors[1::2]).sum(-1)
    score = targets["score"][0::2]
    known = ~torch.isnan(score)
    return F.mse_loss(cosine[known], score[known]) if known.any() else 0.0


# ---------------------------------------------------------------- with a teacher's answers


def _soft_tokens(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, t: float, part: Part) -> Tensor:
    return soft_cross_entropy(own[0], theirs[0], answered_tokens(theirs[0], mask), t)


def answered_tokens(answers: Tensor, mask: Tensor) -> Tensor:
    """(batch, seq): the real tokens that the teacher answered: all, or words' first ones where its tokenizer is another.

    Args:
        answers: (batch, seq, n_labels), UNANSWERED where there is none.
        mask: (batch, seq), true at real tokens.
    """
    return mask & (answers != UNANSWERED).all(-1)


def _soft_sequence(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, t: float, part: Part) -> Tensor:
    """Hinton et al. 2015; where a row may have several labels, a binary cross-entropy each, with the teacher's share."""
    if part.problem != "multi_label_classification":
        return soft_cross_entropy(own[0], theirs[0], torch.ones_like(mask[:, 0]), t)
    return F.binary_cross_entropy_with_logits(own[0] / t, torch.sigmoid(theirs[0] / t)) * t**2


def _soft_span(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, t: float, part: Part) -> Tensor:
    """Over positions instead of labels; padding has no share."""
    hidden = ~mask
    losses = []
    for ours, other in zip(own, theirs, strict=True):
        target = (other / t).masked_fill(hidden, -1e4).softmax(-1)
        log_probs = (ours / t).masked_fill(hidden, -1e4).log_softmax(-1)
        losses.append(-(target * log_probs).sum(-1).mean() * t**2)
    return torch.stack(losses).mean()


def _soft_vector(own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, t: float, part: Part) -> Tensor:
    """1 - cos with the teacher's vector where the widths agree, and the batch's matrix of similarities in any case.

    Similarities: Tung and Mori 2019, "Similarity-Preserving Knowledge Distillation", arXiv 1907.09682, on unit vectors.
    """
    ours, other = unit(own[0]), unit(theirs[0])
    loss = F.mse_loss(ours @ ours.T, other @ other.T)
    return loss + (1 - (ours * other).sum(-1)).mean() if ours.shape == other.shape else loss


_HARD = {
    "token-classification": _hard_tokens,
    "sequence-classification": _hard_sequence,
    "question-answering": _hard_span,
    "sentence-embedding": _hard_vector,
}
_SOFT = {
    "token-classification": _soft_tokens,
    "sequence-classification": _soft_sequence,
    "question-answering": _soft_span,
    "sentence-embedding": _soft_vector,
}
