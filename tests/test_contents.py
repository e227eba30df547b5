"""What the gate finds inside TFLite and Core ML files: nothing in sound ones, one mistake in doctored ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.converters import CONVERTERS, Contents, Precision
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.runtime.session import Source
from edgebert.types import Artifact
from edgebert.verify.contents import contents_failures, file_failures
from tests.families import tiny

WIDE = {
    "hidden_size": 64,
    "dim": 64,
    "intermediate_size": 128,
    "hidden_dim": 128,
    "num_hidden_layers": 1,
    "n_layers": 1,
}


def wide(family: str) -> dict[str, int]:
    """What makes weights large enough to be reduced."""
    own = {"dim", "hidden_dim", "n_layers"}
    return {name: size for name, size in WIDE.items() if (name in own) == (family == "distilbert")}


class Files:
    """A model's float32 file of a format and those reduced from it."""

    def __init__(self, format: str, family: str, head: str, lengths: tuple[int, ...], place: Path) -> None:
        model = tiny(family, head, **wide(family))
        self.converter, self.place = CONVERTERS.get(format), place
        self.source: Source = make_source(model, lengths=lengths, labels=tuple("abcde"))
        self.tables: Mapping[str, np.ndarray] = TorchSession(model).tables()
        self.made = {"fp32": self.converter.export(self.source, self._folder("fp32"))}

    def _folder(self, name: str) -> Path:
        (self.place / name).mkdir()
        return self.place / name

    def of(self, precision: str) -> Artifact:
        if precision not in self.made:
            variant = self.converter.precisions[precision].variants[0]
            folder = self._folder(precision)
            self.made[precision] = self.converter.reduce(self.source, self.made["fp32"], precision, variant, folder)
        return self.made[precision]

    def failures(self, artifact: Artifact) -> list[str]:
        return file_failures(self.converter, artifact, self.made["fp32"], self.tables)


@pytest.fixture(scope="module")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> Files:
    pytest.importorskip("litert_torch", reason="pip install edgebert[tflite]")
    place = tmp_path_factory.mktemp("tflite")
    return Files("tflite", "distilbert", "sequence-classification", (8, 12), place)


@pytest.fixture(scope="module")
def coreml(tmp_path_factory: pytest.TempPathFactory) -> Files:
    pytest.importorskip("coremltools", reason="pip install edgebert[coreml]")
    return Files("coreml", "roberta", "sentence-embedding", (12,), tmp_path_factory.mktemp("coreml"))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-tensor", "int8-weights", "int4-embedding", "fp16"])
def test_sound_tflite_files_pass(tflite: Files, precision: str) -> None:
    assert tflite.failures(tflite.of(precision)) == []


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4", "fp16"])
def test_sound_coreml_files_pass(coreml: Files, precision: str) -> None:
    """A table of 100 words is padded for palettes."""
    assert coreml.failures(coreml.of(precision)) == []


# ---------------------------------------------------------------- TFLite


def operators(model: Any, kind: str) -> list[tuple[Any, Any]]:
    """(graph, operator) of a name, in all signatures."""
    from edgebert.converters._tflite_file import operator_names

    return [
        (graph, operator)
        for graph in model.subgraphs
        for name, operator in zip(operator_names(model, graph), graph.operators, strict=True)
        if name == kind
    ]


def weights_of(model: Any, kind: str, shape: tuple[int, int]) -> list[Any]:
    """The tensor of the first such operator with a weight of this shape in each signature, whose buffer is one."""
    place = 0 if kind == "DEQUANTIZE" else 1
    results = [graph.tensors[operator.inputs[place]] for graph, operator in operators(model, kind)]
    results = [tensor for tensor in results if tuple(tensor.shape) == shape]
    return [tensor for tensor in results if tensor.buffer == results[0].buffer]


WORDS, LAYER = ("EMBEDDING_LOOKUP", (100, 64)), ("FULLY_CONNECTED", (128, 64))
HALF_WORDS = ("DEQUANTIZE", (100, 64))


def scales(which: tuple[str, tuple[int, int]], change: Callable[[np.ndarray], Any], *, of: slice = slice(None)) -> Any:
    def alter(model: Any) -> None:
        for tensor in weights_of(model, *which)[of]:
            values = np.array(tensor.quantization.scale, np.float32)
            change(values)
            tensor.quantization.scale = values

    return alter


def codes(which: tuple[str, tuple[int, int]], change: Callable[[np.ndarray], np.ndarray], kind: str = "i1") -> Any:
    def alter(model: Any) -> None:
        tensor = weights_of(model, *which)[0]
        values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), kind).reshape(which[1][0], -1)
        model.buffers[tensor.buffer].data = np.frombuffer(change(values).astype(kind).tobytes(), np.uint8)

    return alter


def setting(kind: str, name: str, value: Any) -> Any:
    def alter(model: Any) -> None:
        setattr(operators(model, kind)[0][1].builtinOptions, name, value)

    return alter


def zero_point(model: Any) -> None:
    scheme = weights_of(model, *LAYER)[0].quantization
    scheme.zeroPoint = np.eye(len(scheme.scale), dtype=np.int64)[3]


def times(factor: float) -> Callable[[np.ndarray], Any]:
    return lambda values: np.multiply(values, factor, out=values)


def is_nan(row: int) -> Callable[[np.ndarray], Any]:
    return lambda values: values.put(row, np.nan)


def swapped(values: np.ndarray) -> np.ndarray:
    """Rows 60 and 61 for one another."""
    values = values.copy()
    values[[60, 61]] = values[[61, 60]]
    return values


def nan_row(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[90] = np.nan
    return values


@pytest.mark.parametrize(
    ("precision", "change", "reason"),
    [
        ("int8", scales(LAYER, times(1.3)), "by 0.3 of its size"),
        ("int8", scales(LAYER, times(1.3), of=slice(1, 2)), "by 0.3 of its size"),  # in the second signature alone
        ("int8", scales(LAYER, times(1.05)), "has 1.050 times its scale"),
        ("int8", scales(WORDS, times(1.3)), "by 0.3 of its size"),
        ("int8", zero_point, "zero points other than 0"),
        ("int8", codes(WORDS, swapped), "more than its bits explain"),
        ("int4-embedding", codes(WORDS, swapped), "more than its bits explain"),
        ("int4-embedding", scales(WORDS, is_nan(90)), "holds NaN or infinity"),
        ("int8", codes(WORDS, lambda values: np.roll(values, 1, 0)), "more than its bits explain"),
        ("fp16", codes(HALF_WORDS, nan_row, "f2"), "holds NaN or infinity"),
        ("fp32", codes(WORDS, nan_row, "f4"), "holds NaN or infinity"),
        ("fp32", codes(WORDS, swapped, "f4"), "differs in 2 rows, the first is 60"),
        ("int8", codes(LAYER, lambda values: 0 * values), "by 1 of its size"),
        ("int8", codes(LAYER, lambda values: -values), "by 2 of its size"),
        ("int8", setting("SOFTMAX", "beta", 2.0), "('beta', 2.0)"),
        ("int8", setting("GELU", "approximate", True), "('approximate', True)"),
        ("int8", setting("FULLY_CONNECTED", "fusedActivationFunction", 1), "('fusedActivationFunction', 1)"),
    ],
)
def test_a_doctored_tflite_file_is_refused(
    tflite: Files, precision: str, change: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    from edgebert.converters import _tflite_file as file

    valid = tflite.of(precision)
    model = file.read_model(valid.path)
    change(model)
    file.write(tmp_path / "model.tflite", model, file.read_files(valid.path))
    result = tflite.failures(replace(valid, path=tmp_path / "model.tflite"))
    assert any(reason in failure for failure in result), result


# ---------------------------------------------------------------- Core ML


def operation(package: Any, result: str) -> Any:
    """The first operation that makes something whose name begins so."""
    function = package.spec.mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    return next(item for item in block.operations if item.outputs[0].name.startswith(result))


def alter(package: Any, value: Any, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """A value of the program, in the weights file or in place."""
    from edgebert.runtime.mil.package import ENTRY, STORED
    from edgebert.runtime.mil.program import read_type

    kind = read_type(value.type)
    if value.WhichOneof("value") == "immediateValue":
        held = value.immediateValue.tensor.bytes
        array = np.frombuffer(held.values, STORED[kind.dtype][1]).reshape(kind.shape)
        held.values = change(array).astype(array.dtype).tobytes()
        return
    path = package.model.parent / value.blobFileValue.fileName.removeprefix("@model_path/")
    entry = np.fromfile(path, ENTRY, 1, offset=value.blobFileValue.offset)[0]
    array = np.memmap(path, STORED[kind.dtype][1], "r+", int(entry["start"]), kind.shape)
    array[...] = change(np.array(array))
    array.flush()


TABLE, INNER = "embeddings_word_embeddings_weight", "encoder_layer_0_intermediate_dense_weight"


def attribute(weight: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    return lambda package: alter(package, operation(package, f"model_{weight}").attributes[name], change)


def argument(kind: str, name: str, field: str, value: Any) -> Any:
    """Sets the constant that the first operation of a kind reads as an argument."""

    def set_to(package: Any) -> None:
        function = package.spec.mlProgram.functions["main"]
        operations = function.block_specializations[function.opset].operations
        entry = next(item for item in operations if item.type == kind)
        constant = operation(package, entry.inputs[name].arguments[0].name)
        getattr(constant.attributes["val"].immediateValue.tensor, field).values[0] = value

    return set_to


@pytest.mark.parametrize(
    ("precision", "change", "reason"),
    [
        ("int8", attribute(INNER, "scale", lambda values: 1.3 * values), "by 0.3 of its size"),
        ("int8", attribute(INNER, "zero_point", lambda values: values + 1), "zero points other than 0"),
        ("int8", attribute(TABLE, "quantized_data", swapped), "more than its bits explain"),
        ("int8", attribute(TABLE, "quantized_data", lambda v: np.roll(v, 1, 0)), "more than its bits explain"),
        ("int8", attribute(TABLE, "scale", lambda v: np.where(np.arange(len(v)) == 90, np.nan, v)), "holds NaN"),
        ("int8", attribute(INNER, "quantized_data", lambda values: 0 * values), "by 1 of its size"),
        ("int8", attribute(INNER, "quantized_data", lambda values: -values), "by 2 of its size"),
        ("fp16", attribute(TABLE, "val", nan_row), "holds NaN or infinity"),
        ("fp32", attribute(TABLE, "val", swapped), "differs in 2 rows, the first is 60"),
        ("int8", argument("gelu", "mode", "strings", "TANH_APPROXIMATION"), "TANH_APPROXIMATION"),
        ("int8", argument("softmax", "axis", "ints", 1), "operators softmax [('axis', [1])]"),
    ],
)
def test_a_doctored_coreml_file_is_refused(
    coreml: Files, precision: str, change: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    from edgebert.runtime.mil.package import open_package

    valid = coreml.of(precision)
    shutil.copytree(valid.path, tmp_path / "model.mlpackage")
    package = open_package(tmp_path / "model.mlpackage")
    change(package)
    package.model.write_bytes(package.spec.SerializeToString())
    result = coreml.failures(replace(valid, path=package.path))
    assert any(reason in failure for failure in result), result


def test_what_half_precision_cannot_store_is_no_difference() -> None:
    """The bias of a trained key can be this small throughout, as its gradient is zero."""
    drawn = np.random.default_rng(0).normal(size=64).astype(np.float32)

    def failures(ours: np.ndarray, theirs: np.ndarray) -> list[str]:
        created, origin = (Contents({"key.bias": item}) for item in (ours, theirs))
        return contents_failures(created, Precision("int8"), origin=origin, tables={})

    for size in (1e-7, 1e-3):
        half = (size * drawn).astype(np.float16).astype(np.float32)
        assert failures(half, size * drawn) == []
    assert np.abs(half - size * drawn).max() > 0
    wanted = "weight key.bias differs by 0.3 of its size, more than its bits explain"
    assert failures(1.3e-3 * drawn, 1e-3 * drawn) == [wanted]


def test_one_scale_explains_what_the_largest_number_makes_coarse() -> None:
    """Each number is right to half a step of the whole tensor, and the file is sound; a twentieth more is not explained."""
    drawn = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    drawn[3, 5] = 150.0
    step = np.float32(150 / 127)
    rounded = np.rint(drawn / step) * step

    def failures(ours: np.ndarray, **own: Any) -> list[str]:
        created, origin = (Contents({"dense.weight": item}) for item in (ours, drawn))
        return contents_failures(created, Precision("int8", **own), origin=origin, tables={})

    assert failures(rounded, one_scale=True) == []
    assert "more than its bits explain" in failures(rounded)[0]  # with a scale a channel it would be wrong
    assert failures(1.05 * rounded, one_scale=True) and failures(rounded[::-1], one_scale=True)
