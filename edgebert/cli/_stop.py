"""Ctrl-C, SIGTERM and SIGHUP end a command with one sentence, and no process of its own stays behind."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is none of Windows'
PATIENCE_S = 5.0  # in which a second signal, such as an impatient Ctrl-C, must not cut the tidying short
CHILDREN_S = 3.0  # for children to end when they are asked
AGAIN_S = 0.05  # after which a signal comes again that Python could raise nothing for

_asked: Stopped | None = None  # the signal that came; None again when the command has ended


class Stopped(BaseException):
    """A signal asked the command to end. Whoever knows says in which stage it came, and what the user is to do."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number, self.stage, self.after = number, "", "the same command begins again"

    def __str__(self) -> str:
        stage = f" at stage {self.stage}" if self.stage else ""
        return f"stopped by {signal.Signals(self.number).name}{stage}; {self.after}"

    @property
    def exit_code(self) -> int:
        return 128 + self.number


def stop_if_asked() -> None:
    """Raises Stopped where a signal came and a library caught the Stopped that was raised for it (`except:`)."""
    if _asked is not None:
        raise Stopped(_asked.number)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it those signals raise Stopped; one that is ignored, as under nohup, stays so.

    Where the signal comes within a __del__ that the garbage collector runs, Python drops what is raised: importing
    transformers compiles patterns with `regex`, whose parser leaves many such objects. It is then raised again.
    """
    global _asked
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first = 0.0

    def stop(number: int, frame: FrameType | None) -> None:
        global _asked
        nonlocal first
        if first and time.monotonic() - first < PATIENCE_S:
            return
        first, _asked = time.monotonic(), Stopped(number)
        raise Stopped(number)

    def dropped(what: sys.UnraisableHookArgs) -> None:
        nonlocal first
        if not isinstance(what.exc_value, Stopped):
            unraisable(what)
            return
        first = 0.0
        timer = threading.Timer(AGAIN_S, _send_to_main, (what.exc_value.number,))
        timer.daemon = True
        timer.start()

    unraisable, sys.unraisablehook = sys.unraisablehook, dropped
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook, _asked = unraisable, None


def _send_to_main(number: int) -> None:
    """So that it also wakes a main thread that waits for something."""
    if _asked is None:  # the command has ended meanwhile
        return
    ident = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and ident is not None:
        signal.pthread_kill(ident, number)
    else:
        signal.raise_signal(number)


def end_children() -> None:
    """Ends what this process started: measuring processes, workers."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for ask in ("terminate", "kill"):
        for child in children:
            try:
                getattr(child, ask)()
            except psutil.Error:
                continue
        children = psutil.wait_procs(children, timeout=CHILDREN_S)[1]
