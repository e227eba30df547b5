"""Which variant of a precision is kept: each is written, scored and timed in turns with the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.converters import Batch, Converter, Session, Source
from edgebert.profile.protocol import Entry, interleave
from edgebert.types import Artifact

TRIAL_ROWS = 300  # on which the variants of a precision are compared
TRIAL_RUNS = 30
# Of a score from 0 to 1: variants nearer than this are equal, the faster wins. A variant that scores above the float file
# does so by chance, so its score counts as the float file's.
SCORE_TIE = 0.0025


def choose_trial(
    converter: Converter,
    source: Source,
    exported: Artifact,
    precision: str,
    folder: Path,
    *,
    score: Callable[[Session], float],
    timed_on: Sequence[Batch],
    log: Callable[..., None],
) -> tuple[Artifact, list[dict[str, Any]]]:
    """Writes every variant of a precision and keeps one at folder/FORMAT/PRECISION.

    The best score, but none above the float file's, wins; of variants within SCORE_TIE of it, the fastest. A single
    variant is written and not scored: verification does that.

    Args:
        score: of an opened file, 0 to 1.
        timed_on: inputs that the variants are timed on.

    Returns:
        The file, and a table of what was tried.
    """
    trials = converter.precisions[precision].trials
    work = folder / "work" / f"{converter.name}-{precision}"
    artifacts = []
    for trial in trials:
        log(event="trial", name=f"{converter.name} {precision} {trial.name}")
        place = work / trial.name
        place.mkdir(parents=True)
        artifacts.append(converter.reduce(source, exported, precision, trial, place))
    scores: list[float | None] = [None]
    times: list[float | None] = [None]
    if len(trials) > 1:
        scores, times = _measured(converter, artifacts, score, timed_on)
    found = [value for value in scores if value is not None]
    aim = min(max(found), score(converter.open(exported.path, 1))) - SCORE_TIE if found else 0.0
    best = min((i for i, value in enumerate(scores) if value is None or value >= aim), key=lambda i: times[i] or 0.0)
    place = folder / converter.name / precision
    place.mkdir(parents=True)
    target = place / artifacts[best].path.name
    shutil.move(artifacts[best].path, target)
    table = [
        {"trial": trial.name, "dev_score": scores[i], "p50_ms": times[i], "bytes": artifacts[i].size_bytes}
        | {"chosen": i == best}
        for i, trial in enumerate(trials)
    ]
    shutil.rmtree(work)
    return replace(artifacts[best], path=target), table


def _measured(
    converter: Converter, artifacts: Sequence[Artifact], score: Callable[[Session], float], timed_on: Sequence[Batch]
) -> tuple[list[float | None], list[float | None]]:
    sessions = [converter.open(artifact.path, 1) for artifact in artifacts]
    scores: list[float | None] = [round(score(session), 5) for session in sessions]
    if not converter.is_timed():
        return scores, [None] * len(scores)
    entries = [Entry(str(i), session, timed_on) for i, session in enumerate(sessions)]
    interleave(entries, TRIAL_RUNS)
    return scores, [round(float(np.median(entry.times_ms)), 3) for entry in entries]
