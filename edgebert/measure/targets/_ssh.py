"""A connection by the user's own ssh, and a folder on the device that is gone when the connection is.

One ssh process, the keeper, opens the connection that the others share, makes the folder, and waits for the end of its
input. That comes when we close it and when we, the network or ssh die; then it stops what still runs and removes the
folder. Every word of a remote command is quoted; scripts hold neither quotes of their kind nor backslashes, so that any
login shell hands them to sh as they are.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import IO

from edgebert.errors import EdgebertError, RequestError, first_line

CONFIG = "EDGEBERT_SSH_CONFIG"  # a configuration file instead of the user's own
CONNECT_S = 10
ANSWER_S = 60.0  # for a short command
OPTIONS = (
    "BatchMode=yes", f"ConnectTimeout={CONNECT_S}", "ServerAliveInterval=5", "ServerAliveCountMax=3",
    "ClearAllForwardings=yes", "RequestTTY=no", "RemoteCommand=none",
)  # fmt: skip
MARK = "--edgebert--"  # what a login shell prints of its own comes before
VENV = ".local/share/edgebert/venv"
# $d: the folder. Its process group is that of the runner, whose number is in "pid".
KEEPER = (
    "umask 077; "
    'd=$(mktemp -d "${TMPDIR:-/tmp}/edgebert.XXXXXX") || exit 97; '
    'c() { if [ -s "$d/pid" ]; then n=$(cat "$d/pid"); kill -9 "-$n" 2>/dev/null || kill -9 "$n" 2>/dev/null; fi; '
    'rm -rf -- "$d"; }; '
    'trap c EXIT; trap "exit 0" HUP INT TERM; '
    f'p="$HOME/{VENV}/bin/python"; [ -x "$p" ] || p=$(command -v python3) || p=; '
    f'echo "{MARK}"; echo "$d"; echo "$p"; '
    "cat >/dev/null"
)
# $1: the folder, $2: Python. Not the last command, so that sh tells a killed runner (137) from a lost connection (255).
RUN = 'cd "$1" && echo "$$" >"$1/pid" && TMPDIR="$1" "$2" runner.py job.json -; exit "$?"'


def ssh_command() -> list[str]:
    """ssh with our options. Raises RequestError where there is no ssh."""
    program = shutil.which("ssh")
    if program is None:
        raise RequestError(
            "there is no ssh program on this machine", where="--on ssh", hint="Install OpenSSH's client."
        )
    own = os.environ.get(CONFIG)
    return [program, *(("-F", own) if own else ()), *(word for option in OPTIONS for word in ("-o", option))]


def check_address(address: str) -> str:
    """The address. Raises RequestError for one that no host can have, before ssh or a shell sees it."""
    bad = [c for c in address if c.isspace() or not c.isprintable() or c in "'\"`;$&|<>\\(){}*?!#"]
    if not address or address.startswith("-") or bad:
        what = f"'{address}' is no address of a host" if address else "no host is given"
        raise RequestError(
            what, where="--on ssh", hint="Write ssh:USER@HOST, or ssh:HOST with a Host of your ssh configuration."
        )
    return address


class Connection:
    """A context manager: connected, with `folder` and `python` ("" for none) on the device; see the top of this file.

    Raises:
        EdgebertError: the host cannot be reached, is not the one that is known, or lets nobody in.
    """

    def __init__(self, address: str) -> None:
        self.address = check_address(address)
        self._command = ssh_command()
        self.folder = self.python = ""

    def __enter__(self) -> Connection:
        place = "/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir()  # such paths have to be short
        self.socket = f"{place}/eb-{secrets.token_hex(8)}"  # ssh makes it for us alone, and removes it
        self._errors = tempfile.TemporaryFile()
        shared = [] if os.name == "nt" else ["-S", self.socket]
        master = [*shared, *(["-M", "-o", "ControlPersist=no"] if shared else [])]
        self._shared = [*shared, *(["-o", "ControlMaster=no"] if shared else [])]
        script = f"exec sh -c {quote(KEEPER)}"
        self._keeper = subprocess.Popen(
            [*self._command, *master, "--", self.address, script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True,
        )  # fmt: skip
        try:
            self.folder, self.python = self._greeting()
        except BaseException:
            self._close()
            raise
        return self

    def _greeting(self) -> tuple[str, str]:
        assert self._keeper.stdout is not None
        timer = threading.Timer(CONNECT_S + ANSWER_S, self._keeper.kill)
        timer.start()
        try:
            for line in self._keeper.stdout:
                if line.decode(errors="replace").strip() == MARK:
                    folder, python = (self._keeper.stdout.readline().decode().rstrip("\n") for _ in range(2))
                    if folder:
                        return folder, python
            code = self._keeper.wait()
        finally:
            timer.cancel()
        self._errors.seek(0)
        raise refusal(self.address, code, self._errors.read().decode(errors="replace"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Lets the keeper remove the folder, and waits for it."""
        assert self._keeper.stdin is not None and self._keeper.stdout is not None
        with contextlib.suppress(OSError):
            self._keeper.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(CONNECT_S)
        self._keeper.kill()
        self._keeper.wait()
        self._keeper.stdout.close()
        self._errors.close()
        Path(self.socket).unlink(missing_ok=True)

    def command(self, script: str, *words: str) -> list[str]:
        """The local command that has sh on the device run the script with these words as $1, $2, …"""
        remote = " ".join(("exec sh -c", quote(script), "sh", *map(quote, words)))
        return [*self._command, *self._shared, "--", self.address, remote]

    def ask(
        self, script: str, *words: str, stdin: IO[bytes] | int = subprocess.DEVNULL, limit_s: float = ANSWER_S
    ) -> str:
        """What the script prints. Raises EdgebertError with the last line of its complaint where it fails."""
        command = self.command(f'echo "{MARK}"; {script}', *words)
        try:
            done = subprocess.run(command, stdin=stdin, capture_output=True, timeout=limit_s, start_new_session=True)
        except subprocess.TimeoutExpired:
            raise EdgebertError(f"no answer within {limit_s:g} s", where=self.address) from None
        if done.returncode:
            description = done.stderr.decode(errors="replace").strip()
            if done.returncode == 255:
                raise refusal(self.address, 255, description)
            raise EdgebertError(
                description.splitlines()[-1] if description else f"exit status {done.returncode}", where=self.address
            )
        return done.stdout.decode(errors="replace").partition(MARK + "\n")[2]

    def put(self, local: Path, remote: str) -> None:
        """Copies a file, or a folder with all that is in it, to a path inside our folder."""
        files = [local] if local.is_file() else sorted(path for path in local.rglob("*") if path.is_file())
        for path in files:
            place = remote if path == local else f"{remote}/{path.relative_to(local).as_posix()}"
            script = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1"'
            with path.open("rb") as stream:
                try:
                    self.ask(script, f"{self.folder}/{place}", stdin=stream, limit_s=3600)
                except EdgebertError as error:
                    raise EdgebertError(f"cannot copy {path.name}: {error.what}", where=self.address) from None


def refusal(address: str, code: int, description: str) -> EdgebertError:
    """ssh's complaint as one message that says what to do."""
    host = address.rpartition("@")[2]
    lines = [
        line.strip() for line in description.splitlines() if line.strip() and not line.startswith(("@", "Warning:"))
    ]
    known = (
        ("IDENTIFICATION HAS CHANGED", "the host's key is not the one that this machine knows",
         f"If the device was set up anew: ssh-keygen -R {host}, then ssh {address} to see the new key. "
         "If not, another machine answers in its place."),
        ("Host key verification failed", "the host's key is not known yet",
         f"Connect once by hand, compare the fingerprint and say yes: ssh {address}"),
        ("Permission denied", "the host lets nobody in with the keys that ssh offers", f"Run: ssh-copy-id {address}"),
        ("Could not resolve", "no host has this name", "Look for a spelling mistake, or give its number."),
        ("Connection refused", "the host is there, but no ssh server answers", "Switch ssh on there."),
        ("timed out", f"the host does not answer within {CONNECT_S} s", "Is it switched on, and in this network?"),
        ("No route to host", "the host cannot be reached", "Is it switched on, and in this network?"),
        ("unreachable", "the host cannot be reached", "Is it switched on, and in this network?"),
    )  # fmt: skip
    for sign, what, hint in known:
        if sign in description:
            return EdgebertError(what, where=address, hint=hint)
    if code == 97:
        return EdgebertError("no folder can be made on the device", where=address, hint=lines[-1] if lines else None)
    if code < 0:
        return EdgebertError("the host took the connection and then said nothing", where=address)
    return EdgebertError(f"ssh failed: {first_line(lines[-1] if lines else f'exit status {code}')}", where=address)
