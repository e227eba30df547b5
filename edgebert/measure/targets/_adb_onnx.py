"""onnxruntime_perf_test on a phone: what it is fed, how it is called, and what it prints."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from edgebert.errors import EdgebertError
from edgebert.measure.targets import File, Input
from edgebert.measure.targets._adb_client import CommandOutput, last_line
from edgebert.measure.targets._adb_tools import ONNX, RUNS, Round, ids, not_understood, parent, refused, warm_runs

DTYPES = {6: "int32", 7: "int64"}  # ONNX's number of an element type


@dataclass
class Onnx:
    """An ONNX file, or a folder of model.onnx and its weights. Its tool gives no outputs back."""

    file: File
    inputs: dict[str, str] = field(default_factory=dict)  # name -> dtype

    def open(self) -> None:
        """Reads the graph here. Raises EdgebertError: not ONNX, or inputs that are not ids."""
        import onnx

        from edgebert.converters._onnx_file import graph_file

        try:
            graph = onnx.load(str(graph_file(self.file.path)), load_external_data=False).graph
        except Exception as error:  # protobuf raises whatever it likes
            raise EdgebertError(f"the ONNX file cannot be read: {last_line(str(error))}") from None
        constants = {tensor.name for tensor in graph.initializer}
        kinds = {item.name: item.type.tensor_type.elem_type for item in graph.input if item.name not in constants}
        if other := [name for name, kind in kinds.items() if kind not in DTYPES]:
            raise EdgebertError(f"its inputs {', '.join(other)} are not token ids")
        self.inputs = {name: DTYPES[kind] for name, kind in kinds.items()}

    def feed(self, row: Input, folder: Path) -> None:
        """A test_data_set of the tool: input_0.pb, input_1.pb, …, each a TensorProto with its name."""
        import numpy as np
        from onnx import numpy_helper

        for i, (name, dtype) in enumerate(self.inputs.items()):
            tensor = numpy_helper.from_array(np.asarray([ids(row, name)], dtype), name)
            (folder / f"input_{i}.pb").write_bytes(tensor.SerializeToString())

    def command(self, at: str, feed: str, row: Input, threads: int, keep: bool, warm_ms: float) -> str:
        """One round: the input is put where the tool looks for it, beside the model, and its result file is printed."""
        del row, keep
        results = f"{feed}/times.csv"
        words = ["-e", "cpu", "-m", "times", "-r", str(warm_runs(warm_ms) + RUNS), "-x", str(threads)]
        tool = shlex.join([f"{parent(at)}/{ONNX.name}", *words, f"{at}/model.onnx", results])
        return (
            f"rm -rf {shlex.quote(f'{at}/test_data_set_0')} {shlex.quote(results)}"
            f" && cp -r {shlex.quote(feed)} {shlex.quote(f'{at}/test_data_set_0')}"
            f" && LD_LIBRARY_PATH={shlex.quote(parent(at))} {tool} && {{ cat {shlex.quote(results)}; true; }}"
        )

    def read(self, description: CommandOutput) -> Round:
        """Raises EdgebertError with the text where it is not what the tool is known to print."""
        if description.code:
            raise refused(self.file, ONNX, description)
        load = re.search(r"^Session creation time cost: ([\d.e+-]+) s$", description.out, re.MULTILINE)
        first = re.search(r"^First inference time cost: (\d+) ms$", description.out, re.MULTILINE)
        rows = re.findall(r"^[^,\n]*,([\d.e+-]+),(\d+),-?\d+,(\d+)$", description.out, re.MULTILINE)
        if not load or not first or len(rows) < RUNS or [int(row[2]) for row in rows] != list(range(len(rows))):
            raise not_understood(ONNX, description)
        times = tuple(float(row[0]) * 1e3 for row in rows[-RUNS:])
        return Round(float(load[1]) * 1e3, float(first[1]), times, int(rows[0][1]) or None)
