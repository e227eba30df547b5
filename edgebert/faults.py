"""What the operating system refuses — a full disk, a missing permission, a disk that fails — as one message; and a package
that is not installed, with the command that installs it."""

from __future__ import annotations

import errno
import functools
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from edgebert.errors import EdgebertError, RequestError, RunError

P = ParamSpec("P")
R = TypeVar("R")

AGAIN = "give the same command again: what was finished is kept."
ELSEWHERE = "Choose a place that you may write to."
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
FAULTS = {  # errno -> what, hint
    errno.ENOSPC: ("the disk is full", f"Free some space and {AGAIN}"),
    errno.EDQUOT: ("your quota of this disk is used up", f"Free some space and {AGAIN}"),
    errno.EFBIG: ("this file system does not take a file of that size", "Choose a place on another disk."),
    errno.EROFS: ("this file system can only be read", ELSEWHERE),
    errno.EACCES: ("permission denied", ELSEWHERE),
    errno.EPERM: ("the system does not allow it", ELSEWHERE),
    errno.EIO: ("the disk failed to read or write", f"Look after the disk, then {AGAIN}"),
    errno.ESTALE: ("the network's file system went away", f"When it is back, {AGAIN}"),
    errno.ENOTCONN: ("the network's file system went away", f"When it is back, {AGAIN}"),
    errno.ENODEV: ("the disk went away", f"When it is back, {AGAIN}"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "Choose a shorter name."),
    errno.EMFILE: ("too many files are open in this process", f"Raise the limit (ulimit -n 4096) and {AGAIN}"),
    errno.ENFILE: ("too many files are open on this machine", f"Close other programs and {AGAIN}"),
    errno.ENOMEM: ("there is not enough memory", f"Close other programs and {AGAIN}"),
}
# Libraries of Rust and C++ give the system's words, not its number.
WORDS = {os.strerror(number).lower(): number for number in FAULTS} | {
    f"(os error {number})": number for number in FAULTS
} | {"not enough memory": errno.ENOMEM, "can't allocate memory": errno.ENOMEM}  # fmt: skip
SILENT = ("PytorchStreamWriter failed", "unexpected pos", "file write failed")  # torch.save tells no reason
NEARLY_FULL = 1 << 20  # bytes
NO_TEMPORARY = "No usable temporary directory"  # what Python's tempfile says
SET_TMPDIR = f"Set TMPDIR to a folder with room that you may write to, and {AGAIN}"
# The modules that an extra of pyproject.toml brings: `pip install "edgebert[EXTRA]"`. All others come without one.
EXTRAS = {
    "fit": (
        "torch", "transformers", "accelerate", "datasets", "pyarrow", "huggingface_hub", "filelock", "safetensors",
        "seqeval", "sklearn", "scipy", "regex", "onnx", "onnxscript", "jinja2", "matplotlib",
    ),
    "tflite": ("litert_torch", "ai_edge_quantizer", "flatbuffers"),
    "coreml": ("coremltools", "tqdm"),
    "coreai": ("coreai", "coreai_torch", "coreai_opt"),
    "openvino": ("openvino", "nncf"),
    "executorch": ("executorch", "torchao"),
    "tokenizer-in-graph": ("onnxruntime_extensions",),
    "search": ("optuna", "sqlalchemy", "psycopg"),
}  # fmt: skip


@contextmanager
def faults_as_errors(place: Path, needs_bytes: int = 0) -> Iterator[None]:
    """Within it, what the system refuses is raised as a RunError.

    Args:
        place: where is written, for errors that do not tell.
        needs_bytes: that all of the work takes on the disk, about.
    """
    try:
        yield
    except Exception as error:
        if fault := fault_of(error, place, needs_bytes):
            raise fault from error
        raise


def fault_of(error: BaseException, place: Path | None = None, needs_bytes: int = 0) -> RunError | None:
    """The message for an error that the system, or a library on its behalf, raised; None for every other error."""
    if isinstance(error, EdgebertError):
        return None
    for item in _chain(error):
        if isinstance(item, FileNotFoundError) and NO_TEMPORARY in str(item):
            return RunError("there is no folder that temporary files can be written to", hint=SET_TMPDIR)
        number = _number(item, place)
        if number is None:
            continue
        what, hint = FAULTS[number]
        named = getattr(item, "filename2", None) or getattr(item, "filename", None)  # a copy names its source, too
        where = os.fsdecode(named) if isinstance(named, (str, bytes, os.PathLike)) else str(place) if place else None
        if number in FULL_DISK:
            hint = f"{_space(Path(where) if where else Path(), needs_bytes)} {hint}"
        return RunError(what, where=where, hint=hint)
    return None


def raise_if_fault(error: BaseException, place: Path | None = None) -> None:
    """Raises the message for what the system refused; to be called where any error of a library is otherwise taken for the
    model's fault."""
    if fault := fault_of(error, place):
        raise fault from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _number(error: BaseException, place: Path | None) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in FAULTS else None
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    text = str(error)
    for words, number in WORDS.items():
        if words in text.lower():
            return number
    if place and any(words in text for words in SILENT):
        return errno.ENOSPC if (free_bytes(place) or 0) < NEARLY_FULL else errno.EIO
    return None


def _space(place: Path, needs_bytes: int) -> str:
    free = free_bytes(place)
    description = f"{free / 1e6:.1f} MB are free there" if free is not None else "How much is free cannot be told"
    return f"{description}, about {needs_bytes / 1e6:.0f} MB are needed in all." if needs_bytes else f"{description}."


def free_bytes(place: Path) -> int | None:
    """Of the disk that `place` is, or would be, on; None where the system does not tell."""
    for folder in (place.absolute(), *place.absolute().parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None


def check_writable(place: Path, option: str) -> None:
    """Tries to write where a file or folder is to be, and leaves nothing.

    Args:
        place: it need not exist, nor its parents.
        option: that names it, for the hint.

    Raises:
        RunError: something there is a file where a folder must be, or cannot be written.
    """
    try:
        existing = next(folder for folder in (place.absolute(), *place.absolute().parents) if _exists(folder))
        # A folder is written in, and replaced in its parent; what does not exist is made in the first that does.
        folders = [place, place.absolute().parent] if existing == place.absolute() else [existing]
        for folder in (item for item in folders if item != place or place.is_dir()):
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".edgebert-", buffering=0) as stream:
                stream.write(b"-")  # a full buffer would fail again on closing, and the file would stay
    except (OSError, ValueError) as error:  # a name may hold a zero byte
        fault = fault_of(error, place)
        reason = fault.what if fault else getattr(error, "strerror", None) or str(error)
        if isinstance(error, NotADirectoryError):
            reason = "a file is where a folder must be"
        hint = fault.hint if fault and isinstance(error, OSError) and error.errno in FULL_DISK else None
        raise RunError(
            f"cannot write here: {reason}", where=str(place), hint=hint or f"Choose another {option}."
        ) from None


def _exists(path: Path) -> bool:
    """`Path.exists` without its silence: what cannot be looked at is an error, a file among the parents too."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


# ---------------------------------------------------------------- packages that are not installed


def needs_extra(extra: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function of the API: a package that is not installed is a RequestError with the pip command.

    Args:
        extra: whose packages are all looked for before the function begins; "" for none.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for module in EXTRAS.get(extra, ()):
                if not is_installed(module):
                    raise not_installed(module, function.__name__)
            try:
                return function(*args, **kwargs)
            except ModuleNotFoundError as error:
                if absent := absent_of(error, function.__name__):
                    raise absent from error
                raise

        return call

    return decorate


def absent_of(error: BaseException, what: str = "this command") -> RequestError | None:
    """The message for a module that is not installed and that an extra brings; None for every other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    module = error.name.partition(".")[0]
    return not_installed(module, what) if extra_of(module) and not is_installed(module) else None


def not_installed(module: str, what: str) -> RequestError:
    """The error for a module that `what` needs: a command, a format."""
    return RequestError(f"{what} needs {module}, which is not installed", hint=f"Run: {install_command(module)}")


def install_command(module: str) -> str:
    """The pip command that brings a module: an extra of edgebert, or the package that is named as the module is."""
    extra = extra_of(module)
    return f'pip install "edgebert[{extra}]"' if extra else f"pip install {module.replace('_', '-')}"


def extra_of(module: str) -> str:
    """The extra that brings a module; "" where none does."""
    return next((extra for extra, modules in EXTRAS.items() if module in modules), "")


def is_installed(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    if module in sys.modules:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
