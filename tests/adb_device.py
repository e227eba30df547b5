"""A phone that is none: speaks adb's wire protocol on the loopback, so that the real client and server can be driven.

Transport: 24-byte headers (command, two arguments, length, checksum, magic) of CNXN, AUTH, OPEN, OKAY, WRTE and CLSE;
services `shell,v2,…:` and `sync:` (STAT, SEND, RECV, QUIT). What is pushed is kept with its mode, and every command line
as it came. Commands are run by a real sh, with /data/local/tmp in a folder of the test and stubs for what only Android
has. A pushed program (ELF) is kept as it came; in its place a stub of the same name is run.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

PLACE = "/data/local/tmp"
LIMIT = 64 * 1024
STDOUT, STDERR, EXIT = 1, 2, 3
CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (name for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE"))
PROPERTIES = {
    "ro.product.model": "Pixel 6",
    "ro.product.manufacturer": "Google",
    "ro.soc.model": "GS101",
    "ro.build.version.release": "14",
    "ro.product.cpu.abi": "arm64-v8a",
}
STUBS = {
    "getprop": 'cat "$SANDBOX/properties/$1" 2>/dev/null || echo',
    "dumpsys": "echo 'Current Battery Service state:'; echo '  level: 80'; echo '  temperature: 312'",
    "taskset": 'echo "$1" >> "$SANDBOX/masks"; shift; exec "$@"',
    "chmod": 'echo "$@" >> "$SANDBOX/chmod"; exec /bin/chmod "$@"',
    # Only processes of this phone: it may not look at the real ones.
    "pkill": 'for p in $(cat "$SANDBOX/pids" 2>/dev/null); do kill -9 "$p"; done; echo "$3" >> "$SANDBOX/killed"',
}


@dataclass
class Pushed:
    """A file as the phone received it."""

    mode: int
    content: bytes


@dataclass
class Device:
    """Listens on a free port of the loopback. Attributes may be changed while it runs.

    authorised: answers CNXN at once; else asks for a key, and never takes one. silent: takes the connection and says
    nothing. full: SEND fails as on a full disk. programs: what is run in place of a pushed program: name -> Python.
    dies_at: the connection is cut when a command line holds this text.
    """

    sandbox: Path
    authorised: bool = True
    silent: bool = False
    full: bool = False
    dies_at: str = ""
    programs: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    pushed: dict[str, Pushed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root, self.bin = self.sandbox / "tmp", self.sandbox / "bin"
        for folder in (self.root, self.bin, self.sandbox / "properties", self.sandbox / "cpu"):
            folder.mkdir(parents=True)
        for name, value in PROPERTIES.items():
            self.set_property(name, value)
        for name, body in STUBS.items():
            _program(self.bin / name, f"#!/bin/sh\n{body}\n")
        for core, (most, now) in enumerate([(1803000, 300000), (1803000, 574000), (2802000, 2802000)]):
            folder = self.sandbox / "cpu" / f"cpu{core}" / "cpufreq"
            folder.mkdir(parents=True)
            (folder / "cpuinfo_max_freq").write_text(f"{most}\n")
            (folder / "scaling_cur_freq").write_text(f"{now}\n")
        self.connections: list[socket.socket] = []
        self.listen()

    def listen(self, port: int = 0) -> None:
        """Waits for connections; again at its port, it is a phone that comes back after `close`."""
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def set_property(self, name: str, value: str) -> None:
        (self.sandbox / "properties" / name).write_text(f"{value}\n")

    def close(self) -> None:
        for connection in (self.listener, *self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def local(self, path: str) -> Path:
        """Where a file of the phone lies here. Nothing outside /data/local/tmp exists."""
        assert path.startswith(PLACE) and ".." not in path, path
        return self.root / path[len(PLACE) :].lstrip("/")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=_Transport(self, connection).run, daemon=True).start()

    # ---------------------------------------------------------------- what a shell does

    def shell(self, command: str) -> tuple[int, bytes, bytes]:
        """Runs a command line by sh, with the phone's paths in the sandbox."""
        command = command.replace("mkdir '/data' '/data/local' ", "mkdir ")  # adb's own, before it pushes a folder
        here = command.replace(PLACE, str(self.root)).replace("/sys/devices/system/cpu", str(self.sandbox / "cpu"))
        here = here.replace("/sys/class/thermal", str(self.sandbox / "thermal"))
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "SANDBOX": str(self.sandbox)}
        words = ["/bin/sh", "-c", here]
        done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        out, err = done.stdout, done.stderr
        back = [(str(self.root), PLACE), (str(self.sandbox / "cpu"), "/sys/devices/system/cpu")]
        for real, shown in back:
            out, err = out.replace(real.encode(), shown.encode()), err.replace(real.encode(), shown.encode())
        return done.returncode, out, err

    def receive(self, path: str, mode: int, content: bytes) -> None:
        self.pushed[path] = Pushed(mode, content)
        local = self.local(path)
        local.parent.mkdir(parents=True, exist_ok=True)
        if content[:4] == b"\x7fELF" and local.name in self.programs:
            local.write_text(f"#!{sys.executable}\n{self.programs[local.name]}")
        else:
            local.write_bytes(content)
        local.chmod(stat.S_IMODE(mode) & ~0o111)


@dataclass
class _Stream:
    """One service that the host opened."""

    ours: int
    theirs: int
    service: str
    buffer: bytes = b""
    ready: threading.Event = field(default_factory=threading.Event)
    sending: tuple[str, int, bytearray] | None = None


class _Transport:
    def __init__(self, device: Device, connection: socket.socket) -> None:
        self.device, self.connection = device, connection
        self.streams: dict[int, _Stream] = {}
        self.lock = threading.Lock()

    def run(self) -> None:
        try:
            while True:
                command, first, second, payload = self._read()
                self._take(command, first, second, payload)
        except (OSError, EOFError):
            self.connection.close()

    def _take(self, command: bytes, first: int, second: int, payload: bytes) -> None:
        if self.device.silent:
            return
        if command == CNXN and self.device.authorised:
            self._send(CNXN, 0x01000001, LIMIT, b"device::ro.product.name=raven;features=shell_v2,cmd")
        elif command in (CNXN, AUTH):
            if not (command == AUTH and first == 3):  # 3 is the key itself: the owner would be asked now
                self._send(AUTH, 1, 0, os.urandom(20))
        elif command == OPEN:
            stream = _Stream(len(self.streams) + 1, first, payload.rstrip(b"\0").decode())
            self.streams[stream.ours] = stream
            self._send(OKAY, stream.ours, stream.theirs)
            if stream.service.startswith("shell,v2"):
                threading.Thread(target=self._shell, args=(stream,), daemon=True).start()
            elif stream.service != "sync:":
                self._send(CLSE, 0, stream.theirs)
        elif command == OKAY and second in self.streams:
            self.streams[second].ready.set()
        elif command == WRTE and second in self.streams:
            stream = self.streams[second]
            self._send(OKAY, stream.ours, stream.theirs)
            if stream.service == "sync:":
                stream.buffer += payload
                self._sync(stream)
        elif command == CLSE and second in self.streams:
            self.streams[second].ready.set()

    # ---------------------------------------------------------------- services

    def _shell(self, stream: _Stream) -> None:
        command = stream.service.split(":", 1)[1]
        self.device.commands.append(command)
        if self.device.dies_at and self.device.dies_at in command:
            self.device.close()
            return
        try:
            code, out, err = self.device.shell(command)
            for kind, content in ((STDOUT, out), (STDERR, err), (EXIT, bytes([code & 255]))):
                for at in range(0, len(content), LIMIT // 2):
                    part = content[at : at + LIMIT // 2]
                    self._write(stream, struct.pack("<BI", kind, len(part)) + part)
            self._send(CLSE, stream.ours, stream.theirs)
        except OSError:
            pass

    def _sync(self, stream: _Stream) -> None:
        """Takes whole requests from the buffer: an id of four letters, a length, and that many bytes."""
        while len(stream.buffer) >= 8:
            name, size = stream.buffer[:4], struct.unpack("<I", stream.buffer[4:8])[0]
            size = 0 if name in (b"DONE", b"QUIT") else size
            if len(stream.buffer) < 8 + size:
                return
            body, stream.buffer = stream.buffer[8 : 8 + size], stream.buffer[8 + size :]
            self._request(stream, name, body)

    def _request(self, stream: _Stream, name: bytes, body: bytes) -> None:
        if name == b"STAT":
            local = self.device.local(body.decode())
            result = local.stat() if local.exists() else None
            self._answer(stream, b"STAT" + struct.pack("<III", result.st_mode if result else 0, 0, 0))
        elif name == b"SEND":
            path, _, mode = body.decode().rpartition(",")
            stream.sending = (path, int(mode), bytearray())
        elif name == b"DATA" and stream.sending:
            stream.sending[2].extend(body)
        elif name == b"DONE" and stream.sending:
            path, mode, content = stream.sending
            if self.device.full:
                text = b"couldn't create file: No space left on device"
                self._answer(stream, b"FAIL" + struct.pack("<I", len(text)) + text)
                return
            self.device.receive(path, mode, bytes(content))
            self._answer(stream, b"OKAY" + struct.pack("<I", 0))
        elif name == b"RECV":
            local = self.device.local(body.decode())
            if not local.is_file():
                text = b"No such file or directory"
                self._answer(stream, b"FAIL" + struct.pack("<I", len(text)) + text)
                return
            content = local.read_bytes()
            for at in range(0, len(content), LIMIT // 2):
                part = content[at : at + LIMIT // 2]
                self._answer(stream, b"DATA" + struct.pack("<I", len(part)) + part)
            self._answer(stream, b"DONE" + bytes(4))
        elif name == b"QUIT":
            self._send(CLSE, stream.ours, stream.theirs)

    # ---------------------------------------------------------------- the wire

    def _write(self, stream: _Stream, content: bytes) -> None:
        """One packet at a time: the host says OKAY before the next."""
        stream.ready.clear()
        self._send(WRTE, stream.ours, stream.theirs, content)
        stream.ready.wait(10)

    def _answer(self, stream: _Stream, content: bytes) -> None:
        """Of sync, whose answers are small and whose OKAYs this thread itself has to read."""
        for at in range(0, len(content), LIMIT // 2):
            self._send(WRTE, stream.ours, stream.theirs, content[at : at + LIMIT // 2])

    def _send(self, command: bytes, first: int, second: int, payload: bytes = b"") -> None:
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        header = command + struct.pack("<IIIII", first, second, len(payload), sum(payload) & 0xFFFFFFFF, magic)
        with self.lock:
            self.connection.sendall(header + payload)

    def _read(self) -> tuple[bytes, int, int, bytes]:
        header = self._exactly(24)
        first, second, size, checksum, magic = struct.unpack("<IIIII", header[4:])
        command = header[:4]
        assert magic == struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        payload = self._exactly(size)
        assert checksum in (0, sum(payload) & 0xFFFFFFFF)
        return command, first, second, payload

    def _exactly(self, size: int) -> bytes:
        result = b""
        while len(result) < size:
            if not (part := self.connection.recv(size - len(result))):
                raise EOFError
            result += part
        return result


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
