"""Shows a run's events: a line for what happened, and in a terminal one live line for what is under way."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

LINES = {
    "request": "fitting {teacher} for {device}: {task} on {data}",
    "teacher-found": "teacher from {origin}",
    "note": "note: {text}",
    "link": "{text}",
    "kept": "{stage}: unchanged since an earlier run, reused",
    "linked": "{stage}: reused from run {run}",
    "damaged": "{folder}: its files have changed, so the stage is made again",
    "begin": "{stage} …",
    "resume": "  {training}: resumed at step {step} of {steps}",
    "candidate": "candidate {name}: {reason}",
    "parity": "  {artifact}: {outcome} {reasons}",
    "converted": "  {name}: written in {seconds:.1f} s {reasons}",
    "timing": "  timing {files} models in turns, {threads} thread(s), {lengths}",
    "done": "{stage}: done in {seconds:.0f} s",
}
TELL_EVERY_S = 2.0


class Progress:
    """A context manager that is called with each event."""

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.quiet = quiet
        self.started = self._told = time.monotonic()
        self._live = self.console.status("") if self.console.is_terminal and not quiet else None

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        if self.quiet and event["event"] != "link":  # without it nothing would go on
            return
        kind = event["event"]
        if kind == "epoch":
            self._print(self._epoch(event))
        elif kind in LINES:
            reasons = "; ".join(event.get("failures") or ())
            self._print(LINES[kind].format(**event, reasons=reasons).rstrip())
        if kind == "measuring":
            self._measuring(event["text"])
        if self._live and kind in ("step", "begin", "trial"):
            self._live.update(self._under_way(event))

    def _measuring(self, text: str) -> None:
        """In the live line; where there is none, a line where two seconds went by without one."""
        if self._live:
            self._live.update(text)
        elif time.monotonic() - self._told >= TELL_EVERY_S:
            self._print(f"  {text}")

    def _print(self, line: str) -> None:
        self._told = time.monotonic()
        clock = time.strftime("%M:%S", time.gmtime(time.monotonic() - self.started))
        self.console.print(f"{clock}  {line}", markup=False, soft_wrap=True)

    def _epoch(self, event: dict[str, Any]) -> str:
        score = f", dev {100 * event['dev']:.1f}" if "dev" in event else ""
        return f"  {event['training']}: epoch {event['epoch']:g}{score} ({event['seconds']:.0f} s)"

    def _under_way(self, event: dict[str, Any]) -> str:
        if event["event"] == "step":
            return f"{event['training']}: step {event['step']} of {event['steps']}"
        if event["event"] == "trial":
            return f"writing {event['name']}"
        return str(event["stage"])
