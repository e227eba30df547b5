"""Changes to Core ML packages of BERT's kind, float32 or int8: each makes a package that loads, runs and is wrong in one
thing.

Every change takes a `Doctored`, a copy of the package on the disk, and alters it in place: its program as a message of
protocol buffers, its weights in their file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.runtime.mil.package import ENTRY, STORED, open_package

PRODUCTS = (
    "attention_self_query", "attention_self_key", "attention_self_value", "attention_output_dense", "intermediate_dense",
    "output_dense",
)  # fmt: skip


class Doctored:
    """A package that may be changed."""

    def __init__(self, path: Path) -> None:
        self.package = open_package(path)
        self.spec = self.package.spec
        function = self.spec.mlProgram.functions["main"]
        self.block = function.block_specializations[function.opset]

    def save(self) -> None:
        self.package.model.write_bytes(self.spec.SerializeToString(deterministic=True))

    # ------------------------------------------------------------ the program

    def find(self, kind: str, mark: str = "", *, number: int = 0) -> Any:
        """An operation of a kind that reads, or makes, something whose name holds a mark."""
        found = [
            item for item in self.block.operations
            if item.type == kind and any(mark in name for name in [item.outputs[0].name, *reads(item)])
        ]  # fmt: skip
        if len(found) <= number:
            raise LookupError(f"no {kind} {mark}")
        return found[number]

    def made(self, name: str) -> Any:
        """What makes a value."""
        return next(item for item in self.block.operations if any(out.name == name for out in item.outputs))

    def named(self, start: str) -> Any:
        """What makes the value whose name begins so: a constant, or a weight in few bits."""
        found = next((item for item in self.block.operations if item.outputs[0].name.startswith(start)), None)
        if found is None:
            raise LookupError(f"nothing is called {start}")
        return found

    def product(self, layer: int, part: str) -> Any:
        mark = f"encoder_layer_{layer}_{part}_weight"
        return next(
            item for item in self.block.operations
            if item.type == "linear" and any(mark in argument.name for argument in item.inputs["weight"].arguments)
        )  # fmt: skip

    def reread(self, old: str, new: str, *, but: Any = None) -> None:
        """Whoever reads `old` reads `new`; a result of that name is made under another, so `new` must be no result."""
        for item in self.block.operations:
            for value in item.inputs.values() if item is not but else ():
                for argument in value.arguments:
                    if argument.name == old:
                        argument.name = new

    def number(self, name: str, like: Any, value: np.ndarray, before: Any) -> str:
        """A new constant of the type of the constant `like`, before an operation."""
        created = type(like)()
        created.CopyFrom(like)
        created.outputs[0].name = name
        created.attributes["name"].immediateValue.tensor.strings.values[0] = name
        self.put(created.attributes["val"], value)
        self.insert(created, before)
        return name

    def insert(self, created: Any, before: Any | None) -> None:
        operations = list(self.block.operations)
        at = operations.index(before) if before is not None else len(operations)
        operations.insert(at, created)
        kept = [type(created).FromString(item.SerializeToString()) for item in operations]
        del self.block.operations[:]
        self.block.operations.extend(kept)

    # ------------------------------------------------------------ stored values

    def value(self, name: str, part: str = "") -> Any:
        """The stored value of a weight: of one in few bits its codes ("data") or its steps ("scale")."""
        item = self.named(name)
        if item.type == "const":
            if part == "scale":
                raise LookupError("it is not in few bits")
            return item.attributes["val"]
        for option in {"": ("data", "quantized_data"), "data": ("data", "quantized_data")}.get(part, (part,)):
            if option in item.attributes:
                return item.attributes[option]
            if option in item.inputs:
                argument = item.inputs[option].arguments[0]
                return argument.value if argument.WhichOneof("binding") == "value" else self.value(argument.name)
        raise LookupError(f"{name} has no {part}")

    def array(self, value: Any) -> np.ndarray:
        from edgebert.runtime.mil.program import read_value

        return np.asarray(read_value(self.package, value)).copy()  # type: ignore[arg-type]

    def put(self, value: Any, array: np.ndarray) -> None:
        """Stores it with the type that it has."""
        from edgebert.runtime.mil.program import read_type

        kind = read_type(value.type)
        if value.WhichOneof("value") == "blobFileValue":
            path = self.package.model.parent / value.blobFileValue.fileName.removeprefix("@model_path/")
            entry = np.fromfile(path, ENTRY, 1, offset=value.blobFileValue.offset)[0]
            held = np.memmap(path, STORED[kind.dtype][1], "r+", int(entry["start"]), array.shape)
            held[...] = array
            held.flush()
            self.package._blobs.clear()
            return
        tensor = value.immediateValue.tensor
        field = tensor.WhichOneof("value")
        if field == "bytes":
            tensor.bytes.values = array.astype(STORED[kind.dtype][1]).tobytes()
        else:
            kept = getattr(tensor, field).values
            del kept[:]
            kept.extend(array.ravel().tolist())

    def spoil(self, name: str, make: Callable[[np.ndarray], np.ndarray], part: str = "") -> None:
        value = self.value(name, part)
        self.put(value, make(self.array(value)))

    def scale(self, name: str, make: Callable[[np.ndarray], np.ndarray]) -> None:
        """Steps of a weight in 8 bits; of one in float its values."""
        self.spoil(name, make, "" if self.named(name).type == "const" else "scale")

    def rows(self, mark: str, order: Callable[[int], np.ndarray]) -> None:
        """Rows of a table, with their steps, in another order."""
        name = self.weight_name(f"embeddings_{mark}_embeddings_weight")
        at = order(len(self.array(self.value(name))))
        self.spoil(name, lambda a: a[at])
        if self.named(name).type != "const":
            self.spoil(name, lambda a: a[at] if a.size > 1 and len(a) == len(at) else a, "scale")

    def weight_name(self, mark: str) -> str:
        """The name that reads begin with: what a gather, a product or a norm reads."""
        found = next((item.outputs[0].name for item in self.block.operations if mark in item.outputs[0].name), None)
        if found is None:
            raise LookupError(f"no {mark}")
        return str(found)

    def layer(self, layer: int, part: str, kind: str = "weight") -> str:
        return self.weight_name(f"encoder_layer_{layer}_{part}_{kind}")

    def every_weight(self) -> Iterator[str]:
        for layer in range(3):
            for part in PRODUCTS:
                yield self.layer(layer, part)


def reads(item: Any) -> list[str]:
    return [argument.name for value in item.inputs.values() for argument in value.arguments]


Change = Callable[[Doctored], None]
CHANGES: dict[str, Change] = {}


def change(name: str) -> Callable[[Change], Change]:
    def register(function: Change) -> Change:
        CHANGES[name] = function
        return function

    return register


def doctored(path: Path, name: str, folder: Path) -> Path:
    """The package with a change. Raises LookupError where it has nothing that could be changed so."""
    created = folder / "model.mlpackage"
    shutil.rmtree(created, ignore_errors=True)
    shutil.copytree(path, created)
    item = Doctored(created)
    CHANGES[name](item)
    item.save()
    return created


# ---------------------------------------------------------------- the mask


def _bias(it: Doctored) -> Any:
    """What multiplies the mask turned round by -10,000."""
    turned = next(item for item in it.block.operations if item.type == "sub")
    after = turned.outputs[0].name
    for item in it.block.operations:
        if item.type == "expand_dims" and after in reads(item):
            after = item.outputs[0].name
        if item.type == "mul" and after in reads(item):
            return item
    raise LookupError("no bias of the mask")


def _factor(value: float) -> Change:
    def alter(it: Doctored) -> None:
        operation = _bias(it)
        place = operation.inputs["y"].arguments[0]
        name = it.number("doctored_factor", it.made(place.name), np.float32(value).reshape(()), operation)
        _bias(it).inputs["y"].arguments[0].name = name

    return alter


CHANGES["mask: ignored"] = _factor(0)
CHANGES["mask: sign of the bias turned"] = _factor(1e4)
CHANGES["mask: a bias of -1 in place of -10,000"] = _factor(-1)


@change("mask: inverted")
def _(it: Doctored) -> None:
    turned = next(item for item in it.block.operations if item.type == "sub")
    mask = turned.inputs["y"].arguments[0].name
    it.reread(turned.outputs[0].name, mask)


@change("mask: left out in one layer")
def _(it: Doctored) -> None:
    softmax = it.find("softmax", number=1)
    masked = it.made(softmax.inputs["x"].arguments[0].name)
    softmax.inputs["x"].arguments[0].name = masked.inputs["x"].arguments[0].name


# ---------------------------------------------------------------- tables


def _zero(mark: str, which: Callable[[np.ndarray, int], np.ndarray]) -> Change:
    def alter(it: Doctored) -> None:
        name = it.weight_name(f"embeddings_{mark}_embeddings_weight")
        it.spoil(name, lambda a: np.where(which(np.arange(len(a)), len(a))[:, None], 0, a))

    return alter


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
    it.spoil(it.weight_name("embeddings_position_ids"), lambda a: np.minimum(a + 1, a.max()))


def _bad_rows(value: float, at: slice) -> Change:
    def make(a: np.ndarray) -> np.ndarray:
        a[at] = value
        return a

    return lambda it: it.scale(it.weight_name("embeddings_word_embeddings_weight"), make)


CHANGES["words: NaN in rows that no text reads"] = _bad_rows(float("nan"), slice(200, 210))
CHANGES["words: infinity in a rare row"] = _bad_rows(float("inf"), slice(-20, -19))


@change("words: scales of a hundred rare rows tripled")
def _(it: Doctored) -> None:
    def make(a: np.ndarray) -> np.ndarray:
        a[28001:28101] *= 3
        return a

    it.scale(it.weight_name("embeddings_word_embeddings_weight"), make)


# ---------------------------------------------------------------- layers


def _weight(layer: int, part: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda it: it.spoil(it.layer(layer, part), make)


CHANGES["layer: feed-forward of the last zero"] = _weight(2, "output_dense", lambda a: a * 0)
CHANGES["layer: feed-forward of the first zero"] = _weight(0, "output_dense", lambda a: a * 0)


def _norm(it: Doctored, layer: int) -> Any:
    """The norm that ends a layer."""
    return it.find("layer_norm", f"encoder_layer_{layer}_output_LayerNorm")


@change("layer: one is skipped")
def _(it: Doctored) -> None:
    it.reread(_norm(it, 1).outputs[0].name, _norm(it, 0).outputs[0].name)


@change("layer: one runs twice")
def _(it: Doctored) -> None:
    for part in PRODUCTS:
        for kind in ("weight", "bias"):
            source, target = it.layer(0, part, kind), it.layer(1, part, kind)
            for stored in ("", "scale"):
                if stored and it.named(source).type == "const":
                    continue
                it.put(it.value(target, stored), it.array(it.value(source, stored)))


def _argument(it: Doctored, item: Any, name: str) -> Any:
    """The constant that an argument is."""
    return it.made(item.inputs[name].arguments[0].name).attributes["val"]


def _set(it: Doctored, item: Any, name: str, value: np.ndarray) -> None:
    """Gives one operation a constant of its own."""
    held, at = item.outputs[0].name, it.made(item.inputs[name].arguments[0].name)
    created = it.number(f"doctored_{held}_{name}", at, value, item)
    it.made(held).inputs[name].arguments[0].name = created


@change("attention: Softmax on another axis")
def _(it: Doctored) -> None:
    _set(it, it.find("softmax", number=1), "axis", np.array(2))


@change("attention: no scaling by the root of the width")
def _(it: Doctored) -> None:
    softmax = it.find("softmax", number=1)
    masked = it.made(softmax.inputs["x"].arguments[0].name)
    scaled = it.made(masked.inputs["x"].arguments[0].name)
    if scaled.type != "mul":
        raise LookupError("no scaling")
    masked.inputs["x"].arguments[0].name = scaled.inputs["x"].arguments[0].name


CHANGES["attention: a head zero"] = _weight(
    1, "attention_self_value", lambda a: np.where(np.arange(len(a))[:, None] < 32, 0, a)
)


@change("attention: two heads change places")
def _(it: Doctored) -> None:
    order, name = np.r_[32:64, 0:32, 64:384], it.layer(1, "attention_self_value")
    it.spoil(name, lambda a: a[order])
    if it.named(name).type != "const":
        it.spoil(name, lambda a: a[order] if a.size > 1 else a, "scale")


@change("attention: queries and keys change places")
def _(it: Doctored) -> None:
    query, key = (it.product(1, f"attention_self_{part}") for part in ("query", "key"))
    for name in ("weight", "bias"):
        first, second = query.inputs[name].arguments[0], key.inputs[name].arguments[0]
        first.name, second.name = second.name, first.name
    operations = {id(query), id(key)}
    if any(item.type.startswith("constexpr") for item in it.block.operations):  # the key's stands behind the query
        _constants_first(it, operations)


def _constants_first(it: Doctored, _: set[int]) -> None:
    kept = sorted(it.block.operations, key=lambda item: not (item.type == "const" or item.type.startswith("constexpr")))
    kept = [type(item).FromString(item.SerializeToString()) for item in kept]
    del it.block.operations[:]
    it.block.operations.extend(kept)


@change("attention: value bias zero")
def _(it: Doctored) -> None:
    it.spoil(it.layer(1, "attention_self_value", "bias"), lambda a: a * 0)


@change("norm: epsilon 1e-2")
def _(it: Doctored) -> None:
    value = _argument(it, it.find("layer_norm"), "epsilon")
    it.put(value, np.full_like(it.array(value), 1e-2))


CHANGES["norm: gain of one zero"] = _weight(1, "output_LayerNorm", lambda a: a * 0)
CHANGES["norm: gain of one 1"] = _weight(1, "output_LayerNorm", np.ones_like)


def _gelu(mode: str) -> Change:
    def alter(it: Doctored) -> None:
        for i in range(3):
            value = _argument(it, it.find("gelu", number=i), "mode")
            value.immediateValue.tensor.strings.values[0] = mode

    return alter


CHANGES["activation: GELU by tanh"] = _gelu("TANH_APPROXIMATION")
CHANGES["activation: GELU by sigmoid"] = _gelu("SIGMOID_APPROXIMATION")


@change("activation: ReLU for GELU")
def _(it: Doctored) -> None:
    for item in it.block.operations:
        if item.type == "gelu":
            item.type = "relu"
            del item.inputs["mode"]


# ---------------------------------------------------------------- weights


def _scales(factor: float) -> Change:
    def alter(it: Doctored) -> None:
        for name in it.every_weight():
            it.scale(name, lambda a: factor * a)

    return alter


CHANGES["weights: all scales +30 %"] = _scales(1.3)
CHANGES["weights: all scales +5 %"] = _scales(1.05)
CHANGES["weights: scales of one +30 %"] = lambda it: it.scale(it.layer(1, "attention_self_key"), lambda a: 1.3 * a)
CHANGES["weights: sign of one turned"] = _weight(
    1, "attention_output_dense", lambda a: np.negative(a, dtype=np.float32)
)
CHANGES["weights: one transposed"] = _weight(1, "attention_self_query", lambda a: a.T)


@change("weights: a bit of one byte in a thousand turned")
def _(it: Doctored) -> None:
    def make(a: np.ndarray) -> np.ndarray:
        flat = a.ravel().copy()
        at = np.random.default_rng(0).choice(flat.size, flat.size // 1000, replace=False)
        whole = flat.dtype.kind in "iu"
        flat[at] = (flat[at].astype(np.int8).view(np.uint8) ^ 0x40).view(np.int8) if whole else -2 * flat[at]
        return flat.reshape(a.shape)

    for name in it.every_weight():
        it.spoil(name, make)


@change("weights: products rounded to 3 bits")
def _(it: Doctored) -> None:
    def make(a: np.ndarray) -> np.ndarray:
        step = np.abs(a.astype(np.float32)).max(1, keepdims=True) / 3
        return np.asarray(np.rint(a / np.where(step == 0, 1, step)) * step)

    for name in it.every_weight():
        it.spoil(name, make)


@change("weights: codes shifted by 3")
def _(it: Doctored) -> None:
    name = it.layer(1, "attention_self_value")
    if it.named(name).type == "const":
        raise LookupError("float32 has no codes")
    it.spoil(name, lambda a: np.clip(a.astype(np.int32) + 3, -127, 127))


# ---------------------------------------------------------------- outputs


def _behind(kind: str, value: Callable[[int], np.ndarray]) -> Change:
    """An operation with a constant between what made each output and the output."""

    def alter(it: Doctored) -> None:
        for output in list(it.block.outputs):
            maker = it.made(output)
            port = next(out for out in maker.outputs if out.name == output)
            width = port.type.tensorType.dimensions[-1].constant.size if port.type.tensorType.dimensions else 0
            array = value(width)
            raw = f"{output}_before"
            constant = type(maker)()
            constant.CopyFrom(next(item for item in it.block.operations if item.type == "const"))
            factor = _float_constant(constant, f"{output}_{kind}", array)
            created = type(maker)()
            created.CopyFrom(maker)
            for name in list(created.inputs):
                del created.inputs[name]
            del created.outputs[:]
            created.outputs.add().CopyFrom(port)
            created.type = kind
            created.inputs["x"].arguments.add().name = raw
            created.inputs["y"].arguments.add().name = f"{output}_{kind}"
            port.name = raw
            it.reread(output, raw)
            it.block.operations.extend([factor, created])

    return alter


def _float_constant(constant: Any, name: str, array: np.ndarray) -> Any:
    """A constant operation of float32 values."""
    constant.outputs[0].name = name
    value = constant.attributes["val"]
    kept = [constant.outputs[0].type, value.type]
    value.ClearField("blobFileValue")
    value.immediateValue.tensor.Clear()
    value.immediateValue.tensor.floats.values.extend(array.ravel().astype(float).tolist())
    for item in kept:
        item.tensorType.Clear()
        item.tensorType.dataType = 11  # FLOAT32
        item.tensorType.rank = array.ndim
        for size in array.shape:
            item.tensorType.dimensions.add().constant.size = size
    constant.attributes["name"].immediateValue.tensor.strings.values[0] = name
    return constant


def _number(value: float) -> Callable[[int], np.ndarray]:
    return lambda width: np.full((), value, np.float32)


CHANGES["outputs: doubled"] = _behind("mul", _number(2))
CHANGES["outputs: halved"] = _behind("mul", _number(0.5))
CHANGES["outputs: 15 % larger"] = _behind("mul", _number(1.15))
CHANGES["outputs: half a unit added"] = _behind("add", _number(0.5))
CHANGES["outputs: negated"] = _behind("mul", _number(-1))
CHANGES["outputs: almost constant"] = _behind("mul", _number(0.01))


def _columns(make: Callable[[np.ndarray], np.ndarray]) -> Change:
    def value(width: int) -> np.ndarray:
        if width < 2:
            raise LookupError("one column")
        return np.asarray(make(np.arange(width)), np.float32)

    def alter(it: Doctored) -> None:
        if len(it.block.outputs) > 1:
            raise LookupError("several outputs")
        _behind("mul", value)(it)

    return alter


CHANGES["outputs: a column zero"] = _columns(lambda i: i != 1)
CHANGES["outputs: a column negated"] = _columns(lambda i: np.where(i == 1, -1, 1))


def _head(it: Doctored) -> str:
    """What the names of the head's weights begin with."""
    for mark in ("model_classifier", "model_qa_outputs"):
        if any(item.outputs[0].name.startswith(f"{mark}_weight") for item in it.block.operations):
            return mark
    raise LookupError("no head")


@change("outputs: two columns change places")
def _(it: Doctored) -> None:
    for kind in ("weight", "bias"):
        name = f"{_head(it)}_{kind}"
        n = len(it.array(it.value(name)))
        if n < 2:
            raise LookupError("one column")
        order = np.r_[1, 0, 2:n]
        it.spoil(name, lambda a, order=order: a[order])  # type: ignore[misc]
        if it.named(name).type != "const":
            it.spoil(name, lambda a, order=order: a[order] if a.size > 1 else a, "scale")  # type: ignore[misc]


@change("outputs: start and end change places")
def _(it: Doctored) -> None:
    if len(it.block.outputs) < 2:
        raise LookupError("one output")
    first, second = (it.made(name) for name in it.block.outputs[:2])
    first.outputs[0].name, second.outputs[0].name = second.outputs[0].name, first.outputs[0].name


@change("inputs: mask and segments change places")
def _(it: Doctored) -> None:
    other = {"attention_mask": "token_type_ids", "token_type_ids": "attention_mask"}
    for item in it.block.operations:
        for value in item.inputs.values():
            for argument in value.arguments:
                if argument.name in other:
                    argument.name = other[argument.name]


@change("head: bias zero")
def _(it: Doctored) -> None:
    it.spoil(f"{_head(it)}_bias", lambda a: a * 0)


@change("head: pooler's tanh left out")
def _(it: Doctored) -> None:
    tanh = it.find("tanh")
    it.reread(tanh.outputs[0].name, tanh.inputs["x"].arguments[0].name)


@change("head: reads the second token")
def _(it: Doctored) -> None:
    linear = it.find("linear", "pooler_dense_weight")
    first = it.made(linear.inputs["x"].arguments[0].name)
    if first.type != "slice_by_index":
        raise LookupError("no pooler that slices")
    for name, value in (("begin", [0, 1, 0]), ("end", [1, 2, 384])):
        it.put(_argument(it, first, name), np.array(value))


@change("pooling: padding is counted")
def _(it: Doctored) -> None:
    """The weights of the tokens are the mask of segments plus its absence: 1 each."""
    total = next((item for item in it.block.operations if item.type == "reduce_sum"), None)
    if total is None:
        raise LookupError("no pooling")
    weights = it.made(total.inputs["x"].arguments[0].name)
    port, kept = weights.outputs[0], weights.outputs[0].name
    if weights.type != "cast":
        raise LookupError("its weights are no cast mask")
    same = type(weights)()
    same.CopyFrom(weights)
    for name in list(same.inputs):
        del same.inputs[name]
    same.type = "equal"
    del same.outputs[:]
    source = weights.inputs["x"].arguments[0].name
    truth = same.outputs.add()
    truth.CopyFrom(it.made(source).outputs[0])
    truth.name, truth.type.tensorType.dataType = "doctored_same", 1  # BOOL
    for side in ("x", "y"):
        same.inputs[side].arguments.add().name = source
    weights.inputs["x"].arguments[0].name = "doctored_same"
    assert port.name == kept
    it.insert(same, weights)


# ---------------------------------------------------------------- metadata


def _metadata(name: str, make: Callable[[Any], Any]) -> Change:
    def alter(it: Doctored) -> None:
        kept = it.spec.description.metadata.userDefined
        held = kept[f"edgebert.{name}"]
        try:
            kept[f"edgebert.{name}"] = json.dumps(make(json.loads(held)))
        except ValueError:  # a plain text
            kept[f"edgebert.{name}"] = make(held)

    return alter


def _labels(make: Callable[[list[str]], list[str]]) -> Change:
    def checked(names: list[str]) -> list[str]:
        if len(names) < 2:
            raise LookupError("no labels")
        return make(names)

    return _metadata("labels", checked)


CHANGES["labels: two change places"] = _labels(lambda names: [names[1], names[0], *names[2:]])
CHANGES["labels: one renamed"] = _labels(lambda names: [*names[:-1], names[-1] + "s"])
CHANGES["labels: none"] = _labels(lambda names: [])
CHANGES["metadata: another pad id"] = _metadata("pad_id", lambda value: value + 100)
CHANGES["metadata: another precision"] = _metadata("precision", lambda value: "int4")
CHANGES["metadata: another family"] = _metadata("family", lambda value: "roberta")


@change("metadata: the longest length left out")
def _(it: Doctored) -> None:
    for item in it.spec.description.input:
        shapes = item.type.multiArrayType.enumeratedShapes.shapes
        if len(shapes) < 2:
            raise LookupError("one length")
        longest = max(range(len(shapes)), key=lambda i: shapes[i].shape[1])
        del shapes[longest]


@change("metadata: an input renamed")
def _(it: Doctored) -> None:
    it.spec.description.input[0].name = "ids"
