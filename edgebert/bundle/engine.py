"""A bundle's files, loaded and ready to run: what its writer, its check and the predictor share. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.bundle.manifest import AGAIN, LABELS, MANIFEST, TOKENIZER, read_labels
from edgebert.converters import CONVERTERS, runnable_converter
from edgebert.errors import DataError, EdgebertError, first_line
from edgebert.runtime.batching import one_row, pad_batch, run_features
from edgebert.runtime.specs import padding_of, specs_by_name
from edgebert.tasks import find_task
from edgebert.types import Feature, Outputs, Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.bundle.manifest import Manifest
    from edgebert.runtime.session import Session
    from edgebert.tasks import Task


@dataclass(frozen=True)
class Engine:
    task: Task
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    session: Session
    max_length: int
    pad_id: int

    def settings(self) -> dict[str, object]:
        """What an answer depends on beside the files: kept with each golden text."""
        return {
            "task": self.task.name,
            "task_options": self.task.options(),
            "max_length": self.max_length,
            "pad_id": self.pad_id,
        }

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        return self.task.encode(rows, self.tokenizer, self.labels, self.max_length)

    def windows(self, rows: Sequence[Row]) -> list[list[Feature]]:
        """The windows of each row, as they are where the row stands alone."""
        results: list[list[Feature]] = [[] for _ in rows]
        for feature in self.encode(rows):
            results[feature.row].append(replace(feature, row=0))
        return results

    def outputs(self, features: Sequence[Feature]) -> list[Outputs]:
        """Every output of each feature by name, run one at a time as a device does."""
        return run_features(self.session, features, pad_id=self.pad_id)

    def padded_outputs(self, feature: Feature, length: int) -> Outputs:
        """`outputs` of one feature that is padded to `length` tokens, cut back to its own."""
        n = len(feature.input_ids)
        batch = {
            name: np.pad(array, ((0, 0), (0, length - n)), constant_values=padding_of(name, self.pad_id))
            for name, array in pad_batch([feature]).items()
        }
        outputs = self.session.run(batch)
        specs = specs_by_name(outputs, self.session.output_specs)
        return {name: one_row(specs[name], array, 0, n) for name, array in outputs.items()}

    def answers(self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs]) -> list[Any]:
        """What a user reads, for each row."""
        predictions = self.task.decode(rows, features, outputs, self.labels)
        return [self.task.answer(row, prediction) for row, prediction in zip(rows, predictions, strict=True)]


def open_engine(folder: Path, manifest: Manifest) -> Engine:
    """Loads the files of a bundle. They are taken as they are: check them first.

    Raises:
        DataError: the task, the tokenizer, the labels or the model cannot be what the manifest says.
        RequestError: the runtime that the model's format needs is not installed.
    """
    return Engine(
        task=_task(folder, manifest),
        tokenizer=_tokenizer(folder / TOKENIZER),
        labels=read_labels(folder / LABELS),
        session=_session(folder / manifest["model"], manifest["format"]),
        max_length=manifest["max_length"],
        pad_id=manifest["pad_id"],
    )


def _task(folder: Path, manifest: Manifest) -> Task:
    where = str(folder / MANIFEST)
    try:
        task = find_task(manifest["task"]).configured(manifest["task_options"])
    except EdgebertError as error:
        raise DataError(f"its task cannot be: {error.what}", where=where, hint=AGAIN) from None
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"its task_options cannot be: {first_line(error)}", where=where, hint=AGAIN) from None
    return task


def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # its library panics on some files, and a panic is no Exception
        raise DataError(f"the tokenizer cannot be read: {first_line(error)}", where=str(path), hint=AGAIN) from None


def _session(path: Path, format: str) -> Session:
    where = str(path)
    if format not in CONVERTERS.all():
        raise DataError(f"the manifest names the format {format!r}, which there is not", where=where, hint=AGAIN)
    converter = runnable_converter(format)
    try:
        return converter.open(path, 1)
    except (EdgebertError, ModuleNotFoundError):
        raise
    except Exception as error:  # what its metadata holds may be anything
        raise DataError(f"the model cannot be opened: {first_line(error)}", where=where, hint=AGAIN) from None
