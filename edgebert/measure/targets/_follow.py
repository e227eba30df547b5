"""Starts `edgebert.measure.runner` somewhere, reads what it says line by line, and keeps what came."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from edgebert.errors import EdgebertError
from edgebert.measure.targets import Input, Job, Log, MeasurementRecord, Outcome

MARGIN_S = 30.0  # for the runner to end by itself after its own limit
KEPT = frozenset(MeasurementRecord.__dataclass_fields__)


@dataclass
class Messages:
    """What a runner said until it ended."""

    state: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    code: int = 0
    errors: str = ""  # on standard error, the end of it
    timed_out: bool = False


def job_json(job: Job, paths: Sequence[str], python: str | None = None) -> str:
    """The job as the runner reads it, with the paths that its files have there."""
    files = [
        {
            "name": file.name,
            "format": file.format,
            "path": path,
            "inputs": _lists(file.inputs),
            "threads": file.threads,
            "loads_alone": file.loads_alone,
        }
        for file, path in zip(job.files, paths, strict=True)
    ]
    names = ("threads", "min_runs", "max_seconds", "timeout_s", "n_outputs", "instructions")
    limits = {name: getattr(job, name) for name in names}
    more = {"python": python} if python else {}
    return json.dumps({"files": files, "inputs": _lists(job.inputs), "cores": list(job.cores), **limits, **more})


def _lists(inputs: Sequence[Input]) -> list[dict[str, list[list[int]]]]:
    return [{name: [list(map(int, row)) for row in rows] for name, rows in item.items()} for item in inputs]


def follow(command: Sequence[str], job: Job, log: Log, env: Mapping[str, str] | None = None) -> Messages:
    """Runs the command until it ends or the job's time is over, and gathers the lines that it prints."""
    message = Messages()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env, start_new_session=True
        )
        timer = threading.Timer(job.timeout_s + MARGIN_S, _stop, (process, message))
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                _take(message, line)
                log(event="measuring", text=_progress(message))
            message.code = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        errors.seek(0)
        message.errors = errors.read()[-4000:].decode(errors="replace").strip()
    return message


def _stop(process: subprocess.Popen[bytes], message: Messages) -> None:
    message.timed_out = True
    process.kill()


def _take(message: Messages, line: bytes) -> None:
    """Joins a line to what is known; a line that was cut short by a death is none."""
    try:
        news = json.loads(line)
        result = news.pop("found")
    except (ValueError, KeyError, AttributeError):
        return
    message.state = news
    message.records = message.records or [{"times_ms": []} for _ in result]
    for known, new in zip(message.records, result, strict=True):
        known.update({**new, "times_ms": [*known["times_ms"], *new.get("times_ms", ())]})


def _progress(message: Messages) -> str:
    runs = [len(item["times_ms"]) for item in message.records]
    return f"{min(runs, default=0)} runs of each of {len(runs)} file(s)" if any(runs) else "loading each file alone"


def outcome(message: Messages, job: Job, where: str) -> Outcome:
    """What was told as an Outcome. Raises EdgebertError where nothing was measured and the runner did not end well."""
    ended = bool(message.state.get("done"))
    why = "" if ended else _death(message, job)
    results = [
        _record(file.name, item, why)
        for file, item in zip(job.files, message.records or [{}] * len(job.files), strict=True)
    ]
    if not ended and not any(item.times_ms for item in results):
        raise EdgebertError(why, where=where, hint=_last_words(message))
    facts = message.state.get("facts", {})
    how = "emulated" if message.state.get("emulated") else "measured"
    return Outcome(cast(str, message.state.get("device", where)), cast(Any, how), tuple(results), facts)


def _record(name: str, item: Mapping[str, Any], why: str) -> MeasurementRecord:
    kept = {key: value for key, value in item.items() if key in KEPT}
    kept |= {key: tuple(kept.get(key, ())) for key in ("times_ms", "cpu_ms", "outputs")} | {"name": name}
    return MeasurementRecord(**{**kept, "failure": kept.get("failure") or why})


def _death(message: Messages, job: Job) -> str:
    if message.timed_out:
        return f"no answer for {job.timeout_s + MARGIN_S:g} s: it hangs, and was stopped"
    if message.code == 255:
        return "the connection was lost while it measured"
    killed = message.code in (-9, 137)
    return "the runner was killed" + (", often for want of memory" if killed else f" (exit status {message.code})")


def _last_words(message: Messages) -> str | None:
    lines = [line for line in message.errors.splitlines() if line.strip()]
    return lines[-1][:300] if lines else None
