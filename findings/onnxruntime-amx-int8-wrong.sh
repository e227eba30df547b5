#!/usr/bin/env bash
# ONNX Runtime 1.21 to 1.24 multiply int8 wrongly on processors with AMX.
#
# One would guess that a product of whole numbers is the same on every processor. On Xeons with amx_int8 (Sapphire Rapids
# and later, most cloud machines that are new) MatMulInteger of uint8 by int8 gives wrong elements for some sizes: 0.4 % of
# them with K = 384, N = 127, 64 rows; none with N = 153 or 384. No error, no warning, and a model's answers change here
# and there. 1.20.1 is right, and so are 1.25.0 and later; 1.23.2 is the last one for Python 3.10. Reported for 1.23.1 in
# https://github.com/microsoft/onnxruntime/issues/26324; https://github.com/microsoft/onnxruntime/pull/27671 tells the cause.
set -euo pipefail
if ! grep -q amx_int8 /proc/cpuinfo; then
  echo "this processor has no AMX: nothing to see here"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 onnx==1.20.0
cat > "$folder/product.py" <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

def wrong_share(rows, inner, columns):
    draw = np.random.default_rng(0)
    left = draw.integers(0, 256, (rows, inner), dtype=np.uint8)
    right = draw.integers(-127, 128, (inner, columns), dtype=np.int8)
    weights = [numpy_helper.from_array(right, "b"), numpy_helper.from_array(np.array(120, np.uint8), "zero")]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b", "zero"], ["y"])], "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [None, inner])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [None, columns])], weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"a": left})
    return float((result != (left.astype(np.int64) - 120) @ right.astype(np.int64)).mean())

shares = [wrong_share(64, 384, columns) for columns in (127, 153)]
print(f"onnxruntime {onnxruntime.__version__}: wrong elements {shares[0]:.4%} with 127 columns, {shares[1]:.4%} with 153")
wanted = sys.argv[1] == "wrong"
assert (shares[0] > 0) == wanted and shares[1] == 0, "this has changed"
PY
for pair in 1.20.1:right 1.21.1:wrong 1.24.4:wrong 1.25.1:right; do
  version=${pair%%:*}
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$folder/$version" "onnxruntime==$version"
  PYTHONPATH="$folder/$version" "$folder/venv/bin/python" "$folder/product.py" "${pair##*:}"
done
