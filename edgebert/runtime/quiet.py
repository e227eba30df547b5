"""Libraries talk a lot, from Python and from C++. What matters of it is checked and raised; the rest stays off the terminal."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout

LOGGERS = ("coremltools", "matplotlib", "torch", "torchao")


class Captured:
    """What was written within `quiet(capture=True)`; filled when it ends."""

    text: str = ""


@contextmanager
def quiet(*libraries: str, capture: bool = False) -> Iterator[Captured]:
    """Within it libraries log nothing below an error, and transformers draws no bars.

    Args:
        libraries: imported first, so that what they set up on import is silenced too.
        capture: no log record, warning, bar or message of C++ reaches the terminal either, also not what edgebert itself
            would print: not for what shows progress.
    """
    for name in libraries:
        importlib.import_module(name)
    captured = Captured()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    transformers = sys.modules.get("transformers")
    verbosity = transformers.logging.get_verbosity() if transformers else None
    if transformers:
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with ExitStack() as stack:
            if capture:
                stack.enter_context(_output_to(captured))
            yield captured
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if transformers:
            transformers.logging.set_verbosity(verbosity)


@contextmanager
def _output_to(captured: Captured) -> Iterator[None]:
    """Log records and warnings are dropped; what is written to the two file handles of output is kept."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = _redirect(sink.fileno())
        text = io.TextIOWrapper(sink, encoding="utf-8", errors="replace", write_through=True)
        try:
            with redirect_stdout(text), redirect_stderr(text):
                yield
        finally:
            _flush()
            for handle, copy in saved.items():
                os.dup2(copy, handle)
                os.close(copy)
            logging.disable(level)
            text.flush()
            sink.seek(0)
            captured.text = sink.read().decode(errors="replace")
            _give_back(text)
            text.detach()


def _give_back(stream: io.TextIOWrapper) -> None:
    """Handlers that a library made meanwhile of what it took for the terminal write to the real one."""
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                handler.setStream(sys.stderr)


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
