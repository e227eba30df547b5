"""The report folder: report.json, index.html and report.png, all of them or none."""

from __future__ import annotations

from pathlib import Path

from edgebert.errors import RunError
from edgebert.faults import fault_of
from edgebert.files import replace_folder
from edgebert.report.serial import dump_report
from edgebert.results import Report


def write_report(report: Report, folder: Path) -> None:
    """Writes report.json, index.html and report.png beside `folder` and renames them into its place.

    Raises:
        RunError: the folder cannot be written; an older report there is left as it was.
    """
    from edgebert.report.figure import write_figure
    from edgebert.report.html import render

    try:
        with replace_folder(folder) as beside:
            (beside / "report.json").write_text(dump_report(report), encoding="utf-8")
            (beside / "index.html").write_text(render(report), encoding="utf-8")
            write_figure(report, beside / "report.png")
    except OSError as error:
        raise fault_of(error, folder) or RunError(
            f"cannot write the report: {error.strerror or error}",
            where=str(folder),
            hint="Free space, or choose another --run.",
        ) from None
