"""LiteRT's libraries talk a lot, from Python and from C++; what they say is kept for the error message."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


class Said:
    """What was written to standard error within `hushed`; filled when it ends."""

    text: str = ""


@contextmanager
def hushed() -> Iterator[Said]:
    """Nothing that runs within it reaches the terminal: log records, warnings, C++ messages on the two file handles."""
    description = Said()
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = _redirect(sink.fileno())
        text = io.TextIOWrapper(sink, encoding="utf-8", errors="replace", write_through=True)
        try:
            with redirect_stdout(text), redirect_stderr(text):
                yield description
        finally:
            _flush()
            for handle, copy in saved.items():
                os.dup2(copy, handle)
                os.close(copy)
            logging.disable(level)
            text.flush()
            sink.seek(0)
            description.text = sink.read().decode(errors="replace")
            text.detach()


def _redirect(target: int) -> dict[int, int]:
    """Points standard output and error at `target`; returns copies of what they were. A closed handle stays closed."""
    _flush()
    saved = {}
    for handle in (1, 2):
        try:
            saved[handle] = os.dup(handle)
        except OSError:
            continue
        os.dup2(target, handle)
    return saved


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
