"""A search as it stands, read from its database or its run folder while it goes on or later: nothing of torch is loaded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError, unknown
from edgebert.faults import needs_extra
from edgebert.files import from_plain, to_toml
from edgebert.methods._supernet import Subnetwork
from edgebert.results import FrontLine, SearchLine, SearchState, SearchWorker
from edgebert.runs.folder import PARTIAL, RECORD, REQUEST
from edgebert.runs.listing import list_runs, stage_records
from edgebert.search.storage import BEAT, JOURNAL, WORKER, Members, Place
from edgebert.search.study import Judged, Judgement, completed, front

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STAGE, CUT = "search", "cut"
LAST = 50  # trials by which the time that is left is told


@needs_extra("search")
def search_state(where: str, root: str | Path = "runs") -> SearchState:
    """A search as it stands; the command `edgebert search status`.

    Args:
        where: the URL of its database, a run's name under `root`, or its path.
        root: the folder that holds the runs.

    Raises:
        RequestError: no such run or database, or no search in it.
    """
    if "://" in where:
        return _of_study(Place(url=where))
    folder = Path(where) if (Path(where) / REQUEST).exists() else Path(root) / where
    if not (folder / REQUEST).exists():
        raise unknown("run", where, (run["name"] for run in list_runs(root)), where=str(root))
    journals = {path.parent: path.stat().st_mtime for path in folder.glob(f"stages/.{STAGE}-*{PARTIAL}/work/{JOURNAL}")}
    records = {place: record for place, record in stage_records(folder).items() if record["stage"] == STAGE}
    ended = {place: (place / RECORD).stat().st_mtime for place in records}
    times = journals | ended
    if not times:
        hint = "Where its search is kept in a database, give the URL."
        raise RequestError("no search has begun in this run", where=str(folder), hint=hint)
    newest = max(times, key=lambda place: times[place])
    return _of_record(newest, records[newest]) if newest in records else _of_study(Place(folder=newest))


def best_recipe(state: SearchState) -> str:
    """The recipe of a search's best network as a TOML file, which `fit(recipe=…)` takes; `edgebert search best --recipe`.

    Raises:
        RequestError: no network that was judged is within the limits.
    """
    if not state.front:
        what = f"none of {state.n_done} networks is within the limits"
        raise RequestError(
            what, where=state.where, hint="Wait for more, or allow more: --max-latency-ms, --max-size-mb."
        )
    best = state.front[-1]
    lines = [
        f"# {100 * best.dev:.2f} on the development rows as it was cut, {best.p50_ms:.2f} ms predicted: the best of "
        f"{state.n_done} networks.",
        "# Trained on as a student: edgebert fit --device … --recipe THIS-FILE.toml",
    ]
    for call in state.recipe:
        params = dict(call["params"])
        if call["method"] == CUT:
            params = {"layers": list(best.layers), "widths": list(best.widths)}
        lines += ["", "[[method]]", f"name = {to_toml(call['method'])}"]
        lines += [f"{name} = {to_toml(value)}" for name, value in params.items()]
    return "\n".join(lines) + "\n"


def _of_study(place: Place) -> SearchState:
    with Members(place) as members:
        facts, trials = members.facts(), members.trials()
    if not facts:
        raise RequestError(
            "no search has begun there", where=place.shown, hint="edgebert search --study URL begins one."
        )
    done = completed(trials)
    running = [trial for trial in trials if trial.state.name == "RUNNING"]
    workers = tuple(
        SearchWorker(
            str(trial.user_attrs.get(WORKER, "")), trial.number + 1,
            round(max(0.0, time.time() - trial.user_attrs.get(BEAT, time.time())), 1),
        )
        for trial in running
    )  # fmt: skip
    n_left = max(0, facts["trials"] - len(done))
    n_again = sum(trial.state.name == "FAIL" for trial in trials)
    return SearchState(
        place.shown, facts["trials"], len(done), n_again, _seconds_left(trials, n_left), workers,
        _lines(done), tuple(facts.get("recipe", ())),
    )  # fmt: skip


def _of_record(place: Path, record: Mapping[str, Any]) -> SearchState:
    lines = [from_plain(SearchLine, line) for line in record["result"]["lines"]]
    judged = [Judged(Subnetwork(i.layers, i.widths), Judgement(i.dev, i.p50_ms, i.over)) for i in lines]
    where, recipe, n = str(place.parent.parent), tuple(record["inputs"]["recipe"]), record["inputs"]["trials"]
    return SearchState(where, n, n, 0, 0.0, (), _lines(judged), recipe)


def _lines(judged: Sequence[Judged]) -> tuple[FrontLine, ...]:
    best = front(judged)
    return tuple(FrontLine(i.cut.layers, i.cut.widths, i.judgement.score or 0.0, i.judgement.ms) for i in best)


def _seconds_left(trials: Sequence[FrozenTrial], n_left: int) -> float | None:
    """By the median of the last trials and by how many workers are at one; None where none has ended yet."""
    durations = [
        trial.duration.total_seconds() for trial in trials if trial.state.name == "COMPLETE" and trial.duration
    ]
    n_workers = max(1, sum(trial.state.name == "RUNNING" for trial in trials))
    return round(n_left * median(durations[-LAST:]) / n_workers, 1) if durations else None
