#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.3.5 (Python 3.11).
#
# Two quantizers in a row: quantize_dynamic for some products, then quantize_static for the others, each told by name which
# nodes are its own. One would guess that nodes which quantize_dynamic is not told to quantize stay as they are.
#
# What happens: quantize_dynamic first turns every Gemm of the graph into MatMul and Add, also those that
# nodes_to_quantize does not name, and gives the MatMul another name. quantize_static is then told a name that no node
# has, says nothing, and leaves the product in float.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.3.5 sympy
cd "$work"
"$work/venv/bin/python" - <<'PY'
import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

logging.disable(logging.WARNING)
drawn = np.random.default_rng(0)
weights = [numpy_helper.from_array(drawn.normal(size=(8, 8)).astype(np.float32), name) for name in ("w", "v")]
weights.append(numpy_helper.from_array(np.zeros(8, np.float32), "bias"))
nodes = [
    helper.make_node("MatMul", ["x", "w"], ["h"], name="body"),
    helper.make_node("Gemm", ["h", "v", "bias"], ["y"], name="head", transB=1),
]
ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 8]) for name in ("x", "y")]
graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "float.onnx")


class Rows(CalibrationDataReader):
    def __init__(self):
        self.rows = iter([{"x": drawn.normal(size=(1, 8)).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.rows, None)


def kinds(path):
    return [(node.op_type, node.name) for node in onnx.load(path).graph.node]


quantize_static("float.onnx", "alone.onnx", Rows(), nodes_to_quantize=["head"])
print("static alone:", [kind for kind, _ in kinds("alone.onnx")])
assert any(kind == "QuantizeLinear" for kind, _ in kinds("alone.onnx"))

quantize_dynamic("float.onnx", "dynamic.onnx", nodes_to_quantize=["body"])
print("after quantize_dynamic of 'body':", kinds("dynamic.onnx"))
assert "Gemm" not in [kind for kind, _ in kinds("dynamic.onnx")], "the Gemm was left alone"
assert "head" not in [name for _, name in kinds("dynamic.onnx")], "its name stayed"

quantize_static("dynamic.onnx", "both.onnx", Rows(), nodes_to_quantize=["head"])
print("then static of 'head':", [kind for kind, _ in kinds("both.onnx")])
assert not any(kind == "QuantizeLinear" for kind, _ in kinds("both.onnx")), "static found it"
print("quantize_static was told 'head', found no such node, and left the product in float without a word")
PY
