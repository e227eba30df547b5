"""What is read of the inside of a model, for every family: against what its own modules give."""

from __future__ import annotations

import pytest
import torch

from edgebert.errors import RequestError
from edgebert.training.align import layer_map, projection
from edgebert.training.features import missing_features, trace_hidden_states
from tests.families import FAMILIES, tiny

WITHOUT = {"fnet": "no attention probabilities", "xlnet": "no value projection", "funnel": "no value projection"}
BATCH = {
    "input_ids": torch.arange(3, 23).reshape(2, 10),
    "attention_mask": torch.tensor([[1] * 10, [1] * 6 + [0] * 4]),
    "token_type_ids": torch.zeros(2, 10, dtype=torch.int64),
}


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in WITHOUT])
def test_values_and_attention_make_the_context(family: str) -> None:
    """Attention times the values of the last layer is what its output projection reads."""
    model = tiny(family)
    seen: list[torch.Tensor] = []
    inside = trace_hidden_states(model, BATCH, ("hidden states", "attentions", "values"))
    assert len(inside.hidden) == 3 and len(inside.attentions) == len(inside.values) == 2
    context = (inside.attentions[-1] @ inside.values[-1]).transpose(1, 2).flatten(2)
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv1d)]
    for module in last:
        module.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    trace_hidden_states(model, BATCH)
    seen = [item for item in seen if item.dim() == 3]
    shaped = [item.transpose(1, 2) if item.shape[1:] == (context.shape[2], 10) else item for item in seen]
    if family == "convbert":  # whose output projection also reads a convolution
        shaped = [item[..., : context.shape[2]] for item in shaped]
    alike = [item for item in shaped if item.shape == context.shape and torch.allclose(item, context, atol=1e-5)]
    assert alike, "no projection reads what attention and values make"


@pytest.mark.parametrize(("family", "why"), WITHOUT.items())
def test_families_that_lack_something_say_so(family: str, why: str) -> None:
    config = tiny(family).config
    assert why in missing_features(config, ("attentions", "values"))
    assert missing_features(config, ("hidden states",)) == ""


def test_an_explicit_map_is_checked() -> None:
    assert layer_map("uniform", 2, 6, (3, 5)) == (0, 3, 5)
    for wrong in ((5, 3), (0, 3), (3, 7), (3,)):
        with pytest.raises(RequestError, match=r"tinybert.layers"):
            layer_map("uniform", 2, 6, wrong, "tinybert.layers")


def test_equal_widths_need_no_projection() -> None:
    assert isinstance(projection(8, 8), torch.nn.Identity)
    assert projection(8, 12)(torch.zeros(1, 8)).shape == (1, 12)
