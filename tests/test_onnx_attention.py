"""Attention as one operator of ONNX: the same numbers, found where it is and only there, and read back by the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgebert.converters import _onnx_int8
from edgebert.converters._onnx_attention import merge_attention
from edgebert.converters.onnx import CONVERTER, OnnxSession
from edgebert.runtime.session import Source
from edgebert.verify.contents import file_failures
from tests.test_onnx import batch, reduced, source, visible

HEADS, SIZE = 2, 3
WIDTH = HEADS * SIZE


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


# MPNet adds two biases, now in another order; ModernBERT turns queries by their position once they are cut into heads.
@pytest.mark.parametrize(
    ("family", "found", "largest"),
    [("bert", 2, 0), ("distilbert", 2, 0), ("mobilebert", 2, 0), ("mpnet", 2, 1e-6), ("modernbert", 0, 0)],
)
def test_an_int8_file_gives_the_numbers_that_it_gave_with_attention_in_parts(
    family: str, found: int, largest: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = source(family)
    exported = CONVERTER.export(ours, tmp_path)
    merged = reduced(ours, exported, "int8", tmp_path / "merged")
    monkeypatch.setattr(_onnx_int8, "with_attention", lambda model: model)
    parts = reduced(ours, exported, "int8", tmp_path / "parts")
    before, after = kinds(parts.path), kinds(merged.path)
    assert (before["Softmax"], after["Softmax"], after["Attention"]) == (2, 2 - found, found)
    assert before["Transpose"] - after["Transpose"] == 4 * found
    for rows in (batch(1, 1), batch(3, 13), batch(2, 60)):
        first, second = (visible(OnnxSession(item.path, 1).run(rows), rows)["logits"] for item in (merged, parts))
        assert np.abs(first - second).max() <= largest * np.abs(second).max()


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def attention(change: Callable[[list[Any]], object] = lambda nodes: None) -> ModelProto:
    """Of inputs q, k and v (batch, tokens, 6), 2 heads, scores divided by 1.5, with two biases; `change` alters its nodes."""
    rng = np.random.default_rng(0)
    arrays = {f"{x}_bias": rng.standard_normal(WIDTH).astype(np.float32) for x in "qkv"} | {
        "cut": np.array([0, 0, HEADS, SIZE]), "joined": np.array([0, 0, WIDTH]), "root": np.array(1.5, np.float32),
    }  # fmt: skip
    nodes = []
    for x, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            helper.make_node("Add", [f"{x}_bias", x], [f"{x}1"]),
            helper.make_node("Reshape", [f"{x}1", "cut"], [f"{x}2"]),
            helper.make_node("Transpose", [f"{x}2"], [f"{x}3"], perm=perm),
        ]
    nodes += [
        helper.make_node("MatMul", ["q3", "k3"], ["s1"]),
        helper.make_node("Div", ["s1", "root"], ["s2"]),
        helper.make_node("Add", ["s2", "near"], ["s3"]),
        helper.make_node("Add", ["mask", "s3"], ["s4"]),
        helper.make_node("Softmax", ["s4"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v3"], ["o"]),
        helper.make_node("Transpose", ["o"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t", "joined"], ["y"]),
    ]
    change(nodes)
    shapes = {name: ["b", "s", WIDTH] for name in "qkv"} | {"near": [1, HEADS, "s", "s"], "mask": ["b", 1, 1, "s"]}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_attention_by_its_formula() -> None:
    model = attention()
    bias = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert merge_attention(model) == 1
    model.opset_import[0].version = 23
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts == {"Add": 4, "Constant": 1, "Shape": 1, "Concat": 1, "Expand": 1, "Attention": 1}
    assert {item.name for item in model.graph.initializer} == {"q_bias", "k_bias", "v_bias"}
    rng = np.random.default_rng(1)
    given = {name: rng.standard_normal((2, 5, WIDTH)).astype(np.float32) for name in "qkv"}
    given["near"] = rng.standard_normal((1, HEADS, 5, 5)).astype(np.float32)
    given["mask"] = np.where(np.arange(5) < [[5], [3]], 0, -1e4).astype(np.float32)[:, None, None]
    (result,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)
    q, k, v = ((given[x] + bias[f"{x}_bias"]).reshape(2, 5, HEADS, SIZE).swapaxes(1, 2) for x in "qkv")
    p = softmax(q @ k.swapaxes(2, 3) / 1.5 + given["near"] + given["mask"])
    assert p[1, :, :, 3:].max() == 0
    assert np.allclose(result, (p @ v).swapaxes(1, 2).reshape(2, 5, WIDTH), atol=1e-6)


def replaced(at: int, name: str, value: Any) -> Callable[[list[Any]], object]:
    def change(nodes: list[Any]) -> None:
        item = next(item for item in nodes[at].attribute if item.name == name)
        item.CopyFrom(helper.make_attribute(name, value))

    return change


@pytest.mark.parametrize(
    "change",
    [
        replaced(13, "axis", 2),
        replaced(2, "perm", [0, 1, 2, 3]),  # of the queries
        replaced(5, "perm", [0, 2, 1, 3]),  # of the keys
        replaced(15, "perm", [0, 1, 2, 3]),  # of the result
        lambda nodes: nodes[10].input.__setitem__(1, "near"),  # what divides is no constant
        lambda nodes: nodes[0].input.__setitem__(0, "v"),  # no bias tells the width of the queries
        lambda nodes: nodes.append(helper.make_node("Neg", ["o"], ["z"])),  # read by something else too
        lambda nodes: nodes.append(helper.make_node("ReduceMean", ["y"], ["z"], axes=[1])),  # not so written in opset 23
    ],
)  # fmt: skip
def test_what_only_looks_like_attention_stays_as_it_is(change: Callable[[list[Any]], object]) -> None:
    model = attention(change)
    before = model.SerializeToString()
    assert merge_attention(model) == 0
    assert model.SerializeToString() == before


@pytest.fixture(scope="module")
def bert() -> Source:
    return source()


def test_the_gate_reads_a_merged_file_beside_one_that_is_not(bert: Source, tmp_path: Path) -> None:
    exported = CONVERTER.export(bert, tmp_path)
    assert (kinds(exported.path)["Attention"], kinds(exported.path)["Softmax"]) == (0, 2)
    words = {"words": bert.graph.model.bert.embeddings.word_embeddings.weight.detach().numpy()}
    for precision, merged in (("int8", 2), ("int4-embedding", 2), ("int4", 2), ("int8-static", 0), ("fp16", 0)):
        created = reduced(bert, exported, precision, tmp_path / precision)
        assert kinds(created.path)["Attention"] == merged
        assert file_failures(CONVERTER, created, exported, words) == []
    model = onnx.load(tmp_path / "int8" / "model.onnx")
    del next(node for node in model.graph.node if node.op_type == "Attention").input[3]  # its mask
    onnx.save(model, tmp_path / "int8" / "model.onnx")
    created = reduced(bert, exported, "int8", tmp_path / "again")
    onnx.save(model, created.path)
    assert file_failures(CONVERTER, created, exported, words) == [
        "its operators read one another otherwise than the float32 file's do"
    ]


def test_where_onnx_runtime_lacks_the_operator_attention_stays_in_parts(
    bert: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = CONVERTER.export(bert, tmp_path)
    monkeypatch.setattr(onnxruntime, "__version__", "1.20.1")  # the last for Python 3.10 that edgebert takes
    created = reduced(bert, exported, "int8", tmp_path / "8")
    assert kinds(created.path)["Softmax"] == 2
    assert {item.version for item in onnx.load(created.path).opset_import if not item.domain} == {17}
