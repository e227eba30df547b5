"""ExecuTorch's executor_runner on a phone: what it is fed, how it is called, and what it prints."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgebert.errors import EdgebertError
from edgebert.measure.targets import File, Input
from edgebert.measure.targets._adb_client import CommandOutput
from edgebert.measure.targets._adb_tools import EXECUTORCH, RUNS, Round, ids, not_understood, parent, refused, warm_runs
from edgebert.runtime.specs import INPUT_IDS


@dataclass
class Executorch:
    """A .pte file of ours. Its tool writes each output to a file of its own, which the command line joins."""

    file: File
    inputs: list[str] = field(default_factory=list)
    outputs: dict[str, list[Any]] = field(default_factory=dict)  # name -> sizes; "seq" is the row's own length
    most: int = 0

    def open(self) -> None:
        """Reads the file here. Raises EdgebertError: not a file that edgebert wrote."""
        from edgebert.converters.executorch import ExecutorchSession

        session = ExecutorchSession(self.file.path, 1)
        inputs, outputs = session.signature()
        self.inputs = [str(item["name"]) for item in inputs]
        self.outputs = {str(item["name"]): list(item["shape"]) for item in outputs}  # type: ignore[call-overload]
        self.most = int(session.metadata["max_length"])  # type: ignore[call-overload]

    def feed(self, row: Input, folder: Path) -> None:
        """A file an input: int64, as long as the longest row that the file takes; the tool ignores what is over."""
        import numpy as np

        n = len(row[INPUT_IDS][0])
        if n > self.most:
            raise EdgebertError(f"an input of {n} tokens is longer than the file takes ({self.most})")
        for name in self.inputs:
            padded = np.zeros(self.most, "<i8")
            padded[:n] = ids(row, name)
            (folder / f"{name}.bin").write_bytes(padded.tobytes())

    def command(self, at: str, feed: str, row: Input, threads: int, keep: bool, warm_ms: float) -> str:
        """The command line of one round. With `keep` the outputs of the last run are written to feed/outputs.bin."""
        n = len(row[INPUT_IDS][0])
        words = [
            f"{parent(at)}/{EXECUTORCH.name}",
            f"--model_path={at}/model.executorch",
            f"--inputs={','.join(f'{feed}/{name}.bin' for name in self.inputs)}",
            f"--input_shapes={','.join([f'1x{n}'] * len(self.inputs))}",
            "--method_name=forward",
            f"--num_executions={warm_runs(warm_ms) + RUNS}",
            f"--cpu_threads={threads}",
            "--print_output=none",
            *([f"--output_file={feed}/output"] if keep else []),
        ]
        joined = " ".join(shlex.quote(f"{feed}/output-{i}.bin") for i in range(len(self.outputs)))
        return shlex.join(words) + (f" && cat {joined} > {shlex.quote(f'{feed}/outputs.bin')}" if keep else "")

    def read(self, description: CommandOutput) -> Round:
        """Raises EdgebertError with the text where it is not what the tool is known to print."""
        if description.code:
            raise refused(self.file, EXECUTORCH, description)
        load = re.search(r"Model loaded in ([\d.]+) ms", description.text)
        times = [float(ms) for ms in re.findall(r"Iteration \d+ of \d+: ([\d.]+) ms", description.text)]
        if not load or len(times) <= RUNS:
            raise not_understood(EXECUTORCH, description)
        return Round(float(load[1]), times[0], tuple(times[-RUNS:]), None)

    def decode(self, content: bytes, row: Input) -> Mapping[str, Any]:
        """The outputs as nested lists by name."""
        import numpy as np

        n, results, at = len(row[INPUT_IDS][0]), {}, 0
        shapes = {name: [n if size == "seq" else int(size) for size in sizes] for name, sizes in self.outputs.items()}
        if len(content) != sum(4 * math.prod(shape) for shape in shapes.values()):
            what = f"{EXECUTORCH.name} wrote {len(content)} bytes of outputs, which is not what the file has"
            raise EdgebertError(what)
        for name, shape in shapes.items():
            array = np.frombuffer(content, "<f4", math.prod(shape), at).reshape(shape)
            at += array.nbytes
            results[name] = array.tolist()
        return results
