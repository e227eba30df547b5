"""Answers from a packaged model: what `edgebert predict` runs. Needs tokenizers and the runtime, never torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.bundle.agreement import check_digest, open_bundle
from edgebert.bundle.manifest import find_bundle
from edgebert.errors import DataError, RequestError

if TYPE_CHECKING:
    from edgebert.tasks import Task


class Predictor:
    """A loaded bundle.

    Args:
        path: a bundle, or a run folder that has one.

    Raises:
        RequestError: there is no bundle, or one whose files are missing, changed, not listed or at odds with one another.
    """

    def __init__(self, path: Path) -> None:
        self.folder = find_bundle(Path(path))
        try:
            self.manifest, self._engine = open_bundle(self.folder)
            check_digest(self.folder, self.manifest)
        except DataError as error:
            raise RequestError(error.what, where=error.where, hint=error.hint) from None

    @property
    def task(self) -> Task:
        return self._engine.task

    def predict(self, texts: Sequence[str | Sequence[str]]) -> list[Any]:
        """The task's answer to each text; for `ner`: {text, type, start, end} with character offsets, [] for none.

        Args:
            texts: a text each, or the texts of `task.inputs` where a row has two.

        Raises:
            RequestError: a row has more or fewer texts than the task reads.
        """
        inputs = self.task.inputs
        rows = []
        for given in texts:
            parts = (given,) if isinstance(given, str) else tuple(given)
            if len(parts) != len(inputs):
                what = f"{len(parts)} text{'s' if len(parts) > 1 else ''} where {self.task.name} reads {len(inputs)}"
                raise RequestError(what, hint=f"Give {' and '.join(inputs)}.")
            rows.append(self.task.read_texts(*parts))
        features = self._engine.encode(rows)
        return self._engine.answers(rows, features, self._engine.outputs(features))
