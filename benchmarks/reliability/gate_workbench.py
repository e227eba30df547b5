"""A finished run taken apart, so that its packaged file can be made, proved, measured and packaged anew.

Each step is done by the function of edgebert that `fit` does it by: converting, verification, the measuring target `here`,
`write_bundle`, `dump_report`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from edgebert import data
from edgebert.budget.findings import Subject
from edgebert.bundle import write_bundle
from edgebert.bundle.manifest import find_bundle, read_manifest
from edgebert.converters import CONVERTERS, describe
from edgebert.devices.profiles import HERE
from edgebert.files import digest, link_tree, plain
from edgebert.measure.figures import as_footprint, as_latency, measured
from edgebert.measure.inputs import Inputs, at_length, own_lengths_of
from edgebert.measure.protocol import FIXED_LENGTH, MIN_RUNS
from edgebert.measure.targets import TARGETS, File, Job
from edgebert.modeling.checkpoint import TOKENIZER
from edgebert.report.serial import dump_report, read_report
from edgebert.results import ArtifactResult, Report, RowOutcomes
from edgebert.runs.listing import stage_records
from edgebert.tasks import Task, find_task
from edgebert.types import Artifact, Feature, Footprint, Latency, Parity, Row
from edgebert.verify.edges import edge_batches
from edgebert.verify.file import check_file
from edgebert.verify.reference import Reference, make_reference, row_batches
from edgebert.verify.rows import texts_of
from edgebert.workflows.profiling import SECONDS_HERE

REPORT = Path("report") / "report.json"
GOLDEN_ROWS = 8
TIMEOUT_S = 900.0
OWN, LONG, PLANNED = "own lengths", "128 tokens", "the plan's length"
USUAL = ((1, OWN),)  # threads and lengths: what `edgebert gate --suggest` judges
ALL = tuple((threads, lengths) for threads in (1, 2) for lengths in (OWN, PLANNED, LONG))  # what `fit` measures
YARDSTICK = "teacher/onnx-fp32"
Figures = Mapping[str, tuple[tuple[Latency, ...], Footprint | None]]  # of each file


@dataclass(frozen=True)
class Workbench:
    """A finished run with an ONNX winner, and what its files were made of."""

    run: Path

    @cached_property
    def report(self) -> Report:
        return read_report(self.run / REPORT)

    @cached_property
    def subject(self) -> Subject:
        return Subject.of(self.report)

    @cached_property
    def manifest(self) -> Any:
        return read_manifest(find_bundle(self.run))

    @cached_property
    def task(self) -> Task:
        return find_task(self.manifest["task"]).configured(self.manifest["task_options"])

    @cached_property
    def dataset(self) -> Any:
        return data.load((), self.task)

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(self.dataset.splits["test"])

    @cached_property
    def packaged(self) -> Path:
        return find_bundle(self.run) / self.manifest["model"]

    @cached_property
    def _records(self) -> Mapping[Path, Any]:
        return stage_records(self.run)

    def _converted(self, sha256: str) -> tuple[Path, Any]:
        """The convert stage that wrote a file, and its record."""
        return next(
            (place, record)
            for place, record in self._records.items()
            if record["stage"].startswith("convert-") and any(item["sha256"] == sha256 for item in record["result"])
        )

    def verified(self, result: ArtifactResult) -> Path:
        """The stage that proved a file."""
        converted = self._converted(result.artifact.sha256)[1]
        return next(
            place
            for place, record in self._records.items()
            if record["stage"].startswith("verify-") and record["inputs"]["converted"] == converted["key"]
        )

    def file(self, result: ArtifactResult) -> Path:
        place, record = self._converted(result.artifact.sha256)
        return place / next(i["path"] for i in record["result"] if i["sha256"] == result.artifact.sha256)

    def checkpoint(self, result: ArtifactResult) -> Path:
        """The folder of the model that a file was made from."""
        key = self._converted(result.artifact.sha256)[1]["inputs"]["model"]
        return next(place for place, record in self._records.items() if record["key"] == key)

    @cached_property
    def student(self) -> Path:
        return self.checkpoint(self.subject.file)

    @cached_property
    def float_file(self) -> Path:
        """The student's float32 file in the format of the packaged one."""
        place = next(
            file
            for file in self.subject.student.artifacts
            if (file.artifact.format, file.artifact.precision) == (self.subject.file.artifact.format, "fp32")
        )
        return self.file(place)

    @cached_property
    def yardstick(self) -> ArtifactResult:
        return next(file for file in self.report.teacher.artifacts if f"teacher/{file.artifact.name}" == YARDSTICK)

    def features(self, checkpoint: Path, rows: Sequence[Row], max_length: int = 0) -> list[Feature]:
        from edgebert.modeling.checkpoint import load_tokenizer

        length = max_length or self.manifest["max_length"]
        return self.task.encode(rows, load_tokenizer(checkpoint), self.dataset.labels, length)

    # ------------------------------------------------------------ measuring

    def _inputs(self, checkpoint: Path) -> dict[str, Inputs]:
        """As the profile stage of `fit` chooses them."""
        features = self.features(checkpoint, self.rows)
        fixed = {PLANNED: self.report.plan.length_p95, LONG: min(FIXED_LENGTH, self.manifest["max_length"])}
        results = {name: at_length(features, n, "the test rows") for name, n in fixed.items()}
        return results | {OWN: own_lengths_of(features, "the test rows")}

    @cached_property
    def _both_inputs(self) -> Mapping[str, dict[str, Inputs]]:
        return {
            str(self.report.winner): self._inputs(self.student),
            YARDSTICK: self._inputs(self.checkpoint(self.yardstick)),
        }

    def measure(
        self, path: Path, conditions: Sequence[tuple[int, str]] = USUAL, checkpoint: Path | None = None
    ) -> Figures:
        """The file at `path` as the packaged one, in turns with the teacher's float32 file, by the target `here`.

        Args:
            checkpoint: whose tokens it reads; the student's.
        """
        paths = {str(self.report.winner): path, YARDSTICK: self.file(self.yardstick)}
        inputs_of = dict(self._both_inputs)
        if checkpoint:
            inputs_of[str(self.report.winner)] = self._inputs(checkpoint)
        asked = [
            (File(name, "onnx", place, inputs_of[name][lengths].rows, threads), inputs_of[name][lengths])
            for threads, lengths in conditions
            for name, place in paths.items()
        ]
        job = Job(tuple(file for file, _ in asked), (), min_runs=MIN_RUNS, max_seconds=SECONDS_HERE, timeout_s=TIMEOUT_S,
                  n_outputs=0, instructions=False)  # fmt: skip
        outcome = TARGETS.get("here").measure("", job, lambda **event: None)
        results: dict[str, tuple[tuple[Latency, ...], Footprint | None]] = dict.fromkeys(paths, ((), None))
        for (file, inputs), record in zip(asked, outcome.records, strict=True):
            item = measured(file, record, outcome, "here", job, inputs)
            if item.failure:
                raise RuntimeError(f"{file.name}: {item.failure}")
            times, cost = results[file.name]
            results[file.name] = (*times, replace(as_latency(item, HERE), called="")), cost or as_footprint(item)
        return results

    def with_figures(self, report: Report, figures: Figures) -> Report:
        """The report with these times and costs of loading in place of those that it tells of the two files; what was not
        measured anew stays."""

        def of(name: str, file: ArtifactResult) -> ArtifactResult:
            times, cost = figures.get(name, ((), None))
            new = {_conditions(item) for item in times}
            kept = [item for item in file.latencies if _conditions(item) not in new]
            return replace(file, latencies=(*times, *kept), footprint=cost) if times else file

        teacher, students = report.teacher, []
        teacher = replace(teacher, artifacts=tuple(of(f"teacher/{f.artifact.name}", f) for f in teacher.artifacts))
        for student in report.students:
            files = tuple(of(f"{student.name}/{file.artifact.name}", file) for file in student.artifacts)
            students.append(replace(student, artifacts=files))
        return replace(report, teacher=teacher, students=tuple(students))

    # ------------------------------------------------------------ proving

    def reference(self, model: Any, max_length: int = 0) -> tuple[Reference, list[Feature]]:
        """What a model of the student's shape computes in torch of the test rows and of edge rows, and the rows' windows."""
        from edgebert.modeling.checkpoint import load_tokenizer
        from edgebert.modeling.graph import TorchSession

        length = max_length or self.manifest["max_length"]
        pad = self.manifest["pad_id"]
        features = self.features(self.student, self.rows, length)
        edges = edge_batches(model.config.vocab_size, length, pad, load_tokenizer(self.student))
        batches = row_batches(features, pad)
        return make_reference(TorchSession(model), batches, edges, tuple(self.dataset.labels)), features

    def reference_of(self, checkpoint: Path, max_length: int = 0) -> tuple[Reference, list[Feature]]:
        from edgebert.modeling.checkpoint import load_student

        return self.reference(load_student(checkpoint).model, max_length)

    @cached_property
    def good_reference(self) -> tuple[Reference, list[Feature]]:
        return self.reference_of(self.student)

    def prove(self, path: Path, origin: Path, reference: Reference, features: Sequence[Feature]) -> tuple[Parity, Any]:
        """What verification says of a file of the packaged one's format and precision, and its outcomes on the rows."""
        old = self.subject.file.artifact
        artifact = describe(path, old.format, old.precision, old.options)
        checked = check_file(artifact, describe(origin, old.format, "fp32"), reference, self.task, self.rows, features)
        assert isinstance(checked.comparison, Parity)
        return checked.comparison, self.outcomes(checked.predictions)

    def outcomes(self, predictions: Sequence[Any]) -> RowOutcomes:
        score = self.task.score(self.rows, predictions, "test")
        key = digest([(texts_of(row), plain(self.task.gold(row))) for row in self.rows], 64)
        return RowOutcomes(score.metric, "test", key, len(self.rows), self.task.outcomes(self.rows, predictions))

    def convert(self, change: Callable[[Any], None], folder: Path) -> tuple[Path, Path, Any]:
        """The student in torch with a change, converted as the packaged file was: its file, the float32 file, and the model."""
        from edgebert.modeling.checkpoint import load_student
        from edgebert.modeling.graph import make_source

        model = load_student(self.student).model
        change(model)
        old = self.subject.file.artifact
        source = make_source(model, labels=self.dataset.labels, tokenizer=self.student / TOKENIZER)
        converter = CONVERTERS.get(old.format)
        for name in ("fp32", old.precision):
            (folder / name).mkdir(parents=True)
        exported = converter.export(source, folder / "fp32")
        variants = converter.precisions[old.precision].variants
        variant = next(item for item in variants if dict(item.options).items() <= dict(old.options).items())
        reduced = converter.reduce(source, exported, old.precision, variant, folder / old.precision)
        return reduced.path, exported.path, model


def _conditions(item: Latency) -> tuple[object, ...]:
    return item.how, item.device, item.threads, item.lengths, item.seq_len if item.lengths == "fixed" else 0


@dataclass
class Copy:
    """A copy of the run, to be doctored: no file of the run is written through it."""

    bench: Workbench
    folder: Path

    @classmethod
    def make(cls, bench: Workbench, folder: Path) -> Copy:
        for name in ("report", "bundle"):
            shutil.copytree(bench.run / name, folder / name)
        for name in ("stages", "request.toml"):
            link_tree(bench.run / name, folder / name)
        return cls(bench, folder)

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def model(self) -> Path:
        return self.bundle / self.bench.manifest["model"]

    def change(self, change: Callable[[ArtifactResult], ArtifactResult], figures: Figures | None = None) -> None:
        """Writes the report with the packaged file's entry changed, and with what was measured anew."""
        report = read_report(self.folder / REPORT)
        subject = Subject.of(report)
        files = tuple(change(item) if item is subject.file else item for item in subject.student.artifacts)
        student = replace(subject.student, artifacts=files)
        report = replace(report, students=tuple(student if s is subject.student else s for s in report.students))
        if figures:
            report = self.bench.with_figures(report, figures)
        self.write(report)

    def write(self, report: Report) -> None:
        (self.folder / REPORT).write_text(dump_report(report), encoding="utf-8")

    def package(
        self, path: Path, *, max_length: int = 0, checkpoint: Path | None = None, precision: str = ""
    ) -> Artifact:
        """Puts a file in the packaged one's place: a new bundle, and the report's entry of the file."""
        bench, old = self.bench, self.bench.subject.file.artifact
        artifact = replace(describe(path, old.format, precision or old.precision, old.options), name=old.name)
        write_bundle(
            self.bundle,
            artifact=artifact,
            student=checkpoint or bench.student,
            task=bench.task,
            labels=bench.dataset.labels,
            golden=bench.rows[:GOLDEN_ROWS],
            max_length=max_length or bench.manifest["max_length"],
            facts={k: v for k, v in bench.manifest["facts"].items() if k != "checkpoint"},
        )
        self.change(lambda file: replace(file, artifact=artifact))
        return artifact
