"""A study over the networks that can be cut out of one: Optuna proposes them, a callback judges them.

For each layer it is asked whether the layer stays and how wide. Sampler: tree-structured Parzen estimators for several
objectives (Ozaki, Tanigaki, Watanabe, Onishi 2020, "Multiobjective Tree-Structured Parzen Estimator for Computationally
Expensive Optimization Problems"), which proposes less often what broke a limit. Every trial is kept as it ends
(`edgebert.search.storage`), so that a study that was killed goes on with the trials that are left.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edgebert.methods._supernet import WIDTHS, Subnetwork
from edgebert.search.storage import ASKED, Members, Place

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

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
    place: Place,
    *,
    seed: int,
    first: Sequence[Subnetwork] = (),
    facts: Mapping[str, Any] | None = None,
    told: Callable[[int, Judged], None] = lambda number, judged: None,
) -> list[Judged]:
    """Judges networks until there are `n_trials`, each different one once, in the order in which they were proposed. Of
    several workers each may begin a last one at the same moment: then there are that many more.

    Args:
        n_layers: of the network out of which they are cut.
        place: where trials are kept: those that it holds are not judged again.
        first: judged before the sampler proposes any.
        facts: what the study is of, as JSON: with others no process takes part.
        told: called after each trial with how many are complete.

    Raises:
        RequestError: the study there is of something else, or another worker has this one's name.
        RunError: the database went away and did not come back.
    """
    with Members(place) as members:
        known = {item.cut: item.judgement for item in completed(members.trials())}
        _begin(members, n_layers, seed + len(known), [cut for cut in first if cut not in known])
        members.publish(facts or {"trials": n_trials})
        while members.may_begin(n_trials):
            done = completed(members.trials())
            known |= {item.cut: item.judgement for item in done}
            with members.trial() as trial:
                cut = members.patiently(partial(_proposed, trial, n_layers))
                if cut not in known:
                    known[cut] = judge(cut)
            if members.complete(trial, partial(_record, members.study, trial, known[cut])):
                told(len(done) + 1, Judged(cut, known[cut]))
        results: dict[Subnetwork, Judged] = {}
        for item in completed(members.trials()):
            results.setdefault(item.cut, item)
    return list(results.values())


def _begin(members: Members, n_layers: int, seed: int, first: Sequence[Subnetwork]) -> None:
    """The sampler, and what comes before it.

    Args:
        seed: with what is done in it, so that a study that goes on does not propose what it has proposed.
    """
    import optuna

    place = members.place
    own = zlib.crc32(place.worker.encode()) if place.url else 0
    members.study.sampler = optuna.samplers.TPESampler(
        seed=(seed + own) % 2**32, n_startup_trials=STARTUP, multivariate=True
    )
    for cut in () if place.joins else first:
        asked = _choices(cut, n_layers)
        enqueue = partial(members.study.enqueue_trial, asked, user_attrs={ASKED: asked}, skip_if_exists=True)
        members.patiently(enqueue)


def _record(created: Study, trial: Trial, judgement: Judgement) -> None:
    trial.set_constraint(OVER, judgement.over)
    trial.set_user_attr(SCORE, judgement.score)
    created.tell(trial, [judgement.score or 0.0, judgement.ms])


def front(judged: Iterable[Judged]) -> list[Judged]:
    """Those within the limits that no other beats in both, the fastest first: each scores more than every faster one."""
    results: list[Judged] = []
    within = [item for item in judged if item.judgement.score is not None]
    for item in sorted(within, key=lambda item: (item.judgement.ms, -(item.judgement.score or 0.0))):
        if not results or (item.judgement.score or 0.0) > (results[-1].judgement.score or 0.0):
            results.append(item)
    return results


def completed(trials: Iterable[FrozenTrial]) -> list[Judged]:
    """What was judged, in the order in which it was proposed; a network that was proposed twice is there twice."""
    return [
        Judged(_cut_of(trial), Judgement(_score_of(trial), trial.values[1], trial.constraints[OVER]))
        for trial in trials
        if trial.state.name == "COMPLETE"
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
