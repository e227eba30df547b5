"""Ctrl-C, SIGTERM and SIGHUP end a command with one sentence, and no process of its own stays behind."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is none of Windows'
PATIENCE_S = 5.0  # in which a second signal, such as an impatient Ctrl-C, must not cut the tidying short
CHILDREN_S = 3.0  # for children to end when they are asked


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


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it those signals raise Stopped; one that is ignored, as under nohup, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first = 0.0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if first and time.monotonic() - first < PATIENCE_S:
            return
        first = time.monotonic()
        raise Stopped(number)

    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
