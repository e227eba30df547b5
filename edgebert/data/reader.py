"""What reading data asks of a task. Every `edgebert.tasks.Task` has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from edgebert.types import Record, Row


class RowReader(Protocol):
    """A task as far as its rows go; see `edgebert.tasks.Task` for what each member promises."""

    name: str
    columns: Mapping[str, tuple[str, ...]]
    default_data: str
    inputs: tuple[str, ...]

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]: ...

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]: ...

    def check(self, rows: Sequence[Row], split: str) -> None: ...

    def read_texts(self, *texts: str) -> Row: ...
