"""QuantSpec: which weights and activations of a model are quantized, and by which scales.

A value x of a tensor is stored as the whole number q = clip(round(x / scale) + zero_point, low, high), where low and high
are those of its bits, and stands for (q - zero_point) * scale. A symmetric tensor has zero_point 0 and as many values above
0 as below it (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv 1712.05877, equation 1; symmetric ranges as in Krishnamoorthi 2018, arXiv 1806.08342, section 2.2).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edgebert.errors import TeacherError, shown
from edgebert.files import plain, write_atomic

FILE = "quantization.json"  # beside the weights of a checkpoint
SCHEMA = 1
Granularity = Literal["tensor", "channel", "group"]


@dataclass(frozen=True)
class TensorSpec:
    """How one tensor is quantized.

    Attributes:
        bits: of a stored number, 2 to 16.
        granularity: one scale for the tensor, one for each entry of its first axis, or one for each `group` entries of a
            row of it.
        symmetric: zero points are 0.
        scale: one, or one for each channel or group, in order; () leaves them to the converter.
        zero_point: as many as scales; () where symmetric.
        group: entries that share a scale; 0 where granularity is another.
    """

    bits: int = 8
    granularity: Granularity = "channel"
    symmetric: bool = True
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    group: int = 0

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 2 <= self.bits <= 16:
            raise ValueError(f"bits is {self.bits!r}, and must be 2 to 16")
        if self.granularity not in get_args(Granularity):
            raise ValueError(
                f"granularity is {self.granularity!r}, and must be one of {', '.join(get_args(Granularity))}"
            )
        if (self.group > 0) != (self.granularity == "group"):
            raise ValueError("group is set where granularity is 'group', and only there")
        if not all(math.isfinite(scale) and scale > 0 for scale in self.scale):
            raise ValueError("a scale must be a finite number above 0")
        if self.symmetric and any(self.zero_point):
            raise ValueError("a symmetric tensor has no zero point")
        if not self.symmetric and len(self.zero_point) != len(self.scale):
            raise ValueError(f"{len(self.scale)} scales have {len(self.zero_point)} zero points")

    @property
    def range(self) -> tuple[int, int]:
        """The least and the greatest stored number: -127 and 127 of 8 symmetric bits, 0 and 255 of others."""
        return (1 - 2 ** (self.bits - 1), 2 ** (self.bits - 1) - 1) if self.symmetric else (0, 2**self.bits - 1)


@dataclass(frozen=True)
class QuantSpec:
    """How a model is quantized.

    Attributes:
        weights: name of a parameter -> how it is stored.
        activations: name of a module -> how what it reads is quantized, with the ranges that training or calibration found.
    """

    weights: Mapping[str, TensorSpec] = field(default_factory=dict)
    activations: Mapping[str, TensorSpec] = field(default_factory=dict)


def write_spec(folder: Path, spec: QuantSpec) -> None:
    """Keeps the spec beside the weights of a checkpoint."""
    write_atomic(folder / FILE, json.dumps({"schema": SCHEMA, **plain(spec)}, indent=1, allow_nan=False) + "\n")


def read_spec(folder: Path) -> QuantSpec | None:
    """The spec of a checkpoint; None where it has none. Raises TeacherError for a file that is damaged or of another schema."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        if not path.is_file():  # a pipe would be read for ever
            raise ValueError("it is no file")
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("schema", None) != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        return QuantSpec(**{kind: _tensors(tensors) for kind, tensors in document.items()})
    except (OSError, ValueError, OverflowError, TypeError, AttributeError, RecursionError) as error:
        hint = "Delete it to leave the scales to the converters, or make the checkpoint again."
        raise TeacherError(
            f"no quantization that can be read: {shown(str(error))}", where=str(path), hint=hint
        ) from None


def _tensors(found: Mapping[str, Mapping[str, Any]]) -> dict[str, TensorSpec]:
    tensors = {}
    for name, fields in found.items():
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        tensors[name] = TensorSpec(**values)
    return tensors
