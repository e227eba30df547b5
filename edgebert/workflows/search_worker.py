"""Takes part in a study that `edgebert search --study URL` began, in a run folder of its own.

The request comes out of the study. Stages that this machine has not are linked from sibling runs or made, and what the study
is of must come out the same: rows, versions, device, and the weights of the network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.errors import RunError
from edgebert.faults import faults_as_errors
from edgebert.files import from_plain, slug
from edgebert.modeling.checkpoint import load_student
from edgebert.results import SearchWork
from edgebert.search.storage import Members, Place, refuse_others
from edgebert.teachers.fitting import with_teacher_labels
from edgebert.types import FitRequest
from edgebert.workflows.fit import plan_stage
from edgebert.workflows.names import RUNS
from edgebert.workflows.recipe_trials import choose_recipe, with_choice
from edgebert.workflows.request import Fit, needs_bytes, resolve
from edgebert.workflows.search import default_name, early_facts, judged_in, network_stage
from edgebert.workflows.stages import teacher_stage
from edgebert.workflows.unchanged import fingerprint_now

if TYPE_CHECKING:
    from edgebert.types import OnEvent

ASK_S = 2.0  # between two looks for a study that nobody has begun yet


def work(
    url: str, name: str | None, given: Mapping[str, Any], *, command: str = "", on_event: OnEvent | None = None
) -> SearchWork:
    """Judges networks of the study until it has its trials.

    Args:
        url: of the study's database.
        name: of this worker; None is the machine's with the process's number.
        given: fields of FitRequest that differ here: run, teacher, data, allow_pickle.

    Raises:
        RequestError: the URL, the name, or what the study is of.
        RunError: the database went away, or holds something else.
    """
    place = Place(url=url, worker=name or default_name(), joins=True)
    facts = _facts(place, on_event)
    request = _request(place, facts, given)
    with faults_as_errors(Path(request.run or RUNS)):
        job = resolve(request, command, on_event)
        job.fingerprint = fingerprint_now(request)
    try:
        with faults_as_errors(job.run.folder, needs_bytes(job)):
            own = early_facts(job)
            refuse_others(place, {name: facts.get(name) for name in own}, own)
            return _take_part(job, replace(place, note=partial(_note, job)))
    finally:
        job.run.close()


def _facts(place: Place, on_event: OnEvent | None) -> dict[str, Any]:
    """What the study is of, once somebody has begun it."""
    with Members(place) as members:
        told = False
        while not (facts := members.facts()):
            if on_event:  # which also ends this where the user stops it
                text = "nobody has begun the study yet: waiting for it"
                on_event({"event": "waiting" if told else "note", "text": text})
            told = True
            time.sleep(ASK_S)
    return facts


def _request(place: Place, facts: Mapping[str, Any], given: Mapping[str, Any]) -> FitRequest:
    """The study's. What could harm this machine is not taken from there."""
    own = {"run": f"{RUNS}/search-{slug(place.worker)}", "on": None, "allow_pickle": False, **given}
    try:
        return replace(from_plain(FitRequest, facts["request"]), study=place.url, **own)
    except (KeyError, TypeError, AttributeError):
        raise RunError("the study there is none of this edgebert", where=place.shown) from None


def _take_part(job: Fit, place: Place) -> SearchWork:
    teacher = teacher_stage(job)
    job.dataset = with_teacher_labels(load_student(teacher.path), job.task, job.dataset, job.max_length)
    plan = plan_stage(job, teacher)
    plan = with_choice(plan, choose_recipe(job, plan, teacher), n_candidates=1)
    first = next(candidate for candidate in plan.candidates if candidate.taken)
    trained, own = network_stage(job, first, teacher), 0

    def judges() -> None:
        nonlocal own
        own += 1

    job.run.log(event="begin", stage="search", key="")
    began = time.monotonic()
    judged = judged_in(job, first, trained, place, judges)
    job.run.log(event="done", stage="search", key="", seconds=round(time.monotonic() - began, 3))
    return SearchWork(job.run.folder, place.worker, own, len(judged))


def _note(job: Fit, text: str) -> None:
    job.run.log(event="note", text=text)
