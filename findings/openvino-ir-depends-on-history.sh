#!/usr/bin/env bash
# openvino 2026.4.1, onnx 1.23.2, Python 3.11.
#
# One would guess: reading one ONNX file and saving it as OpenVINO's IR gives the same bytes each time, so that a hash of the
# .xml tells whether a model has changed, and a build can be repeated.
# What happens: a constant that OpenVINO makes itself, such as the axes of a layer norm or of a Gather, is named by a counter of
# all nodes that the process has made so far, and the name is written into the .xml. Read and saved three times in one process,
# one file gives three .xml of the same graph; the .bin are equal, and so is the first .xml of every process. A build that
# converts several models, or one more than yesterday, changes the hash of all that come after.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 onnx==1.23.2 numpy==2.3.5
cat > "$place/save.py" <<'PYTHON'
import hashlib
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper, numpy_helper

place = Path(sys.argv[1])
weights = [
    numpy_helper.from_array(np.arange(24, dtype=np.float32).reshape(6, 4), "table"),
    numpy_helper.from_array(np.ones(4, np.float32), "scale"),
    numpy_helper.from_array(np.zeros(4, np.float32), "bias"),
]
graph = helper.make_graph(
    [
        helper.make_node("Gather", ["table", "ids"], ["vectors"]),
        helper.make_node("LayerNormalization", ["vectors", "scale", "bias"], ["out"], axis=-1),
    ],
    "words",
    [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "seq"])],
    [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", "seq", 4])],
    weights,
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), place / "words.onnx")
for turn in range(3):
    openvino.save_model(openvino.Core().read_model(place / "words.onnx"), place / "words.xml", compress_to_fp16=False)
    xml = (place / "words.xml").read_text()
    sums = [hashlib.sha256(data).hexdigest()[:8] for data in (xml.encode(), (place / "words.bin").read_bytes())]
    names = sorted(set(re.findall(r'name="(Constant_\d+(?:_\d+)?)"', xml)))
    print(*sums, *names)
PYTHON
for process in 1 2; do
    mkdir "$place/$process"
    "$place/venv/bin/python" "$place/save.py" "$place/$process" 2>/dev/null | tee "$place/$process.txt"
done
[ "$(cut -d' ' -f1 "$place/1.txt" | sort -u | wc -l)" -eq 3 ] || { echo "the .xml are equal now"; exit 1; }
[ "$(cut -d' ' -f2 "$place/1.txt" | sort -u | wc -l)" -eq 1 ] || { echo "the .bin differ"; exit 1; }
cmp "$place/1.txt" "$place/2.txt"
