#!/usr/bin/env bash
# ModernBERT, transformers 5.23.0 with torch 2.13.0.
# One would guess: an attention mask handed in as an additive bias (batch, 1, 1, seq), the form that exporters to mobile
# formats like, gives the same answer as the 2-D mask of ones and zeros, or is refused.
# What happens: it is taken for the finished mask of every layer, so that layers of local attention lose their window and
# attend to all tokens. Nothing is said, and texts within the window come out equal, so that a short test passes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0
"$work/venv/bin/python" - <<'PY'
import torch
from transformers import ModernBertConfig, ModernBertModel

torch.manual_seed(0)
config = ModernBertConfig(
    vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
    local_attention=128, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
    initializer_range=0.3,
)
model = ModernBertModel._from_config(config, attn_implementation="eager").eval()
for n in (60, 65, 66, 200):
    ids = torch.randint(3, 100, (1, n))
    mask = torch.ones_like(ids)
    bias = (1.0 - mask[:, None, None, :].float()) * -1e4
    with torch.no_grad():
        gap = (model(ids, attention_mask=mask)[0] - model(ids, attention_mask=bias)[0]).abs().max().item()
    print(f"{n} tokens: the two masks differ by {gap:.2g}")
    assert (gap < 1e-4) == (n <= 65), "the behaviour has changed"
PY
