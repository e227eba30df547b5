"""What comes before torch: the user hears that libraries are loaded, or that nothing has to be done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgebert.devices.machine import wait_passively
from edgebert.faults import faults_as_errors, needs_extra
from edgebert.results import FitResult, SearchWork
from edgebert.types import FitRequest, OnEvent


def before_torch(on_event: OnEvent | None) -> None:
    """To be called before torch is imported: its threads then wait passively, and the user knows what takes so long."""
    wait_passively()
    if on_event and "torch" not in sys.modules:
        on_event({"event": "loading"})


def carry_out(request: FitRequest, *, command: str, locked: bool, on_event: OnEvent | None) -> FitResult:
    """A fit, or the recorded result where nothing has changed since the same request was carried out.

    Raises:
        RequestError: `locked`, and something differs from the run that is repeated.
        EdgebertError: as `edgebert.api.fit`.
    """
    from edgebert.workflows.unchanged import recorded_result

    with faults_as_errors(Path(request.run or ".")):
        if result := recorded_result(request, locked, on_event):
            return result
    before_torch(on_event)
    from edgebert.workflows.fit import fit

    return fit(request, command=command, on_event=on_event)


@needs_extra("search")
def search_worker(url: str, *, name: str | None = None, on_event: OnEvent | None = None, **given: Any) -> SearchWork:
    """Takes part in a search until it has its trials; the command `edgebert search worker`.

    Args:
        url: of the database in which `fit(study=url)` keeps the search's trials, as SQLAlchemy takes it.
        name: of this worker; none that is alive may have the same.
        on_event: told of every event of the worker's run.
        **given: of the fields of `edgebert.types.FitRequest`, which come from the search: run, teacher, data and allow_pickle.

    Raises:
        RequestError: the URL is none of a database, the name is taken, or this machine's rows, versions, device or network are
            not the search's.
        RunError: the database went away and did not come back.
    """
    before_torch(on_event)
    from edgebert.workflows.search_worker import work

    return work(url, name, given, on_event=on_event)
