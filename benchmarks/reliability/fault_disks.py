"""Disks that refuse: full, read-only, without hard links, without locks."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.fault_rows import GOOD, Bench, NotHere, Row, at, system
from benchmarks.reliability.small_fit import Command, events_of, wait_for

LARGE = 256 << 20  # bytes: far more than a run takes
IMAGE = 96 << 20  # bytes of the exFAT file


@dataclass
class Disk:
    """A tmpfs of the benchmark's own."""

    place: Path

    def resize(self, n_bytes: int) -> None:
        system("mount", "-o", f"remount,size={n_bytes}", self.place)

    def cut(self, free_bytes: int) -> None:
        """So many bytes can still be written, to the page."""
        facts = os.statvfs(self.place)
        self.resize((facts.f_blocks - facts.f_bfree) * facts.f_frsize + free_bytes)

    def read_only(self) -> None:
        """A second mount over the first: the files that are open for writing stay so, as the lock is."""
        system("mount", "--bind", self.place, self.place)
        system("mount", "-o", "remount,bind,ro", self.place)

    def writable(self) -> None:
        with suppress(NotHere):
            system("umount", self.place)


@contextmanager
def tmpfs(bench: Bench, name: str) -> Iterator[Disk]:
    place = bench.folder / name
    place.mkdir()
    system("mount", "-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", place)
    (place / "other").write_bytes(b"x")  # a size of 0 would mean that there is no limit
    try:
        yield Disk(place)
    finally:
        system("umount", "--lazy", place)


def full_disk(bench: Bench) -> Iterator[Row]:
    places = bench.reference.bytes_at
    with tmpfs(bench, "full") as disk:
        run = disk.place / "runs" / "run"
        for place, n_bytes in places.items():
            for free in (0,) if place == "request" else (0, n_bytes // 2):
                fault = f"full disk, {free / 1000:.0f} kB left" if free else "full disk"
                command = bench.fit(run, before=at(place, lambda free=free: disk.cut(free)))  # type: ignore[misc]
                disk.resize(LARGE)
                yield bench.refused(fault, place, command, says="the disk is full")
        yield bench.last("full disk", run)


def read_only(bench: Bench) -> Iterator[Row]:
    with tmpfs(bench, "read-only") as disk:
        run = disk.place / "runs" / "run"
        for place in bench.reference.bytes_at:
            command = bench.fit(run, before=at(place, disk.read_only))
            disk.writable()
            yield bench.refused("read-only", place, command, says="can only be read")
        yield bench.last("read-only", run)


# ---------------------------------------------------------------- what a file system may lack


def links(bench: Bench) -> Iterator[Row]:
    """Two runs side by side on exFAT, the second of which takes the first one's stages; it is killed on the way."""
    image, place = bench.folder / "exfat.image", bench.folder / "exfat"
    with image.open("wb") as stream:
        stream.truncate(IMAGE)
    place.mkdir()
    system("mkfs.exfat", image)
    device = system("losetup", "--find", "--show", image).strip()
    try:
        system("mount.exfat-fuse", "-o", "noatime", device, place)
    except NotHere:
        system("losetup", "--detach", device)
        raise
    try:
        (place / "a").write_text("a")
        try:
            os.link(place / "a", place / "b")
        except OSError as error:
            refused = errno.errorcode.get(error.errno or 0, str(error))
        else:
            raise NotHere("exfat-fuse makes hard links here")
        (place / "a").unlink()
        yield from _lacking(bench, f"no hard links ({refused}, exFAT)", place)
    finally:
        system("umount", "--lazy", place)
        system("losetup", "--detach", device)


def locks(bench: Bench) -> Iterator[Row]:
    """flock refused in the process."""

    def refuse() -> None:
        import fcntl

        def no_locks(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        fcntl.flock = no_locks

    yield from _lacking(bench, "no locks (flock refused in the process)", bench.folder / "lockless", refuse)


def _lacking(bench: Bench, fault: str, place: Path, before: Callable[[], object] | None = None) -> Iterator[Row]:
    """A run that is killed twice on the way to its end, and a second one beside it, which takes the first one's stages."""
    first, second = place / "runs" / "first", place / "runs" / "second"
    for stage in ("compress", "convert"):
        code = _killed_at(bench, first, stage, before)
        outcome = GOOD if code == -signal.SIGKILL else f"exit code {code}"
        yield Row(fault, f"SIGKILL in {stage}", code, "", outcome)
    command = bench.fit(first, before=before)
    yield _ended(bench, fault, "the next command", command)
    command = bench.fit(second, before=before)
    linked = sum(event["event"] == "linked" for event in events_of(second))
    row = _ended(bench, fault, "a run beside it", command)
    outcome = row.outcome if linked else "it took no stage of the first"
    yield Row(fault, row.place, row.code, f"{linked} stages taken over from the first run", outcome)
    for run in (first, second):
        yield bench.last(fault, run, beside=("first", "second"))


def _ended(bench: Bench, fault: str, place: str, command: Command) -> Row:
    outcome = GOOD if command.code == 0 else f"exit code {command.code}"
    return Row(fault, place, command.code, "" if outcome == GOOD else bench.plain(command.message()), outcome)


def _killed_at(bench: Bench, run: Path, stage: str, before: Callable[[], object] | None) -> int:
    run.parent.mkdir(parents=True, exist_ok=True)
    environ = {"TMPDIR": str(bench.temporary)}
    command = Command.start(bench.world.arguments(run), bench.folder / "killed.log", before=before, environ=environ)
    wait_for(command, lambda: any(_begins(event, stage) for event in events_of(run)), 300)
    command.send(signal.SIGKILL)
    return command.wait()


def _begins(event: dict[str, object], stage: str) -> bool:
    return event["event"] == "begin" and str(event["stage"]).startswith(stage)
