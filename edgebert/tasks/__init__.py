"""What a model is asked to do: one file a task, found by the registry.

A task reads rows out of records, encodes them, turns a model's outputs into predictions, scores them, and says the answer
that a user reads. Nothing here knows torch: the same code serves training, verification and `edgebert predict`.
Modules whose name begins with `_` are parts of tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from edgebert.errors import DataError, RequestError, unknown
from edgebert.modeling.heads import HEADS, check_head
from edgebert.registry import Registry, check_call
from edgebert.results import Tallies, Tally
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from typing_extensions import Self


class Task(ABC):
    """The declaration `TASK` of each module of this package: an instance of a frozen dataclass whose fields are the
    task's options, each with a default and, in its metadata, `help`.

    Attributes:
        title: what it is, in words.
        metric: name of the score's value: "strict entity F1".
        head: the name of one of `edgebert.modeling.heads.HEADS`.
        columns: role -> usual names of the column that plays it; `text`, `second`, `label` and so on.
        inputs: names of the texts of one row, as `edgebert predict` takes them.
        answer_name: what the JSON of `edgebert predict` calls the answer.
        cuts: a text longer than a window is cut to it; otherwise it is read in several windows.
        paired: the two windows of a row are trained on together.
        ranked: the score is a rank correlation.
        asks_teacher: rows can be scored only once `with_teacher_labels` has seen the teacher's outputs.
        example: a text for each of `inputs`, for the documents.
    """

    name: str
    title: str
    metric: str
    head: str
    columns: Mapping[str, tuple[str, ...]]
    aliases: tuple[str, ...] = ()
    default_data: str = ""  # a catalogue name; "" where the registry carries none
    inputs: tuple[str, ...] = ("text",)
    answer_name: str = "answer"
    cuts: bool = False
    paired: bool = False
    ranked: bool = False
    asks_teacher: bool = False
    example: tuple[str, ...] = ("show me flights from boston to denver",)

    # ------------------------------------------------------------ data

    @abstractmethod
    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Rows of labelled records, whose columns are named by their roles, and notes on what was repaired or left out.

        Raises DataError with the record's place."""

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """The model's output labels, in order, from the training rows; () for a task without."""
        return ()

    def check(self, rows: Sequence[Row], split: str) -> None:
        """Raises DataError where the rows of a split cannot serve. Here: no label in any split, or one alone to learn."""
        if type(self).labels is Task.labels:
            return
        result = self.labels(rows)
        hint = f"Every split needs labelled rows: check the label's column, or give others with --data {split}=FILE"
        if result in ((), ("O",)):
            what = f"none of the {len(rows)} rows of the {split} split carries a label"
            raise DataError(what, where=split, hint=hint)
        if len(result) < 2 and split == "train":
            raise DataError(
                f"every row to train on is '{result[0]}'",
                where=split,
                hint="A model needs rows of at least two labels to learn from.",
            )

    # ------------------------------------------------------------ model

    @property
    def reads_words(self) -> bool:
        """The tokenizer is given words one by one, not texts."""
        return HEADS.get(self.head).by_word

    def match_labels(self, head: Sequence[str], labels: Sequence[str]) -> list[int] | None:
        """For each of `labels`, its index in a teacher's `head`; None where the head does not fit the task's labels.

        By name, as `fold` compares; else by number, where both sides are numbered: 1, 1.0, true, LABEL_1."""
        result = _matched([self.fold(label) for label in head], [self.fold(label) for label in labels])
        return _by_number(head, labels) if result is None else result

    def fold(self, label: str) -> str:
        """What two spellings of one label have in common."""
        return label.casefold()

    def model_settings(self, labels: Sequence[str]) -> dict[str, object]:
        """Attributes that the model's config gets beside its labels."""
        return {}

    def class_weights(self, rows: Sequence[Row], labels: Sequence[str]) -> tuple[float, ...]:
        """Weight of each label in the loss on true labels; () weighs them alike."""
        return ()

    @abstractmethod
    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """Windows of at most `max_length` tokens, in the order of the rows."""

    # ------------------------------------------------------------ answers

    @abstractmethod
    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[Any]:
        """One prediction a row; `outputs[i]` belongs to `features[i]` and has no batch axis."""

    @abstractmethod
    def score(self, rows: Sequence[Row], predictions: Sequence[Any], split: str) -> Score:
        """The task's metric over labelled rows."""

    def tallies(self, rows: Sequence[Row], predictions: Sequence[Any]) -> list[Tally]:
        """What each row adds to the score, so that two models can be compared row by row.

        Under "" two numbers whose sums over all rows have the score's value as their ratio, under a label the same of its
        F1; a row that does not count has neither. Of a task that is `ranked`, under "" the row's two values. Here: the
        score of the row alone, and 1, which is right for a mean over rows.
        """
        pairs = zip(rows, predictions, strict=True)
        return [{"": (self.score([row], [prediction], "test").value, 1.0)} for row, prediction in pairs]

    def outcomes(self, rows: Sequence[Row], predictions: Sequence[Any]) -> tuple[Tallies, ...]:
        """The tallies of all rows in columns, those of each head on their own."""
        return (tally_columns("", self.ranked, range(len(rows)), self.tallies(rows, predictions)),)

    def shown(self, row: Row, prediction: Any) -> object:
        """What of an answer a person can compare with another model's: the answer, unless it is long and says nothing."""
        return self.answer(row, prediction)

    def gold(self, row: Row) -> object:
        """The right answer of a labelled row, as `answer` gives it, or shorter; as JSON types."""
        return list(row.labels)

    def same(self, a: Any, b: Any) -> list[bool]:
        """Whether two predictions of one row agree, answer by answer; [] where only the vectors' cosine can tell."""
        return [a == b]

    def tuned(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> Self:
        """The task with what is chosen on development rows once a model is trained, such as a threshold."""
        return self

    def with_teacher_labels(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[Row, ...]:
        """The rows with what only the teacher can say of them, for tasks that need it."""
        return tuple(rows)

    @abstractmethod
    def read_texts(self, *texts: str) -> Row:
        """A row without labels from one text for each of `inputs`."""

    @abstractmethod
    def answer(self, row: Row, prediction: Any) -> object:
        """What a user reads, as JSON types."""

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object] | None:
        """What `decode` and `answer` stand on, as JSON types, for a program in another language that does the same: `kind`
        names the rule, beside it stand its settings. None where no such program knows the task.

        Args:
            labels: the model's.
        """
        return None

    # ------------------------------------------------------------ options

    def options(self) -> dict[str, object]:
        """The options that are not at their default, as JSON types."""
        pairs = [(field, getattr(self, field.name)) for field in task_options(self)]
        return {field.name: value for field, value in pairs if value != field.default}

    def configured(self, options: Mapping[str, object]) -> Self:
        """The task with these options, given as text or as what they are. Raises RequestError for an unknown one."""
        known = {field.name: field for field in task_options(self)}
        read = {}
        for name, value in options.items():
            if name not in known:
                raise unknown(f"option of {self.name}", name, known, where="--set")
            read[name] = _read(value, str(known[name].type), f"{self.name}.{name}")
        return replace(self, **read) if read else self  # type: ignore[type-var]


def tally_columns(head: str, ranked: bool, at: Sequence[int], tallies: Sequence[Tally]) -> Tallies:
    """Tallies of the rows `at`, in columns; a row that does not count is left out."""
    counted = [(i, tally) for i, tally in zip(at, tallies, strict=True) if "" in tally]
    labels: dict[str, list[tuple[int, float, float]]] = {}
    for place, (_, tally) in enumerate(counted):
        for label, (a, b) in tally.items():
            if label:
                labels.setdefault(label, []).append((place, a, b))
    whole = tuple(tuple(float(tally[""][side]) for _, tally in counted) for side in (0, 1))
    columns = {label: tuple(zip(*entries, strict=True)) for label, entries in sorted(labels.items())}
    return Tallies(head, ranked, tuple(i for i, _ in counted), whole, columns)  # type: ignore[arg-type]


def _matched(head: Sequence[Any], labels: Sequence[Any]) -> list[int] | None:
    known = {label: i for i, label in enumerate(head)}
    if len(known) < len(head) or len(set(labels)) < len(labels) or not known.keys() >= set(labels):
        return None
    return [known[label] for label in labels]


def _by_number(head: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    ours, theirs = ([number_of(label) for label in side] for side in (labels, head))
    if None in ours or None in theirs:
        return None
    if any(label.casefold() in ("true", "false") for label in labels) and len(head) != 2:
        return None
    return _matched(theirs, ours)


def number_of(label: str) -> int | None:
    """The number that a label stands for: "1", "1.0", "true" and "LABEL_1" are 1; None where it is a name."""
    text = label.strip().casefold().removeprefix("label_")
    if text in ("true", "false"):
        return int(text == "true")
    whole, _, rest = text.partition(".")
    return int(whole) if whole.isdecimal() and not rest.strip("0") else None


def task_options(task: Task) -> tuple[Field[object], ...]:
    """The fields that are a task's options."""
    return fields(task) if is_dataclass(task) else ()


def _read(value: object, kind: str, where: str) -> object:
    """A value as its annotation says: str, bool, int or float, each possibly `| None`."""
    kind = kind.removesuffix(" | None")
    if value is None or not isinstance(value, str):
        return value
    try:
        if kind == "bool":
            return {"true": True, "false": False}[value.lower()]
        return {"int": int, "float": float, "str": str}[kind](value)
    except (KeyError, ValueError):
        raise RequestError(f"{value!r} cannot be read as {kind}", where=where) from None


def _check(task: Task) -> None:
    """Raises TypeError or ValueError for a declaration that breaks the contract."""
    for field in ("title", "metric", "head", "columns"):
        if not getattr(task, field, None):
            raise TypeError(f"it has no {field}")
    check_head(task.head, "head")
    if not is_dataclass(task):
        raise TypeError("its class is no dataclass, whose fields would be its options")
    check_call("encode", task.encode, "rows", "tokenizer", "labels", "max_length")
    check_call("decode", task.decode, "rows", "features", "outputs", "labels")
    check_call("score", task.score, "rows", "predictions", "split")


TASKS: Registry[Task] = Registry("task", __name__, "TASK", Task, where="--task", check=_check)  # type: ignore[type-abstract]


def find_task(name: str) -> Task:
    """The task of this name or alias, or an error that offers the nearest names.

    `slots=ner,intent=classify` is one task of several heads, each with a name of its own.
    """
    if "=" in name or "," in name:
        from edgebert.tasks._multitask import multitask

        return multitask(name, find_task)
    known = {alias: task for task in TASKS.all().values() for alias in (task.name, *task.aliases)}
    if name not in known:
        raise unknown("task", name, known, where="--task")
    return known[name]
