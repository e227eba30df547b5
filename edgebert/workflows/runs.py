"""One run as `edgebert runs show` tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgebert.errors import unknown
from edgebert.report import read_report
from edgebert.runs.folder import REQUEST
from edgebert.runs.listing import list_runs, read_stages


def show_run(name: str, root: str | Path = "runs") -> dict[str, Any]:
    """One run: its stages with their seconds, those interrupted, and its report when it has one.

    Args:
        name: a run's name under `root`, or its path.
        root: the folder that holds the runs.

    Raises:
        RequestError: no such run.
    """
    folder = Path(name) if (Path(name) / REQUEST).exists() else Path(root) / name
    known = {run["name"]: run for run in list_runs(folder.parent)}
    if folder.name not in known:
        raise unknown("run", name, known, where=str(root))
    report = folder / "report" / "report.json"
    return {
        **known[folder.name],
        "folder": str(folder),
        "stages": read_stages(folder),
        "report": read_report(report) if report.exists() else None,
    }
