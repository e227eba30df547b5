"""LiteRT's benchmark_model on a phone: what it is fed, how it is called, and what it prints."""

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
from edgebert.measure.targets._adb_tools import LITERT, RUNS, WARM_SECONDS, Round, ids, not_understood, parent, refused
from edgebert.runtime.specs import INPUT_IDS, guessed_output, padding_of


@dataclass
class Tflite:
    """A .tflite file of ours. `feeds` writes the inputs, `command` runs one, `read` reads what was printed."""

    file: File
    lengths: tuple[int, ...] = ()
    pad_id: int = 0
    inputs: dict[int, list[str]] = field(default_factory=dict)  # length -> names, as the interpreter sees them
    outputs: dict[int, list[tuple[str, tuple[int, ...]]]] = field(default_factory=dict)

    def open(self) -> None:
        """Reads the file here. Raises EdgebertError: not a file that edgebert wrote."""
        from edgebert.converters import _tflite_file as tflite

        info, model = tflite.read_info(self.file.path), tflite.read_model(self.file.path)
        self.lengths, self.pad_id = tuple(sorted(info["lengths"])), info["pad_id"]
        for signature in model.signatureDefs:
            length, graph = int(_text(signature.signatureKey)[3:]), model.subgraphs[signature.subgraphIndex]
            names = {item.tensorIndex: _text(item.name) for item in (*signature.inputs, *signature.outputs)}
            self.inputs[length] = [names[i] for i in graph.inputs]
            self.outputs[length] = [(names[i], tuple(int(n) for n in graph.tensors[i].shape)) for i in graph.outputs]

    def length(self, row: Input) -> int:
        n = len(row[INPUT_IDS][0])
        if fits := [length for length in self.lengths if n <= length]:
            return fits[0]
        raise EdgebertError(f"an input of {n} tokens is longer than the file takes ({self.lengths[-1]})")

    def feed(self, row: Input, folder: Path) -> None:
        """A file an input: int32, padded to the signature's length."""
        import numpy as np

        length = self.length(row)
        for name in self.inputs[length]:
            padded = np.full(length, padding_of(name, self.pad_id), "<i4")
            padded[: len(row[INPUT_IDS][0])] = ids(row, name)
            (folder / f"{name}.bin").write_bytes(padded.tobytes())

    def command(self, at: str, feed: str, row: Input, threads: int, keep: bool, warm_ms: float) -> str:
        """The command line of one round. With `keep` the outputs of the last run are written to feed/outputs.bin."""
        del warm_ms
        length = self.length(row)
        names = self.inputs[length]
        words = [
            f"{parent(at)}/{LITERT.name}",
            f"--graph={at}/model.tflite",
            f"--signature_to_run_for=seq{length}",
            f"--input_layer={','.join(names)}",
            f"--input_layer_shape={':'.join([f'1,{length}'] * len(names))}",
            f"--input_layer_value_files={','.join(f'{name}:{feed}/{name}.bin' for name in names)}",
            f"--num_threads={threads}",
            f"--num_runs={RUNS}",
            "--min_secs=0",
            "--warmup_runs=2",
            f"--warmup_min_secs={WARM_SECONDS}",
            *([f"--output_filepath={feed}/outputs.bin"] if keep else []),
        ]
        return shlex.join(words)

    def read(self, description: CommandOutput) -> Round:
        """Raises EdgebertError with the text where it is not what the tool is known to print."""
        if description.code:
            raise refused(self.file, LITERT, description)
        timings = re.search(r"Inference timings in us: Init: (\d+), First inference: (\d+),", description.text)
        summaries = re.findall(r"^.*?(count=\d+ .*)$", description.text, re.MULTILINE)
        if not timings or len(summaries) != 2:
            raise not_understood(LITERT, description)
        memory = re.search(
            r"footprint delta from the start of the tool \(MB\): init=\S+ overall=([\d.]+)", description.text
        )
        return Round(
            int(timings[1]) / 1e3,
            int(timings[2]) / 1e3,
            three(summaries[1], description),
            round(float(memory[1]) * 2**20) if memory else None,
        )

    def decode(self, content: bytes, row: Input) -> Mapping[str, Any]:
        """The outputs as nested lists by name, cut to the row's own tokens."""
        import numpy as np

        n, results, at = len(row[INPUT_IDS][0]), {}, 0
        outputs = self.outputs[self.length(row)]
        if len(content) != sum(4 * math.prod(shape) for _, shape in outputs):
            raise EdgebertError(f"{LITERT.name} wrote {len(content)} bytes of outputs, which is not what the file has")
        for name, shape in outputs:
            array = np.frombuffer(content, "<f4", math.prod(shape), at).reshape(shape)
            at += array.nbytes
            results[name] = (array[:, :n] if guessed_output(name, array.ndim).per_token else array).tolist()
        return results


def three(summary: str, description: CommandOutput) -> tuple[float, ...]:
    """The times in ms of RUNS runs, in order, from `count=3 first=… curr=… min=… max=… avg=… std=… [… median=…]`.

    Older versions print no median; then the time between follows from the average, within its six digits.
    """
    values = {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+(?:e[+-]?\d+)?)", summary)}
    if values.get("count") != RUNS or "curr" not in values:
        raise not_understood(LITERT, description)
    if "all same" in summary:
        return (values["curr"] / 1e3,) * RUNS
    if not {"first", "curr", "min", "max", "avg"} <= set(values):
        raise not_understood(LITERT, description)
    least, most = values["min"], values["max"]
    between = values.get("median", min(max(RUNS * values["avg"] - least - most, least), most))
    rest = [least, between, most]
    for item in (values["first"], values["curr"]):
        nearest = min(rest, key=lambda value, entry=item: abs(value - entry))  # type: ignore[misc]
        rest.remove(nearest)
    return tuple(value / 1e3 for value in (values["first"], rest[0], values["curr"]))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
