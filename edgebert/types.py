"""The values that flow between stages: frozen, without behaviour, units in the names.

A number never travels alone: a `Latency` says how it was obtained and with what runtime, threads, length and batch;
a `Score` says its metric, split and n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from edgebert.quantization import QuantSpec

Outputs = Mapping[str, "np.ndarray"]  # a model's outputs by name
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"  # what a JSON file can hold
Event: TypeAlias = dict[str, Any]  # of a run: `event` says which kind, and so which other keys it has
OnEvent: TypeAlias = Callable[[Event], None]
How = Literal["measured", "emulated", "predicted", "published"]
Effort = Literal["quick", "standard", "thorough"]
Split = Literal["train", "dev", "test"]
# How a file takes lengths, where its format has the choice.
Shape = Literal["fixed", "enumerated", "functions", "ranged"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
TEACHER = "teacher"  # as --student: the teacher's own layers


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Record:
    """One raw row of a file, before a task has read meaning into its columns."""

    columns: Mapping[str, Any]
    where: str  # "file:line", for messages


@dataclass(frozen=True)
class Row:
    """One row of a task: its text, as words or raw, and what is known of it. A task fills what it reads."""

    words: tuple[str, ...] = ()  # for tasks that tag words
    tags: tuple[str, ...] = ()  # one a word, or none
    where: str = ""
    text: str | None = None  # the raw text
    offsets: tuple[tuple[int, int], ...] = ()  # (start, end) characters of each word in `text`
    second: str | None = None  # the other text of a pair; the context of a question
    labels: tuple[str, ...] = ()  # of the whole row
    score: float | None = None  # a pair's similarity, 0 to 1
    answers: tuple[tuple[str, int], ...] = ()  # (text, first character in `second`) of each right answer
    group: str = ""  # rows of one group never straddle carved splits
    head: str = ""  # of a model with several heads, the one that this row is for; "" for all
    gold: tuple[int, ...] = ()  # what the teacher says of it, where only the teacher knows: its nearest rows
    labelled: bool = True  # False: nobody has said its labels, score or answers, so that none is not an answer

    @property
    def identity(self) -> str:
        """What the model reads, on one line: equal rows have equal identities."""
        first = " ".join(self.words) if self.words or self.text is None else self.text
        return first if self.second is None else f"{first}\x1f{self.second}"


@dataclass(frozen=True)
class Feature:
    """One window of a row, as a model reads it. Every word of a row is owned by exactly one of its windows."""

    row: int
    input_ids: tuple[int, ...]  # (n_tokens,)
    type_ids: tuple[int, ...]  # (n_tokens,)
    words: tuple[int, ...] = ()  # (n_tokens,): the word whose first token this is and which this window owns, or -1
    labels: tuple[int, ...] = ()  # (n_tokens,): label id where words >= 0, else -100
    targets: Mapping[str, object] = field(default_factory=dict)  # of the row: `labels`, `start_positions`, `score`, …
    spans: tuple[tuple[int, int], ...] = ()  # (n_tokens,): (start, end) characters in the context, (-1, -1) elsewhere
    head: str = ""  # see Row.head


@dataclass(frozen=True)
class DataSource:
    """Where the rows came from, so that a report can say it."""

    name: str
    licence: str
    origin: str
    sha256: str  # over the bytes of every file, in order
    notes: tuple[str, ...] = ()  # what was repaired, carved or counted on the way


@dataclass(frozen=True)
class Dataset:
    splits: Mapping[Split, tuple[Row, ...]]
    labels: tuple[str, ...]  # in the order of the model's outputs
    source: DataSource


# ---------------------------------------------------------------- scores and measurements


@dataclass(frozen=True)
class TypeScore:
    """One entity type's row of a score."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Score:
    metric: str  # e.g. "strict entity F1"
    value: float  # 0 to 1
    split: str
    n: int  # rows
    precision: float | None = None
    recall: float | None = None
    per_type: tuple[TypeScore, ...] = ()
    more: Mapping[str, float] = field(default_factory=dict)  # other metrics of the same rows, 0 to 1: "macro F1"
    parts: Mapping[str, Score] = field(default_factory=dict)  # of each head, where a model has several


MEDIAN = "median of all runs"  # what records without a statistic hold
QUIETEST = "quietest tenth of blocks"  # see edgebert.measure.runner
AS_PUBLISHED = "as published"  # of a prediction fitted to published latencies


@dataclass(frozen=True)
class CpuTime:
    """Processor time of one inference over all threads, by the statistics of the latency beside which it was taken.

    What the inference computes: on a machine that others use too, a latency also holds the time in which they compute.
    """

    p50_ms: float
    p90_ms: float
    spread: float | None = None


@dataclass(frozen=True)
class Latency:
    """Time of one inference. `low_ms` and `high_ms` bound a prediction; a measurement has none."""

    how: How
    device: str
    runtime: str
    runtime_version: str
    threads: int
    seq_len: int  # tokens of each run; with lengths="data", the median of the rows timed
    batch: int
    p50_ms: float
    lengths: Literal["fixed", "data"] = "fixed"
    p90_ms: float | None = None
    n_runs: int = 0
    low_ms: float | None = None
    high_ms: float | None = None
    called: str = ""  # what the device calls itself, where a target of `edgebert profile` measured it there
    statistic: str = MEDIAN  # what p50_ms is taken from
    spread: float | None = None  # of p50_ms, as a share of it: see `edgebert.measure.runner.spread`
    cpu: CpuTime | None = None  # where the system tells it


@dataclass(frozen=True)
class Padding:
    """What running every text padded to a fixed length costs, from two timings of one file under equal conditions."""

    file: str
    target: str  # where: a target of `edgebert profile`, or a device
    how: How
    own_tokens: int  # median
    own_ms: float
    fixed_tokens: int
    fixed_ms: float
    factor: float  # fixed over own
    runtime: str
    runtime_version: str
    threads: int
    called: str = ""  # see Latency.called


@dataclass(frozen=True)
class Footprint:
    """What loading and first running a file costs, measured in a process of its own."""

    load_ms: float
    first_run_ms: float
    peak_memory_bytes: int  # growth of the peak resident set on loading the runtime and the file, and on the first run
    runtime: str
    runtime_version: str
    called: str = ""  # what the device calls itself, where a target of `edgebert profile` measured it; "" here
    load_cpu_ms: float | None = None  # processor time of loading, where the system tells it


@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """One file held against the model in torch that it was made from. What is no number, as NaN, counts as 1e9."""

    n_rows: int  # real rows
    max_logit_difference: float  # of any output, on real rows
    nrmse: float  # of the output that is farthest, on real rows: root mean square difference over its deviation
    rank_correlation: float | None = None  # least, of scores or of vectors' cosines; None for heads without an order
    equal_predictions: float  # share, 0 to 1, on real rows
    edges: Mapping[str, float]  # worst difference of any output on each kind of edge rows
    edge_nrmse: Mapping[str, float] = field(default_factory=dict)  # the same in units of the deviation over real rows
    failures: tuple[str, ...] = ()  # empty when it passed


@dataclass(frozen=True, kw_only=True)
class Parity(OutputComparison):
    """A comparison with the task's metric on both sides."""

    score: Score
    reference_score: Score


@dataclass(frozen=True)
class Artifact:
    """One file in one format and precision."""

    name: str
    format: str
    precision: str
    path: Path
    size_bytes: int
    sha256: str
    options: Mapping[str, Any] = field(default_factory=dict)  # e.g. the int8 recipe that was chosen
    zip_bytes: int | None = None  # of a zip, an APK or an IPA for it; None in the records of earlier versions


# ---------------------------------------------------------------- devices and plans


@dataclass(frozen=True)
class Budget:
    """What a student may cost. None: not limited."""

    latency_ms: float | None = None  # p50 of one inference at the data's 95th-percentile length, batch 1
    size_mb: float | None = None  # of the packaged model file, 1 MB = 10^6 bytes
    memory_mb: float | None = None  # peak, runtime and file: see Footprint.peak_memory_bytes
    drop_points: float | None = None  # of the metric against the teacher, 1 point = 0.01


@dataclass(frozen=True)
class Cores:
    """A cluster of equal cores."""

    name: str  # "Cortex-X1"
    count: int
    clock_ghz: float
    fp32_flops_per_cycle: float  # multiply and add count as two, one core
    int8_ops_per_cycle: float


@dataclass(frozen=True)
class DeviceProfile:
    name: str
    title: str
    soc: str
    cores: tuple[Cores, ...]  # fastest cluster first
    instructions: tuple[str, ...]  # "dotprod", "i8mm", "fp16", "avx2", …
    ram_mb: int
    memory_gb_per_s: float
    runtimes: tuple[str, ...]  # in order of preference
    formats: tuple[str, ...]
    threads: int  # used for a prediction
    dispatch_us: float  # cost of one graph operator beside its arithmetic
    budget: Budget
    sources: Mapping[str, str]  # figure -> where it comes from
    notes: str = ""
    path: Path | None = None
    target: str = ""  # by which `edgebert profile` reaches it without an address; "" where there is none


@dataclass(frozen=True)
class MethodCall:
    method: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """Methods in the order in which they are applied."""

    calls: tuple[MethodCall, ...]


@dataclass(frozen=True)
class Candidate:
    """A student shape that the planner looked at, and its verdict."""

    name: str
    recipe: Recipe
    n_layers: int
    vocab_size: int
    n_parameters: int
    size_bytes: int  # predicted, int8
    latency: Latency  # predicted, on the device
    fits: bool
    taken: bool
    reason: str
    start: str = "teacher"  # whose weights it starts with: the teacher's own layers, or a checkpoint's name
    epochs_factor: float = 1.0  # of its training: times what --effort gives
    is_attempt: bool = False  # trained because no file of the others kept within the points


@dataclass(frozen=True)
class Plan:
    candidates: tuple[Candidate, ...]
    budget: Budget
    length_p50: int  # tokens, of the training rows
    length_p95: int
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- results


UNRECORDED = {"recorded": False}  # of a field that is in no file that edgebert writes: it may hold a password


@dataclass(frozen=True)
class FitRequest:
    """What `edgebert fit` was asked for. None leaves the choice to the device, the task or the effort."""

    device: str
    task: str  # a name, or NAME=TASK joined by commas for one encoder with several heads
    teacher: str | None = None
    student: str | None = None  # a checkpoint that the student starts from; "teacher": its layers alone; None: both
    starts: tuple[str, ...] = ()  # folders with checkpoints that students may start from, beside those that are found
    data: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()  # files of texts, one a line, or folders of .txt files
    columns: Mapping[str, str] = field(default_factory=dict)  # "text", "second", "label" -> the column's name
    recipe: str | None = None
    params: Mapping[str, object] = field(default_factory=dict)  # "method.parameter" -> value
    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None
    max_drop: float | None = None  # points
    candidates: int | None = None
    search_trials: int = 0  # networks to judge that can be cut out of one; 0 takes the largest shapes that fit
    study: str | None = field(default=None, repr=False, metadata=UNRECORDED)  # URL of the search's database
    effort: Effort = "standard"
    run: str | None = None
    seed: int = 0
    epochs: float | None = None
    teacher_epochs: float | None = None
    learning_rate: float | None = None
    batch_size: int = 32
    max_length: int | None = None  # tokens of a window; None is 128, or what the teacher can read
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    average_weights: float = 0.0  # share of a training's steps that an average of its weights reaches back
    early_stopping: int = 0  # development scores without a rise after which a training ends
    encoding: str = "utf-8"
    allow_pickle: bool = False
    formats: tuple[str, ...] = ()  # () is the device's own
    precisions: tuple[str, ...] = ("int8",)  # beside fp32, which is always written; the first is planned for
    shape: Shape | None = None  # None leaves it to the format
    baselines: bool = False  # of several heads, each also fitted alone, to be compared
    on: str | None = None  # a target that the files are measured on; None is the device's own, where one answers


# ---------------------------------------------------------------- models in memory


@dataclass
class Student:
    """A model on its way from teacher to student. Methods take one and return one."""

    model: PreTrainedModel  # or edgebert.modeling.headed.HeadedEncoder, which answers the same calls
    tokenizer: Tokenizer
    teacher_ids: tuple[int, ...] | None = None  # student token id -> teacher token id; None where they are equal
    own_tokenizer: bool = False  # it splits text in ways of its own: no id of it has one of the teacher's
    notes: tuple[str, ...] = ()
    quantization: QuantSpec | None = None  # ranges that its training found, which files must use


@dataclass(frozen=True)
class TrainSettings:
    epochs: float
    batch_size: int = 32
    learning_rate: float = 3e-4
    warmup: float = 0.1  # share of all steps
    weight_decay: float = 0.01
    seed: int = 0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    max_length: int = 128
    average: float = 0.0  # share of the steps that an average of the weights reaches back; 0 takes the last weights
    patience: int = 0  # scores without a rise after which a training ends; 0 trains to the end
