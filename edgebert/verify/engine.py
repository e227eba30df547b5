"""Whether an engine computes a file's answers: by real rows, the task's metric and the rules of the gate.

The gate proves a file by its runtime on this machine. Another engine that runs the same file may still be wrong: WebGPU
kernels of onnxruntime-web gave other answers for 8-bit and 4-bit files that WebAssembly ran right, without an error
(huggingface/transformers.js issues 1512 and 1728). Here the engine's outputs are held against this machine's of the same
file, as `edgebert.verify.parity` holds a file against its model: the limits are those of the file's precision.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.errors import EdgebertError
from edgebert.files import from_plain, plain, write_atomic
from edgebert.runtime.session import Batch, Session
from edgebert.types import Feature, Outputs, Parity, Row
from edgebert.verify.edges import edge_batches
from edgebert.verify.parity import compare_task, unbatched
from edgebert.verify.reference import Reference, make_reference, row_batches

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.tasks import Task

SAMPLE = "sample.json"  # in the folder of a verify stage
SPLIT = "test"
N_ROWS = 200  # drawn with a fixed seed, the same for every engine
LEAST_ROWS = 20  # fewer answered rows prove nothing
# Edge rows of a kind, and their tokens at most: masks and padding show there, and an emulated engine is slow.
N_EDGES, LONGEST = 4, 64


class Undecided(EdgebertError):
    """Too little was answered to say whether an engine is right."""


@dataclass(frozen=True)
class Sample:
    """Labelled test rows, and what else a file's answers on them follow from."""

    task: Task
    labels: tuple[str, ...]
    max_length: int
    pad_id: int
    rows: tuple[Row, ...]


def write_sample(
    folder: Path, task: Task, rows: Sequence[Row], labels: Sequence[str], max_length: int, pad_id: int
) -> None:
    """Keeps up to N_ROWS of the rows in a drawn order, those of each head in turn, so that fewer are as good a sample."""
    heads: dict[str, list[Row]] = {}
    for row in random.Random(0).sample(list(rows), len(rows)):
        heads.setdefault(row.head, []).append(row)
    drawn = [row for turn in zip_longest(*heads.values()) for row in turn if row is not None]
    document = {
        "task": task.name,
        "task_options": task.options(),
        "labels": labels,
        "max_length": max_length,
        "pad_id": pad_id,
        "rows": drawn[:N_ROWS],
    }
    text = json.dumps(plain(document), ensure_ascii=False, separators=(",", ":"))
    write_atomic(folder / SAMPLE, text.encode(errors="backslashreplace").decode())


def read_sample(folder: Path) -> Sample:
    """Raises EdgebertError where the stage has none that can be read."""
    from edgebert.tasks import find_task

    try:
        document = json.loads((folder / SAMPLE).read_text(encoding="utf-8"))
        return Sample(
            find_task(document["task"]).configured(document["task_options"]),
            tuple(document["labels"]),
            document["max_length"],
            document["pad_id"],
            tuple(from_plain(Row, row) for row in document["rows"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"the run keeps no test rows to judge an engine by ({type(error).__name__})"
        hint = "An older edgebert verified it: give its edgebert fit command again."
        raise EdgebertError(what, where=str(folder), hint=hint) from None


class _Here:
    """A file in this machine's runtime, as `make_reference` takes a model."""

    def __init__(self, session: Session, vocab_size: int, pad_id: int) -> None:
        self.runtime, self.runtime_version, self.run = session.runtime, session.runtime_version, session.run
        self.output_specs = session.output_specs
        self.vocab_size, self.pad_id = vocab_size, pad_id


@dataclass(frozen=True)
class _Answered:
    """What an engine answered, as a session: `compare` asks it for the batches again, the very objects, for two rows may
    be equal and an engine still answer them differently."""

    labels: tuple[str, ...]
    known: Mapping[int, dict[str, np.ndarray]]  # by id of the batch

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        return self.known[id(batch)]


@dataclass(frozen=True)
class Examination:
    """Real rows and edge rows for one file, with this machine's answers."""

    sample: Sample
    features: Sequence[Feature]
    reference: Reference

    @property
    def batches(self) -> list[Batch]:
        """All that the engine is given, in order: edge rows, of which none may be missing, then the rows."""
        return [*_flat(self.reference.edges), *self.reference.batches]

    def judge(self, answers: Sequence[Mapping[str, Any]], kind: str) -> Parity:
        """What is wrong with an engine's answers to the first of `batches`, one mapping of nested lists each.

        Args:
            kind: row of `edgebert.verify.tolerances.TOLERANCES`.

        Raises:
            Undecided: fewer than LEAST_ROWS rows were answered in full.
            EdgebertError: outputs have other names or shapes than the file's.
        """
        own, sample = self._cut(len(answers) - len(_flat(self.reference.edges))), self.sample
        given = [
            {name: np.asarray(value, np.float64) for name, value in item.items()}
            for item in answers[: len(own.batches)]
        ]
        for theirs, ours in zip(given, [*_flat(own.reference.edge_outputs), *own.reference.outputs], strict=True):
            _check_alike(theirs, ours)
        known = {id(batch): item for batch, item in zip(own.batches, given, strict=True)}
        session: Any = _Answered(tuple(own.reference.labels), known)
        # What only a model can say of rows, such as its nearest ones, this machine's answers say.
        rows = sample.task.with_teacher_labels(own.sample.rows, own.features, unbatched(own.reference.outputs))
        return compare_task(session, own.reference, kind, sample.task, rows, own.features, SPLIT)[0]

    def _cut(self, n_answered: int) -> Examination:
        """With the rows of which every window is among the first `n_answered`."""
        open_rows = {feature.row for feature in self.features[max(0, n_answered) :]}
        n_rows = min(open_rows, default=len(self.sample.rows))
        if n_rows < min(LEAST_ROWS, len(self.sample.rows)):
            what = f"it answered {n_rows} of {len(self.sample.rows)} test rows in the time, too few to judge it by"
            raise Undecided(what, hint="Give it more time: --max-seconds")
        n = sum(feature.row < n_rows for feature in self.features)
        reference = replace(self.reference, batches=self.reference.batches[:n], outputs=self.reference.outputs[:n])
        return Examination(replace(self.sample, rows=self.sample.rows[:n_rows]), self.features[:n], reference)


def _flat(kinds: Mapping[str, Any]) -> list[Any]:
    return [item for kind in kinds.values() for item in ([kind] if isinstance(kind, Mapping) else kind)]


def _check_alike(theirs: Outputs, ours: Outputs) -> None:
    if set(theirs) != set(ours):
        raise EdgebertError(f"its outputs are {sorted(theirs)}, here they are {sorted(ours)}")
    for name in ours:
        if theirs[name].shape != ours[name].shape:
            raise EdgebertError(f"its output {name} has the shape {theirs[name].shape}, here it is {ours[name].shape}")


def examine(session: Session, sample: Sample, tokenizer: Tokenizer, n_rows: int = N_ROWS) -> Examination:
    """Encodes the first `n_rows` rows, makes edge rows of them and runs all on this machine.

    Raises:
        EdgebertError: the file gives NaN here, or cannot read a row.
    """
    sample = replace(sample, rows=sample.rows[:n_rows])
    features = sample.task.encode(sample.rows, tokenizer, sample.labels, sample.max_length)
    vocab_size = tokenizer.get_vocab_size()
    drawn = edge_batches(vocab_size, min(LONGEST, sample.max_length), sample.pad_id, tokenizer)
    here = _Here(session, vocab_size, sample.pad_id)
    reference = make_reference(here, row_batches(features, sample.pad_id), drawn, sample.labels)
    edges, outputs = _some(reference.edges), _some(reference.edge_outputs)
    return Examination(sample, features, replace(reference, edges=edges, edge_outputs=outputs))


def _some(kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {name: of_kind[:N_EDGES] for name, of_kind in kinds.items()}
