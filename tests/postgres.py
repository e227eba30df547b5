"""A PostgreSQL of Debian's package on a free port, with a folder of its own, which a test can stop and start again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "edgebert", "s3cret-word"


def _programs() -> Path | None:
    """The folder of initdb and postgres, which Debian puts on no path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Postgres:
    def __init__(self, folder: Path, programs: Path) -> None:
        self.data, self.programs = folder / "data", programs
        # It refuses to run as root.
        self.as_user: dict[str, Any] = (
            {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        secret = folder / "secret"
        secret.write_text(PASSWORD, encoding="utf-8")
        if self.as_user:
            for path in (folder, secret):
                shutil.chown(path, "postgres")
        init = [
            programs / "initdb",
            "-D",
            self.data,
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "--pwfile",
            secret,
            "-E",
            "UTF8",
        ]
        subprocess.run([*init, "--no-sync"], check=True, capture_output=True, cwd=folder, **self.as_user)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        import psycopg

        options = [f"-cport={self.port}", "-clisten_addresses=127.0.0.1", f"-cunix_socket_directories={self.data}"]
        self.process = subprocess.Popen(
            [self.programs / "postgres", "-D", self.data, *options, "-cfsync=off"],
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=self.data, **self.as_user,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(psycopg.OperationalError), psycopg.connect(self.url):
                return
            time.sleep(0.1)
        raise AssertionError("PostgreSQL did not start")

    def stop(self) -> None:
        """At once, with all connections."""
        if self.process:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)

    def clear(self) -> None:
        """Without any table."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")


@contextmanager
def running() -> Iterator[Postgres]:
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: .ci/system-packages does")
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="edgebert-postgres-", dir="/tmp"))
    server = Postgres(folder, programs)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
