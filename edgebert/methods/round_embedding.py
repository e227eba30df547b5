"""Round the word table to few bits before training, and hold it, so that the packed file holds what was trained.

Rows as in Guan, Malevich, Yang, Park, Yuen (2019), "Post-Training 4-bit Quantization on Embedding Tables", arXiv
1911.02079: each row of the table has a scale of its own, searched for the least squared error (their section on greedy
search shrinks the range from both ends; here the range is symmetric about 0, which every format can store):

    row ≈ s · q,   q integer, |q| ≤ 2^(bits-1) - 1,   s = c · max|row| / (2^(bits-1) - 1),   c from 1 down to 0.7

Difference: they round after training. Here the rounded table is frozen and the layers above learn from it, as in
training that knows of quantization, so that rounding costs what is left after distillation and not what it costs a
finished model. Trained rows would leave the grid again, and most rows of a small corpus never get a gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.methods import Method, Paper, Param
from edgebert.training.context import MethodContext
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor

SHRINKS = tuple(1 - 0.025 * i for i in range(13))


def round_rows(table: Tensor, bits: int) -> Tensor:
    """(rows, width) with each row on its grid of 2^bits - 1 values."""
    import torch

    top = 2 ** (bits - 1) - 1
    largest = table.abs().amax(1, keepdim=True).clamp(min=1e-12)
    best, error = table, torch.full((len(table), 1), torch.inf)
    for shrink in SHRINKS:
        scale = shrink * largest / top
        rounded = (table / scale).round().clamp(-top, top) * scale
        gap = (rounded - table).square().sum(1, keepdim=True)
        best, error = torch.where(gap < error, rounded, best), torch.minimum(gap, error)
    return best


def apply(student: Student, context: MethodContext, *, bits: int) -> Student:
    """The student with a rounded, frozen word table."""
    import torch

    table = student.model.get_input_embeddings().weight
    with torch.no_grad():
        rounded = round_rows(table, bits)
        share = float((rounded - table).norm() / table.norm())
        table.copy_(rounded)
    table.requires_grad_(False)
    student.notes += (f"word table rounded to {bits} bits a row and held: {100 * share:.1f} % of its norm moved",)
    return student


METHOD = Method(
    name="round-embedding",
    title="Round the word table to 4 bits before training, and hold it",
    paper=Paper(
        "Post-Training 4-bit Quantization on Embedding Tables", "Guan, Malevich, Yang, Park, Yuen", 2019, "1911.02079"
    ),
    stage="vocabulary",
    apply=apply,
    params=(Param("bits", int, 4, "of a value of the table", minimum=2),),
    any_tokenizer=True,
    toy={"bits": 4},
)
