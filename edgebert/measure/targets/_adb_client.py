"""Talks to a phone through the adb client: argument lists only, one message for each thing that can be wrong.

adb keeps a server running in the background, as it does for everybody who uses it; it is found by adb's own variables
(ADB_SERVER_SOCKET, ANDROID_ADB_SERVER_PORT) and left as it is.
"""

from __future__ import annotations

import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgebert.errors import EdgebertError, RequestError

WHERE = "--on adb"
PLACE = "/data/local/tmp"  # where the shell user may write and run
END = "edgebert-ended:"  # before the exit code of a command
SECONDS = 30.0  # for what answers at once
ABIS = {"arm64-v8a": "aarch64", "x86_64": "x86-64"}  # Android's name of a 64-bit userland -> of the machine
STATES = {
    "unauthorized": ("has not authorised this computer", "Unlock it and accept 'Allow USB debugging'."),
    "authorizing": ("has not authorised this computer", "Unlock it and accept 'Allow USB debugging'."),
    "offline": ("is offline", "Pull the cable and plug it in again, or run: adb reconnect offline"),
    "connecting": ("is offline", "Pull the cable and plug it in again, or run: adb reconnect offline"),
}


class Hung(EdgebertError):
    """The phone did not answer in time."""


class Gone(EdgebertError):
    """The phone went away."""


@dataclass(frozen=True)
class CommandOutput:
    """What a command on the phone left."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return "\n".join(part for part in (self.out.strip(), self.err.strip()) if part)


@dataclass(frozen=True)
class Phone:
    """A phone that answered. `deadline` is of time.monotonic()."""

    adb: str
    serial: str
    deadline: float = float("inf")

    def shell(self, command: str, seconds: float | None = None) -> CommandOutput:
        """Runs a command line that the caller has quoted for the phone's shell.

        The exit code is told by the last line: adb itself ends with 0 when the phone goes away in the middle.

        Raises:
            Hung: the time is over; what runs on the phone may still run.
            Gone: the phone went away, or closed the line.
        """
        description = self._adb(["shell", "-n", "-T", f"{command}\necho {END}$?"], seconds)
        out, mark, code = description.out.replace("\r\n", "\n").rpartition(END)
        if not mark or not code.strip().isdigit():
            self._still_there()
            hint = "Run again."
            raise Gone(f"the phone broke off: {last_line(description.text)}", where=self.where, hint=hint)
        return CommandOutput(int(code), out, description.err)

    def words(self, *words: str, seconds: float | None = SECONDS) -> CommandOutput:
        """Runs one command of the phone, each word quoted."""
        return self.shell(shlex.join(words), seconds)

    def push(self, local: Path, remote: str) -> None:
        """Copies a file, or a folder as `remote` itself, which must not exist.

        Raises:
            EdgebertError: no space, or refused. Hung, Gone: as of shell.
        """
        description = self._adb(["push", str(local.resolve()), remote], None)
        if description.code:
            if "No space left" in description.text:
                size = sum(file.stat().st_size for file in (local, *local.rglob("*")) if file.is_file())
                raise EdgebertError(
                    f"no space left on the phone for {local.name} ({size / 1e6:.0f} MB)",
                    where=self.where,
                    hint="Free some space on its internal storage and run again.",
                )
            self._still_there()
            raise EdgebertError(
                f"cannot copy {local.name} to the phone: {last_line(description.text)}", where=self.where
            )

    def pull(self, remote: str, local: Path) -> bytes:
        """The bytes of a file of the phone, by way of `local`."""
        description = self._adb(["pull", remote, str(local)], None)
        if description.code:
            self._still_there()
            raise EdgebertError(f"cannot read {remote}: {last_line(description.text)}", where=self.where)
        return local.read_bytes()

    @property
    def where(self) -> str:
        return f"{WHERE}:{self.serial}"

    def _adb(self, words: Sequence[str], seconds: float | None) -> CommandOutput:
        left = self.deadline - time.monotonic()
        limit = left if seconds is None else min(seconds, left)
        if limit <= 0:
            raise Hung("the time limit is over", where=self.where)
        return run([self.adb, "-s", self.serial, *words], None if limit == float("inf") else limit, self.where)

    def _still_there(self) -> None:
        state = dict(listed(self.adb)).get(self.serial, "not connected any more")
        if state != "device":
            raise Gone(f"the phone went away: it is {state}", where=self.where, hint="Check the cable and run again.")


def run(words: Sequence[str], seconds: float | None, where: str) -> CommandOutput:
    """A local command, without a shell. Raises Hung after `seconds`, when it has been killed."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Hung(f"the phone did not answer within {seconds:.0f} s", where=where) from None
    return CommandOutput(
        done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )


def find() -> str:
    """The adb client. Raises RequestError where there is none."""
    if not (path := shutil.which("adb")):
        raise RequestError(
            "adb is not installed",
            where=WHERE,
            hint="Install Android's platform-tools (on Debian and Ubuntu: apt install adb).",
        )
    return path


def listed(adb: str) -> list[tuple[str, str]]:
    """Serial and state of every phone that adb knows."""
    description = run([adb, "devices"], SECONDS, WHERE)
    if description.code:
        raise EdgebertError(
            f"adb does not work: {last_line(description.text)}", where=WHERE, hint="Try it alone: adb devices"
        )
    rows = (line.rpartition("\t") for line in description.out.splitlines()[1:] if "\t" in line)
    return [(serial, state.strip()) for serial, _, state in rows]


def select(adb: str, serial: str, deadline: float = float("inf")) -> Phone:
    """The phone of this serial, or the only one where "" is asked for.

    Raises:
        RequestError: none, several, another, not authorised, offline.
    """
    phones = dict(listed(adb))
    known = ", ".join(phones)
    if not phones:
        hint = "Plug it in, switch on USB debugging in its developer options, and see: adb devices"
        raise RequestError("no phone is connected", where=WHERE, hint=hint)
    if not serial and len(phones) > 1:
        names = "\n  ".join(f"--on {shlex.quote(f'adb:{name}')} ({state})" for name, state in phones.items())
        raise RequestError(f"{len(phones)} phones are connected", where=WHERE, hint=f"Name one of them:\n  {names}")
    serial = serial or next(iter(phones))
    if serial not in phones:
        raise RequestError(f"no phone of serial '{serial}'", where=WHERE, hint=f"Connected: {known}.")
    if (state := phones[serial]) != "device":
        what, hint = STATES.get(state, (f"cannot be used: adb calls it '{state}'", "See: adb devices"))
        raise RequestError(f"the phone '{serial}' {what}", where=WHERE, hint=hint)
    return Phone(adb, serial, deadline)


def machine(phone: Phone) -> str:
    """aarch64 or x86-64. Raises EdgebertError for a 32-bit userland."""
    abi = phone.words("getprop", "ro.product.cpu.abi").out.strip()
    if abi not in ABIS:
        raise EdgebertError(
            f"the phone runs a 32-bit system ({abi or 'unknown'})",
            where=phone.where,
            hint="LiteRT and ONNX Runtime are measured on 64-bit systems only: take another phone.",
        )
    return ABIS[abi]


@contextmanager
def folder(phone: Phone, left: list[str]) -> Iterator[str]:
    """A new folder of ours on the phone, which goes with all that runs in it; what could not be removed is in `left`."""
    path = f"{PLACE}/edgebert-{secrets.token_hex(8)}"
    created = phone.words("mkdir", path)
    if created.code:
        space = "No space left" in created.text
        what = "no space left on the phone" if space else f"cannot write to the phone: {last_line(created.text)}"
        raise EdgebertError(what, where=phone.where, hint="Free some space on its internal storage." if space else None)
    try:
        yield path
    finally:
        _remove(Phone(phone.adb, phone.serial), path, left)


def _remove(phone: Phone, path: str, left: list[str]) -> None:
    """Ends what runs in the folder and removes it. The pattern does not match the command line that holds it."""
    parent, name = path.rsplit("/", 1)
    pattern = f"{parent}/[{name[0]}]{name[1:]}"
    try:
        phone.words("pkill", "-9", "-f", pattern)
        removed = phone.words("rm", "-rf", path)
    except EdgebertError:
        left.append(path)
        return
    if removed.code:
        left.append(path)


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it says nothing")
