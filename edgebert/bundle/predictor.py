"""Answers from a packaged model: what `edgebert predict` runs. Needs tokenizers and the runtime, never torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.bundle.engine import open_engine
from edgebert.bundle.manifest import AGAIN, MANIFEST, damage, read_manifest
from edgebert.errors import RequestError

if TYPE_CHECKING:
    from edgebert.tasks import Task


class Predictor:
    """A loaded bundle.

    Args:
        path: a bundle, or a run folder that has one.

    Raises:
        RequestError: there is no bundle, or a file of it is missing or was changed.
    """

    def __init__(self, path: Path) -> None:
        self.folder = _bundle_folder(Path(path))
        self.manifest = read_manifest(self.folder)
        for name, what in damage(self.folder, self.manifest).items():
            raise RequestError(f"the file {what}", where=str(self.folder / name), hint=AGAIN)
        self._engine = open_engine(self.folder, self.manifest)

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


def _bundle_folder(path: Path) -> Path:
    for folder in (path, path / "bundle"):
        if (folder / MANIFEST).is_file() and not (folder / "request.toml").exists():  # a run has a manifest too
            return folder
    what = "this run has no bundle" if (path / "request.toml").exists() else "there is no bundle here"
    hint = "Give a bundle or a run folder that has one; edgebert runs lists the runs, edgebert fit makes a bundle."
    raise RequestError(what, where=str(path), hint=hint)
