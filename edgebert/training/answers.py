"""The teacher's answers, stored once in files that are mapped into memory.

A window is known by the ids that the teacher reads. So one pass of the teacher serves every candidate, seed and trial whose
windows hold these ids, whichever rows it learns from and in whatever order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edgebert.modeling.heads import is_per_token
from edgebert.types import Feature, Outputs

WINDOWS, STARTS, OUTPUTS = "windows.npy", "starts.npy", "outputs.json"


def window_key(feature: Feature) -> bytes:
    """16 bytes that stand for what the teacher reads."""
    ids = np.array([feature.input_ids, feature.type_ids], np.int64)
    return hashlib.blake2b(ids.tobytes(), digest_size=16).digest()


def distinct_windows(features: Iterable[Feature]) -> list[Feature]:
    """The first window of each key, the shortest first, so that little of a batch is padding."""
    results: dict[bytes, Feature] = {}
    for feature in features:
        results.setdefault(window_key(feature), feature)
    return sorted(results.values(), key=lambda feature: len(feature.input_ids))


class StoredAnswers:
    """Answers by window.

    Args:
        folder: as `AnswerWriter` leaves it.
    """

    def __init__(self, folder: Path) -> None:
        keys = np.load(folder / WINDOWS)
        self._at = {key.tobytes(): i for i, key in enumerate(keys)}
        self._starts = np.load(folder / STARTS)
        message = json.loads((folder / OUTPUTS).read_text(encoding="utf-8"))
        # Copy-on-write: torch takes no array that cannot be written, and the file stays as it is.
        self._outputs = {
            name: (np.load(folder / file, mmap_mode="c"), by_token) for name, (file, by_token) in message.items()
        }

    def __len__(self) -> int:
        return len(self._at)

    def find(self, feature: Feature) -> Outputs | None:
        """The answer to a window as the teacher reads it; None where it was not asked.

        Returns:
            Outputs by name, views of the file: (n_tokens, n_labels) or (n_tokens,) where each token has an answer, else (n,).
        """
        at = self._at.get(window_key(feature))
        if at is None:
            return None
        tokens = slice(self._starts[at], self._starts[at + 1])
        return {
            name: np.asarray(values[tokens if by_token else at]) for name, (values, by_token) in self._outputs.items()
        }


class AnswerWriter:
    """Writes the answers to distinct windows into a folder.

    Args:
        folder: gets the files that `StoredAnswers` reads.
        features: distinct windows, of `distinct_windows`.
    """

    def __init__(self, folder: Path, features: Sequence[Feature]) -> None:
        self.folder = folder
        self._starts = np.cumsum([0, *(len(feature.input_ids) for feature in features)])
        self._outputs: dict[str, tuple[np.memmap, bool]] = {}  # name -> its array, whether each token has an answer
        keys = np.frombuffer(b"".join(map(window_key, features)), np.uint8).reshape(-1, 16)
        np.save(folder / WINDOWS, keys)
        np.save(folder / STARTS, self._starts)

    def put(self, at: int, answer: Outputs) -> None:
        """The answer to window `at`; outputs as `StoredAnswers.find` returns them."""
        for name, value in answer.items():
            values, by_token = self._array(name, np.asarray(value))
            values[slice(self._starts[at], self._starts[at + 1]) if by_token else at] = value

    def get(self, at: int) -> dict[str, np.ndarray]:
        """What has been put at a window, zeros where nothing was."""
        results = {}
        for name, (values, by_token) in self._outputs.items():
            results[name] = np.array(values[slice(self._starts[at], self._starts[at + 1]) if by_token else at])
        return results

    def close(self) -> None:
        """Writes what is still in memory to the disk."""
        for values, _ in self._outputs.values():
            values.flush()
        notes = {name: (_file(i), by_token) for i, (name, (_, by_token)) in enumerate(self._outputs.items())}
        (self.folder / OUTPUTS).write_text(json.dumps(notes), encoding="utf-8")

    def _array(self, name: str, value: np.ndarray) -> tuple[np.memmap, bool]:
        if name not in self._outputs:
            by_token = is_per_token(name, value.ndim + 1)
            shape = (int(self._starts[-1]), *value.shape[1:]) if by_token else (len(self._starts) - 1, *value.shape)
            place = self.folder / _file(len(self._outputs))
            self._outputs[name] = np.lib.format.open_memmap(place, "w+", np.float32, shape), by_token
        return self._outputs[name]


def _file(number: int) -> str:
    return f"output-{number}.npy"
