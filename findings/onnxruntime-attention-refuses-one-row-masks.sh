#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.22.0, Python 3.11.
#
# One would guess: ONNX's own Attention operator (opset 23) says that its mask has to be broadcastable to (batch, heads,
# queries, keys), so the mask of a padded batch goes in as (batch, 1, 1, keys), as it stands in every BERT.
# What happens: onnx's checker and its reference take it, and ONNX Runtime loads the model and then fails in each run: the
# rows of queries must be written out (Expand), though it takes one matrix for all texts and heads.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.22.0 numpy==2.3.5
cat > "$place/attend.py" <<'PYTHON'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

BATCH, TOKENS, WIDTH, HEADS = 2, 5, 8, 2
sizes = {"b": BATCH, "s": TOKENS}
rows = np.random.default_rng(0).normal(size=(3, BATCH, TOKENS, WIDTH)).astype(np.float32)
for shape in (["b", 1, "s", "s"], ["s", "s"], ["b", 1, 1, "s"], [1, "s"]):
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "s", WIDTH]) for name in ("q", "k", "v", "y")]
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, shape)
    node = helper.make_node("Attention", ["q", "k", "v", "mask"], ["y"], q_num_heads=HEADS, kv_num_heads=HEADS)
    graph = helper.make_graph([node], "attention", [*ports[:3], mask], ports[3:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    given = dict(zip("qkv", rows, strict=True)) | {"mask": np.zeros([sizes.get(n, n) for n in shape], np.float32)}
    given["mask"][..., -1] = -1e4
    expected = ReferenceEvaluator(model).run(None, given)[0]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    try:
        same = np.allclose(session.run(None, given)[0], expected, atol=1e-5)
        print(shape, "as the reference" if same else "another result")
    except Exception as error:
        print(shape, "loads, and fails when it is run" if "running Attention node" in str(error) else error)
PYTHON
"$place/venv/bin/python" "$place/attend.py" | tee "$place/seen"
diff - "$place/seen" <<'SEEN'
['b', 1, 's', 's'] as the reference
['s', 's'] as the reference
['b', 1, 1, 's'] loads, and fails when it is run
[1, 's'] loads, and fails when it is run
SEEN
