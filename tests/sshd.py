"""A real sshd on the loopback for one test: its own keys, port, home folder and environment; nothing of the user's."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
SEPARATION = Path("/run/sshd")  # where an sshd that runs as root locks its unprivileged half in


@dataclass
class Board:
    """The far side. `name` is a Host of the client's configuration."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    name: str = "board"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        return self.folder / "far tmp; it's"

    @property
    def config(self) -> Path:
        return self.folder / "client.conf"

    def left_behind(self) -> list[str]:
        """What of ours is still there, once the sessions are over."""
        for _ in range(100):
            if not (results := sorted(path.name for path in self.temporary.iterdir())):
                return []
            time.sleep(0.05)
        return results

    def sessions(self) -> list[int]:
        """Processes of sshd that serve a connection."""
        import psutil

        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=False)]

    def cut(self) -> None:
        """As if the device lost its power: every session's server is gone at once."""
        import psutil

        for pid in self.sessions():
            with suppress(psutil.NoSuchProcess):
                for child in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
                    if child.name() == "sshd":
                        child.send_signal(signal.SIGKILL)


def make_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text(encoding="utf-8").strip()


def free_port() -> int:
    with socket.socket() as item:
        item.bind(("127.0.0.1", 0))
        return int(item.getsockname()[1])


@contextmanager
def board(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Board]:
    """Starts it, with python3 of the far side being this Python unless PATH says otherwise."""
    port = free_port()
    host_key = make_key(folder / "host")
    (folder / "authorized").write_text(make_key(folder / "user") + "\n", encoding="utf-8")
    (folder / "known").write_text(f"[127.0.0.1]:{port} {' '.join(host_key.split()[:2])}\n", encoding="utf-8")
    (folder / "home").mkdir()
    (folder / "far tmp; it's").mkdir()
    (folder / "bin").mkdir()
    script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'
    write_program(folder / "bin" / "python3", script)
    given = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "far tmp; it's")}
    given |= {"PATH": f"{folder}/bin:/usr/bin:/bin", **(environment or {})}
    description = " ".join(f'"{name}={value}"' for name, value in given.items())
    (folder / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nSetEnv {description}\n",
        encoding="utf-8",
    )
    write_config(folder, port)
    created = False
    if os.geteuid() == 0 and not SEPARATION.exists():
        SEPARATION.mkdir(mode=0o755)
        created = True
    assert PROGRAM is not None
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "-D", "-e", "-f", str(folder / "sshd.conf")], stderr=log)
    try:
        _wait(port, process, folder / "sshd.log")
        yield Board(folder, port, process)
    finally:
        process.terminate()
        process.wait()
        if created:
            SEPARATION.rmdir()


def write_program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def write_config(folder: Path, port: int, key: str = "user") -> None:
    (folder / "client.conf").write_text(
        f"Host board\nHostName 127.0.0.1\nPort {port}\nUser {getpass.getuser()}\nIdentityFile {folder}/{key}\n"
        f"IdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {folder}/known\nGlobalKnownHostsFile /dev/null\n",
        encoding="utf-8",
    )


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"sshd does not start: {log.read_text(encoding='utf-8', errors='replace')}")
