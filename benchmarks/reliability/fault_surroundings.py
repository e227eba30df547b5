"""What surrounds a command: the clock, the home folder, the folder of temporary files."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from benchmarks.reliability.fault_disks import LARGE, tmpfs
from benchmarks.reliability.fault_rows import GOOD, Bench, NotHere, Row, at, edgebert, row_of
from benchmarks.reliability.small_fit import events_of

REAL_OFFSET = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)  # of the real clock, however often it was set back
STRANGER = 12345  # a user whom the system has no entry of, as in many containers
READS_ALL = "+dac_read_search"  # this user may read everything, for Python may lie in another's home folder

# ---------------------------------------------------------------- the clock


def clock(bench: Bench) -> Iterator[Row]:
    """Each command begins two days before the last one, in one run folder, and is ended as a stage begins; then one whose
    clock goes back within; then three requests while it goes back. The clock is that of the command's process."""
    if find_spec("time_machine") is None:
        raise NotHere("time-machine is not installed: pip install time-machine")
    run, days = bench.folder / "clock" / "run", 0
    for place in bench.reference.bytes_at:
        if place == "request":
            continue
        days += 2
        end = at(place, lambda: os.kill(os.getpid(), signal.SIGTERM))
        command = bench.fit(run, before=both(back(days), end))
        stopped = command.code == 143 and "stopped by SIGTERM" in command.output()
        outcome = GOOD if stopped else f"exit code {command.code}"
        yield Row("clock two days back, and SIGTERM", place, command.code, bench.plain(command.message()), outcome)
    command = bench.fit(run, before=both(back(days), at("manifest", back(days + 2))))
    outcome = GOOD if command.code == 0 else f"exit code {command.code}: {command.message()}"
    yield Row("clock two days back within the command", "manifest", command.code, "", outcome)
    yield bench.last("clock two days back", run)
    yield from _requests(bench, days + 2)


def back(days: int) -> Callable[[], None]:
    """What sets the clock of its process so many days back from the real one."""

    def move() -> None:
        import time_machine

        real = time.clock_gettime(time.CLOCK_MONOTONIC) + REAL_OFFSET
        time_machine.travel(real - 86400 * days, tick=True).start()

    return move


def both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def before() -> None:
        first()
        second()

    return before


def _requests(bench: Bench, days: int) -> Iterator[Row]:
    """Three requests in one folder, each two days before the one that it follows: the third says what differs from the
    second, not from the first, whose time is the latest."""
    run = bench.folder / "clock-requests" / "run"
    requests = (("--batch-size", "32"), ("--batch-size", "16"), ("--batch-size", "16", "--epochs", "5"))
    for request in requests:
        days += 2
        recipe = ("--recipe", "drop-layers+kd", "--set", "drop-layers.n_layers=2")
        command = bench.fit(run, *recipe, *request, before=back(days))
        if command.code:
            said = command.message()
            yield Row("clock two days back", " ".join(request), command.code, said, f"exit code {command.code}")
            return
    notes = [event["text"] for event in events_of(run) if event["event"] == "note" and "made again" in event["text"]]
    last = notes[-1] if notes else "no note"
    wrong = "" if notes and "teacher is made again" not in last else "it compares with the first request"
    yield Row("clock two days back", "a third request", 0, last, wrong or GOOD)


# ---------------------------------------------------------------- the home folder


def home(bench: Bench) -> Iterator[Row]:
    """Commands in processes of their own, for what they import may look for a home folder too."""
    bench.reference  # noqa: B018 - its run is read by the other commands
    with tmpfs(bench, "home") as disk:
        (disk.place / "me").mkdir()
        disk.read_only()
        try:
            for fault, environ, stranger in (
                ("HOME taken away", {"HOME": None}, False),
                ("HOME names nothing", {"HOME": str(bench.folder / "nobody")}, False),
                ("HOME is read-only", {"HOME": str(disk.place / "me")}, False),
                ("no HOME, and a user without an entry", {"HOME": None, "USER": None, "LOGNAME": None}, True),
            ):
                yield from _commands(bench, fault, environ, prefix=_as_stranger() if stranger else ())
        finally:
            disk.writable()


def _as_stranger() -> tuple[str, ...]:
    drop = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups")
    return (*drop, f"--inh-caps={READS_ALL}", f"--ambient-caps={READS_ALL}", f"--bounding-set=-all,{READS_ALL}")


def _commands(
    bench: Bench,
    fault: str,
    environ: Mapping[str, str | None],
    *,
    prefix: tuple[str, ...] = (),
    places: Mapping[str, Path] | None = None,
) -> Iterator[Row]:
    """fit, predict, check, profile, bundle, convert and devices with that environment: all are to end with 0."""
    made = bench.folder / "alone" / "run"
    work = bench.folder / f"work-{fault.replace(' ', '-')}"
    work.mkdir(exist_ok=True)
    work.chmod(0o777)
    bench.temporary.chmod(0o777)
    student = next(made.glob("stages/*-compress-*"))
    for name, arguments in (
        ("devices", ("devices",)),
        ("fit", tuple(bench.world.arguments(work / "run", "--quiet"))),
        ("predict", ("predict", str(made), "fly from aville to new bton")),
        ("check", ("check", str(made))),
        ("profile", ("profile", str(made), "--on", "here", "--max-seconds", "0", "--quiet")),
        ("bundle", ("bundle", str(made), "--platform", "python", "-o", str(work / "package"))),
        ("convert", ("convert", str(student), "--format", "onnx", "-o", str(work / "converted"))),
    ):
        try:
            done = edgebert(bench, *arguments, environ=environ, prefix=prefix, cwd=work)
        except FileNotFoundError as error:
            raise NotHere(f"{error.filename} is not installed") from None
        yield row_of(bench, fault, name, done)


# ---------------------------------------------------------------- the folder of temporary files


def temporary(bench: Bench) -> Iterator[Row]:
    yield from _commands(bench, "TMPDIR names nothing", {"TMPDIR": str(bench.folder / "nothing")})
    with tmpfs(bench, "tmp-full") as disk:
        for place in bench.reference.bytes_at:
            disk.resize(LARGE)
            run = bench.folder / f"tmp-full-{place}" / "run"
            environ = {"TMPDIR": str(disk.place)}
            if place != "request":  # until then nothing is special
                run = bench.folder / "tmp-full-stages" / "run"
            command = bench.fit(run, before=at(place, lambda: disk.cut(0)), environ=environ)
            full = command.code == 2 and "the disk is full" in command.output()
            outcome = GOOD if full or command.code == 0 else f"exit code {command.code}"
            message = (
                bench.plain(command.message()) if command.code else "it ends as it should: nothing is written there"
            )
            yield Row("TMPDIR becomes full", place, command.code, message, outcome)
            if command.code == 0:
                shutil.rmtree(run.parent)
    yield from _nowhere(bench)


def _nowhere(bench: Bench) -> Iterator[Row]:
    """No folder at all: where Python looks, and where the command is given, nothing can be written."""
    made = bench.folder / "alone" / "run"
    base = Path("/mnt")
    script = (
        f"mount --make-rprivate / && mount --bind {shlex.quote(str(bench.folder))} {base} && "
        "for d in /tmp /var/tmp /usr/tmp; do [ -d $d ] && mount -t tmpfs -o ro tmpfs $d; done; "
        'cd /proc && exec "$@"'
    )
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    for name, arguments in (
        (
            "fit",
            [
                word.replace(str(bench.folder), str(base))
                for word in bench.world.arguments(bench.folder / "nowhere" / "run")
            ],
        ),
        ("profile", ["profile", str(base / made.relative_to(bench.folder)), "--on", "here", "--max-seconds", "0"]),
        (
            "bundle",
            [
                "bundle",
                str(base / made.relative_to(bench.folder)),
                "--platform",
                "web",
                "-o",
                str(base / "nowhere-package"),
            ],
        ),
    ):
        done = edgebert(bench, *arguments, environ={"TMPDIR": None}, prefix=prefix)
        yield row_of(bench, "no folder for temporary files at all", name, done, code=2, says="TMPDIR")
