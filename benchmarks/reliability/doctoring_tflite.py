"""Changes to .tflite files of BERT's kind, float32 or int8: each makes a file that loads, runs and is wrong in one thing.

Every change takes a `Doctored` and alters it in place, in all signatures unless its name says otherwise. Names of tensors
are those that `edgebert.converters._tflite_names` leaves: `encoder/1/attention/self`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.converters import _tflite_file as file

KINDS = {0: "<f4", 2: "<i4", 9: "i1"}  # of the schema's TensorType: those that our int8 and float32 files store
QUERY, KEY, VALUE, MIXED, INNER, OUTER = range(6)  # a layer's products, in the order in which they stand


@dataclass
class Doctored:
    """A file in memory: the flatbuffer as an object, and what lies behind it by name."""

    model: Any
    files: dict[str, bytes]

    @property
    def graphs(self) -> list[Any]:
        return list(self.model.subgraphs)

    def operators(self, graph: Any) -> list[tuple[str, Any]]:
        return list(zip(file.operator_names(self.model, graph), graph.operators, strict=True))

    def name(self, graph: Any, i: int) -> str:
        return str(graph.tensors[i].name.decode())

    def find(self, graph: Any, kind: str, mark: str, *, number: int = 0) -> Any:
        """An operator of a kind whose result's name holds a mark."""
        found = [op for name, op in self.operators(graph) if name == kind and mark in self.name(graph, op.outputs[0])]
        if len(found) <= number:
            raise LookupError(f"no {kind} {mark}")
        return found[number]

    def products(self, graph: Any, layer: int) -> list[Any]:
        """The six of a layer."""
        return [
            op
            for name, op in self.operators(graph)
            if name == "FULLY_CONNECTED" and f"encoder/{layer}/" in self.name(graph, op.outputs[0])
        ]

    # ------------------------------------------------------------ stored values

    def array(self, tensor: Any) -> np.ndarray:
        data = self.model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            raise LookupError("it is computed")
        return np.frombuffer(bytes(data), KINDS[tensor.type]).reshape([int(n) for n in tensor.shape]).copy()

    def put(self, tensor: Any, array: np.ndarray) -> None:
        created = np.ascontiguousarray(array.astype(KINDS[tensor.type]))
        self.model.buffers[tensor.buffer].data = np.frombuffer(created.tobytes(), np.uint8)

    def spoil(self, pick: Callable[[Any], Any], make: Callable[[np.ndarray], np.ndarray]) -> None:
        """Stored numbers of the tensor that `pick` finds in each graph, once each buffer."""
        seen = set()
        for graph in self.graphs:
            tensor = pick(graph)
            if tensor.buffer not in seen:
                seen.add(tensor.buffer)
                self.put(tensor, make(self.array(tensor)))

    def scale(self, pick: Callable[[Any], Any], make: Callable[[np.ndarray], np.ndarray]) -> None:
        """Scales of a weight in 8 bits, in every graph; of a float one its values. Raises LookupError where nothing changes, as
        of rows of a table with one scale."""
        for graph in self.graphs:
            tensor = pick(graph)
            if scaled(tensor):
                old = np.array(tensor.quantization.scale, np.float32)
                tensor.quantization.scale = make(old.copy())
                if np.array_equal(tensor.quantization.scale, old):
                    raise LookupError("it has one scale")
        if not scaled(pick(self.graphs[0])):
            self.spoil(pick, make)

    def weight(self, layer: int, place: int) -> Callable[[Any], Any]:
        return lambda graph: graph.tensors[self.products(graph, layer)[place].inputs[1]]

    def bias(self, layer: int, place: int) -> Callable[[Any], Any]:
        return lambda graph: graph.tensors[self.products(graph, layer)[place].inputs[2]]

    def table(self, mark: str) -> Callable[[Any], Any]:
        """Of words, positions or segments."""
        return lambda graph: graph.tensors[self.find(graph, "EMBEDDING_LOOKUP", f"{mark}_embeddings").inputs[1]]

    def rows(self, mark: str, order: Callable[[int], np.ndarray]) -> None:
        """Rows of a table, with their scales, in another order."""
        pick = self.table(mark)
        at = order(int(pick(self.graphs[0]).shape[0]))
        for graph in self.graphs:
            tensor = pick(graph)
            if scaled(tensor) and len(tensor.quantization.scale) > 1:
                tensor.quantization.scale = np.array(tensor.quantization.scale, np.float32)[at]
        self.spoil(pick, lambda a: a[at])

    def every_weight(self) -> Iterator[Callable[[Any], Any]]:
        for layer in range(3):
            for place in range(6):
                yield self.weight(layer, place)

    # ------------------------------------------------------------ the graph

    def constant(self, graph: Any, array: np.ndarray) -> int:
        """A new tensor with this value."""
        from ai_edge_litert import schema_py_generated as schema

        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        kind = {np.dtype(np.float32): 0, np.dtype(np.int32): 2}[array.dtype]
        return self.tensor(graph, array.shape, kind, len(self.model.buffers) - 1)

    def tensor(self, graph: Any, shape: Any, kind: int = 0, buffer: int = 0) -> int:
        from ai_edge_litert import schema_py_generated as schema

        created = schema.TensorT()
        created.shape, created.type, created.buffer = [int(n) for n in shape], kind, buffer
        created.name = f"doctored/{len(graph.tensors)}".encode()
        graph.tensors.append(created)
        return len(graph.tensors) - 1

    def reread(self, graph: Any, old: int, new: int, *, but: Any = None) -> None:
        """Whoever read tensor `old` reads `new`; the graph's results too."""
        for _, operator in self.operators(graph):
            if operator is not but:
                operator.inputs = [new if int(i) == old else int(i) for i in operator.inputs]
        graph.outputs = [new if int(i) == old else int(i) for i in graph.outputs]
        for item in self.model.signatureDefs:
            if self.model.subgraphs[item.subgraphIndex] is graph:
                for port in item.outputs:
                    port.tensorIndex = new if port.tensorIndex == old else port.tensorIndex

    def code(self, kind: str) -> int:
        """Number of an operator's code, added where the file has none."""
        from ai_edge_litert import schema_py_generated as schema

        number = getattr(schema.BuiltinOperator, kind)
        for i, item in enumerate(self.model.operatorCodes):
            if max(item.builtinCode, item.deprecatedBuiltinCode) == number:
                return i
        created = schema.OperatorCodeT()
        created.builtinCode = created.deprecatedBuiltinCode = number
        created.version = 1
        self.model.operatorCodes.append(created)
        return len(self.model.operatorCodes) - 1

    def insert(self, graph: Any, kind: str, inputs: list[int], like: int, after: Any | None = None) -> int:
        """An operator with a result of the shape of `like`, behind `after` or at the end: its result."""
        from ai_edge_litert import schema_py_generated as schema

        created = schema.OperatorT()
        created.opcodeIndex, created.inputs = self.code(kind), inputs
        created.outputs = [self.tensor(graph, graph.tensors[like].shape)]
        options = getattr(schema, {"MUL": "MulOptionsT", "ADD": "AddOptionsT"}.get(kind, ""), None)
        if options is not None:
            created.builtinOptions = options()
            created.builtinOptionsType = getattr(schema.BuiltinOptions, options.__name__.removesuffix("T"))
        at = graph.operators.index(after) + 1 if after is not None else len(graph.operators)
        graph.operators.insert(at, created)
        return int(created.outputs[0])


def scaled(tensor: Any) -> bool:
    scheme = tensor.quantization
    return scheme is not None and scheme.scale is not None and len(scheme.scale) > 0


Change = Callable[[Doctored], None]
CHANGES: dict[str, Change] = {}


def change(name: str) -> Callable[[Change], Change]:
    def register(function: Change) -> Change:
        CHANGES[name] = function
        return function

    return register


def doctored(path: Path, name: str, folder: Path) -> Path:
    """The file with a change. Raises LookupError where it has nothing that could be changed so."""
    item = Doctored(file.read_model(path), dict(file.read_files(path)))
    CHANGES[name](item)
    created = folder / "model.tflite"
    file.write(created, item.model, item.files)
    return created


# ---------------------------------------------------------------- the mask


def _bias(it: Doctored, graph: Any) -> tuple[Any, int]:
    """What multiplies the mask turned round, and the place of its factor."""
    operator = next(
        op for name, op in it.operators(graph) if name == "MUL" and _is_number(it, graph, op.inputs[1], -1e4)
    )
    return operator, int(operator.inputs[1])


def _is_number(it: Doctored, graph: Any, i: int, value: float) -> bool:
    tensor = graph.tensors[i]
    try:
        array = it.array(tensor)
    except (LookupError, KeyError):
        return False
    return array.size == 1 and float(array.ravel()[0]) == value


def _factor(value: float) -> Change:
    def alter(it: Doctored) -> None:
        for graph in it.graphs:
            operator, _ = _bias(it, graph)
            operator.inputs = [operator.inputs[0], it.constant(graph, np.full((), value, np.float32))]

    return alter


CHANGES["mask: ignored"] = _factor(0)
CHANGES["mask: sign of the bias turned"] = _factor(1e4)
CHANGES["mask: a bias of -1 in place of -10,000"] = _factor(-1)


@change("mask: inverted")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        operator, factor = _bias(it, graph)
        turned = next(op for _, op in it.operators(graph) if operator.inputs[0] in list(op.outputs))
        operator.inputs = [turned.inputs[1], factor]


@change("mask: left out in one layer")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        softmax = it.find(graph, "SOFTMAX", "", number=1)
        masked = next(op for _, op in it.operators(graph) if softmax.inputs[0] in list(op.outputs))
        masked.inputs = [masked.inputs[0], it.constant(graph, np.zeros((1, 1, 1, 1), np.float32))]


@change("mask: ignored in the second signature alone")
def _(it: Doctored) -> None:
    operator, _ = _bias(it, it.graphs[1])
    operator.inputs = [operator.inputs[0], it.constant(it.graphs[1], np.zeros((), np.float32))]


# ---------------------------------------------------------------- tables


def _zero(mark: str, which: Callable[[np.ndarray, int], np.ndarray]) -> Change:
    """Rows of a table zero: those whose number, of so many, `which` says."""
    return lambda it: it.spoil(it.table(mark), lambda a: np.where(which(np.arange(len(a)), len(a))[:, None], 0, a))


def _rows(mark: str, order: Callable[[int], np.ndarray]) -> Change:
    return lambda it: it.rows(mark, order)


CHANGES["positions: zero from 16 on"] = _zero("position", lambda i, n: i >= 16)
CHANGES["positions: zero from 48 on"] = _zero("position", lambda i, n: i >= 48)
CHANGES["positions: shifted by one"] = _rows("position", lambda n: np.roll(np.arange(n), 1))
CHANGES["positions: the first 16 reversed"] = _rows("position", lambda n: np.r_[np.arange(16)[::-1], np.arange(16, n)])
CHANGES["positions: two change places"] = _rows("position", lambda n: np.r_[np.arange(20), 21, 20, np.arange(22, n)])
CHANGES["segments: second one zero"] = _zero("token_type", lambda i, n: i == 1)
CHANGES["segments: both zero"] = _zero("token_type", lambda i, n: i >= 0)
CHANGES["words: shifted by one"] = _rows("word", lambda n: np.roll(np.arange(n), 1))
CHANGES["words: two rare rows change places"] = _rows(
    "word", lambda n: np.r_[np.arange(n - 12), n - 5, np.arange(n - 11, n - 5), n - 12, np.arange(n - 4, n)]
)
CHANGES["words: rows from two thirds on zero"] = _zero("word", lambda i, n: i >= n * 2 // 3)
CHANGES["words: table cut, the last row repeated"] = _rows("word", lambda n: np.minimum(np.arange(n), n * 9 // 10))


@change("positions: looked up one later")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        lookup = it.find(graph, "EMBEDDING_LOOKUP", "position_embeddings")
        most = int(graph.tensors[lookup.inputs[1]].shape[0]) - 1
        it.put(graph.tensors[lookup.inputs[0]], np.minimum(it.array(graph.tensors[lookup.inputs[0]]) + 1, most))


def _bad_rows(value: float, at: slice) -> Change:
    def make(a: np.ndarray) -> np.ndarray:
        a[at] = value
        return a

    return lambda it: it.scale(it.table("word"), make)


CHANGES["words: NaN in rows that no text reads"] = _bad_rows(float("nan"), slice(200, 210))
CHANGES["words: infinity in a rare row"] = _bad_rows(float("inf"), slice(-20, -19))


@change("words: scales of a hundred rare rows tripled")
def _(it: Doctored) -> None:
    def make(a: np.ndarray) -> np.ndarray:
        a[28001:28101] *= 3
        return a

    it.scale(it.table("word"), make)


# ---------------------------------------------------------------- layers


def _weight(layer: int, place: int, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda it: it.spoil(it.weight(layer, place), make)


CHANGES["layer: feed-forward of the last zero"] = _weight(2, OUTER, lambda a: a * 0)
CHANGES["layer: feed-forward of the first zero"] = _weight(0, OUTER, lambda a: a * 0)


def _states(it: Doctored, graph: Any, layer: int) -> list[int]:
    """What a layer gives on: its normed states without gain, and with it."""
    mark = f"encoder/{layer}/output/LayerNorm"
    plain = it.find(graph, "ADD", mark, number=1)
    gain = next(op for name, op in it.operators(graph) if name == "MUL" and plain.outputs[0] in list(op.inputs))
    last = next(op for name, op in it.operators(graph) if name == "ADD" and gain.outputs[0] in list(op.inputs))
    return [int(plain.outputs[0]), int(last.outputs[0])]


@change("layer: one is skipped")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        before, after = _states(it, graph, 0), _states(it, graph, 1)
        gain = next(op for name, op in it.operators(graph) if name == "MUL" and after[0] in list(op.inputs))
        for new, old in zip(before, after, strict=True):
            it.reread(graph, old, new, but=gain)


@change("layer: one runs twice")
def _(it: Doctored) -> None:
    for place in range(6):
        for kind in ("weight", "bias"):
            source, target = getattr(it, kind)(0, place), getattr(it, kind)(1, place)
            for graph in it.graphs:
                if scaled(source(graph)):
                    target(graph).quantization.scale = np.array(source(graph).quantization.scale, np.float32)
            it.put(target(it.graphs[0]), it.array(source(it.graphs[0])))


@change("attention: Softmax twice as sharp")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        it.find(graph, "SOFTMAX", "", number=1).builtinOptions.beta = 2.0


@change("attention: no scaling by the root of the width")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        operator = next(
            op for name, op in it.operators(graph)
            if name == "MUL" and "encoder/1/attention/self" in it.name(graph, op.outputs[0])
        )  # fmt: skip
        operator.inputs = [operator.inputs[0], it.constant(graph, np.ones((), np.float32))]


CHANGES["attention: a head zero"] = _weight(1, VALUE, lambda a: np.where(np.arange(len(a))[:, None] < 32, 0, a))


@change("attention: two heads change places")
def _(it: Doctored) -> None:
    order = np.r_[32:64, 0:32, 64:384]
    it.spoil(it.weight(1, VALUE), lambda a: a[order])
    for graph in it.graphs:
        tensor = it.weight(1, VALUE)(graph)
        if scaled(tensor) and len(tensor.quantization.scale) == len(order):
            tensor.quantization.scale = np.array(tensor.quantization.scale, np.float32)[order]


@change("attention: queries and keys change places")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        query, key = it.products(graph, 1)[QUERY], it.products(graph, 1)[KEY]
        query.outputs, key.outputs = key.outputs, query.outputs


@change("attention: value bias zero")
def _(it: Doctored) -> None:
    it.spoil(it.bias(1, VALUE), lambda a: a * 0)


@change("norm: epsilon 1e-2")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        root = it.find(graph, "RSQRT", "LayerNorm")
        added = next(op for _, op in it.operators(graph) if root.inputs[0] in list(op.outputs))
        it.put(graph.tensors[added.inputs[1]], np.full((), 1e-2, np.float32))


def _gain(make: Callable[[np.ndarray], np.ndarray]) -> Change:
    def alter(it: Doctored) -> None:
        for graph in it.graphs:
            plain = _states(it, graph, 1)[0]
            operator = next(op for name, op in it.operators(graph) if name == "MUL" and plain in list(op.inputs))
            place = next(i for i in operator.inputs if i != plain)
            value = make(it.array(graph.tensors[place]))
            operator.inputs = [plain, it.constant(graph, value.astype(np.float32))]

    return alter


CHANGES["norm: gain of one zero"] = _gain(lambda a: a * 0)
CHANGES["norm: gain of one 1"] = _gain(np.ones_like)


@change("activation: ReLU for GELU")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        for kind, operator in it.operators(graph):
            if kind == "GELU":
                operator.opcodeIndex, operator.builtinOptions, operator.builtinOptionsType = it.code("RELU"), None, 0


@change("activation: GELU by tanh")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        for kind, operator in it.operators(graph):
            if kind == "GELU":
                operator.builtinOptions.approximate = True


@change("activation: ReLU behind a product")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        it.products(graph, 1)[MIXED].builtinOptions.fusedActivationFunction = 1


# ---------------------------------------------------------------- weights


def _scales(factor: float) -> Change:
    def alter(it: Doctored) -> None:
        for pick in it.every_weight():
            it.scale(pick, lambda a: factor * a)

    return alter


CHANGES["weights: all scales +30 %"] = _scales(1.3)
CHANGES["weights: all scales +5 %"] = _scales(1.05)
CHANGES["weights: scales of one +30 %"] = lambda it: it.scale(it.weight(1, KEY), lambda a: 1.3 * a)
CHANGES["weights: sign of one turned"] = _weight(1, MIXED, lambda a: np.negative(a, dtype=np.float32))
CHANGES["weights: one transposed"] = _weight(1, QUERY, lambda a: a.T)


@change("weights: scales of one +30 % in the second signature alone")
def _(it: Doctored) -> None:
    tensor = it.weight(1, KEY)(it.graphs[1])
    if not scaled(tensor):
        raise LookupError("float32 has no scales")
    tensor.quantization.scale = np.array(tensor.quantization.scale, np.float32) * np.float32(1.3)


@change("weights: a bit of one byte in a thousand turned")
def _(it: Doctored) -> None:
    def make(a: np.ndarray) -> np.ndarray:
        flat = a.ravel().copy()
        at = np.random.default_rng(0).choice(flat.size, flat.size // 1000, replace=False)
        flat[at] = (flat[at].view(np.uint8) ^ 0x40).view(np.int8) if a.dtype == np.int8 else -2 * flat[at]
        return flat.reshape(a.shape)

    for pick in it.every_weight():
        it.spoil(pick, make)


@change("weights: products rounded to 3 bits")
def _(it: Doctored) -> None:
    def make(a: np.ndarray) -> np.ndarray:
        step = np.abs(a.astype(np.float32)).max(1, keepdims=True) / 3
        return np.asarray(np.rint(a / np.where(step == 0, 1, step)) * step)

    for pick in it.every_weight():
        it.spoil(pick, make)


@change("weights: zero points shifted by 3")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        for layer in range(3):
            tensor = it.weight(layer, VALUE)(graph)
            if not scaled(tensor):
                raise LookupError("float32 has none")
            tensor.quantization.zeroPoint = np.full(len(tensor.quantization.scale), 3, np.int64)


# ---------------------------------------------------------------- outputs


def _results(it: Doctored) -> Iterator[tuple[Any, int]]:
    for graph in it.graphs:
        for output in list(graph.outputs):
            yield graph, int(output)


def _scaled(factor: float, shift: float = 0.0) -> Change:
    def alter(it: Doctored) -> None:
        for graph, output in _results(it):
            times = it.insert(graph, "MUL", [output, it.constant(graph, np.full((), factor, np.float32))], output)
            plus = it.insert(graph, "ADD", [times, it.constant(graph, np.full((), shift, np.float32))], output)
            first = graph.operators[-2]
            it.reread(graph, output, plus, but=first)

    return alter


CHANGES["outputs: doubled"] = _scaled(2)
CHANGES["outputs: halved"] = _scaled(0.5)
CHANGES["outputs: 15 % larger"] = _scaled(1.15)
CHANGES["outputs: half a unit added"] = _scaled(1, 0.5)
CHANGES["outputs: negated"] = _scaled(-1)
CHANGES["outputs: almost constant"] = _scaled(0.01)


def _columns(make: Callable[[int], np.ndarray]) -> Change:
    """Columns of the one output times these factors."""

    def alter(it: Doctored) -> None:
        for graph, output in _results(it):
            width = int(graph.tensors[output].shape[-1])
            if width < 2 or len(graph.outputs) > 1:
                raise LookupError("one column")
            factors = it.constant(graph, make(width).astype(np.float32))
            created = it.insert(graph, "MUL", [output, factors], output)
            it.reread(graph, output, created, but=graph.operators[-1])

    return alter


CHANGES["outputs: a column zero"] = _columns(lambda n: np.arange(n) != 1)
CHANGES["outputs: a column negated"] = _columns(lambda n: np.where(np.arange(n) == 1, -1, 1))


def _head(it: Doctored, graph: Any) -> Any:
    """The last product, which gives the scores."""
    operator = [op for name, op in it.operators(graph) if name == "FULLY_CONNECTED"][-1]
    if "encoder" in it.name(graph, operator.outputs[0]):
        raise LookupError("no head")
    return operator


@change("outputs: two columns change places")
def _(it: Doctored) -> None:
    for place in (1, 2):
        tensor = it.graphs[0].tensors[_head(it, it.graphs[0]).inputs[place]]
        if len(it.array(tensor)) < 2:
            raise LookupError("one column")
        order = np.r_[1, 0, 2 : int(tensor.shape[0])]
        it.put(tensor, it.array(tensor)[order])
        for graph in it.graphs:
            own = graph.tensors[_head(it, graph).inputs[place]]
            if scaled(own) and len(own.quantization.scale) > 1:
                own.quantization.scale = np.array(own.quantization.scale, np.float32)[order]


@change("outputs: start and end change places")
def _(it: Doctored) -> None:
    for item in it.model.signatureDefs:
        if len(item.outputs) < 2:
            raise LookupError("one output")
        first, second = item.outputs[:2]
        first.tensorIndex, second.tensorIndex = second.tensorIndex, first.tensorIndex


@change("inputs: mask and segments change places")
def _(it: Doctored) -> None:
    for item in it.model.signatureDefs:
        by_name = {port.name: port for port in item.inputs}
        mask, types = by_name[b"attention_mask"], by_name[b"token_type_ids"]
        mask.tensorIndex, types.tensorIndex = types.tensorIndex, mask.tensorIndex


@change("head: bias zero")
def _(it: Doctored) -> None:
    it.spoil(lambda graph: graph.tensors[_head(it, graph).inputs[2]], lambda a: a * 0)


@change("head: pooler's tanh left out")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        tanh = it.find(graph, "TANH", "pooler")
        it.reread(graph, int(tanh.outputs[0]), int(tanh.inputs[0]), but=tanh)


@change("head: reads the second token")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        it.put(graph.tensors[it.find(graph, "SLICE", "pooler").inputs[1]], np.array([0, 1, 0]))


@change("pooling: padding is counted")
def _(it: Doctored) -> None:
    for graph in it.graphs:
        total = next((op for name, op in it.operators(graph) if name == "SUM"), None)
        if total is None:
            raise LookupError("no pooling")
        weights = int(total.inputs[0])
        ones = it.constant(graph, np.ones([int(n) for n in graph.tensors[weights].shape], np.float32))
        it.reread(graph, weights, ones)


# ---------------------------------------------------------------- what lies behind the model


def _labels(make: Callable[[list[str]], list[str]]) -> Change:
    def alter(it: Doctored) -> None:
        labels = it.files.get(file.LABELS, b"").decode().splitlines()
        if len(labels) < 2:
            raise LookupError("no labels")
        it.files[file.LABELS] = "".join(f"{label}\n" for label in make(labels)).encode()

    return alter


CHANGES["labels: two change places"] = _labels(lambda names: [names[1], names[0], *names[2:]])
CHANGES["labels: one renamed"] = _labels(lambda names: [*names[:-1], names[-1] + "s"])
CHANGES["labels: none"] = _labels(lambda names: [])


def _info(make: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Change:
    def alter(it: Doctored) -> None:
        it.files[file.INFO] = json.dumps(make(json.loads(it.files[file.INFO]))).encode()

    return alter


CHANGES["metadata: another pad id"] = _info(lambda info: {**info, "pad_id": info["pad_id"] + 100})
CHANGES["metadata: another precision"] = _info(lambda info: {**info, "precision": "int4-embedding"})
CHANGES["metadata: the longest length left out"] = _info(lambda info: {**info, "lengths": info["lengths"][:-1]})
CHANGES["metadata: another family"] = _info(lambda info: {**info, "family": "roberta"})
CHANGES["metadata: outputs renamed"] = _info(lambda info: {**info, "outputs": [f"{n}_2" for n in info["outputs"]]})


def _tokenizer(make: Callable[[dict[str, Any]], None]) -> Change:
    def alter(it: Doctored) -> None:
        if file.TOKENIZER not in it.files:
            raise LookupError("no tokenizer")
        state = json.loads(it.files[file.TOKENIZER])
        make(state)
        it.files[file.TOKENIZER] = json.dumps(state).encode()

    return alter


def _shift(state: dict[str, Any]) -> None:
    vocabulary = state["model"]["vocab"]
    size = len(vocabulary)
    state["model"]["vocab"] = {token: (i + 1) % size for token, i in vocabulary.items()}


def _cased(state: dict[str, Any]) -> None:
    state["normalizer"] = None


CHANGES["tokenizer: its vocabulary shifted by one"] = _tokenizer(_shift)
CHANGES["tokenizer: another model's, which keeps cases"] = _tokenizer(_cased)


@change("tokenizer: vocab.txt shifted by one")
def _(it: Doctored) -> None:
    lines = it.files.get(file.VOCABULARY, b"").split(b"\n")
    if len(lines) < 3:
        raise LookupError("no vocab.txt")
    it.files[file.VOCABULARY] = b"\n".join([lines[-2], *lines[:-2], b""])
