"""Compression methods: one file a paper, found by the registry.

A method is a declaration (`METHOD`) and one function. The planner reads `reshape` to know a student's size before it
exists, the command line reads `params`, the contract tests read all of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from edgebert.errors import RequestError, shown, unknown
from edgebert.modeling.heads import check_head
from edgebert.registry import Registry, check_call
from edgebert.training.context import AnswerKind, MethodContext, TracedPart
from edgebert.types import Row, Student

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.modeling.config import ModelConfig

Stage = Literal["vocabulary", "shape", "pretrain", "train"]  # the order in which a recipe may apply them
STAGES: tuple[Stage, ...] = ("vocabulary", "shape", "pretrain", "train")


ParamValue: TypeAlias = int | float | bool | str | tuple[float, ...]
NumberType: TypeAlias = type[int] | type[float]
KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}


@dataclass(frozen=True)
class Paper:
    title: str
    authors: str
    year: int
    arxiv: str = ""
    url: str = ""  # where it has no arXiv number

    @property
    def place(self) -> str:
        return f"arXiv {self.arxiv}" if self.arxiv else self.url


@dataclass(frozen=True)
class Param:
    """One parameter of a method: what the command line, the planner and the documents know of it.

    Attributes:
        type: of a tuple, `item` is that of its numbers.
    """

    name: str
    type: type
    default: ParamValue
    help: str
    choices: tuple[ParamValue, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    item: NumberType = int
    search: SearchValues | None = None  # values that the planner tries when the user sets none
    last: SearchValues = lambda config: ()  # that it tries too where no shape fits with those
    paths: bool = False  # its text names files or folders that the method reads: see `paths_of`

    def read(self, value: object, method: str) -> ParamValue:
        """`value` as this parameter's type. Raises RequestError that names the method and the parameter."""
        place = f"{method}.{self.name}"
        try:
            read = self._typed(value)
        except (TypeError, ValueError, KeyError, OverflowError):
            kind = f"{KINDS[self.item]}, or several" if self.type is tuple else KINDS[self.type]
            what = f"{shown(repr(value))} cannot be read as {kind}"
            raise RequestError(what, where=place, hint=self.help) from None
        if self.choices and read not in self.choices:
            raise unknown("value", str(read), [str(choice) for choice in self.choices], where=place)
        if self.minimum is not None and isinstance(read, int | float) and read < self.minimum:
            raise RequestError(f"{read} is below {self.minimum:g}", where=place, hint=self.help)
        if self.maximum is not None and isinstance(read, int | float) and read > self.maximum:
            raise RequestError(f"{read} is above {self.maximum:g}", where=place, hint=self.help)
        return read

    def _typed(self, value: object) -> ParamValue:
        """`value` as `type`; text is read, and what would lose something on the way is refused."""
        if self.type is tuple:
            parts = value.replace(",", " ").split() if isinstance(value, str) else value
            if not isinstance(parts, list | tuple):
                raise TypeError
            return tuple(NUMBERS[self.item](part) for part in parts)
        if self.type is bool:
            if isinstance(value, str):
                return {"true": True, "false": False}[value.lower()]
            if not isinstance(value, bool):
                raise TypeError
            return value
        if self.type is str:
            if not isinstance(value, str):
                raise TypeError
            return value
        return NUMBERS[self.type](value)


def paths_of(text: str) -> list[Path]:
    """The files or folders that a parameter names, with commas or colons between them."""
    return [Path(part.strip()).expanduser() for part in re.split("[,:]", text) if part.strip()]


def _whole(value: object) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise TypeError
    if not isinstance(value, int | float | str):
        raise TypeError
    return int(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    read = float(value)
    if not math.isfinite(read):
        raise ValueError
    return read


NUMBERS: dict[type, Callable[[object], float]] = {int: _whole, float: _number}


# ---------------------------------------------------------------- what a method's functions are


class Apply(Protocol):
    """Makes the next student of a recipe."""

    def __call__(self, student: Student, context: MethodContext, /, *args: Any, **params: Any) -> Student:
        """Args:
            student: what the methods before it left; it may be changed in place.
            context: the teacher, the rows and the settings.
            params: every parameter of the method by name, read and checked.

        Returns:
            The student, the same or another.

        Raises:
            RequestError: what only the model or the rows could tell.
        """


class Reshape(Protocol):
    """Tells what becomes of an architecture, so that the planner knows a student before it exists."""

    def __call__(self, config: ModelConfig, /, *args: Any, **params: Any) -> ModelConfig:
        """Args:
            config: the student's, of which the caller keeps another copy.
            params: as `Apply` takes them.

        Returns:
            The config that the student has afterwards, the same or a new one.

        Raises:
            RequestError: the family cannot be shaped so.
        """


class Check(Protocol):
    """Refuses what cannot be, such as a layer map out of range, before any training starts."""

    def __call__(self, config: ModelConfig, teacher: ModelConfig, /, *args: Any, **params: Any) -> None:
        """Args:
            config: the student's, before the method.
            teacher: the teacher's config.
            params: as `Apply` takes them.

        Raises:
            RequestError: what is wrong, with METHOD.PARAMETER as its place.
        """


class CheckText(Protocol):
    """Refuses a tokenizer, or the text to learn from, before any training starts."""

    def __call__(self, tokenizer: Tokenizer, rows: Sequence[Row], /, *args: Any, **params: Any) -> None:
        """Args:
            tokenizer: the student's, before the recipe.
            rows: without labels and with, as `MethodContext.transfer` will have them.
            params: as `Apply` takes them.

        Raises:
            RequestError: what is wrong, with METHOD or METHOD.PARAMETER as its place.
        """


class HidesTokens(Protocol):
    """Tells whether a method needs a vocabulary with a mask token."""

    def __call__(self, *args: Any, **params: Any) -> bool:
        """Args: params: as `Apply` takes them. Returns: whether tokens are hidden. Raises: nothing."""


class ReadsCost(Protocol):
    """Tells whether a method asks what a shape costs on the device, of which its student then depends."""

    def __call__(self, *args: Any, **params: Any) -> bool:
        """Args: params: as `Apply` takes them. Returns: whether it reads `MethodContext.cost`. Raises: nothing."""


class Answers(Protocol):
    """Tells which of the teacher's answers a method learns, so that they are stored once for all trainings."""

    def __call__(self, *args: Any, **params: Any) -> AnswerKind | None:
        """Args: params: as `Apply` takes them. Returns: the kind; None where it asks the teacher itself. Raises: nothing."""


class SearchValues(Protocol):
    """Gives the values of a parameter that the planner tries."""

    def __call__(self, config: ModelConfig, /) -> Sequence[ParamValue]:
        """Args: config: the student's before the method. Returns: the values, in order. Raises: nothing."""


def unchanged(config: ModelConfig, **params: object) -> ModelConfig:
    """The architecture of a method that leaves it as it is."""
    return config


@dataclass(frozen=True)
class Method:
    """What a method is; docs/guides/add-a-method.md says how to write one.

    Attributes:
        apply, reshape, check, check_text: see `Apply`, `Reshape`, `Check` and `CheckText`.
        heads: kinds of head that it serves, of `edgebert.modeling.heads.HEADS`; () serves all.
        needs: what of the inside of the teacher and of the student it reads, a tiny model of each family is asked for it.
        excludes: methods that cannot stand in one recipe with it -> why.
        last: nothing may be trained after it, which would lose what it made.
        adds_weights: its student may have more of them than its teacher, and be the faster one.
        any_tokenizer: it serves a student whose tokenizer is not the teacher's.
        fixes_shape: it sets single weights, or their bits, and leaves the architecture. A method that changes the architecture
            would lose them, and is refused behind it.
        makes_tokenizer: its student reads tokens of its own, which are not the teacher's.
        hides_tokens: see `HidesTokens`.
        reads_text: it learns from --unlabelled, and from the texts of the training rows where there is none.
        answers: see `Answers`.
        reads_cost: see `ReadsCost`.
        serves_many: of what it leaves, methods behind it make several students: it is kept as a stage of its own.
        formats: that can express what it makes; () is all.
        trials: settings with which it competes for its place in the default recipe (`edgebert.workflows.recipe_trials`).
        toy: parameters with which the contract tests run it on a model of 4 layers, width 32 and 92 tokens; files are those
            of the tests' folder.
    """

    name: str
    title: str
    paper: Paper | None
    stage: Stage
    apply: Apply
    params: tuple[Param, ...] = ()
    formats: tuple[str, ...] = ()
    reshape: Reshape = unchanged
    check: Check = field(default=lambda config, teacher, **params: None)
    check_text: CheckText = field(default=lambda tokenizer, rows, /, **params: None)
    heads: tuple[str, ...] = ()
    needs: tuple[TracedPart, ...] = ()
    excludes: Mapping[str, str] = field(default_factory=dict)
    last: bool = False
    adds_weights: bool = False
    any_tokenizer: bool = False
    fixes_shape: bool = False
    makes_tokenizer: bool = False
    hides_tokens: HidesTokens = field(default=lambda **params: False)
    reads_text: bool = False
    answers: Answers = field(default=lambda **params: None)
    reads_cost: ReadsCost = field(default=lambda **params: False)
    serves_many: bool = False
    trials: tuple[Mapping[str, ParamValue], ...] = ()
    toy: Mapping[str, ParamValue] = field(default_factory=dict)

    def files(self, params: Mapping[str, ParamValue]) -> list[Path]:
        """The files and folders beside the rows that it reads, so that what it makes follows from their content."""
        return [path for param in self.params if param.paths for path in paths_of(str(params[param.name]))]

    def read_params(self, given: Mapping[str, object]) -> dict[str, ParamValue]:
        """Every parameter with its value, given or default. Raises RequestError for an unknown name."""
        known = {param.name: param for param in self.params}
        for name in given:
            if name not in known:
                raise unknown(f"parameter of {self.name}", name, known, where="--recipe")
        return {
            param.name: param.read(given[param.name], self.name) if param.name in given else param.default
            for param in self.params
        }


def _check(method: Method) -> None:
    """Raises TypeError, ValueError or RequestError for a declaration that breaks the contract."""
    if method.stage not in STAGES:
        raise ValueError(f"stage is '{method.stage}', and must be one of {', '.join(STAGES)}")
    for name in method.heads:
        check_head(name, "heads")
    given = {param.name: param.default for param in method.params}
    check_call("apply", method.apply, "student", "context", **given)
    check_call("reshape", method.reshape, "config", **given)
    check_call("check", method.check, "config", "teacher", **given)
    check_call("check_text", method.check_text, "tokenizer", "rows", **given)
    check_call("hides_tokens", method.hides_tokens, **given)
    check_call("answers", method.answers, **given)
    check_call("reads_cost", method.reads_cost, **given)
    for settings in (*method.trials, method.toy):
        method.read_params(settings)


METHODS: Registry[Method] = Registry(
    "method", __name__, "METHOD", Method, where="--recipe", more="List them with: edgebert methods", check=_check
)
