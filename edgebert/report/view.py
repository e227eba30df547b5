"""Which of a report's numbers is shown where: the page, the picture and the terminal all ask here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgebert.budget import choice
from edgebert.results import ArtifactResult, ModelResult, Report
from edgebert.types import Artifact, Latency, Padding, Score

TORCH = "torch"  # what stands for a precision where a model runs in torch and has no file


@dataclass(frozen=True)
class Entry:
    """One thing that was scored and timed: a model in torch (`result` is None), or one of its files."""

    model: ModelResult
    result: ArtifactResult | None
    rank: int  # 0 for the teacher, from 1 on for the students in order: the colour of the model
    winner: str | None  # of the report

    @property
    def packaged(self) -> bool:
        return self.result is not None and self.name == self.winner

    @property
    def artifact(self) -> Artifact | None:
        return self.result.artifact if self.result else None

    @property
    def file(self) -> str:
        return f"{self.artifact.format} {self.precision}" if self.artifact else self.precision

    @property
    def name(self) -> str:
        """The name by which `Report.winner` knows a file: 'model/artifact'; in torch the model's own."""
        return f"{self.model.name}/{self.artifact.name}" if self.artifact else self.model.name

    @property
    def dev(self) -> Score | None:
        """On the development rows, by which the budget's drop is judged; of the file itself where there is one."""
        return self.result.dev if self.result else self.model.dev

    @property
    def precision(self) -> str:
        return self.artifact.precision if self.artifact else TORCH

    @property
    def label(self) -> str:
        return f"{self.model.name} {self.file}"

    @property
    def score(self) -> Score:
        """Of the file itself where there is one, not of the model that it was made from."""
        return self.result.parity.score if self.result else self.model.test

    @property
    def latencies(self) -> tuple[Latency, ...]:
        return self.result.latencies if self.result else self.model.torch_latencies


def entries(report: Report) -> list[Entry]:
    """The teacher and then every student: in torch, then its files in order.

    Raises ValueError when two have one name: the winner is known by its name.
    """
    models = (report.teacher, *report.students)
    results = [
        Entry(model, result, rank, report.winner)
        for rank, model in enumerate(models)
        for result in (None, *model.artifacts)
    ]
    names = [entry.name for entry in results]
    if len(set(names)) < len(names):
        raise ValueError(f"models and files of a report need names of their own: {', '.join(names)}")
    return results


def winner(report: Report) -> Entry | None:
    """The packaged file, or None when nothing was packaged."""
    return next((entry for entry in entries(report) if entry.packaged), None)


def this_machine(report: Report) -> str | None:
    """The device name under which this machine's measurements stand: torch runs nowhere else."""
    timed = [*report.teacher.torch_latencies, *(latency for e in entries(report) for latency in e.latencies)]
    return next((latency.device for latency in timed if latency.how == "measured"), None)


def measured(
    latencies: Sequence[Latency], device: str | None, *, one_thread: bool, n_tokens: int = 0
) -> Latency | None:
    """The measurement on `device` with one thread or more, at a fixed length or (0) at the data's lengths, batch 1."""
    for latency in latencies:
        here = latency.how == "measured" and latency.device == device and latency.batch == 1
        if here and length_of(latency) == n_tokens and (latency.threads == 1) == one_thread:
            return latency
    return None


def length_of(latency: Latency) -> int:
    """Tokens, or 0 for the data's own lengths."""
    return latency.seq_len if latency.lengths == "fixed" else 0


def main_latency(entry: Entry, report: Report) -> Latency | None:
    """The latency that names a file: measured here, 1 thread, the data's lengths."""
    return measured(entry.latencies, this_machine(report), one_thread=True)


def predicted(entry: Entry, report: Report) -> Latency | None:
    """The prediction for the target device, at the budget's length where there are several.

    The planner's figure is of the int8 file, so it stands for no other precision.
    """
    results = [latency for latency in entry.latencies if latency.how == "predicted"]
    if not results and entry.precision == "int8" and entry.model.candidate:
        results = [entry.model.candidate.latency]
    return next(
        (latency for latency in results if latency.seq_len == report.plan.length_p95), results[0] if results else None
    )


def on_device(entry: Entry, report: Report) -> Latency | None:
    """The latency on the target device by which the budget is judged: measured there where it was, else predicted."""
    return choice.on_device(entry.latencies, report.device, report.plan.length_p95) or predicted(entry, report)


def on_target(entry: Entry) -> tuple[Latency, ...]:
    """What a target of `edgebert profile` measured of a file, or emulated."""
    return tuple(latency for latency in entry.latencies if latency.called)


def elsewhere(entry: Entry, report: Report) -> Latency | None:
    """What was measured on a target and does not count as the device, at the budget's length."""
    results = [item for item in on_target(entry) if item.how != "measured" or item.device != report.device.name]
    return next((item for item in results if item.lengths == "fixed" and item.seq_len == report.plan.length_p95), None)


def padding(report: Report, entry: Entry) -> list[Padding]:
    """What padding to a fixed length costs a file, here and on the target."""
    return [item for item in report.padding if item.file == entry.name]


def drop(entry: Entry, report: Report) -> float:
    """Score minus the teacher's in torch: below zero when the entry is worse. As a share, not in points."""
    return entry.score.value - report.teacher.test.value


def score_floor(report: Report) -> float | None:
    """The lowest score that the budget allows, as a share."""
    allowed = report.plan.budget.drop_points
    return None if allowed is None else report.teacher.test.value - allowed / 100


def baseline(report: Report, precision: str) -> Entry | None:
    """The teacher in torch, or its file of this precision."""
    return next((e for e in entries(report) if e.rank == 0 and e.precision == precision), None)


def speedup(entry: Entry, base: Entry | None, report: Report) -> float | None:
    """How many times faster than `base`, both measured here by the same statistic, 1 thread, the data's lengths."""
    own, other = main_latency(entry, report), main_latency(base, report) if base else None
    return other.p50_ms / own.p50_ms if own and other and own.statistic == other.statistic else None


def state(entry: Entry) -> str:
    """What became of a file, in words."""
    if entry.result is None:
        return "reference, no file" if entry.rank == 0 else "before conversion, no file"
    if entry.result.parity.failures:
        return "rejected: " + "; ".join(entry.result.parity.failures)
    if entry.packaged:
        return "packaged"
    return "for comparison" if entry.rank == 0 else "passed parity, not packaged"
