"""Compression methods: one file a paper, found by the registry.

A method is a declaration (`METHOD`) and one function. The planner reads `reshape` to know a student's size before it
exists, the command line reads `params`, the contract tests read all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgebert.errors import RequestError, shown, unknown
from edgebert.registry import Registry, check_call
from edgebert.training.context import AnswerKind, TracedPart
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

Stage = Literal["vocabulary", "shape", "pretrain", "train"]  # the order in which a recipe may apply them
STAGES: tuple[Stage, ...] = ("vocabulary", "shape", "pretrain", "train")


KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "whole numbers",
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
    """One parameter of a method: what the command line, the planner and the documents know of it."""

    name: str
    type: type
    default: Any
    help: str
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    search: Callable[[Any], Sequence[Any]] | None = None  # config -> values the planner tries when the user sets none
    last: Callable[[Any], Sequence[Any]] = lambda config: ()  # that it tries too where no shape fits with those

    def read(self, value: Any, method: str) -> Any:
        """`value` as this parameter's type. Raises RequestError that names the method and the parameter."""
        place = f"{method}.{self.name}"
        try:
            value = self._typed(value)
        except (TypeError, ValueError, KeyError, OverflowError):
            what = f"{shown(repr(value))} cannot be read as {KINDS.get(self.type, self.type.__name__)}"
            raise RequestError(what, where=place, hint=self.help) from None
        if self.choices and value not in self.choices:
            raise unknown("value", str(value), [str(choice) for choice in self.choices], where=place)
        if self.minimum is not None and value < self.minimum:
            raise RequestError(f"{value} is below {self.minimum:g}", where=place, hint=self.help)
        if self.maximum is not None and value > self.maximum:
            raise RequestError(f"{value} is above {self.maximum:g}", where=place, hint=self.help)
        return value

    def _typed(self, value: Any) -> Any:
        """`value` as `type`; text is read, and what would lose something on the way is refused."""
        if self.type is tuple:
            parts = value.replace(",", " ").split() if isinstance(value, str) else value
            if not isinstance(parts, list | tuple):
                raise TypeError
            return tuple(_whole(part) for part in parts)
        if self.type is bool:
            return {"true": True, "false": False}[value.lower()] if isinstance(value, str) else _same(value, bool)
        if self.type is str:
            return _same(value, str)
        if isinstance(value, bool):
            raise TypeError
        read = _whole(value) if self.type is int else self.type(value)
        if isinstance(read, float) and not math.isfinite(read):
            raise ValueError
        return read


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise TypeError
    return int(value)


def _same(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def unchanged(config: ModelConfig, **params: Any) -> Any:
    """The architecture of a method that leaves it as it is."""
    return config


@dataclass(frozen=True)
class Method:
    """What a method is; see docs/architecture.md for how to write one.

    Attributes:
        apply: (student, context, **params) -> student.
        reshape: (config, **params) -> config, in place or new: what becomes of the architecture.
        check: (student's config before it, teacher's config, **params) -> None; raises RequestError for what cannot be,
            such as a layer map out of range, before any training starts.
        heads: kinds of head that it serves, of `edgebert.modeling.heads.HEADS`; () serves all.
        needs: what of the inside of the teacher and of the student it reads, a tiny model of each family is asked for it.
        excludes: methods that cannot stand in one recipe with it -> why.
        any_tokenizer: it serves a student whose tokenizer is not the teacher's.
        hides_tokens: (**params) -> whether it needs a vocabulary with a mask token.
        reads_text: it learns from --unlabelled, and from the texts of the training rows where there is none.
        answers: (**params) -> the teacher's answers that it learns, stored for all trainings; None where it asks itself.
        formats: that can express what it makes.
        trials: settings with which it competes for its place in the default recipe (`edgebert.workflows.recipe_trials`).
        toy: parameters with which the contract tests run it on a model of 4 layers, width 32 and 92 tokens.
    """

    name: str
    title: str
    paper: Paper | None
    stage: Stage
    apply: Callable[..., Student]
    params: tuple[Param, ...] = ()
    formats: tuple[str, ...] = ("onnx", "tflite", "coreml")
    reshape: Callable[..., Any] = unchanged
    check: Callable[..., None] = field(default=lambda config, teacher, **params: None)
    heads: tuple[str, ...] = ()
    needs: tuple[TracedPart, ...] = ()
    excludes: Mapping[str, str] = field(default_factory=dict)
    any_tokenizer: bool = False
    hides_tokens: Callable[..., bool] = field(default=lambda **params: False)
    reads_text: bool = False
    answers: Callable[..., AnswerKind | None] = field(default=lambda **params: None)
    trials: tuple[Mapping[str, Any], ...] = ()
    toy: Mapping[str, Any] = field(default_factory=dict)

    def read_params(self, given: Mapping[str, Any]) -> dict[str, Any]:
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
    given = {param.name: param.default for param in method.params}
    check_call("apply", method.apply, "student", "context", **given)
    check_call("reshape", method.reshape, "config", **given)
    check_call("check", method.check, "config", "teacher", **given)
    check_call("hides_tokens", method.hides_tokens, **given)
    check_call("answers", method.answers, **given)
    for settings in (*method.trials, method.toy):
        method.read_params(settings)


METHODS: Registry[Method] = Registry(
    "method", __name__, "METHOD", Method, where="--recipe", more="List them with: edgebert methods", check=_check
)
