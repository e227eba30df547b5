"""What converters trace: masks that stay finite in float16, whoever makes them, and one order of operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from edgebert.modeling.graph import MASKED, ClampedMasks, Graph, ordered_rotations
from tests.families import FAMILIES, tiny

FLOAT16_LEAST = -65504.0
# Families that fill their masks with the least float. The others: XLNet with -1e30 and Funnel with -1e6 of their own, FNet has
# no mask, and MPNet takes the logarithm of distances, 0 among them, whose infinity no mask is.
OF_THEIR_OWN = ("xlnet", "funnel", "fnet", "mpnet")


class Least(TorchDispatchMode):
    """The least number that any operator within it gives."""

    value = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for item in results if isinstance(results, tuple | list) else (results,):
            if isinstance(item, torch.Tensor) and item.is_floating_point() and item.numel():
                self.value = min(self.value, float(item.min()))
        return results


def padded(graph: Graph) -> tuple[torch.Tensor, ...]:
    ids = torch.arange(16).reshape(2, 8) + 5
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    named = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return tuple(named[name] for name in graph.inputs)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in OF_THEIR_OWN])
def test_a_clamped_graph_reaches_no_number_that_float16_lacks(family: str) -> None:
    model = tiny(family)
    least, outputs = {}, {}
    for masks in ("model", "clamped"):
        graph = Graph(model, masks=masks).eval()  # type: ignore[arg-type]
        with torch.inference_mode(), Least() as seen:
            outputs[masks] = graph(*padded(graph))[0]
        least[masks] = seen.value
    assert least["model"] < FLOAT16_LEAST < least["clamped"] < MASKED / 2
    real = padded(graph)[graph.inputs.index("attention_mask")].bool()
    assert torch.allclose(outputs["model"][real], outputs["clamped"][real], atol=1e-5)


def test_of_the_numbers_only_the_least_floats_are_others() -> None:
    scores, hidden = torch.zeros(2, 3), torch.tensor([[True, False, True]] * 2)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        least = torch.finfo(dtype).min
        with ClampedMasks():
            made = (
                scores.masked_fill(hidden, least), torch.where(hidden, least, 0.0), hidden.float() * least,
                torch.full((2, 3), fill_value=least), torch.tensor(least),
            )  # fmt: skip
        assert [float(item.min()) for item in made] == [MASKED] * 5
        assert torch.finfo(dtype).min == least, "what others read is left alone"
    with ClampedMasks():
        others = [float(torch.full((1,), value)) for value in (float("-inf"), -1e30, -3.0, 0.0)]
    assert others == [float("-inf"), float(torch.tensor(-1e30)), -3.0, 0.0]
    assert float(scores.masked_fill(hidden, torch.finfo(torch.float32).min).min()) == torch.finfo(torch.float32).min


def test_rotations_are_computed_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order the set of a process has: here both are asked for."""
    model = tiny("modernbert")
    rotation = model.model.rotary_emb
    states, positions = torch.zeros(1, 4, 32), torch.arange(4)[None]
    kinds = ["full_attention", "sliding_attention"]
    expected = {kind: rotation(states, positions, kind) for kind in kinds}
    order: list[str] = []
    compute = type(rotation).forward

    def watched(self: Any, x: Any, position_ids: Any, layer_type: str) -> Any:
        order.append(layer_type)
        return compute(self, x, position_ids, layer_type)

    monkeypatch.setattr(type(rotation), "forward", watched)
    for asked in (kinds, kinds[::-1]):
        order.clear()
        with ordered_rotations(model):
            given = {kind: rotation(states, positions, kind) for kind in asked}
        assert order == kinds
        assert all(torch.equal(a, b) for kind in kinds for a, b in zip(given[kind], expected[kind], strict=True))
    assert "forward" not in vars(rotation)
