#!/usr/bin/env bash
# coremltools 9.0, numpy 2.3.5, Python 3.11 (Linux; nothing is run).
#
# One would guess: save_multifunction puts saved packages together as functions of one, so what they all say of themselves
# (author, licence, version, the user's own metadata, such as labels) stands in the result too, or is asked for.
# What happens: it is gone without a word. Descriptions of inputs and outputs stay. Set it again on the merged model.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check coremltools==9.0 numpy==2.3.5
cat > "$place/merge.py" <<'PYTHON'
import sys

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

folder = sys.argv[1]
table = np.arange(4096, dtype=np.float32).reshape(64, 64)
functions = MultiFunctionDescriptor()
for length in (16, 32):

    @mb.program(input_specs=[mb.TensorSpec(shape=(length, 64))], opset_version=ct.target.iOS18)
    def program(x):
        return mb.matmul(x=x, y=table, name="y")

    model = ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
    model.author, model.license, model.version = "A. Writer", "MIT", "3"
    model.user_defined_metadata["labels"] = "yes,no"
    model.input_description["x"] = "states"
    model.save(f"{folder}/{length}.mlpackage")
    functions.add_function(f"{folder}/{length}.mlpackage", "main", f"of_{length}")
functions.default_function_name = "of_32"
save_multifunction(functions, f"{folder}/both.mlpackage")
for name in ("16", "both"):
    found = ct.models.MLModel(f"{folder}/{name}.mlpackage", skip_model_load=True)
    own = {key: value for key, value in found.user_defined_metadata.items() if not key.startswith("com.github.apple")}
    inputs = found.get_spec().description
    described = inputs.input or inputs.functions[0].input
    print(name, [found.author, found.license, found.version], own, [item.shortDescription for item in described])
PYTHON
"$place/venv/bin/python" "$place/merge.py" "$place" 2>/dev/null | tee "$place/seen"
diff - "$place/seen" <<'SEEN'
16 ['A. Writer', 'MIT', '3'] {'labels': 'yes,no'} ['states']
both ['', '', ''] {} ['states']
SEEN
