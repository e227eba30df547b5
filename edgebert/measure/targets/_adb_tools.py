"""The benchmarks that a phone can run: how they are given, whether the phone could run them, and what they have in common.

Checked against their sources: LiteRT's tflite/tools/benchmark (README.md, benchmark_model.cc, benchmark_tflite_model.cc,
and StatWithPercentiles, which prints the summary) and ONNX Runtime's onnxruntime/test/perftest (README.md,
performance_runner.cc, command_args_parser.cc), and ExecuTorch's examples/portable/executor_runner (executor_runner.cpp).
None has been run on a phone by us.

Each is started once a round, for one file and one input. LiteRT's tool prints no single times, but of three runs it
prints first, last, least and greatest, and of newer versions the median: that is all three. ONNX Runtime's tool writes
each time to a file, ExecuTorch's prints each.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebert.errors import EdgebertError, RequestError
from edgebert.measure.targets import File, Input
from edgebert.measure.targets._adb_client import CommandOutput, last_line

RUNS = 3  # timed in a round: as many as LiteRT's summary tells apart
WARM_SECONDS = 0.2  # of runs that are not counted, before them
MACHINES = {183: "aarch64", 62: "x86-64", 40: "arm (32 bits)", 3: "x86 (32 bits)", 243: "riscv"}  # ELF e_machine


@dataclass(frozen=True)
class Round:
    """What one start of a benchmark told. times_ms: each run, in order."""

    load_ms: float
    first_run_ms: float
    times_ms: tuple[float, ...]
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Tool:
    """A benchmark, how its path is given and where it comes from."""

    name: str
    variable: str  # of the environment: the path of the binary on this machine
    runtime: str
    source: str

    def find(self, machine: str) -> Path:
        """The user's binary. Raises RequestError: not given, missing, or not for Android on `machine`."""
        path = Path(os.environ.get(self.variable, ""))
        if not os.environ.get(self.variable) or not path.is_file():
            what = f"no such file: '{path}'" if os.environ.get(self.variable) else f"no {self.name} for the phone"
            raise RequestError(what, where=self.variable, hint=f"Set it to the path of one. {self.source}")
        check_binary(path, machine, self)
        return path


LITERT = Tool(
    "benchmark_model",
    "EDGEBERT_ANDROID_LITERT",
    "LiteRT",
    "The project google-ai-edge/LiteRT says how to build or get it (tflite/tools/benchmark/README.md, android_arm64).",
)
ONNX = Tool(
    "onnxruntime_perf_test",
    "EDGEBERT_ANDROID_ONNXRUNTIME",
    "ONNX Runtime",
    "The project microsoft/onnxruntime says how to build it (build.sh --android; onnxruntime/test/perftest/README.md); "
    "libonnxruntime.so beside it goes along.",
)
EXECUTORCH = Tool(
    "executor_runner",
    "EDGEBERT_ANDROID_EXECUTORCH",
    "ExecuTorch",
    "The project pytorch/executorch says how to build it for Android (examples/portable/executor_runner, 1.5 or later), with "
    "XNNPACK, the quantized kernels and logging to the terminal: -DEXECUTORCH_BUILD_XNNPACK=ON "
    "-DEXECUTORCH_BUILD_KERNELS_QUANTIZED=ON -DEXECUTORCH_BUILD_KERNELS_OPTIMIZED=ON -DEXECUTORCH_ENABLE_LOGGING=ON "
    "-DEXECUTORCH_PAL_DEFAULT=posix.",
)
TOOLS = {"tflite": LITERT, "onnx": ONNX, "executorch": EXECUTORCH}
MOST_WARM = 100  # runs


def warm_runs(one_ms: float) -> int:
    """How many runs take WARM_SECONDS, at a time of one (0: not known yet)."""
    return min(MOST_WARM, max(2, math.ceil(WARM_SECONDS * 1e3 / one_ms))) if one_ms else 10


def check_binary(path: Path, machine: str, tool: Tool) -> None:
    """Reads the ELF header. Raises RequestError where the phone could not run the file."""
    with path.open("rb") as file:
        head = file.read(8192)
    if head[:4] != b"\x7fELF" or len(head) < 20:
        what = "not a program of Linux or Android"
    elif (result := MACHINES.get(int.from_bytes(head[18:20], "little"), "another machine")) != machine:
        what = f"built for {result}, the phone is {machine}"
    elif b"/ld-linux" in head or b"/ld-musl" in head:
        what = "built for Linux, not for Android"
    else:
        return
    raise RequestError(what, where=f"{tool.variable} ({path})", hint=tool.source)


def ids(row: Input, name: str) -> Sequence[int]:
    """One input of a row. Raises EdgebertError where the row does not have it."""
    if name not in row:
        raise EdgebertError(f"the file reads {name}, which the inputs do not have")
    return row[name][0]


def parent(at: str) -> str:
    """The folder around a folder of the phone."""
    return at.rsplit("/", 1)[0]


def bound(command: str, cores: Sequence[int]) -> str:
    """The command line on these cores only, `taskset MASK sh -c …`; as it is where none are named."""
    if not cores:
        return command
    mask = sum(1 << core for core in set(cores))
    return f"taskset {mask:x} sh -c {shlex.quote(command)}"


def refused(file: File, tool: Tool, description: CommandOutput) -> EdgebertError:
    errors = [
        line.strip() for line in description.text.splitlines() if re.search(r"error|fail|cannot", line, re.IGNORECASE)
    ]
    reason = errors[0] if errors else last_line(description.text)
    return EdgebertError(f"{tool.name} refuses {file.name} (exit code {description.code}): {reason[:300]}")


def not_understood(tool: Tool, description: CommandOutput) -> EdgebertError:
    return EdgebertError(f"{tool.name} printed what is not known of it: {description.text[-500:]!r}")
