"""Shows a run's events: a line for what happened, and in a terminal one live line for what is under way."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from edgebert.cli._stop import Stopped, stop_if_asked
from edgebert.devices.machine import UseMeter

if TYPE_CHECKING:
    from rich.console import Console

    from edgebert.types import Event

LINES = {
    "loading": "loading libraries …",
    "compared": "{text}",
    "device": "== {device}",
    "package": "  package for {platform}: {text}",
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
    "recipe-trial": "  {recipe}: dev {dev:.1%} after {rows} rows",
    "recipe": "recipe: {recipe}",
    "attempt": "no file keeps within {allowed:g} points, the best loses {drop}: now {name}, {reason} (about {seconds} s)",
    "parity": "  {artifact}: {outcome} {reasons}",
    "converted": "  {name}: written in {seconds:.1f} s {reasons}",
    "timing": "  timing {files} models in turns, {threads} thread(s), {lengths}",
    "done": "{stage}: done in {seconds:.0f} s",
}
TELL_EVERY_S = 2.0
MOST_EPOCHS = 12  # lines of one training, beside the first and the last: few rows make a hundred epochs
SHARED_AFTER_S = 8.0  # of a stage: then a user is told if others compute, too
GOES_ON = "the same command goes on where it was"


class Progress:
    """A context manager that is called with each event.

    Args:
        quiet: show nothing but links that the user must follow.
        after: what a user who stops the command is told to do, or not to fear.
        request: the line that says what was asked for.
    """

    def __init__(self, quiet: bool = False, after: str = GOES_ON, request: str = LINES["request"]) -> None:
        self.console = _console()
        self._lines = {**LINES, "request": request}
        self._epochs: dict[str, float] = {}  # training -> the epoch that was last shown
        self._scored: set[str] = set()  # trainings whose epochs have a score now and then
        self.quiet, self.after = quiet, after
        self.started = self._told = time.monotonic()
        self._stage = ""
        self._meter, self._said_shared, self._requested = UseMeter(), False, time.monotonic()
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
        if isinstance(error, Stopped):
            error.stage, error.after = self._stage, self.after

    def __call__(self, event: Event) -> None:
        stop_if_asked()
        kind = event["event"]
        if kind in ("begin", "write", "done"):
            self._stage = str(event["stage"]) if kind != "done" else ""
        if self.quiet and kind != "link":  # without it nothing would go on
            return
        try:
            self._show(kind, event)
        except OSError:  # the log's disk is full, or nobody reads it any more: no reason to lose the work
            self.quiet = True

    def _show(self, kind: str, event: Event) -> None:
        if kind == "begin":
            self._restart()
        if kind == "epoch":
            if self._is_shown(event):
                self._print(self._epoch(event) + self._shared())
        elif kind in self._lines:
            reasons = "; ".join(event.get("failures") or ())
            line = self._lines[kind].format(**event, reasons=reasons).rstrip()
            self._print(line + (self._shared() if kind == "done" else ""))
        if kind == "measuring":
            self._measuring(event["text"])
        if kind in ("step", "measuring", "probe", "variant"):
            self._tell_shared()
        if self._live and kind in ("step", "begin", "write", "probe", "variant"):
            self._live.update(self._under_way(event))

    def _restart(self) -> None:
        self._meter, self._said_shared, self._requested = UseMeter(), False, time.monotonic()

    def _shared(self) -> str:
        """What to add to a line that tells seconds: who else computed in them."""
        use = self._meter.use()
        return f" while {use}" if use.is_shared else ""

    def _tell_shared(self) -> None:
        """Once a stage, as soon as it is seen: the user learns early why it takes long."""
        if self._said_shared or time.monotonic() - self._requested < SHARED_AFTER_S:
            return
        self._requested = time.monotonic()
        use = self._meter.so_far()
        if use.is_shared:
            self._said_shared = True
            self._print(f"  the machine is shared: {use}, so this takes longer")

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

    def _is_shown(self, event: Event) -> bool:
        """Of a training's epochs the first, the last, and MOST_EPOCHS between them, such as have a score where any has."""
        name, epoch, epochs = event["training"], event["epoch"], event.get("epochs", 0)
        last = self._epochs.get(name)
        due = last is None or epoch < last or epoch >= epochs or epoch - last >= epochs / MOST_EPOCHS
        shown = due and (last is None or epoch >= epochs or "dev" in event or name not in self._scored)
        self._scored |= {name} if "dev" in event else set()
        if shown:
            self._epochs[name] = epoch
        return shown

    def _epoch(self, event: Event) -> str:
        score = f", dev {100 * event['dev']:.1f}" if "dev" in event else ""
        return f"  {event['training']}: epoch {event['epoch']:g}{score} ({event['seconds']:.0f} s)"

    def _under_way(self, event: Event) -> str:
        if event["event"] == "step":
            return f"{event['training']}: step {event['step']} of {event['steps']}"
        if event["event"] in ("probe", "variant"):
            return f"writing {event['name']}"
        return str(event["stage"])


def _console() -> Console:
    """Standard error, whose reader may go away while the work goes on."""
    from rich.console import Console

    class Enduring(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Enduring(stderr=True, highlight=False)
