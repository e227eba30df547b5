"""A study over the networks that can be cut out of one: Optuna proposes them, a callback judges them.

For each layer it is asked whether the layer stays and how wide. Sampler: tree-structured Parzen estimators for several
objectives (Ozaki, Tanigaki, Watanabe, Onishi 2020, "Multiobjective Tree-Structured Parzen Estimator for Computationally
Expensive Optimization Problems"), which proposes less often what broke a limit. Every trial is written into a journal as it
ends, so that a study that was killed goes on with the trials that are left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.methods._supernet import WIDTHS, Subnetwork
from edgebert.runtime.quiet import quiet

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "study.journal"
STARTUP = 20  # trials that are drawn at random before the sampler has learnt anything, beside those that are given
SCORE, MS, OVER = "score", "ms", "over"


@dataclass(frozen=True)
class Judgement:
    """What is known of a network.

    Attributes:
        score: on development rows; None where a limit is broken, so that it was not asked for.
        ms: predicted time of a pass.
        over: by how many times of its limit it breaks the worst, less 1; 0 within all.
    """

    score: float | None
    ms: float
    over: float


@dataclass(frozen=True)
class Judged:
    """A network with its judgement."""

    cut: Subnetwork
    judgement: Judgement


def study(
    n_layers: int,
    judge: Callable[[Subnetwork], Judgement],
    n_trials: int,
    folder: Path,
    *,
    seed: int,
    first: Sequence[Subnetwork] = (),
    told: Callable[[int, Judged], None] = lambda number, judged: None,
) -> list[Judged]:
    """Judges networks until there are `n_trials`, each different one once, in the order in which they were proposed.

    Args:
        n_layers: of the network out of which they are cut.
        folder: of the journal; trials that it holds are not judged again.
        first: judged before the sampler proposes any.
        told: called after each trial with its number, from 1.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    with quiet("optuna"):
        created = optuna.create_study(
            storage=storage, study_name="networks", directions=["maximize", "minimize"], load_if_exists=True
        )
    done = _done(created)
    known = {item.cut: item.judgement for item in done}
    # Seeded by what is done, so that one that goes on does not propose what it has proposed.
    created.sampler = optuna.samplers.TPESampler(seed=seed + len(done), n_startup_trials=STARTUP, multivariate=True)
    for cut in [cut for cut in first if cut not in known]:
        created.enqueue_trial(_choices(cut, n_layers), skip_if_exists=True)

    def objective(trial: Trial) -> tuple[float, float]:
        cut = _proposed(trial, n_layers)
        if cut not in known:
            known[cut] = judge(cut)
        judgement = known[cut]
        trial.set_constraint(OVER, judgement.over)
        trial.set_user_attr(SCORE, judgement.score)
        told(trial.number + 1, Judged(cut, judgement))
        return judgement.score or 0.0, judgement.ms

    created.optimize(objective, n_trials=max(0, n_trials - len(created.get_trials(states=_complete()))))
    return [Judged(cut, known[cut]) for cut in dict.fromkeys(item.cut for item in _done(created))]


def front(judged: Iterable[Judged]) -> list[Judged]:
    """Those within the limits that no other beats in both, the fastest first: each scores more than every faster one."""
    results: list[Judged] = []
    within = [item for item in judged if item.judgement.score is not None]
    for item in sorted(within, key=lambda item: (item.judgement.ms, -(item.judgement.score or 0.0))):
        if not results or (item.judgement.score or 0.0) > (results[-1].judgement.score or 0.0):
            results.append(item)
    return results


def _complete() -> tuple[object, ...]:
    from optuna.trial import TrialState

    return (TrialState.COMPLETE,)


def _done(created: Study) -> list[Judged]:
    trials = created.get_trials(deepcopy=False, states=_complete())
    return [
        Judged(_cut_of(trial), Judgement(_score_of(trial), trial.values[1], trial.constraints[OVER]))
        for trial in trials
    ]


def _score_of(trial: FrozenTrial) -> float | None:
    score = trial.user_attrs[SCORE]
    return None if score is None else float(score)


def _name(layer: int) -> str:
    return f"width_{layer}"


def _proposed(trial: Trial, n_layers: int) -> Subnetwork:
    """0 leaves the layer out; the last one stays where all would go."""
    for layer in range(n_layers):
        trial.suggest_categorical(_name(layer), (0.0, *sorted(WIDTHS)))
    return _network([trial.params[_name(layer)] for layer in range(n_layers)])


def _cut_of(trial: FrozenTrial) -> Subnetwork:
    return _network([trial.params[_name(layer)] for layer in range(len(trial.params))])


def _network(widths: Sequence[float]) -> Subnetwork:
    kept = [layer for layer, width in enumerate(widths) if width] or [len(widths) - 1]
    return Subnetwork(tuple(kept), tuple(widths[layer] or min(WIDTHS) for layer in kept))


def _choices(cut: Subnetwork, n_layers: int) -> dict[str, float]:
    widths = dict(zip(cut.layers, cut.widths, strict=True))
    return {_name(layer): widths.get(layer, 0.0) for layer in range(n_layers)}
