"""Where files are measured: one module a kind of device, found by the registry. `--on KIND` or `--on KIND:ADDRESS`.

Every target does the same job by the same protocol (`edgebert.measure.protocol`): load, first run, warm-up, then the files
take turns in blocks until p50 is stable. A target gives back raw times; what is made of them is made in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgebert.errors import EdgebertError, RequestError
from edgebert.registry import Registry, check_call
from edgebert.types import JSON, How, OnEvent

Input = Mapping[str, Sequence[Sequence[int]]]  # input_ids, attention_mask, token_type_ids -> (1, seq)
Log = Callable[..., None]


@dataclass(frozen=True)
class File:
    """One artifact to measure."""

    name: str  # as reports call it: "onnx-int8"
    format: str  # a converter's name
    path: Path  # a file, or a folder
    # Its own conditions; () and 0 take the job's. Only targets that edgebert.measure.runner serves know them.
    inputs: tuple[Input, ...] = ()
    threads: int = 0
    loads_alone: bool = True  # first loaded in a process of its own, which tells its memory and the time of loading


@dataclass(frozen=True)
class Job:
    """What to measure, and how. It says nothing of where: every target is given the same.

    Attributes:
        inputs: batch 1 each, in the order in which they are run, round and round.
        min_runs: timed runs of each file; more until p50 is stable, for at most `max_seconds` each. With 0 nothing is
            timed: outputs are all that is asked for, and each file gives those that it has after `max_seconds`. Only
            targets with an `engine` are asked so.
        timeout_s: after which what runs is stopped and what was measured so far is kept.
        n_outputs: how many of the inputs' outputs come back, to be compared with a run here.
        cores: that the process is bound to, where the target can; () leaves it to the system.
        instructions: whether they are counted where the machine can, which loads each file twice more.
    """

    files: tuple[File, ...]
    inputs: tuple[Input, ...]
    threads: int = 1
    min_runs: int = 50
    max_seconds: float = 60.0
    timeout_s: float = 600.0
    n_outputs: int = 4
    cores: tuple[int, ...] = ()
    instructions: bool = True


@dataclass(frozen=True)
class MeasurementRecord:
    """What a target measured of one file. `failure` says why there is nothing, or not all of it."""

    name: str
    runtime: str = ""
    runtime_version: str = ""
    load_ms: float = 0.0
    first_run_ms: float = 0.0
    times_ms: tuple[float, ...] = ()  # of each timed run, in order
    peak_memory_bytes: int | None = None
    instructions: int | None = None  # of one inference, where the machine counts them
    outputs: tuple[Mapping[str, JSON], ...] = ()  # of the first inputs: output name -> nested lists
    failure: str = ""
    cpu_ms: tuple[float, ...] = ()  # processor time of each timed run, where the system tells it
    load_cpu_ms: float | None = None  # and of loading


@dataclass(frozen=True)
class Outcome:
    """What a target gave back.

    Attributes:
        device: what it calls itself: "Raspberry Pi 5 Model B Rev 1.0".
        how: measured; or emulated, where instructions are translated and times say nothing.
        facts: of the device where it tells them: clock_mhz and temperature_c before and after, system, processor.
        others: cores' worth of other processes that computed meanwhile, as far as that is known.
    """

    device: str
    how: How
    records: tuple[MeasurementRecord, ...]
    facts: Mapping[str, JSON] = field(default_factory=dict)
    others: float = 0.0


@dataclass(frozen=True)
class DeviceInfo:
    """What a device that answers says before anything is measured."""

    called: str  # what it calls itself
    lacks: Mapping[str, str] = field(default_factory=dict)  # a format that it cannot run as it is -> why not


# ---------------------------------------------------------------- what a target's functions are


class Measure(Protocol):
    """Measures files on the device, and leaves nothing behind there."""

    def __call__(self, address: str, job: Job, log: Log, /) -> Outcome:
        """Args:
            address: what `--on` names after the target; "" for the only device.
            job: what to measure.
            log: takes events, which are shown as progress.

        Returns:
            Raw times and outputs; of a device that dies or hangs, what was measured until then.

        Raises:
            EdgebertError: what is wrong, where, and what to do: no device, several, not authorised, a runtime missing,
                a file refused.
        """


class FindFault(Protocol):
    """Tells within a few seconds whether a device is there and ready."""

    def __call__(self, address: str, /) -> str:
        """Args: address: as `Measure` takes it. Returns: "", or why it is not ready. Raises: nothing."""


class Prepare(Protocol):
    """Installs on a device what it lacks, into a folder of ours."""

    def __call__(self, address: str, log: Log, /) -> str:
        """Args: address, log: as `Measure` takes them. Returns: what it installed. Raises EdgebertError: it cannot."""


class Look(Protocol):
    """Tells in a few seconds what a device that answers is called and what it cannot run."""

    def __call__(self, address: str, formats: Sequence[str], /) -> DeviceInfo:
        """Args:
            address: as `Measure` takes it.
            formats: of the files that shall be measured.

        Returns:
            Its name, and of each format that it cannot run why not.

        Raises:
            EdgebertError: the device went away.
        """


class Engine(Protocol):
    """Names the engine that a target runs files by, where several can run the same file and one may be wrong."""

    def __call__(self, address: str, /) -> str:
        """Args: address: as `Measure` takes it. Returns: its name, such as "webgpu". Raises: nothing."""


@dataclass(frozen=True)
class Target:
    """A kind of device; the declaration `TARGET` of each module of this package.

    Attributes:
        measure, answers: see `Measure` and `FindFault`.
        prepare: see `Prepare`; None where there is nothing to install.
        formats: that its runtimes can run.
        look: see `Look`; None: the device tells only when it measures.
        engine: see `Engine`; its answers on a run's test rows are judged (`edgebert.verify.engine`). None: the target has
            no choice of engines, and a few outputs are compared.
        example: an address for the documents: "ssh:pi@raspberrypi".
        profile: the device profile that it is without an address; "" where it can be any.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    example: str
    measure: Measure
    answers: FindFault
    prepare: Prepare | None = None
    look: Look | None = None
    engine: Engine | None = None
    profile: str = ""


def lacking(formats: Sequence[str], check: Callable[[str], object]) -> dict[str, str]:
    """The formats for which `check` raises an EdgebertError, and what it says."""
    results = {}
    for name in formats:
        try:
            check(name)
        except EdgebertError as error:
            results[name] = f"{error.what}. {error.hint}" if error.hint else error.what
    return results


def parse_address(text: str) -> tuple[str, str]:
    """`ssh:pi@host` as ("ssh", "pi@host"), `browser` as ("browser", "")."""
    kind, _, address = text.partition(":")
    return kind, address


def _check(target: Target) -> None:
    """Raises TypeError for a declaration that breaks the contract."""
    check_call("measure", target.measure, "address", "job", "log")
    check_call("answers", target.answers, "address")
    if target.prepare:
        check_call("prepare", target.prepare, "address", "log")
    if target.look:
        check_call("look", target.look, "address", "formats")
    if target.engine:
        check_call("engine", target.engine, "address")


TARGETS: Registry[Target] = Registry("target", __name__, "TARGET", Target, where="--on", check=_check)


def prepare(on: str, on_event: OnEvent | None) -> str:
    """Installs on a target what measuring needs there, and says what. Raises RequestError where there is nothing to."""
    kind, address = parse_address(on)
    result = TARGETS.get(kind)
    if result.prepare is None:
        raise RequestError(f"there is nothing to install for {result.title}", where=on)
    return result.prepare(address, lambda **event: on_event(event) if on_event else None)
