"""What a run was made with: versions and hardware, for the manifest and the report; and who else uses the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LIBRARIES = (
    "edgebert", "torch", "transformers", "accelerate", "tokenizers", "datasets", "onnx", "onnxruntime", "numpy", "seqeval",
)  # fmt: skip
SHARED_FROM = 0.25  # cores that others keep busy; less is what any system does by itself
# A waiting thread of OpenMP spins for milliseconds by default. Where another process computes, it spins away the very
# core that the thread it waits for needs: a training then takes many times as long. Read when torch is loaded.
PASSIVE_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
_set_here: set[str] = set()
Precision = Literal["auto", "no", "bf16", "fp16"]


def wait_passively() -> None:
    """Makes torch's threads sleep while they wait for each other. To be called before torch is imported; what the
    user set stays, and results do not depend on it."""
    for name in PASSIVE_WAITING.keys() - os.environ.keys():
        os.environ[name] = PASSIVE_WAITING[name]
        _set_here.add(name)


def for_timing(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process whose times are those of a plain runtime: without `wait_passively`."""
    return {name: value for name, value in environ.items() if name not in _set_here}


def training_precision(asked: Precision) -> Literal["no", "bf16", "fp16"]:
    """What to train in: "auto" is bf16 where matrices of it are multiplied in hardware, so that it is faster, and float32
    elsewhere. Only the kind of processor decides, so that one seed gives one file on one machine."""
    if asked != "auto":
        return asked
    import torch

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "no"


def describe_environment() -> dict[str, object]:
    """Versions of everything that a number depends on, and the hardware."""
    return {"versions": versions(), "hardware": describe_hardware()}


def usable_cores() -> int:
    """Cores that this process may run on: by its affinity, and by the quota of its control group (a container's)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Whole cores that the control group grants; None where it sets no limit."""
    files = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # version 2, version 1
    for names in files:
        try:
            granted, period = " ".join((root / name).read_text() for name in names).split()
            return max(1, round(int(granted) / int(period))) if int(granted) > 0 else None
        except (OSError, ValueError):  # another version, or "max"
            continue
    return None


@dataclass(frozen=True)
class MachineUse:
    """Who computed on this machine over some seconds."""

    others: float  # cores' worth of other processes and other virtual machines
    cores: int  # that this process may run on
    seconds: float

    @property
    def is_shared(self) -> bool:
        return self.others >= SHARED_FROM

    def __str__(self) -> str:
        return f"other processes compute on {self.others:.1f} of {self.cores} core{'s' if self.cores > 1 else ''}"


class UseMeter:
    """Tells who computed since it was made, or since it was last asked.

    A process's own use is its CPU time and that of its children; the rest of what kept its cores busy, and what the
    hypervisor took, is others'. Costs some milliseconds a reading.
    """

    def __init__(self) -> None:
        self._then = self._read()

    def use(self) -> MachineUse:
        """Since the last call, or since it was made."""
        now = self._read()
        use = self._between(self._then, now)
        self._then = now
        return use

    def so_far(self) -> MachineUse:
        """The same, and the time goes on."""
        return self._between(self._then, self._read())

    @staticmethod
    def _between(then: tuple[float, float, float], now: tuple[float, float, float]) -> MachineUse:
        seconds, busy, own = (new - old for new, old in zip(now, then, strict=True))
        others = max(0.0, busy - own) / seconds if seconds > 0 else 0.0
        cores = usable_cores()
        return MachineUse(round(min(others, cores), 2), cores, round(seconds, 2))

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Seconds: of the clock, of busy time of the cores that we may use, of CPU time of our own."""
        import psutil

        times = psutil.cpu_times(percpu=True)
        if hasattr(os, "sched_getaffinity"):
            times = [times[core] for core in os.sched_getaffinity(0) if core < len(times)]
        busy = sum(
            getattr(item, name, 0.0) for item in times for name in ("user", "nice", "system", "irq", "softirq", "steal")
        )
        me = psutil.Process()
        own = 0.0
        for process in (me, *me.children(recursive=True)):
            try:
                own += sum(process.cpu_times()[:4])  # of those that it has waited for, too
            except psutil.Error:  # it ended meanwhile
                continue
        return time.monotonic(), busy, own


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Of Python, of the libraries that every report tells, and of further distributions."""
    from importlib.metadata import PackageNotFoundError, version

    results = {"python": platform.python_version()}
    for name in dict.fromkeys((*LIBRARIES, *more)):
        try:
            results[name] = version(name)
        except PackageNotFoundError:
            results[name] = "not installed"
    return results


def describe_hardware() -> dict[str, object]:
    """Processor, usable cores, memory and operating system of this machine."""
    from edgebert.devices.profiles import load_device

    device = load_device("this-machine")
    return {
        "processor": device.soc,
        "cores": sum(cores.count for cores in device.cores),
        "instructions": list(device.instructions),
        "ram_mb": device.ram_mb,
        "system": platform.platform(),
    }
