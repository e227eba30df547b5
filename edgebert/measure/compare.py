"""Whether a device computes what this machine computes: its outputs against a run here of the same file and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgebert.converters import runnable_converter
from edgebert.errors import EdgebertError
from edgebert.measure.runner import make_batches
from edgebert.measure.targets import File, Job, MeasurementRecord

if TYPE_CHECKING:
    from edgebert.types import JSON


@dataclass(frozen=True)
class Agreement:
    """A device's outputs held against a run here."""

    n: int  # inputs
    max_difference: float  # of any output, in its own units; NaN where the device gave one
    equal_predictions: float  # share, 0 to 1, of the places where the largest logit is the same one


def compare(file: File, job: Job, result: MeasurementRecord) -> Agreement:
    """The first inputs' outputs that the device sent back against a run here, one thread.

    Raises:
        EdgebertError: nothing came back, other outputs or shapes than the file has, or the file does not open here.
    """
    if not result.outputs:
        raise EdgebertError(f"the device sent no outputs of {result.name}", where=str(file.path), hint=result.failure)
    session = runnable_converter(file.format).open(file.path, 1)
    pairs = []
    for given, theirs in zip(make_batches({"inputs": job.inputs}), result.outputs, strict=False):
        pairs += _pairs(session.run(given), theirs, result.name)
    differences = [float(np.abs(ours - theirs).max(initial=0.0)) for ours, theirs in pairs]
    same = np.concatenate([(ours.argmax(-1) == theirs.argmax(-1)).reshape(-1) for ours, theirs in pairs])
    return Agreement(len(result.outputs), float(np.max(differences)), float(same.mean()))


def _pairs(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, JSON], name: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each output of both sides, in float64 and of equal shape."""
    if set(ours) != set(theirs):
        raise EdgebertError(f"the device's outputs of {name} are {sorted(theirs)}, here they are {sorted(ours)}")
    pairs = [(ours[key].astype(np.float64), np.asarray(theirs[key], np.float64)) for key in ours]
    for here, there in pairs:
        if here.shape != there.shape:
            raise EdgebertError(f"an output of {name} has shape {there.shape} on the device and {here.shape} here")
    return pairs
