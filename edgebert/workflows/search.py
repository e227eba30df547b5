"""Of the networks that can be cut out of one that dynabert trained, those that score best within the budget are trained on.

The network is a stage of its own; a study (`edgebert.search.study`) judges what can be cut out of it by the development rows,
untrained, and by the predicted latency and size. What is trained, converted, proven and packaged then are the best of its
front, by the rest of the recipe.
"""

from __future__ import annotations

import copy
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgebert.budget.limits import broken, of_candidate, worst
from edgebert.converters import CONVERTERS, find_precision
from edgebert.errors import BudgetError
from edgebert.files import digest, from_plain, plain
from edgebert.methods import METHODS
from edgebert.methods._supernet import Subnetwork, cut_model, grid
from edgebert.modeling.checkpoint import load_student
from edgebert.results import SearchLine
from edgebert.runs.store import Stage
from edgebert.search.plan import nothing_fits, reshaped, shape_of
from edgebert.search.storage import Place
from edgebert.search.study import Judged, Judgement, front, study
from edgebert.training.run import evaluate
from edgebert.types import Candidate, Plan, Recipe, Row, Student
from edgebert.workflows.names import planned
from edgebert.workflows.recipe import CUT
from edgebert.workflows.request import Fit, data_key
from edgebert.workflows.stages import RecipeRun, shared_stage

DEV_ROWS = 1000  # on which networks are compared
TOLD_EVERY_S = 5.0


@dataclass(frozen=True)
class SearchRecord:
    """What the stage of the search records: every network that was judged, in order."""

    lines: tuple[SearchLine, ...]
    seconds: float


def searched(job: Fit, plan: Plan, teacher: Stage, n_candidates: int) -> tuple[Plan, tuple[SearchLine, ...]]:
    """The plan whose taken candidates are the best networks that the search found; and all that it judged.

    Raises:
        BudgetError: no network is within the budget.
    """
    first = next(candidate for candidate in plan.candidates if candidate.taken)
    record = from_plain(SearchRecord, search_stage(job, first, teacher).result)
    judged = [
        Judged(Subnetwork(line.layers, line.widths), Judgement(line.dev, line.p50_ms, line.over))
        for line in record.lines
    ]
    found = front(judged)
    if not found:
        raise _nothing(job, first, judged)
    best = sorted(found, key=lambda item: -(item.judgement.score or 0.0))[:n_candidates]
    taken = []
    for number, item in enumerate(best, 1):
        candidate = _candidate(job, first, item.cut)
        reason = f"{100 * (item.judgement.score or 0):.2f} on dev as it was cut, of {len(judged)} networks"
        taken.append(replace(candidate, name=f"{candidate.name}-{number}", fits=True, taken=True, reason=reason))
        job.run.log(event="candidate", name=taken[-1].name, reason=reason)
    others = [replace(item, taken=False, reason=item.reason if not item.fits else "fits; the search judged others") for item in plan.candidates]  # fmt: skip
    chosen = {item.cut for item in best}
    lines = tuple(replace(line, taken=Subnetwork(line.layers, line.widths) in chosen) for line in record.lines)
    note = (
        f"{len(judged)} networks cut out of one were judged in {record.seconds:.0f} s, untrained, on development rows."
    )
    return replace(plan, candidates=(*taken, *others), notes=(*plan.notes, note)), lines


def search_stage(job: Fit, first: Candidate, teacher: Stage) -> Stage:
    """Every network that was judged, with its score, predicted time and size."""
    trained = network_stage(job, first, teacher)

    def make(folder: Path) -> SearchRecord:
        began = time.monotonic()
        place = Place(folder / "work", job.request.study, default_name(), note=partial(_note, job))
        judged = judged_in(job, first, trained, place)
        on_front = {item.cut for item in front(judged)}
        lines = [
            SearchLine(
                item.cut.layers, item.cut.widths, item.judgement.score, item.judgement.ms, item.judgement.over,
                _candidate(job, first, item.cut).size_bytes, item.cut in on_front,
            )
            for item in judged
        ]  # fmt: skip
        return SearchRecord(tuple(lines), round(time.monotonic() - began, 1))

    return job.run.stage("search", _inputs(job, first, trained), make, resumable=True)


def network_stage(job: Fit, first: Candidate, teacher: Stage) -> Stage:
    """The network out of which others are cut."""
    shared = RecipeRun.of(job, first, teacher).shared
    assert shared is not None, "the recipe was checked"
    return shared_stage(shared)


def judged_in(
    job: Fit, first: Candidate, trained: Stage, place: Place, judges: Callable[[], None] = lambda: None
) -> list[Judged]:
    """All that was judged in the study there, once it has its trials.

    Args:
        judges: called for each trial of this process.

    Raises:
        RequestError: the study is of something else, or another worker has this one's name.
        RunError: its database went away.
    """
    student, rows, told = load_student(trained.path), _rows(job), time.monotonic()

    def judge(cut: Subnetwork) -> Judgement:
        candidate = _candidate(job, first, cut)
        over = max(0.0, worst(broken(job.budget, of_candidate(candidate))) - 1)
        return Judgement(None if over else _score(job, student, cut, rows), candidate.latency.p50_ms, over)

    def tell(number: int, judged: Judged) -> None:
        nonlocal told
        judges()
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            job.run.log(event="step", training="search", step=number, steps=job.request.search_trials)

    n_layers = student.model.config.num_hidden_layers
    return study(
        n_layers, judge, job.request.search_trials, place, seed=job.request.seed, first=grid(n_layers),
        facts=_facts(job, first, trained), told=tell,
    )  # fmt: skip


def default_name() -> str:
    """Of a worker: the machine and the process."""
    return f"{platform.node()}-{os.getpid()}"


def _facts(job: Fit, first: Candidate, trained: Stage) -> dict[str, Any]:
    """What a study is of; and the request, which a worker carries out without being given it."""
    weights = {name: facts["sha256"] for name, facts in trained.files.items() if name.endswith(".safetensors")}
    facts = {
        **_inputs(job, first, trained), **early_facts(job), "weights": digest(weights),
        "request": {**plain(job.request), "run": None},
    }  # fmt: skip
    return dict(plain(facts))


def early_facts(job: Fit) -> dict[str, Any]:
    """Of these, what is known before anything is trained."""
    facts = {
        "rows": job.dataset.source.sha256, "device profile": job.fingerprint["device"],
        "versions": job.fingerprint["versions"],
    }  # fmt: skip
    return dict(plain(facts))


def _note(job: Fit, text: str) -> None:
    job.run.log(event="note", text=text)


def _inputs(job: Fit, first: Candidate, trained: Stage) -> dict[str, Any]:
    return {
        "network": trained.key, "data": data_key(job), "dev rows": len(_rows(job)), "trials": job.request.search_trials,
        "seed": job.request.seed, "budget": job.budget, "device": job.device.name, "recipe": first.recipe.calls,
        "tokens": first.latency.seq_len, "cost": (first.latency.p50_ms, first.size_bytes),
    }  # fmt: skip


def _score(job: Fit, student: Student, cut: Subnetwork, rows: Sequence[Row]) -> float:
    own = replace(student, model=copy.deepcopy(student.model))
    cut_model(own.model, cut)
    return evaluate(own, job.task, job.dataset.labels, rows, "dev", job.max_length).value


def _rows(job: Fit) -> Sequence[Row]:
    """Of all development rows at most DEV_ROWS, evenly spread."""
    rows = job.dataset.splits["dev"]
    return rows[:: 1 + (len(rows) - 1) // DEV_ROWS]


def _candidate(job: Fit, first: Candidate, cut: Subnetwork) -> Candidate:
    """The student that the recipe makes of this network, with what is predicted of it."""
    calls = tuple(
        replace(call, params={"layers": cut.layers, "widths": cut.widths}) if call.method == CUT else call
        for call in first.recipe.calls
    )
    recipe, start = Recipe(calls), job.start_of(first)
    config = reshaped(start.config, recipe, METHODS.all(), job.teacher_config)
    format, precision = planned(job.formats, job.precisions)
    return shape_of(
        start, recipe, (), config, job.device, first.latency.seq_len, find_precision(format, precision),
        CONVERTERS.get(format).runtime, format,
    ).candidate  # fmt: skip


def _nothing(job: Fit, first: Candidate, judged: Sequence[Judged]) -> BudgetError:
    nearest = sorted(judged, key=lambda item: item.judgement.over)[:20]
    return nothing_fits([_candidate(job, first, item.cut) for item in nearest], job.budget, job.device)
