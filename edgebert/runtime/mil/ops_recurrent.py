"""Ops that go through a sequence step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from edgebert.runtime.mil.registry import Tensors, op, refuse

USUAL = ("sigmoid", "tanh", "tanh")  # of the gates, of what goes into the cell, of what comes out


@op("lstm")
def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
) -> Tensors:
    """x (seq, batch, width), states (batch, hidden); rows of the weights are input, forget, output gate, then the cell.

    Returns:
        (seq, batch, hidden), or (1, batch, hidden) of the last step, then the last state and cell.
    """
    kinds = (recurrent_activation, cell_activation, activation)
    if direction != "forward" or kinds != USUAL:
        raise refuse(f"an lstm in direction {direction} with {', '.join(kinds)}")
    h, c, results = initial_h, initial_c, []
    for step in x:
        gates = step @ weight_ih.T + h @ weight_hh.T + (0.0 if bias is None else bias)
        put_in, keep, give, new = gates.chunk(4, -1)
        c = torch.sigmoid(keep) * c + torch.sigmoid(put_in) * torch.tanh(new)
        h = torch.sigmoid(give) * torch.tanh(c)
        results.append(h)
    return (torch.stack(results) if output_sequence else h[None]), h, c
