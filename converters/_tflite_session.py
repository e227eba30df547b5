"""A .tflite file in LiteRT on the CPU, with its XNNPACK delegate or without."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters._tflite_file import AGAIN, INFO, LABELS, TOKENIZER, Info, read_files, read_info
from edgebert.devices.machine import usable_cores
from edgebert.errors import EdgebertError, first_line, name_list
from edgebert.runtime.quiet import quiet
from edgebert.runtime.session import Batch, check_inputs, check_labels
from edgebert.runtime.specs import OutputSpec, file_outputs, padding_of

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter, SignatureRunner


class TfliteSession:
    """A file that edgebert wrote, ready to run row by row. threads 0 means all cores.

    `delegate=False` leaves all to LiteRT's built-in kernels, as builds and processors without XNNPACK do.

    A row runs in the smallest signature that takes it, padded with the file's pad id and a mask of 0, and its outputs
    are cut back.

    Raises:
        EdgebertError: not such a file, or LiteRT refuses it.
    """

    runtime: str = "ai_edge_litert"

    def __init__(self, path: Path, threads: int, *, delegate: bool = True) -> None:
        from importlib.metadata import version

        self.path, self.info = path, read_info(path)
        files = read_files(path)
        check_inputs(self.info["inputs"], str(path))
        text = files.get(LABELS, b"").decode(errors="replace")
        self.labels: tuple[str, ...] = check_labels(text.split("\n")[:-1], str(path))
        self.lengths: tuple[int, ...] = tuple(self.info["lengths"])
        self.metadata: Mapping[str, object] = {
            "precision": self.info["precision"],
            "pad_id": self.info["pad_id"],
            "max_length": max(self.lengths),
            **({"tokenizer_sha256": hashlib.sha256(files[TOKENIZER]).hexdigest()} if TOKENIZER in files else {}),
        }
        self.runtime_version = version("ai-edge-litert")
        self._interpreter = _interpreter(path, threads or usable_cores(), delegate)
        _check_signatures(self._interpreter.get_signature_list(), self.info, path)
        self._runners: dict[int, SignatureRunner] = {}

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Float32 outputs by name; see `edgebert.converters.Runner`."""
        n_rows, n_tokens = batch[self.info["inputs"][0]].shape
        length = self._length_for(n_tokens)
        runner = self._runner(length)
        results: dict[str, list[np.ndarray]] = {name: [] for name in self.info["outputs"]}
        for i in range(n_rows):
            fed = {name: self._padded(name, batch[name][i], length) for name in self.info["inputs"]}
            try:
                result = runner(**fed)
            except (RuntimeError, ValueError) as error:
                raise EdgebertError(f"LiteRT cannot run the row: {first_line(error)}", where=str(self.path)) from None
            for name in results:
                results[name].append(result[name])
        per_token = {spec.name: spec.per_token for spec in self.output_specs}
        return {name: _cut(per_token[name], np.concatenate(rows), n_tokens) for name, rows in results.items()}

    @cached_property
    def output_specs(self) -> tuple[OutputSpec, ...]:
        return file_outputs(*self.signature())

    def signature(self) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """Inputs and outputs as the file has them. A length that differs by signature reads "32|64|128"."""
        runners = [self._runner(length) for length in self.lengths]
        inputs = [runner.get_input_details() for runner in runners]
        outputs = [runner.get_output_details() for runner in runners]
        return (
            [_entry(name, [result[name] for result in inputs]) for name in self.info["inputs"]],
            [_entry(name, [output[name] for output in outputs]) for name in self.info["outputs"]],
        )

    def _length_for(self, n_tokens: int) -> int:
        for length in self.lengths:
            if n_tokens <= length:
                return length
        raise EdgebertError(
            f"a row of {n_tokens} tokens is longer than the file takes, its lengths are "
            + ", ".join(str(length) for length in self.lengths),
            where=str(self.path),
            hint="Cut the row into windows, or convert again with a longer length.",
        )

    def _runner(self, length: int) -> SignatureRunner:
        if length not in self._runners:
            self._runners[length] = self._interpreter.get_signature_runner(f"seq{length}")
        return self._runners[length]

    def _padded(self, name: str, row: np.ndarray, length: int) -> np.ndarray:
        padded = np.full((1, length), padding_of(name, self.info["pad_id"]), np.int32)
        padded[0, : len(row)] = row
        return padded


def delegated(path: Path) -> tuple[Counter[str], Counter[str]]:
    """Operators of the shortest signature that LiteRT's XNNPACK delegate takes on this machine, and those it leaves.

    Read from the runtime itself, after it has prepared the graph: an operator is inside the delegate when its results
    are needed for the delegate's outputs and come after the delegate's inputs.
    """
    interpreter = _interpreter(path, 1)
    operators = interpreter._get_ops_details()
    producers = {int(i): op for op in operators if op["op_name"] != "DELEGATE" for i in op["outputs"]}
    inside: dict[int, str] = {}
    for node in (op for op in operators if op["op_name"] == "DELEGATE"):
        known, wanted = {int(i) for i in node["inputs"]}, [int(i) for i in node["outputs"]]
        while wanted:
            tensor = wanted.pop()
            operator = None if tensor in known else producers.get(tensor)
            if operator is not None and operator["index"] not in inside:
                inside[operator["index"]] = operator["op_name"]
                wanted += [int(i) for i in operator["inputs"]]
    left = Counter(op["op_name"] for op in operators if op["op_name"] != "DELEGATE" and op["index"] not in inside)
    return Counter(inside.values()), left


def _interpreter(path: Path, threads: int, delegate: bool = True) -> Interpreter:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    try:
        with quiet(capture=True):  # it announces its delegate
            interpreter = Interpreter(model_path=str(path), num_threads=threads, experimental_op_resolver_type=kind)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise EdgebertError(f"LiteRT refuses the file: {first_line(error)}", where=str(path)) from None
    return interpreter


def _check_signatures(signatures: Mapping[str, Mapping[str, Sequence[str]]], info: Info, path: Path) -> None:
    """Raises EdgebertError where the model has not the lengths, inputs and outputs that the file says of it."""
    for length in info["lengths"]:
        own = signatures.get(f"seq{length}")
        if own is None:
            what = f"{INFO} names the length {length}, of which the model has no signature"
            raise EdgebertError(what, where=str(path), hint=AGAIN)
        for side in ("inputs", "outputs"):
            if sorted(own[side]) != sorted(info[side]):
                what = f"{INFO} says that the {side} are {name_list(info[side])}, they are {name_list(own[side])}"
                raise EdgebertError(what, where=str(path), hint=AGAIN)


def _entry(name: str, details: list[dict[str, np.ndarray]]) -> dict[str, object]:
    sizes = zip(*(detail["shape"].tolist() for detail in details), strict=True)
    shape = [size[0] if len(set(size)) == 1 else "|".join(map(str, size)) for size in sizes]
    return {"name": name, "type": np.dtype(details[0]["dtype"]).name, "shape": shape}


def _cut(per_token: bool, output: np.ndarray, n_tokens: int) -> np.ndarray:
    """Only what belongs to the row's own tokens."""
    return np.ascontiguousarray(output[:, :n_tokens] if per_token else output, np.float32)
