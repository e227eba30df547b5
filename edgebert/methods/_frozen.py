"""Training some parts of a model while the rest is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def only(model: nn.Module, parts: Sequence[nn.Module]) -> Iterator[None]:
    """Within it, nothing but these parts of the model is trained."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    wanted = {id(parameter) for part in parts for parameter in part.parameters()}
    for parameter, trained in before:
        parameter.requires_grad_(trained and id(parameter) in wanted)
    try:
        yield
    finally:
        for parameter, trained in before:
            parameter.requires_grad_(trained)
