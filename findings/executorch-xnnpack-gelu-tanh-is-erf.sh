#!/usr/bin/env bash
# executorch 1.5.1, torch 2.13.0, Python 3.11.
#
# One would guess: a partitioner that takes an operator computes it as it is written, so gelu(approximate="tanh"), the
# activation of many published encoders, gives the same numbers inside XNNPACK as outside.
# What happens: the partitioner takes it and drops its argument: XNNPACK computes the GELU by erf, 4.7e-4 away at most, more
# than any kernel's rounding and enough to fail a comparison of float32 files. Portable kernels compute what was asked.
# Written as its formula (multiplications and a tanh) the model is right with XNNPACK too.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 executorch==1.5.1
cat > "$place/gelu.py" <<'PYTHON'
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from torch.nn.functional import gelu

x = torch.linspace(-4, 4, 64)[None]
for formula in ("none", "tanh"):
    for kernels, partitioner in (("XNNPACK", [XnnpackPartitioner()]), ("portable", [])):
        exported = torch.export.export(torch.nn.GELU(approximate=formula).eval(), (x,))
        program = to_edge_transform_and_lower(exported, partitioner=partitioner).to_executorch()
        result = Runtime.get().load_program(program.buffer).load_method("forward").execute([x])[0]
        away = {name: (result - gelu(x, approximate=name)).abs().max().item() for name in ("none", "tanh")}
        said = ", ".join(f"{'erf' if name == 'none' else name}: {'equal' if far < 1e-5 else f'{far:.1e} away'}"
                         for name, far in away.items())
        print(f"approximate={formula}, {kernels}: {said}")
PYTHON
"$place/venv/bin/python" "$place/gelu.py" 2>/dev/null | tee "$place/seen"
diff - "$place/seen" <<'SEEN'
approximate=none, XNNPACK: erf: equal, tanh: 4.7e-04 away
approximate=none, portable: erf: equal, tanh: 4.7e-04 away
approximate=tanh, XNNPACK: erf: equal, tanh: 4.7e-04 away
approximate=tanh, portable: erf: 4.7e-04 away, tanh: equal
SEEN
