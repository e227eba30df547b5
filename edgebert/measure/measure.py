"""`edgebert profile`: files, inputs and targets put together."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.errors import EdgebertError, RequestError
from edgebert.faults import check_writable
from edgebert.files import now, plain, write_atomic
from edgebert.measure.artifacts import Subject, find_subjects, golden_of
from edgebert.measure.compare import compare
from edgebert.measure.figures import Measured, Measurement, as_latency, measured, padding_of
from edgebert.measure.inputs import (
    N_VARIED,
    Inputs,
    Texts,
    fixed_tokens,
    golden_texts,
    limit_of,
    of_length,
    own_lengths,
    read_texts,
    stops_early,
    tokenizer_key,
    tokenizer_of,
)
from edgebert.measure.judge import judge_engine
from edgebert.measure.targets import TARGETS, File, Job, Log, MeasurementRecord, Target, parse_address
from edgebert.verify.engine import LEAST_ROWS, N_ROWS

if TYPE_CHECKING:
    from edgebert.results import EngineProof
    from edgebert.types import OnEvent

LONGEST = 512  # tokens, of a text whose file says no limit


@dataclass(frozen=True)
class Request:
    """What `edgebert profile` was asked for."""

    artifacts: tuple[str, ...]
    on: tuple[str, ...]
    threads: int = 1
    cores: tuple[int, ...] = ()
    length: int | None = None
    texts: str | None = None
    run: str | None = None
    min_runs: int = 50
    max_seconds: float = Job.max_seconds
    timeout_s: float = 600.0
    rows: int = N_ROWS


@dataclass
class Gathered:
    """What came of the targets so far."""

    results: list[Measured] = field(default_factory=list)
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: dict[str, EdgebertError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    engines: list[EngineProof] = field(default_factory=list)


def measure(request: Request, on_event: OnEvent | None = None) -> Measurement:
    """Measures every file on every target.

    Raises:
        RequestError, DataError: before anything is measured.
        EdgebertError: the only target gave nothing.
    """

    def log(**event: object) -> None:
        if on_event:
            on_event(event)

    check(request)
    targets = [(on, TARGETS.get(parse_address(on)[0])) for on in dict.fromkeys(request.on)]
    subjects = find_subjects(request.artifacts)
    groups = [(group, make_inputs(request, group)) for group in by_tokenizer(request, subjects)]
    gathered = Gathered()
    if len(groups) > 1:
        gathered.notes.append(
            f"{len(groups)} tokenizers among the files: each one's files were timed in turns by themselves"
        )
    for on, target in targets:
        try:
            for group, inputs in groups:
                on_target(request, on, target, group, inputs, gathered, log)
                judge_group(request, on, target, group, gathered, log)
        except EdgebertError as error:
            if len(targets) == 1:
                raise
            gathered.failures[on] = error
            log(event="note", text=f"{on}: {error.what}")
    return Measurement(
        results=tuple(gathered.results),
        padding=tuple(
            padding_of(
                [(result.file, as_latency(result, result.target)) for result in gathered.results if result.p50_ms]
            )
        ),
        facts=gathered.facts,
        failures={on: str(error) for on, error in gathered.failures.items()},
        notes=tuple(dict.fromkeys(gathered.notes)),
        engines=tuple(gathered.engines),
        created=now(),
    )


def check(request: Request) -> None:
    """Raises RequestError for what contradicts itself or cannot be."""
    given = [name for name in ("length", "texts", "run") if getattr(request, name) is not None]
    if len(given) > 1:
        raise RequestError(
            "these options exclude each other: each says what is run",
            where=" and ".join(f"--{name}" for name in given),
            hint="Give one of them.",
        )
    if request.length is not None and request.length < 2:
        raise RequestError("the length must be at least 2 tokens", where=f"--length {request.length}")
    if not request.artifacts or not request.on:
        raise RequestError(
            "give at least one file and one --on TARGET", hint="Example: edgebert profile m.onnx --on here"
        )
    if request.rows < 0 or 0 < request.rows < LEAST_ROWS:
        hint = f"0 judges no engine; else take {LEAST_ROWS} or more, of which a run keeps up to {N_ROWS}."
        raise RequestError("so few rows prove nothing of an engine", where=f"--rows {request.rows}", hint=hint)
    if request.threads < 1:
        raise RequestError("the number of threads must be at least 1", where=f"--threads {request.threads}")


def measure_into(request: Request, output: str | None, on_event: OnEvent | None = None) -> Measurement:
    """`measure`, and everything of it as a JSON file where `output` names one."""
    if output is not None:
        check_output(output)
    result = measure(request, on_event)
    if output is not None:
        write_atomic(Path(output), json.dumps(plain(result), ensure_ascii=False) + "\n")
    return result


def check_output(path: str) -> None:
    """Raises RequestError or RunError where a result could not be written, before an hour of measuring."""
    if Path(path).is_dir() or not Path(path).resolve().parent.is_dir():
        raise RequestError(
            "the file cannot be written: its folder does not exist, or the path is a folder",
            where=f"--output {path}",
            hint="Name a file to write.",
        )
    check_writable(Path(path), "--output")


# ---------------------------------------------------------------- inputs


def by_tokenizer(request: Request, subjects: Sequence[Subject]) -> list[list[Subject]]:
    """Files that read the same tokens can take turns on the same inputs. Without texts, all can."""
    if request.length is not None or not any(_texts(request, subject) for subject in subjects):
        return [list(subjects)]
    groups: dict[str | None, list[Subject]] = {}
    for subject in subjects:
        tokenizer_of(subject)  # raises where there is none
        groups.setdefault(tokenizer_key(subject), []).append(subject)
    return list(groups.values())


def make_inputs(request: Request, group: Sequence[Subject]) -> list[Inputs]:
    """The texts' own lengths, where there are texts, and a fixed length."""
    texts = next((result for subject in group if (result := _texts(request, subject))), ())
    keys = {tokenizer_key(subject) for subject in group}
    if len(keys) > 1 or None in keys:  # one file's tokens may lie outside another's vocabulary
        texts = ()
    n_fixed = min(fixed_tokens(subject, request.length) for subject in group)
    fixed = of_length(group[0], n_fixed, texts)
    if request.length is not None or not texts:
        return [fixed]
    limit = min(limit_of(subject) or LONGEST for subject in group)
    origin = request.texts or request.run or "the bundle's golden texts"
    if any(map(stops_early, group)):  # a text made up to a length stops where none does
        return [own_lengths(group[0], texts, limit, origin, N_VARIED)]
    return [own_lengths(group[0], texts, limit, origin), fixed]


def _texts(request: Request, subject: Subject) -> Texts:
    if request.texts is not None:
        return read_texts(Path(request.texts))
    golden = golden_of(request.run) if request.run is not None else subject.golden
    return golden_texts(golden) if golden is not None else ()


# ---------------------------------------------------------------- on a target


def on_target(
    request: Request,
    on: str,
    target: Target,
    group: Sequence[Subject],
    inputs: Sequence[Inputs],
    into: Gathered,
    log: Log,
) -> None:
    """Measures one group's files at each of the inputs; what was measured joins `into`, also when the target then fails.

    Raises:
        RequestError: the target runs none of the files.
        EdgebertError: what the target raises.
    """
    files = tuple(subject.file for subject in group if subject.file.format in target.formats)
    left = [subject.file.name for subject in group if subject.file.format not in target.formats]
    if left:
        into.notes.append(f"{on} runs {', '.join(target.formats)} files: left out {', '.join(left)}")
    if not files:
        raise RequestError(
            f"none of the files is of a format that it runs ({', '.join(target.formats)})", where=f"--on {on}"
        )
    for i, chosen in enumerate(inputs):
        job = Job(
            files=files,
            inputs=chosen.rows,
            threads=request.threads,
            cores=request.cores,
            min_runs=request.min_runs,
            max_seconds=request.max_seconds,
            timeout_s=request.timeout_s,
            n_outputs=0 if i else Job.n_outputs,
        )
        what = f"{len(files)} file{'s' if len(files) > 1 else ''} at {_inputs_text(chosen)}"
        log(event="begin", stage=f"{on}: {what}")
        started = time.monotonic()
        outcome = target.measure(parse_address(on)[1], job, log)
        log(event="done", stage=f"{on}: {what}", seconds=time.monotonic() - started)
        into.facts[on] = outcome.facts
        for file, result in zip(files, outcome.records, strict=True):
            item = measured(file, result, outcome, on, job, chosen)
            into.results.append(_compared(item, file, result, job, into))


def judge_group(request: Request, on: str, target: Target, group: Sequence[Subject], into: Gathered, log: Log) -> None:
    """Where the target names an engine, whether that may be used with each file; the proofs join `into`."""
    if target.engine is None or not request.rows:
        return
    subjects = [subject for subject in group if subject.file.format in target.formats]
    settings = Job(
        (), (), request.threads, max_seconds=request.max_seconds, timeout_s=request.timeout_s, cores=request.cores
    )
    proofs, notes = judge_engine(on, target, subjects, settings, log, request.rows)
    into.engines += proofs
    into.notes += notes


def _inputs_text(inputs: Inputs) -> str:
    if inputs.lengths == "fixed":
        return f"{inputs.n_tokens[0]} tokens"
    return f"{len(inputs.rows)} texts' own lengths, {min(inputs.n_tokens)} to {max(inputs.n_tokens)} tokens"


def _compared(item: Measured, file: File, result: MeasurementRecord, job: Job, into: Gathered) -> Measured:
    """With the outputs held against a run here, where the target sent some and they are not our own."""
    if not result.outputs or item.target == "here" or file.format == "torch":
        return item
    try:
        agreement = compare(file, job, result)
    except EdgebertError as error:
        into.notes.append(f"{file.name} on {item.target}: outputs not compared: {error.what}")
        return item
    return replace(
        item,
        compared=agreement.n,
        max_difference=None if math.isnan(agreement.max_difference) else agreement.max_difference,
        equal_predictions=agreement.equal_predictions,
    )
