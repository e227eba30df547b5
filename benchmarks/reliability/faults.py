"""What the system refuses in the midst of `fit`, at every stage, and whether the same command then goes on.

A row is a fault at a place: what the command says, its exit code, and what became of it. Faults of one kind follow each
other in one run folder, from stage to stage; the command that comes last meets none, and has to end with the package of a
run that met no fault, byte for byte, with no stage made again that had been done, and with nothing left lying about.

    full-disk     a tmpfs that is cut down to what it holds as the stage begins, or to that and half of what the stage writes
    read-only     a mount over the run folder's file system that can only be read
    links         exFAT, which has no hard links, in a file (exfat-fuse)
    locks         flock refused in the process: no such file system can be had here
    clock         two days back at every stage (time-machine), and three requests in one folder while it goes back
    home          HOME taken away, or naming nothing, or read-only, and a user whom the system has no home of
    temporary     TMPDIR naming nothing, read-only or full, and no folder for temporary files at all
    targets       a board (sshd), a phone (adb's protocol) and a browser that die while they measure

It needs root, mount and what stands in brackets; what cannot be tried is a row that says so. Writes
benchmarks/reliability/faults.md.

    python -m benchmarks.reliability.faults [--only full-disk,clock]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.reliability.fault_disks import full_disk, links, locks, read_only
from benchmarks.reliability.fault_rows import GOOD, NOT_TRIED, Bench, NotHere, Row
from benchmarks.reliability.fault_surroundings import clock, home, temporary
from benchmarks.reliability.fault_targets import targets
from benchmarks.reliability.small_fit import World, warm
from edgebert.devices.machine import describe_environment

PAGE = Path(__file__).with_suffix(".md")
KINDS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "full-disk": full_disk,
    "read-only": read_only,
    "links": links,
    "locks": locks,
    "clock": clock,
    "home": home,
    "temporary": temporary,
    "targets": targets,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(KINDS), help="kinds of faults, separated by commas")
    parser.add_argument("--format", default="onnx", help="formats that the runs write")
    parser.add_argument("--rows", type=Path, help="write the rows there as JSON, and no page")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := sorted(set(wanted) - set(KINDS)):
        parser.error(f"unknown kind of fault {unknown[0]}; there are {', '.join(KINDS)}")
    if not hasattr(os, "fork"):
        parser.error("this system cannot fork")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "tmp").mkdir()
        bench = Bench(folder, World.make(folder, options.format), folder / "tmp")
        warm(options.format)
        for kind in wanted:
            for row in tried(kind, bench):
                rows.append(row)
                print(line(row), flush=True)
                if options.rows is None:  # the page grows, so that what was stopped early tells what it saw
                    options.output.write_text(page(rows, options.only, under_way=kind), encoding="utf-8")
    if options.rows is None:
        options.output.write_text(page(rows, options.only), encoding="utf-8")
    else:
        options.rows.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
    return int(any(row.outcome not in (GOOD, NOT_TRIED) for row in rows))


def tried(kind: str, bench: Bench) -> Iterator[Row]:
    try:
        yield from KINDS[kind](bench)
    except NotHere as missing:
        yield Row(kind, "", None, str(missing), NOT_TRIED)


# ---------------------------------------------------------------- the page


def line(row: Row) -> str:
    code = "" if row.code is None else str(row.code)
    cells = (row.fault, row.place, code, row.message.replace("|", "\\|"), row.outcome)
    return f"| {' | '.join(cells)} |"


def page(rows: list[Row], only: str, under_way: str = "") -> str:
    environment: dict[str, Any] = dict(describe_environment())
    versions, hardware = environment["versions"], environment["hardware"]
    good, left = sum(row.outcome == GOOD for row in rows), sum(row.outcome == NOT_TRIED for row in rows)
    more = "" if only == ",".join(KINDS) else f" --only {only}"
    lines = [
        "# Faults",
        "",
        "What the system refuses in the midst of `fit` of a tiny teacher, at every stage: what the command says, its exit code,",
        "and what became of it. Faults of one kind follow each other in one run folder; each command goes on from what the one",
        "before it left. The row `afterwards` is a command that meets no fault: it ends with the package of a run without",
        "faults, byte for byte, no stage was made again that had been done, and nothing is left lying about.",
        "",
        f"{len(rows)} rows: {good} as it has to be, {len(rows) - good - left} not, {left} not tried.",
        *(["", f"Not finished: `{under_way}` was under way."] if under_way else []),
        "",
        "| fault | at | exit code | it says | |",
        "| --- | --- | --- | --- | --- |",
        *map(line, rows),
        "",
        f"- command: `python -m benchmarks.reliability.faults{more}`, as root",
        f"- date: {datetime.now(timezone.utc).isoformat(timespec='seconds')}",
        f"- machine: {hardware['processor']}, {hardware['cores']} core(s); Linux {os.uname().release}",
        f"- Python {sys.version.split()[0]}, torch {versions['torch']}, transformers {versions['transformers']}, onnxruntime"
        f" {versions['onnxruntime']}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
