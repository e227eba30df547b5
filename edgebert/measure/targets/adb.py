"""An Android phone, by the adb client and a native benchmark of LiteRT (tflite), ONNX Runtime (onnx) or ExecuTorch.

`--on adb`, or `--on adb:SERIAL` where several are connected. Android has no Python, so a phone is measured by the
benchmark that each runtime's project builds; none can be downloaded by us. Give their paths:

    EDGEBERT_ANDROID_LITERT=…/benchmark_model                the project google-ai-edge/LiteRT, tflite/tools/benchmark
    EDGEBERT_ANDROID_ONNXRUNTIME=…/onnxruntime_perf_test     the project microsoft/onnxruntime, onnxruntime/test/perftest
    EDGEBERT_ANDROID_EXECUTORCH=…/executor_runner            the project pytorch/executorch, examples/portable/executor_runner

Everything goes into one folder of ours under /data/local/tmp, which is removed whatever happens.

What is raw and what is not:

- The files take turns in rounds, A B A B. A round is a process of its own: one file, one real input (random ids would
  be out of the vocabulary), runs of 0.2 s that are not counted, then three that are. `times_ms` are those single times:
  of each pass over the inputs the first of every round, then the second, then the third. They are of ONNX Runtime
  and ExecuTorch as their tools tell them; of LiteRT as they follow from its summary of three runs (its first, last, least
  and greatest, and the median that newer versions print; else the third is told by the average).
- load_ms and first_run_ms are medians over the rounds. ONNX Runtime's tool gives its first run in whole milliseconds.
- Peak memory: of LiteRT the growth over the start of the tool, of ONNX Runtime the whole process; both as they print it.
  ExecuTorch's prints none.
- Outputs come back from LiteRT and ExecuTorch.
- No tool tells its version: runtime_version names the binary by its sha256.

What only a phone can prove: that a binary built for Android runs there from that folder, that its version prints what
these sources print, that taskset may bind to the cores asked for, and every time and temperature. One command does it,
with the phone plugged in and EDGEBERT_ANDROID_LITERT set:

    edgebert profile model.tflite --on adb

Without one, tests/test_adb.py drives adb's real client and server against a device that speaks its protocol.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from edgebert.errors import EdgebertError, RequestError, first_line
from edgebert.measure.runner import is_stable
from edgebert.measure.targets import DeviceInfo, File, Job, Log, MeasurementRecord, Outcome, Target, lacking
from edgebert.measure.targets import _adb_client as client
from edgebert.measure.targets import _adb_facts as facts
from edgebert.measure.targets import _adb_tools as tools
from edgebert.measure.targets._adb_executorch import Executorch
from edgebert.measure.targets._adb_litert import Tflite
from edgebert.measure.targets._adb_onnx import Onnx
from edgebert.runtime.scratch import scratch_folder

Kind = Tflite | Onnx | Executorch
KINDS: Mapping[str, type[Kind]] = {"tflite": Tflite, "onnx": Onnx, "executorch": Executorch}


@dataclass
class _Entry:
    """One file on its way: what was measured of it so far."""

    kind: Kind
    at: str = ""  # its folder on the phone
    binary: str = ""  # what the runtime's version is known by
    rounds: list[tools.Round] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    failure: str = ""

    def times(self, n_inputs: int) -> list[float]:
        """Milliseconds; the k-th is of input k % n_inputs. Of a pass that was not finished, the last run of a round."""
        results: list[float] = []
        for start in range(0, len(self.rounds), n_inputs):
            rounds = [item.times_ms for item in self.rounds[start : start + n_inputs]]
            runs = range(tools.RUNS) if len(rounds) == n_inputs else range(tools.RUNS - 1, tools.RUNS)
            results += [item[run] for run in runs for item in rounds]
        return results


def measure(address: str, job: Job, log: Log) -> Outcome:
    """Measures the files on the phone of this serial ("": the only one). See the module for what is raw.

    Raises:
        RequestError: no adb, no phone or several, not authorised, offline, a benchmark missing or of another machine.
        EdgebertError: a 32-bit system, no space, a phone that went away before anything was measured.
    """
    phone = client.select(client.find(), address, time.monotonic() + job.timeout_s)
    binaries = _binaries(job, client.machine(phone))
    entries = [_opened(file, binaries[file.format]) for file in job.files]
    note = facts.of_phone(phone) | {"cores": list(job.cores), "threads": job.threads}
    before, left = facts.now(phone), list[str]()
    try:
        with client.folder(phone, left) as folder, scratch_folder("phone-") as scratch:
            log(event="measuring", text=f"copying {len(entries)} files to {note['device']}")
            _copy(phone, job, entries, binaries, folder, scratch)
            _rounds(phone, job, entries, folder, scratch, log)
            note |= facts.pairs(before, facts.now(phone))
    except (client.Hung, client.Gone) as error:
        if not any(entry.rounds for entry in entries):
            raise EdgebertError(error.what + _remains(left), where=error.where, hint=error.hint) from None
        for entry in entries:
            entry.failure = entry.failure or f"stopped in round {len(entry.rounds) + 1}: {error.what}"
    if left:
        log(event="note", text=_remains(left).removeprefix("; "))
    device = note.pop("device")
    return Outcome(
        device, "measured", tuple(_record(entry, len(job.inputs)) for entry in entries), note | {"left_behind": left}
    )


def answers(address: str) -> str:
    """ "" where a phone is there and ready, else why not."""
    try:
        client.select(client.find(), address)
    except EdgebertError as error:
        return error.what
    return ""


def look(address: str, formats: Sequence[str]) -> DeviceInfo:
    """The phone's maker and model, and the formats whose benchmark is not given. Raises as `measure` does."""
    phone = client.select(client.find(), address)
    machine = client.machine(phone)
    return DeviceInfo(facts.name_of(phone), lacking(formats, lambda name: tools.TOOLS[name].find(machine)))


def _binaries(job: Job, machine: str) -> dict[str, Path]:
    """The user's benchmark for each format that is asked for. Raises RequestError: a format that a phone cannot run."""
    for file in job.files:
        if file.format not in tools.TOOLS:
            hint = f"It runs {' and '.join(tools.TOOLS)}."
            raise RequestError(f"a phone cannot run {file.name} ({file.format})", where=client.WHERE, hint=hint)
    return {name: tools.TOOLS[name].find(machine) for name in dict.fromkeys(file.format for file in job.files)}


def _opened(file: File, binary: Path) -> _Entry:
    from edgebert.files import sha256_file

    entry = _Entry(KINDS[file.format](file), binary=f"{binary.name}, sha256 {sha256_file(binary)[:12]}")
    try:
        entry.kind.open()
    except EdgebertError as error:
        entry.failure = error.what
    return entry


def _copy(
    phone: client.Phone, job: Job, entries: list[_Entry], binaries: dict[str, Path], folder: str, scratch: Path
) -> None:
    """Binaries, files and inputs onto the phone: folder/NAME, folder/0/model.tflite, folder/0/inputs/7/…"""
    for name, binary in binaries.items():
        phone.push(binary, f"{folder}/{tools.TOOLS[name].name}")
        phone.words("chmod", "755", f"{folder}/{tools.TOOLS[name].name}")
        library = binary.with_name("libonnxruntime.so")
        if name == "onnx" and library.is_file():
            phone.push(library, f"{folder}/{library.name}")
    for i, entry in enumerate(entry for entry in entries if not entry.failure):
        entry.at = f"{folder}/{i}"
        local = scratch / str(i)
        try:
            for k, row in enumerate(job.inputs):
                (local / "inputs" / str(k)).mkdir(parents=True)
                entry.kind.feed(row, local / "inputs" / str(k))
        except EdgebertError as error:
            entry.failure = error.what
            continue
        phone.push(local, entry.at)
        path = entry.kind.file.path
        for part in sorted(path.iterdir()) if path.is_dir() else [path]:
            phone.push(part, f"{entry.at}/{part.name if path.is_dir() else f'model.{entry.kind.file.format}'}")


def _rounds(phone: client.Phone, job: Job, entries: list[_Entry], folder: str, scratch: Path, log: Log) -> None:
    """Rounds in turns, until every file has enough runs, has failed, or has had its time."""
    k = 0
    while waiting := [entry for entry in entries if not entry.failure and not _enough(entry, job)]:
        for entry in waiting:
            began = time.monotonic()
            try:
                _round(phone, job, entry, k % len(job.inputs), scratch)
            except (client.Hung, client.Gone):
                raise
            except EdgebertError as error:
                entry.failure = error.what
                log(event="note", text=error.what)
            entry.seconds += time.monotonic() - began
            log(event="measuring", text=f"{entry.kind.file.name}: {len(entry.rounds) * tools.RUNS} runs on the phone")
        k += 1


def _round(phone: client.Phone, job: Job, entry: _Entry, i: int, scratch: Path) -> None:
    row, feed = job.inputs[i], f"{entry.at}/inputs/{i}"
    keep = not isinstance(entry.kind, Onnx) and len(entry.outputs) == i < min(job.n_outputs, len(job.inputs))
    warm = median(entry.rounds[-1].times_ms) if entry.rounds else 0.0
    command = entry.kind.command(entry.at, feed, row, job.threads, keep, warm)
    entry.rounds.append(entry.kind.read(phone.shell(tools.bound(command, job.cores))))
    if keep and not isinstance(entry.kind, Onnx):
        content = phone.pull(f"{feed}/outputs.bin", scratch / "outputs.bin")
        entry.outputs.append(entry.kind.decode(content, row))


def _enough(entry: _Entry, job: Job) -> bool:
    """A whole pass over the inputs is done, there are runs enough, and p50 is stable or the file's time is over."""
    n = len(job.inputs)
    if len(entry.rounds) % n or len(entry.rounds) * tools.RUNS < max(1, job.min_runs):
        return False
    return entry.seconds >= job.max_seconds or is_stable(entry.times(n), n)


def _record(entry: _Entry, n_inputs: int) -> MeasurementRecord:
    file, rounds = entry.kind.file, entry.rounds
    peaks = [item.peak_memory_bytes for item in rounds if item.peak_memory_bytes]
    return MeasurementRecord(
        name=file.name,
        runtime=tools.TOOLS[file.format].runtime,
        runtime_version=f"not told by {entry.binary}",
        load_ms=median([item.load_ms for item in rounds]) if rounds else 0.0,
        first_run_ms=median([item.first_run_ms for item in rounds]) if rounds else 0.0,
        times_ms=tuple(entry.times(n_inputs)),
        peak_memory_bytes=max(peaks, default=None),
        outputs=tuple(entry.outputs),
        failure=first_line(entry.failure) if entry.failure else "",
    )


def _remains(left: list[str]) -> str:
    """Which folder could not be removed, and how to."""
    return f"; still there: {left[0]} (remove it with: adb shell rm -rf {left[0]})" if left else ""


TARGET = Target(
    name="adb",
    title="an Android phone, by adb",
    formats=tuple(tools.TOOLS),
    example="adb:R58M12ABCDE",
    measure=measure,
    answers=answers,
    look=look,
)
