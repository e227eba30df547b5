"""What a student learns from a teacher: one teacher's answers, or what several say together, written once.

- plain: the teacher's own. It has learnt the training rows by heart, so there they are the labels again.
- out-of-fold: of k teachers, each of which has not seen a fold of the training rows, the one that has not seen the row
  (Wolpert 1992, "Stacked Generalization", made level-1 data in this way). Unlabelled rows get the mean of all k.
- ensemble: the mean of the teacher and of the k teachers of folds (Krogh and Vedelsby 1995, "Neural Network Ensembles,
  Cross Validation, and Active Learning").
- dropout: the mean of some passes of the teacher with its dropout on (Gal and Ghahramani 2016, arXiv 1506.02142).
- spread: not the teacher's opinion but the rows' labels, spread over its states (`edgebert.teachers.spreading`).

Means are of probabilities and are stored as their logarithms, so that a loss takes them as it takes logits; of sentence
vectors, the mean is brought to length 1. Where a temperature is asked for, each teacher's logits are first divided by its
own, which makes the development rows likeliest (Guo et al. 2017, arXiv 1706.04599, section 4.2: temperature scaling).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.errors import TeacherError
from edgebert.modeling.heads import Part
from edgebert.training.answers import AnswerWriter, distinct_windows, window_key
from edgebert.types import Feature, Outputs, Row, Student

if TYPE_CHECKING:
    from edgebert.tasks import Task

CHUNK = 2048  # windows that are asked about at once
SMALLEST = 1e-12  # probability that still has a logarithm
TEMPERATURES = (0.05, 20.0)  # between which one is looked for
CALIBRATION_ROWS = 500

Ask = Callable[[Student, Sequence[Feature], bool], list[Outputs]]  # (teacher, windows, with dropout) -> outputs of each


@dataclass(frozen=True)
class Member:
    """One of those who answer.

    Attributes:
        load: gives the model and its tokenizer.
        answers: whether it is asked about a window, told by the window's key.
        passes: with dropout; 0 is one pass without.
    """

    load: Callable[[], Student]
    answers: Callable[[bytes], bool] = field(default=lambda key: True)
    passes: int = 0


def write_answers(
    folder: Path,
    windows: Sequence[Feature],
    members: Sequence[Member],
    parts: Sequence[Part],
    ask: Ask,
    temperature: Callable[[Student], float] | None = None,
) -> dict[str, object]:
    """Writes what the members say together of each distinct window, for `StoredAnswers`.

    Args:
        windows: as the teacher reads them.
        parts: the teacher's heads.
        temperature: by which a member's logits are divided; None leaves them.

    Returns:
        `windows` distinct, `not_finite` of them whose answers are NaN or infinite, and each member's temperature.

    Raises:
        TeacherError: no window has a finite answer.
    """
    windows = distinct_windows(windows)
    keys = [window_key(window) for window in windows]
    chosen = [[i for i, key in enumerate(keys) if member.answers(key)] for member in members]
    n_answers = np.zeros(len(windows), int)
    for member, own in zip(members, chosen, strict=True):
        n_answers[own] += member.passes or 1
    writer, temperatures = AnswerWriter(folder, windows), []
    for member, own in zip(members, chosen, strict=True):
        student = member.load()
        temperatures.append(temperature(student) if temperature else 1.0)
        for start in range(0, len(own), CHUNK):
            numbers = own[start : start + CHUNK]
            for _ in range(member.passes or 1):
                for i, outputs in zip(
                    numbers, ask(student, [windows[i] for i in numbers], member.passes > 0), strict=True
                ):
                    cooled = {name: value / temperatures[-1] for name, value in outputs.items()}
                    _add(writer, i, parts, cooled, int(n_answers[i]))
    for i in np.flatnonzero(n_answers > 1):
        writer.put(i, logits_of(parts, writer.get(i)))
    not_finite = sum(not is_finite(writer.get(i)) for i in range(len(windows)))
    writer.close()
    if not_finite == len(windows):
        hint = "Its weights or its training are broken: try another --teacher, or a lower --learning-rate."
        raise TeacherError("none of the teacher's answers is a finite number", where="--teacher", hint=hint)
    return {"windows": len(windows), "not_finite": not_finite, "temperatures": temperatures}


def _add(writer: AnswerWriter, at: int, parts: Sequence[Part], outputs: Outputs, n: int) -> None:
    """One of n answers to a window: as it is where it is the only one, else its share of their mean."""
    if n > 1:
        before = writer.get(at)
        outputs = {name: value / n + before.get(name, 0.0) for name, value in probabilities(parts, outputs).items()}
    writer.put(at, outputs)


def is_finite(answer: Outputs) -> bool:
    return all(np.isfinite(value).all() for value in answer.values())


def probabilities(parts: Sequence[Part], outputs: Outputs) -> dict[str, np.ndarray]:
    """What can be averaged: probabilities over labels, of each label, or over tokens; vectors as they are.

    Args:
        outputs: of one window, without padding.
    """
    return {name: _probability(part, np.asarray(outputs[name], np.float64)) for part in parts for name in part.outputs}


def _probability(part: Part, logits: np.ndarray) -> np.ndarray:
    if part.head.mean != "probabilities":
        return logits
    if part.problem == "multi_label_classification":
        return 1 / (1 + np.exp(-logits))
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def logits_of(parts: Sequence[Part], means: Outputs) -> dict[str, np.ndarray]:
    """Logits whose probabilities are these means; a mean vector is brought to length 1."""
    return {name: _logit(part, np.asarray(means[name], np.float64)) for part in parts for name in part.outputs}


def _logit(part: Part, mean: np.ndarray) -> np.ndarray:
    if part.head.mean == "values":
        return mean
    if part.head.mean == "vectors":
        return mean / max(float(np.linalg.norm(mean)), SMALLEST)
    if part.problem == "multi_label_classification":
        mean = mean.clip(SMALLEST, 1 - 1e-6)
        return np.log(mean) - np.log1p(-mean)
    return np.log(mean.clip(SMALLEST))


def fitted_temperature(
    student: Student, task: Task, labels: Sequence[str], rows: Sequence[Row], max_length: int, ask: Ask
) -> float:
    """The temperature at which the rows' true labels are likeliest: one number for all heads.

    Args:
        rows: labelled, not learnt from; the first 500 serve.
    """
    import torch
    from scipy.optimize import minimize_scalar

    from edgebert.training.heads import hard_loss
    from edgebert.training.loop import collate

    features = task.encode(rows[:CALIBRATION_ROWS], student.tokenizer, labels, max_length)
    answers = zip(features, ask(student, features, False), strict=True)
    pairs = [  # a batch for each window: without padding
        ({name: torch.from_numpy(np.asarray(value))[None] for name, value in answer.items()}, collate([feature]))
        for feature, answer in answers
        if is_finite(answer)
    ]
    if not pairs:
        return 1.0

    def nll(log_temperature: float) -> float:
        scale = float(np.exp(log_temperature))
        losses = [
            hard_loss(student.model, {name: value / scale for name, value in answer.items()}, batch)
            for answer, batch in pairs
        ]
        return float(torch.stack(losses).mean())

    with torch.no_grad():
        result = minimize_scalar(nll, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    return float(np.exp(result.x))
