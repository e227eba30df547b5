"""What comes before torch: the user hears that libraries are loaded, or that nothing has to be done."""

from __future__ import annotations

import sys
from pathlib import Path

from edgebert.devices.machine import wait_passively
from edgebert.faults import faults_as_errors
from edgebert.results import FitResult
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
