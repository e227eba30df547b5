"""What the workflows give back: students, their files, and the report of a fit. Frozen, almost without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from edgebert.types import (
    Artifact,
    Candidate,
    DataSource,
    DeviceProfile,
    Footprint,
    How,
    Latency,
    OutputComparison,
    Padding,
    Parity,
    Plan,
    Score,
)

Tally: TypeAlias = Mapping[str, tuple[float, float]]  # of one row: see `edgebert.tasks.Task.tallies`


@dataclass(frozen=True)
class Tallies:
    """What each row adds to a score, so that two files can be compared row by row.

    Attributes:
        head: of a model with several; "" of one.
        ranked: the score is the rank correlation of the two columns of `whole`; otherwise their sums' ratio.
        rows: index of each row among those of the split.
        whole: two columns, one entry a row.
        labels: of each label the places in `rows` that add to its F1, and their two columns.
    """

    head: str
    ranked: bool
    rows: tuple[int, ...]
    whole: tuple[tuple[float, ...], tuple[float, ...]]
    labels: Mapping[str, tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class RowOutcomes:
    """A file's outcome on every row of a split. The score is the mean over `parts`."""

    metric: str
    split: str
    rows_sha256: str  # of the rows' texts and right answers, in order: equal for equal rows
    n: int
    parts: tuple[Tallies, ...]


@dataclass(frozen=True)
class ArtifactResult:
    artifact: Artifact
    parity: Parity
    latencies: tuple[Latency, ...] = ()
    footprint: Footprint | None = None  # on this machine
    dev: Score | None = None  # of the file itself, on the development rows that chose it
    accelerator_fallbacks: Mapping[str, int] = field(default_factory=dict)  # what keeps it off an accelerator -> count
    outcomes: RowOutcomes | None = None  # on the test rows; of the packaged file
    device_footprint: Footprint | None = None  # on the device, where its target was measured and tells its memory


@dataclass(frozen=True)
class EngineProof:
    """Whether an engine, such as onnxruntime-web by WebGPU, computes a file's answers, by real rows.

    Attributes:
        sha256: of the file.
        target: as `--on` took it.
        engine: "wasm" or "webgpu".
        device: what the browser calls itself, with its version.
        adapter: of WebGPU; "" elsewhere.
        how: measured; or emulated, where the adapter is software: its kernels were proven, not a graphics card.
        parity: the engine's outputs against this machine's of the same file, with the metric of both; None where the
            engine did not answer.
        failures: why the file must not be used with the engine; empty where it may.
    """

    file: str
    sha256: str
    target: str
    engine: str
    device: str
    adapter: str
    how: How
    runtime: str
    runtime_version: str
    parity: Parity | None
    failures: tuple[str, ...]
    created: str

    @property
    def undecided(self) -> bool:
        """Nothing was found out of the engine: no browser could be had, the file is another, the time was too short."""
        return not self.device


@dataclass(frozen=True)
class Conversion:
    """One file that `edgebert convert` wrote, or was asked for."""

    format: str
    precision: str
    artifact: Artifact | None = None  # None: this format does not offer the precision, see `note`
    comparison: OutputComparison | None = None  # with the metric (Parity) where labelled rows were given
    size_share: float = 1.0  # of the float32 file of the same format
    seconds: float = 0.0  # of writing, verification aside
    peak_memory_bytes: int = 0  # of the whole process so far
    runtime: str = ""  # what ran the file for the comparison
    variant: str = ""
    accelerator_fallbacks: Mapping[str, int] = field(default_factory=dict)
    with_tokenizer: Artifact | None = None  # a second file, that reads text itself
    note: str = ""


@dataclass(frozen=True)
class PackageResult:
    """What `edgebert bundle` wrote.

    Attributes:
        prove: the command that replays the golden vectors on the platform, to be given in `folder`.
    """

    folder: Path
    archive: Path
    platform: str
    name: str
    format: str
    precision: str
    n_files: int
    size_bytes: int
    archive_bytes: int
    prove: str


@dataclass(frozen=True)
class ConvertResult:
    folder: Path
    head: str
    family: str
    n_rows: int
    rows_from: str
    conversions: tuple[Conversion, ...]
    exit_code: int  # 0, or 1 when a file was rejected
    notes: tuple[str, ...] = ()  # what of the checkpoint was left out or guessed, and from what


@dataclass(frozen=True)
class CompressResult:
    folder: Path
    name: str  # of the student's shape
    recipe: str
    teacher: Score  # in torch, float, on test; so are the student's
    dev: Score
    test: Score
    teacher_parameters: int
    n_parameters: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CutCandidate:
    """A network that can be cut out of a larger one. `dev` is its score, None where it was not scored."""

    name: str
    layers: tuple[int, ...]  # numbers of those that stay, from 0
    widths: tuple[float, ...]  # share of heads and neurons that each of them keeps
    n_parameters: int
    size_bytes: int  # predicted
    latency: Latency  # predicted, on the device
    dev: float | None
    misses: tuple[str, ...]  # limits that it is over


@dataclass(frozen=True)
class CutResult:
    folder: Path
    chosen: CutCandidate
    candidates: tuple[CutCandidate, ...]
    precision: str
    metric: str  # of `dev`
    n: int  # development rows


@dataclass(frozen=True)
class ModelResult:
    """The teacher, or one student, with its files. `candidate` is None for the teacher."""

    name: str
    n_layers: int
    vocab_size: int
    n_parameters: int
    dev: Score  # in torch, float
    test: Score
    artifacts: tuple[ArtifactResult, ...]
    torch_latencies: tuple[Latency, ...] = ()
    candidate: Candidate | None = None
    notes: tuple[str, ...] = ()


class TrialLine(TypedDict):
    """A short training of a recipe: what competed, rows that it saw, its score on the development rows, whether it won."""

    what: str
    recipe: str
    rows: int
    dev: float
    chosen: bool


@dataclass(frozen=True)
class SearchLine:
    """A network that the search judged, untrained. `dev` is None where it breaks a limit, by `over` times of it."""

    layers: tuple[int, ...]  # numbers of those that stay, from 0
    widths: tuple[float, ...]  # share of heads and neurons that each of them keeps
    dev: float | None
    p50_ms: float  # predicted
    over: float
    size_bytes: int  # predicted
    on_front: bool  # no other within the limits is faster and scores as much
    taken: bool = False


@dataclass(frozen=True)
class FrontLine:
    """A network within the limits that no other beats in both score and time."""

    layers: tuple[int, ...]
    widths: tuple[float, ...]
    dev: float
    p50_ms: float  # predicted


@dataclass(frozen=True)
class SearchWorker:
    """A process that is at a trial, as the study has it: whether it is alive, `seconds` tell by both machines' clocks."""

    name: str
    trial: int  # from 1
    seconds: float  # since it was last heard of; a living one is heard of every 5 s


@dataclass(frozen=True)
class SearchState:
    """A search as it stands."""

    where: str  # without a password
    n_trials: int  # to be judged
    n_done: int
    n_again: int  # trials whose worker was killed or stopped
    seconds_left: float | None  # None where no trial has ended yet
    workers: tuple[SearchWorker, ...]
    front: tuple[FrontLine, ...]  # the fastest first: each scores more than every faster one
    recipe: tuple[Mapping[str, Any], ...]  # its calls, whose cut is still open


@dataclass(frozen=True)
class SearchWork:
    """What a worker has done."""

    run: Path
    worker: str
    n_judged: int  # by it
    n_networks: int  # different ones, by all


@dataclass(frozen=True)
class SingleTaskBaseline:
    """One head of several, fitted alone with the same request."""

    file: str  # model/artifact
    score: Score
    size_bytes: int


@dataclass(frozen=True)
class MeasuredOn:
    """The target on which a fit's files were measured, beside this machine."""

    on: str  # as `edgebert profile --on` takes it
    called: str  # what it calls itself; "" where it never came to measuring
    is_device: bool  # it counts as the device of the fit, so that the budget is judged by what was measured there
    notes: tuple[str, ...] = ()  # what was left out, and what went wrong
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Everything that the terminal, the HTML page, report.json and report.png show."""

    run: str
    command: str
    device: DeviceProfile
    task: str
    data: DataSource
    n_rows: Mapping[str, int]  # a split
    teacher: ModelResult
    students: tuple[ModelResult, ...]
    plan: Plan
    winner: str | None  # the packaged file, as model/artifact
    verdict: str  # why it won, or why nothing did
    failures: tuple[str, ...]  # what was rejected or out of budget
    environment: Mapping[str, object]  # versions, hardware, seed, times
    created: str  # ISO 8601, UTC
    baselines: Mapping[str, SingleTaskBaseline] = field(
        default_factory=dict
    )  # of each head, where there are several and it was asked for
    measured_on: MeasuredOn | None = None
    padding: tuple[Padding, ...] = ()  # of every file that was timed, on one thread here and on the target
    notes: tuple[str, ...] = ()  # on what was measured here: what is missing, and whether others used the machine
    recipe_trials: tuple[TrialLine, ...] = ()  # recipes that competed
    search: tuple[SearchLine, ...] = ()  # networks that were judged, of which the best were trained
    engines: tuple[EngineProof, ...] = ()  # which engines were tried on the files, and whether they may be used
    changes: tuple[str, ...] = ()  # where nothing was packaged: single changes of the budget that would have helped


@dataclass(frozen=True)
class FitResult:
    run: Path
    report: Report
    bundle: Path | None
    exit_code: int  # 0, or 1 when a budget or parity failed
