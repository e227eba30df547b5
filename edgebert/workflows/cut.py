"""`edgebert cut`: a smaller network out of one that `dynabert` trained, by its shape or by what it may cost on a device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.budget.limits import broken, of_candidate
from edgebert.converters import find_precision
from edgebert.cost.analytic import count_parameters, predict_bytes, predict_latency
from edgebert.devices.profiles import HERE
from edgebert.faults import faults_as_errors
from edgebert.files import replace_folder
from edgebert.methods._supernet import Subnetwork, asked, cut_config, cut_model, scored_of
from edgebert.modeling.checkpoint import load_student, save_checkpoint
from edgebert.modeling.rebuild import auto_model_of
from edgebert.results import CutCandidate, CutResult
from edgebert.search.plan import nothing_fits
from edgebert.types import Budget, Candidate, DeviceProfile, Recipe
from edgebert.workflows.compress import check_student_folder
from edgebert.workflows.cut_request import CutRequest, find_format
from edgebert.workflows.device import find_device

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig


def cut(request: CutRequest, folder: Path, *, force: bool = False) -> CutResult:
    """Writes the smaller network into the folder.

    Raises:
        RequestError: the checkpoint is no such network, the shape cannot be, or the output exists.
        BudgetError: nothing is within the limits; the nearest is named.
    """
    check_student_folder(folder, force, [request.model])
    place, device = Path(request.model), find_device(request.device or HERE)
    with faults_as_errors(folder):
        student = load_student(place)
        config = student.model.config
        scored, facts = scored_of(config, request.model)
        shapes = [_asked(config, request)] if request.has_shape else list(scored)
        length = request.length or int(facts["tokens"])
        predicted = [_predicted(config, shape, device, request, length) for shape in shapes]
        budget = _budget(request, device)
        misses = [broken(budget, of_candidate(item)) for item in predicted]
        if all(misses):
            raise nothing_fits(predicted, budget, device)
        candidates = tuple(
            CutCandidate(
                item.name, shape.layers, shape.widths, item.n_parameters, item.size_bytes, item.latency,
                scored.get(shape), tuple(excess.miss for excess in over),
            )
            for shape, item, over in zip(shapes, predicted, misses, strict=True)
        )  # fmt: skip
        chosen = best(candidates)
        cut_model(student.model, Subnetwork(chosen.layers, chosen.widths))
        with replace_folder(folder) as written:
            save_checkpoint(written, student, place)
    return CutResult(folder, chosen, candidates, request.precision, str(facts["metric"]), int(facts["n"]))


def best(candidates: Sequence[CutCandidate]) -> CutCandidate:
    """The highest score within the limits; of equals the fastest."""
    within = [item for item in candidates if not item.misses]
    return max(within, key=lambda item: (item.dev or 0.0, -item.latency.p50_ms))


def _asked(config: ModelConfig, request: CutRequest) -> Subnetwork:
    return asked(config, request.width or 1.0, request.depth or 1.0, request.layers, request.widths)


def _budget(request: CutRequest, device: DeviceProfile) -> Budget:
    """What was asked for; of a device that is named without a shape or a limit, its profile's."""
    asked = Budget(latency_ms=request.max_latency_ms, size_mb=request.max_size_mb)
    if request.has_shape or asked != Budget():
        return asked
    return Budget(latency_ms=device.budget.latency_ms, size_mb=device.budget.size_mb)


def _predicted(
    config: ModelConfig, shape: Subnetwork, device: DeviceProfile, request: CutRequest, length: int
) -> Candidate:
    own = cut_config(copy.deepcopy(config), shape)
    auto_model, (format, name) = auto_model_of(own), find_format(request, device)
    precision = find_precision(format, name)
    return Candidate(
        name=shape.title,
        recipe=Recipe(()),
        n_layers=own.num_hidden_layers,
        vocab_size=own.vocab_size,
        n_parameters=count_parameters(own, auto_model),
        size_bytes=predict_bytes(own, auto_model, precision),
        latency=predict_latency(own, device, precision=precision.compute, seq_len=length, format=format),
        fits=False,
        taken=False,
        reason="",
    )
