"""Reads what stages recorded back into results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgebert.converters import CONVERTERS, find_precision
from edgebert.cost.analytic import predict_latency
from edgebert.files import from_plain
from edgebert.measure.figures import padding_of
from edgebert.measure.protocol import FIXED_LENGTH
from edgebert.modeling.checkpoint import load_config
from edgebert.results import ArtifactResult, ModelResult
from edgebert.runs.store import Stage
from edgebert.teachers.fitting import TeacherRecord
from edgebert.training.run import TrainedModel
from edgebert.types import Artifact, Footprint, Latency, Padding, Parity, Plan, Score
from edgebert.verify.rows import read_outcomes
from edgebert.workflows.request import Fit

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig


@dataclass(frozen=True)
class StudentRecord(TrainedModel):
    """What the stage that makes a student records; `own_tokenizer` is `Student`'s."""

    notes: tuple[str, ...]
    own_tokenizer: bool = False


@dataclass(frozen=True)
class FileRecord:
    """What the stage that proves files records of each."""

    parity: Parity
    dev: Score
    accelerator_fallbacks: Mapping[str, int]


@dataclass(frozen=True)
class LatencyRecord:
    """What was measured of a fit's files.

    Attributes:
        latencies: of each file, by its model's name and its own.
        footprints: of the files whose loading was measured.
        missing: something that was asked for was not measured.
    """

    latencies: Mapping[str, tuple[Latency, ...]]
    footprints: Mapping[str, Footprint]
    notes: tuple[str, ...]
    missing: bool


@dataclass(frozen=True)
class TargetRecord(LatencyRecord):
    """What was measured on a target; `called` is what it calls itself."""

    called: str
    facts: Mapping[str, object]


def artifacts_of(converted: Stage) -> list[Artifact]:
    """The files of a convert stage, with their paths."""
    records = [from_plain(Artifact, {k: v for k, v in item.items() if k != "variants"}) for item in converted.result]
    return [replace(artifact, path=converted.path / artifact.path) for artifact in records]


def teacher_record(stage: Stage) -> TeacherRecord:
    return from_plain(TeacherRecord, stage.result)


def student_record(stage: Stage) -> StudentRecord:
    return from_plain(StudentRecord, stage.result)


def model_record(stage: Stage) -> TeacherRecord | StudentRecord:
    """What the stage of a teacher or a student recorded."""
    return teacher_record(stage) if stage.name == "teacher" else student_record(stage)


def file_records(verified: Stage) -> dict[str, FileRecord]:
    """What a verify stage recorded, by the names of the files."""
    return {name: from_plain(FileRecord, value) for name, value in verified.result.items()}


def model_result(
    job: Fit,
    name: str,
    model: Stage,
    converted: Stage,
    verified: Stage,
    profiled: LatencyRecord,
    there: LatencyRecord | None,
    plan: Plan,
) -> ModelResult:
    """Everything known of one model, from the records of its stages: `profiled` on this machine, `there` on a target."""
    config = load_config(model.path)
    candidate = next((c for c in plan.candidates if c.name == name), None)
    record, proofs, results = model_record(model), file_records(verified), []
    for artifact in artifacts_of(converted):
        key, proof = f"{name}/{artifact.name}", proofs[artifact.name]
        timed = [latency for entry in (profiled, there) if entry for latency in entry.latencies.get(key, ())]
        results.append(
            ArtifactResult(
                artifact=artifact,
                parity=proof.parity,
                latencies=(*timed, *_predictions(job, config, artifact, plan.length_p95)),
                footprint=profiled.footprints.get(key),
                device_footprint=there.footprints.get(key) if there else None,
                dev=proof.dev,
                accelerator_fallbacks=proof.accelerator_fallbacks,
            )
        )
    return ModelResult(
        name=name,
        n_layers=config.num_hidden_layers,
        vocab_size=config.vocab_size,
        n_parameters=record.n_parameters,
        dev=record.dev,
        test=record.test,
        artifacts=tuple(results),
        torch_latencies=profiled.latencies.get(f"{name}/torch", ()),
        candidate=candidate,
        notes=record.notes,
    )


def with_outcomes(
    students: tuple[ModelResult, ...], winner: tuple[ModelResult, ArtifactResult], verified: Mapping[str, Stage]
) -> tuple[ModelResult, ...]:
    """The students, with the winner's outcome on every test row, by which another run is compared with it."""
    model, chosen = winner
    outcomes = read_outcomes(verified[model.name].path, chosen.artifact.name)
    files = tuple(replace(file, outcomes=outcomes) if file is chosen else file for file in model.artifacts)
    return tuple(replace(student, artifacts=files) if student is model else student for student in students)


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
