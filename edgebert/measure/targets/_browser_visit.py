"""What a page says, kept as it comes, and what it is told to run next."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgebert.errors import EdgebertError
from edgebert.measure.runner import BLOCK, INPUTS, SETTLE_S, WARM_RUNS, WARM_S, Turn
from edgebert.measure.targets import Input, Job, MeasurementRecord, Outcome
from edgebert.measure.targets._browser_assets import PACKAGE
from edgebert.measure.targets._browser_server import Message, Reply, TwicePage
from edgebert.runtime.specs import INPUT_IDS


@dataclass
class _Entry:
    """One file in one engine, as far as it is known."""

    turn: Turn
    loaded: Message = field(default_factory=dict)
    began: float = 0.0  # when it was loaded, on time.monotonic
    outputs: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False


class Visit:
    """One page's run of a job. `hear` is called by the server's threads, the rest by the target's own.

    Attributes:
        engine: "wasm" or "webgpu".
        news: what to tell the user, in order: (event, text).
        arrived, gone: set when the page has said hello, and when it is there no more.
        ended: set once nothing more will come; `reason` then says why, "" where the page is done.
    """

    def __init__(self, job: Job, engine: str = "wasm") -> None:
        self.job, self.engine = job, engine
        self.facts: dict[str, Any] = {}
        self.news: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.arrived, self.gone, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.reason, self._hint = "", ""
        self._page = ""
        self._entries: dict[int, _Entry] = {}
        self._started = 0.0  # when the turns began, on time.monotonic
        self._lock = threading.RLock()

    def hear(self, message: Message) -> Reply:
        """The answer to a message.

        Raises:
            TwicePage: another page has said hello before.
            KeyError, TypeError, ValueError: it is no message of our page.
        """
        with self._lock:
            if self._page and message["page"] != self._page:
                raise TwicePage
            answer: Reply = getattr(self, f"_hear_{message['kind']}")(message)
            return answer

    def left(self, page: str) -> None:
        """The page is gone: its tab was closed, or has crashed."""
        if page == self._page:
            self.gone.set()

    def end(self, reason: str, hint: str = "") -> None:
        """Nothing more is taken. The first reason stays."""
        with self._lock:
            if not self.ended.is_set():
                self.reason, self._hint = reason, hint
                self.ended.set()

    def outcome(self) -> Outcome:
        """What was measured, whole or in part.

        Raises:
            EdgebertError: nothing was.
        """
        with self._lock:
            results = tuple(self._record(at) for at in range(len(self.job.files)))
            if not any(item.times_ms or item.outputs for item in results):
                raise EdgebertError(
                    self.reason or "; ".join(f"{item.name}: {item.failure}" for item in results),
                    where="--on browser",
                    hint=self._hint or "Convert it again, or choose another precision: edgebert convert --help",
                )
            translated = self.engine == "webgpu" and _is_software(self.facts["webgpu"])
            return Outcome(_device(self.facts), "emulated" if translated else "measured", results, self.facts)

    def _hear_hello(self, message: Message) -> Reply:
        self._page, self.facts = str(message["page"]), dict(message["facts"])
        if self.engine == "webgpu":
            self.facts["adapter"] = _name(self.facts["webgpu"])
        self.arrived.set()
        self.news.put(("note", f"measuring in {_device(self.facts)}; {_about(self.facts['webgpu'])}"))
        if self.engine == "webgpu" and not self.facts["webgpu"]["available"]:
            self.end(self.facts["webgpu"]["reason"], "--on browser measures by WebAssembly, which every browser has.")
        return {"job": _job(self.job), "engine": self.engine}

    def _hear_loaded(self, message: Message) -> Reply:
        entry = self._entry(message["file"])
        entry.loaded, entry.began = message, time.monotonic()
        self.facts["runtime_start_ms"] = round(message["start_ms"], 2)
        return {}

    def _hear_output(self, message: Message) -> Reply:
        entry, job = self._entry(message["file"]), self.job
        entry.outputs.append({name: _nested(**tensor) for name, tensor in message["outputs"].items()})
        more = len(entry.outputs) < self._n_outputs and not self.ended.is_set()
        if not job.min_runs:  # there is nothing else to wait for
            self.news.put(
                ("measuring", f"{job.files[message['file']].name}: {len(entry.outputs)} of {self._n_outputs} inputs")
            )
            more = more and time.monotonic() - entry.began < job.max_seconds
            entry.complete = not more
        return {"more": more}

    @property
    def _n_outputs(self) -> int:
        return min(self.job.n_outputs, len(self.job.inputs))

    def _hear_refused(self, message: Message) -> Reply:
        entry = self._entry(message["file"])
        at = f"fails on input {len(entry.outputs) + 1}" if entry.loaded else "refuses the file"
        entry.turn.failure = f"{PACKAGE} ({self.engine}) {at}: {message['error'][:300]}"
        return {}

    def _hear_round(self, message: Message) -> Reply:
        self._started = self._started or time.monotonic()
        for at, times in message["times"].items():
            _take(self._entry(int(at)).turn, [float(item) for item in times], self.job)
        loaded = {at: entry for at, entry in self._entries.items() if entry.loaded}
        if message["times"]:
            note = ", ".join(f"{self.job.files[at].name} {len(item.turn.times_ms)}" for at, item in loaded.items())
            self.news.put(("measuring", f"runs in the browser: {note}"))
        return {"files": [] if self.ended.is_set() else self._next(loaded)}

    def _next(self, loaded: Mapping[int, _Entry]) -> list[int]:
        """The files of the next round: all whose time is not over, until each of them has been run enough."""
        job = self.job
        settled = (time.monotonic() - self._started) / SETTLE_S
        for item in loaded.values():
            item.complete = item.turn.done(job.min_runs, job.max_seconds, settled)
        if all(entry.complete for entry in loaded.values()):
            return []
        turns = {at: entry.turn for at, entry in loaded.items()}
        return [at for at, t in turns.items() if len(t.times_ms) < job.min_runs or t.seconds < job.max_seconds]

    def _hear_error(self, message: Message) -> Reply:
        self.end(f"the page fails: {message['error'][:300]}", "Try another browser: --on browser:link")
        return {}

    def _hear_done(self, message: Message) -> Reply:
        self.facts.update(message["facts"])
        self.end("")
        return {}

    def _entry(self, at: int) -> _Entry:
        self.job.files[at]  # one that the job has
        return self._entries.setdefault(at, _new_entry(len(self.job.inputs)))

    def _record(self, at: int) -> MeasurementRecord:
        entry = self._entries.get(at) or _new_entry(len(self.job.inputs))
        stopped = "" if entry.complete else self.reason or "the page left it out"
        return MeasurementRecord(
            name=self.job.files[at].name,
            runtime=f"{PACKAGE} {self.engine}",
            runtime_version=str(entry.loaded.get("version", "")),
            load_ms=round(entry.loaded.get("load_ms", 0.0), 3),
            first_run_ms=round(entry.loaded.get("first_run_ms", 0.0), 3),
            times_ms=tuple(round(item, 5) for item in entry.turn.times_ms),
            peak_memory_bytes=entry.loaded.get("memory_bytes") if self.engine == "wasm" else None,
            outputs=tuple(entry.outputs),
            failure=entry.turn.failure or stopped,
        )


def _new_entry(n_inputs: int) -> _Entry:
    return _Entry(Turn(lambda index: None, n_inputs))  # the page does the running


def _take(turn: Turn, times_ms: Sequence[float], job: Job) -> None:
    """A block's times, as `edgebert.measure.runner.take_turns` takes them."""
    turn.times_ms += times_ms
    seconds = sum(times_ms) / 1e3
    if times_ms:  # and what warmed its blocks up, which the page does not tell
        item = seconds / len(times_ms)
        seconds += len(times_ms) / BLOCK * min(WARM_RUNS * item, max(item, WARM_S))
    turn.seconds += seconds
    if len(turn.times_ms) >= max(job.min_runs, turn.check_at):
        turn.check()


def _job(job: Job) -> dict[str, object]:
    return {
        "files": [{"name": file.name} for file in job.files],
        "inputs": [_filled(item) for item in job.inputs],
        "threads": job.threads,
        "block": BLOCK,
        "warm_runs": WARM_RUNS,
        "warm_ms": 1e3 * WARM_S,
        "n_outputs": job.n_outputs,
        "min_runs": job.min_runs,
    }


def _filled(given: Input) -> dict[str, list[list[int]]]:
    """Every input by name: a mask of ones and types of zeros where the job says none."""
    shape = [len(row) for row in given[INPUT_IDS]]
    usual = {INPUTS[1]: [[1] * n for n in shape], INPUTS[2]: [[0] * n for n in shape]}
    return {**usual, **{name: [list(row) for row in rows] for name, rows in given.items()}}


def _nested(dims: Sequence[int], type: str, data: Sequence[float | None]) -> object:
    """A tensor as nested lists. JSON has no NaN and no infinity: both come as null, and are NaN here."""
    values = np.array([np.nan if item is None else item for item in data], np.float64).reshape(dims)
    return (values.astype(np.int64) if type.startswith(("int", "uint")) else values).tolist()


def _device(facts: Mapping[str, Any]) -> str:
    """As the browser calls itself: "Chromium 156.0.8078.79 on Linux"."""
    known = {item["brand"]: item["version"] for item in facts.get("brands", ()) if "Brand" not in item["brand"]}
    name = next((brand for brand in known if brand != "Chromium"), "Chromium")
    if name in known:
        browser = f"{name} {known[name]}"
    else:
        agent = facts.get("user_agent", "")
        message = re.search(r"(Firefox|Edg|Chrome)/([\d.]+)|(Version)/([\d.]+).*Safari", agent)
        browser = " ".join(filter(None, message.groups())).replace("Version", "Safari") if message else agent
    place = " ".join(filter(None, (facts.get("platform"), facts.get("platform_version"), facts.get("model"))))
    return f"{browser} on {place}" if place else browser


def _about(gpu: Mapping[str, Any]) -> str:
    if not gpu["available"]:
        return f"no WebGPU: {gpu['reason']}"
    name = _name(gpu)
    if _is_software(gpu):
        return f"no WebGPU but by software ({name})"
    return f"WebGPU by {name}: --on browser:webgpu measures it"


def _name(gpu: Mapping[str, Any]) -> str:
    known = (gpu.get("vendor"), gpu.get("architecture"), gpu.get("description"))
    return " ".join(filter(None, known)) or "an adapter without a name"


def _is_software(gpu: Mapping[str, Any]) -> bool:
    return bool(gpu.get("software")) or gpu.get("architecture") == "swiftshader"
