"""The measuring protocol, and the program that takes it to a device: one file of Python 3.9, numpy and a runtime.

    python3 runner.py JOB.json RESULT.json   measures; RESULT is rewritten as a whole about once a second
    python3 runner.py JOB.json -             the same; prints a line of JSON a second, with what is new since the last
    python3 runner.py --probe                what this machine is and which runtimes it has

JOB is `edgebert.measure.targets.Job` as JSON; paths are relative to it. Each file is first loaded and run in a process
of its own (load time, first run, peak memory; a crash there costs this file only). Then the files take turns in blocks.

Which times make p50. On a machine with other work, whole blocks are slow, and two medians over all runs differ by more
than the models do. So p50 is taken from the quiet blocks: each time is divided by the median of its own input, blocks
are ranked by the median of their runs, and the quietest tenth is kept. `quiet_p50` is the median over the inputs of
those medians, times the median of what was kept; with one input that is the median of the times in the quietest tenth
of blocks. It is never called anything else. Measuring ends when two of three thirds of the blocks reach that level within
2 %, so that chance does not decide, and half a minute of clock has gone by; three times as long where the usual block is
more than 2 % above that level, which a machine of one's own is not: slow spells of others' work were seen to last a minute.

Beside each time stands the processor time of the run, over all threads of the process: what it computed, without waiting for
its turn. With 20 processes on two cores the p50 of a file went from 0.9 to 3.3 ms and its processor time from 0.82 to 0.88.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

BLOCK = 5  # timed runs in a row of one file
WARM_RUNS, WARM_S = 8, 0.025  # before them, not counted: as many, or as long, whichever is reached first
WARM_UP = 3  # inputs
QUIET = 0.1  # share of blocks that p50 is taken from
AGREE = 0.02  # between thirds of a stable measurement
SETTLE_S = 30.0  # of clock; on a noisy machine NOISY times as long
NOISY = 3
SAVE_EVERY_S = 1.0
CPU_CLOCK = time.get_clock_info("process_time").resolution <= 1e-5  # on Windows it counts in 16 ms
GRACE_S = 5.0  # after the time limit, before a call that hangs is cut off with its process
RUNTIMES = {
    "onnx": ("onnxruntime",),
    "tflite": ("ai_edge_litert", "tflite_runtime"),
}  # a format: the first that is there
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

# ---------------------------------------------------------------- the protocol


@dataclass
class Turn:
    """One thing to time. `run(i)` runs input i once; `times_ms[k]` and `cpu_ms[k]` are of input k % n_inputs."""

    run: Callable[[int], Any]
    n_inputs: int
    times_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)  # processor time, see the top of this file
    seconds: float = 0.0  # of its blocks
    stable: bool = False
    calm: bool = False
    failure: str = ""
    check_at: int = 0

    def check(self) -> None:
        """Looks at the times again."""
        self.stable, self.calm = is_stable(self.times_ms, self.n_inputs), is_calm(self.times_ms, self.n_inputs)
        self.check_at = int(len(self.times_ms) * 1.2)

    def done(self, min_runs: int, max_seconds: float, settled: float) -> bool:
        """`settled`: seconds of clock, over those after which stable times of a calm machine are trusted."""
        enough = len(self.times_ms) >= min_runs
        trusted = self.stable and settled >= (1 if self.calm else NOISY)
        return bool(self.failure) or (enough and (trusted or self.seconds >= max_seconds))


def take_turns(
    turns: Sequence[Turn],
    *,
    min_runs: int,
    max_seconds: float = 0.0,
    settle_s: float = 0.0,
    step: Callable[[], object] | None = None,
    keep_going: bool = False,
) -> None:
    """Times everything in turns, in blocks, until each has `min_runs` and is stable or has had `max_seconds`.

    A machine that slows down slows all of them. A block's first runs are not counted: another file's work has just filled
    the caches, and weights of 10 MB were seen to take eight runs until they were back.

    Args:
        max_seconds: of one file's blocks, after its `min_runs`; 0 takes exactly `min_runs`, in whole blocks.
        settle_s: seconds of clock before stable times are trusted; NOISY times as long where they are not calm.
        step: called after each round; what it raises ends the measurement.
        keep_going: a file that fails is left out and says why in `failure`; else the error is raised.
    """
    for turn in turns:
        with _noted(turn, keep_going):
            for i in range(min(WARM_UP, turn.n_inputs)):
                turn.run(i)
    started, position = time.monotonic(), 0
    while not all(turn.done(min_runs, max_seconds, _settled(started, settle_s)) for turn in turns):
        for turn in turns:
            if not turn.failure and (len(turn.times_ms) < min_runs or turn.seconds < max_seconds):
                with _noted(turn, keep_going):
                    _block(turn, position)
                if max_seconds and len(turn.times_ms) >= max(min_runs, turn.check_at):
                    turn.check()
        position += BLOCK
        if step:
            step()


def _settled(started: float, settle_s: float) -> float:
    return (time.monotonic() - started) / settle_s if settle_s else math.inf


def _block(turn: Turn, position: int) -> None:
    clock = time.perf_counter
    began = clock()
    for _ in range(WARM_RUNS):
        turn.run(position % turn.n_inputs)
        if clock() - began >= WARM_S:
            break
    for i in range(BLOCK):
        computed, start = time.process_time(), clock()
        turn.run((position + i) % turn.n_inputs)
        took = clock() - start
        turn.times_ms.append(took * 1e3)
        turn.cpu_ms.append((time.process_time() - computed) * 1e3)
    turn.seconds += clock() - began


@contextlib.contextmanager
def _noted(turn: Turn, keep_going: bool) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not keep_going:
            raise
        turn.failure = f"it stopped running: {first_line(error)}"


def quiet_p50(times_ms: Sequence[float], n_inputs: int = 1) -> float:
    """p50 of the quietest tenth of blocks, in milliseconds; see the top of this file.

    Examples:
        Half of these runs were slowed down by other work, which moves the median of all runs and not this figure:

        >>> quiet_p50([2.0] * 50 + [3.0] * 50)
        2.0
        >>> statistics.median([2.0] * 50 + [3.0] * 50)
        2.5
    """
    return statistics.median(_usual(times_ms, n_inputs)) * _level(_blocks(times_ms, n_inputs))


def quiet_mean(times_ms: Sequence[float], n_inputs: int) -> float:
    """The mean over the inputs, each at its median time, at the level of `quiet_p50`, in milliseconds."""
    return statistics.fmean(_usual(times_ms, n_inputs)) * _level(_blocks(times_ms, n_inputs))


def is_stable(times_ms: Sequence[float], n_inputs: int = 1) -> bool:
    """Whether two of three thirds of the blocks reach the same quiet level within 2 %, and the other none below."""
    apart = _apart(_blocks(times_ms, n_inputs))
    return apart is not None and apart <= AGREE


def spread(times_ms: Sequence[float], n_inputs: int = 1) -> float | None:
    """What an equal measurement may differ by, as a share of p50; None of fewer than six blocks.

    How far the quiet levels of the two quieter thirds of the blocks lie apart, or the usual block above the quiet level,
    whichever is more. With 20 to 32 processes on two cores nothing is quiet: there the thirds of one measurement agreed
    within a fifth, and the p50 of 21 measurements of one file, even of its processor time, went from 0.9 to 5.4 ms.
    """
    blocks = _blocks(times_ms, n_inputs)
    apart = _apart(blocks)
    return None if apart is None else max(apart, _unrest(blocks))


def _apart(blocks: Sequence[Sequence[float]]) -> float | None:
    """How far the quiet levels of the two quieter thirds lie apart, as a share of the lower one."""
    third = len(blocks) // 3
    if third < 2:
        return None
    levels = sorted([_level(blocks[:third]), _level(blocks[third : 2 * third]), _level(blocks[2 * third :])])
    return levels[1] / levels[0] - 1


def is_calm(times_ms: Sequence[float], n_inputs: int = 1) -> bool:
    """Whether the usual block is within 2 % of the quiet level."""
    return _unrest(_blocks(times_ms, n_inputs)) <= AGREE


def _unrest(blocks: Sequence[Sequence[float]]) -> float:
    """How far the usual block lies above the quiet level, as a share of it."""
    return statistics.median(map(statistics.median, blocks)) / _level(blocks) - 1


def _usual(times_ms: Sequence[float], n_inputs: int) -> list[float]:
    """Median time of each input."""
    return [statistics.median(times_ms[i::n_inputs]) for i in range(min(n_inputs, len(times_ms)))]


def _blocks(times_ms: Sequence[float], n_inputs: int) -> list[list[float]]:
    """Times over the median time of their input, in blocks as they were run; a last block that is cut short is left."""
    usual = _usual(times_ms, n_inputs)
    ratios = [took / usual[k % n_inputs] for k, took in enumerate(times_ms)]
    blocks = [ratios[i : i + BLOCK] for i in range(0, len(ratios), BLOCK)]
    return blocks[:-1] if len(blocks) > 1 and len(blocks[-1]) < BLOCK else blocks


def _level(blocks: Sequence[Sequence[float]]) -> float:
    kept = sorted(blocks, key=statistics.median)[: math.ceil(QUIET * len(blocks))]
    return statistics.median([ratio for block in kept for ratio in block])


def first_line(error: object) -> str:
    """The first line of an exception's text, at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


# ---------------------------------------------------------------- runtimes


class Onnx:
    """A file in ONNX Runtime on the CPU."""

    runtime = "onnxruntime"

    def __init__(self, path: str, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others are timed beside it
        self.runtime_version = str(ort.__version__)
        path = str(Path(path) / "model.onnx") if Path(path).is_dir() else path
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._types = {i.name: "int32" if "int32" in i.type else "int64" for i in self._session.get_inputs()}
        self._outputs = [item.name for item in self._session.get_outputs()]
        self._limit = int(self._session.get_modelmeta().custom_metadata_map.get("max_length", 0))

    def prepare(self, batch: Mapping[str, Any]) -> Any:
        if self._limit and batch["input_ids"].shape[1] > self._limit:
            raise ValueError(f"an input has {batch['input_ids'].shape[1]} tokens, the file takes {self._limit}")
        return {name: batch[name].astype(kind) for name, kind in self._types.items()}

    def run(self, feed: Any) -> Any:
        return self._session.run(self._outputs, feed)

    def outputs(self, feed: Any) -> dict[str, Any]:
        return {name: result for name, result in zip(self._outputs, self.run(feed))}  # noqa: B905, C416


class Tflite:
    """A .tflite file that edgebert wrote, in LiteRT: an input runs in the smallest signature that takes it, padded."""

    def __init__(self, path: str, threads: int) -> None:
        self.runtime = installed(RUNTIMES["tflite"])
        module = __import__(f"{self.runtime}.interpreter", fromlist=["Interpreter"])
        self.runtime_version = metadata.version(self.runtime.replace("_", "-"))
        with zipfile.ZipFile(path) as archive:  # lies behind the model
            self._info = json.loads(archive.read("edgebert.json"))
        self._interpreter = module.Interpreter(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._runners: dict[int, object] = {}

    def prepare(self, batch: Mapping[str, Any]) -> Any:
        import numpy as np

        n_tokens = batch["input_ids"].shape[1]
        length = next((length for length in self._info["lengths"] if length >= n_tokens), 0)
        if not length:
            raise ValueError(f"an input has {n_tokens} tokens, the file takes {self._info['lengths'][-1]}")
        if length not in self._runners:
            self._runners[length] = self._interpreter.get_signature_runner(f"seq{length}")
        feed = {}
        for name in self._info["inputs"]:
            feed[name] = np.full((1, length), self._info["pad_id"] if name == "input_ids" else 0, np.int32)
            feed[name][:, :n_tokens] = batch[name]
        return self._runners[length], feed, n_tokens

    def run(self, feed: Any) -> Any:
        return feed[0](**feed[1])

    def outputs(self, feed: Any) -> dict[str, Any]:
        result = self.run(feed)
        return {name: self._cut(name, result[name], feed[2]) for name in self._info["outputs"]}

    @staticmethod
    def _cut(name: str, output: Any, n_tokens: int) -> Any:
        of_tokens = name.endswith(("start_logits", "end_logits")) or (name.endswith("logits") and output.ndim == 3)
        return output[:, :n_tokens] if of_tokens else output


def installed(modules: Sequence[str]) -> str:
    """The first of these modules that is there, or an error."""
    for module in modules:
        if util.find_spec(module) is not None:
            return module
    raise ModuleNotFoundError(f"{' or '.join(modules)} is not installed")


def _import(modules: Sequence[str]) -> None:
    __import__("numpy")
    __import__(installed(modules))


@dataclass(frozen=True)
class Opener:
    """How files of a format are run: what to import beforehand, and `open(path, threads)`.

    `counted`: what is imported is the runtime that a device has too, so that it counts as peak memory.
    """

    load: Callable[[], object]
    open: Callable[[str, int], Any]
    counted: bool = True


OPENERS = {
    "onnx": Opener(lambda: _import(RUNTIMES["onnx"]), Onnx),
    "tflite": Opener(lambda: _import(RUNTIMES["tflite"]), Tflite),
}

# ---------------------------------------------------------------- one file alone


def load_job(path: str) -> dict[str, Any]:
    with Path(path).open(encoding="utf-8") as stream:
        job: dict[str, Any] = json.load(stream)
    base = Path(path).resolve().parent
    for file in job["files"]:
        file["path"] = str(base / file["path"])
    return job


def make_batches(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """int64 arrays (1, seq); a mask of ones and types of zeros where the job, or the file, says none."""
    import numpy as np

    batches = []
    for given in job["inputs"]:
        ids = np.asarray(given["input_ids"], np.int64)
        plain = {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        batches.append({**plain, **{name: np.asarray(given[name], np.int64) for name in INPUTS if name in given}})
    return batches


def of_file(job: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    """The job as this file sees it: with its own inputs and threads where it has some."""
    file = job["files"][index]
    return {**job, **{name: file.get(name) or job[name] for name in ("inputs", "threads")}}


def alone(job: Mapping[str, Any], index: int, openers: Mapping[str, Opener]) -> dict[str, Any]:
    """Load, first run and peak memory of one file in this process, which has done nothing else."""
    file, job, results = job["files"][index], of_file(job, index), {}
    try:
        opener = openers[file["format"]]
        if not opener.counted:
            opener.load()
        batch, before = make_batches(job)[0], peak_bytes()
        opener.load()
        computed, started = time.process_time(), time.perf_counter()
        session = opener.open(file["path"], job["threads"])
        loaded, computed = time.perf_counter(), time.process_time() - computed
        results = {"runtime": session.runtime, "runtime_version": session.runtime_version}
        session.run(session.prepare(batch))
        ran = time.perf_counter()
    except KeyError as error:
        return {**results, "failure": f"not a file that edgebert wrote, or of a format that is not run here: {error}"}
    except Exception as error:
        runtime = results.get("runtime") or "the runtime"
        return {**results, "failure": f"{runtime} refuses the file: {first_line(error)}"}
    peak = peak_bytes()
    return {
        **results,
        "load_ms": round((loaded - started) * 1e3, 3),
        "load_cpu_ms": round(computed * 1e3, 3) if CPU_CLOCK else None,
        "first_run_ms": round((ran - loaded) * 1e3, 3),
        "peak_memory_bytes": None if peak is None or before is None else peak - before,
    }


def count(job: Mapping[str, Any], index: int, rounds: int, openers: Mapping[str, Opener]) -> None:
    """Loads a file and runs every input `rounds` times, for a counter that watches this process."""
    file, job = job["files"][index], of_file(job, index)
    session = openers[file["format"]].open(file["path"], job["threads"])
    feeds = [session.prepare(batch) for batch in make_batches(job)]
    for _ in range(rounds):
        for feed in feeds:
            session.run(feed)


def peak_bytes() -> int | None:
    """Peak resident set of this process; None where the system does not tell.

    Linux: VmHWM, because getrusage there starts from what the parent process had when it forked.
    """
    for line in read_text("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# ---------------------------------------------------------------- what the machine says of itself


def read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def clock_mhz() -> float | None:
    """Mean of the usable cores' clocks."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    results = [read_text(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq") for core in cores]
    clocks = [int(text) / 1000 for text in results if text.isdigit()]
    return round(statistics.mean(clocks), 1) if clocks else None


def temperature_c() -> float | None:
    """The hottest sensor of the processor, or of all where none says that it is one of the processor's."""
    zones = [
        (read_text(f"{zone}/type").lower(), read_text(f"{zone}/temp")) for zone in Path(ZONES).glob("thermal_zone*")
    ]
    zones = [zone for zone in zones if zone[1].lstrip("-").isdigit()]
    own = [zone for zone in zones if any(word in zone[0] for word in ("cpu", "soc", "pkg", "core"))]
    return max((int(temp) / 1000 for _, temp in own or zones), default=None)


ZONES = "/sys/class/thermal"


def is_translated() -> bool:
    """Whether an emulator runs this Python: the program that the kernel runs is built for another machine than Python is.

    qemu answers /proc/self/exe with what it emulates, and leaves /proc/thread-self/exe to the kernel.
    """
    running, own = _built_for("/proc/thread-self/exe"), _built_for(sys.executable)
    return bool(running and own) and running != own


def _built_for(path: str) -> bytes:
    """Width, byte order and machine of an ELF program; b"" where it is none."""
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(20)
    except OSError:
        return b""
    return head[4:6] + head[18:20] if head[:4] == b"\x7fELF" else b""


def describe() -> dict[str, Any]:
    """This machine, its Python, and the runtimes that are installed. Imports none of them."""
    lines = [line.partition(":") for line in read_text("/proc/cpuinfo").splitlines()]
    fields = {key.strip(): value.strip() for key, _, value in lines}
    processor = fields.get("model name") or fields.get("Hardware") or platform.processor() or platform.machine()
    versions = {}
    for module in ("numpy", "onnxruntime", "ai_edge_litert", "tflite_runtime"):
        if util.find_spec(module) is not None:
            with contextlib.suppress(metadata.PackageNotFoundError):
                versions[module] = metadata.version(module.replace("_", "-"))
    return {
        "device": read_text("/proc/device-tree/model") or processor,
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
        "bits": struct.calcsize("P") * 8,
        "system": platform.platform(),
        "python": platform.python_version(),
        "runtimes": versions,
    }


# ---------------------------------------------------------------- results


class Results:
    """Where results go: a file that is always whole, or lines that each hold what is new."""

    def __init__(self, path: str) -> None:
        self.path, self.lock = path, threading.Lock()
        self._sent: list[dict[str, object]] = []
        self._stream: Any = None
        if path == "-":
            self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
            os.dup2(2, 1)  # libraries print where they like

    def save(self, state: dict[str, Any]) -> None:
        with self.lock:
            if self._stream is None:
                beside = Path(f"{self.path}.new")
                beside.write_text(json.dumps(state), encoding="utf-8")
                beside.replace(self.path)
                return
            sent = self._sent or [{}] * len(state["found"])
            results = [_news(*pair) for pair in zip(sent, state["found"])]  # noqa: B905
            self._stream.write(json.dumps({**state, "found": results}) + "\n")
            self._stream.flush()
            self._sent = [{**item, "times_ms": len(item["times_ms"])} for item in state["found"]]


def _news(sent: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """What of a file's record was not sent before; of the times, those that joined."""
    news = {name: value for name, value in item.items() if name not in sent or sent[name] != value}
    return {**news, "times_ms": item["times_ms"][sent.get("times_ms", 0) :]}


class TimeUp(Exception):
    """The time limit."""


# ---------------------------------------------------------------- the whole job


class Runner:
    """One job. `program` is what starts this program anew, for a file alone, behind the job's or this Python."""

    def __init__(self, path: str, results: Results, openers: Mapping[str, Opener], program: Sequence[str]) -> None:
        self.path, self.job, self.results, self.openers = path, load_job(path), results, openers
        self.again = [self.job.get("python", sys.executable), *program]
        self.ends = time.monotonic() + self.job["timeout_s"]
        self.saved, self.over = 0.0, threading.Event()
        self.turns: dict[int, Turn] = {}
        self.records: list[dict[str, Any]] = [
            {"name": f["name"], "times_ms": [], "failure": ""} for f in self.job["files"]
        ]
        about = describe()
        self.facts = {**about, "clock_mhz": [clock_mhz()], "temperature_c": [temperature_c()]}
        self.state = {
            "device": about["device"],
            "emulated": is_translated(),
            "facts": self.facts,
            "found": self.records,
            "done": False,
        }

    def measure(self) -> None:
        if self.job.get("cores"):
            os.sched_setaffinity(0, self.job["cores"])
        threading.Thread(target=self._cut_off, daemon=True).start()
        try:
            for index, result in enumerate(self.records):
                result.update(self._same_file(index) or self._alone(index))
                self.save()
            self._open()
            limits = {"min_runs": self.job["min_runs"], "max_seconds": self.job["max_seconds"], "settle_s": SETTLE_S}
            take_turns(list(self.turns.values()), step=self._step, keep_going=True, **limits)
            self._collect()
            self._count()
        except TimeUp:
            self._stopped()
        finally:
            self.over.set()
        self._finish()

    def _same_file(self, index: int) -> dict[str, Any]:
        """What is known of the file, where it stands in the job before, with other inputs or threads."""
        paths = [file["path"] for file in self.job["files"]]
        first = paths.index(paths[index])
        same = {name: value for name, value in self.records[first].items() if name not in ("name", "times_ms")}
        return same if first < index else {}

    def _alone(self, index: int) -> dict[str, Any]:
        if not self.job["files"][index].get("loads_alone", True):
            return {}
        code, text = self._child([*self.again, "--alone", self.path, str(index)])
        if code == 0 and text.strip():
            answer: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
            return answer
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return {"failure": f"the runtime crashed on the file ({how})"}

    def _child(self, command: Sequence[str]) -> tuple[int, str]:
        """Exit status and output of a process; looks whether an emulator runs it."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            while child.poll() is None:
                if time.monotonic() > self.ends:
                    child.kill()
                    raise TimeUp
                with contextlib.suppress(OSError):
                    if "qemu" in Path(os.readlink(f"/proc/{child.pid}/exe")).name:  # noqa: PTH115
                        self.state["emulated"] = True
                time.sleep(0.01)
            assert child.stdout is not None
            return child.returncode, child.stdout.read()

    def _open(self) -> None:
        sessions: dict[tuple[str, int], Any] = {}  # by path and threads: a file may stand several times
        for index, result in enumerate(self.records):
            if result["failure"]:
                continue
            file, job = self.job["files"][index], of_file(self.job, index)
            key = file["path"], job["threads"]
            try:
                if key not in sessions:
                    sessions[key] = self.openers[file["format"]].open(*key)
                session = sessions[key]
                result.update(runtime=session.runtime, runtime_version=session.runtime_version)
                feeds = [session.prepare(batch) for batch in make_batches(job)]
                outputs = [session.outputs(feed) for feed in feeds[: self.job["n_outputs"]]]
            except Exception as error:
                result["failure"] = f"it does not run on every input: {first_line(error)}"
                continue
            result["outputs"] = [{name: array.tolist() for name, array in output.items()} for output in outputs]
            self.turns[index] = Turn(_runs(session, feeds), len(feeds), result["times_ms"])

    def _step(self) -> None:
        if time.monotonic() - self.saved >= SAVE_EVERY_S:
            self.save()
        if time.monotonic() > self.ends:
            raise TimeUp

    def _collect(self) -> None:
        for index, turn in self.turns.items():
            self.records[index]["failure"] = turn.failure
            self.records[index]["cpu_ms"] = [round(took, 5) for took in turn.cpu_ms] if CPU_CLOCK else []

    def _count(self) -> None:
        """Instructions of one inference: those of three rounds less those of one, over two rounds."""
        wanted = self.job.get("instructions", True)
        if not wanted or not shutil.which("perf") or self.state["emulated"]:  # an emulator's own
            return
        for index in self.turns:
            counts = [self._instructions(index, rounds) for rounds in (1, 3)]
            if None in counts:
                return
            n_inputs = len(of_file(self.job, index)["inputs"])
            self.records[index]["instructions"] = round((counts[1] - counts[0]) / (2 * n_inputs))

    def _instructions(self, index: int, rounds: int) -> Any:
        command = ["perf", "stat", "-x", ",", "--log-fd", "1", "-e", "instructions:u", "--", *self.again]
        _, text = self._child([*command, "--count", self.path, str(index), str(rounds)])
        return read_count(text)

    def _stopped(self) -> None:
        self._collect()
        for index, result in enumerate(self.records):
            turn = self.turns.get(index)
            if not result["failure"] and (
                turn is None or not turn.done(self.job["min_runs"], self.job["max_seconds"], math.inf)
            ):
                result["failure"] = f"stopped after {self.job['timeout_s']:g} s, the time limit"

    def _cut_off(self) -> None:
        """Ends a call that hangs, with what was measured so far."""
        if self.over.wait(max(0.0, self.ends + GRACE_S - time.monotonic())):
            return
        self._stopped()
        self._finish()
        os._exit(0)

    def _finish(self) -> None:
        for name, value in (("clock_mhz", clock_mhz()), ("temperature_c", temperature_c())):
            self.facts[name] = [self.facts[name][0], value]
        self.state["done"] = True
        self.save()

    def save(self) -> None:
        self.saved = time.monotonic()
        results = [{**item, "times_ms": [round(took, 5) for took in item["times_ms"]]} for item in self.records]
        self.results.save({**self.state, "found": results})


def _runs(session: Any, feeds: Sequence[Any]) -> Callable[[int], Any]:
    run = session.run
    return lambda index: run(feeds[index])


def read_count(text: str) -> int | None:
    """The number that `perf stat -x ,` printed; None where the machine does not count."""
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2].startswith("instructions") and fields[0].isdigit():
            return int(fields[0])
    return None


def main(
    arguments: Sequence[str], openers: Mapping[str, Opener] = OPENERS, program: Sequence[str] = (__file__,)
) -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime's own: it sends, and leaves files in the home folder
    if arguments[0] == "--probe":
        print(json.dumps(describe()))
    elif arguments[0] == "--alone":
        print("\n" + json.dumps(alone(load_job(arguments[1]), int(arguments[2]), openers)))
    elif arguments[0] == "--count":
        count(load_job(arguments[1]), int(arguments[2]), int(arguments[3]), openers)
    else:
        Runner(arguments[0], Results(arguments[1]), openers, program).measure()


if __name__ == "__main__":
    main(sys.argv[1:])
