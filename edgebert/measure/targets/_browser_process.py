"""Headless Chromium: found, started on an empty profile, and gone afterwards with all that it started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgebert.errors import RequestError
from edgebert.runtime.scratch import scratch_folder

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # it opens our own page alone, and root has no sandbox
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--password-store=basic",
    "--use-mock-keychain",
)
MORE_FLAGS = "EDGEBERT_BROWSER_FLAGS"  # further flags, separated by blanks
LONGEST_PLACE = 40  # bytes of the path; ours and Chromium's own names come to 67 behind it
_BIND = "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); os.execv(sys.argv[2], sys.argv[2:])"


def find(program: str = "") -> str:
    """The path of a Chromium or Chrome, or of the program that is named.

    Raises:
        RequestError: there is none.
    """
    result = shutil.which(program) if program else next(filter(None, map(shutil.which, PROGRAMS)), None)
    if result:
        return result
    wanted = f"there is no program '{program}'" if program else f"no browser found: looked for {', '.join(PROGRAMS)}"
    raise RequestError(
        wanted,
        where="--on browser",
        hint="Install Chromium or Chrome, name its program (--on browser:/path/to/chrome), "
        "or open a link in a browser of yours (--on browser:link).",
    )


class Browser:
    """A running one."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process, self._folder = process, folder

    def ended(self, wait_s: float = 0.0) -> str:
        """How it ended, with its own last word; "" where it still runs after `wait_s`."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        code = self._process.returncode
        return "" if code is None else f"the browser ended with exit code {code}{self._last_word()}"

    def processes(self) -> list[Any]:
        """Every process of it that lives (psutil.Process): below ours, or with our profile on its command line."""
        import psutil

        results = {}
        with suppress(psutil.Error):
            mine = psutil.Process(self._process.pid)
            results = {child.pid: child for child in (mine, *mine.children(recursive=True))}
        results |= {item.pid: item for item in _working_in(self._folder)}
        return list(results.values())

    def stop(self) -> None:
        import psutil

        for _ in range(20):  # one may start another while we look
            alive = self.processes()
            for item in alive:
                with suppress(psutil.Error):
                    item.kill()
            self._process.wait()
            if (
                not psutil.wait_procs([entry for entry in alive if entry.pid != self._process.pid], timeout=5)[1]
                and not alive
            ):
                return

    def _last_word(self) -> str:
        lines = (self._folder / "stderr").read_text(errors="replace").strip().splitlines()
        telling = [line for line in lines if "FATAL" in line] or lines[-1:]
        return f": {telling[0][:300]}" if telling else ""


@contextmanager
def running(program: str, url: str, cores: Sequence[int] = ()) -> Iterator[Browser]:
    """The browser with the page open, in a scratch folder that takes its profile and its temporary files.

    Args:
        cores: that it is bound to, on Linux; () leaves it to the system.
    """
    with scratch_folder("browser-", _short_place(), end=_end_all) as folder:
        browser = Browser(_start(program, url, cores, folder), folder)
        try:
            yield browser
        finally:
            browser.stop()
            _remove(folder)


def _end_all(folder: Path) -> None:
    """The browser of a command that was killed goes on without it."""
    for item in _working_in(folder):
        with suppress(Exception):
            item.kill()


def _working_in(folder: Path) -> list[Any]:
    """Processes (psutil.Process) with the folder on their command line."""
    import psutil

    results = []
    for item in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(folder) in part for part in item.cmdline()):
                results.append(item)
    return results


def _short_place() -> str:
    """Where temporary files go; /tmp where that path is long, because Chromium aborts on a socket's path over 107 bytes."""
    usual = tempfile.gettempdir()
    return "/tmp" if len(os.fsencode(usual)) > LONGEST_PLACE and os.access("/tmp", os.W_OK) else usual


def _start(program: str, url: str, cores: Sequence[int], folder: Path) -> subprocess.Popen[bytes]:
    flags = [*FLAGS, *_webgpu(), *os.environ.get(MORE_FLAGS, "").split(), f"--user-data-dir={folder / 'profile'}"]
    command = [program, *flags, url]
    if cores and hasattr(os, "sched_setaffinity"):
        command = [sys.executable, "-c", _BIND, ",".join(map(str, cores)), *command]
    environment = {**os.environ, "TMPDIR": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    try:
        with (folder / "stderr").open("wb") as words:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=environment, start_new_session=True
            )
    except OSError as error:
        raise RequestError(f"the browser does not start: {error.strerror}", where=program) from None


def _webgpu() -> list[str]:
    return ["--enable-unsafe-webgpu", "--enable-features=Vulkan"] if sys.platform.startswith("linux") else []


def _remove(folder: Path) -> None:
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
