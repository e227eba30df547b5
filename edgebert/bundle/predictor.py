"""Answers from a packaged model: what `edgebert predict` runs. Needs tokenizers and the runtime, never torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgebert.bundle.engine import open_engine
from edgebert.bundle.manifest import AGAIN, MANIFEST, damage, read_manifest
from edgebert.errors import RequestError


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

    def predict(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The answer to each text; for `ner`: {text, type, start, end} with character offsets. [] for an empty text."""
        rows = [self._engine.task.read_text(text) for text in texts]
        features = self._engine.encode(rows)
        return self._engine.answers(rows, features, self._engine.logits(features))


def _bundle_folder(path: Path) -> Path:
    for folder in (path, path / "bundle"):
        if (folder / MANIFEST).is_file() and not (folder / "request.toml").exists():  # a run has a manifest too
            return folder
    what = "this run has no bundle" if (path / "request.toml").exists() else "there is no bundle here"
    hint = "Give a bundle or a run folder that has one; edgebert runs lists the runs, edgebert fit makes a bundle."
    raise RequestError(what, where=str(path), hint=hint)
