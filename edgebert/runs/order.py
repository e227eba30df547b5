"""In which order the stages of a run were used: by the lines of events.jsonl, for a clock may go back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgebert.runs.folder import EVENTS

USES = ("done", "kept", "linked")  # events in which a command makes a stage, or takes it as it is
FINISH = "finish"


@dataclass
class Order:
    """Line numbers of events.jsonl.

    Attributes:
        uses: of the newest event in which a command made or took the stage, by NAME-KEY.
        finished: of the end of the newest command that came to its end; -1 where none did.
    """

    uses: dict[str, int] = field(default_factory=dict)
    finished: int = -1

    def of(self, record: Mapping[str, Any]) -> int:
        """-1 where no event names the stage."""
        return self.uses.get(f"{record['stage']}-{record['key']}", -1)


def read_order(run: Path) -> Order:
    """What the events tell; a line that is damaged tells nothing. Raises OSError where they are there and cannot be read."""
    order, events = Order(), run / EVENTS
    if not events.is_file():
        return order
    with events.open("rb") as stream:
        for number, line in enumerate(stream):
            if not any(f'"event": "{kind}"'.encode() in line for kind in (*USES, FINISH)):
                continue
            try:
                event = json.loads(line)
                if event["event"] == FINISH:
                    order.finished = number
                elif event["event"] in USES:
                    order.uses[f"{event['stage']}-{event['key']}"] = number
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    return order


def by_use(run: Path, records: Mapping[Path, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records of stages of one run, the one that was used last at the end."""
    return sorted(records.values(), key=read_order(run).of)
