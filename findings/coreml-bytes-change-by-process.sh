#!/usr/bin/env bash
# coremltools 9.0, protobuf 7.36.2, numpy 2.3.5
#
# One would guess that the same Core ML program saved twice is the same file, or that it is with PYTHONHASHSEED=0. Saving
# twice in one process does give the same model.mlmodel, so a test that saves twice passes. But protobuf's C runtime writes
# the entries of map fields (a program's functions, an operation's inputs and attributes) in an order that follows a seed
# of the process, not Python's: every new process writes other bytes, whatever PYTHONHASHSEED says. The identifiers in
# Manifest.json are drawn at random besides. A sum over a .mlpackage, a cache key or a signature made from it so never
# repeats. Read the spec again and write it with SerializeToString(deterministic=True): then all are alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "coremltools==9.0" "protobuf==7.36.2" "numpy==2.3.5"
cat > "$folder/save.py" <<'PY'
import hashlib
import pathlib
import tempfile

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.proto import Model_pb2


@mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))])
def program(x):
    for i in range(8):
        x = mb.relu(x=mb.add(x=x, y=np.float32(i), name=f"add_{i}"), name=f"relu_{i}")
    return x


target = ct.target.iOS16
model = ct.convert(program, convert_to="mlprogram", skip_model_load=True, minimum_deployment_target=target)
for _ in range(2):
    with tempfile.TemporaryDirectory() as folder:
        package = pathlib.Path(folder) / "m.mlpackage"
        model.save(str(package))
        raw = next(package.rglob("*.mlmodel")).read_bytes()
        spec = Model_pb2.Model()
        spec.ParseFromString(raw)
        sums = [hashlib.sha256(one).hexdigest()[:12] for one in (raw, spec.SerializeToString(deterministic=True))]
        print("saved", *sums)
PY
for _ in 1 2 3 4; do
  PYTHONHASHSEED=0 "$folder/venv/bin/python" "$folder/save.py" 2>/dev/null | grep saved >> "$folder/sums"
done
cat "$folder/sums"
saved=$(cut -d' ' -f2 "$folder/sums" | sort -u | wc -l)
deterministic=$(cut -d' ' -f3 "$folder/sums" | sort -u | wc -l)
echo "4 processes, 2 saves each: $saved different files, $deterministic when written deterministically"
[ "$saved" -gt 1 ] && [ "$deterministic" -eq 1 ] || { echo "it has changed"; exit 1; }
