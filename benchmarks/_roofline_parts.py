"""Small graphs for `benchmarks.roofline`: plain products that show what the processor can do, and other ways to write the parts
of a pass, each beside what the file has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
FLOAT, INT8, UINT8, INT32 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32
ROUNDS, IN_A_ROW = 30, 5
Part = Callable[[], object]
Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]


def part(
    nodes: Sequence[Node],
    inputs: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray],
    results: Sequence[str] = "y",
) -> Part:
    """A run of a graph, one thread. Operators that ONNX lacks are ONNX Runtime's own."""
    made = []
    for kind, reads, gives, options in nodes:
        domain = "" if onnx.defs.has(kind) else MICROSOFT
        made.append(helper.make_node(kind, list(reads), list(gives), domain=domain, **options))
    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in inputs.items()}
    graph = helper.make_graph(
        made,
        "part",
        [helper.make_tensor_value_info(name, types[name], list(value.shape)) for name, value in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in results],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    sets = [helper.make_opsetid("", 23), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=11)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(inputs))


def in_turns(parts: Mapping[str, Part], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of the processor for each run, by name: what others compute meanwhile hardly moves them."""
    results: dict[str, list[float]] = {name: [] for name in parts}
    for run in parts.values():
        run()
    for _ in range(rounds):
        for name, run in parts.items():
            for _ in range(IN_A_ROW):
                results[name].append(_seconds(run))
    return results


def product(kind: str, m: int, k: int, n: int) -> Part:
    """(m, k) x (k, n): `u8s8` and `s8s8` by MatMulInteger, as quantize_dynamic writes it, `f32` by MatMul."""
    rng = np.random.default_rng(0)
    if kind == "f32":
        sides = rng.random((m, k), np.float32), rng.random((k, n), np.float32)
        return part([("MatMul", "ab", "y", {})], {"a": sides[0]}, {"b": sides[1]})
    left = rng.integers(0, 127, (m, k)).astype(np.uint8 if kind == "u8s8" else np.int8)
    right = rng.integers(-127, 128, (k, n)).astype(np.int8)
    return part([("MatMulInteger", "ab", "y", {})], {"a": left}, {"b": right})


def bandwidth(megabytes: int = 256, times: int = 12) -> dict[str, float]:
    """GB/s of numpy's copy, read and written bytes together, and of its sum of 64-bit integers, beyond every cache."""
    source = np.ones(megabytes * 2**20 // 8, np.int64)
    target = np.empty_like(source)
    results = {}
    for name, run, moved in (("copy", lambda: np.copyto(target, source), 2), ("read", source.sum, 1)):
        seconds = [_seconds(run) for _ in range(times)]
        results[name] = moved * source.nbytes / min(seconds) / 1e9
    return results


def _seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def attentions(tokens: int, width: int, heads: int) -> dict[str, Part]:
    """softmax(query keys / sqrt(size) + mask) values, the first as the file had it before."""
    size, rng = width // heads, np.random.default_rng(0)
    inputs = {name: rng.standard_normal((1, tokens, width)).astype(np.float32) for name in "qkv"}
    masked = inputs | {"mask": np.zeros((1, 1, 1, tokens), np.float32)}
    constants = {
        "heads": np.array([0, 0, heads, size]),
        "joined": np.array([0, 0, width]),
        "scale": np.array(size**-0.5, np.float32),
        "rows": np.array([1, 1, tokens, 1]),
    }
    parts: list[Node] = []
    for name, perm in (("q", (0, 2, 1, 3)), ("k", (0, 2, 3, 1)), ("v", (0, 2, 1, 3))):
        parts += [
            ("Reshape", [name, "heads"], [f"{name}1"], {}),
            ("Transpose", [f"{name}1"], [f"{name}2"], {"perm": perm}),
        ]
    parts += [("MatMul", ["q2", "k2"], ["s"], {}), ("Mul", ["s", "scale"], ["t"], {}), ("Add", ["t", "mask"], ["u"], {}),
              ("Softmax", ["u"], ["p"], {}), ("MatMul", ["p", "v2"], ["o"], {}),
              ("Transpose", ["o"], ["w"], {"perm": (0, 2, 1, 3)}), ("Reshape", ["w", "joined"], ["y"], {})]  # fmt: skip
    own, kept = {"num_heads": heads}, {"q_num_heads": heads, "kv_num_heads": heads}
    rows: Node = ("Expand", ["mask", "rows"], ["mask2"], {})
    return {
        "in parts": part(parts, masked, constants),
        "Attention (ONNX, opset 23)": part(
            [rows, ("Attention", ["q", "k", "v", "mask2"], ["y"], kept)], masked, constants
        ),
        "Attention (ONNX) without a mask": part([("Attention", ["q", "k", "v"], ["y"], kept)], inputs, {}),
        "MultiHeadAttention (com.microsoft)": part(
            [rows, ("MultiHeadAttention", ["q", "k", "v", "", "", "mask2"], ["y"], own)], masked, constants
        ),
        "MultiHeadAttention without a mask: flash attention": part(
            [("MultiHeadAttention", ["q", "k", "v"], ["y"], own)], inputs, {}
        ),
    }


def scores(tokens: int, width: int, heads: int) -> dict[str, Part]:
    """Queries by keys, of heads that are cut already."""
    size, rng = width // heads, np.random.default_rng(0)
    shapes = {"q": (1, heads, tokens, size), "k": (1, heads, size, tokens)}
    inputs = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    nodes: list[Node] = [("DynamicQuantizeLinear", x, [f"{x}8", f"{x}s", f"{x}z"], {}) for x in "qk"]
    nodes.append(("MatMulIntegerToFloat", ["q8", "k8", "qs", "ks", "qz", "kz"], ["y"], {}))
    return {
        "MatMul": part([("MatMul", "qk", "y", {})], inputs, {}),
        "MatMulIntegerToFloat of both in 8 bits": part(nodes, inputs, {}),
    }


def activations(tokens: int, width: int) -> dict[str, Part]:
    """GELU and what is near it, over the inner width."""
    inputs = {"x": np.random.default_rng(0).standard_normal((1, tokens, width)).astype(np.float32)}
    return {
        "Gelu": part([("Gelu", "x", "y", {})], inputs, {}),
        "Gelu by tanh (another function)": part([("Gelu", "x", "y", {"approximate": "tanh"})], inputs, {}),
        "QuickGelu (another function)": part([("QuickGelu", "x", "y", {})], inputs, {}),
        "Relu (another function)": part([("Relu", "x", "y", {})], inputs, {}),
    }


def three_projections(tokens: int, width: int) -> dict[str, Part]:
    """Queries, keys and values of one input."""
    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((1, tokens, width)).astype(np.float32)}
    whole = {"w": rng.integers(-127, 128, (width, 3 * width)).astype(np.int8), "s": rng.random(3 * width, np.float32),
             "z": np.zeros(3 * width, np.int8), "b": rng.random(3 * width, np.float32)}  # fmt: skip
    thirds = {f"{name}{i}": np.ascontiguousarray(third)
              for name, array in whole.items() for i, third in enumerate(np.split(array, 3, -1))}  # fmt: skip
    nodes: list[Node] = [("DynamicQuantizeLinear", "x", ["q", "qs", "qz"], {})]
    for i in range(3):
        reads = ["q", f"w{i}", "qs", f"s{i}", "qz", f"z{i}", f"b{i}"]
        nodes.append(("MatMulIntegerToFloat", reads, [f"y{i}" if i else "y"], {}))
    one: list[Node] = [
        ("DynamicQuantizeMatMul", "xwszb", "a", {}),
        ("Split", "a", ["y", "y1", "y2"], {"axis": 2, "num_outputs": 3}),
    ]
    return {
        "three products of one quantized input": part(nodes, inputs, thirds, ("y", "y1", "y2")),
        "one product, split": part(one, inputs, whole, ("y", "y1", "y2")),
    }


def norms(tokens: int, width: int) -> dict[str, Part]:
    """A residual sum and its layer norm."""
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal((1, tokens, width)).astype(np.float32) for name in "xr"}
    constants = {name: rng.standard_normal(width).astype(np.float32) for name in "gb"}
    return {
        "Add": part([("Add", "xr", "y", {})], inputs, {}),
        "LayerNormalization": part([("LayerNormalization", "xgb", "y", {})], {"x": inputs["x"]}, constants),
        "SkipLayerNormalization, of both": part([("SkipLayerNormalization", "xrgb", "y", {})], inputs, constants),
    }


def projections(tokens: int, width: int, inner: int) -> dict[str, Part]:
    """A dynamic product with a scale a channel and a bias, and MatMulNBits over blocks of 128 in its place."""
    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((1, tokens, width)).astype(np.float32)}
    constants = {
        "w": rng.integers(-127, 128, (width, inner)).astype(np.int8),
        "s": rng.random(inner, np.float32),
        "z": np.zeros(inner, np.int8),
        "b": rng.random(inner, np.float32),
    }
    blocks = {"w": rng.integers(0, 255, (inner, width // 128, 128)).astype(np.uint8),
              "s": rng.random(inner * (width // 128), np.float32)}  # fmt: skip
    options = {"K": width, "N": inner, "bits": 8, "block_size": 128, "accuracy_level": 4}
    quantized = {"q": np.zeros((1, tokens, width), np.uint8)}
    return {
        "DynamicQuantizeMatMul": part([("DynamicQuantizeMatMul", "xwszb", "y", {})], inputs, constants),
        "MatMulInteger alone": part([("MatMulInteger", "qw", "y", {})], quantized, {"w": constants["w"]}),
        "MatMulNBits, 8 bits, blocks of 128": part([("MatMulNBits", "xws", "y", options)], inputs, blocks),
    }
