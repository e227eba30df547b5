"""This machine: the runtime of every format, and torch, in a process of its own."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.converters import CONVERTERS, Converter
from edgebert.devices.machine import UseMeter, for_timing
from edgebert.devices.profiles import HERE
from edgebert.errors import RequestError
from edgebert.faults import is_installed
from edgebert.measure.runner import OPENERS, RUNTIMES, Opener, describe, main
from edgebert.measure.targets import DeviceInfo, Job, Log, Outcome, Target
from edgebert.measure.targets._follow import follow, job_json, outcome
from edgebert.runtime.scratch import scratch_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgebert.runtime.session import Runner

MODULE = "edgebert.measure.targets.here"


def measure(address: str, job: Job, log: Log) -> Outcome:
    """Runs the job in a process of its own: a runtime that crashes or hangs takes only that along.

    Raises:
        RequestError: an address was given, cores cannot be chosen, or there are no such cores.
        EdgebertError: the process died before anything was measured.
    """
    if why := answers(address):
        raise RequestError(why, where=f"--on here:{address}", hint="Use --on here, without an address.")
    check_cores(job.cores)
    root = str(Path(__file__).parents[3])
    env = {**for_timing(os.environ), "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    with scratch_folder("job-") as folder:
        path = folder / "job.json"
        path.write_text(job_json(job, [str(file.path.resolve()) for file in job.files]), encoding="utf-8")
        meter = UseMeter()
        message = follow([sys.executable, "-m", MODULE, str(path), "-"], job, log, env)
        others = meter.use().others
    return replace(outcome(message, job, "here"), others=others)


def answers(address: str) -> str:
    """This machine is always there; it has no address."""
    return "this machine has no address" if address else ""


def look(address: str, formats: Sequence[str]) -> DeviceInfo:
    """Lacks the formats whose runtime is not installed, or whose time says nothing here."""
    why = {name: _lacks(CONVERTERS.get(name)) for name in formats if name in CONVERTERS.all()}
    return DeviceInfo(describe()["device"], {name: reason for name, reason in why.items() if reason})


def _lacks(converter: Converter) -> str:
    installed = converter.name in RUNTIMES or is_installed(converter.runtime)
    return converter.untimed() if installed else f"{converter.runtime} is not installed"


def check_cores(cores: Sequence[int]) -> None:
    """Raises RequestError where this process may not run on one of these cores."""
    if not cores:
        return
    if not hasattr(os, "sched_getaffinity"):
        raise RequestError("this system does not let a program choose its cores", where="--cores")
    if missing := sorted(set(cores) - os.sched_getaffinity(0)):
        known = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise RequestError(
            f"this process may not run on core {missing[0]}", where="--cores", hint=f"It may run on: {known}."
        )


class Wrapped:
    """A converter's session, or a checkpoint in torch, as the runner takes it."""

    def __init__(self, session: Runner) -> None:
        self.runtime, self.runtime_version = session.runtime, session.runtime_version
        self.run = self.outputs = session.run

    def prepare(self, batch: Mapping[str, Any]) -> Any:
        return batch


def _torch(path: str, threads: int) -> Wrapped:
    from edgebert.modeling.graph import TorchSession

    return Wrapped(TorchSession(_torch_model(path), threads))


@cache
def _torch_model(path: str) -> PreTrainedModel:
    """Loaded once, for any number of threads."""
    from edgebert.modeling.checkpoint import load_config, load_model

    return load_model(Path(path), load_config(Path(path)).architectures[0])[0]


def _load_torch() -> None:
    import transformers  # noqa: F401

    import edgebert.modeling.graph  # noqa: F401


def _opener(converter: Converter) -> Opener:
    """Of a format that the runner does not know by itself."""

    def open_file(path: str, threads: int) -> Wrapped:
        if why := converter.untimed():
            raise RuntimeError(why)
        return Wrapped(converter.open(Path(path), threads))

    return Opener(lambda: importlib.import_module(converter.runtime), open_file, converter.runtime_on_device)


TARGET = Target(
    name="here",
    title="this machine",
    formats=(*CONVERTERS.all(), "torch"),
    example="here",
    measure=measure,
    answers=answers,
    look=look,
    profile=HERE,
)

if __name__ == "__main__":
    openers = {name: _opener(converter) for name, converter in CONVERTERS.all().items()}
    main(sys.argv[1:], {**openers, "torch": Opener(_load_torch, _torch, False), **OPENERS}, ("-m", MODULE))
