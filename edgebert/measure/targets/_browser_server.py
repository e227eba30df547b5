"""The page's own server: listed files below a secret path, and one place where the page says what it found.

It listens on the loopback alone: threads and WebGPU want a secure context, which plain http is nowhere else.
"""

from __future__ import annotations

import json
import secrets
import select
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from edgebert.errors import RequestError

Message: TypeAlias = dict[str, Any]  # what a page posts: `kind` says which other keys it has
Reply: TypeAlias = dict[str, object]  # what it is to do next

HOST = "127.0.0.1"
LONGEST = 256 * 2**20  # bytes that a page may say at once
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript"}
TYPES |= {".wasm": "application/wasm", ".json": "application/json"}
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class TwicePage(Exception):
    """The link was opened a second time."""


class Server(ThreadingHTTPServer):
    """Serves `assets` by name below `/token/`.

    Args:
        assets: name -> a file, or its bytes.
        hear: is given each message of the page and returns the answer; raises TwicePage for a second page.
        left: is called when the page that said hello is gone: its tab was closed or has crashed.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        assets: Mapping[str, Path | bytes],
        hear: Callable[[Message], Reply],
        left: Callable[[str], None],
        port: int,
        token: str,
    ) -> None:
        super().__init__((HOST, port), _Handler)
        self.token = token or secrets.token_urlsafe(16)
        self.assets, self.hear, self.left = assets, hear, left
        self.closing = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that is gone has no use for an answer: nothing is printed."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"


@contextmanager
def serving(
    assets: Mapping[str, Path | bytes],
    hear: Callable[[Message], Reply],
    left: Callable[[str], None],
    port: int = 0,
    token: str = "",
) -> Iterator[str]:
    """The page's address, for as long as the block runs. Port 0 takes any that is free, token "" a new one.

    Raises:
        RequestError: the port is taken or not allowed.
    """
    try:
        server = Server(assets, hear, left, port, token)
    except OSError as error:
        raise RequestError(
            f"port {port} cannot be used: {error.strerror}", where="--on browser", hint="Name another, or none."
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "edgebert", ""

    def do_GET(self) -> None:
        path, _, page = self.path.partition("?")
        name = self._name(path)
        if name == "alive":
            self._hold(page)
        elif name is not None and name in self.server.assets:
            self._send(name or "browser.html", self.server.assets[name])
        else:
            self._refuse(404)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self._name(self.path) != "say" or not length.isdigit():
            return self._refuse(404)
        if int(length) > LONGEST:
            return self._refuse(413)
        try:
            answer = self.server.hear(json.loads(self.rfile.read(int(length))))
        except TwicePage:
            return self._refuse(409)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return self._refuse(400)
        return self._send("answer.json", json.dumps(answer).encode())

    def _name(self, path: str) -> str | None:
        start = f"/{self.server.token}/"
        return path[len(start) :] if path.startswith(start) else None

    def _send(self, name: str, body: Path | bytes) -> None:
        size = len(body) if isinstance(body, bytes) else body.stat().st_size
        self._head(200, TYPES.get(Path(name).suffix, "application/octet-stream"), size)
        if isinstance(body, bytes):
            self.wfile.write(body)
        else:
            with body.open("rb") as file:
                shutil.copyfileobj(file, self.wfile, 2**20)

    def _refuse(self, code: int) -> None:
        self._head(code, "text/plain", 0)

    def _head(self, code: int, kind: str, size: int | None) -> None:
        self.send_response(code)
        for header, value in {**HEADERS, "Content-Type": kind}.items():
            self.send_header(header, value)
        if size is not None:
            self.send_header("Content-Length", str(size))
        self.end_headers()

    def _hold(self, page: str) -> None:
        """An answer that never ends: when its socket closes, the page is gone."""
        with suppress(OSError):
            self._head(200, "text/plain", None)
            self.wfile.write(b"here\n")
            while not self.server.closing.is_set():
                if select.select([self.connection], [], [], 0.2)[0] and not self.connection.recv(1):
                    break
        if not self.server.closing.is_set():
            self.server.left(page)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: standard error is the user's."""
