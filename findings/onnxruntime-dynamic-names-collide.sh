#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, Python 3.11.
#
# One would guess: quantize_dynamic gives the tensors that it adds names that the graph does not have, or refuses a graph
# in which they are taken; at the least that a model which it wrote without a warning is a valid one.
# What happens: the scale of a product's input X is named `X_scale`, whatever else is called so. A valid graph that scales
# an int8 embedding by a tensor of that name (what is natural: `rows`, and `rows_scale` of each row) gets a second
# definition of it. The file is written, nothing is said, and it does not load.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2
"$place/venv/bin/python" - "$place" <<'PYTHON' 2>/dev/null
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic


def graph_of(scale):
    """ids -> int8 rows, each times its own scale -> a product. `scale` is what the tensor of scales is called."""
    weights = {
        "table": np.arange(32, dtype=np.int8).reshape(8, 4),
        "scales": np.full((8, 1), 0.5, np.float32),
        "w": np.ones((4, 2), np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["codes"]),
        helper.make_node("Cast", ["codes"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scales", "ids"], [scale]),
        helper.make_node("Mul", ["values", scale], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["out"], name="product"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 2])
    known = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", [ids], [out], known), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def loads(path):
    try:
        ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        return "loads"
    except Exception as error:
        return str(error).split("Error: ")[-1].strip()


said = {}
for scale in ("row_scale", "rows_scale"):
    plain, small = f"{sys.argv[1]}/{scale}.onnx", f"{sys.argv[1]}/{scale}-int8.onnx"
    onnx.save(graph_of(scale), plain)
    quantize_dynamic(plain, small)
    said[scale] = loads(plain), loads(small)
    print(f"scales called {scale:10}: float32 {said[scale][0]}; after quantize_dynamic {said[scale][1]}")
assert said["row_scale"] == ("loads", "loads"), said
assert said["rows_scale"][0] == "loads" and "Duplicate definition of name (rows_scale)" in said["rows_scale"][1], said
PYTHON
