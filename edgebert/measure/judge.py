"""Whether the engine of a target may be used with a file: its answers on the run's test rows, by the rules of the gate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgebert.converters import find_precision, runnable_converter
from edgebert.errors import EdgebertError, first_line
from edgebert.files import now, sha256_file
from edgebert.measure.artifacts import Origin, Subject
from edgebert.measure.inputs import tokenizer_of
from edgebert.measure.targets import Input, Job, Log, MeasurementRecord, Outcome, Target, parse_address
from edgebert.results import EngineProof
from edgebert.runs.engines import write_proof
from edgebert.verify.engine import N_ROWS, Examination, Undecided, examine, read_sample

if TYPE_CHECKING:
    from edgebert.types import Parity

CHANGED = "it is not the file that the run proved: its sha256 differs"
AGAIN = "Give the run's edgebert fit command again."


def judge_engine(
    on: str, target: Target, subjects: Sequence[Subject], settings: Job, log: Log, n_rows: int = N_ROWS
) -> tuple[list[EngineProof], list[str]]:
    """Runs each file's test rows by the target's engine, judges the answers, and keeps the proof in the file's run.

    A file is sent by itself, so that one that crashes the engine costs no other its proof.

    Args:
        settings: its threads, cores, max_seconds (for a file's rows) and timeout_s are taken.
        n_rows: at most, of the N_ROWS that a run keeps.

    Returns:
        A proof of each file that a run proved, and notes on the others.

    Raises:
        RunError: a proof cannot be written.
    """
    proofs, without = [], []
    for subject in subjects:
        if subject.origin is None:
            without.append(subject.file.name)
            continue
        stage = f"{on}: answers of {subject.file.name} on test rows"
        log(event="begin", stage=stage)
        started = time.monotonic()
        proof = _proof(on, target, subject, subject.origin, settings, log, n_rows)
        if not proof.undecided:
            write_proof(subject.origin.run, proof)
        proofs.append(proof)
        log(event="done", stage=stage, seconds=time.monotonic() - started)
    if not without:
        return proofs, []
    names = ", ".join(without)
    return proofs, [
        f"{on}: the answers of {names} were not judged: they are no files of a run, which keeps labelled rows"
    ]


def _proof(
    on: str, target: Target, subject: Subject, origin: Origin, settings: Job, log: Log, n_rows: int
) -> EngineProof:
    assert target.engine is not None, "only targets with an engine are judged"
    sha256, parity = sha256_file(subject.file.path), None
    failures: tuple[str, ...] = ()
    outcome = nothing = Outcome("", "measured", (MeasurementRecord(subject.file.name),))
    try:
        if sha256 != origin.sha256:
            raise EdgebertError(CHANGED, hint=AGAIN)
        examination = _examination(subject, origin, n_rows)
        outcome = target.measure(parse_address(on)[1], _job(subject, examination, settings), log)
        parity = _judged(subject, origin, examination, outcome.records[0])
        failures = parity.failures
    except EdgebertError as error:
        if isinstance(error, Undecided):
            outcome = nothing
        failures = (f"{error.what}. {error.hint}" if error.hint else error.what,)
    record = outcome.records[0]
    return EngineProof(
        file=subject.file.name,
        sha256=sha256,
        target=on,
        engine=target.engine(parse_address(on)[1]),
        device=outcome.device,
        adapter=str(outcome.facts.get("adapter", "")),
        how=outcome.how,
        runtime=record.runtime,
        runtime_version=record.runtime_version,
        parity=parity,
        failures=failures,
        created=now(),
    )


def _examination(subject: Subject, origin: Origin, n_rows: int) -> Examination:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_of(subject))
    session = runnable_converter(subject.file.format).open(subject.file.path, 1)
    return examine(session, read_sample(origin.verified), tokenizer, n_rows)


def _job(subject: Subject, examination: Examination, settings: Job) -> Job:
    inputs: tuple[Input, ...] = tuple(
        {name: array.tolist() for name, array in batch.items()} for batch in examination.batches
    )
    return Job(
        files=(subject.file,),
        inputs=inputs,
        threads=settings.threads,
        cores=settings.cores,
        min_runs=0,
        max_seconds=settings.max_seconds,
        timeout_s=settings.timeout_s + settings.max_seconds,  # what ends in its time is not cut off
        n_outputs=len(inputs),
        instructions=False,
    )


def _judged(subject: Subject, origin: Origin, examination: Examination, record: MeasurementRecord) -> Parity:
    """Raises EdgebertError where the engine stopped, or its outputs are not the file's."""
    if record.failure:
        n = f"{len(record.outputs)} of {len(examination.batches)} inputs"
        raise EdgebertError(f"it stopped after {n}: {record.failure}")
    kind = find_precision(subject.file.format, origin.precision).kind
    try:
        return examination.judge(record.outputs, kind)
    except EdgebertError:
        raise
    except (ValueError, IndexError, TypeError) as error:  # of outputs that no answer can be made of
        raise EdgebertError(f"its outputs give no answers: {first_line(error)}") from None
