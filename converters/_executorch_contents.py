"""What a .pte file is made of: weights as the floats that they stand for, and its operators, those inside XNNPACK too.

The program is read by ExecuTorch's own reader, each of XNNPACK's graphs by its schema. Reshapes to computed sizes say those at
run time only, and are told by their name alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.converters import Contents, Operator
from edgebert.runtime.scratch import scratch_folder

FORWARD = "forward"
NOWHERE = 2**32 - 1  # XNNPACK's number of a value that stays inside its graph
# What int8 adds or replaces. A lookup is told by one name, in whatever bits.
ADDED = frozenset({"XNNConvert", "XNNCopy"})
LOOKUPS = {"aten::embedding": 32, "quantized_decomposed::embedding_byte": 8, "quantized_decomposed::embedding_4bit": 4}
FLOATS = {"xnn_datatype_fp32": "<f4", "xnn_datatype_fp16": "<f2"}


def read_program(path: Path) -> Any:
    """ExecuTorch's own PTEFile of a file's bytes."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    return deserialize_pte_binary(path.read_bytes())


def portable_operators(path: Path) -> Iterator[str]:
    """Names of the operators that XNNPACK leaves, one for each call: aten::native_layer_norm.out."""
    plan = _plan(read_program(path))
    for call in _calls(plan):
        if hasattr(call, "op_index"):
            operator = plan.operators[call.op_index]
            yield f"{operator.name}.{operator.overload}" if operator.overload else str(operator.name)


def contents(path: Path) -> Contents:
    """Of a file that edgebert wrote."""
    file = read_program(path)
    plan = _plan(file)
    reader = _Reader(file, plan)
    for call in _calls(plan):
        if hasattr(call, "op_index"):
            reader.kernel(plan, call)
        else:
            reader.delegate(plan, call)
    return Contents(reader.weights, reader.operators, tuple(f"v{i}" for i in plan.outputs))


def _plan(file: Any) -> Any:
    return next(plan for plan in file.program.execution_plan if plan.name == FORWARD)


def _calls(plan: Any) -> Iterator[Any]:
    """Calls of kernels (with `op_index`) and of XNNPACK (with `delegate_index`), in order."""
    for chain in plan.chains:
        for instruction in chain.instructions:
            call = instruction.instr_args
            if hasattr(call, "op_index") or hasattr(call, "delegate_index"):
                yield call


class _Reader:
    """Collects weights and operators over the calls of a program. Weights are numbered as they are read, by their shape: a
    reduced file reads its own in the same order."""

    def __init__(self, file: Any, plan: Any) -> None:
        self.weights: dict[str, np.ndarray] = {}
        self.operators: list[Operator] = []
        self._program, self._named = file.program, file.named_data
        self._schema = _schema()
        self._made = {f"v{i}" for i in plan.inputs}
        self._read: set[str] = set()
        self._seen: Counter[str] = Counter()

    def kernel(self, plan: Any, call: Any) -> None:
        """An operator outside XNNPACK. What it makes are its tensors that nothing made before."""
        name = str(plan.operators[call.op_index].name)
        tensors, numbers = [], []
        for i in call.args:
            value = plan.values[i].val
            kind = type(value).__name__
            if kind == "Tensor":
                tensors.append((i, value))
            elif kind in ("Int", "Double", "Bool"):
                numbers.append(next(iter(vars(value).values())))
        arrays = {i: array for i, value in tensors if (array := self._constant(value)) is not None}
        if name in LOOKUPS:
            table, *scales = arrays.values()
            self._keep(f"v{next(iter(arrays))}", _table(LOOKUPS[name], table, *scales))
            name, numbers = "embedding", []
        else:
            for i, array in arrays.items():
                self._keep(f"v{i}", array)
        free = dict.fromkeys(f"v{i}" for i, _ in tensors if i not in arrays)
        self._add(f"{name} {numbers}", [item for item in free if item in self._made],
                  [item for item in free if item not in self._made])  # fmt: skip

    def delegate(self, plan: Any, call: Any) -> None:
        """Each operator of one of XNNPACK's graphs."""
        delegate = plan.delegates[call.delegate_index]
        blob = bytes(self._program.backend_delegate_data[delegate.processed.index].data)
        graph, constants = _xnnpack_graph(blob, self._schema)
        names: dict[int, str] = {}
        for entry in graph["xvalues"]:
            value = entry["xvalue_union"]
            tensor = value.get("tensor_value", value)
            outside = tensor["external_id"]
            name = f"v{call.args[outside]}" if outside != NOWHERE else f"d{call.delegate_index}.{tensor['id_out']}"
            names[tensor["id_out"]] = name
            if tensor["constant_buffer_idx"]:
                raw = self._bytes(graph["constant_data"][tensor["constant_buffer_idx"]], constants)
                self._keep(name, self._weight(value, tensor, raw, graph, constants))
        for node in graph["xnodes"]:
            fields, kind = node["xnode_union"], node["xnode_union_type"]
            ids = {key: names[i] for key, i in fields.items() if _is_id(key) and i in names}
            rest = {key: value for key, value in fields.items() if not _is_id(key) and key != "flags"}
            told = "" if kind in ADDED else f"{kind} {sorted(rest.items())} {node.get('output_min_max')}"
            self._add(told, [item for key, item in ids.items() if "output" not in key],
                      [item for key, item in ids.items() if "output" in key])  # fmt: skip

    def _add(self, kind: str, inputs: list[str], outputs: list[str]) -> None:
        self._made.update(outputs)
        self.operators.append(Operator(kind, tuple(inputs), tuple(outputs)))

    def _keep(self, name: str, array: np.ndarray) -> None:
        if name in self._read or array.dtype.kind != "f":
            return
        self._read.add(name)
        shape = "x".join(map(str, array.shape))
        self._seen[shape] += 1
        self.weights[f"{shape}, number {self._seen[shape]}"] = array

    def _weight(
        self,
        value: Mapping[str, Any],
        tensor: Mapping[str, Any],
        raw: bytes,
        graph: Mapping[str, Any],
        constants: bytes,
    ) -> np.ndarray:
        """A constant of XNNPACK's as the floats that it stands for."""
        shape, kind = tensor["dims"], tensor["datatype"]
        if kind in FLOATS:
            return np.frombuffer(raw, FLOATS[kind]).astype(np.float32).reshape(shape)
        quantization = value["quant_params"]
        codes = np.frombuffer(raw, np.int8).reshape(shape).astype(np.float32)
        scales = quantization.get("scale") or np.frombuffer(
            self._bytes(graph["constant_data"][quantization["scale_buffer_idx"]], constants), "<f4"
        )
        along = [1] * len(shape)
        along[quantization.get("channel_dim", 0)] = -1
        return np.asarray(codes * np.asarray(scales, np.float32).reshape(along), np.float32)

    def _bytes(self, place: Mapping[str, Any], constants: bytes) -> bytes:
        if key := place.get("named_key"):
            return bytes(self._named.buffers[self._named.pte_data[key].buffer_index])
        return constants[place["offset"] : place["offset"] + place["size"]]

    def _constant(self, tensor: Any) -> np.ndarray | None:
        """Of a tensor outside XNNPACK; None where it is computed."""
        from executorch.exir.scalar_type import ScalarType

        kinds = {ScalarType.FLOAT: "<f4", ScalarType.HALF: "<f2", ScalarType.CHAR: "i1", ScalarType.BYTE: "u1",
                 ScalarType.LONG: "<i8", ScalarType.INT: "<i4", ScalarType.BOOL: "?"}  # fmt: skip
        if not tensor.data_buffer_idx or tensor.allocation_info is not None:
            return None
        raw = bytes(self._program.constant_buffer[tensor.data_buffer_idx].storage)
        array = np.frombuffer(raw, kinds[tensor.scalar_type])
        n = int(np.prod(tensor.sizes, dtype=int))
        return array[:n].reshape(tensor.sizes)


def _table(
    bits: int, codes: np.ndarray, scales: np.ndarray | None = None, zeros: np.ndarray | None = None
) -> np.ndarray:
    """Of a table in float, in 8 bits, or in two codes a byte, the first in the high half, stored plus 8."""
    if scales is None:
        return codes
    if bits == 4:
        codes = np.stack([codes >> 4, codes & 15], axis=-1).reshape(len(codes), -1).astype(np.float32) - 8
    shifted = codes.astype(np.float32) - (0.0 if zeros is None else zeros)
    return np.asarray(shifted * scales, np.float32)


def _is_id(key: str) -> bool:
    return key.endswith("_id")


def _schema() -> bytes:
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import _get_schema_bytes

    return bytes(_get_schema_bytes())


def _xnnpack_graph(blob: bytes, schema: bytes) -> tuple[dict[str, Any], bytes]:
    """The graph as ExecuTorch's schema names it, and the constants that follow it."""
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
    with scratch_folder("xnnpack-") as folder:
        (folder / "schema.fbs").write_bytes(schema)
        first = header.flatbuffer_offset
        (folder / "graph.bin").write_bytes(blob[first : first + header.flatbuffer_size])
        _flatc_decompile(str(folder), str(folder / "schema.fbs"), str(folder / "graph.bin"), ["--raw-binary"])
        graph = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    first = header.constant_data_offset
    return graph, blob[first : first + header.constant_data_size]
