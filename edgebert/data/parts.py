"""What a data spec leads to, before a task has read it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgebert.types import Record, Split

_ROLES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "valid", "validation", "validate", "val", "testa"), "dev"),
    **dict.fromkeys(("test", "testing", "testb", "eval"), "test"),
}


@dataclass(frozen=True)
class Part:
    """The records of one file. `split` is None where nothing said which split they are."""

    split: Split | None
    place: str
    records: tuple[Record, ...]
    content: bytes  # hashed into DataSource.sha256


@dataclass(frozen=True)
class DataFiles:
    name: str
    licence: str
    origin: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()


def role(name: str) -> Split | None:
    """The split that a name tells: its first run of letters that is a usual word for one, as in `eng.testa`."""
    return next((_ROLES[word] for word in re.findall("[a-z]+", name.lower()) if word in _ROLES), None)
