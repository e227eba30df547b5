"""The stages that make files: each resolves its inputs to a key and hands the run a function that fills a folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from edgebert.converters import CALIBRATION_ROWS, CONVERTERS, find_precision
from edgebert.cost.analytic import count_parameters, predict_latency
from edgebert.files import deflated_bytes, plain
from edgebert.methods import METHODS, ParamValue
from edgebert.modeling.checkpoint import (
    TOKENIZER,
    copy_student,
    give_head,
    load_model,
    load_student,
    save_checkpoint,
)
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.modeling.operators import embedding_width
from edgebert.modeling.rebuild import auto_model_of
from edgebert.runs.store import Stage
from edgebert.runtime.batching import run_features
from edgebert.runtime.session import Source
from edgebert.search.starts import Start
from edgebert.tasks import Task
from edgebert.teachers.fitting import TeacherRecord, fit_teacher, new_head
from edgebert.training.answers import StoredAnswers
from edgebert.training.context import MethodContext
from edgebert.training.probe import fit_head
from edgebert.training.run import evaluate_splits, pad_id
from edgebert.types import Artifact, Candidate, Outputs, Parity, Recipe, Student, TrainSettings
from edgebert.verify.edges import edge_batches
from edgebert.verify.engine import write_sample
from edgebert.verify.file import check_file
from edgebert.verify.parity import TOLERANCES, for_task, share_decided, unbatched
from edgebert.verify.reference import make_reference, row_batches, with_quantization
from edgebert.verify.rows import write_answers, write_rows
from edgebert.workflows.answers import answers_stage
from edgebert.workflows.inputs import method_files
from edgebert.workflows.names import planned
from edgebert.workflows.recipe import answer_kinds
from edgebert.workflows.records import FileRecord, StudentRecord, artifacts_of, model_record, student_record
from edgebert.workflows.request import Fit, data_key, teacher_train_settings, train_settings
from edgebert.workflows.starts import alignment, task_tokenizer
from edgebert.workflows.variants import (
    VARIANT_ROWS,
    VariantEvaluator,
    choose_variant,
    export_float,
    without_stored,
)

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

THREE_LAYERS = 5_600_000  # parameters of MiniLM's, without the word table
MOST_PASSES = 2.5  # times those of --effort


def teacher_stage(job: Fit) -> Stage:
    """The teacher with the task's head, fine-tuned where its own does not fit."""
    settings = teacher_train_settings(job)
    inputs = {
        "checkpoint": job.source.key,
        "data": data_key(job),
        "task": (job.task.name, job.task.options()),
        "settings": settings,
    }

    def make(folder: Path) -> TeacherRecord:
        return fit_teacher(
            job.source,
            job.dataset,
            job.task,
            settings,
            folder,
            allow_pickle=job.request.allow_pickle,
            log=job.run.log,
        )

    return job.run.stage("teacher", inputs, make, resumable=True, version=2)


@dataclass(frozen=True)
class RecipeRun:
    """A candidate's recipe on its way to a student: what it reads and how long it trains."""

    job: Fit
    teacher: Stage
    start: Start
    calls: tuple[tuple[str, dict[str, ParamValue]], ...]
    settings: TrainSettings
    text_epochs: float  # passes over labelled and unlabelled rows together
    stored: Mapping[str, Stage]  # method -> the teacher's answers that it learns
    cost: Callable[[ModelConfig], float] | None  # where a method reads it: see `MethodContext.cost`

    @classmethod
    def of(cls, job: Fit, candidate: Candidate, teacher: Stage, *, visits: int = 0) -> RecipeRun:
        """Trained as long as --effort or --epochs says, or for as many rows as `visits`, repetitions included."""
        start, times, recipe = job.start_of(candidate), candidate.epochs_factor, candidate.recipe
        trained = trained_config(start.config, recipe)
        n_rows, n_texts = len(job.dataset.splits["train"]), len(job.unlabelled.rows)
        epochs = job.request.epochs or job.level.epochs(job.level.visits, n_rows)
        text_epochs = job.request.epochs or job.level.text_epochs(n_rows, n_texts)
        if not (visits or job.request.epochs):
            times *= passes_of_light(trained)
        if visits:
            epochs, text_epochs = min(epochs, visits / n_rows), min(text_epochs, visits / (n_rows + n_texts))
        settings = train_settings(job, epochs=times * epochs, width=int(trained.hidden_size))
        calls = tuple((call.method, METHODS.get(call.method).read_params(call.params)) for call in recipe.calls)
        stored = {name: answers_stage(job, kind, teacher) for name, kind in answer_kinds(recipe).items()}
        reads = any(METHODS.get(name).reads_cost(**params) for name, params in calls)
        cost = device_cost(job, candidate.latency.seq_len) if reads else None
        return cls(job, teacher, start, calls, settings, times * text_epochs, stored, cost)

    @property
    def inputs(self) -> dict[str, object]:
        """What the student follows from."""
        job = self.job
        results: dict[str, object] = {"teacher": self.teacher.key, "recipe": self.calls, "settings": self.settings}
        results |= {"task": job.task.options(), "answers": {name: stage.key for name, stage in self.stored.items()}}
        if self.start.source:
            results["student"] = self.start.source.key
        if files := {key: facts for name, params in self.calls for key, facts in method_files(name, params).items()}:
            results["files"] = files
        if self.cost:
            results["cost"] = (job.device.name, self.cost(self.start.config))
        if job.unlabelled.rows:
            results["unlabelled"] = (job.unlabelled.sha256, self.text_epochs)
        return results

    @property
    def shared(self) -> RecipeRun | None:
        """The first methods, where what they leave serves other students too (`Method.serves_many`), and others follow."""
        last = max((i for i, (name, _) in enumerate(self.calls) if METHODS.get(name).serves_many), default=-1)
        if not 0 <= last < len(self.calls) - 1:
            return None
        calls = dict(self.calls[: last + 1])
        reads = any(METHODS.get(name).reads_cost(**params) for name, params in calls.items())
        stored = {name: stage for name, stage in self.stored.items() if name in calls}
        return replace(self, calls=tuple(calls.items()), stored=stored, cost=self.cost if reads else None)

    def student(
        self, work: Path, log: Callable[..., None], *, scores_epochs: bool = True, begun: Stage | None = None
    ) -> Student:
        """The recipe's methods applied, in order, to a copy of the teacher or of the checkpoint that it starts from;
        going on from `work` after a kill. Those of `shared` are done in `begun`."""
        job, splits = self.job, self.job.dataset.splits
        torch.manual_seed(self.settings.seed)
        source, calls, new = load_student(self.teacher.path), self.calls, self.start.source is not None
        if begun is not None and self.shared is not None:
            record = student_record(begun)
            student = replace(load_student(begun.path), notes=record.notes, own_tokenizer=record.own_tokenizer)
            calls, new = calls[len(self.shared.calls) :], False
        else:
            student = _starting_student(job, self.start, source)
        for name, params in calls:
            if new and METHODS.get(name).stage == "train":
                fit_head(student, job.task, job.dataset.labels, splits["train"], self.settings)
                new = False
            context = MethodContext(
                source.model, job.task, job.dataset.labels, splits["train"], splits["dev"], self.settings,
                work, job.unlabelled.rows, source.tokenizer, log,
                StoredAnswers(self.stored[name].path) if name in self.stored else None, scores_epochs, self.text_epochs,
                self.cost,
            )  # fmt: skip
            student = METHODS.get(name).apply(student, context, **params)
        for stage in {stage.key: stage for stage in self.stored.values()}.values():
            student.notes += tuple(note for note in stage.result["notes"] if note not in student.notes)
        return student


def device_cost(job: Fit, seq_len: int) -> Callable[[ModelConfig], float]:
    """Predicts the time of a pass over `seq_len` tokens on the device, in ms, of what is shipped first."""
    format, precision = planned(job.formats, job.precisions)
    compute = find_precision(format, precision).compute

    def cost(config: ModelConfig) -> float:
        return predict_latency(config, job.device, precision=compute, seq_len=seq_len, format=format).p50_ms

    return cost


def compress_stage(job: Fit, candidate: Candidate, teacher: Stage) -> Stage:
    """A student, by its candidate's recipe; what other students share of it is a stage of its own."""
    run = RecipeRun.of(job, candidate, teacher)
    begun = shared_stage(run.shared) if run.shared else None
    return _student_stage(f"compress-{candidate.name}", run, begun)


def shared_stage(shared: RecipeRun) -> Stage:
    """What `RecipeRun.shared` leaves."""
    return _student_stage(f"shared-{'-'.join(name for name, _ in shared.calls)}", shared, None)


def _student_stage(name: str, run: RecipeRun, begun: Stage | None) -> Stage:
    job = run.job

    def make(folder: Path) -> StudentRecord:
        student = run.student(folder / "work", job.run.log, begun=begun)
        save_checkpoint(folder, student, run.start.source.folder if run.start.source else run.teacher.path)
        scores = evaluate_splits(student, job.task, job.dataset, run.settings.max_length)
        return StudentRecord(**vars(scores), notes=student.notes, own_tokenizer=student.own_tokenizer)

    return job.run.stage(name, run.inputs, make, resumable=True)


def passes_of_light(config: ModelConfig) -> float:
    """How many times the passes that --effort gives a student makes, by its parameters without the word table: a light one
    has more to gain from them, and makes them in the time of three layers of width 384.

    One layer of all-MiniLM-L6-v2, taught banking77 by a BERT-base teacher (one seed): 91.2 % of the development rows after
    30,000 rows, 92.6 % after 60,000.
    """
    n_parameters = count_parameters(config, auto_model_of(config)) - config.vocab_size * embedding_width(config)
    return min(MOST_PASSES, max(1.0, THREE_LAYERS / max(1, n_parameters)))


def trained_config(config: ModelConfig, recipe: Recipe) -> ModelConfig:
    """Of the student that the recipe trains; of what builds another while it trains, that which it is given."""
    config = copy.deepcopy(config)
    for call in recipe.calls:
        method = METHODS.get(call.method)
        if method.stage != "train":
            config = method.reshape(config, **method.read_params(call.params))
    return config


def _starting_student(job: Fit, start: Start, teacher: Student) -> Student:
    """What the recipe begins with: a copy of the teacher, or a checkpoint of its own with a new head."""
    settings = job.task.model_settings(job.dataset.labels)
    if start.source is None:
        return give_head(copy_student(teacher.model, teacher.tokenizer), settings)
    labels, allow_pickle = job.dataset.labels, job.request.allow_pickle
    auto_model, of_head = new_head(start.source.folder, job.task, labels)
    model, _ = load_model(start.source.folder, auto_model, labels, settings=of_head, allow_pickle=allow_pickle)
    ids, why = alignment(start.source, job.source, job.dataset, job.task)
    tokenizer = task_tokenizer(start.source.folder, job.task)
    return give_head(
        Student(model, tokenizer, ids, own_tokenizer=bool(why), notes=(f"from {start.source.name}",)), settings
    )


def tuned_task(job: Fit, model: Stage) -> Task:
    """The task with what was chosen for this model on the development rows."""
    return job.task.configured(model_record(model).task)


def convert_stage(job: Fit, name: str, model: Stage) -> Stage:
    """The formats in float32 and in each reduced precision, the variant chosen by the metric.

    The teacher is the yardstick on this machine and never ships: it is converted to ONNX only.
    """
    formats = ("onnx",) if name == "teacher" else job.formats
    precisions = ("int8",) if name == "teacher" else job.precisions

    def make(folder: Path) -> list[dict[str, object]]:
        student, task = load_student(model.path), tuned_task(job, model)
        rows = job.dataset.splits["dev"][:VARIANT_ROWS]
        features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
        source = _source(job, student, model.path)
        batches = row_batches(features, source.pad_id)
        reference = for_task(make_reference(TorchSession(student.model), batches, {}, job.dataset.labels), task)
        created = []
        for note in without_stored(source, formats, precisions):
            job.run.log(event="note", text=note)

        def evaluator_of(kind: str) -> VariantEvaluator[list[Outputs]]:
            return VariantEvaluator(
                predict=lambda session: [session.run(batch) for batch in batches],
                score=lambda result: task.score(rows, decoded(result), "dev").value,
                same=lambda results, _: share_decided(reference, results, kind),
            )

        def decoded(outcome: list[Outputs]) -> list[object]:
            return task.decode(rows, features, unbatched(outcome), job.dataset.labels)

        for format in formats:
            converter = CONVERTERS.get(format)
            exported = export_float(converter, source, folder)
            created.append(_describe(exported, folder))
            for precision in (p for p in precisions if p in converter.precisions):
                chosen, table = choose_variant(
                    converter, source, exported, precision, folder,
                    evaluator=evaluator_of(converter.precisions[precision].kind), log=job.run.log,
                )  # fmt: skip
                created.append(_describe(chosen, folder) | {"variants": table})
        return created

    inputs = {
        "model": model.key,
        "formats": formats,
        "precisions": precisions,
        "variants": {
            name: {p: (*c.variants, *chain(*c.stored.values())) for p, c in CONVERTERS.get(name).precisions.items()}
            for name in formats
        },
        "rows": (VARIANT_ROWS, CALIBRATION_ROWS),
        "lengths": job.lengths,
        **({"shape": job.request.shape} if job.request.shape and name != "teacher" else {}),
    }
    return job.run.stage(f"convert-{name}", inputs, make, version=7)


def _source(job: Fit, student: Student, folder: Path) -> Source:
    """The student as converters take it, with training rows to calibrate on."""
    rows = job.dataset.splits["train"][:CALIBRATION_ROWS]
    features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
    return make_source(
        student.model,
        lengths=job.lengths,
        labels=job.dataset.labels,
        calibration=row_batches(features, pad_id(student)),
        tokenizer=folder / TOKENIZER,
        title=f"edgebert {job.task.name}, {job.dataset.source.name}",
        shape=job.request.shape,
        quantization=student.quantization,
    )


def _describe(artifact: Artifact, folder: Path) -> dict[str, object]:
    return plain(replace(artifact, path=artifact.path.relative_to(folder), zip_bytes=deflated_bytes(artifact.path)))


def verify_stage(job: Fit, name: str, model: Stage, converted: Stage) -> Stage:
    """Every file run on the test rows and on edge rows and held against the model in torch; its own score on the
    development rows; and what of it leaves the accelerator."""

    def make(folder: Path) -> dict[str, FileRecord]:
        student, task = load_student(model.path), tuned_task(job, model)
        rows = job.dataset.splits["test"]
        features = job.task.encode(rows, student.tokenizer, job.dataset.labels, job.max_length)
        pad = pad_id(student)
        edges = edge_batches(student.model.config.vocab_size, job.max_length, pad, student.tokenizer)
        reference = make_reference(
            TorchSession(student.model), row_batches(features, pad), edges, tuple(job.dataset.labels)
        )
        reference = with_quantization(reference, student.model, student.quantization)
        dev = job.dataset.splits["dev"]
        dev_features = job.task.encode(dev, student.tokenizer, job.dataset.labels, job.max_length)
        write_rows(folder, task, rows)
        write_sample(folder, task, rows, job.dataset.labels, job.max_length, pad)
        without: list[str] = []
        results: dict[str, FileRecord] = {}
        origins: dict[str, Artifact] = {}
        for artifact in artifacts_of(converted):  # of each format, float32 first
            origin = origins.setdefault(artifact.format, artifact)
            checked = check_file(artifact, origin, reference, task, rows, features)
            parity = checked.comparison
            assert isinstance(parity, Parity), "a task was given"
            if not write_answers(folder, artifact.name, task, rows, checked.predictions, parity.score):
                without.append(artifact.name)
            failures = list(parity.failures)
            if origin is not artifact and results[origin.name].parity.failures:  # a mistake that looser limits pass
                failures.append("the float32 file that it was made from was rejected")
            parity = replace(parity, failures=tuple(failures))
            outputs = run_features(checked.session, dev_features, pad_id=pad)
            predictions = task.decode(dev, dev_features, outputs, job.dataset.labels)
            results[artifact.name] = FileRecord(
                parity=parity,
                dev=task.score(dev, predictions, "dev"),
                accelerator_fallbacks=dict(CONVERTERS.get(artifact.format).accelerator_fallbacks(artifact.path)),
            )
            outcome = "rejected" if parity.failures else "passed"
            job.run.log(event="parity", model=name, artifact=artifact.name, outcome=outcome, failures=parity.failures)
        if without:
            text = (
                f"task {task.name} does not tell what each row adds to its score (`Task.tallies`): no other run can be"
            )
            job.run.log(event="note", text=f"{text} compared with {name} row by row")
        return results

    inputs = {"model": model.key, "converted": converted.key, "data": data_key(job), "tolerances": plain(TOLERANCES)}
    return job.run.stage(f"verify-{name}", inputs, make, version=8)
