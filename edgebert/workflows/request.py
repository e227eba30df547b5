"""One fit under way: the request resolved to things, every mistake in it found before anything long begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.budget.limits import budget_of
from edgebert.converters import check_shape
from edgebert.data.nearest_texts import most_alike
from edgebert.data.unlabelled import Unlabelled, read_unlabelled
from edgebert.devices.machine import training_precision
from edgebert.errors import RequestError, without_password
from edgebert.files import digest, plain, slug
from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import load_config
from edgebert.modeling.heads import HEADS
from edgebert.modeling.source import TeacherSource, find_teacher
from edgebert.modeling.weights import weight_files
from edgebert.runs.store import Run, Stage
from edgebert.search.halving import Rung
from edgebert.search.plan import check_shapes, percentile
from edgebert.search.starts import TEACHER, Start
from edgebert.tasks import Task
from edgebert.teachers.fitting import has_dropout, has_fitting_head, new_head
from edgebert.training.context import AnswerKind
from edgebert.types import Budget, Candidate, Dataset, DeviceProfile, Effort, FitRequest, Recipe, Row, TrainSettings
from edgebert.workflows.data import load_data
from edgebert.workflows.names import RUNS, resolve_names
from edgebert.workflows.recipe import answer_kinds, check_mask, check_methods, check_text, formats_of_families
from edgebert.workflows.starts import (
    StartRequirements,
    check_answers,
    checkpoint_notes,
    find_starts,
    named_start,
    task_config,
    task_tokenizer,
)
from edgebert.workflows.target import MeasurementTarget, find_target

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.modeling.config import ModelConfig
    from edgebert.types import OnEvent
    from edgebert.workflows.unchanged import Fingerprint

DEFAULT_LENGTH = 128
DISK_FACTOR = 12  # times the teacher's weights: with two students, their training states and files in two formats


# Times the learning rate, where a head over pooled states was fitted first: an encoder that was trained for vectors has less
# to learn. 1,600 rows of banking77, 3 passes, one seed: 87.1 % of 1,500 held-out rows with it, 85.5 % without.
GENTLE = 1 / 3
FEWEST_VISITS = 8000  # rows seen in a training of few rows, where 40 passes come to as many


@dataclass(frozen=True)
class EffortLevel:
    candidates: int
    teacher_visits: int  # rows seen in training, repetitions included
    visits: int
    trials: tuple[Rung, ...] = ()  # of recipes, by visits; () trains the default recipe as it is
    attempts: int = 0  # further trainings where no file keeps within the points

    @staticmethod
    def epochs(visits: int, n_rows: int, least: int = 2) -> float:
        """Passes over the rows that come nearest to the visits, from `least` to 12, or to 40 where 12 are too few steps.

        Ours. On 200 rows of banking77 (one seed), all-MiniLM-L6-v2 stood at 33 % of the development rows after 11 of 40
        passes and at 55 % after all.
        """
        return float(max(min(12, max(least, round(visits / n_rows))), min(40, round(FEWEST_VISITS / n_rows))))

    def text_epochs(self, n_rows: int, n_unlabelled: int) -> float:
        """Passes over labelled and unlabelled rows together: those of `epochs`, but one may be enough of much text."""
        return self.epochs(self.visits, n_rows + n_unlabelled, least=1 if n_unlabelled else 2)


EFFORTS: dict[Effort, EffortLevel] = {
    "quick": EffortLevel(candidates=1, teacher_visits=15_000, visits=15_000),
    "standard": EffortLevel(
        candidates=1, teacher_visits=22_000, visits=25_000, trials=(Rung(6, 3_000), Rung(2, 6_000)), attempts=2
    ),
    "thorough": EffortLevel(
        candidates=4, teacher_visits=40_000, visits=75_000, trials=(Rung(8, 6_000), Rung(3, 20_000)), attempts=4
    ),
}


@dataclass
class Fit:
    """One fit under way: what the request was resolved to, and what the stages have found."""

    request: FitRequest
    device: DeviceProfile
    task: Task
    budget: Budget
    recipe: Recipe
    source: TeacherSource
    dataset: Dataset
    run: Run
    command: str
    max_length: int  # tokens of a window
    notes: tuple[str, ...]
    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    teacher_config: ModelConfig  # with the task's head
    starts: tuple[Start, ...]  # what students may start from: the first is the teacher's own layers, or --student
    unlabelled: Unlabelled
    target: MeasurementTarget | None  # where files are measured beside this machine
    lengths: tuple[int, ...] = ()  # of files that fix them; known once the teacher's tokenizer has read the rows
    answers: dict[AnswerKind, Stage] = field(default_factory=dict)  # the stages that store them, once they are made
    fingerprint: Fingerprint = field(default_factory=dict)  # what the result depends on: see `workflows.unchanged`

    @property
    def level(self) -> EffortLevel:
        return EFFORTS[self.request.effort]

    @property
    def student_config(self) -> ModelConfig:
        """That the first start has."""
        return self.starts[0].config

    def start_of(self, candidate: Candidate) -> Start:
        return next(start for start in self.starts if start.name == candidate.start)


def resolve(request: FitRequest, command: str, on_event: OnEvent | None) -> Fit:
    """Everything that can be wrong with a request is found here, before anything long begins."""
    names = resolve_names(request)
    device, task, recipe, formats = names.device, names.task, names.recipe, names.formats
    target, target_notes = find_target(request.on, device, formats)
    dataset = load_data(request.data, task, encoding=request.encoding, columns=request.columns)
    source = find_teacher(request.teacher, allow_pickle=request.allow_pickle)
    wanted = StartRequirements(request, task, dataset, recipe, source, task_config(task, dataset.labels, source))
    students = _students(wanted, formats)
    unlabelled = _unlabelled(wanted, students.tokenizer)
    name = f"{slug(task.name)}-{slug(dataset.source.name)}-{slug(device.name)}"
    job = Fit(
        request=request,
        device=device,
        task=task,
        budget=budget_of(request, device),
        recipe=recipe,
        source=source,
        dataset=dataset,
        run=Run(Path(request.run or f"{RUNS}/{name}"), plain(request), on_event),
        command=without_password(command),
        max_length=students.max_length,
        notes=(
            *names.notes, *target_notes, *students.notes, *unlabelled.notes,
            *_text_notes(recipe, unlabelled),
        ),
        formats=students.formats,
        precisions=names.precisions,
        teacher_config=wanted.config,
        starts=students.starts,
        unlabelled=unlabelled,
        target=target,
    )  # fmt: skip
    job.run.log(event="request", device=device.name, task=task.name, data=dataset.source.name, teacher=source.name)
    job.run.log(event="teacher-found", origin=source.origin, sha256=source.sha256)
    for note in (*dataset.source.notes, *job.notes, *(target.notes if target else ())):
        job.run.log(event="note", text=note)
    return job


@dataclass(frozen=True)
class _Students:
    """What students may be: where they start, what they read, and what can express them."""

    starts: tuple[Start, ...]
    max_length: int
    formats: tuple[str, ...]
    tokenizer: Tokenizer  # of the first start
    notes: tuple[str, ...]


def _students(wanted: StartRequirements, formats: Sequence[str]) -> _Students:
    """The starts that serve the request, the first of which must. Raises EdgebertError with what it cannot."""
    request, task, recipe, source = wanted.request, wanted.task, wanted.recipe, wanted.source
    first = named_start(wanted) or Start(TEACHER, wanted.config)
    notes = checkpoint_notes(source, first.source, task, wanted.dataset.labels, allow_pickle=request.allow_pickle)
    max_length = min(_max_length(request.max_length, item, task.head) for item in (source, first.source) if item)
    check_methods(recipe, task.head, first.why_own_tokenizer)
    notes += check_answers(first, recipe)
    families = check_shapes(first.config, recipe, wanted.config, max_length)
    kept, format_notes = formats_of_families(families, wanted.config.model_type, formats, request.formats)
    check_shape(request.shape, kept, families)
    tokenizer = task_tokenizer((first.source or source).folder, task)
    check_mask(recipe, tokenizer)
    others, start_notes = find_starts(wanted, max_length, kept)
    return _Students((first, *others), max_length, kept, tokenizer, (*notes, *format_notes, *start_notes))


def _unlabelled(wanted: StartRequirements, tokenizer: Tokenizer) -> Unlabelled:
    """The texts of --unlabelled that there is time for. Raises EdgebertError where they, or what a method asks of the
    teacher about them, cannot be."""
    request, dataset = wanted.request, wanted.dataset
    texts = read_unlabelled(
        request.unlabelled, wanted.task, tokenizer,
        encoding=request.encoding, labelled=dataset.splits, labels=dataset.labels,
    )  # fmt: skip
    texts = _afforded(texts, request, dataset.splits["train"])
    check_answer_kinds(wanted.recipe, wanted.task, wanted.source, dataset.labels, texts)
    check_text(wanted.recipe, tokenizer, (*texts.rows, *dataset.splits["train"]))
    return texts


def check_answer_kinds(
    recipe: Recipe, task: Task, source: TeacherSource, labels: tuple[str, ...], unlabelled: Unlabelled
) -> None:
    """Raises RequestError where the answers that a method asks for cannot be made of this teacher, or of this text."""
    for name, kind in answer_kinds(recipe).items():
        where = f"{name}.answers"
        if kind.trains_teachers and has_fitting_head(source.folder, task, labels):
            what = (
                f"{kind.name} answers come of teachers trained anew, and {source.name} is trained for this task already"
            )
            raise RequestError(
                what, where=where, hint="Choose dropout or plain, or give --teacher the encoder before its training."
            )
        if kind.name == "dropout" and not has_dropout(load_config(source.folder)):
            what = f"{source.name} has no dropout: every pass would say the same"
            raise RequestError(what, where=where, hint="Choose plain, out-of-fold or ensemble.")
        if kind.name == "spread":
            _check_spread(task, labels, unlabelled, where)
            if kind.calibrated:
                what = "a temperature divides logits, and labels that spread give probabilities"
                raise RequestError(what, where=f"{name}.calibrate", hint="Leave it at false.")
        if kind.calibrated and not labels and HEADS.get(task.head).mean != "probabilities":
            what = "a temperature divides logits, and this task's answers are vectors"
            raise RequestError(what, where=f"{name}.calibrate", hint="Leave it at false.")


def _check_spread(task: Task, labels: tuple[str, ...], unlabelled: Unlabelled, where: str) -> None:
    """Raises RequestError where there are no labels, one a text, or no texts that they could spread to."""
    single = task.model_settings(labels).get("problem_type") == "single_label_classification"
    if not HEADS.get(task.head).labels_texts or not single:
        what = "labels spread from text to text where each has one, and this task's do not"
        raise RequestError(what, where=where, hint="Choose plain, out-of-fold, ensemble or dropout.")
    if not unlabelled.rows:
        hint = "Give --unlabelled FILE or FOLDER, or choose plain."
        raise RequestError("there are no texts that the labels could spread to", where=where, hint=hint)


def _afforded(unlabelled: Unlabelled, request: FitRequest, train: Sequence[Row]) -> Unlabelled:
    """As many unlabelled rows as --effort reads once, those most like the training rows; all where --epochs says how
    often."""
    n, most = len(unlabelled.rows), EFFORTS[request.effort].visits
    if n <= most or request.epochs:
        return unlabelled
    texts, own = ([row.identity for row in rows] for rows in (unlabelled.rows, train))
    chosen = most_alike(texts, own, most, request.seed)
    note = f"{most} of {n} unlabelled texts are learnt from, those most like the training rows: --epochs 1 or a higher "
    note += "--effort reads more"
    return Unlabelled(
        tuple(unlabelled.rows[i] for i in chosen),
        digest((unlabelled.sha256, most, request.seed), 64),
        (*unlabelled.notes, note),
    )


def _text_notes(recipe: Recipe, unlabelled: Unlabelled) -> list[str]:
    """What a user should know of who reads the unlabelled text."""
    methods = [METHODS.get(call.method) for call in recipe.calls]
    if unlabelled.rows and not any(method.reads_text for method in methods):
        return ["--unlabelled is read by no method of this recipe"]
    readers = [method.name for method in methods if method.stage == "pretrain"]
    if readers and not unlabelled.rows:
        return [f"{' and '.join(readers)}: the texts of the training rows serve, as no --unlabelled was given"]
    return []


def _max_length(asked: int | None, source: TeacherSource, head: str) -> int:
    """Tokens of a window: what was asked for, where the teacher reads that many."""
    limit = source.reads(head)
    if asked is not None and asked > limit:
        raise RequestError(
            f"{asked} tokens were asked for, and {source.name} reads at most {limit}", where="--max-length"
        )
    return asked or min(DEFAULT_LENGTH, limit)


def pick_lengths(lengths: Sequence[int], max_length: int) -> tuple[int, ...]:
    """Lengths for a file that fixes them: what holds half of the rows, what holds 95 in 100, and the longest window.

    Rounded up to 8 tokens, which vector units like. A row runs at the smallest that holds it.
    """
    middle, long = (-(-percentile(lengths, share) // 8) * 8 for share in (50, 95))
    return tuple(sorted({min(middle, max_length), min(long, max_length), max_length}))


def needs_bytes(job: Fit) -> int:
    """Of the disk, that the whole fit takes at most, about."""
    weights = weight_files(job.source.folder, allow_pickle=True)
    folds = max((kind.folds for kind in answer_kinds(job.recipe).values() if kind.trains_teachers), default=0)
    return (DISK_FACTOR + folds) * sum(path.stat().st_size for path in weights)


def data_key(job: Fit) -> str:
    """What the rows are: their bytes, the task's reading of them, and how splits were drawn."""
    counts = {split: len(rows) for split, rows in job.dataset.splits.items()}
    return digest({"sha256": job.dataset.source.sha256, "labels": job.dataset.labels, "rows": counts})


def teacher_train_settings(job: Fit) -> TrainSettings:
    """How a teacher that needs a new head is trained."""
    n_rows = len(job.dataset.splits["train"])
    epochs = job.request.teacher_epochs or job.level.epochs(job.level.teacher_visits, n_rows)
    settings = train_settings(job, epochs=epochs, width=load_config(job.source.folder).hidden_size)
    pooled = new_head(job.source.folder, job.task, job.dataset.labels)[0] != HEADS.get(job.task.head).auto_model
    if pooled and not job.request.learning_rate:
        settings = replace(settings, learning_rate=GENTLE * settings.learning_rate)
    return settings


def train_settings(job: Fit, *, epochs: float, width: int) -> TrainSettings:
    """The request's settings. The learning rate shrinks with the square of the width: 3e-4 at 384, 7.5e-5 at 768 (ours)."""
    request = job.request
    rate = request.learning_rate or min(1e-3, 3e-4 * (384 / width) ** 2)
    return TrainSettings(
        epochs=epochs,
        batch_size=request.batch_size,
        learning_rate=rate,
        seed=request.seed,
        mixed_precision=training_precision(request.mixed_precision),
        max_length=job.max_length,
        average=request.average_weights,
        patience=request.early_stopping,
    )
