"""ONNX files that are worse in one way: larger, slower, slower to load, larger in memory; each computes what it computed.

What is added to a graph ends in a number that is zero, which is added to the first output, so that no runtime leaves it out.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

ALWAYS, LONG, SELDOM = "always", "long", "seldom"
SIDE = 96  # of the square matrices that are multiplied
TRIED = 400  # products by which the time of one is found


def padded(path: Path, target: Path, n_bytes: int) -> Path:
    """With so many bytes of metadata that nothing reads."""
    model = _load(path)
    model.metadata_props.add(key="left_over", value="x" * n_bytes)
    return _save(model, target)


def slower(path: Path, target: Path, more_ms: float, when: str = ALWAYS) -> Path:
    """With matrix products of about `more_ms`: in every pass, in those of 128 tokens or more, or in one of eight by chance."""
    one, none = (_ms_a_run(_with_products(path, target, n, ALWAYS)) for n in (TRIED, 0))
    return _with_products(path, target, max(1, round(TRIED * more_ms / max(1e-3, one - none))), when)


def slow_to_load(path: Path, target: Path, more_ms: float) -> Path:
    """With products of constants, which the runtime computes while it loads the file."""
    n = 16
    before = _ms_a_load(_with_constants(path, target, 0, 512))
    after = _ms_a_load(_with_constants(path, target, n, 512))
    return _with_constants(path, target, max(1, round(n * more_ms / max(1.0, after - before))), 512)


def large_in_memory(path: Path, target: Path, more_mb: float) -> Path:
    """With a constant that takes so much memory while the file is loaded, and nothing in the file."""
    from onnx import TensorProto, helper, numpy_helper

    model = _load(path)
    numbers = int(more_mb * 1e6 / 4)
    shape = numpy_helper.from_array(np.array([numbers], np.int64), "wide_shape")
    value = helper.make_tensor("wide_value", TensorProto.FLOAT, [1], [0.5])
    model.graph.initializer.append(shape)
    nodes = [
        helper.make_node("ConstantOfShape", ["wide_shape"], ["wide"], value=value),
        helper.make_node("ReduceMax", ["wide"], ["wide_sum"], keepdims=0),
    ]
    return _save(_with_zero(model, nodes, "wide_sum"), target)


def coarser(path: Path, target: Path, bits: int) -> Path:
    """Its int8 matrices rounded to fewer bits."""
    from onnx import TensorProto, numpy_helper

    model, step = _load(path), 2 ** (8 - bits)
    for tensor in model.graph.initializer:
        if tensor.data_type in (TensorProto.INT8, TensorProto.UINT8) and np.prod(tensor.dims) > 1000:
            values = numpy_helper.to_array(tensor)
            limits = np.iinfo(values.dtype)
            middle = 0 if values.dtype == np.int8 else 128
            rounded = np.round((values.astype(np.int32) - middle) / step) * step + middle
            new = numpy_helper.from_array(np.clip(rounded, limits.min, limits.max).astype(values.dtype), tensor.name)
            tensor.CopyFrom(new)
    return _save(model, target)


def relabelled(path: Path, target: Path) -> Path:
    """With the last two labels of its metadata in each other's place."""
    import json

    model = _load(path)
    entry = next(item for item in model.metadata_props if item.key == "labels")
    labels = json.loads(entry.value)
    entry.value = json.dumps([*labels[:-2], labels[-1], labels[-2]])
    return _save(model, target)


def with_foreign_operators(path: Path, target: Path, n: int) -> Path:
    """With `n` operators that no accelerator takes."""
    from onnx import helper, numpy_helper

    model = _load(path)
    ids = model.graph.input[0].name
    model.graph.initializer.append(numpy_helper.from_array(np.array(7, np.int64), "seven"))
    nodes = [helper.make_node("Shape", [ids], ["seen_0"])]
    nodes += [helper.make_node("Mod", [f"seen_{i}", "seven"], [f"seen_{i + 1}"]) for i in range(n - 1)]
    nodes += [helper.make_node("Cast", [f"seen_{n - 1}"], ["seen_float"], to=1)]
    nodes += [helper.make_node("ReduceMax", ["seen_float"], ["seen_sum"], keepdims=0)]
    return _save(_with_zero(model, nodes, "seen_sum"), target)


# ---------------------------------------------------------------- graphs


def _load(path: Path) -> Any:
    import onnx

    return onnx.load(str(path))


def _save(model: Any, target: Path) -> Path:
    import onnx

    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(target))
    return target


def _with_zero(model: Any, nodes: list[Any], name: str) -> Any:
    """The nodes before all others, and 0 times the number that they end in added to the first output."""
    from onnx import helper, numpy_helper

    graph = model.graph
    output = graph.output[0].name
    for node in graph.node:
        for i, made in enumerate(node.output):
            if made == output:
                node.output[i] = f"{output}_before"
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    ending = [
        helper.make_node("Mul", [name, "nothing"], ["added"]),
        helper.make_node("Add", [f"{output}_before", "added"], [output]),
    ]
    ordered = [*nodes, *graph.node, *ending]
    del graph.node[:]
    graph.node.extend(ordered)
    return model


def _with_products(path: Path, target: Path, n: int, when: str) -> Path:
    from onnx import TensorProto, helper, numpy_helper

    model = _load(path)
    ids, rng = model.graph.input[0].name, np.random.default_rng(0)
    matrix = rng.standard_normal((SIDE, SIDE)).astype(np.float32) / SIDE**0.5
    constants = {"product_matrix": matrix, "product_times": np.array(n, np.int64), "product_go": np.array(True),
                 "product_axis": np.array(1, np.int64), "product_least": np.array(128, np.int64),
                 "product_share": np.array(1 / 8, np.float32)}  # fmt: skip
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    nodes = {
        ALWAYS: [helper.make_node("Identity", ["product_go"], ["product_now"])],
        LONG: [
            helper.make_node("Shape", [ids], ["product_shape"]),
            helper.make_node("Gather", ["product_shape", "product_axis"], ["product_length"]),
            helper.make_node("GreaterOrEqual", ["product_length", "product_least"], ["product_now"]),
        ],
        SELDOM: [
            helper.make_node("RandomUniform", [], ["product_drawn"], shape=[1]),
            helper.make_node("Squeeze", ["product_drawn"], ["product_draw"]),
            helper.make_node("Less", ["product_draw", "product_share"], ["product_now"]),
        ],
    }[when]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "product_matrix"], ["product_next"]),
            helper.make_node("Tanh", ["product_next"], ["state_after"]),
            helper.make_node("Identity", ["going"], ["going_after"]),
        ],
        "product",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [
            helper.make_tensor_value_info("going_after", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_after", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
    )
    nodes += [
        helper.make_node("Loop", ["product_times", "product_now", "product_matrix"], ["product_end"], body=body),
        helper.make_node("ReduceMax", ["product_end"], ["product_sum"], keepdims=0),
    ]
    return _save(_with_zero(model, nodes, "product_sum"), target)


def _with_constants(path: Path, target: Path, n: int, side: int) -> Path:
    from onnx import TensorProto, helper, numpy_helper

    model = _load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([side, side], np.int64), "load_shape"))
    value = helper.make_tensor("load_value", TensorProto.FLOAT, [1], [1 / side])
    nodes = [helper.make_node("ConstantOfShape", ["load_shape"], ["load_0"], value=value)]
    nodes += [helper.make_node("MatMul", [f"load_{i}", "load_0"], [f"load_{i + 1}"]) for i in range(n)]
    nodes += [helper.make_node("ReduceMax", [f"load_{n}"], ["load_sum"], keepdims=0)]
    return _save(_with_zero(model, nodes, "load_sum"), target)


def _session(path: Path) -> Any:
    from edgebert.measure.runner import Onnx

    return Onnx(str(path), 1)


def _ms_a_run(path: Path) -> float:
    """Of the fastest of 20 passes of 16 tokens."""
    session = _session(path)
    names = ("input_ids", "attention_mask", "token_type_ids")
    feed = session.prepare({name: np.ones((1, 16), np.int64) for name in names})
    return 1e3 * min(_seconds(lambda: session.run(feed)) for _ in range(20))


def _ms_a_load(path: Path) -> float:
    return 1e3 * min(_seconds(lambda: _session(path)) for _ in range(3))


def _seconds(run: Any) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
