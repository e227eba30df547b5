"""Changes to ONNX files of BERT's kind, float32 or int8: each makes a file that loads, runs and is wrong in one thing.

Every change takes a ModelProto and alters it in place. What they are found by are names that torch's exporter gives:
`layer.N`, `attention/self/query`, `intermediate`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Change = Callable[[Any], None]
CHANGES: dict[str, Change] = {}


def change(name: str) -> Callable[[Change], Change]:
    def register(function: Change) -> Change:
        CHANGES[name] = function
        return function

    return register


def doctored(path: Path, name: str, folder: Path) -> Path:
    """The file with a change. Raises LookupError where it has nothing that could be changed so."""
    import onnx

    model = onnx.load(str(path))
    try:
        CHANGES[name](model)
    except StopIteration:
        raise LookupError(f"nothing to change: {name}") from None
    onnx.save(model, str(folder / "model.onnx"))
    return folder / "model.onnx"


# ---------------------------------------------------------------- finding and setting


def constants(model: Any) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    return {item.name: numpy_helper.to_array(item).copy() for item in model.graph.initializer}


def put(model: Any, name: str, array: np.ndarray) -> None:
    from onnx import numpy_helper

    item = next(item for item in model.graph.initializer if item.name == name)
    item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))


def node(model: Any, *marks: str, kind: str = "") -> Any:
    """The first node whose name holds all marks and whose type begins so."""
    results = [
        item for item in model.graph.node if all(mark in item.name for mark in marks) and item.op_type.startswith(kind)
    ]
    if not results:
        raise LookupError(f"no {kind} node with {marks}")
    return results[0]


def result_of(model: Any, name: str) -> Any:
    return next(item for item in model.graph.node if name in item.output)


def rewire(model: Any, old: str, new: str, *, but: Any = None) -> None:
    """Whoever read `old` reads `new`."""
    for item in model.graph.node:
        if item is not but:
            item.input[:] = [new if name == old else name for name in item.input]


def insert(model: Any, before: Any, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
    from onnx import helper

    nodes = list(model.graph.node)
    nodes.insert(nodes.index(before), helper.make_node(kind, inputs, [output], name=f"doctored_{output}", **attributes))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def append_constant(model: Any, name: str, array: np.ndarray) -> str:
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def on_output(model: Any, make: Callable[[str, str], list[Any]]) -> None:
    """Nodes between what made the first output and the output."""
    for output in [item.name for item in model.graph.output]:
        maker = result_of(model, output)
        raw = f"{output}_before"
        maker.output[:] = [raw if name == output else name for name in maker.output]
        rewire(model, output, raw)
        model.graph.node.extend(make(raw, output))


def table(model: Any, mark: str) -> tuple[str, np.ndarray, np.ndarray | None]:
    """Name of an embedding table as it is stored, its values, and its rows' scales where it is in 8 bits."""
    result = constants(model)
    for name, array in result.items():
        if mark in name and array.ndim == 2 and array.shape[1] > 1 and not name.endswith("_scales"):
            return name, array, result.get(name.replace("_int8", "_scales")) if name.endswith("_int8") else None
    raise LookupError(f"no table {mark}")


def change_rows(model: Any, mark: str, order: Callable[[int], np.ndarray]) -> None:
    """Rows of a table, with their scales, in another order."""
    name, array, scales = table(model, mark)
    at = order(len(array))
    put(model, name, array[at])
    if scales is not None:
        put(model, name.replace("_int8", "_scales"), scales[at])


def weight(model: Any, *marks: str) -> str:
    """Name of the stored weight of the first product whose node's name holds the marks."""
    entry = node(model, *marks, kind="MatMul")
    name = entry.input[1]
    return str(name if any(item.name == name for item in model.graph.initializer) else result_of(model, name).input[0])


def spoil(model: Any, name: str, make: Callable[[np.ndarray], np.ndarray]) -> None:
    array = constants(model)[name]
    put(model, name, make(array).astype(array.dtype))


def scale_of(model: Any, name: str) -> str:
    """The scales of a stored weight in 8 bits; the weight itself in float."""
    known = {item.name for item in model.graph.initializer}
    scale = name.replace("_quantized", "_scale")
    return scale if name.endswith("_quantized") and scale in known else name


def products(model: Any) -> Iterator[str]:
    """Stored weights of all products."""
    seen = set()
    known = {item.name for item in model.graph.initializer}
    for entry in model.graph.node:
        if (
            entry.op_type in ("MatMul", "MatMulInteger", "Gemm")
            and entry.input[1] in known
            and entry.input[1] not in seen
        ):
            seen.add(entry.input[1])
            yield entry.input[1]


# ---------------------------------------------------------------- the mask


def _mask(model: Any) -> Any:
    """What subtracts the mask from one."""
    return next(item for item in model.graph.node if item.name == "/Sub" and item.op_type == "Sub")


@change("mask: ignored")
def _(model: Any) -> None:
    item = _mask(model)
    mask, item.input[1] = item.input[1], "mask_one"
    insert(model, item, "Mul", [mask, append_constant(model, "zero", np.zeros((), np.float32))], "mask_zero")
    item = _mask(model)
    insert(model, item, "Add", ["mask_zero", append_constant(model, "one", np.ones((), np.float32))], "mask_one")


@change("mask: inverted")
def _(model: Any) -> None:
    item = _mask(model)
    mask, item.input[1] = item.input[1], "mask_turned"
    insert(model, item, "Sub", [append_constant(model, "one", np.ones((), np.float32)), mask], "mask_turned")


@change("mask: sign of the bias turned")
def _(model: Any) -> None:
    item = _mask(model)
    output = item.output[0]
    item.output[0] = "bias_raw"
    nodes = list(model.graph.node)
    from onnx import helper

    nodes.insert(nodes.index(item) + 1, helper.make_node("Neg", ["bias_raw"], [output], name="turned"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@change("mask: a bias of -1 in place of -10,000")
def _(model: Any) -> None:
    from onnx import numpy_helper

    for item in model.graph.node:
        if item.op_type == "Constant":
            value = numpy_helper.to_array(item.attribute[0].t)
            if value.size == 1 and float(value.ravel()[0]) == -1e4:
                item.attribute[0].t.CopyFrom(numpy_helper.from_array(np.full_like(value, -1)))
                return
    raise LookupError("no bias of the mask")


def merged(model: Any) -> Any:
    """The Attention of the middle layer, where it is one operator; None where it is in parts."""
    return next((item for item in model.graph.node if item.op_type == "Attention" and "layer.1" in item.name), None)


@change("mask: left out in one layer")
def _(model: Any) -> None:
    if whole := merged(model):
        del whole.input[3]
        return
    item = node(model, "layer.1/attention/self/Add", kind="Add")
    rewire(model, item.output[0], item.input[0], but=item)


# ---------------------------------------------------------------- tables


@change("positions: zero from 16 on")
def _(model: Any) -> None:
    name, _, _ = table(model, "position_embeddings")
    spoil(model, name, lambda a: np.where(np.arange(len(a))[:, None] < 16, a, 0))


@change("positions: zero from 48 on")
def _(model: Any) -> None:
    name, _, _ = table(model, "position_embeddings")
    spoil(model, name, lambda a: np.where(np.arange(len(a))[:, None] < 48, a, 0))


@change("positions: shifted by one")
def _(model: Any) -> None:
    change_rows(model, "position_embeddings", lambda n: np.roll(np.arange(n), 1))


@change("positions: the first 16 reversed")
def _(model: Any) -> None:
    change_rows(model, "position_embeddings", lambda n: np.r_[np.arange(16)[::-1], np.arange(16, n)])


@change("positions: two change places")
def _(model: Any) -> None:
    change_rows(model, "position_embeddings", lambda n: np.r_[np.arange(20), 21, 20, np.arange(22, n)])


@change("segments: second one zero")
def _(model: Any) -> None:
    name, _, _ = table(model, "token_type_embeddings")
    spoil(model, name, lambda a: a * np.array([[1], [0]]))


@change("segments: both zero")
def _(model: Any) -> None:
    name, _, _ = table(model, "token_type_embeddings")
    spoil(model, name, lambda a: a * 0)


@change("words: shifted by one")
def _(model: Any) -> None:
    change_rows(model, "word_embeddings", lambda n: np.roll(np.arange(n), 1))


@change("words: two rare rows change places")
def _(model: Any) -> None:
    change_rows(
        model,
        "word_embeddings",
        lambda n: np.r_[np.arange(n - 12), n - 5, np.arange(n - 11, n - 5), n - 12, np.arange(n - 4, n)],
    )


@change("words: rows from two thirds on zero")
def _(model: Any) -> None:
    name, _, _ = table(model, "word_embeddings")
    spoil(model, name, lambda a: np.where(np.arange(len(a))[:, None] < len(a) * 2 // 3, a, 0))


@change("words: table cut, the last row repeated")
def _(model: Any) -> None:
    change_rows(model, "word_embeddings", lambda n: np.minimum(np.arange(n), n * 9 // 10))


def _bad_rows(model: Any, value: float, at: slice) -> None:
    name, _, scales = table(model, "word_embeddings")
    target = name if scales is None else name.replace("_int8", "_scales")

    def make(a: np.ndarray) -> np.ndarray:
        a[at] = value
        return a

    spoil(model, target, make)


@change("words: NaN in rows that no text reads")
def _(model: Any) -> None:
    _bad_rows(model, float("nan"), slice(200, 210))


@change("words: infinity in a rare row")
def _(model: Any) -> None:
    _bad_rows(model, float("inf"), slice(-20, -19))


@change("words: scales of a hundred rare rows tripled")
def _(model: Any) -> None:
    name, array, scales = table(model, "word_embeddings")
    target = name if scales is None else name.replace("_int8", "_scales")
    rows = np.arange(len(array))[:, None]
    spoil(model, target, lambda a: np.where((rows > 28000) & (rows <= 28100), 3 * a, a))


# ---------------------------------------------------------------- layers


@change("layer: feed-forward of the last zero")
def _(model: Any) -> None:
    spoil(model, weight(model, "layer.2/output"), lambda a: a * 0)


@change("layer: feed-forward of the first zero")
def _(model: Any) -> None:
    spoil(model, weight(model, "layer.0/output"), lambda a: a * 0)


@change("layer: one is skipped")
def _(model: Any) -> None:
    before = node(model, "layer.0/output/LayerNorm", kind="LayerNormalization").output[0]
    last = node(model, "layer.1/output/LayerNorm", kind="LayerNormalization")
    rewire(model, last.output[0], before)


@change("layer: one runs twice")
def _(model: Any) -> None:
    for mark in ("self/query", "self/key", "self/value", "attention/output", "intermediate", "layer.1/output"):
        target = weight(model, "layer.1", mark)
        source = weight(model, "layer.0", mark.replace("layer.1", "layer.0"))
        put(model, target, constants(model)[source])
        if scale_of(model, target) != target:
            put(model, scale_of(model, target), constants(model)[scale_of(model, source)])


@change("attention: Softmax on another axis")
def _(model: Any) -> None:
    next(a for a in node(model, "layer.1", kind="Softmax").attribute if a.name == "axis").i = 2


@change("attention: twice as many heads")
def _(model: Any) -> None:
    whole = merged(model)
    if whole is None:
        raise LookupError("attention is in parts")
    for item in whole.attribute:
        if item.name.endswith("num_heads"):
            item.i *= 2


@change("attention: no scaling by the root of the width")
def _(model: Any) -> None:
    if whole := merged(model):
        next(item for item in whole.attribute if item.name == "scale").f = 1
        return
    item = node(model, "layer.1/attention/self/Mul", kind="Mul")
    rewire(model, item.output[0], item.input[0], but=item)


@change("attention: a head zero")
def _(model: Any) -> None:
    spoil(model, weight(model, "layer.1", "self/value"), lambda a: np.where(np.arange(a.shape[1]) < 32, 0, a))


@change("attention: two heads change places")
def _(model: Any) -> None:
    name = weight(model, "layer.1", "self/value")
    order = np.r_[32:64, 0:32]
    for target in {name, scale_of(model, name)}:
        spoil(model, target, lambda a: np.concatenate([a[..., order], a[..., 64:]], -1))


@change("attention: queries and keys change places")
def _(model: Any) -> None:
    q, k = node(model, "layer.1", "self/query", kind="MatMul"), node(model, "layer.1", "self/key", kind="MatMul")
    for item, other in ((q.output[0], k.output[0]),):
        q.output[0], k.output[0] = other, item


@change("attention: value bias zero")
def _(model: Any) -> None:
    spoil(model, next(n for n in constants(model) if n.endswith("layer.1.attention.self.value.bias")), lambda a: a * 0)


@change("norm: epsilon 1e-2")
def _(model: Any) -> None:
    for item in model.graph.node:
        if item.op_type == "LayerNormalization":
            next(a for a in item.attribute if a.name == "epsilon").f = 1e-2


@change("norm: gain of one zero")
def _(model: Any) -> None:
    item = node(model, "layer.1/output/LayerNorm", kind="LayerNormalization")
    item.input[1] = append_constant(model, "gain", constants(model)[item.input[1]] * 0)


@change("norm: gain of one 1")
def _(model: Any) -> None:
    item = node(model, "layer.1/output/LayerNorm", kind="LayerNormalization")
    item.input[1] = append_constant(model, "gain", np.ones_like(constants(model)[item.input[1]]))


def _activation(model: Any, kind: str) -> None:
    for layer in range(3):
        first = node(model, f"layer.{layer}/intermediate", kind="Div").input[0]
        last = node(model, f"layer.{layer}/intermediate/intermediate_act_fn/Mul_1", kind="Mul")
        insert(model, last, kind, [first], f"act_{layer}")
        rewire(model, last.output[0], f"act_{layer}")


@change("activation: ReLU for GELU")
def _(model: Any) -> None:
    _activation(model, "Relu")


@change("activation: GELU by sigmoid")
def _(model: Any) -> None:
    for layer in range(3):
        first = node(model, f"layer.{layer}/intermediate", kind="Div").input[0]
        last = node(model, f"layer.{layer}/intermediate/intermediate_act_fn/Mul_1", kind="Mul")
        factor = append_constant(model, f"factor_{layer}", np.full((), 1.702, np.float32))
        insert(model, last, "Mul", [first, factor], f"wide_{layer}")
        insert(model, last, "Sigmoid", [f"wide_{layer}"], f"gate_{layer}")
        insert(model, last, "Mul", [first, f"gate_{layer}"], f"act_{layer}")
        rewire(model, last.output[0], f"act_{layer}")


@change("weights: all scales +30 %")
def _(model: Any) -> None:
    for name in products(model):
        spoil(model, scale_of(model, name), lambda a: 1.3 * a)


@change("weights: all scales +5 %")
def _(model: Any) -> None:
    for name in products(model):
        spoil(model, scale_of(model, name), lambda a: 1.05 * a)


@change("weights: scales of one +30 %")
def _(model: Any) -> None:
    spoil(model, scale_of(model, weight(model, "layer.1", "self/key")), lambda a: 1.3 * a)


@change("weights: sign of one turned")
def _(model: Any) -> None:
    spoil(
        model, weight(model, "layer.1", "attention/output"), lambda a: -a.astype(np.int32) if a.dtype == np.int8 else -a
    )


@change("weights: one transposed")
def _(model: Any) -> None:
    spoil(model, weight(model, "layer.1", "self/query"), lambda a: a.T)


@change("weights: a bit of one byte in a thousand turned")
def _(model: Any) -> None:
    def make(a: np.ndarray) -> np.ndarray:
        drawn = np.random.default_rng(0)
        flat = a.ravel().copy()
        at = drawn.choice(flat.size, flat.size // 1000, replace=False)
        flat[at] = (flat[at].view(np.uint8) ^ 0x40).view(np.int8) if a.dtype == np.int8 else -2 * flat[at]
        return flat.reshape(a.shape)

    for name in products(model):
        spoil(model, name, make)


@change("weights: products rounded to 3 bits")
def _(model: Any) -> None:
    def make(a: np.ndarray) -> np.ndarray:
        step = np.abs(a.astype(np.float32)).max(0, keepdims=True) / 3
        return (
            np.rint(np.rint(a / np.where(step == 0, 1, step)) * step)
            if a.dtype == np.int8
            else np.rint(a / step) * step
        )

    for name in products(model):
        spoil(model, name, make)


@change("weights: zero points shifted by 3")
def _(model: Any) -> None:
    names = [n for n in constants(model) if n.endswith("_zero_point")]
    if not names:
        raise LookupError("float32 has none")
    for name in names:
        spoil(model, name, lambda a: a + 3)


# ---------------------------------------------------------------- outputs


def _scaled(factor: float, shift: float = 0.0) -> Change:
    def make(model: Any) -> None:
        from onnx import helper

        append_constant(model, "factor", np.full((), factor, np.float32))
        append_constant(model, "shift", np.full((), shift, np.float32))
        on_output(
            model,
            lambda raw, output: [
                helper.make_node("Mul", [raw, "factor"], [f"{output}_scaled"]),
                helper.make_node("Add", [f"{output}_scaled", "shift"], [output]),
            ],
        )

    return make


CHANGES["outputs: doubled"] = _scaled(2)
CHANGES["outputs: halved"] = _scaled(0.5)
CHANGES["outputs: 15 % larger"] = _scaled(1.15)
CHANGES["outputs: half a unit added"] = _scaled(1, 0.5)
CHANGES["outputs: negated"] = _scaled(-1)
CHANGES["outputs: almost constant"] = _scaled(0.01)


def _columns(make: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Columns of the output by a matrix made from the identity of its width."""

    def doctor(model: Any) -> None:
        from onnx import helper

        width = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
        if width < 2 or len(model.graph.output) > 1:
            raise LookupError("one column")
        append_constant(model, "mixed", make(np.eye(width, dtype=np.float32)))
        on_output(model, lambda raw, output: [helper.make_node("MatMul", [raw, "mixed"], [output])])

    return doctor


CHANGES["outputs: a column zero"] = _columns(lambda eye: eye * (np.arange(len(eye)) != 1))
CHANGES["outputs: two columns change places"] = _columns(lambda eye: eye[np.r_[1, 0, 2 : len(eye)]])
CHANGES["outputs: a column negated"] = _columns(
    lambda eye: eye * np.where(np.arange(len(eye)) == 1, -1, 1).astype(np.float32)
)


@change("head: bias zero")
def _(model: Any) -> None:
    results = [n for n in constants(model) if n.endswith(("classifier.bias", "qa_outputs.bias"))]
    if not results:
        raise LookupError("no head")
    spoil(model, results[0], lambda a: a * 0)


@change("head: pooler's tanh left out")
def _(model: Any) -> None:
    item = node(model, "pooler", kind="Tanh")
    rewire(model, item.output[0], item.input[0], but=item)


@change("head: reads the second token")
def _(model: Any) -> None:
    from onnx import numpy_helper

    item = node(model, "pooler", kind="Gather")
    maker = result_of(model, item.input[1])
    value = numpy_helper.to_array(maker.attribute[0].t)
    maker.attribute[0].t.CopyFrom(numpy_helper.from_array(np.full_like(value, 1)))


@change("pooling: padding is counted")
def _(model: Any) -> None:
    if "sentence_embedding" not in [item.name for item in model.graph.output]:
        raise LookupError("no pooling")
    entry = next(
        element
        for element in model.graph.node
        if element.op_type == "Cast"
        and list(element.input) != []
        and "pool" not in element.name
        and element is not model.graph.node[0]
        and any("attention_mask" in n or "Unsqueeze" in n for n in element.input)
    )
    zero = append_constant(model, "nought", np.zeros((), np.float32))
    name = entry.output[0]
    entry.output[0] = "weights_raw"
    nodes = list(model.graph.node)
    from onnx import helper

    at = nodes.index(entry) + 1
    nodes[at:at] = [
        helper.make_node("Mul", ["weights_raw", zero], ["weights_none"]),
        helper.make_node("Add", ["weights_none", append_constant(model, "unity", np.ones((), np.float32))], [name]),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _labels(make: Callable[[list[str]], list[str]]) -> Change:
    def doctor(model: Any) -> None:
        item = next(item for item in model.metadata_props if item.key == "labels")
        labels = json.loads(item.value)
        if len(labels) < 2:
            raise LookupError("no labels")
        item.value = json.dumps(make(labels))

    return doctor


CHANGES["labels: two change places"] = _labels(lambda names: [names[1], names[0], *names[2:]])
CHANGES["labels: one renamed"] = _labels(lambda names: [*names[:-1], names[-1] + "s"])
CHANGES["labels: none"] = _labels(lambda names: [])


@change("outputs: start and end change places")
def _(model: Any) -> None:
    names = [item.name for item in model.graph.output]
    if len(names) < 2:
        raise LookupError("one output")
    other = {names[0]: names[1], names[1]: names[0]}
    for item in model.graph.node:
        for side in (item.input, item.output):
            side[:] = [other.get(name, name) for name in side]


@change("inputs: mask and segments change places")
def _(model: Any) -> None:
    other = {"attention_mask": "token_type_ids", "token_type_ids": "attention_mask"}
    for item in model.graph.node:
        item.input[:] = [other.get(name, name) for name in item.input]


def _stated(key: str, make: Callable[[str], str]) -> Change:
    def doctor(model: Any) -> None:
        item = next(item for item in model.metadata_props if item.key == key)
        item.value = make(item.value)

    return doctor


CHANGES["metadata: another pad id"] = _stated("pad_id", lambda value: str(int(value) + 100))
CHANGES["metadata: another precision"] = _stated("precision", lambda value: "int4")
CHANGES["metadata: another family"] = _stated("family", lambda value: "roberta")
CHANGES["metadata: takes half as many tokens"] = _stated("max_length", lambda value: "32")
