"""`edgebert calibrate`: probes timed on a target, a cost model fitted to them, and both kept with the device's profile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.converters import find_precision, usable_converter
from edgebert.cost.calibration import BYTES, Calibration, Point, calibration_file, fit, write_calibrations
from edgebert.devices.profiles import HERE
from edgebert.errors import EdgebertError, RequestError, unknown
from edgebert.faults import check_writable
from edgebert.files import now
from edgebert.measure.measure import check_output
from edgebert.measure.probes import LENGTHS, PROBES, Shape, files_of, token_inputs
from edgebert.measure.runner import BLOCK, quiet_p50
from edgebert.measure.targets import TARGETS, File, Input, Job, Log, Target, parse_address
from edgebert.types import DeviceProfile
from edgebert.workflows.device import find_device

if TYPE_CHECKING:
    from edgebert.types import OnEvent

AT_ONCE = 8  # files that take turns: few enough for the memory of a phone or a tab
BLOCKS = 3  # of runs of each length, at the least
MAX_SECONDS = 1.5  # of one file's timed runs, after those blocks


@dataclass(frozen=True)
class Request:
    """What `edgebert calibrate` was asked for. `device` None takes the profile that the target is by itself."""

    on: str
    device: str | None = None
    format: str = "onnx"
    precisions: tuple[str, ...] = ("fp32", "int8")
    threads: tuple[int, ...] = ()  # () is the profile's
    cores: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()  # () is each probe's own
    output: str | None = None
    max_seconds: float = MAX_SECONDS
    timeout_s: float = 600.0  # of the files that take turns together


@dataclass(frozen=True)
class Calibrated:
    """What came of it: one calibration a precision and number of threads, and where they are kept."""

    device: str
    path: Path
    calibrations: tuple[Calibration, ...]
    seconds: float


@dataclass(frozen=True)
class Timed:
    """One architecture in one precision on a target."""

    shape: Shape
    precision: str
    lengths: tuple[int, ...]
    p50_ms: tuple[float, ...]  # of each length
    runtime: str
    runtime_version: str
    measured_on: str
    times_ms: tuple[float, ...]  # in order: a block of runs of each length, round and round


def calibrate(
    request: Request,
    on_event: OnEvent | None = None,
    probes: Sequence[Shape] = PROBES,
) -> Calibrated:
    """Measures every probe on the target, fits prices, and stores them where predictions for the device look.

    Raises:
        RequestError: before anything is measured.
        EdgebertError: the target cannot be used, or a probe does not run there.
    """

    def log(**event: object) -> None:
        if on_event:
            on_event(event)

    started = time.monotonic()
    kind, address = parse_address(request.on)
    target = TARGETS.get(kind)
    device = device_of(request, target, address)
    threads = request.threads or (device.threads,)
    _check(request, target, device, threads)
    path = Path(request.output) if request.output else calibration_file(device)
    check_writable(path, "--output")
    wanted = [(shape, precision, request.lengths or shape.lengths)
              for precision in request.precisions for shape in probes]  # fmt: skip
    log(event="begin", stage=f"writing {len(wanted)} probes, kept for the next time")
    for shape in probes:
        log(event="probe", name=shape.name)
        files_of(shape, request.format, request.precisions)
    results = []
    for n in threads:
        timed = list(
            time_shapes(
                target, address, wanted, log, format=request.format, threads=n, cores=request.cores,
                max_seconds=request.max_seconds, timeout_s=request.timeout_s,
            )
        )  # fmt: skip
        for precision in request.precisions:
            its = [item for item in timed if item.precision == precision]
            results.append(_calibration(request, device, precision, n, its))
            log(event="note", text=results[-1].description)
    write_calibrations(path, results)
    return Calibrated(device.name, path, tuple(results), time.monotonic() - started)


def device_of(request: Request, target: Target, address: str) -> DeviceProfile:
    """The profile to calibrate. Raises RequestError where the target does not tell which, or it cannot be that one."""
    name = request.device or (target.profile if not address else "")
    if not name:
        raise RequestError(
            f"{target.title} does not tell which device it is", where=f"--on {request.on}",
            hint="Name its profile with --device: a name of edgebert devices, or the path of your own .toml.",
        )  # fmt: skip
    device = find_device(name)
    if device.path is None and target.profile and device.name != target.profile and HERE in (name, target.profile):
        raise RequestError(
            f"{target.title} is another device than {device.name}", where=f"--device {name}",
            hint=f"Leave --device out to calibrate {target.profile}, or name a profile of your own (a .toml file).",
        )  # fmt: skip
    if device.name == HERE and target.profile != HERE:
        raise RequestError(
            f"{target.title} is another device than {HERE}", where=f"--device {name}", hint="Measure it with --on here."
        )
    return device


def _check(request: Request, target: Target, device: DeviceProfile, threads: Sequence[int]) -> None:
    """Raises RequestError for what cannot be, before minutes of measuring."""
    converter = usable_converter(request.format)
    if request.format not in target.formats:
        raise RequestError(
            f"{target.title} runs {', '.join(target.formats)} files only", where=f"--format {request.format}"
        )  # fmt: skip
    for precision in request.precisions:
        kind = find_precision(request.format, precision).compute
        if kind not in BYTES:
            raise unknown("precision", precision, ["fp32", *converter.precisions], where="--precision")
    n_cores = sum(cluster.count for cluster in device.cores)
    if bad := [n for n in threads if not 1 <= n <= n_cores]:
        raise RequestError(
            f"{bad[0]} threads were asked for, and {device.name} has {n_cores} cores",
            where="--threads",
            hint=f"Use 1 to {n_cores} threads.",
        )
    if bad := [n for n in request.lengths if not 2 <= n <= max(LENGTHS)]:
        raise RequestError(f"{bad[0]} tokens were asked for: a length is 2 to {max(LENGTHS)}", where="--length")
    if request.output is not None:
        check_output(request.output)
    if why := target.answers(parse_address(request.on)[1]):
        raise RequestError(why, where=f"--on {request.on}")


def _calibration(
    request: Request, device: DeviceProfile, precision: str, threads: int, timed: Sequence[Timed]
) -> Calibration:
    compute = find_precision(request.format, precision).compute
    points = [Point(item.shape.name, item.shape.config(), length, p50)
              for item in timed for length, p50 in zip(item.lengths, item.p50_ms, strict=True)]  # fmt: skip
    return Calibration(
        device=device.name,
        soc=device.soc,
        target=request.on,
        measured_on=timed[0].measured_on,
        format=request.format,
        runtime=timed[0].runtime,
        runtime_version=timed[0].runtime_version,
        precision=compute,
        threads=threads,
        **asdict(fit(points, compute)),
        created=now(),
        probes=[_raw(item) for item in timed],
    )


def _raw(timed: Timed) -> Mapping[str, object]:
    return {
        "name": timed.shape.name,
        "lengths": list(timed.lengths),
        "p50_ms": [round(p50, 5) for p50 in timed.p50_ms],
        "times_ms": [round(took, 4) for took in timed.times_ms],
    }


# ---------------------------------------------------------------- times


def time_shapes(
    target: Target,
    address: str,
    wanted: Sequence[tuple[Shape, str, Sequence[int]]],
    log: Log,
    *,
    format: str = "onnx",
    threads: int = 1,
    cores: tuple[int, ...] = (),
    blocks: int = BLOCKS,
    max_seconds: float = MAX_SECONDS,
    timeout_s: float = 600.0,
) -> Iterator[Timed]:
    """Each shape in a precision at some lengths; those of equal lengths take turns, AT_ONCE at a time.

    Args:
        blocks: of runs in a row, of each length, at the least.

    Raises:
        EdgebertError: the target cannot be used, is emulated, or a file does not run there.
    """
    n_done = 0
    for lengths in dict.fromkeys(tuple(lengths) for _, _, lengths in wanted):
        same = [(shape, precision) for shape, precision, its in wanted if tuple(its) == lengths]
        for start in range(0, len(same), AT_ONCE):
            group = same[start : start + AT_ONCE]
            files = tuple(files_of(shape, format, [precision])[0] for shape, precision in group)
            stage = f"{target.name}: {n_done + 1} to {n_done + len(group)} of {len(wanted)} files, {threads} thread(s)"
            log(event="begin", stage=stage)
            for (shape, precision), item in zip(
                group,
                _timed(target, address, files, lengths, log, threads, cores, blocks, max_seconds, timeout_s),
                strict=True,
            ):
                yield Timed(shape, precision, lengths, *item)
            n_done += len(group)


def _timed(
    target: Target,
    address: str,
    files: tuple[File, ...],
    lengths: tuple[int, ...],
    log: Log,
    threads: int,
    cores: tuple[int, ...],
    blocks: int,
    max_seconds: float,
    timeout_s: float,
) -> list[tuple[Any, ...]]:
    """The fields of `Timed` from p50 on, of each file."""
    job = Job(
        files=files,
        inputs=_in_blocks(lengths),
        threads=threads,
        min_runs=blocks * BLOCK * len(lengths),
        max_seconds=max_seconds,
        timeout_s=timeout_s,
        n_outputs=0,
        cores=cores,
    )
    outcome = target.measure(address, job, log)
    if outcome.how != "measured":
        raise EdgebertError(f"{outcome.device} is {outcome.how}: its times say nothing of a device", where=target.name)
    for result in outcome.records:
        if result.failure:
            raise EdgebertError(f"{result.name} cannot be timed: {result.failure}", where=target.name)
    return [
        (
            p50s(results.times_ms, len(lengths)),
            results.runtime,
            results.runtime_version,
            outcome.device,
            results.times_ms,
        )
        for results in outcome.records
    ]


def _in_blocks(lengths: Sequence[int]) -> tuple[Input, ...]:
    """Each length as often as a block has timed runs: then a block is of one length, and its first runs, which are not
    counted, have filled the caches for that length. A length between others would find them full of the others' work."""
    return tuple(item for item in token_inputs(lengths) for _ in range(BLOCK))


def p50s(times_ms: Sequence[float], n_lengths: int) -> tuple[float, ...]:
    """p50 of each length, each from its own quietest blocks, as a measurement of that length alone would give it."""
    blocks = [times_ms[start : start + BLOCK] for start in range(0, len(times_ms) - BLOCK + 1, BLOCK)]
    return tuple(quiet_p50([item for block in blocks[i::n_lengths] for item in block]) for i in range(n_lengths))
