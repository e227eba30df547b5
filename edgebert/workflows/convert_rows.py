"""The rows that `edgebert convert` calibrates and compares on: of --data, of --texts, or our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.converters import CALIBRATION_ROWS
from edgebert.data.contents import read_bytes
from edgebert.data.files import missing
from edgebert.data.text import check_encoding, lines
from edgebert.errors import DataError, RequestError
from edgebert.files import exists
from edgebert.modeling.heads import MULTI_TASK, Part
from edgebert.runtime.session import Batch
from edgebert.tasks import Task, find_task
from edgebert.types import Dataset, Feature, Row
from edgebert.verify.edges import batch_of
from edgebert.verify.reference import row_batches
from edgebert.workflows.convert_request import ConvertRequest
from edgebert.workflows.data import load_data

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Ours, for a model that comes without rows; each is a plain sentence, so that every vocabulary has something to read.
SAMPLE = (
    "Where can I buy a train ticket to Lisbon for next Friday?",
    "The committee met on 3 March and agreed to fund two new schools.",
    "turn the kitchen lights down to thirty percent please",
    "My order number 48213 never arrived and nobody answers the phone!",
    "Water boils at a lower temperature high in the mountains.",
    "She said that the museum in the old harbour opens at nine.",
    "I would not recommend this film to anyone who likes horses.",
    "remind me to call Doctor Alvarez when I get home",
)


@dataclass(frozen=True)
class Rows:
    """What the files are calibrated and compared on."""

    calibration: Sequence[Batch]
    batches: Sequence[Batch]
    origin: str
    task: Task | None = None
    labelled: Sequence[Row] = ()
    features: Sequence[Feature] = ()


@dataclass(frozen=True)
class LabelledRows:
    """The rows of --data, as the task reads them."""

    task: Task
    dataset: Dataset


def rows_of(
    request: ConvertRequest,
    data: LabelledRows | None,
    tokenizer: Tokenizer,
    labels: Sequence[str],
    max_length: int,
    pad_id: int,
) -> Rows:
    """Labelled rows of a task, or texts, or our own sample."""
    if data is not None:
        return _task_rows(request, data, tokenizer, labels, max_length, pad_id)
    if request.texts is None:
        batches = _text_batches(SAMPLE, tokenizer, max_length)
        return Rows((), batches, f"{len(batches)} sentences of our own: give --texts or --data for yours")
    path = Path(request.texts)
    check_encoding(request.encoding)
    if not exists(path):
        raise missing(path)
    result = lines(read_bytes(path, str(path)), str(path), request.encoding)
    texts = [line for line in result if line.strip()]
    if not texts:
        raise DataError("every line is empty", where=str(path), hint="One text a line, a few dozen or more.")
    batches = _text_batches(texts[: request.rows + CALIBRATION_ROWS], tokenizer, max_length)
    return Rows(batches[:CALIBRATION_ROWS], batches[-request.rows :], f"the texts of {path.name}")


def _text_batches(texts: Sequence[str], tokenizer: Tokenizer, max_length: int) -> list[Batch]:
    """One batch a text, its first `max_length` tokens."""
    encodings = [tokenizer.encode(text) for text in texts]
    return [
        batch_of(encoding.ids[:max_length], encoding.type_ids[:max_length]) for encoding in encodings if encoding.ids
    ]


def labelled_rows(
    request: ConvertRequest, parts: Sequence[Part], labels: Sequence[str], notes: list[str]
) -> LabelledRows:
    """The rows of --data, their labels called as the model calls them.

    Args:
        parts: the model's heads.
    """
    task = find_task(str(request.task))
    kinds = [part.kind for part in parts]
    if task.head not in ([MULTI_TASK] if len(kinds) > 1 else kinds):
        has = f"a {kinds[0]} head" if len(kinds) == 1 else f"{len(kinds)} heads, {' and '.join(kinds)}"
        raise RequestError(f"task {task.name} does not fit a model that has {has}", where="--task")
    dataset = load_data(request.data, task, encoding=request.encoding, columns=request.columns)
    order = task.match_labels(labels, dataset.labels) if dataset.labels else []
    if order is None:
        lost = sorted(set(dataset.labels) - set(labels)) or sorted(dataset.labels)
        raise RequestError(
            f"{len(lost)} labels of the data are not the model's, the first is {lost[0]}",
            where="--data",
            hint=f"The model's are {', '.join(labels[:8])}{' …' if len(labels) > 8 else ''}.",
        )
    names = {label: labels[i] for i, label in zip(order, dataset.labels, strict=True)}
    renamed = [f"{label} is {name}" for label, name in names.items() if label != name]
    if renamed and hasattr(task, "by_name"):
        raise RequestError(f"the data's label {renamed[0]} for the model", where="--data", hint="Call them alike.")
    if renamed:
        notes.append(f"the data's labels are called as the model calls them: {', '.join(renamed[:5])}")
        splits = {
            split: tuple(
                replace(
                    row,
                    labels=tuple(names.get(label, label) for label in row.labels),
                    tags=tuple(names.get(tag, tag) for tag in row.tags),
                )
                for row in rows
            )
            for split, rows in dataset.splits.items()
        }
        dataset = replace(dataset, splits=splits)
    return LabelledRows(task, dataset)


def _task_rows(
    request: ConvertRequest,
    data: LabelledRows,
    tokenizer: Tokenizer,
    labels: Sequence[str],
    max_length: int,
    pad_id: int,
) -> Rows:
    task, dataset = data.task, data.dataset
    test = dataset.splits["test"][: request.rows]
    features = task.encode(test, tokenizer, labels, max_length)
    train = task.encode(dataset.splits["train"][:CALIBRATION_ROWS], tokenizer, labels, max_length)
    origin = f"{dataset.source.name}, test"
    return Rows(row_batches(train, pad_id), row_batches(features, pad_id), origin, task, test, features)
