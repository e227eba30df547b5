"""A bundle's files, loaded and ready to run: what its writer, its check and the predictor share. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert import registry
from edgebert.bundle.manifest import LABELS, TOKENIZER
from edgebert.infer import run_features
from edgebert.types import Feature, Outputs, Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.converters import Session
    from edgebert.tasks import Task


@dataclass(frozen=True)
class Engine:
    task: Task
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    session: Session
    max_length: int
    pad_id: int

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        return self.task.encode(rows, self.tokenizer, self.labels, self.max_length)

    def outputs(self, features: Sequence[Feature]) -> list[Outputs]:
        """Every output of each feature by name, run one at a time as a device does."""
        return run_features(self.session, features, pad_id=self.pad_id)

    def answers(self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs]) -> list[Any]:
        """What a user reads, for each row."""
        predictions = self.task.decode(rows, features, outputs, self.labels)
        return [self.task.answer(row, prediction) for row, prediction in zip(rows, predictions, strict=True)]


def open_engine(folder: Path, manifest: Mapping[str, Any]) -> Engine:
    """Loads the files of a bundle. They are taken as they are: check them first."""
    from tokenizers import Tokenizer

    return Engine(
        task=registry.task(manifest["task"]).configured(manifest["task_options"]),
        tokenizer=Tokenizer.from_file(str(folder / TOKENIZER)),
        labels=tuple(json.loads((folder / LABELS).read_text(encoding="utf-8"))),
        session=registry.converter(manifest["format"]).open(folder / manifest["model"], 1),
        max_length=manifest["max_length"],
        pad_id=manifest["pad_id"],
    )
