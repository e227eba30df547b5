"""Reads what stages recorded back into results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgebert.converters import CONVERTERS, find_precision
from edgebert.cost.analytic import predict_latency
from edgebert.measure.figures import padding_of
from edgebert.measure.protocol import FIXED_LENGTH
from edgebert.modeling.checkpoint import load_config
from edgebert.results import ArtifactResult, ModelResult
from edgebert.runs.store import Stage
from edgebert.types import Artifact, Footprint, Latency, Padding, Parity, Plan, Score, TypeScore
from edgebert.workflows.request import Fit

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig


def artifacts_of(converted: Stage) -> list[Artifact]:
    """The files of a convert stage, with their paths."""
    return [
        Artifact(**{**{k: v for k, v in item.items() if k != "variants"}, "path": converted.path / item["path"]})
        for item in converted.result
    ]


def read_score(value: dict[str, Any]) -> Score:
    types = tuple(TypeScore(**row) for row in value["per_type"])
    parts = {name: read_score(part) for name, part in value["parts"].items()}
    return Score(**{**value, "per_type": types, "parts": parts})


def _read_parity(value: dict[str, Any]) -> Parity:
    scores = {name: read_score(value[name]) for name in ("score", "reference_score")}
    return Parity(**{**value, **scores, "failures": tuple(value["failures"])})


def model_result(
    job: Fit,
    name: str,
    model: Stage,
    converted: Stage,
    verified: Stage,
    profiled: Mapping[str, Any],
    there: Mapping[str, Any],
    plan: Plan,
) -> ModelResult:
    """Everything known of one model, from the records of its stages: `profiled` on this machine, `there` on a target."""
    config = load_config(model.path)
    candidate = next((c for c in plan.candidates if c.name == name), None)
    results = []
    for artifact in artifacts_of(converted):
        key = f"{name}/{artifact.name}"
        timed = (*profiled["latencies"].get(key, ()), *there.get("latencies", {}).get(key, ()))
        measured = tuple(Latency(**item) for item in timed)
        footprints = [entry.get("footprints", {}).get(key) for entry in (profiled, there)]
        here, on_device = (Footprint(**footprint) if footprint else None for footprint in footprints)
        results.append(
            ArtifactResult(
                artifact=artifact,
                parity=_read_parity(verified.result[artifact.name]["parity"]),
                latencies=(*measured, *_predictions(job, config, artifact, plan.length_p95)),
                footprint=here,
                device_footprint=on_device,
                dev=read_score(verified.result[artifact.name]["dev"]),
                accelerator_fallbacks=verified.result[artifact.name]["accelerator_fallbacks"],
            )
        )
    torch_latencies = profiled["latencies"].get(f"{name}/torch", ())
    return ModelResult(
        name=name,
        n_layers=config.num_hidden_layers,
        vocab_size=config.vocab_size,
        n_parameters=model.result["n_parameters"],
        dev=read_score(model.result["dev"]),
        test=read_score(model.result["test"]),
        artifacts=tuple(results),
        torch_latencies=tuple(Latency(**item) for item in torch_latencies),
        candidate=candidate,
        notes=tuple(model.result.get("notes") or [model.result["note"]]),
    )


def _predictions(job: Fit, config: ModelConfig, artifact: Artifact, length_p95: int) -> list[Latency]:
    runtime = CONVERTERS.get(artifact.format).runtime
    compute = find_precision(artifact.format, artifact.precision).compute
    lengths = sorted({length_p95, min(FIXED_LENGTH, job.source.max_length)})
    return [
        predict_latency(config, job.device, precision=compute, seq_len=n, runtime=runtime, format=artifact.format)
        for n in lengths
    ]


def paddings(models: Mapping[str, ModelResult], n_fixed: int) -> list[Padding]:
    """What padding to `n_fixed` tokens costs each file: on one thread of this machine, and on the target."""
    timed = [
        (f"{name}/{result.artifact.name}", latency)
        for name, model in models.items()
        for result in model.artifacts
        for latency in result.latencies
        if latency.how != "predicted" and (latency.called or latency.threads == 1)
        if latency.lengths == "data" or latency.seq_len == n_fixed
    ]
    return padding_of(timed)
