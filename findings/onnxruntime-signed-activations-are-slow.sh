#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.22.0, Python 3.11, x86-64 with 8-bit dot products (VNNI).
#
# One would guess: 8 bits are 8 bits. Symmetric activations, signed and without a zero point, save the correction of sums, so a
# product of two signed matrices is at least as fast as one of unsigned activations by signed weights.
# What happens: MatMulInteger of signed by signed numbers takes several times as long, 8 to 12 times on an AMD EPYC, although
# the results are the same to the last number: x86's instructions multiply unsigned by signed numbers, and ONNX Runtime has no
# other path to them. Quantize activations to unsigned numbers with a zero point.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.22.0 numpy==2.3.5
cat > "$place/multiply.py" <<'PYTHON'
import statistics
import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

N, RUNS = 512, 25
random = np.random.default_rng(0)
weights = numpy_helper.from_array(random.integers(-127, 128, (N, N)).astype(np.int8), "w")
numbers = random.integers(0, 120, (N, N))  # the same whether signed or not


def product(kind, array):
    ports = [helper.make_tensor_value_info(name, of, [N, N]) for name, of in (("a", kind), ("y", TensorProto.INT32))]
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["a", "w"], ["y"])], "product", ports[:1], ports[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": array})[0]


both = product(TensorProto.UINT8, numbers.astype(np.uint8)), product(TensorProto.INT8, numbers.astype(np.int8))
seconds = [], []
for _ in range(RUNS):
    for run, times in zip(both, seconds, strict=True):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
ratio = statistics.median(seconds[1]) / statistics.median(seconds[0])
print(f"measured: signed takes {ratio:.1f} times as long")
print("the same results:", np.array_equal(both[0](), both[1]()), "- over 3 times as long:", ratio > 3)
PYTHON
"$place/venv/bin/python" "$place/multiply.py" | tee "$place/seen"
grep -qx "the same results: True - over 3 times as long: True" "$place/seen"
