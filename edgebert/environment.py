"""What a run was made with: versions and hardware, for the manifest and the report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

LIBRARIES = (
    "edgebert", "torch", "transformers", "accelerate", "tokenizers", "datasets", "onnx", "onnxruntime", "numpy", "seqeval",
)  # fmt: skip


def describe_environment() -> dict[str, Any]:
    """Versions of everything that a number depends on, and the hardware."""
    return {"versions": _versions(), "hardware": describe_hardware()}


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe_hardware() -> dict[str, Any]:
    """Processor, usable cores, memory and operating system of this machine."""
    from edgebert.devices import load_device

    device = load_device("this-machine")
    return {
        "processor": device.soc,
        "cores": sum(cores.count for cores in device.cores),
        "instructions": list(device.instructions),
        "ram_mb": device.ram_mb,
        "system": platform.platform(),
    }
