"""The stages that measure files: on this machine, and where `--on` leads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from edgebert.converters import CONVERTERS
from edgebert.devices.machine import MachineUse, UseMeter, describe_hardware, usable_cores
from edgebert.devices.profiles import HERE
from edgebert.errors import EdgebertError
from edgebert.files import from_plain, plain, sha256_file
from edgebert.measure.artifacts import Origin, Subject
from edgebert.measure.figures import Measured, as_footprint, as_latency, measured
from edgebert.measure.inputs import N_INPUTS, N_VARIED, Inputs, at_length, own_lengths_of
from edgebert.measure.measure import Gathered, Request, judge_group, on_target
from edgebert.measure.protocol import FIXED_LENGTH, MIN_RUNS
from edgebert.measure.runner import quiet_mean
from edgebert.measure.targets import TARGETS, File
from edgebert.measure.targets import Job as MeasuringJob
from edgebert.modeling.checkpoint import TOKENIZER, load_config, load_tokenizer
from edgebert.modeling.exits import stops_early
from edgebert.report import format as fmt
from edgebert.runs.store import Stage
from edgebert.types import Artifact, Feature, Footprint, Latency
from edgebert.workflows.records import LatencyRecord, TargetRecord, artifacts_of, file_records
from edgebert.workflows.request import Fit, data_key
from edgebert.workflows.target import MeasurementTarget

TORCH = "teacher/torch"
SECONDS_HERE = 0.3  # of a file's runs at one length and number of threads, once it has those that the protocol asks for
TIMEOUT_S = 3600.0  # of all of them together: only what hangs takes as long


Measurements = TypeVar("Measurements", bound=LatencyRecord)


class _Incomplete(Exception):
    """Not everything was measured, so that the stage must not pass for done."""


def _kept(
    job: Fit, name: str, keys: Mapping[str, object], kind: type[Measurements], make: Callable[[], Measurements]
) -> Measurements:
    """What was measured: kept as a stage when nothing is missing, so that else the same command measures again."""

    def fill(folder: Path) -> Measurements:
        record = make()
        if record.missing:
            raise _Incomplete(record)
        return record

    try:
        return from_plain(kind, job.run.stage(name, keys, fill, version=3).result)
    except _Incomplete as incomplete:
        return from_plain(kind, plain(incomplete.args[0]))


def valid_files(converted: dict[str, Stage], verified: dict[str, Stage]) -> dict[str, tuple[str, Artifact]]:
    """Every file that passed verification, by the name of its model and its own: "L3/onnx-int8"."""
    proofs = {name: file_records(stage) for name, stage in verified.items()}
    return {
        f"{name}/{artifact.name}": (name, artifact)
        for name, stage in converted.items()
        for artifact in artifacts_of(stage)
        if not proofs[name][artifact.name].parity.failures
    }


def profile_stage(
    job: Fit, models: dict[str, Stage], converted: dict[str, Stage], verified: dict[str, Stage], n_budget: int
) -> LatencyRecord:
    """The teacher in torch and every sound file, measured by the target `here` as `edgebert profile --on here` does: at
    the length that the budget is about, at the rows' own lengths and at 128 tokens, on one thread and on all cores. All
    take turns, each with the inputs that its own tokenizer makes of the rows."""
    files = {TORCH: ("teacher", "torch", models["teacher"].path)} | {
        key: (name, artifact.format, artifact.path)
        for key, (name, artifact) in valid_files(converted, verified).items()
        if not CONVERTERS.get(artifact.format).untimed()
    }

    def make() -> LatencyRecord:
        inputs = {name: _inputs_here(job, models[name], n_budget) for name in {name for name, _, _ in files.values()}}
        asked = [(File(key, format, path, chosen.rows, threads, format != "torch"), chosen)
                 for threads in sorted({1, usable_cores()})
                 for key, (name, format, path) in files.items() for chosen in inputs[name]]  # fmt: skip
        meter = UseMeter()
        result = _measure_here(job, asked)
        return _local_result(job, result, meter.use())

    keys = {
        "converted": {name: stage.key for name, stage in converted.items()},
        "sound": sorted(files),
        "lengths": (n_budget, FIXED_LENGTH, job.max_length),
        "hardware": describe_hardware(),
        "seconds": SECONDS_HERE,
    }
    return _kept(job, "profile", keys, LatencyRecord, make)


def _inputs_here(job: Fit, model: Stage, n_budget: int) -> list[Inputs]:
    """The first is the one of which the peak memory is told: at the budget's length, where there is one."""
    own, *fixed = _target_inputs(job, model, n_budget)
    return [*fixed[:1], own, *fixed[1:]]


def _measure_here(job: Fit, asked: list[tuple[File, Inputs]]) -> list[Measured]:
    settings = MeasuringJob(
        files=tuple(file for file, _ in asked),
        inputs=(),
        min_runs=MIN_RUNS,
        max_seconds=SECONDS_HERE,
        timeout_s=TIMEOUT_S,
        n_outputs=0,
        instructions=False,
    )
    threads = sorted({file.threads for file, _ in asked})
    names = {file.name for file, _ in asked}
    job.run.log(
        event="timing",
        files=len(names),
        threads=" and ".join(map(str, threads)),
        lengths=f"{len(asked) // len(names) // len(threads)} kinds of lengths",
    )
    outcome = TARGETS.get("here").measure("", settings, job.run.log)
    return [
        measured(file, result, outcome, "here", settings, inputs)
        for (file, inputs), result in zip(asked, outcome.records, strict=True)
    ]


def _local_result(job: Fit, results: list[Measured], use: MachineUse) -> LatencyRecord:
    latencies: dict[str, list[Latency]] = {}
    footprints: dict[str, Footprint] = {}
    notes = []
    if use.is_shared:
        notes.append(
            f"this machine was shared while it was measured ({use}): its times are too long, those of slow models the "
            "most, so that speed-ups look too large"
        )
    for item in results:
        if item.n_runs >= MIN_RUNS:
            latencies.setdefault(item.file, []).append(replace(as_latency(item, HERE), called=""))
        if cost := as_footprint(item):
            footprints.setdefault(item.file, cost)
        notes += _over_texts(item)
        if item.failure:
            notes.append(f"{item.file} on this machine, {item.threads} thread(s): {item.failure}")
    notes = list(dict.fromkeys(notes))
    for note in notes:
        job.run.log(event="note", text=note)
    missing = any(entry.failure for entry in results)
    return LatencyRecord(_frozen(latencies), footprints, tuple(notes), missing)


def _over_texts(item: Measured) -> list[str]:
    """How the time of a file that stops early on some texts is spread."""
    n = len(item.n_tokens)
    if n <= N_INPUTS or item.p50_ms is None:
        return []
    times = (
        f"{quiet_mean(item.times_ms, n):.3g} ms on average, {item.p50_ms:.3g} at the median, {item.p90_ms:.3g} at p90"
    )
    told = "its predicted time is that of a text that stops nowhere"
    return [f"{item.file} stops early on some texts: {n} test rows take {times}, {item.threads} thread(s); {told}"]


# ---------------------------------------------------------------- on a target

JUDGE_SECONDS = 60.0  # of a file's test rows by an engine
MAX_SECONDS = 10.0  # of a file's timed runs on a target, after the first that the protocol asks for


def profile_on_stage(
    job: Fit, models: dict[str, Stage], converted: dict[str, Stage], verified: dict[str, Stage], n_budget: int
) -> TargetRecord:
    """The sound files that the place can run, measured there: at the rows' own lengths, at the length that the budget
    is about, and at 128. Files that read the same tokens take turns.

    What was measured is returned whatever happens there; only when nothing is missing it is kept as a stage of this run,
    so that the same command measures again when a device went away, and another run does so in any case.
    """
    place = job.target
    assert place is not None, "there is a place to measure on"
    valid = {
        key: (name, artifact)
        for key, (name, artifact) in valid_files(converted, verified).items()
        if artifact.format in place.formats
    }
    settings = Request((), (place.on,), threads=job.device.threads, max_seconds=MAX_SECONDS)
    judging = replace(settings, max_seconds=JUDGE_SECONDS)

    def make() -> TargetRecord:
        gathered, failure = Gathered(), ""
        try:
            for names in by_tokenizer(models, valid):
                group = [Subject(File(key, valid[key][1].format, valid[key][1].path), None) for key in names]
                inputs = _target_inputs(job, models[valid[names[0]][0]], n_budget)
                on_target(settings, place.on, place.target, group, inputs, gathered, job.run.log)
                judge_group(
                    judging, place.on, place.target, _proven(job, group, models, verified, valid), gathered, job.run.log
                )
        except EdgebertError as error:
            failure = f"{place.on}: {error.what}"
        return _target_result(job, place, gathered, failure)

    keys = {
        "run": job.run.folder.name,
        "files": {key: artifact.sha256 for key, (_, artifact) in valid.items()},
        "rows": data_key(job),
        "lengths": (n_budget, FIXED_LENGTH, job.max_length),
        "place": (place.on, place.called, place.is_device, job.device.name),
        "settings": settings,
        **({"judged": (judging.rows, JUDGE_SECONDS)} if place.target.engine else {}),
    }
    return _kept(job, "profile-on", keys, TargetRecord, make)


def _proven(
    job: Fit,
    group: Sequence[Subject],
    models: dict[str, Stage],
    verified: dict[str, Stage],
    valid: Mapping[str, tuple[str, Artifact]],
) -> list[Subject]:
    """The students' files of a group, with what the engine of a target is judged by. The teacher never ships."""
    results = []
    for subject in group:
        name, artifact = valid[subject.file.name]
        if name != "teacher":
            origin = Origin(job.run.folder, verified[name].path, artifact.precision, artifact.sha256)
            results.append(replace(subject, tokenizer=models[name].path / TOKENIZER, origin=origin))
    return results


def by_tokenizer(models: dict[str, Stage], valid: Mapping[str, tuple[str, Artifact]]) -> list[list[str]]:
    """Files that read the same tokens can take turns on the same inputs."""
    groups: dict[str, list[str]] = {}
    for key, (name, _) in valid.items():
        groups.setdefault(sha256_file(models[name].path / TOKENIZER), []).append(key)
    return list(groups.values())


def _frozen(latencies: Mapping[str, list[Latency]]) -> dict[str, tuple[Latency, ...]]:
    return {name: tuple(own) for name, own in latencies.items()}


def _test_features(job: Fit, model: Stage) -> list[Feature]:
    tokenizer = load_tokenizer(model.path)
    return job.task.encode(job.dataset.splits["test"], tokenizer, job.dataset.labels, job.max_length)


def _target_inputs(job: Fit, model: Stage, n_budget: int) -> list[Inputs]:
    """The first is the one whose outputs are held against a run here. A model that stops early on some texts reads more of
    them, and none that was made up to a length: it would stop where no text does."""
    features = _test_features(job, model)
    if stops_early(load_config(model.path)):
        return [own_lengths_of(features, "the test rows", N_VARIED)]
    lengths = dict.fromkeys((n_budget, min(FIXED_LENGTH, job.max_length)))
    return [own_lengths_of(features, "the test rows"), *(at_length(features, n, "the test rows") for n in lengths)]


def _target_result(job: Fit, place: MeasurementTarget, gathered: Gathered, failure: str) -> TargetRecord:
    """Latencies of each file, and what the user is told. A file that was cut short before it had the runs that the
    protocol asks for has none."""
    latencies: dict[str, list[Latency]] = {}
    footprints: dict[str, Footprint] = {}
    notes = [*gathered.notes, *([failure] if failure else [])]
    for result in gathered.results:
        if result.n_runs >= MIN_RUNS:
            here = HERE if place.target.name == "here" else result.device
            latencies.setdefault(result.file, []).append(
                as_latency(result, job.device.name if place.is_device else here)
            )
        if place.is_device and result.how == "measured" and (results := as_footprint(result, result.device)):
            footprints.setdefault(result.file, results)
        notes += _over_texts(result)
        if result.failure:
            notes.append(f"{result.file} on {place.on}: {result.failure}")
        if result.equal_predictions is not None and result.equal_predictions < 1:
            notes.append(
                f"{result.file} on {place.on}: {100 * result.equal_predictions:.2f} % of predictions are as here"
            )
    missing = bool(failure) or any(item.failure for item in gathered.results)
    missing = missing or any(proof.undecided for proof in gathered.engines)
    called = next((item.device for item in gathered.results), place.called)
    if any(item.how == "emulated" for item in gathered.results):
        notes.append(f"{place.on} is emulated: its times say nothing of a device, and the predictions judge")
    notes += [fmt.engine(proof) for proof in gathered.engines if proof.undecided]
    if missing:
        notes.append("what was not measured there is predicted; the same command measures again")
    notes = list(dict.fromkeys(notes))
    for note in notes:
        job.run.log(event="note", text=note)
    facts = {name: value for name, value in gathered.facts.get(place.on, {}).items() if name in FACTS}
    return TargetRecord(_frozen(latencies), footprints, tuple(notes), missing, called, facts)


FACTS = ("processor", "system", "clock_mhz", "temperature_c")  # of a target, that a report tells
