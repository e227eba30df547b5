#!/usr/bin/env bash
# coreai-opt 0.4.0, coreai-torch 0.4.3, torch 2.13.0, Python 3.11.
#
# One would guess: symmetric int8 weights have the scale largest/127, as ONNX Runtime's, XNNPACK's and coremltools' have, so
# that the largest weight of a channel is kept exactly and zero is zero.
# What happens: the preset w8 takes 2 * largest / 255, between whose steps the largest weight itself lies: it comes back 0.4 %
# too small, of either sign, and half of it 0.4 % too large. Who holds such a file's weights against another tool's of the
# same bits, or recomputes the scale from the float model as largest/127, finds every channel's scale off by 0.4 %.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 coreai-opt==0.4.0 coreai-torch==0.4.3
cat > "$place/quantize.py" <<'PYTHON'
import torch
from coreai_opt.quantization import ExecutionMode, Quantizer, QuantizerConfig

linear = torch.nn.Linear(4, 2, bias=False)
linear.weight.data = torch.tensor([[1.0, -0.5, 0.25, 0.0], [-1.0, -0.5, 0.25, 0.0]])
config = QuantizerConfig.presets.w8()
config.execution_mode = ExecutionMode.EAGER
quantizer = Quantizer(torch.nn.Sequential(linear).eval(), config)
module = quantizer.finalize(quantizer.prepare((torch.zeros(1, 4),)))
with torch.no_grad():
    columns = module(torch.eye(4)).T  # each output is a row of the weights that the file stands for
for row in columns:
    print([round(float(value), 5) for value in row])
PYTHON
"$place/venv/bin/python" "$place/quantize.py" 2>/dev/null | tee "$place/seen"
diff - "$place/seen" <<'SEEN'
[0.99608, -0.50196, 0.25098, 0.0]
[-0.99608, -0.50196, 0.25098, 0.0]
SEEN
