"""What `edgebert compare` found: frozen values, of which the terminal, the page and --json each show what fits there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from edgebert.types import JSON, Footprint, Latency, Score

if TYPE_CHECKING:
    from edgebert.verify.paired import PairedTest

Kind = Literal["lost", "won", "both wrong", "further", "nearer", "not scored"]
KINDS: tuple[Kind, ...] = ("lost", "won", "both wrong", "further", "nearer", "not scored")  # in the order of the rows
SIGNIFICANT = 0.05  # p below which a difference is said to be one


@dataclass(frozen=True)
class ComparedFile:
    """One file of a run.

    Attributes:
        run: as it was given.
        name: model/artifact, as the run's report calls it.
        title: what it is called beside the others.
        machine: on which everything was measured that no target measured.
        facts: what it was made of and with, by name.
    """

    run: str
    name: str
    title: str
    format: str
    precision: str
    packaged: bool
    sha256: str
    size_bytes: int
    score: Score
    latencies: tuple[Latency, ...]
    footprint: Footprint | None
    device_footprint: Footprint | None
    machine: str
    facts: Mapping[str, str]
    command: str


@dataclass(frozen=True)
class LabelChange:
    """The F1 of a label, from 0 to 1: of the first file and of another. The p of `test` is corrected for all labels."""

    label: str
    old: float
    new: float
    test: PairedTest


@dataclass(frozen=True)
class Against:
    """One file against the first.

    Attributes:
        file: its title.
        score: None where the two cannot be compared row by row; `without_rows` then says why.
        labels: those that lost most stand first.
        n_by_kind: rows on which the two answer differently, by what that means.
    """

    file: str
    difference: float  # of the scores, 0 to 1
    score: PairedTest | None = None
    labels: tuple[LabelChange, ...] = ()
    n_by_kind: Mapping[Kind, int] = field(default_factory=dict)
    without_rows: str = ""


@dataclass(frozen=True)
class Figure:
    """One figure of every file, in the order of the files.

    Attributes:
        name: with the conditions that it was measured under.
        unit: "bytes" or "ms".
        values: None where a file has it not.
        ratios: to the first file; None where there is nothing to divide, or `apart` says why it must not be.
        apart: "" or how the conditions differ from the first file's.
        noise: of each file the share by which its ratio may differ through noise alone; None where nobody knows.
    """

    name: str
    unit: str
    values: tuple[float | None, ...]
    ratios: tuple[float | None, ...]
    apart: tuple[str, ...]
    noise: tuple[float | None, ...]


@dataclass(frozen=True)
class DifferingRow:
    """A test row on which not all files give the same answer.

    Attributes:
        kind: what it means for the files after the first. "lost": the first is right and another is wrong; "won": the other
            way round; "both wrong": each in its own way. Where answers are values, whose ranks are scored: "further" from the
            right rank, or "nearer". "not scored": the row does not count.
        number: from 1 on, among the test rows.
        where: in the user's files.
        gold: the right answer.
        answers: of each file.
        shares: how right each answer is, from 0 to 1; None where the row does not count or ranks are scored.
    """

    kind: Kind
    number: int
    where: str
    texts: tuple[str, ...]
    gold: JSON
    answers: tuple[JSON, ...]
    shares: tuple[float | None, ...]


@dataclass(frozen=True)
class Comparison:
    """The first file is the one that the others are compared with.

    Attributes:
        rows: those that lost most stand first; empty where not all files have kept them.
        differs: what the files were made of, where it is not the same: name -> what it is of each file.
        notes: what could not be compared, and what helps.
    """

    task: str
    metric: str
    n_rows: int
    files: tuple[ComparedFile, ...]
    against: tuple[Against, ...]
    figures: tuple[Figure, ...]
    rows: tuple[DifferingRow, ...]
    differs: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
